"""Rules of the configuration: who may go where, and how a no looks."""
import json
import re

import pytest

from harness import http1
from harness.check_service import deny
from harness.client import request
from harness.origin import Origin

NAMED = {"name": "no-adverts", "reason": "advertising"}


def assert_unheard(host, dns, origin):
    assert not dns.heard_of(host)
    assert origin.n_connections == 0


@pytest.mark.smoke
def test_deny_by_host_and_path(sluice, origin, dns, tunnel, host):
    proxy = sluice({"rules": [{"when": f"host {host} or path /track/*", "do": "deny", **NAMED}]})
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 403 and "advertising" in answer.text
    assert_unheard(host, dns, origin)
    line = proxy.log(host=host)
    assert (line["verdict"], line["decided_by"], line["reason"]) == ("deny", "no-adverts",
                                                                     "advertising")
    other = tunnel(proxy, "other-" + host, origin.port)
    assert [other.get("/track/1").status, other.get("/x").status] == [403, 200]


def test_the_first_match_decides(sluice, origin, tunnel, host):
    rules = [{"when": "path /open/*", "do": "allow"}, {"when": "any", "do": "deny"},
             {"when": "any", "do": "allow"}]
    client = tunnel(sluice({"rules": rules}), host, origin.port)
    assert [client.get("/open/x").status, client.get("/x").status] == [200, 403]


def test_default_deny(sluice, origin, dns, tunnel, host):
    proxy = sluice({"default": "deny", "rules": [{"when": "path /ok", "do": "allow"}]})
    client = tunnel(proxy, host, origin.port)
    assert client.get("/no").status == 403
    assert_unheard(host, dns, origin)
    assert client.get("/ok").status == 200
    assert proxy.log(host=host, target="/no")["decided_by"] == "default"


def test_deny_with_a_status_of_its_own(sluice, origin, tunnel, host):
    proxy = sluice({"rules": [{"when": "any", "do": "deny", "status": 451, "reason": "law"}]})
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 451 and json.loads(answer.body)["status"] == 451


def test_rules_before_the_check(sluice, check, origin, tunnel, host):
    check.answer = lambda q: deny()
    proxy = sluice(check.config(rules=[{"when": "path /free", "do": "allow"}]))
    client = tunnel(proxy, host, origin.port)
    assert [client.get("/free").status, client.get("/other").status] == [200, 403]
    assert [q["request"]["path"] for q in check.questions] == ["/other"]


def test_refuse_answers_the_connect(sluice, origin, dns, connect, host):
    proxy = sluice({"rules": [{"when": f"host {host}", "do": "refuse", **NAMED}]})
    client = connect(proxy)
    answer = client.connect(host, origin.port)
    assert answer.status == 403
    assert answer.get("proxy-status").startswith("sluice; error=http_request_denied")
    assert_unheard(host, dns, origin)
    line = proxy.log(host=host)
    assert (line["method"], line["status"], line["decided_by"]) == ("CONNECT", 403, "no-adverts")


def test_the_connection_is_usable_after_a_refusal(sluice, origin, connect, host):
    proxy = sluice({"rules": [{"when": f"host {host}", "do": "refuse"}]})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 403
    client.tunnel("other-" + host, origin.port)
    assert client.get("/").status == 200


def test_bytes_behind_a_refused_connect_are_no_request(sluice, origin, connect, host):
    proxy = sluice({"rules": [{"when": f"host {host}", "do": "refuse"}]})
    client = connect(proxy)
    authority = f"{host}:{origin.port}"
    client.send(request("CONNECT", authority, authority) + b"\x16\x03\x01\x02\x00\x01")
    answer = client.read()
    assert (answer.status, answer.get("connection")) == (403, "close")
    assert client.is_closed()


@pytest.mark.smoke
def test_tunnel_is_not_opened(sluice, nginx, pki, connect, host):
    proxy = sluice({"rules": [{"when": f"host {host}", "do": "tunnel"}]})
    client = connect(proxy)
    client.tunnel(host, nginx.tls, pki.trusting())
    assert client.get("/hello.txt").body == b"hello\n"
    client.sock.close()
    line = proxy.log(host=host)
    assert (line["verdict"], line["opaque"], line["leaf"]) == ("tunnel", True, "none")
    assert line["bytes_out"] > 500 and line["upstream_ip"] == "127.0.0.1"


def test_tunnel_to_a_dead_origin_is_502(sluice, servers, connect, host):
    dead = servers(Origin())
    dead.close()
    proxy = sluice({"rules": [{"when": "any", "do": "tunnel"}]})
    answer = connect(proxy).connect(host, dead.port)
    assert answer.status == 502
    assert "error=connection_refused" in answer.get("proxy-status")


