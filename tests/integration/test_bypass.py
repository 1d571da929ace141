"""Ways past the verdict that were open once, or that look as if they might be."""
import json
import socket

import pytest

from harness.check_service import CheckService, deny
from harness.client import WireTls, request
from harness.origin import Origin
from harness.process import merged
from harness import waiting

DENIED = b"GET /denied HTTP/1.1\r\nHost: %s\r\n\r\n"


@pytest.mark.threat("checked-first")
@pytest.mark.parametrize("first", [
    b"\r\n" + DENIED, b"\n\r\n" + DENIED, b"M-SEARCH /denied HTTP/1.1\r\nHost: %s\r\n\r\n",
    b"G3T /denied HTTP/1.1\r\nHost: %s\r\n\r\n", b"a.b /denied HTTP/1.0\r\nHost: %s\r\n\r\n",
    b"GET\t/denied HTTP/1.1\r\nHost: %s\r\n\r\n", b"GET /denied\r\n\r\n",
    b" " + DENIED, b"\x0b\x0c" + DENIED, b"\x1c\x85\xa0" + DENIED,
    b"GET\x0b/denied\x0bHTTP/1.0\r\n\r\n", b"GET\r/denied HTTP/1.0\r\n\r\n",
    b"GET\xa0/denied HTTP/1.0\r\n\r\n", b"GET\n/denied HTTP/1.0\r\n\r\n"])
def test_what_an_origin_may_take_for_a_request_is_not_opaque(sluice, check, plain_origin, connect,
                                                             host, first):
    """A service that allows the name (phase connect) must still see each request."""
    check.answer = lambda q: deny() if q["phase"] == "request" else {"action": "allow"}
    proxy = sluice(check.config())
    client = connect(proxy)
    assert client.connect(host, plain_origin.port).status == 200
    authority = f"{host}:{plain_origin.port}".encode()
    client.send(first % authority if b"%s" in first else first)
    assert client.read().status in (400, 403, 501)
    assert plain_origin.n_connections == 0


@pytest.mark.parametrize("first", [b"\x01 /denied HTTP/1.0\r\n\r\n",
                                   b"<x /denied\xa0HTTP/1.0\r\n\r\n"])
def test_a_line_that_names_http_does_not_pass_as_opaque(sluice, check, servers, connect, host,
                                                        first):
    """Some servers take any word for a method, and leave it to the application."""
    seen = []

    def serve(connection):
        while data := connection.reader.some():
            seen.append(data)

    plain = servers(Origin(serve=serve))
    check.answer = lambda q: deny() if q["phase"] == "request" else {"action": "allow"}
    proxy = sluice(check.config())
    client = connect(proxy)
    assert client.connect(host, plain.port).status == 200
    client.send(first[:8])
    waiting.until(lambda: seen, "the begin of the line")
    client.send(first[8:])
    assert client.is_closed()
    assert b"\n" not in b"".join(seen)
    line = proxy.log(host=host)
    assert (line["opaque"], line["error"]) == (True, "bad_request")


OLD_HELLO = b"\x03\x03\x00\x15\x00\x00\x00\x10" + b"\x00" * 37


@pytest.mark.threat("hello-beyond-a-peek")
@pytest.mark.parametrize("before, version", [
    (b"\x15\x03\x01\x00\x02\x01\x5a", b"\x03\x01"), (b"\x14\x03\x03\x00\x01\x01", b"\x03\x01"),
    (b"", b"\x00\x00"), (b"", b"\x04\x01"), (b"", b"\x7f\x01")])
def test_a_hello_that_only_some_servers_take_is_refused(sluice, check, origin, connect, pki, host,
                                                        before, version):
    """Java reads past a warning before the ClientHello, and does not look at a record's version."""
    proxy = sluice(check.config())
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    hello = WireTls(pki.trusting(), host).hello()
    client.send(before + hello[:1] + version + hello[3:])
    assert client.is_closed()
    assert origin.n_connections == 0 and check.questions == []
    assert proxy.log(host=host)["error"] == "tls_protocol"


@pytest.mark.parametrize("head", [b"\x80\x2e\x01", b"\x00\x2e\x01", b"\x00\x2e\x00\x01"])
def test_an_ssl2_hello_is_refused(sluice, origin, connect, host, head):
    proxy = sluice()
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    client.send(head + OLD_HELLO)
    assert client.is_closed()
    assert origin.n_connections == 0
    assert proxy.log(host=host)["error"] == "tls_protocol"


UNRECOGNIZED_NAME = b"\x15\x03\x01\x00\x02\x02\x70"


