"""One name: what CONNECT, SNI, Host, the absolute form and the origin's certificate have to agree on.

Over HTTP/2 the same holds of each stream; test_http2_gate.py asks for it.
"""
import ssl

import pytest

from harness.client import request
from harness.origin import Origin

# Fields of a request in a tunnel to {host}:{port}, with what becomes of it.
INSIDE = {
    "the name": ("/", ["{host}:{port}"], 200, None),
    "no port": ("/", ["{host}"], 200, None),
    "upper case": ("/", ["{HOST}:{port}"], 200, None),
    "one trailing dot": ("/", ["{host}.:{port}"], 200, None),
    "two trailing dots": ("/", ["{host}..:{port}"], 400, "bad_host"),
    "another name": ("/", ["evil-{host}:{port}"], 421, "misdirected"),
    "a name below": ("/", ["www.{host}:{port}"], 421, "misdirected"),
    "the name above": ("/", ["site.test:{port}"], 421, "misdirected"),
    "its address": ("/", ["127.0.0.1:{port}"], 421, "misdirected"),
    "another port": ("/", ["{host}:1"], 421, "misdirected"),
    "the default port, named": ("/", ["{host}:443"], 421, "misdirected"),
    "no Host": ("/", [], 400, "bad_host"),
    "empty": ("/", [""], 400, "bad_host"),
    "a port alone": ("/", [":{port}"], 400, "bad_host"),
    "twice": ("/", ["{host}:{port}", "{host}:{port}"], 400, "bad_host"),
    "twice, another first": ("/", ["evil-{host}", "{host}:{port}"], 400, "bad_host"),
    "twice, another last": ("/", ["{host}:{port}", "evil-{host}"], 400, "bad_host"),
    "a list": ("/", ["{host}, evil-{host}"], 400, "bad_host"),
    "user-info": ("/", ["{host}@evil-{host}"], 400, "bad_host"),
    "the name as user-info": ("/", ["ann@{host}:{port}"], 400, "bad_host"),
    "brackets around a name": ("/", ["[{host}]:{port}"], 400, "bad_host"),
    "a path": ("/", ["{host}/x"], 400, "bad_host"),
    "absolute form": ("https://{host}:{port}/", ["{host}:{port}"], 200, None),
    "absolute form, another Host": ("https://{host}:{port}/", ["evil-{host}"], 200, None),
    "absolute form, another name": ("https://evil-{host}:{port}/", ["{host}:{port}"], 421,
                                    "misdirected"),
    "absolute form, another port": ("https://{host}:1/", ["{host}:{port}"], 421, "misdirected"),
    "absolute form, the default port, named": ("https://{host}:443/", ["{host}:{port}"], 421,
                                               "misdirected"),
    "absolute form, no port": ("https://{host}/", ["{host}:{port}"], 200, None),
    "absolute form, another scheme": ("http://{host}:{port}/", ["{host}:{port}"], 421,
                                      "misdirected"),
    "absolute form, user-info": ("https://ann@{host}:{port}/", ["{host}:{port}"], 400,
                                 "bad_target"),
}


def spelled(text, host, port):
    return text.replace("{host}", host).replace("{HOST}", host.upper()).replace("{port}", str(port))


@pytest.mark.threat("absolute-form-inside", "forged-inside", "one-name")
@pytest.mark.parametrize("case", INSIDE)
def test_the_name_inside_a_tunnel(proxy, origin, dns, tunnel, host, case):
    target, hosts, status, error = INSIDE[case]
    client = tunnel(proxy, host, origin.port)
    fields = [("Host", spelled(h, host, origin.port)) for h in hosts]
    client.send(request("GET", spelled(target, host, origin.port), None, fields))
    answer = client.read()
    assert answer.status == status
    line = proxy.log(status=status, error=error, client="127.0.0.1",
                     **({} if error else {"host": host}))
    assert line["verdict"] == {200: "allow", 421: "deny", 400: "error"}[status]
    assert not dns.heard_of(f"evil-{host}") and not dns.heard_of(f"www.{host}")
    if status == 200:
        assert origin.requests[0].all("host") == [f"{host}:{origin.port}"]
    else:
        assert answer.get("proxy-status").startswith("sluice; error=http_request_error")
        assert origin.n_connections == 0


