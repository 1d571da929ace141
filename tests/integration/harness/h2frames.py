"""An HTTP/2 client of the proxy that controls every frame, the malformed ones included."""
import enum
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from hyperframe.frame import Frame

from . import waiting
from .http1 import Closed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
# RFC 9113, 8.2.2: never in a message of HTTP/2.
CONNECTION_SPECIFIC = {"connection", "keep-alive", "proxy-connection", "transfer-encoding",
                       "upgrade"}


class Type(enum.IntEnum):
    DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
    PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)


class Code(enum.IntEnum):
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
    STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
    CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = range(10, 14)


class Setting(enum.IntEnum):
    HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = range(1, 5)
    MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 5, 6
    ENABLE_CONNECT_PROTOCOL = 8


# -- frames as bytes: nothing is validated --


def raw(kind, flags, stream, payload=b"", length=None):
    """Any frame; length: what its header says, where that is not the truth."""
    length = len(payload) if length is None else length
    return struct.pack("!BHBBL", length >> 16, length & 0xffff, kind, flags, stream) + payload


def headers(stream, block, flags=END_HEADERS | END_STREAM):
    return raw(Type.HEADERS, flags, stream, block)


def continuation(stream, block=b"", flags=END_HEADERS):
    return raw(Type.CONTINUATION, flags, stream, block)


def data(stream, payload=b"", flags=0):
    return raw(Type.DATA, flags, stream, payload)


def rst_stream(stream, code=Code.CANCEL):
    return raw(Type.RST_STREAM, 0, stream, struct.pack("!L", code))


def settings(pairs=(), flags=0, stream=0):
    return raw(Type.SETTINGS, flags, stream,
               b"".join(struct.pack("!HL", name, value) for name, value in dict(pairs).items()))


def ping(payload=b"sluice12", flags=0, stream=0):
    return raw(Type.PING, flags, stream, payload)


def goaway(last=0, code=Code.NO_ERROR, stream=0):
    return raw(Type.GOAWAY, 0, stream, struct.pack("!LL", last, code))


def window_update(stream, increment):
    return raw(Type.WINDOW_UPDATE, 0, stream, struct.pack("!L", increment))


def priority(stream, depends_on=0, weight=15):
    return raw(Type.PRIORITY, 0, stream, struct.pack("!LB", depends_on, weight))


def literal(name, value):
    """A field for a header block that no encoder touches: literal, never indexed, no Huffman."""
    name, value = name.encode("latin-1"), value.encode("latin-1")
    return b"\x10" + _string(name) + _string(value)


def literals(pairs):
    return b"".join(literal(n, v) for n, v in pairs)


def _string(text):
    return integer(len(text), 7, 0) + text


def integer(value, bits, first):
    """HPACK's integer with a prefix of so many bits; first: the bits before it."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out, value = bytearray([first | limit]), value - limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


# -- what comes back --


@dataclass
class Stream:
    """One request's response so far."""
    number: int
    window: int
    interim: list = field(default_factory=list)
    headers: list = None
    body: bytearray = field(default_factory=bytearray)
    trailers: list = field(default_factory=list)
    is_ended: bool = False
    reset: int = None
    unacknowledged: int = 0

    def all(self, name):
        return [v for n, v in self.headers if n == name.lower()]

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)

    @property
    def status(self):
        return int(self.get(":status")) if self.headers else None

    @property
    def text(self):
        return self.body.decode()

    @property
    def is_over(self):
        return self.is_ended or self.reset is not None


class Wire:
    """A socket that is read while it is written: no two full buffers wait for each other."""

    def __init__(self, sock, already=b""):
        self.sock = sock
        self.sock.setblocking(False)
        self.buffer = bytearray(already)
        self.is_closed = False
        self.error = None       # what it was closed by, when not by the peer in good order

    def send(self, payload):
        """False when the peer has closed; what it said before is still there to be read."""
        view = memoryview(payload)
        while view and not self.is_closed:
            try:
                view = view[self.sock.send(view):]
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                select.select([self.sock], [self.sock], [], waiting.DEADLINE)
                self.take()
            except OSError as e:
                self.error = e
                self.take()
                self.is_closed = True
        return not self.is_closed

    def take(self):
        """Reads what is there; whether that was anything."""
        n = len(self.buffer)
        while not self.is_closed:
            try:
                part = self.sock.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                break
            except OSError as e:
                self.error = e
                part = b""
            self.is_closed = not part
            self.buffer += part
        return len(self.buffer) > n

    def wait(self, seconds):
        """Waits for bytes or the end; False when the time is over."""
        select.select([self.sock], [], [], max(seconds, 0))
        return self.take() or self.is_closed


