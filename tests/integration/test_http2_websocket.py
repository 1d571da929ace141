"""WebSocket from HTTP/2 clients: extended CONNECT (RFC 8441) is an upgrade, checked as one."""
import asyncio
import os
import threading

import pytest

from harness import h2frames, http1, websocket
from harness.check_service import deny
from harness.client import request
from harness.h2frames import Code, Setting
from harness.h2origin import Answer
from harness.origin import Origin

pytest_plugins = ["harness.h2fixtures"]


class Over2:
    """A WebSocket on a stream."""

    def __init__(self, client, target="/ws", more=(), protocol="websocket"):
        self.client = client
        self.number = client.request_fields(
            [(":method", "CONNECT"), (":protocol", protocol), (":scheme", client.scheme),
             (":authority", client.authority), (":path", target), ("sec-websocket-version", "13"),
             ("origin", "https://site.test"), *more], end=False)
        self.stream = client.stream(self.number)
        self.n_read = 0

    def wait(self):
        return self.client.wait_headers(self.number)

    def send(self, opcode, payload=b"", **more):
        self.client.body(self.number, websocket.frame(opcode, payload, **more), end=False)

    def exactly(self, n):
        """For websocket.read."""
        self.client.wait_body(self.number, self.n_read + n)
        taken = bytes(self.stream.body[self.n_read:self.n_read + n])
        self.n_read += n
        return taken

    def read(self):
        first, payload = websocket.read(self)
        return first & 0xf, payload


@pytest.fixture
def ws_origin(servers, pki):
    """ws_origin(serve, more) -> an h1 origin that upgrades /ws and echoes, or as told."""
    def make(after=websocket.echo, more=()):
        def serve(connection):
            asked = origin.take(connection)
            if asked.get("upgrade") is None:
                connection.send(http1.response(b"plain"))
                return
            websocket.upgrade(connection, asked, more)
            after(connection)

        origin = servers(Origin(serve=serve, tls=pki.server_context()))
        return origin

    return make


@pytest.mark.smoke
def test_frames_are_relayed_both_ways(proxy, ws_origin, h2, host):
    origin = ws_origin()
    client = h2(proxy, host, origin.port)
    assert client.peer[Setting.ENABLE_CONNECT_PROTOCOL] == 1
    ws = Over2(client, "/ws?x=1")
    assert ws.wait().status == 200
    ws.send(websocket.TEXT, b"hello")
    assert ws.read() == (websocket.TEXT, b"hello")
    ws.send(websocket.PING, b"p")
    assert ws.read() == (websocket.PONG, b"p")
    ws.send(websocket.CLOSE, websocket.close(1001))
    assert ws.read() == (websocket.CLOSE, websocket.close(1001))
    client.body(ws.number, b"")
    client.response(ws.number)
    asked = origin.requests[0]
    assert asked.start == "GET /ws?x=1 HTTP/1.1"
    assert asked.get("upgrade").lower() == "websocket"
    assert asked.get("connection").lower() == "upgrade"
    assert len(asked.get("sec-websocket-key")) == 24
    assert asked.get("sec-websocket-version") == "13"
    assert asked.get("host") == client.authority and asked.get("origin") == "https://site.test"
    line = proxy.log(host=host)
    assert (line["scheme"], line["http"], line["target"]) == ("wss", "2", "/ws?x=1")
    assert line["bytes_in"] > 0 and line["bytes_out"] > 0 and line["error"] is None


def test_large_messages_and_fragments(proxy, ws_origin, h2, host):
    ws = Over2(h2(proxy, host, ws_origin().port))
    assert ws.wait().status == 200
    payload = os.urandom(1 << 20)
    ws.send(websocket.BINARY, payload)
    assert ws.read() == (websocket.BINARY, payload)
    ws.send(websocket.TEXT, b"one ", fin=False)
    ws.send(websocket.PING, b"between")
    ws.send(0, b"two")
    assert [ws.read() for _ in range(3)] == [
        (websocket.TEXT, b"one "), (websocket.PONG, b"between"), (0, b"two")]