@pytest.mark.threat("forged-inside", "one-name")
@pytest.mark.parametrize("target, inside, status", [
    ("/", "{host}:{port}", 200), ("/", "{host}", 200), ("/", "evil-{host}:{port}", 421),
    ("/", "{host}:1", 421), ("/", "{host}:80", 421), ("http://{host}:{port}/", "evil-{host}", 200),
    ("http://{host}:80/", "{host}:{port}", 421), ("http://{host}/", "{host}:{port}", 200),
    ("http://evil-{host}:{port}/", "{host}", 421), ("https://{host}:{port}/", "{host}", 421)])
def test_the_name_inside_a_tunnel_without_tls(proxy, plain_origin, dns, connect, host, target,
                                              inside, status):
    client = connect(proxy)
    assert client.connect(host, plain_origin.port).status == 200
    target, inside = (spelled(t, host, plain_origin.port) for t in (target, inside))
    assert client.ask("GET", target, host=inside).status == status
    assert not dns.heard_of(f"evil-{host}")
    assert [r.all("host") for r in plain_origin.requests] == (
        [[f"{host}:{plain_origin.port}"]] if status == 200 else [])


@pytest.mark.threat("host-spoof", "one-name")
@pytest.mark.parametrize("fields, status", [
    (["evil-{host}:{port}"], 200), (["{host}"], 200), ([""], 400), (["a@{host}"], 400),
    (["{host}", "{host}"], 400), ([], 400)])
def test_the_host_field_of_a_connect_chooses_nothing(proxy, origin, dns, connect, host, fields,
                                                     status):
    """As in the absolute form: the target counts, the field has to be there and well-formed."""
    client = connect(proxy)
    client.authority = f"{host}:{origin.port}"
    client.send(request("CONNECT", client.authority, None,
                        [("Host", spelled(f, host, origin.port)) for f in fields]))
    answer = client.read("HEAD")
    assert answer.status == status
    if status == 200:
        assert client.start_tls(host).get("/").status == 200
        assert origin.requests[0].all("host") == [client.authority]
    assert not dns.heard_of(f"evil-{host}")


def test_a_disagreement_is_logged_with_both_names(sluice, origin, connect, tunnel, host):
    proxy = sluice()
    assert tunnel(proxy, host, origin.port).ask("GET", "/", host=f"evil-{host}").status == 421
    said = proxy.log(error="misdirected", target="/")["detail"]
    assert f"evil-{host}:443" in said and f"{host}:{origin.port}" in said
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    assert client.start_tls(f"sni-{host}").get("/sni").status == 421
    said = proxy.log(error="misdirected", target="/sni")["detail"]
    assert f"sni-{host}" in said and f"CONNECT {host}" in said


@pytest.mark.threat("domain-fronting", "host-spoof", "one-name")
@pytest.mark.parametrize("connected, sni, inside", [
    ("{host}", "evil-{host}", "{host}"),
    ("{host}", "evil-{host}", "evil-{host}"),
    ("{host}", "www.{host}", "{host}"),
    ("127.0.0.1", "{host}", "{host}"),
    ("127.0.0.1", "{host}", "127.0.0.1"),
    ("127.0.0.1", "127.0.0.1", "{host}"),
])
def test_sni_and_host_do_not_choose_another_origin(proxy, origin, dns, connect, host, connected,
                                                   sni, inside):
    client = connect(proxy)
    name, inside = (spelled(t, host, origin.port) for t in (connected, inside))
    assert client.connect(name, origin.port).status == 200
    client.start_tls(spelled(sni, host, origin.port))
    assert client.ask("GET", "/fronted", host=f"{inside}:{origin.port}").status == 421
    assert client.ask("GET", "/fronted", host=f"{inside}:{origin.port}").status == 421
    assert origin.n_connections == 0
    assert not any(dns.heard_of(n) for n in (host, f"evil-{host}", f"www.{host}"))