def test_tunnel_by_sni(sluice, nginx, pki, connect, host):
    proxy = sluice({"rules": [{"when": f"sni {host}", "do": "tunnel"}]})
    client = connect(proxy).tunnel(host, nginx.tls, pki.trusting())
    assert client.get("/hello.txt").status == 200
    client.sock.close()
    assert proxy.log(host=host)["verdict"] == "tunnel"


def test_tunnel_by_sni_is_not_for_another_connect(sluice, origin, connect, host):
    """Opened whatever the rule says, so that each request inside can be told."""
    proxy = sluice({"rules": [{"when": f"sni bank-{host}", "do": "tunnel"}]})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    client.start_tls(f"bank-{host}")  # verified against the proxy's authority
    assert client.get("/").status == 421
    assert origin.n_connections == 0


def test_deny_by_sni(sluice, origin, dns, tunnel, host):
    proxy = sluice({"rules": [{"when": f"sni {host}", "do": "deny"}]})
    assert tunnel(proxy, host, origin.port).get("/").status == 403
    assert_unheard(host, dns, origin)


def test_hosts_of_a_file(sluice, origin, dns, tunnel, tmp_path, host):
    listed = tmp_path / "list"
    listed.write_text(f"# comment\n{host}\n\n.all-{host}\n*.below-{host}\r\n192.0.2.0/24\n")
    proxy = sluice({"rules": [{"when": f"host in {listed}", "do": "deny"}]})

    def status(name):
        return tunnel(proxy, name, origin.port).get("/").status

    assert status(host) == status(f"all-{host}") == status(f"x.y.below-{host}") == 403
    assert not dns.heard_of(host) and not dns.heard_of(f"all-{host}")
    assert status(f"below-{host}") == 200


