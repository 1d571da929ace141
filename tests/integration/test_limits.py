"""Each limit has a name, an error, and a connection that ends cleanly."""
import pytest

from harness import waiting
from harness.client import Client, request
from harness.origin import Origin
from harness.process import merged


def assert_closed_with(client, status, error="http_request_error"):
    answer = client.read()
    assert answer.status == status
    assert f"error={error}" in answer.get("proxy-status")
    assert client.is_closed()


@pytest.mark.smoke
def test_a_header_section_too_large_is_431(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/", client.authority, [("X-Big", "x" * (80 << 10))]))
    assert_closed_with(client, 431)
    assert origin.n_connections == 0
    assert proxy.log(host=host)["error"] == "header_too_large"


def test_too_many_fields_is_431(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/", client.authority, [("X", "1")] * 300))
    assert_closed_with(client, 431)


def test_fields_up_to_the_limit_pass(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    assert client.get("/", [("X-Big", "x" * (60 << 10))]).status == 200
    assert client.get("/", [("X", "1")] * 190).status == 200


def test_a_target_too_long_is_414(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    assert client.get("/" + "x" * (16 << 10)).status == 414
    assert client.is_closed()


def test_a_target_up_to_the_limit_passes(proxy, origin, tunnel, host):
    assert tunnel(proxy, host, origin.port).get("/" + "x" * 16000).status == 200


@pytest.mark.threat("endless-head", "bounded")
def test_a_header_section_without_end_is_cut_off(proxy, origin, tunnel, host):
    """185 MB were accepted elsewhere."""
    client = tunnel(proxy, host, origin.port)
    client.send(f"GET / HTTP/1.1\r\nHost: {client.authority}\r\n".encode())
    with pytest.raises(OSError):
        for _ in range(2000):
            client.send(b"X-Filler: " + b"x" * 8000 + b"\r\n")
    assert origin.n_connections == 0
    assert proxy.log(host=host)["status"] == 431


@pytest.mark.threat("bounded")
@pytest.mark.parametrize("headers, body", [
    ([("Content-Length", "1025")], b""),
    ([("Transfer-Encoding", "chunked")], b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n"),
])
def test_a_body_too_large_is_413(sluice, origin, tunnel, host, headers, body):
    proxy = sluice({"limits": {"body_bytes": "1KiB"}})
    client = tunnel(proxy, host, origin.port)
    assert client.ask("POST", "/", body=b"x" * 1024).status == 200
    client.send(request("POST", "/big", client.authority, headers, body))
    assert client.read().status == 413
    assert all(len(r.body) <= 1024 for r in origin.requests)


@pytest.mark.threat("bounded")
def test_connections_per_client(sluice, origin, tunnel, connect, host):
    proxy = sluice({"limits": {"connections_per_client": 2}})
    first, second = (tunnel(proxy, host, origin.port) for _ in range(2))
    third = connect(proxy)
    answer = third.read()
    assert answer.status == 429 and answer.get("retry-after") == "1"
    assert third.is_closed()
    assert proxy.metric("sluice_connections_refused_total") == 1
    assert [first.get("/").status, second.get("/").status] == [200, 200]


def test_a_place_is_free_again_when_a_client_leaves(sluice, origin, tunnel, host):
    proxy = sluice({"limits": {"connections": 1}})
    for _ in range(5):
        with tunnel(proxy, host, origin.port) as client:
            assert client.get("/").status == 200
        waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "the place to be free")


@pytest.mark.threat("bounded")
def test_over_its_memory_nothing_new_begins(sluice, surroundings, origin, tunnel, host):
    def with_memory(size):
        return merged(surroundings, {"limits": {"memory": size}})

    proxy = sluice()
    client = tunnel(proxy, host, origin.port)
    assert client.get("/before").status == 200
    since = len(proxy.errors)
    assert "reloaded" in proxy.reload(with_memory("1MiB"))
    assert proxy.wait_stderr("over limits.memory", since)
    answer = client.get("/over")
    assert answer.status == 503 and answer.get("retry-after")
    assert proxy.log(host=host, target="/over")["error"] == "limit"
    with Client(proxy) as late:
        assert late.read().status == 503
        assert late.is_closed()
    assert proxy.metric("sluice_connections_refused_total") == 1
    assert "reloaded" in proxy.reload(with_memory("1024GiB"))
    proxy.wait_stderr("below limits.memory again", since)
    assert client.get("/after").status == 200
    assert [r.target for r in origin.requests] == ["/before", "/after"]


@pytest.mark.threat("bounded")
def test_a_response_head_too_large_is_502(proxy, servers, pki, tunnel, host):
    big = b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * (80 << 10) + b"\r\nContent-Length: 0\r\n\r\n"
    origin = servers(Origin(lambda r: big, tls=pki.server_context()))
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 502
    assert "http_response_header_section_size" in answer.get("proxy-status")


@pytest.mark.threat("resource-floods")
def test_a_trailer_section_without_end_is_cut_off(proxy, servers, pki, tunnel, host):
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        for _ in range(2000):
            connection.send(b"X-T: " + b"x" * 8000 + b"\r\n")

    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/", client.authority))
    client.reader.rest()
    assert proxy.log(host=host)["error"] is not None
    assert proxy.look("/healthz")[0] == 200


@pytest.mark.threat("resource-floods")
def test_chunk_extensions_without_end_are_cut_off(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(request("POST", "/", client.authority, [("Transfer-Encoding", "chunked")]) +
                b"1;" + b"x" * (64 << 10))
    assert client.read().status == 400
    assert client.is_closed()