@pytest.mark.threat("domain-fronting")
@pytest.mark.parametrize("connected", ["{host}", "{HOST}", "{host}."])
def test_without_sni_it_is_the_connect_that_counts(proxy, origin, connect, pki, host, connected):
    """The origin is told the CONNECT's name, and has to have a certificate for it."""
    heard = []
    origin.tls.sni_callback = lambda sock, name, context: heard.append(name)
    context = proxy.trusting()
    context.check_hostname = False
    client = connect(proxy)
    assert client.connect(spelled(connected, host, origin.port), origin.port).status == 200
    client.start_tls(None, context)
    assert client.ask("GET", "/", host=f"evil-{host}:{origin.port}").status == 421
    assert origin.n_connections == 0
    assert client.ask("GET", "/", host=f"{host}:{origin.port}").status == 200
    assert heard == [host]
    assert client.sock.getpeercert()["subjectAltName"] == (("DNS", host),)


@pytest.mark.threat("spelling-of-hosts")
@pytest.mark.parametrize("spelling", ["{host}", "{HOST}", "{host}.", "{HOST}."])
def test_rules_and_checks_hear_one_spelling(sluice, check, origin, connect, host, spelling):
    proxy = sluice(check.config())
    client = connect(proxy)
    name = spelled(spelling, host, origin.port)
    assert client.connect(name, origin.port).status == 200
    client.start_tls(host)
    assert client.ask("GET", "/", host=f"{name}:{origin.port}").status == 200
    asked = check.questions[0]
    assert {asked["connect"]["host"], asked["request"]["host"], asked["tls"]["sni"]} == {host}
    assert proxy.log(target="/")["host"] == host


@pytest.mark.threat("one-name", "domain-fronting")
def test_the_origin_proves_the_name_of_the_request(proxy, servers, pki, tunnel, host):
    """DNS may lead anywhere: who answers has to have a certificate for the name."""
    other = servers(Origin(tls=pki.server_context(pki.faulty["wrong-host.test"])))
    assert tunnel(proxy, host, other.port).get("/").status == 502
    assert proxy.log(host=host)["error"] == "cert_wrong_host"
    assert other.requests == []


# -- exceptions that a rule names ----------------------------------------------------------------


def naming(*names, when="any", do="allow", **more):
    """A rule with names."""
    return {"when": when, "do": do, "names": list(names), "name": "excepted", **more}


@pytest.fixture
def heard(origin):
    """The server names that the origin hears, one a connection."""
    names = []
    origin.tls.sni_callback = lambda sock, name, context: names.append(name)
    return names


@pytest.fixture
def opened(connect):
    """opened(proxy, connected, port, sni) -> a raw client inside TLS for another name than the
    CONNECT's; the proxy's certificate is for that name."""
    def make(proxy, connected, port, sni):
        client = connect(proxy)
        assert client.connect(connected, port).status == 200
        return client.start_tls(sni)

    return make


@pytest.mark.threat("one-name", "domain-fronting")
@pytest.mark.parametrize("inside", ["{host}:{port}", "{host}", "127.0.0.1:{port}", "127.0.0.1"])
def test_an_address_may_be_called_by_a_name_of_the_rule(sluice, origin, dns, opened, heard, host,
                                                        inside):
    """What is connected to is the address; the name is what the origin hears and proves."""
    proxy = sluice({"rules": [naming(host, when="host 127.0.0.1")]})
    client = opened(proxy, "127.0.0.1", origin.port, host)
    said = spelled(inside, host, origin.port)
    assert client.ask("GET", "/", host=said).status == 200
    assert heard == [host] and not dns.heard_of(host)
    name = said.partition(":")[0]
    assert origin.requests[0].all("host") == [f"{name}:{origin.port}"]
    line = proxy.log(status=200, decided_by="excepted")
    assert line["host"] == name
    assert {line["host"], line.get("connect"), line.get("sni")} - {None} == {host, "127.0.0.1"}


@pytest.mark.threat("one-name")
def test_a_load_balancer_may_serve_names_of_the_rule(sluice, origin, dns, tunnel, heard, host):
    proxy = sluice({"rules": [naming(f"v1-{host}", f"*.{host}", when=f"host {host}")]})
    client = tunnel(proxy, host, origin.port)
    for name in (f"v1-{host}", f"a.{host}", f"b.a.{host}", host):
        assert client.ask("GET", "/", host=f"{name}:{origin.port}").status == 200
        assert origin.requests[-1].all("host") == [f"{name}:{origin.port}"]
        absolute = f"https://{name}:{origin.port}/abs"
        assert client.ask("GET", absolute, host="x.test").status == 200
        assert origin.requests[-1].all("host") == [f"{name}:{origin.port}"]
    assert heard == [host]
    assert not dns.heard_of(f"v1-{host}") and not dns.heard_of(f"a.{host}")
    assert proxy.log(host=f"v1-{host}")["connect"] == host


