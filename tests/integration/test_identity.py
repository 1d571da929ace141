"""One name: what CONNECT, SNI, Host, the absolute form and the origin's certificate have to agree on.

Over HTTP/2 the same holds of each stream; test_http2_gate.py asks for it.
"""
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