@pytest.fixture
def by_rule(sluice, servers, connect, host):
    """by_rule(greeting) -> a client in a tunnel by rule, its proxy, what its origin has seen."""
    def make(greeting=b"", name=host):
        seen = []

        def serve(connection):
            connection.send(greeting)
            while data := connection.reader.some():
                seen.append(data)

        raw = servers(Origin(serve=serve))
        proxy = sluice({"rules": [{"when": f"port {raw.port}", "do": "tunnel"}]})
        client = connect(proxy)
        assert client.connect(name, raw.port).status == 200
        assert client.reader.exactly(len(greeting)) == greeting
        return client, proxy, seen

    return make


def hello_for(sni, pki):
    context = pki.trusting()
    context.check_hostname = sni is not None
    return WireTls(context, sni).hello()


@pytest.mark.parametrize("greeting", [b"", b"220 ready\r\n"])
def test_a_tunnel_by_rule_is_not_for_another_sni(by_rule, pki, host, greeting):
    client, proxy, seen = by_rule(greeting)
    hello = hello_for(f"evil-{host}", pki)
    client.send(hello[:20])
    client.send(hello[20:])
    assert greeting or client.reader.exactly(7) == UNRECOGNIZED_NAME
    assert client.is_closed() and seen == []
    line = proxy.log(host=host)
    assert (line["verdict"], line["decided_by"], line["error"]) == ("deny", "proxy", "misdirected")
    assert line["opaque"] and line["bytes_out"] == len(greeting)


@pytest.mark.parametrize("before, version", [
    (b"\x15\x03\x01\x00\x02\x01\x5a", b"\x03\x01"), (b"\x14\x7f\x03\x00\x01\x01", b"\x03\x01"),
    (b"", b"\x7f\x01")])
def test_a_hello_that_only_some_servers_take_is_no_way_round_that(by_rule, pki, host, before,
                                                                 version):
    client, proxy, seen = by_rule()
    hello = hello_for(f"evil-{host}", pki)
    client.send(before + hello[:1] + version + hello[3:])
    assert client.reader.exactly(7) == UNRECOGNIZED_NAME and client.is_closed()
    assert seen == []
    assert proxy.log(host=host)["error"] == "tls_protocol"


@pytest.mark.parametrize("greeting", [b"", b"220 ready\r\n"])
@pytest.mark.parametrize("first", ["host", None, b"G", b"EHLO x\r\n", b"\x16\x00\xf2\x05\x04name",
                                   b"\x15\x00\xf2\x05\x04name", b"\x16"])
def test_all_else_passes_a_tunnel_by_rule(by_rule, pki, host, first, greeting):
    client, proxy, seen = by_rule(greeting)
    data = first if isinstance(first, bytes) else hello_for(first and host, pki)
    client.send(data)
    if data == b"\x16":  # as long as it may become a ClientHello, it waits
        client.sock.shutdown(socket.SHUT_WR)
    waiting.until(lambda: b"".join(seen) == data, "what the client said")
    client.sock.close()
    assert proxy.log(host=host)["verdict"] == "tunnel"


def test_a_tunnel_by_rule_to_an_address_may_have_any_sni(by_rule, pki, host):
    client, _, seen = by_rule(name="127.0.0.1")
    hello = hello_for(host, pki)
    client.send(hello)
    waiting.until(lambda: b"".join(seen) == hello, "the ClientHello")


def test_a_reload_reaches_a_connection_before_its_first_request(sluice, surroundings, origin,
                                                               connect, host):
    proxy = sluice()
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    proxy.reload(merged(surroundings, {"default": "deny"}))
    client.start_tls(host)
    assert [client.get("/").status, client.get("/").status] == [403, 403]
    assert origin.n_connections == 0


@pytest.mark.parametrize("early", [b"", b"SSH"])
def test_a_reload_reaches_a_tunnel_before_its_first_bytes(sluice, surroundings, origin, connect,
                                                          host, dns, early):
    proxy = sluice({"rules": [{"when": "any", "do": "allow"}]})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    client.send(early)
    proxy.reload(merged(surroundings, {"rules": [{"when": "any", "do": "deny", "name": "new"}]}))
    client.send(b"SSH-2.0-name\r\n"[len(early):])
    assert client.is_closed()
    line = proxy.log(host=host)
    assert (line["verdict"], line["decided_by"], line["opaque"]) == ("deny", "new", True)
    assert origin.n_connections == 0 and not dns.heard_of(host)


@pytest.mark.parametrize("early", [0, 20])
def test_a_reload_reaches_a_tunnel_before_its_hello(sluice, surroundings, origin, connect, pki,
                                                    host, dns, early):
    proxy = sluice({"rules": [{"when": f"sni {host}", "do": "tunnel"}]})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    hello = hello_for(host, pki)
    client.send(hello[:early])
    proxy.reload(merged(surroundings, {"rules": [{"when": "any", "do": "deny"}]}))
    client.send(hello[early:])
    assert client.reader.exactly(1) == b"\x16"  # opened: its requests would be denied
    assert origin.n_connections == 0 and not dns.heard_of(host)