@pytest.mark.threat("one-name", "domain-fronting", "host-spoof")
@pytest.mark.parametrize("connected, sni, inside, both", [
    ("{host}", "{host}", "v2-{host}", ["v2-{host}", "CONNECT {host}"]),
    ("{host}", "{host}", "www.v1-{host}", ["www.v1-{host}", "CONNECT {host}"]),
    ("{host}", "v2-{host}", "{host}", ["SNI v2-{host}", "CONNECT {host}"]),
    ("{host}", "v2-{host}", "v1-{host}", ["SNI v2-{host}", "CONNECT {host}"]),
    ("{host}", "v1-{host}", "v2-{host}", ["v2-{host}", "CONNECT {host}"]),
    ("{host}", "{host}", "v1-{host}:1", ["v1-{host}:1", "CONNECT {host}"]),
    ("127.0.0.1", "v2-{host}", "127.0.0.1", ["SNI v2-{host}", "CONNECT 127.0.0.1"]),
    ("127.0.0.1", "v1-{host}", "{host}", ["host {host}", "CONNECT 127.0.0.1"]),
])
def test_no_other_name_is_excepted(sluice, check, origin, dns, opened, host, connected, sni, inside,
                                   both):
    """Nor is the check asked about one that is not."""
    config = check.config()
    config["rules"][-1]["names"] = [f"v1-{host}"]
    proxy = sluice(config)
    connected, sni, inside, *both = (spelled(t, host, origin.port)
                                     for t in (connected, sni, inside, *both))
    client = opened(proxy, connected, origin.port, sni)
    assert client.ask("GET", "/no", host=inside).status == 421
    line = proxy.log(target="/no", error="misdirected")
    assert line["verdict"] == "deny" and all(name in line["detail"] for name in both), line
    assert origin.n_connections == 0 and check.questions == []


@pytest.mark.threat("one-name", "domain-fronting")
@pytest.mark.parametrize("sni, inside", [("v1-{host}", "{host}"), ("{host}", "v1-{host}"),
                                         ("v1-{host}", "v1-{host}")])
def test_only_the_rule_that_decides_makes_exceptions(sluice, origin, opened, host, sni, inside):
    """Which one that is, the handshake cannot know yet: rules before it and behind it do not help."""
    proxy = sluice({"rules": [{"when": "path /before*", "do": "allow"},
                              naming(f"v1-{host}", when="path /named*"),
                              {"when": "path /behind*", "do": "allow"},
                              naming(f"v1-{host}", when="path /never")]})
    client = opened(proxy, host, origin.port, spelled(sni, host, origin.port))
    said = f"{spelled(inside, host, origin.port)}:{origin.port}"
    for target, status in (("/before", 421), ("/named", 200), ("/behind", 421), ("/default", 421),
                           ("/named", 200)):
        assert client.ask("GET", target, host=said).status == status
    assert [r.target for r in origin.requests] == ["/named"] * 2


@pytest.mark.threat("one-name")
def test_a_reload_takes_the_exception_away(sluice, origin, opened, host):
    proxy = sluice({"rules": [naming(host)]})
    client = opened(proxy, "127.0.0.1", origin.port, host)
    assert client.ask("GET", "/", host=host).status == 200
    assert "reloaded" in proxy.reload({"rules": []})
    assert client.ask("GET", "/", host=host).status == 421


@pytest.mark.threat("one-name", "domain-fronting")
@pytest.mark.parametrize("sni, status", [("other.test", 200), ("wrong-host.test", 502)])
def test_the_origin_proves_the_name_of_the_exception(sluice, servers, pki, opened, sni, status):
    """Not that of the CONNECT, for which its certificate would be good as well."""
    other = servers(Origin(tls=pki.server_context(pki.faulty["wrong-host.test"])))
    proxy = sluice({"rules": [naming("*.test")]})
    assert opened(proxy, "other.test", other.port, sni).get("/").status == status
    line = proxy.log(status=status)
    assert line["error"] == (None if status == 200 else "cert_wrong_host")
    assert len(other.requests) == (status == 200)


