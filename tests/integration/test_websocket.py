"""WebSockets as they are counted and logged; how they are relayed is in test_http1.py."""
import pytest

from harness import waiting, websocket
from harness.client import request
from harness.origin import Origin


@pytest.fixture
def open_socket(servers, pki, tunnel, host):
    """open_socket(proxy, after) -> a client whose handshake is through; after(connection) is what
    the origin does then."""
    def make(proxy, after=websocket.echo):
        def serve(connection):
            websocket.upgrade(connection, connection.read_request())
            after(connection)

        client = tunnel(proxy, host, servers(Origin(serve=serve, tls=pki.server_context())).port)
        client.send(request("GET", "/ws", client.authority, websocket.OFFER))
        assert client.read().status == 101
        return client

    return make


def messages(proxy, direction):
    return proxy.metric("sluice_websocket_messages_total", direction=direction)


def test_messages_are_counted_and_the_close_code_is_logged(sluice, open_socket, host):
    proxy = sluice()
    client = open_socket(proxy)
    for frame in (websocket.frame(websocket.TEXT, b"one"),
                  websocket.frame(websocket.BINARY, b"x" * 70000),
                  websocket.frame(websocket.TEXT, b"tw", fin=False) +
                  websocket.frame(websocket.PING, b"") + websocket.frame(0, b"o"),
                  websocket.frame(websocket.CLOSE, websocket.close(4321) + b"why")):
        client.send(frame)
    while websocket.read(client.reader)[0] & 0xf != websocket.CLOSE:
        pass
    client.sock.close()
    line = proxy.log(host=host)
    assert (line["status"], line["close_code"], line["verdict"]) == (101, 4321, "allow")
    assert line["bytes_in"] > 70000 and line["bytes_out"] > 70000
    assert messages(proxy, "in") == messages(proxy, "out") == 3


@pytest.mark.parametrize("payload, code", [(b"", 1005), (websocket.close(1000), 1000)])
def test_the_origins_close(sluice, open_socket, host, payload, code):
    def end(connection):
        connection.send(websocket.frame(websocket.CLOSE, payload, masked=False))

    proxy = sluice({"log": {"format": "text"}})
    client = open_socket(proxy, end)
    assert websocket.read(client.reader)[1] == payload
    client.sock.close()
    waiting.until(lambda: f" close={code} " in proxy.access.read_text(), "the log line")


def test_a_line_without_a_close(sluice, open_socket, host):
    proxy = sluice()
    open_socket(proxy, lambda connection: None).sock.close()
    assert "close_code" not in proxy.log(host=host)


def test_what_is_no_frame_is_relayed_uncounted(sluice, open_socket, host):
    def mirror(connection):
        while data := connection.reader.some():
            connection.send(data[::-1])

    proxy = sluice()
    client = open_socket(proxy, mirror)
    client.send(b"\xff\xff\xff")
    assert client.reader.exactly(3) == b"\xff\xff\xff"
    client.sock.close()
    assert proxy.log(host=host)["status"] == 101
    assert messages(proxy, "in") == 0


def test_an_idle_websocket_ends(sluice, open_socket, host):
    proxy = sluice({"limits": {"idle_timeout": "300ms"}})
    client = open_socket(proxy)
    assert client.reader.some() == b""
    assert proxy.log(host=host)["error"] == "read_timeout"
