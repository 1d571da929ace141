"""HTTP/1 where clients and origins disagree: versions, codings, names, and time."""
import select
import socket
import threading
import time

import pytest

from harness import http1, waiting
from harness.check_service import CheckService
from harness.client import request
from harness.origin import Origin, echo


@pytest.fixture
def scripted(servers, pki):
    """scripted(respond or serve=...) -> a TLS origin that answers so."""
    def make(respond=echo, **more):
        return servers(Origin(respond, tls=pki.server_context(), **more))

    return make


def fixed(answer):
    """Always the same bytes."""
    return lambda asked: answer


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.threat("spelling-of-hosts")
@pytest.mark.parametrize("spelled", ["{}", "{}.", "UP-{}"])
def test_spellings_of_one_name_are_one_name(proxy, origin, connect, host, spelled):
    name = spelled.format(host)
    client = connect(proxy)
    assert client.connect(name, origin.port).status == 200
    client.start_tls(name.lower().rstrip("."))
    for inside in (name, name.lower(), name.upper(), name.rstrip(".")):
        assert client.ask("GET", "/", host=f"{inside}:{origin.port}").status == 200


@pytest.mark.threat("one-name")
def test_what_the_check_hears_is_canonical(sluice, check, origin, connect, host):
    client = connect(sluice(check.config()))
    assert client.connect(f"ABC-{host.upper()}.", origin.port).status == 200
    client.start_tls(f"abc-{host}")
    assert client.get("/").status == 200
    asked = check.questions[0]
    heard = {asked["connect"]["host"], asked["request"]["host"], asked["tls"]["sni"]}
    assert heard == {f"abc-{host}"}
    assert origin.requests[0].get("host") == f"abc-{host}:{origin.port}"