def test_frames_before_the_answer_wait_for_it(sluice, check, ws_origin, h2, host):
    """Sent with the handshake; nothing goes on before the verdict and the 101."""
    check.answer = lambda q: check.stall()
    origin = ws_origin()
    ws = Over2(h2(sluice(check.config(timeout="30s")), host, origin.port))
    ws.send(websocket.TEXT, b"early")
    check.wait_questions(1)
    assert origin.n_connections == 0
    check.release()
    assert ws.wait().status == 200 and ws.read() == (websocket.TEXT, b"early")


def test_subprotocol_and_extensions_pass(proxy, ws_origin, h2, host):
    deflate = "permessage-deflate; client_max_window_bits"
    origin = ws_origin(more=[("Sec-WebSocket-Protocol", "chat"),
                             ("Sec-WebSocket-Extensions", "permessage-deflate")])
    ws = Over2(h2(proxy, host, origin.port), more=[("sec-websocket-protocol", "chat, superchat"),
                                                   ("sec-websocket-extensions", deflate)])
    stream = ws.wait()
    assert (stream.status, stream.get("sec-websocket-protocol")) == (200, "chat")
    assert stream.get("sec-websocket-extensions") == "permessage-deflate"
    assert stream.get("sec-websocket-accept") is None
    asked = origin.requests[0]
    assert asked.get("sec-websocket-protocol") == "chat, superchat"
    assert asked.get("sec-websocket-extensions") == deflate
    ws.client.body(ws.number, b"\xc1\x83\x00\x00\x00\x00abc", end=False)   # RSV1: compressed
    assert ws.read() == (websocket.TEXT, b"abc")


def test_the_handshake_is_checked(sluice, check, ws_origin, h2, host):
    ws = Over2(h2(sluice(check.config()), host, ws_origin().port), "/ws?a=1")
    assert ws.wait().status == 200
    asked = check.questions[0]["request"]
    assert (asked["method"], asked["scheme"], asked["target"]) == ("GET", "wss", "/ws?a=1")
    assert asked["http"] == "2" and asked["host"] == host
    assert ["sec-websocket-version", "13"] in asked["headers"]
    assert len(check.questions) == 1


def test_a_denied_handshake_is_403(sluice, check, ws_origin, dns, h2, host):
    check.answer = lambda q: deny() if q["request"]["scheme"] == "wss" else {"action": "allow"}
    origin = ws_origin()
    client = h2(sluice(check.config()), host, origin.port)
    ws = Over2(client)
    ws.send(websocket.TEXT, b"early")
    assert ws.wait().status == 403
    client.response(ws.number)
    assert origin.n_connections == 0 and not dns.heard_of(host)
    assert client.get("/plain").status == 200


def test_a_rule_by_scheme(sluice, ws_origin, h2, host):
    proxy = sluice({"rules": [{"when": "scheme wss", "do": "deny", "status": 451}]})
    client = h2(proxy, host, ws_origin().port)
    assert Over2(client).wait().status == 451
    assert client.get("/").status == 200


@pytest.mark.threat("200-as-upgrade")
@pytest.mark.parametrize("answer, status", [
    (http1.response(b"not a socket"), {502}),
    (http1.response(b"", 204, reason="No Content"), {502}),
    (http1.response(b"no", 404, reason="Not Found"), {404}),
    (http1.response(b"", 302, [("Location", "/other")], "Found"), {302}),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n", {502}),
    (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", {502}),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
     b"Sec-WebSocket-Accept: d3Jvbmc=\r\n\r\n", {502}),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
     {502}),
], ids=["200", "204", "404", "302", "101 other", "101 bare", "101 wrong key", "101 no key"])
def test_only_101_opens_a_tunnel(proxy, servers, pki, h2, host, answer, status):
    """CVE-2024-23326: whatever else the origin answers, what follows is no tunnel."""
    heard = []

    def serve(connection):
        origin.take(connection)
        connection.send(answer)
        heard.append(connection.reader.some())

    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    client = h2(proxy, host, origin.port)
    ws = Over2(client)
    stream = ws.wait()
    assert stream.status in status
    ws.send(websocket.TEXT, b"GET /smuggled HTTP/1.1\r\n\r\n")
    client.wait_ping()
    client.close()
    origin.close()
    assert all(b"smuggled" not in part for part in heard)