class H2Client:
    """One HTTP/2 connection.  Reads only while something is waited for or sent."""

    def __init__(self, sock, authority, scheme="https", already=b""):
        self.wire = Wire(sock, already)
        self.authority, self.scheme = authority, scheme
        self.encoder, self.decoder = Encoder(), Decoder()
        self.streams = {}
        self.next_stream = 1
        self.peer = {Setting.INITIAL_WINDOW_SIZE: 65535, Setting.MAX_FRAME_SIZE: 16384}
        self.window = 65535
        self.frames = []                # all that were read, but for DATA
        self.goaways = []
        self.unacknowledged = 0
        self.held = set()               # streams whose window is not opened again
        self.is_answering = True        # acknowledges SETTINGS and PING, opens windows
        self._block = None              # a header block that CONTINUATIONs will end

    # -- beginning --

    def start(self, pairs=((Setting.ENABLE_PUSH, 0),), window=None):
        """Preface and SETTINGS; back when the peer's SETTINGS are there."""
        self.send(PREFACE + settings(pairs))
        if window is not None:
            self.send(window_update(0, window))
        self.until(lambda: self.count(Type.SETTINGS), "the peer's SETTINGS")
        return self

    # -- sending --

    def send(self, payload):
        """Any bytes.  False when the connection is closed."""
        sent = self.wire.send(payload)
        self._parse()
        return sent

    def head(self, method="GET", target="/", more=(), authority=None, scheme=None):
        """The fields of a request, pseudo-header fields first."""
        return [(":method", method), (":scheme", scheme or self.scheme),
                (":authority", authority or self.authority), (":path", target), *more]

    def block(self, fields):
        """A header block; fields: a list of pairs, or a block already."""
        if isinstance(fields, bytes):
            return fields
        return self.encoder.encode([(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields])

    def open(self):
        """The next stream's number, and a place for its response."""
        number = self.next_stream
        self.next_stream += 2
        return self.stream(number).number

    def stream(self, number):
        if number not in self.streams:
            self.streams[number] = Stream(number, self.peer[Setting.INITIAL_WINDOW_SIZE])
        return self.streams[number]

    def request(self, method="GET", target="/", more=(), end=True, **head):
        """Sends a head, in as many frames as it takes; the stream's number."""
        return self.request_fields(self.head(method, target, more, **head), end)

    def request_fields(self, fields, end=True):
        number, block = self.open(), self.block(fields)
        size = self.peer[Setting.MAX_FRAME_SIZE]
        parts = [block[i:i + size] for i in range(0, len(block), size)] or [b""]
        last = len(parts) - 1
        self.send(b"".join(
            raw(Type.CONTINUATION if i else Type.HEADERS,
                (END_HEADERS if i == last else 0) | (END_STREAM if end and not i else 0),
                number, part) for i, part in enumerate(parts)))
        return number

    def body(self, number, payload, end=True):
        """DATA, as the peer's windows allow."""
        stream, view = self.stream(number), memoryview(payload)
        while view and not stream.is_over:
            self.until(lambda: stream.is_over or min(stream.window, self.window) > 0,
                       f"a window to send on stream {number}")
            n = min(len(view), stream.window, self.window, self.peer[Setting.MAX_FRAME_SIZE])
            stream.window -= n
            self.window -= n
            self.send(data(number, bytes(view[:n]), END_STREAM if end and n == len(view) else 0))
            view = view[n:]
        if end and not payload:
            self.send(data(number, b"", END_STREAM))

    def trailers(self, number, fields):
        self.send(headers(number, self.block(fields)))

    def ask(self, method, target, more=(), body=b"", trailers=(), **head):
        """A whole request, and its whole response."""
        number = self.request(method, target, more, end=not body and not trailers, **head)
        if body:
            self.body(number, body, end=not trailers)
        if trailers and not self.stream(number).is_over:
            self.trailers(number, list(trailers))
        return self.response(number)

    def get(self, target, more=(), **head):
        return self.ask("GET", target, more, **head)

    # -- waiting --

    def until(self, fact, what, seconds=waiting.DEADLINE):
        """Reads frames until fact() is true; its answer."""
        end = time.monotonic() + seconds
        self._parse()
        while not (answer := fact()):
            if self.wire.is_closed:
                raise Closed(f"closed ({self.goaways}, {self.wire.error!r}) instead of {what}")
            if not self.wire.wait(end - time.monotonic()) and time.monotonic() > end:
                raise waiting.TimedOut(f"not seen within {seconds:g} s: {what}")
            self._parse()
        return answer

    def response(self, number):
        """A response to its end, or to its reset."""
        stream = self.stream(number)
        self.until(lambda: stream.is_over, f"the response on stream {number}")
        return stream

    def wait_headers(self, number):
        stream = self.stream(number)
        self.until(lambda: stream.headers or stream.is_over, f"a head on stream {number}")
        return stream

    def wait_body(self, number, mark):
        """Until the body has the bytes `mark`, or so many."""
        stream = self.stream(number)

        def fact():
            return len(stream.body) >= mark if isinstance(mark, int) else mark in stream.body

        self.until(lambda: fact() or stream.is_over, f"{mark!r} on stream {number}")
        assert fact(), f"stream {number} is over: {stream}"
        return stream

    def wait_reset(self, number, *codes):
        stream = self.stream(number)
        self.until(lambda: stream.is_over, f"the end of stream {number}")
        assert stream.reset is not None, f"not reset: {stream}"
        assert not codes or stream.reset in codes, f"reset with {Code(stream.reset).name}"
        return stream

    def wait_goaway(self, *codes):
        self.until(lambda: self.goaways, "GOAWAY")
        assert not codes or self.goaways[-1].error_code in codes, self.goaways
        return self.goaways[-1]

    def wait_closed(self, seconds=waiting.DEADLINE):
        """The connection's end; what came before it is parsed."""
        try:
            self.until(lambda: False, "the end of the connection", seconds)
        except Closed:
            pass

    def wait_ping(self, payload=b"are you?"):
        """Whatever was sent before has been read by the peer."""
        self.send(ping(payload))
        self.until(lambda: any(f.opaque_data == payload for f in self.of(Type.PING)
                               if "ACK" in f.flags), "PING's ACK")

    def of(self, kind):
        return [f for f in self.frames if f.type == kind]

    def count(self, kind):
        return len(self.of(kind))

    def close(self):
        self.wire.sock.close()

    # -- receiving --

    def _parse(self):
        self.wire.take()
        while len(self.wire.buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(bytes(self.wire.buffer[:9])))
            assert length <= 16384, f"a frame of {length} bytes"
            if len(self.wire.buffer) < 9 + length:
                return
            frame.parse_body(memoryview(bytes(self.wire.buffer[9:9 + length])))
            frame.body_len = length
            del self.wire.buffer[:9 + length]
            self._take(frame)

    def _take(self, frame):
        assert self._block is None or frame.type == Type.CONTINUATION, f"{frame} in a header block"
        if frame.type != Type.DATA:
            self.frames.append(frame)
        act = self._ACTIONS.get(frame.type)
        if act is not None:
            act(self, frame)

    def _on_data(self, frame):
        stream = self.stream(frame.stream_id)
        stream.body += frame.data
        stream.is_ended |= "END_STREAM" in frame.flags
        self.unacknowledged += frame.flow_controlled_length
        stream.unacknowledged += frame.flow_controlled_length
        if self.is_answering:
            self._open_windows(stream)

    def _open_windows(self, stream):
        out = b""
        if self.unacknowledged >= 16384:
            out += window_update(0, self.unacknowledged)
            self.unacknowledged = 0
        idle = stream.is_over or stream.number in self.held
        if stream.unacknowledged >= 16384 and not idle:
            out += window_update(stream.number, stream.unacknowledged)
            stream.unacknowledged = 0
        if out:
            self.wire.send(out)

    def _on_headers(self, frame):
        self._block = (frame.stream_id, "END_STREAM" in frame.flags, bytearray())
        self._on_continuation(frame)

    def _on_continuation(self, frame):
        assert self._block and self._block[0] == frame.stream_id
        self._block[2].extend(frame.data)
        if "END_HEADERS" not in frame.flags:
            return
        number, is_end, block = self._block
        self._block = None
        fields = [(n.decode("latin-1"), v.decode("latin-1"))
                  for n, v in self.decoder.decode(bytes(block), raw=True)]
        self._on_fields(self.stream(number), fields, is_end)

    @staticmethod
    def _on_fields(stream, fields, is_end):
        names = [n for n, _ in fields]
        assert all(n == n.lower() for n in names) and not CONNECTION_SPECIFIC & set(names), names
        if stream.headers is not None:
            assert is_end and not any(n.startswith(":") for n in names), fields
            stream.trailers = fields
        elif fields[0][1].startswith("1"):
            stream.interim.append((int(fields[0][1]), fields[1:]))
        else:
            assert [n for n in names if n.startswith(":")] == [":status"] == names[:1], fields
            stream.headers = fields
        stream.is_ended |= is_end

    def _on_rst_stream(self, frame):
        self.stream(frame.stream_id).reset = frame.error_code

    def _on_settings(self, frame):
        if "ACK" in frame.flags:
            return
        if Setting.INITIAL_WINDOW_SIZE in frame.settings:
            change = (frame.settings[Setting.INITIAL_WINDOW_SIZE] -
                      self.peer[Setting.INITIAL_WINDOW_SIZE])
            for stream in self.streams.values():
                stream.window += change
        self.peer.update(frame.settings)
        if Setting.HEADER_TABLE_SIZE in frame.settings:
            self.encoder.header_table_size = min(4096, frame.settings[Setting.HEADER_TABLE_SIZE])
        if self.is_answering:
            self.wire.send(settings(flags=ACK))

    def _on_ping(self, frame):
        if self.is_answering and "ACK" not in frame.flags:
            self.wire.send(ping(frame.opaque_data, ACK))

    def _on_goaway(self, frame):
        self.goaways.append(frame)

    def _on_window_update(self, frame):
        if frame.stream_id == 0:
            self.window += frame.window_increment
        elif frame.stream_id in self.streams:
            self.streams[frame.stream_id].window += frame.window_increment

    _ACTIONS = {Type.DATA: _on_data, Type.HEADERS: _on_headers, Type.RST_STREAM: _on_rst_stream,
                Type.SETTINGS: _on_settings, Type.PING: _on_ping, Type.GOAWAY: _on_goaway,
                Type.WINDOW_UPDATE: _on_window_update, Type.CONTINUATION: _on_continuation}


# -- ways in --


def alpn_context(context, offered=("h2", "http/1.1")):
    context.set_alpn_protocols(list(offered))
    return context


def inside_tls(client, host, port, offered=("h2", "http/1.1")):
    """CONNECT and TLS over a harness Client; the H2Client inside, that has sent nothing yet."""
    client.tunnel(host, port, context=alpn_context(client.proxy.trusting(), offered))
    assert client.sock.selected_alpn_protocol() == "h2"
    return H2Client(client.sock, client.authority)


def inside_connect(client, host, port):
    """CONNECT, and h2c by prior knowledge."""
    assert client.connect(host, port).status == 200
    return H2Client(client.sock, client.authority, "http", client.reader.buffer)


def direct(address, authority, context=None, sni=None):
    """To a server itself, for what the harness has to show of its own."""
    sock = socket.create_connection(address, waiting.DEADLINE)
    if context is not None:
        sock = alpn_context(context).wrap_socket(sock, server_hostname=sni)
    return H2Client(sock, authority, "http" if context is None else "https")
