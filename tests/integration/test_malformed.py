"""Malformed requests, chunks, responses and first bytes: refused by name, and never passed on."""
import socket

import pytest

from harness import http1
from harness.client import request
from harness.origin import Origin, echo


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
    "list of lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4, 5\r\n\r\nabcd", 400),
    "signed length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n\r\nabcd", 400),
    "negative length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "hex length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x4\r\n\r\nabcd", 400),
    "huge length": (b"POST / HTTP/1.1\r\n" + HOST +
                    b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "te other": (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "te twice": (b"POST / HTTP/1.1\r\n" + HOST +
                 b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
    "te obfuscated": (b"POST / HTTP/1.1\r\n" + HOST +
                      b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "te in 1.0": (b"POST / HTTP/1.0\r\n" + HOST +
                  b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
}


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
    "space": b" 3\r\nabc\r\n0\r\n\r\n",
    "bare lf": b"3\nabc\r\n0\r\n\r\n",
    "too short": b"2\r\nabc\r\n0\r\n\r\n",
    "overflow": b"10000000000000000\r\nabc\r\n0\r\n\r\n",
    "bare lf in extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
}


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
    "status out of range": b"HTTP/1.1 99 x\r\n\r\n",
    "status no number": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 0\r\n\r\n",
    "huge head": b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * (200 << 10) + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", BAD_RESPONSES)
def test_a_malformed_response_is_502(proxy, scripted, tunnel, host, case):
    origin = scripted(fixed(BAD_RESPONSES[case]))
    client = tunnel(proxy, host, origin.port)
    answer = client.get("/")
    assert answer.status == 502
    assert "error=http_" in answer.get("proxy-status")


def test_two_responses_to_one_request_are_not_believed(proxy, scripted, tunnel, host):
    origin = scripted(fixed(http1.response(b"1") + http1.response(b"poison")))
    client = tunnel(proxy, host, origin.port)
    assert [client.get(f"/{i}").body for i in range(3)] == [b"1"] * 3


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


def test_a_malformed_hello_ends_the_connection(proxy, connect, dns, host):
    for hello in (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", b"\x16\x03\x01\xff\xff" + b"\0" * 100,
                  b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00" + b"\x16\x03\x01\x40\x00" * 4):
        client = connect(proxy)
        assert client.connect(host, 443).status == 200
        client.send(hello)
        client.sock.shutdown(socket.SHUT_WR)
        client.reader.rest()
    assert not dns.heard_of(host)