def test_a_reload_can_allow_a_tunnel_before_its_first_bytes(sluice, surroundings, origin, connect,
                                                            pki, host):
    proxy = sluice({"rules": [{"when": f"sni {host}", "do": "deny"}]})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    proxy.reload(merged(surroundings, {"rules": [{"when": f"sni {host}", "do": "tunnel"}]}))
    client.start_tls(host, context=pki.trusting())
    assert client.get("/").status == 200
    client.sock.close()
    assert proxy.log(host=host)["verdict"] == "tunnel"


def test_a_connect_cut_after_a_reload_has_its_line(sluice, surroundings, check, origin, connect,
                                                    host):
    quick = {"shutdown_grace": "100ms"}
    proxy = sluice({**quick, "rules": [{"when": "any", "do": "check c", "name": "old"}],
                    "checks": [{"name": "c", "url": check.url, "phase": ["connect"]}]})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    proxy.reload(merged(surroundings, {**quick, "default": "deny"}))
    proxy.stop()
    line = proxy.log(host=host)
    assert (line["error"], line["decided_by"]) == ("cancelled", "proxy")


def test_what_the_old_policy_was_told_at_the_connect_does_not_bind_the_new(
        sluice, surroundings, servers, check, origin, tunnel, host):
    other = servers(CheckService(lambda q: deny()))
    proxy = sluice(check.config(phase=["connect"]))
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    proxy.reload(merged(surroundings, other.config(phase=["connect"])))
    assert client.get("/").status == 403
    assert len(other.questions) == 1


@pytest.mark.threat("path-read-twice", "multi-value-header")
def test_trailers_do_not_stand_for_fields_the_check_has_edited(sluice, check, origin, tunnel, host):
    check.answer = lambda q: {"action": "allow", "request": {"set": {"x-user": "alice"},
                                                             "remove": ["x-admin"]}}
    client = tunnel(sluice(check.config()), host, origin.port)
    client.send(request("POST", "/", client.authority, [("Transfer-Encoding", "chunked")],
                        b"1\r\na\r\n0\r\nX-User: root\r\nX-Admin: 1\r\nX-Sum: 5\r\n\r\n"))
    assert client.read().status == 200
    seen = str(origin.requests[-1].trailers).lower()
    assert "x-sum" in seen and "x-user" not in seen and "x-admin" not in seen


def test_trailers_do_not_pass_by_rules_on_fields(sluice, origin, tunnel, host):
    proxy = sluice({"rules": [{"when": "header x-bad *", "do": "deny"}]})
    client = tunnel(proxy, host, origin.port)
    client.send(request("POST", "/", client.authority, [("Transfer-Encoding", "chunked")],
                        b"1\r\na\r\n0\r\nX-Bad: 1\r\n\r\n"))
    assert client.read().status == 200
    assert "x-bad" not in str(origin.requests[-1].trailers).lower()


def test_a_newer_no_is_stronger_than_an_older_yes(sluice, check, origin, tunnel, host):
    """on_error stale goes by the newest answer, whatever it varied by."""
    check.answer = lambda q: {"action": "allow", "cache": {"ttl": 1, "vary": ["host"]}}
    client = tunnel(sluice(check.config(on_error="stale")), host, origin.port)
    assert client.get("/").status == 200
    check.answer = lambda q: {"action": "deny", "cache": {"ttl": 0}}
    while client.get("/").status == 200:  # until the second is over
        pass
    check.answer = check.die
    assert client.get("/").status == 503


@pytest.mark.parametrize("action", ["allow", "tunnel", ["check cli"]])
def test_rules_on_the_response_can_only_deny(cli, tmp_path, action):
    config = tmp_path / "sluice.yaml"
    config.write_text(json.dumps({"checks": [{"name": "cli", "url": "http://127.0.0.1:1/"}],
                             "rules": [{"when": "not type text/html", "do": action}]}))
    done = cli("check-config", "-c", str(config))
    assert done.returncode == 78 and "only deny or refuse" in done.stderr


@pytest.mark.threat("multi-value-header")
def test_two_content_types_are_none(sluice, servers, tunnel, host, pki):
    answer = (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Type: video/mp4\r\n"
              b"Content-Length: 2\r\n\r\nok")
    origin = servers(Origin(lambda r: answer, tls=pki.server_context()))
    proxy = sluice({"rules": [{"when": "type video/*", "do": "deny"}]})
    assert tunnel(proxy, host, origin.port).get("/").status == 403
