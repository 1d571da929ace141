"""Malformed requests, chunks, responses and first bytes: refused by name, and never passed on."""
import socket

import pytest

from harness import http1
from harness.check_service import CheckService
from harness.client import request
from harness.origin import Origin, echo
from harness.process import Sluice, merged


@pytest.fixture
def scripted(servers, pki):
    """scripted(respond) -> a TLS origin that answers so."""
    def make(respond=echo):
        return servers(Origin(respond, tls=pki.server_context()))

    return make


def fixed(answer):
    """Always the same bytes."""
    return lambda asked: answer


HOST = b"Host: {host}\r\n"
MALFORMED = {
    "bare lf": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "bare lf between fields": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\n\r\n", 400),
    "bare cr": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n", 400),
    "nul": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\0c\r\n\r\n", 400),
    "folded": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\n" + HOST + b"A\r\n\r\n", 400),
    "empty name": (b"GET / HTTP/1.1\r\n" + HOST + b": b\r\n\r\n", 400),
    "name with space": (b"GET / HTTP/1.1\r\n" + HOST + b"A B: c\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "tab": (b"GET\t/\tHTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "http 0.9": (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    "http 1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    "http 2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "lower case http": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "host with user": (b"GET / HTTP/1.1\r\nHost: a@{host}\r\n\r\n", 400),
    "host with comma": (b"GET / HTTP/1.1\r\nHost: {host},x\r\n\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "bytes in target": (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "method is no token": (b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "cl and te": (b"POST / HTTP/1.1\r\n" + HOST +
                  b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "te and cl": (b"POST / HTTP/1.1\r\n" + HOST +
                  b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\n" + HOST +
                    b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "length twice": (b"POST / HTTP/1.1\r\n" + HOST +
                     b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "list of lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4, 5\r\n\r\nabcd", 400),
    "signed length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n\r\nabcd", 400),
    "negative length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "hex length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x4\r\n\r\nabcd", 400),
    "huge length": (b"POST / HTTP/1.1\r\n" + HOST +
                    b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "te other": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "te twice": (b"POST / HTTP/1.1\r\n" + HOST +
                 b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
    "te identity": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "te before chunked": (b"POST / HTTP/1.1\r\n" + HOST +
                          b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "te with parameter": (b"POST / HTTP/1.1\r\n" + HOST +
                          b"Transfer-Encoding: chunked;x=y\r\n\r\n0\r\n\r\n", 501),
    "te in two fields": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"
                         b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "te obfuscated": (b"POST / HTTP/1.1\r\n" + HOST +
                      b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "te in 1.0": (b"POST / HTTP/1.0\r\n" + HOST +
                  b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
}


@pytest.mark.threat("smuggled-past-hooks", "one-reading")
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(proxy, origin, tunnel, host, case):
    head, status = MALFORMED[case]
    client = tunnel(proxy, host, origin.port)
    client.send(head.replace(b"{host}", client.authority.encode()) +
                request("GET", "/smuggled", client.authority))
    answer = client.read()
    assert answer.status == status
    assert answer.get("proxy-status").startswith("sluice; error=http_request_error")
    assert client.is_closed()
    assert origin.requests == []


BAD_CHUNKS = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "hex prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "signed": b"+3\r\nabc\r\n0\r\n\r\n",
    "space behind": b"3 \r\nabc\r\n0\r\n\r\n",
    "bare cr": b"3\rabc\r\n0\r\n\r\n",
    "nul": b"3\0\r\nabc\r\n0\r\n\r\n",
    "no end": b"3\r\nabc0\r\n\r\n",
    "bare lf behind": b"3\r\nabc\n0\r\n\r\n",
    "bare lf in the last": b"3\r\nabc\r\n0\n\r\n",
    "blanks in extension": b"3 ; a\r\nabc\r\n0\r\n\r\n",
    "extension over its limit": b"3;" + b"a" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
    "bare lf in trailers": b"3\r\nabc\r\n0\r\nA: b\n\r\n",
    "folded trailer": b"3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n",
    "space": b" 3\r\nabc\r\n0\r\n\r\n",
    "bare lf": b"3\nabc\r\n0\r\n\r\n",
    "too short": b"2\r\nabc\r\n0\r\n\r\n",
    "overflow": b"10000000000000000\r\nabc\r\n0\r\n\r\n",
    "bare lf in extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.threat("lenient-chunks")
@pytest.mark.parametrize("case", BAD_CHUNKS)
def test_malformed_chunks_smuggle_nothing(proxy, origin, tunnel, host, case):
    client = tunnel(proxy, host, origin.port)
    client.send(request("POST", "/", client.authority, [("Transfer-Encoding", "chunked")],
                        BAD_CHUNKS[case]) + request("GET", "/smuggled", client.authority))
    try:
        assert client.read().status == 400
        assert client.is_closed()
    except ConnectionError:
        pass
    proxy.log(host=host, error="bad_framing")
    assert all(r.target != "/smuggled" for r in origin.requests)


BAD_RESPONSES = {
    "no http": b"220 smtp ready\r\n\r\n",
    "bare lf": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "cl and te": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                 b"0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
    "te other": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
    "te list": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "te in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "204 with length": b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nab",
    "204 with te": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "100 with length": b"HTTP/1.1 100 Go\r\nContent-Length: 2\r\n\r\nab",
    "http 1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "http 0.9": b"<p>hello</p>",
    "folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bare cr": b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
    "bare lf between fields": b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c\r\n\r\n",
    "101 not asked for": b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nab",
    "status out of range": b"HTTP/1.1 99 x\r\n\r\n",
    "status no number": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 0\r\n\r\n",
    "huge head": b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * (200 << 10) + b"\r\n\r\n",
}


@pytest.mark.threat("smuggled-past-hooks", "one-reading")
@pytest.mark.parametrize("case", BAD_RESPONSES)
def test_a_malformed_response_is_502(proxy, scripted, tunnel, host, case):
    origin = scripted(fixed(BAD_RESPONSES[case]))
    client = tunnel(proxy, host, origin.port)
    answer = client.get("/")
    assert answer.status == 502
    assert "error=http_" in answer.get("proxy-status")
    assert answer.get("set-cookie") is None


@pytest.fixture(scope="module")
def babbling(binary, tmp_path_factory, surroundings, pki):
    """A check that says yes in a way that is no HTTP, and more than its body."""
    check = CheckService(lambda q: BAD_RESPONSES[q["request"]["query"].replace("+", " ")])
    origin = Origin(tls=pki.server_context())
    config = merged(surroundings, check.config(timeout="10s"))
    one = Sluice(binary, tmp_path_factory.mktemp("sluice"), config).wait_ready()
    yield one, origin
    one.finish()
    check.close()
    origin.close()


@pytest.mark.threat("check-skipped", "one-reading", "fail-closed")
@pytest.mark.parametrize("case", BAD_RESPONSES)
def test_a_malformed_reply_of_the_check_denies(babbling, tunnel, host, case):
    """One parser for both: what is no response of an origin is no reply."""
    checked, origin = babbling
    assert tunnel(checked, host, origin.port).get("/?" + case.replace(" ", "+")).status == 503
    assert origin.n_connections == 0
    assert checked.metric("sluice_check_failures_total", **{"class": "bad_reply"}) > 0


def test_a_yes_in_the_wrong_framing_is_none(sluice, check, origin, tunnel, host):
    yes = b'{"action":"allow"}'
    framings = [b"Content-Length: 18\r\nContent-Length: 18", b"Content-Length: 18\r\nA: b\r\n c",
                b"Transfer-Encoding: chunked\r\nContent-Length: 18", b"Content-Length : 18",
                b"Content-Length: 18\nA: b", b"A: b\rc\r\nContent-Length: 18",
                b"Transfer-Encoding: identity"]
    client = tunnel(sluice(check.config(timeout="10s")), host, origin.port)
    for fields in framings:
        check.answer = lambda q, f=fields: b"HTTP/1.1 200 OK\r\n" + f + b"\r\n\r\n" + yes
        assert client.get("/").status == 503, fields
    assert origin.n_connections == 0


@pytest.mark.threat("smuggled-past-hooks", "one-reading")
def test_what_goes_on_is_framed_anew(proxy, servers, pki, tunnel, host):
    """No byte of the wire is copied: not a chunk's size, not its extension, not a blank."""
    seen = []

    def serve(connection):
        while data := connection.reader.some():
            seen.append(data)
            if b"".join(seen).endswith(b"0\r\n\r\n"):
                connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA:b\r\n\r\n"
                                b"0003;x=y\r\nabc\r\n00;z\r\nX-T:\t1 \r\n\r\n")

    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    client = tunnel(proxy, host, origin.port)
    client.send(b"POST / HTTP/1.1\r\nhOST:" + client.authority.encode() +
                b"  \r\ntransfer-ENCODING:\tchunked\r\nA:\t b \t\r\n\r\n"
                b"0005;ext=\"x\"\r\nhello\r\n0000;end\r\n\r\n")
    head = client.reader.until(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in head and b"A: b\r\n" in head
    assert client.reader.until(b"\r\n\r\n") == b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    sent = b"".join(seen)
    assert b"\r\nHost: " + client.authority.encode() + b"\r\n" in sent
    assert b"\r\nTransfer-Encoding: chunked\r\n" in sent and b"\r\nA: b\r\n" in sent
    assert sent.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.threat("one-reading")
def test_nothing_is_read_behind_connection_close(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/last", client.authority, [("Connection", "close")]) +
                request("GET", "/smuggled", client.authority))
    assert client.read().status == 200
    assert client.is_closed()
    assert [r.target for r in origin.requests] == ["/last"]


@pytest.mark.threat("one-reading")
def test_nothing_is_read_behind_an_origins_connection_close(proxy, scripted, tunnel, host):
    close = http1.response(b"1", headers=[("Connection", "close")])
    origin = scripted(fixed(close + http1.response(b"poison")))
    client = tunnel(proxy, host, origin.port)
    assert [client.get(f"/{i}").body for i in range(3)] == [b"1"] * 3
    assert origin.n_connections == 3


@pytest.mark.threat("one-reading")
def test_two_responses_to_one_request_are_not_believed(proxy, scripted, tunnel, host):
    origin = scripted(fixed(http1.response(b"1") + http1.response(b"poison")))
    client = tunnel(proxy, host, origin.port)
    assert [client.get(f"/{i}").body for i in range(3)] == [b"1"] * 3


@pytest.mark.threat("parser-panics")
def test_garbage_instead_of_http_to_the_proxy(proxy, connect):
    for garbage in (b"\x00\x01\x02\r\n\r\n", b"\xff" * 100, b"GET\r\n\r\n"):
        client = connect(proxy)
        client.send(garbage)
        assert client.read().status == 400
        assert client.is_closed()


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("line", [b"GET http://ann:s3cret@{host}/ HTTP/1.1",
                                  b"CONNECT ann:s3cret@{host}:443 HTTP/1.1"])
def test_credentials_in_a_url_are_refused_and_not_logged(sluice, connect, host, line, form):
    proxy = sluice({"log": {"format": form}})
    client = connect(proxy)
    client.send((line + b"\r\nHost: {host}\r\n\r\n").replace(b"{host}", host.encode()))
    assert client.read().status == 400
    assert proxy.stop() == 0
    said = proxy.access.read_text()
    assert "bad_target" in said and "s3cret" not in said + proxy.stderr


@pytest.mark.threat("parser-panics")
def test_a_malformed_hello_ends_the_connection(proxy, connect, dns, host):
    for hello in (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", b"\x16\x03\x01\xff\xff" + b"\0" * 100,
                  b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00" + b"\x16\x03\x01\x40\x00" * 4):
        client = connect(proxy)
        assert client.connect(host, 443).status == 200
        client.send(hello)
        client.sock.shutdown(socket.SHUT_WR)
        client.reader.rest()
    assert not dns.heard_of(host)