def test_a_websocket_beside_other_streams(proxy, ws_origin, h2, host):
    client = h2(proxy, host, ws_origin().port)
    sockets = [Over2(client) for _ in range(10)]
    assert [ws.wait().status for ws in sockets] == [200] * 10
    for i, ws in enumerate(sockets):
        ws.send(websocket.TEXT, b"%d" % i)
        assert client.get("/between").status == 200
    assert [ws.read()[1] for ws in sockets] == [b"%d" % i for i in range(10)]


def test_a_client_that_resets_ends_the_origins_socket(proxy, ws_origin, h2, host):
    ended = threading.Event()

    def after(connection):
        connection.reader.rest()
        ended.set()

    client = h2(proxy, host, ws_origin(after).port)
    ws = Over2(client)
    assert ws.wait().status == 200
    client.send(h2frames.rst_stream(ws.number))
    assert ended.wait(20)
    assert client.get("/").status == 200


def test_an_origin_that_closes_ends_the_stream_alone(proxy, ws_origin, h2, host):
    client = h2(proxy, host, ws_origin(lambda c: c.send(websocket.frame(
        websocket.CLOSE, websocket.close(1000), masked=False))).port)
    ws = Over2(client)
    assert ws.wait().status == 200
    assert ws.read() == (websocket.CLOSE, websocket.close(1000))
    stream = client.response(ws.number)
    assert stream.is_ended or stream.reset is not None
    assert client.get("/").status == 200


def test_what_is_no_frame_ends_the_stream_alone(proxy, ws_origin, h2, host):
    client = h2(proxy, host, ws_origin().port)
    ws = Over2(client)
    assert ws.wait().status == 200
    client.body(ws.number, b"SSH-2.0-x\r\n", end=False)
    assert client.response(ws.number).reset is not None
    assert proxy.log(host=host)["error"] == "protocol"
    assert client.get("/").status == 200


def test_an_idle_websocket_ends(sluice, ws_origin, h2, host):
    client = h2(sluice({"limits": {"idle_timeout": "300ms"}}), host, ws_origin().port)
    ws = Over2(client)
    assert ws.wait().status == 200
    try:
        assert client.response(ws.number).is_over
    except http1.Closed:
        pass


@pytest.mark.parametrize("protocol", ["connect-udp", "foo", "WebSocket/2"])
def test_other_protocols_are_not_served(proxy, ws_origin, dns, h2, host, protocol):
    origin = ws_origin()
    client = h2(proxy, host, origin.port)
    stream = Over2(client, protocol=protocol).wait()
    assert stream.reset is not None or stream.status in (400, 403, 405, 501), stream
    assert origin.n_connections == 0
    assert client.get("/").status == 200


@pytest.mark.parametrize("left_out", [":scheme", ":path", ":authority"])
def test_an_extended_connect_needs_all_its_pseudo_header_fields(proxy, ws_origin, h2, host,
                                                                left_out):
    origin = ws_origin()
    client = h2(proxy, host, origin.port)
    fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "https",
              ":authority": client.authority, ":path": "/ws"}
    del fields[left_out]
    stream = client.wait_headers(client.request_fields([*fields.items()], end=False))
    assert stream.reset == Code.PROTOCOL_ERROR or stream.status in (400, 421), stream
    assert origin.requests == []


def test_protocol_without_connect_is_malformed(proxy, ws_origin, h2, host):
    origin = ws_origin()
    client = h2(proxy, host, origin.port)
    fields = [(":method", "GET"), (":protocol", "websocket"), *client.head(target="/ws")[1:]]
    stream = client.wait_headers(client.request_fields(fields))
    assert stream.reset == Code.PROTOCOL_ERROR or stream.status == 400, stream
    assert origin.requests == []


# -- towards origins that speak HTTP/2 -----------------------------------------------------------


def echo_extended(exchange):
    """An extended CONNECT at an HTTP/2 origin: bytes as they come, unmasked."""
    if exchange.request.protocol != "websocket":
        exchange.cut()
    exchange.head(200)
    reader = Body(exchange)
    while True:
        first, payload = websocket.read(reader)
        opcode = websocket.PONG if first & 0xf == websocket.PING else first & 0xf
        exchange.data(websocket.frame(opcode, payload, masked=False, fin=bool(first & 0x80)))
        if first & 0xf == websocket.CLOSE:
            return exchange.end()