def test_a_host_file_that_is_not_there_is_an_error(cli, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("rules:\n  - {when: host in /nowhere/list, do: deny}\n")
    done = cli("check-config", "-c", config)
    assert done.returncode == 78
    assert "/nowhere/list" in done.stderr


def test_deny_by_response_status_and_type(sluice, servers, pki, tunnel, host):
    program = [("Content-Type", "application/x-msdownload")]
    answers = {"/gone": http1.response(b"private", 410, reason="Gone"),
               "/exe": http1.response(b"binary", headers=program),
               "/ok": http1.response(b"fine")}
    origin = servers(Origin(lambda r: answers[r.target], tls=pki.server_context()))
    proxy = sluice({"rules": [{"when": "status 410 or type application/x-ms*", "do": "deny"}]})
    client = tunnel(proxy, host, origin.port)
    got = [client.get(p) for p in ("/ok", "/gone", "/exe", "/ok")]
    assert [g.status for g in got] == [200, 403, 403, 200]
    assert b"private" not in got[1].body and b"binary" not in got[2].body


def test_deny_by_size(sluice, origin, tunnel, host):
    proxy = sluice({"rules": [{"when": "method POST and size > 1KiB", "do": "deny",
                               "status": 413}]})
    client = tunnel(proxy, host, origin.port)
    assert client.ask("POST", "/", body=b"x" * 1024).status == 200
    assert client.ask("POST", "/", body=b"x" * 1025).status == 413


@pytest.mark.parametrize("when, headers, path, denied", [
    ("method POST", [], "/", False),
    ("header x-role admin*", [("X-Role", "admin-1")], "/", True),
    ("header x-role admin*", [("X-Role", "user"), ("X-Role", "admin")], "/", True),
    ("query *token=*", [], "/?a=1&token=2", True),
    ("path ~ /^\\/a[0-9]+$/", [], "/a12", True),
    ("path ~ /^\\/a[0-9]+$/", [], "/b12", False),
    ("client 127.0.0.0/8 and scheme https", [], "/", True),
    ("client 10.0.0.0/8", [], "/", False),
    ("not host other.test", [], "/", True),
    ("host *.test and not (path /a* or path /b*)", [], "/a", False),
])
def test_atoms(sluice, origin, tunnel, host, when, headers, path, denied):
    proxy = sluice({"rules": [{"when": when, "do": "deny"}]})
    answer = tunnel(proxy, host, origin.port).get(path, headers)
    assert answer.status == (403 if denied else 200)


@pytest.mark.threat("spelling-of-hosts")
@pytest.mark.parametrize("spelled", ["{}.", "UPPER.{}", "{}"])
def test_spelling_of_a_host_is_no_way_round(sluice, origin, connect, host, spelled):
    proxy = sluice({"rules": [{"when": f"host {host} or host upper.{host}", "do": "refuse"}]})
    assert connect(proxy).connect(spelled.format(host), origin.port).status == 403


@pytest.mark.threat("spelling-of-hosts")
@pytest.mark.parametrize("bad", ["[{}]", "a b.test", "x..test", "0x7f.1", "127.1", "a%00.test"])
def test_odd_hosts_are_malformed(proxy, connect, host, bad):
    client = connect(proxy)
    name = bad.format(host)
    client.send(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode())
    assert client.read().status == 400


def test_verify_off_by_rule(sluice, nginx, tunnel):
    rules = [{"when": "host expired.test", "do": "allow", "upstream": {"verify": False}}]
    proxy = sluice({"rules": rules})
    assert tunnel(proxy, "expired.test", nginx.tls).get("/hello.txt").status == 200
    assert tunnel(proxy, "wrong-host.test", nginx.tls).get("/hello.txt").status == 502


@pytest.mark.threat("says-why")
def test_the_block_page_stands_alone(sluice, origin, tunnel, host):
    proxy = sluice({"rules": [{"when": "any", "do": "deny", "reason": "a \"b\" & <c>"}]})
    page = tunnel(proxy, host, origin.port).get("/", [("Accept", "text/html")])
    assert len(page.body) < 10 << 10
    assert page.get("cache-control") == "no-store"
    assert page.get("x-content-type-options") == "nosniff"
    assert "a &quot;b&quot; &amp; &lt;c&gt;" in page.text
    assert '<html lang="en">' in page.text
    assert not re.search(r"(src|href)=|url\(|<script", page.text)


def test_proxy_status_is_a_structured_field(sluice, origin, tunnel, host):
    proxy = sluice({"rules": [{"when": "any", "do": "deny", "reason": 'a "quote" \\'}]})
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.get("proxy-status") == \
        'sluice; error=http_request_denied; details="a \\"quote\\" \\\\"'


def test_head_is_denied_without_a_body(sluice, origin, tunnel, host):
    client = tunnel(sluice({"rules": [{"when": "any", "do": "deny"}]}), host, origin.port)
    answer = client.ask("HEAD", "/")
    assert answer.status == 403 and int(answer.get("content-length")) > 0
    assert client.get("/").status == 403


# -- what is known when --------------------------------------------------------------------------


def test_an_unknown_rule_before_a_tunnel_opens_it(sluice, origin, tunnel, host):
    rules = [{"when": "path /secret", "do": "deny"}, {"when": f"host {host}", "do": "tunnel"}]
    client = tunnel(sluice({"rules": rules}), host, origin.port)
    assert [client.get("/secret").status, client.get("/x").status] == [403, 200]


def test_a_true_rule_before_an_unknown_one_tunnels(sluice, nginx, pki, connect, host):
    rules = [{"when": f"host {host}", "do": "tunnel"}, {"when": "path /hello.txt", "do": "deny"}]
    client = connect(sluice({"rules": rules})).tunnel(host, nginx.tls, pki.trusting())
    assert client.get("/hello.txt").status == 200


def test_a_false_part_settles_an_and(sluice, nginx, pki, connect, host):
    rules = [{"when": "host other.test and path /x", "do": "deny"}, {"when": "any", "do": "tunnel"}]
    client = connect(sluice({"rules": rules})).tunnel(host, nginx.tls, pki.trusting())
    assert client.get("/hello.txt").status == 200


def test_refuse_by_sni_comes_too_late_for_the_connect_and_denies(sluice, origin, dns, tunnel, host):
    proxy = sluice({"rules": [{"when": f"sni {host}", "do": "refuse"}]})
    assert tunnel(proxy, host, origin.port).get("/").status == 403
    assert_unheard(host, dns, origin)


def test_tunnel_is_not_for_requests_outside_of_one(sluice, plain_origin, connect, host):
    proxy = sluice({"rules": [{"when": f"host {host}", "do": "tunnel"}]})
    authority = f"{host}:{plain_origin.port}"
    assert connect(proxy).ask("GET", f"http://{authority}/", host=authority).status == 200


def test_denied_opaque_bytes_by_rule(sluice, servers, dns, connect, host):
    banner = servers(Origin(serve=lambda c: c.send(c.reader.some())))
    proxy = sluice({"rules": [{"when": "scheme tcp", "do": "deny"}]})
    client = connect(proxy)
    assert client.connect(host, banner.port).status == 200
    client.send(b"\x00\x01")
    assert client.is_closed()
    assert_unheard(host, dns, banner)
    assert proxy.log(host=host)["verdict"] == "deny"


def test_a_list_of_very_many_names(sluice, origin, tunnel, host, tmp_path):
    listed = tmp_path / "list"
    listed.write_text("".join(f"host{i}.listed.test\n" for i in range(300000)) + f"{host}\n")
    proxy = sluice({"rules": [{"when": f"host in {listed}", "do": "deny"}]})
    assert tunnel(proxy, host, origin.port).get("/").status == 403
    for name, status in (("host299999.listed.test", 403), (f"not-{host}", 200)):
        assert tunnel(proxy, name, origin.port).get("/").status == status
