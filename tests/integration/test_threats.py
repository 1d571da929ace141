"""Rows of docs/THREAT-MODEL.md that no test of a feature is about."""
import base64

import pytest

from harness import http1
from harness.check_service import deny
from harness.client import WireTls, request
from harness.origin import Origin


@pytest.fixture
def listening(servers):
    """An origin of no protocol that keeps what it hears."""
    def serve(connection):
        while data := connection.reader.some():
            with origin.condition:
                origin.heard += data
                origin.condition.notify_all()

    origin = servers(Origin(serve=serve))
    origin.heard = b""
    return origin


def connect_with(client, authority, early):
    """A CONNECT and what a client in a hurry sends behind it, in one segment."""
    client.send(request("CONNECT", authority, authority) + early)


@pytest.mark.threat("early-data-after-connect", "checked-first")
@pytest.mark.parametrize("verdict", ["allow", "deny"])
@pytest.mark.parametrize("phase", ["connect", "request"])
def test_early_data_after_connect(sluice, check, listening, dns, connect, host, phase, verdict):
    check.answer = lambda q: check.stall({"action": verdict})
    proxy = sluice(check.config(phase=[phase], timeout="30s"))
    client = connect(proxy)
    connect_with(client, f"{host}:{listening.port}", b"\x00early")
    check.wait_questions(1)
    assert listening.n_connections == 0 and not dns.heard_of(host)
    check.release()
    if verdict == "allow":
        listening.wait(lambda: listening.heard == b"\x00early", "the bytes")
    else:
        assert http1.read_head(client.reader).status == 200
        assert client.is_closed()
        assert listening.n_connections == 0 and not dns.heard_of(host)


@pytest.mark.threat("early-data-after-connect")
def test_early_data_after_a_connect_that_is_refused(sluice, check, origin, listening, connect,
                                                    host):
    """It is not taken for a request, whatever it looks like."""
    rules = [{"when": f"host {host}", "do": "refuse"}]
    proxy = sluice(check.config(rules))
    client = connect(proxy)
    authority = f"b-{host}:{listening.port}"
    connect_with(client, f"{host}:443", b"\x16\x03\x01" + request("GET", f"http://{authority}/",
                                                                   authority))
    assert client.read().status == 403
    try:
        assert client.read().status == 400
    except ConnectionError:
        pass
    assert client.is_closed()
    assert listening.n_connections == 0 and check.questions == []


@pytest.mark.threat("early-data-after-connect")
def test_early_data_of_a_tunnel_waits_for_the_origin(sluice, listening, dns, connect, host):
    """By rule unopened: the client hears 200 when the way stands, and its bytes go then."""
    proxy = sluice({"rules": [{"when": "any", "do": "tunnel"}]})
    wire = WireTls(proxy.trusting(), host)
    hello = wire.hello()
    client = connect(proxy)
    connect_with(client, f"{host}:{listening.port}", hello)
    assert http1.read_head(client.reader).status == 200
    listening.wait(lambda: listening.heard == hello, "the hello, as it was")
    dns.records["b-" + host] = ["127.0.0.9"]
    other = connect(proxy)
    connect_with(other, f"b-{host}:{listening.port}", hello)
    assert other.read().status == 502
    assert listening.n_connections == 1


CREDENTIALS = {
    "basic": "Basic " + base64.b64encode(b"ann:s3cret").decode(),
    "basic for a directory": "Basic " + base64.b64encode(b"*)(uid=*))(|(uid=*:s3cret").decode(),
    "basic with NUL": "Basic " + base64.b64encode(b"ann\0:s3cret").decode(),
    "basic without end": "Basic " + "QUFB" * 4000,
    "basic of no base64": "Basic %%%s3cret",
    "digest": 'Digest username="ann", realm="x", nonce="s3cret", uri="/", response="0"',
    "digest without end": 'Digest username="s3cret',
    "digest of very many": "Digest " + ",".join(f'a{i}="s3cret"' for i in range(2000)),
    "digest of a long nonce": 'Digest nonce="' + "s3cret" * 5000 + '"',
    "digest of commas": "Digest " + "," * 20000 + "s3cret",
    "ntlm": "NTLM TlRMTVNTUAABAAAA" + "s3cret" * 10,
    "nothing": "",
}


@pytest.mark.threat("digest-parsers", "ldap-injection")
@pytest.mark.parametrize("case", CREDENTIALS)
def test_credentials_for_a_proxy_are_not_read(sluice, check, plain_origin, connect, host, case):
    """There is no parser for them and no directory behind it: they end here, unread, unsaid."""
    proxy = sluice({**check.config(), "log": {"level": "debug"}})
    authority = f"{host}:{plain_origin.port}"
    client = connect(proxy)
    answer = client.ask("GET", f"http://{authority}/", [("Proxy-Authorization", CREDENTIALS[case])],
                        host=authority)
    assert answer.status == 200
    asked = check.questions[0]
    assert asked["client"]["user"] is None and proxy.log(host=host)["user"] is None
    said = str(asked["request"]) + str(plain_origin.requests[0].headers) + answer.text
    said += proxy.access.read_text() + proxy.stderr
    assert "s3cret" not in said and "proxy-authorization" not in said.lower()


@pytest.mark.threat("multi-value-header")
@pytest.mark.parametrize("fields", [
    [("X-Role", "user"), ("X-Role", "admin")], [("X-Role", "user, admin")],
    [("X-Role", "user"), ("x-role", "admin"), ("X-ROLE", "")],
    [("Authorization", "a"), ("Authorization", "b")], [("X-Role", ""), ("X-Role", "admin")]])
def test_every_value_of_a_field_is_asked_about(sluice, check, origin, tunnel, host, fields):
    """The first, the last and those between; by rules as well, on any of them."""
    proxy = sluice(check.config([{"when": "header x-role *evil*", "do": "deny"}]))
    client = tunnel(proxy, host, origin.port)
    assert client.get("/", fields).status == 200
    name = fields[0][0].lower()
    asked = [v for n, v in check.questions[0]["request"]["headers"] if n == name]
    sent = [v for n, v in origin.requests[0].headers if n.lower() == name]
    assert asked == sent == [v for _, v in fields]
    for n in range(len(fields) + 1):
        evil = [*fields[:n], ("X-Role", "evil"), *fields[n:]]
        assert client.get("/", evil).status == 403
    assert len(origin.requests) == 1


@pytest.mark.threat("path-read-twice")
@pytest.mark.parametrize("name", ["x-envoy-original-path", "x-original-url", "x-rewrite-url",
                                  "x-forwarded-uri", "x-original-uri", "x-http-method-override"])
def test_no_field_stands_for_the_path(sluice, check, origin, tunnel, host, name):
    """What is asked about, matched and logged is the target; a field is only a field."""
    check.answer = lambda q: deny() if q["request"]["path"] == "/secret" else {"action": "allow"}
    proxy = sluice(check.config([{"when": "path /admin", "do": "deny"}]))
    client = tunnel(proxy, host, origin.port)
    assert client.get("/open", [(name, "/secret")]).status == 200
    asked = check.questions[0]["request"]
    assert (asked["target"], asked["path"]) == ("/open", "/open")
    assert client.get("/secret", [(name, "/open")]).status == 403
    assert client.get("/admin", [(name, "/open")]).status == 403
    assert [r.target for r in origin.requests] == ["/open"]
    assert proxy.log(target="/admin")["verdict"] == "deny"
