"""What RFC 9113 and RFC 7541 say of peers that break them, on the client-facing side: a table in
the manner of h2spec."""
import struct

import pytest

from harness import h2frames as f
from harness import waiting
from harness.h2frames import (ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITY, Code,
                              Setting, Type)
from harness.h2origin import H2Origin
from harness.http1 import Closed

pytest_plugins = ["harness.h2fixtures"]
HOST = "protocol.site.test"
MALFORMED = [Code.PROTOCOL_ERROR]
CLOSED = [Code.STREAM_CLOSED, Code.PROTOCOL_ERROR]


@pytest.fixture(scope="module")
def peer(pki):
    origin = H2Origin(tls=pki.server_context())
    yield origin
    origin.close()
    assert origin.faults == []


@pytest.fixture
def client(proxy, peer, h2):
    return h2(proxy, HOST, peer.port)


def assert_connection_error(client, codes):
    """GOAWAY with one of the codes, if any, and the end."""
    client.wait_closed()
    said = [g.error_code for g in client.goaways]
    assert not said or said[-1] in codes, f"GOAWAY {Code(said[-1]).name}"


def assert_stream_error(client, number, codes):
    """RST_STREAM, a response of 4xx, or as a connection error; whether the connection is left."""
    stream = client.stream(number)
    try:
        client.until(lambda: stream.is_over or client.goaways, f"an error on stream {number}")
    except Closed:
        pass
    if client.goaways or client.wire.is_closed:
        assert_connection_error(client, codes)
        return False
    if stream.headers and 400 <= stream.status < 500:
        return True
    assert stream.reset in codes, f"reset {stream.reset}, head {stream.headers}"
    return True


def assert_serves(client):
    assert client.get("/good").status == 200


# -- what is sent --------------------------------------------------------------------------------


def block(c, target="/bad", more=(), method="GET"):
    return c.block(c.head(method, target, more))


def opened(c, target="/opened"):
    """A stream that waits for its body."""
    number = c.open()
    c.send(f.headers(number, block(c, target, method="POST"), END_HEADERS))
    return number


def half_closed(c):
    """A stream that is wholly sent, and not answered yet: its response has no window."""
    c.send(f.settings({Setting.INITIAL_WINDOW_SIZE: 0}))
    number = c.request("GET", "/ok")
    c.wait_headers(number)
    return number


def ended(c):
    """A stream that both sides have ended."""
    number = c.request("GET", "/ok")
    c.response(number)
    return number


def reset(c):
    """A stream that was reset by us."""
    number = opened(c, "/ok")
    c.send(f.rst_stream(number))
    return number


def sending(*parts):
    """Each part: bytes, or a function of the client that gives bytes or has sent them."""
    def act(c):
        for part in parts:
            payload = part(c) if callable(part) else part
            if isinstance(payload, bytes):
                c.send(payload)
    return act


def on(state, make):
    """A frame on a stream in this state; the stream."""
    def act(c):
        number = state(c)
        c.send(make(number))
        return number
    return act


def unfinished(c):
    """A header block without END_HEADERS."""
    return f.headers(c.open(), block(c), END_STREAM)


def send_big(c):
    number = opened(c)
    c.send(f.data(number, big(c)))
    return number


def padded(payload, n):
    return bytes([n]) + payload


# -- connection errors ---------------------------------------------------------------------------

SIZE, PROTOCOL, FLOW = [Code.FRAME_SIZE_ERROR], [Code.PROTOCOL_ERROR], [Code.FLOW_CONTROL_ERROR]
COMPRESSION = [Code.COMPRESSION_ERROR]
SETTINGS, DATA, HEADERS, PING = Type.SETTINGS, Type.DATA, Type.HEADERS, Type.PING
WINDOW_UPDATE, PUSH_PROMISE = Type.WINDOW_UPDATE, Type.PUSH_PROMISE


def big(c):
    """A byte more than a frame may have."""
    return b"\0" * (c.peer[Setting.MAX_FRAME_SIZE] + 1)