@pytest.mark.threat("one-name")
def test_no_connection_is_shared_by_two_names(sluice, origin, opened, heard, host):
    """Nor is a session: each is a handshake of its own."""
    proxy = sluice({"workers": 1, "rules": [naming(f"v1-{host}", f"v2-{host}")]})
    names = [host, f"v1-{host}", f"v2-{host}"]
    for _ in range(2):
        for name in names:
            assert opened(proxy, host, origin.port, name).get("/").status == 200
    assert heard == names and origin.n_connections == 3
    first = {r.connection for r in origin.requests[:3]}
    assert len(first) == 3 and {r.connection for r in origin.requests[3:]} == first


@pytest.mark.threat("checked-first", "one-name")
def test_the_check_hears_every_name(sluice, check, origin, opened, host):
    """request.host stays what is connected to; the name that is said stands among the fields."""
    check.answer = lambda q: {"action": "allow", "cache": {"ttl": 60, "vary": ["host"]}}
    config = check.config(cache={"ttl": "1m"})
    config["rules"][-1]["names"] = ["*.site.test"]
    proxy = sluice(config)
    client = opened(proxy, host, origin.port, f"sni-{host}")
    for name in (f"a-{host}", host, f"b-{host}", f"a-{host}"):
        assert client.ask("GET", "/", host=f"{name}:{origin.port}").status == 200
    asked = check.questions
    assert len(asked) == 3
    for q, name in zip(asked, (f"a-{host}", host, f"b-{host}")):
        assert q["connect"]["host"] == q["request"]["host"] == host
        assert q["tls"]["sni"] == f"sni-{host}"
        said = [v for n, v in q["request"]["headers"] if n == "host"]
        assert said == ([] if name == host else [f"{name}:{origin.port}"])
    opened(proxy, host, origin.port, host).get("/")
    assert len(check.questions) == 4


@pytest.mark.threat("one-name")
@pytest.mark.parametrize("inside, status", [("v1-{host}", 200), ("v1-{host}:{port}", 200),
                                            ("v2-{host}", 421), ("v1-{host}:80", 421)])
def test_exceptions_hold_without_tls(sluice, plain_origin, dns, connect, host, inside, status):
    proxy = sluice({"rules": [naming(f"v1-{host}")]})
    client = connect(proxy)
    assert client.connect(host, plain_origin.port).status == 200
    said = spelled(inside, host, plain_origin.port)
    assert client.ask("GET", "/", host=said).status == status
    assert not dns.heard_of(f"v1-{host}")
    assert [r.all("host") for r in plain_origin.requests] == (
        [[f"v1-{host}:{plain_origin.port}"]] if status == 200 else [])


@pytest.mark.threat("one-name", "domain-fronting")
@pytest.mark.parametrize("when", ["any", "sni v1-{host}"])
@pytest.mark.parametrize("sni, passes", [("v1-{host}", True), ("v2-{host}", False)])
def test_a_tunnel_rule_lets_its_names_pass_unopened(sluice, origin, pki, connect, heard, host, when,
                                                    sni, passes):
    """Whether it decides at the CONNECT or with the ClientHello; a rule behind it does not help."""
    sni = spelled(sni, host, origin.port)
    rule = naming(f"v1-{host}", when=spelled(when, host, origin.port), do="tunnel")
    proxy = sluice({"rules": [rule, {"when": "any", "do": "tunnel"}]})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    if not passes:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.start_tls(sni, pki.trusting())
        assert heard == []
        return
    assert client.start_tls(sni, pki.trusting()).get("/").status == 200
    assert heard == [sni]
    client.sock.close()
    assert proxy.log(decided_by="excepted", opaque=True)["verdict"] == "tunnel"


@pytest.mark.threat("one-name")
@pytest.mark.parametrize("names, passes", [(None, True), ("other.site.test", False)])
def test_a_tunnel_to_an_address_is_called_by_any_name_or_by_those_of_its_rule(
        sluice, origin, pki, connect, host, names, passes):
    rule = {"when": "host 127.0.0.1", "do": "tunnel", **({"names": [names]} if names else {})}
    client = connect(sluice({"rules": [rule]}))
    assert client.connect("127.0.0.1", origin.port).status == 200
    if passes:
        assert client.start_tls(host, pki.trusting()).get("/").status == 200
    else:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.start_tls(host, pki.trusting())
