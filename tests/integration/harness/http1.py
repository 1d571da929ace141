"""HTTP/1 read without mercy for framing: both ends of the tests use it."""
from dataclasses import dataclass, field

MAX_HEAD = 4 << 20


class Closed(ConnectionError):
    """The peer closed before the message was whole."""


class Reader:
    """Bytes of anything with recv(n)."""

    def __init__(self, source):
        self.source = source
        self.buffer = b""

    def _more(self):
        data = self.source.recv(65536)
        if not data:
            raise Closed(f"closed after {self.buffer[:200]!r}")
        self.buffer += data

    def until(self, mark):
        """Everything up to and including mark."""
        while mark not in self.buffer:
            if len(self.buffer) > MAX_HEAD:
                raise ValueError("endless head")
            self._more()
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def exactly(self, n):
        parts, missing = [], n
        while missing > len(self.buffer):
            parts.append(self.buffer)
            missing -= len(self.buffer)
            self.buffer = b""
            self._more()
        parts.append(self.buffer[:missing])
        self.buffer = self.buffer[missing:]
        return b"".join(parts)

    def some(self):
        """What is there; b"" at the end."""
        if not self.buffer:
            self.buffer = self.source.recv(65536)
        taken, self.buffer = self.buffer, b""
        return taken

    def rest(self):
        parts = []
        while part := self.some():
            parts.append(part)
        return b"".join(parts)


@dataclass
class Message:
    start: str
    headers: list
    body: bytes = b""
    trailers: list = field(default_factory=list)
    raw_head: bytes = b""

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)

    @property
    def status(self):
        return int(self.start.split(" ")[1])

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]

    @property
    def text(self):
        return self.body.decode()


def parse_fields(lines):
    pairs = []
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            pairs.append((name, value.strip()))
    return pairs


def read_head(reader):
    raw = reader.until(b"\r\n\r\n")
    lines = raw.decode("latin-1").split("\r\n")
    return Message(lines[0], parse_fields(lines[1:]), raw_head=raw)


def read_chunked(reader, message):
    parts = []
    while size := int(reader.until(b"\r\n").split(b";")[0], 16):
        parts.append(reader.exactly(size))
        assert reader.exactly(2) == b"\r\n"
    message.body = b"".join(parts)
    while (line := reader.until(b"\r\n")) != b"\r\n":
        message.trailers += parse_fields([line.decode("latin-1").rstrip("\r\n")])


def is_chunked(message):
    return (message.get("transfer-encoding") or "").lower() == "chunked"


def read_body(reader, message):
    if is_chunked(message):
        read_chunked(reader, message)
    elif message.get("content-length"):
        message.body = reader.exactly(int(message.get("content-length")))
    return message


def read_request(reader):
    return read_body(reader, read_head(reader))


def read_response(reader, method="GET"):
    """The final response; body by its framing, or to the end of the connection."""
    message = read_head(reader)
    if method == "HEAD" or message.status in (101, 204, 304) or message.status < 200:
        return message
    if is_chunked(message) or message.get("content-length") is not None:
        return read_body(reader, message)
    message.body = reader.rest()
    return message


def response(body=b"", status=200, headers=(), reason="OK"):
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
