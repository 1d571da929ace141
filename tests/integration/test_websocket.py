"""WebSockets as they are counted and logged; how they are relayed is in test_http1.py."""
import threading

import pytest

from harness import http1, waiting, websocket
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


def offer(left_out=None, **changed):
    """The handshake's fields, but for one or with other values."""
    changed = {n.replace("_", "-"): v for n, v in changed.items()}
    return [(n, changed.get(n.lower(), v)) for n, v in websocket.OFFER if n != left_out]


@pytest.mark.parametrize("fields", [
    offer("Sec-WebSocket-Key"), offer(sec_websocket_key="c2hvcnQ="), offer("Sec-WebSocket-Version"),
    offer(sec_websocket_version="8"), [*websocket.OFFER, ("Sec-WebSocket-Key", websocket.KEY)]],
    ids=["no key", "short key", "no version", "version 8", "two keys"])
def test_what_is_no_handshake_is_an_ordinary_request(sluice, servers, pki, tunnel, host, fields):
    proxy = sluice({"rules": [{"when": "scheme wss", "do": "deny"}]})
    origin = servers(Origin(tls=pki.server_context()))
    client = tunnel(proxy, host, origin.port)
    assert client.get("/ws", fields).status == 200
    assert origin.requests[0].get("upgrade") is None


@pytest.mark.parametrize("accept", [[], ["d3Jvbmc="], [websocket.accept_of(websocket.KEY)] * 2],
                         ids=["none", "wrong", "two"])
def test_a_101_has_to_answer_the_key(proxy, servers, pki, tunnel, host, accept):
    heard = []

    def serve(connection):
        connection.read_request()
        lines = "".join(f"Sec-WebSocket-Accept: {value}\r\n" for value in accept)
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        b"Connection: Upgrade\r\n%b\r\n" % lines.encode())
        heard.append(connection.reader.some())

    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/ws", client.authority, websocket.OFFER) + b"SSH-2.0-x\r\n")
    assert client.read().status == 502
    assert proxy.log(host=host)["error"] == "upgrade_failed"
    origin.close()
    assert heard == [b""]


@pytest.mark.threat("200-as-upgrade")
@pytest.mark.parametrize("status", [200, 206])
def test_content_is_not_what_was_allowed(sluice, servers, tunnel, pki, host, status):
    """Five fields do not lead an ordinary request past a rule for its scheme."""
    proxy = sluice({"rules": [{"when": "scheme https and path /secret", "do": "deny"}]})
    origin = servers(Origin(lambda asked: http1.response(b"content", status),
                            tls=pki.server_context()))
    client = tunnel(proxy, host, origin.port)
    assert client.get("/secret").status == 403
    answer = client.get("/secret", websocket.OFFER)
    assert answer.status == 502 and b"content" not in answer.body
    assert proxy.log(host=host, status=502)["error"] == "upgrade_failed"


@pytest.mark.parametrize("status", [302, 401, 426, 500])
def test_a_refusal_of_the_handshake_is_delivered(proxy, servers, tunnel, pki, host, status):
    origin = servers(Origin(lambda asked: http1.response(b"why", status),
                            tls=pki.server_context()))
    answer = tunnel(proxy, host, origin.port).get("/", websocket.OFFER)
    assert answer.status == status and answer.body == b"why"


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


def no_frames(masked):
    """(what passes, what is said behind it and does not)"""
    end = websocket.frame(websocket.CLOSE, websocket.close(1000), masked)
    text = websocket.frame(websocket.TEXT, b"x", masked)
    return [pytest.param(*case, id=name) for name, case in {
        "another protocol": (b"", b"SSH-2.0-x\r\n"),
        "behind a frame": (text, b"SSH-2.0-x\r\n"),
        "masked the wrong way": (text, websocket.frame(websocket.TEXT, b"x", not masked)),
        "reserved bit": (b"", bytes([text[0] | 0x20]) + text[1:]),
        "half a close code": (b"", websocket.frame(websocket.CLOSE, b"\x03", masked)),
        "reserved opcode": (b"", bytes([0x83]) + text[1:]),
        "after the close": (end, text)}.items()]


@pytest.mark.parametrize("passes, stays", no_frames(masked=True))
def test_a_client_that_sends_no_frames_is_cut_off(sluice, open_socket, host, passes, stays):
    """What has not been opened does not pass."""
    heard, ended = [], threading.Event()

    def listen(connection):
        try:
            while data := connection.reader.some():
                heard.append(data)
        finally:
            ended.set()

    proxy = sluice()
    client = open_socket(proxy, listen)
    client.send(passes + stays)
    assert client.is_closed() and ended.wait(20)
    assert b"".join(heard) == passes
    line = proxy.log(host=host)
    assert (line["status"], line["error"]) == (101, "protocol")
    assert messages(proxy, "in") == (passes[:1] == b"\x81")


@pytest.mark.parametrize("passes, stays", no_frames(masked=False))
def test_an_origin_that_sends_no_frames_is_cut_off(sluice, open_socket, host, passes, stays):
    proxy = sluice()
    client = open_socket(proxy, lambda c: (c.send(passes + stays), c.reader.some()))
    assert client.reader.exactly(len(passes)) == passes
    assert client.is_closed()
    line = proxy.log(host=host)
    assert (line["status"], line["error"]) == (101, "bad_response")
    assert line.get("close_code") == (1000 if passes[:1] == b"\x88" else None)


def test_an_idle_websocket_ends(sluice, open_socket, host):
    proxy = sluice({"limits": {"idle_timeout": "300ms"}})
    client = open_socket(proxy)
    assert client.reader.some() == b""
    assert proxy.log(host=host)["error"] == "read_timeout"