def test_a_utf8_name_is_its_a_label(proxy, dns, connect):
    client = connect(proxy)
    name = "b\u00fccher.test:443"
    client.send(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    answer = http1.read_head(client.reader)
    if answer.status == 400:
        return
    client.start_tls("xn--bcher-kva.test")
    client.authority = "xn--bcher-kva.test:443"
    client.get("/")
    assert dns.heard_of("xn--bcher-kva.test")


def test_default_ports_need_no_naming(proxy, tunnel, host):
    client = tunnel(proxy, host, 443)
    assert client.ask("GET", "/", host=host).status == 502
    assert client.ask("GET", "/", host=f"{host}:443").status == 502
    assert client.ask("GET", "/", host=f"{host}:80").status == 421


def test_an_ipv6_literal_in_brackets(sluice, connect):
    proxy = sluice({"upstream": {"allow_addresses": ["::1/128"]}})
    client = connect(proxy)
    assert client.connect("::1", 9).status == 200
    client.start_tls("::1")
    assert client.get("/").status == 502
    assert proxy.log(method="GET")["host"] == "::1"


# -- versions and codings ------------------------------------------------------------------------


def test_an_http2_preface_is_refused_cleanly(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert client.read().status in (400, 505)
    assert client.is_closed()
    assert origin.n_connections == 0


def test_interim_responses_are_not_for_http10(proxy, scripted, tunnel, host):
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    client = tunnel(proxy, host, scripted(fixed(early + http1.response(b"x"))).port)
    client.send(request("GET", "/", client.authority, version="1.0"))
    answer = client.read()
    assert (answer.status, answer.body) == (200, b"x")


def test_head_of_a_chunked_resource(proxy, scripted, tunnel, host):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = tunnel(proxy, host, scripted(fixed(answer)).port)
    for _ in range(2):
        assert client.ask("HEAD", "/").status == 200


def test_304_with_a_length_has_no_body(proxy, scripted, tunnel, host):
    answer = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"
    client = tunnel(proxy, host, scripted(fixed(answer)).port)
    assert [client.get("/").status for _ in range(3)] == [304] * 3


def test_204_with_a_body_is_not_believed(proxy, scripted, tunnel, host):
    answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"
    client = tunnel(proxy, host, scripted(fixed(answer)).port)
    assert client.get("/").status in (204, 502)
    assert client.get("/").status in (204, 502)


@pytest.mark.parametrize("coding", ["Chunked", "CHUNKED"])
def test_chunked_in_any_case(proxy, origin, tunnel, host, coding):
    client = tunnel(proxy, host, origin.port)
    answer = client.ask("POST", "/", [("Transfer-Encoding", coding)], b"1\r\na\r\n0\r\n\r\n")
    assert answer.status == 200 and origin.requests[0].body == b"a"


@pytest.mark.threat("legacy-protocols")
def test_an_upgrade_to_h2c_is_not_passed_on(proxy, plain_origin, connect, host):
    client = connect(proxy)
    authority = f"{host}:{plain_origin.port}"
    client.ask("GET", f"http://{authority}/", [("Connection", "Upgrade, HTTP2-Settings"),
                                               ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")],
               host=authority)
    names = {n.lower() for n, _ in plain_origin.requests[0].headers}
    assert not names & {"upgrade", "http2-settings"}


def test_via_is_added_and_nothing_tells_of_the_client(proxy, origin, tunnel, host):
    answer = tunnel(proxy, host, origin.port).get("/")
    assert "sluice" in origin.requests[0].get("via") and "sluice" in answer.get("via")
    names = {n.lower() for n, _ in origin.requests[0].headers}
    assert not any(n.startswith(("x-forwarded", "forwarded", "x-sluice")) for n in names)


def test_one_empty_line_before_a_request_is_skipped(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(b"\r\n" + request("GET", "/", client.authority))
    assert client.read().status == 200


@pytest.mark.threat("legacy-protocols")
@pytest.mark.parametrize("uri", ["ftp://{}/", "gopher://{}/", "urn:x:y", "file:///etc/passwd",
                                 "http://user:pw@{}/", "http:///x", "://{}", "http://[::1"])
def test_other_schemes_are_refused(proxy, dns, connect, host, uri):
    client = connect(proxy)
    answer = client.ask("GET", uri.format(host), host=host)
    assert answer.status in (400, 501)
    assert not dns.heard_of(host)


@pytest.mark.threat("spelling-of-hosts")
@pytest.mark.parametrize("target", ["{}", "{}:", "{}:0", "{}:65536", "{}:x", ":443", "{}:443/",
                                    "http://{}:443", "*", "/", "user@{}:443", "{}:443:443"])
def test_a_malformed_connect_is_400(proxy, dns, connect, host, target):
    client = connect(proxy)
    where = target.format(host)
    client.send(f"CONNECT {where} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert client.read().status == 400
    assert not dns.heard_of(host)


def test_connect_with_a_body_is_400(proxy, connect, host):
    client = connect(proxy)
    client.send(request("CONNECT", f"{host}:443", f"{host}:443", body=b"abc"))
    assert client.read().status == 400


# -- time ----------------------------------------------------------------------------------------


def drip(client, data):
    """Sends byte after byte with pauses; how many were sent before the other side closed."""
    for n, byte in enumerate(data):
        readable, _, _ = select.select([client.sock], [], [], 0.02)
        if readable:
            return n
        try:
            client.send(bytes([byte]))
        except OSError:
            return n
    return len(data)


@pytest.mark.threat("endless-head", "bounded")
def test_a_dripping_head_does_not_win_time(sluice, origin, tunnel, host):
    client = tunnel(sluice({"limits": {"header_timeout": "300ms"}}), host, origin.port)
    head = request("GET", "/", client.authority, [("X-Filler", "x" * 2000)])
    assert drip(client, head) < 1000
    assert origin.n_connections == 0


def test_a_dripping_hello_does_not_win_time(sluice, connect, origin, host):
    client = connect(sluice({"limits": {"handshake_timeout": "300ms"}}))
    assert client.connect(host, origin.port).status == 200
    assert drip(client, b"\x16\x03\x01\x07\xd0\x01\x00\x07\xcc" + b"\x03" * 1900) < 1000


def test_a_body_that_stands_still_is_408(sluice, origin, tunnel, host):
    proxy = sluice({"limits": {"idle_timeout": "200ms"}})
    client = tunnel(proxy, host, origin.port)
    client.send(request("POST", "/", client.authority, [("Content-Length", "10")], b"half"))
    assert client.read().status == 408
    assert client.is_closed()
    assert proxy.log(host=host)["error"] == "request_timeout"


def test_a_response_that_stands_still_is_cut(sluice, scripted, tunnel, host):
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.reader.rest()

    proxy = sluice({"limits": {"idle_timeout": "200ms"}, "upstream": {"idle_timeout": "200ms"}})
    client = tunnel(proxy, host, scripted(serve=serve).port)
    with pytest.raises((http1.Closed, ConnectionError)):
        client.get("/")
    assert proxy.log(host=host)["error"] == "read_timeout"


@pytest.mark.threat("half-closed-peers")
def test_a_quiet_tunnel_ends(sluice, servers, connect, host):
    quiet = servers(Origin(serve=lambda c: (c.send(b"hi"), c.reader.rest())))
    rules = [{"when": "any", "do": "tunnel"}]
    proxy = sluice({"limits": {"idle_timeout": "200ms"}, "rules": rules})
    client = connect(proxy)
    assert client.connect(host, quiet.port).status == 200
    assert client.reader.exactly(2) == b"hi"
    assert client.is_closed()


def test_idle_upstream_connections_are_closed(sluice, scripted, tunnel, host):
    ended = []

    def serve(connection):
        origin.take(connection)
        connection.send(http1.response(b"x"))
        ended.append(connection.reader.rest())

    origin = scripted(serve=serve)
    proxy = sluice({"upstream": {"idle_timeout": "200ms"}})
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    waiting.until(lambda: ended, "the end of the idle connection")
    assert proxy.metric("sluice_upstream_connections", state="idle") == 0


# -- checks and time -----------------------------------------------------------------------------


def test_a_reply_that_stops_half_way_is_a_time_out(sluice, check, origin, tunnel, host):
    def half(connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"action\"")
        while not check.released.wait(0.05):
            pass

    check.answer = lambda q: half
    proxy = sluice(check.config(timeout="300ms"))
    start = time.monotonic()
    assert tunnel(proxy, host, origin.port).get("/").status == 503
    assert time.monotonic() - start < 10
    assert proxy.metric("sluice_check_failures_total", **{"class": "timeout"}) == 1


@pytest.mark.parametrize("reply", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"action\r\na\r\n\":\"allow\"}\r\n"
    b"0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"action\":\"allow\"}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\n{\"action\":\"allow\"}",
], ids=["chunked", "100 first", "close"])
def test_replies_in_other_framings(sluice, check, origin, tunnel, host, reply):
    check.answer = lambda q: reply
    client = tunnel(sluice(check.config(timeout="5s")), host, origin.port)
    assert [client.get(f"/{i}").status for i in range(3)] == [200] * 3


def test_a_reply_to_the_end_of_the_connection(sluice, check, origin, tunnel, host):
    def answer(connection):
        connection.send(b"HTTP/1.0 200 OK\r\n\r\n{\"action\":\"allow\"}")
        raise ConnectionError

    check.answer = lambda q: answer
    client = tunnel(sluice(check.config(timeout="5s")), host, origin.port)
    assert [client.get(f"/{i}").status for i in range(3)] == [200] * 3


def test_a_header_can_be_set_to_several_values(sluice, check, origin, tunnel, host):
    check.answer = lambda q: {"action": "allow", "request": {"set": {"x-group": ["a", "b"]}}}
    tunnel(sluice(check.config()), host, origin.port).get("/", [("X-Group", "forged")])
    assert origin.requests[0].all("x-group") == ["a", "b"]


def test_many_clients_at_once_with_a_check(sluice, servers, origin, tunnel, host):
    """Half of the paths are denied; nobody gets another's verdict or answer."""
    check = servers(CheckService(lambda q: {
        "action": "deny" if "odd" in q["request"]["path"] else "allow"}))
    proxy = sluice({**check.config(timeout="30s"), "workers": 4})
    wrong = []

    def use(me):
        client = tunnel(proxy, host, origin.port)
        for i in range(20):
            path = f"/{'odd' if i % 2 else 'even'}/{me}/{i}"
            answer = client.get(path)
            good = answer.status == 403 if i % 2 else answer.text.startswith(f"GET {path} ")
            if not good:
                wrong.append((path, answer.start, answer.body))

    users = [threading.Thread(target=use, args=(me,)) for me in range(24)]
    for user in users:
        user.start()
    for user in users:
        user.join(60)
    assert wrong == []
    assert len(origin.requests) == 240 and len(check.questions) == 480
    assert not any("odd" in r.target for r in origin.requests)


# -- other ways in -------------------------------------------------------------------------------


def test_a_listener_on_a_unix_socket(sluice, plain_origin, host, tmp_path):
    path = tmp_path / "proxy.sock"
    sluice({}, "--listen", f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        waiting.until(path.exists, "the socket")
        sock.connect(str(path))
        authority = f"{host}:{plain_origin.port}"
        sock.sendall(request("GET", f"http://{authority}/unix", authority))
        assert http1.read_response(http1.Reader(sock)).text.startswith("GET /unix")


def test_several_listeners(sluice):
    proxy = sluice({}, "--listen", "127.0.0.1:0")
    ports = proxy.wait_stderr(r"listening on (.*)").group(1)
    assert ports.count("127.0.0.1:") == 2