class Body:
    """exactly(n) of an exchange's body."""

    def __init__(self, exchange):
        self.exchange, self.n_read = exchange, 0

    def exactly(self, n):
        self.n_read += n
        return self.exchange.read(self.n_read)[self.n_read - n:self.n_read]


def test_to_an_http2_origin(proxy, h2_origin, h2, host):
    """Over extended CONNECT, where the origin allows it and speaks nothing else."""
    origin = h2_origin(scripts={"/ws": echo_extended},
                       settings={Setting.ENABLE_CONNECT_PROTOCOL: 1})
    ws = Over2(h2(proxy, host, origin.port))
    assert ws.wait().status == 200
    ws.send(websocket.TEXT, b"hello")
    assert ws.read() == (websocket.TEXT, b"hello")


@pytest.mark.parametrize("more", [[], [("Content-Length", "0")]], ids=["", "length 0"])
def test_from_http1_to_an_http2_origin(proxy, h2_origin, tunnel, host, more):
    origin = h2_origin(scripts={"/ws": echo_extended},
                       settings={Setting.ENABLE_CONNECT_PROTOCOL: 1})
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/ws", client.authority, [*websocket.OFFER, *more]))
    answer = http1.read_head(client.reader)
    assert answer.status == 101
    assert answer.get("sec-websocket-accept") == websocket.accept_of(websocket.KEY)
    client.send(websocket.frame(websocket.TEXT, b"hello"))
    first, payload = websocket.read(client.reader)
    assert (first & 0xf, payload) == (websocket.TEXT, b"hello")


def test_the_websockets_library_to_an_http2_origin(proxy, h2_origin, connect, host):
    websockets = pytest.importorskip("websockets")
    origin = h2_origin(scripts={"/ws": echo_extended},
                       settings={Setting.ENABLE_CONNECT_PROTOCOL: 1})

    async def talk():
        client = connect(proxy)
        answer = await asyncio.to_thread(client.connect, host, origin.port)
        assert answer.status == 200
        async with websockets.connect(f"wss://{host}:{origin.port}/ws", sock=client.sock,
                                      ssl=proxy.trusting(), server_hostname=host,
                                      compression=None, max_size=None) as ws:
            for message in ("hello", b"\0\1" * 50000, ""):
                await ws.send(message)
                assert await ws.recv() == message
            await (await ws.ping())

    asyncio.run(asyncio.wait_for(talk(), 30))
    asked = origin.requests[0]
    assert (asked.method, asked.protocol) == ("CONNECT", "websocket")
    line = proxy.log(host=host)
    assert (line["status"], line["http"], line["close_code"], line["error"]) == (
        101, "1.1", 1000, None)


@pytest.mark.parametrize("framing", [("Content-Length", "90000"), ("Transfer-Encoding", "chunked")],
                         ids=["length", "chunked"])
def test_an_upgrade_with_content_is_an_ordinary_request(proxy, origin_of, tunnel, host, framing):
    origin = origin_of(settings={Setting.ENABLE_CONNECT_PROTOCOL: 1})
    client = tunnel(proxy, host, origin.port)
    body = b"B" * 90000
    sent = body if framing[0] == "Content-Length" else b"15f90\r\n%b\r\n0\r\n\r\n" % body
    answer = client.ask("GET", "/ws", [*websocket.OFFER, framing], sent)
    assert (answer.status, bytes(answer.body)) == (200, body)
    asked = origin.requests[0]
    assert (asked.method, asked.protocol, asked.get("upgrade")) == ("GET", None, None)


def test_an_origin_of_both_versions_is_asked_somehow(proxy, h2_origin, h2, host):
    """It speaks HTTP/2 without RFC 8441, so its WebSockets are on HTTP/1.1."""
    def script(exchange):
        if exchange.request.version == "2":
            exchange.answer(Answer(b"no", 400))
            return
        websocket.upgrade(exchange.connection, exchange.request)
        websocket.echo(exchange.connection)

    origin = h2_origin(scripts={"/ws": script}, alpn=["h2", "http/1.1"])
    client = h2(proxy, host, origin.port)
    assert client.get("/").status == 200
    ws = Over2(client)
    assert ws.wait().status == 200
    ws.send(websocket.TEXT, b"hello")
    assert ws.read() == (websocket.TEXT, b"hello")
    assert client.get("/").status == 200