CONNECTION = [
    ("4.2 HEADERS over MAX_FRAME_SIZE", lambda c: c.send(f.headers(1, big(c))), SIZE + COMPRESSION),
    ("4.2 SETTINGS over MAX_FRAME_SIZE",
     lambda c: c.send(f.raw(SETTINGS, 0, 0, big(c) + b"\0" * 5)), SIZE),
    ("4.2 unknown frame over MAX_FRAME_SIZE", lambda c: c.send(f.raw(0x21, 0, 0, big(c))), SIZE),
    ("4.3 an invalid header block", lambda c: c.send(f.headers(1, b"\x88\x41\x8a\xff\xff\xff")),
     COMPRESSION),
    ("4.3 PRIORITY in a header block", sending(unfinished, f.priority(1)), PROTOCOL),
    ("4.3 HEADERS of another stream in a header block",
     lambda c: c.send(unfinished(c) + f.headers(3, block(c))), PROTOCOL),
    ("4.3 an unknown frame in a header block", sending(unfinished, f.raw(0x21, 0, 1)), PROTOCOL),
    ("5.1 idle: DATA", sending(f.data(1, b"x", END_STREAM)), PROTOCOL),
    ("5.1 idle: RST_STREAM", sending(f.rst_stream(1)), PROTOCOL),
    ("5.1 idle: WINDOW_UPDATE", sending(f.window_update(1, 100)), PROTOCOL),
    ("5.1 idle: CONTINUATION", lambda c: c.send(f.continuation(1, block(c))), PROTOCOL),
    ("5.1 half-closed: CONTINUATION", on(half_closed, f.continuation), CLOSED),
    ("5.1 closed by reset: CONTINUATION", on(reset, f.continuation), CLOSED),
    ("5.1 closed by end: CONTINUATION", on(ended, f.continuation), CLOSED),
    ("5.1.1 an even stream", lambda c: c.send(f.headers(2, block(c))), PROTOCOL),
    ("5.1.1 a stream below one before",
     lambda c: c.send(f.headers(5, block(c, "/ok")) + f.headers(3, block(c))), PROTOCOL),
    ("5.4.1 PING of 6 bytes", sending(f.ping(b"123456")), SIZE),
    ("6.1 DATA on stream 0", sending(f.data(0, b"x")), PROTOCOL),
    ("6.1 padding as long as the frame",
     on(opened, lambda n: f.data(n, padded(b"", 1), PADDED)), PROTOCOL),
    ("6.1 padding longer than the frame",
     on(opened, lambda n: f.data(n, padded(b"abc", 200), PADDED | END_STREAM)), PROTOCOL),
    ("6.1 PADDED without a length", on(opened, lambda n: f.data(n, b"", PADDED)), PROTOCOL + SIZE),
    ("6.2 HEADERS on stream 0", lambda c: c.send(f.headers(0, block(c))), PROTOCOL),
    ("6.2 padding longer than HEADERS",
     lambda c: c.send(f.headers(1, padded(block(c), 255), END_HEADERS | PADDED)), PROTOCOL),
    ("6.2 HEADERS too short for PRIORITY",
     sending(f.headers(1, b"\0\0\0", END_HEADERS | PRIORITY)), PROTOCOL + SIZE),
    ("6.3 PRIORITY on stream 0", sending(f.priority(0, 1)), PROTOCOL),
    ("6.4 RST_STREAM on stream 0", sending(f.rst_stream(0)), PROTOCOL),
    ("6.4 RST_STREAM of 3 bytes", on(opened, lambda n: f.raw(Type.RST_STREAM, 0, n, b"\0\0\0")),
     SIZE),
    ("6.5 SETTINGS ACK with a payload", sending(f.settings({1: 1}, ACK)), SIZE),
    ("6.5 SETTINGS on a stream", on(opened, lambda n: f.settings({}, 0, n)), PROTOCOL),
    ("6.5 SETTINGS of 3 bytes", sending(f.raw(SETTINGS, 0, 0, b"\0\0\0")), SIZE),
    ("6.5.2 ENABLE_PUSH 2", sending(f.settings({Setting.ENABLE_PUSH: 2})), PROTOCOL),
    ("6.5.2 INITIAL_WINDOW_SIZE 2^31",
     sending(f.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31})), FLOW),
    ("6.5.2 MAX_FRAME_SIZE 16383", sending(f.settings({Setting.MAX_FRAME_SIZE: 16383})), PROTOCOL),
    ("6.5.2 MAX_FRAME_SIZE 2^24", sending(f.settings({Setting.MAX_FRAME_SIZE: 1 << 24})), PROTOCOL),
    ("8441 3 ENABLE_CONNECT_PROTOCOL 2",
     sending(f.settings({Setting.ENABLE_CONNECT_PROTOCOL: 2})), PROTOCOL),
    ("6.6 PUSH_PROMISE of a client",
     on(opened, lambda n: f.raw(PUSH_PROMISE, END_HEADERS, n, struct.pack("!L", 2) + b"\x82")),
     PROTOCOL),
    ("6.6 PUSH_PROMISE on stream 0",
     sending(f.raw(PUSH_PROMISE, END_HEADERS, 0, struct.pack("!L", 2))), PROTOCOL),
    ("6.7 PING on a stream", on(opened, lambda n: f.ping(b"12345678", 0, n)), PROTOCOL),
    ("6.7 PING of 9 bytes", sending(f.ping(b"123456789")), SIZE),
    ("6.8 GOAWAY on a stream", on(opened, lambda n: f.goaway(0, 0, n)), PROTOCOL),
    ("6.8 GOAWAY of 7 bytes", sending(f.raw(Type.GOAWAY, 0, 0, b"\0" * 7)), SIZE),
    ("6.9 WINDOW_UPDATE of 0 on stream 0", sending(f.window_update(0, 0)), PROTOCOL),
    ("6.9 WINDOW_UPDATE of 3 bytes", sending(f.raw(WINDOW_UPDATE, 0, 0, b"\0\0\1")), SIZE),
    ("6.9.1 the connection's window over 2^31-1",
     sending(f.window_update(0, 0x7fffffff), f.window_update(0, 0x7fffffff)), FLOW),
    ("6.9.2 INITIAL_WINDOW_SIZE that overflows a stream's window",
     lambda c: c.send(f.window_update(half_closed(c), 0x7fffffff) +
                      f.settings({Setting.INITIAL_WINDOW_SIZE: 65535})), FLOW),
    ("6.10 CONTINUATION, then DATA",
     sending(unfinished, f.continuation(1, b"", 0), f.data(1, b"x")), PROTOCOL),
    ("6.10 CONTINUATION on stream 0", sending(unfinished, f.continuation(0)), PROTOCOL),
    ("6.10 CONTINUATION of another stream", sending(unfinished, f.continuation(3)), PROTOCOL),
    ("6.10 CONTINUATION after END_HEADERS", on(opened, f.continuation), PROTOCOL),
    ("6.10 CONTINUATION after CONTINUATION with END_HEADERS",
     sending(lambda c: f.headers(c.open(), block(c, "/ok"), 0), f.continuation(1),
             f.continuation(1)), PROTOCOL),
    ("6.10 CONTINUATION after DATA",
     on(opened, lambda n: f.data(n, b"x") + f.continuation(n)), PROTOCOL),
    ("7541 2.3.3 an index beyond the tables", lambda c: c.send(
        f.headers(1, block(c) + f.integer(70, 7, 0x80))), COMPRESSION),
    ("7541 2.3.3 an index beyond the tables as a name", lambda c: c.send(
        f.headers(1, block(c) + f.integer(70, 6, 0x40) + b"\x01x")), COMPRESSION),
    ("7541 4.2 a table size update behind fields", lambda c: c.send(
        f.headers(1, block(c) + f.integer(0, 5, 0x20))), COMPRESSION),
    ("7541 5.1 an integer without end", lambda c: c.send(
        f.headers(1, block(c) + b"\x00\x7f" + b"\xff" * 20)), COMPRESSION),
    ("7541 5.2 padding of Huffman over 7 bits", lambda c: c.send(
        f.headers(1, block(c) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")), COMPRESSION),
    ("7541 5.2 padding of Huffman with zeros", lambda c: c.send(
        f.headers(1, block(c) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")), COMPRESSION),
    ("7541 5.2 EOS in Huffman", lambda c: c.send(
        f.headers(1, block(c) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\xff\xff\xff\xfd\x25\x42\x7f")),
     COMPRESSION),
    ("7541 5.2 a string longer than the block", lambda c: c.send(
        f.headers(1, block(c) + b"\x00\x05abc")), COMPRESSION),
    ("7541 6.1 index 0", lambda c: c.send(f.headers(1, block(c) + b"\x80")), COMPRESSION),
    ("7541 6.3 a table size over that of SETTINGS", lambda c: c.send(
        f.headers(1, f.integer(1 << 20, 5, 0x20) + block(c))), COMPRESSION),
]


@pytest.mark.parametrize("act, codes", [case[1:] for case in CONNECTION],
                         ids=[case[0] for case in CONNECTION])
def test_connection_errors(proxy, peer, h2, client, act, codes):
    act(client)
    assert_connection_error(client, codes)
    assert peer.asked("/bad") == []
    assert_serves(h2(proxy, HOST, peer.port))


def test_goaway_names_the_last_stream(client):
    last = ended(client)
    client.send(f.ping(b"123"))
    assert client.wait_goaway(Code.FRAME_SIZE_ERROR).last_stream_id == last
    client.wait_closed()


@pytest.mark.parametrize("preface", [
    b"INVALID CONNECTION PREFACE\r\n\r\n", PREFACE[:-2] + b"XX" + f.settings(),
    PREFACE + f.ping(), PREFACE + f.settings(flags=ACK), PREFACE + f.raw(SETTINGS, 0, 0, b"\0"),
    PREFACE + f.headers(1, b"\x82\x84\x87"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ids=["other bytes", "wrong end", "PING first", "ACK first", "bad SETTINGS", "HEADERS first",
         "HTTP/1.1"])
def test_a_wrong_preface(proxy, peer, h2, preface):
    client = h2(proxy, HOST, peer.port, start=False)
    client.wire.send(preface)
    waiting.until(lambda: client.wire.wait(0.1) and client.wire.is_closed, "the end")


# -- stream errors -------------------------------------------------------------------------------


def fields_of(change):
    """A request whose list of fields was changed."""
    def act(c):
        fields = c.head(target="/bad")
        return c.request_fields(f.literals(change(fields) or fields))
    return act


def more(*pairs):
    return fields_of(lambda fields: [*fields, *pairs])


def without(name):
    return fields_of(lambda fields: [p for p in fields if p[0] != name])


def with_value(name, value):
    return fields_of(lambda fields: [(n, value if n == name else v) for n, v in fields])


def twice(name):
    return fields_of(lambda fields: [*fields, *(p for p in fields if p[0] == name)][:5])


def early(*pairs):
    """Regular fields before the pseudo-header fields' end."""
    return fields_of(lambda fields: [*fields[:3], *pairs, fields[3]])


def with_body(length, *parts, target="/begun"):
    """A declared length, and DATA that is not it.  A right head may have gone on by then."""
    def act(c):
        number = c.open()
        c.send(f.headers(number, block(c, target, [("content-length", length)], "POST"),
                         END_HEADERS if parts else END_HEADERS | END_STREAM))
        for i, part in enumerate(parts, 1):
            c.send(f.data(number, part, END_STREAM if i == len(parts) else 0))
        return number
    return act


def with_trailers(fields, flags=END_HEADERS | END_STREAM):
    def act(c):
        number = c.open()
        c.send(f.headers(number, block(c, "/begun", method="POST"), END_HEADERS) +
               f.data(number, b"x") + f.headers(number, f.literals(fields), flags))
        return number
    return act


STREAM = [
    ("5.1 half-closed: DATA", on(half_closed, lambda n: f.data(n, b"x", END_STREAM)), CLOSED),
    ("5.1 half-closed: HEADERS",
     on(half_closed, lambda n: f.headers(n, f.literals([("x", "y")]))), CLOSED),
    ("4.2 DATA over MAX_FRAME_SIZE", send_big, SIZE),
    ("6.3 PRIORITY of 4 bytes", on(opened, lambda n: f.raw(Type.PRIORITY, 0, n, b"\0" * 4)), SIZE),
    ("6.9 WINDOW_UPDATE of 0", on(opened, lambda n: f.window_update(n, 0)), PROTOCOL),
    ("6.9.1 a stream's window over 2^31-1",
     on(opened, lambda n: f.window_update(n, 0x7fffffff) * 2), FLOW),
    ("8.1 a second HEADERS without END_STREAM",
     with_trailers([("x", "y")], END_HEADERS), MALFORMED),
    ("8.1 pseudo-header fields in trailers", with_trailers([(":method", "GET")]), MALFORMED),
    ("8.1 upper case in trailers", with_trailers([("X-T", "1")]), MALFORMED),
    ("8.2.1 CR LF in trailers", with_trailers([("x", "a\r\nb: c")]), MALFORMED),
    ("8.2.2 connection in trailers", with_trailers([("connection", "close")]), MALFORMED),
    ("8.1.1 content-length above DATA", with_body("3", b"ab"), MALFORMED),
    ("8.1.1 content-length below DATA", with_body("1", b"ab"), MALFORMED),
    ("8.1.1 content-length above two DATA", with_body("5", b"ab", b"cd"), MALFORMED),
    ("8.1.1 content-length below two DATA", with_body("3", b"ab", b"cd"), MALFORMED),
    ("8.1.1 content-length without DATA", with_body("1", target="/bad"), MALFORMED),
    ("8.1.1 content-length not a number", with_body("1x", b"a", target="/bad"), MALFORMED),
    ("8.1.1 content-length with a sign", with_body("+1", b"a", target="/bad"), MALFORMED),
    ("8.1.1 content-length over 2^64",
     with_body("18446744073709551617", b"a", target="/bad"), MALFORMED),
    ("8.1.1 two content-lengths",
     more(("content-length", "0"), ("content-length", "1")), MALFORMED),
    ("8.2.1 upper case", more(("X-Upper", "1")), MALFORMED),
    ("8.2.1 an empty name", more(("", "1")), MALFORMED),
    ("8.2.1 a blank in a name", more(("x y", "1")), MALFORMED),
    ("8.2.1 a colon in a name", more(("x:y", "1")), MALFORMED),
    ("8.2.1 a control in a name", more(("x\x01", "1")), MALFORMED),
    ("8.2.1 CR LF in a name", more(("x: 1\r\ny", "1")), MALFORMED),
    ("8.2.1 a byte above ASCII in a name", more(("x\xe9", "1")), MALFORMED),
    ("8.2.1 DEL in a name", more(("x\x7f", "1")), MALFORMED),
    ("8.2.1 NUL in a value", more(("x", "a\0b")), MALFORMED),
    ("8.2.1 LF in a value", more(("x", "a\nb: c")), MALFORMED),
    ("8.2.1 CR in a value", more(("x", "a\rb")), MALFORMED),
    ("8.2.1 CR LF and a request in a value",
     more(("x", "a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")), MALFORMED),
    ("8.2.1 a blank before a value", more(("x", " a")), MALFORMED),
    ("8.2.1 a tab behind a value", more(("x", "a\t")), MALFORMED),
    ("8.2.2 connection", more(("connection", "keep-alive")), MALFORMED),
    ("8.2.2 keep-alive", more(("keep-alive", "timeout=1")), MALFORMED),
    ("8.2.2 proxy-connection", more(("proxy-connection", "keep-alive")), MALFORMED),
    ("8.2.2 transfer-encoding", more(("transfer-encoding", "chunked")), MALFORMED),
    ("8.2.2 upgrade", more(("upgrade", "websocket")), MALFORMED),
    ("8.2.2 te other than trailers", more(("te", "trailers, deflate")), MALFORMED),
    ("8.3 an unknown pseudo-header field", early((":unknown", "1")), MALFORMED),
    ("8.3 a response's pseudo-header field", early((":status", "200")), MALFORMED),
    ("8.3 a pseudo-header field behind others", early(("x", "1")), MALFORMED),
    ("8.3.1 an empty path", with_value(":path", ""), MALFORMED),
    ("8.3.1 a path without a slash", with_value(":path", "bad"), MALFORMED),
    ("8.3.1 an asterisk without OPTIONS", with_value(":path", "*"), MALFORMED),
    ("8.3.1 a blank in the path", with_value(":path", "/bad HTTP/1.1"), MALFORMED),
    ("8.3.1 CR LF in the path", with_value(":path", "/bad\r\nx: y"), MALFORMED),
    ("8.3.1 a tab in the path", with_value(":path", "/bad\tx"), MALFORMED),
    ("8.3.1 a fragment in the path", with_value(":path", "/bad#x"), MALFORMED),
    ("8.3.1 an absolute URI in the path", with_value(":path", "https://evil.site.test/bad"),
     MALFORMED),
    ("8.3.1 no method", without(":method"), MALFORMED),
    ("8.3.1 no scheme", without(":scheme"), MALFORMED),
    ("8.3.1 no path", without(":path"), MALFORMED),
    ("8.3.1 no authority and no host", without(":authority"), MALFORMED),
    ("8.3.1 two methods", twice(":method"), MALFORMED),
    ("8.3.1 two schemes", twice(":scheme"), MALFORMED),
    ("8.3.1 two paths", twice(":path"), MALFORMED),
    ("8.3.1 two authorities", twice(":authority"), MALFORMED),
    ("8.3.1 an empty method", with_value(":method", ""), MALFORMED),
    ("8.3.1 a blank in the method", with_value(":method", "GET /bad HTTP/1.1"), MALFORMED),
    ("8.3.1 CR LF in the method", with_value(":method", "GET\r\n"), MALFORMED),
    ("8.3.1 another scheme", with_value(":scheme", "http"), MALFORMED),
    ("8.3.1 an unknown scheme", with_value(":scheme", "ftp"), MALFORMED),
    ("8.3.1 an empty authority", with_value(":authority", ""), MALFORMED),
    ("8.3.1 userinfo in the authority", with_value(":authority", "user@protocol.site.test"),
     MALFORMED),
    ("8.3.1 CR LF in the authority", with_value(":authority", "a\r\nb"), MALFORMED),
    ("8.3.1 a path in the authority", with_value(":authority", "protocol.site.test/bad"),
     MALFORMED),
    ("8.5 CONNECT with a path", with_value(":method", "CONNECT"), MALFORMED),
]


@pytest.mark.threat("smuggled-past-hooks")
@pytest.mark.parametrize("act, codes", [case[1:] for case in STREAM],
                         ids=[case[0] for case in STREAM])
def test_stream_errors(client, peer, act, codes):
    number = act(client)
    if assert_stream_error(client, number, codes):
        client.send(f.settings({Setting.INITIAL_WINDOW_SIZE: 65535}))
        assert_serves(client)
    for request in peer.requests:
        assert "bad" not in request.target and "smuggled" not in request.target
        assert request.target != "/begun" or not request.is_ended


# -- on closed streams: RFC 9113 lets a peer ignore it, or end the connection --------------------

CLOSED_STREAM = [
    ("5.1 closed by reset: DATA", on(reset, lambda n: f.data(n, b"x")), CLOSED),
    ("5.1 closed by reset: HEADERS", on(reset, lambda n: f.headers(n, f.literals([("x", "y")]))),
     CLOSED),
    ("5.1 closed by end: DATA", on(ended, lambda n: f.data(n, b"x")), CLOSED),
    ("5.1 closed by end: HEADERS", on(ended, lambda n: f.headers(n, f.literals(
        [(":method", "GET"), (":scheme", "https"), (":path", "/bad"), (":authority", HOST)]))),
     CLOSED),
    ("5.1.1 a stream that was skipped",
     lambda c: c.send(f.headers(7, block(c, "/ok")) + f.data(5, b"x")), CLOSED),
]


@pytest.mark.parametrize("act, codes", [case[1:] for case in CLOSED_STREAM],
                         ids=[case[0] for case in CLOSED_STREAM])
def test_closed_streams(client, peer, act, codes):
    client.next_stream = 3
    act(client)
    client.next_stream = 9
    try:
        assert_serves(client)
    except Closed:
        assert_connection_error(client, codes)
    assert peer.asked("/bad") == []


# -- tolerated -----------------------------------------------------------------------------------


def in_parts(c, n):
    """A request in so many frames, none of which ends at a field."""
    number, whole = c.open(), f.literals(c.head(target="/good"))
    cuts = [len(whole) * i // n for i in range(n + 1)]
    parts = [whole[i:j] for i, j in zip(cuts, cuts[1:])]
    return f.headers(number, parts[0], END_STREAM) + b"".join(
        f.continuation(number, part, 0) for part in parts[1:]) + f.continuation(number)


TOLERATED = [
    ("4.1 an unknown frame", sending(f.raw(0x21, 0xff, 0, b"x" * 8))),
    ("4.1 an unknown frame on a stream", sending(lambda c: f.raw(0x21, 0, opened(c), b"x"))),
    ("4.1 undefined flags", sending(f.raw(PING, 0xfe, 0, b"x" * 8))),
    ("4.1 the reserved bit", sending(f.raw(PING, 0, 0x80000000, b"x" * 8))),
    ("4.2 DATA of MAX_FRAME_SIZE", lambda c: c.send(f.data(opened(c), b"x" * 16384))),
    ("5.1 idle: PRIORITY", sending(f.priority(7))),
    ("5.1 half-closed: PRIORITY", on(ended, f.priority)),
    ("5.1 half-closed: WINDOW_UPDATE", on(half_closed, lambda n: f.window_update(n, 100))),
    ("5.1 half-closed: RST_STREAM", on(half_closed, f.rst_stream)),
    ("5.1 closed: PRIORITY", on(reset, f.priority)),
    ("5.1 closed: WINDOW_UPDATE", on(ended, lambda n: f.window_update(n, 100))),
    ("5.1 closed: RST_STREAM", on(ended, f.rst_stream)),
    ("5.1.1 streams may be skipped", lambda c: setattr(c, "next_stream", 0x1001)),
    ("6.1 DATA without bytes", lambda c: c.send(f.data(opened(c)))),
    ("6.1 padded DATA", lambda c: c.send(f.data(opened(c), padded(b"x" * 6, 5), PADDED))),
    ("6.1 DATA of padding alone",
     lambda c: c.send(f.data(opened(c), padded(b"\0" * 5, 5), PADDED))),
    ("6.2 padded HEADERS", lambda c: c.send(f.headers(
        c.open(), padded(block(c, "/good") + b"\0" * 9, 9), END_HEADERS | END_STREAM | PADDED))),
    ("6.2 HEADERS with priority", lambda c: c.send(f.headers(
        c.open(), b"\x80\0\0\0\xff" + block(c, "/good"), END_HEADERS | END_STREAM | PRIORITY))),
    ("6.3 priorities, weights, exclusive", sending(
        f.priority(3, 0, 0), f.priority(3, 0, 255), f.priority(5, 0x80000003), f.priority(9, 11))),
    ("6.5 SETTINGS of nothing", sending(f.settings())),
    ("6.5.2 an unknown setting", sending(f.settings({0xfff0: 1, 0x7: 9}))),
    ("6.5.2 MAX_FRAME_SIZE 2^24-1", sending(f.settings({Setting.MAX_FRAME_SIZE: (1 << 24) - 1}))),
    ("6.5.2 HEADER_TABLE_SIZE 0", sending(f.settings({Setting.HEADER_TABLE_SIZE: 0}))),
    ("6.5.2 HEADER_TABLE_SIZE 2^32-1",
     sending(f.settings({Setting.HEADER_TABLE_SIZE: 0xffffffff}))),
    ("6.5.2 a setting twice in a frame", sending(f.raw(
        SETTINGS, 0, 0, struct.pack("!HLHL", 4, 0, 4, 65535)))),
    ("6.7 PING ACK that nobody asked for", sending(f.ping(b"12345678", ACK))),
    ("6.9 WINDOW_UPDATE of the connection", sending(f.window_update(0, 1000))),
    ("6.10 HEADERS and CONTINUATIONs", lambda c: c.send(in_parts(c, 5))),
    ("7 RST_STREAM with an unknown code", on(opened, lambda n: f.rst_stream(n, 0xff))),
    ("7541 6.2 literals of all kinds", lambda c: c.send(f.headers(
        c.open(), f.literals(c.head(target="/good")) + b"\x40\x01a\x01b\x00\x01c\x01d\x10\x01e\x01f"
        b"\xbe"))),
    ("7541 6.3 table size updates", lambda c: c.send(f.headers(
        c.open(), b"\x20\x3f\xe1\x1f" + f.literals(c.head(target="/good"))))),
    ("7541 4.1 a field as large as the table", lambda c: c.send(f.headers(
        c.open(), f.literals(c.head(target="/good")) + b"\x40\x01a" + f.integer(5000, 7, 0) +
        b"x" * 5000))),
    ("7541 5.1 an integer with zeros at its end", lambda c: c.send(f.headers(
        c.open(), f.literals(c.head(target="/good")) + b"\x00\x01a\x7f\x80\x00" + b"x" * 127))),
    ("8.1 GET with an empty DATA at its end", lambda c: c.send(f.headers(
        c.open(), block(c, "/good"), END_HEADERS) + f.data(c.next_stream - 2, b"", END_STREAM))),
    ("8.1.1 content-length of DATA", with_body("4", b"ab", b"", b"cd", target="/good")),
    ("8.2.1 an empty value", lambda c: c.request("GET", "/good", [("x-empty", "")])),
    ("8.2.2 te: trailers", lambda c: c.request("GET", "/good", [("te", "trailers")])),
    ("8.2.3 crumbs of a cookie", lambda c: c.request("GET", "/good", [("cookie", "a=1")] * 9)),
]


@pytest.mark.parametrize("act", [case[1] for case in TOLERATED],
                         ids=[case[0] for case in TOLERATED])
def test_tolerated(client, act):
    act(client)
    client.send(f.settings({Setting.INITIAL_WINDOW_SIZE: 65535}))
    client.wait_ping()
    assert_serves(client)
    assert not client.goaways
    assert [s for s in client.streams.values() if s.headers and s.status != 200] == []


@pytest.mark.parametrize("code", [0, 2, 0xff])
def test_goaway_of_the_client(client, proxy, peer, h2, code):
    """Whatever its code, the connection ends in peace or goes on."""
    client.send(f.goaway(0, code))
    try:
        assert_serves(client)
    except Closed:
        assert_connection_error(client, [Code.NO_ERROR])
    assert_serves(h2(proxy, HOST, peer.port))


# -- what is answered ----------------------------------------------------------------------------


def test_settings_are_acknowledged(client):
    n = sum("ACK" in s.flags for s in client.of(SETTINGS))
    client.send(f.settings() * 3)
    client.until(lambda: sum("ACK" in s.flags for s in client.of(SETTINGS)) >= n + 3, "three ACKs")


def test_ping_has_its_bytes_back(client):
    client.wait_ping(b"\0\1\2\3\4\5\6\7")
    client.send(f.ping(b"unasked!", ACK))
    client.wait_ping(b"asked   ")
    assert all(p.opaque_data != b"unasked!" for p in client.of(PING))


def test_a_window_is_kept(proxy, peer, h2):
    client = h2(proxy, HOST, peer.port, pairs={Setting.INITIAL_WINDOW_SIZE: 1})
    number = client.request("GET", "/ok")
    client.wait_body(number, 1)
    client.wait_ping()
    assert len(client.streams[number].body) == 1
    client.send(f.window_update(number, 10000))
    assert client.response(number).status == 200


def test_a_window_may_become_negative(proxy, peer, h2):
    client = h2(proxy, HOST, peer.port, pairs={Setting.INITIAL_WINDOW_SIZE: 3})
    number = client.request("GET", "/ok")
    client.wait_body(number, 3)
    client.send(f.settings({Setting.INITIAL_WINDOW_SIZE: 0}) + f.window_update(number, 2))
    client.wait_ping()
    assert len(client.streams[number].body) == 3            # 0 - 3 + 2 is no window
    client.send(f.window_update(number, 2))
    client.wait_body(number, 4)
    client.wait_ping(b"again   ")
    assert len(client.streams[number].body) == 4
    client.send(f.window_update(number, 10000))
    assert client.response(number).status == 200


def test_more_than_the_window_is_a_flow_control_error(client):
    number = opened(client)
    room = min(client.window, client.streams[number].window)
    for _ in range(room // 16384 + 80):
        if not client.send(f.data(number, b"x" * 16384)):
            break
        if client.goaways or client.streams[number].reset is not None:
            break
    assert_stream_error(client, number, FLOW)


def test_more_streams_than_announced(proxy, peer, h2):
    client = h2(proxy, HOST, peer.port)
    most = client.peer[Setting.MAX_CONCURRENT_STREAMS]
    assert 0 < most <= 1000
    numbers = [opened(client, "/ok") for _ in range(most + 1)]
    assert_stream_error(client, numbers[-1], [Code.PROTOCOL_ERROR, Code.REFUSED_STREAM])


def test_server_announces_what_it_keeps(client):
    assert client.peer[Setting.MAX_HEADER_LIST_SIZE] >= 16384
    assert client.peer.get(Setting.ENABLE_PUSH, 0) == 0
    assert client.peer[Setting.MAX_FRAME_SIZE] >= 16384
