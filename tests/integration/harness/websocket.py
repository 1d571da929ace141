"""WebSocket frames, and an origin that echoes messages over HTTP/1.1."""
import base64
import hashlib
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
OFFER = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
         ("Sec-WebSocket-Key", KEY)]
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"\x01\x02\x03\x04"


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def frame(opcode, payload=b"", masked=True, fin=True):
    head = bytes([opcode | (0x80 if fin else 0)])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 1 << 16:
        head += struct.pack("!BH", mask | 126, len(payload))
    else:
        head += struct.pack("!BQ", mask | 127, len(payload))
    if not masked:
        return head + payload
    return head + _KEY + _unmask(payload, _KEY)


def _unmask(payload, key):
    pad = (key * (len(payload) // 4 + 1))[:len(payload)]
    n = len(payload)
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(n, "big")


def close(code):
    return struct.pack("!H", code)


def read(reader):
    """The next frame of anything with exactly(n): first byte, payload unmasked."""
    first, second = reader.exactly(2)
    n = second & 0x7f
    if n == 126:
        n, = struct.unpack("!H", reader.exactly(2))
    elif n == 127:
        n, = struct.unpack("!Q", reader.exactly(8))
    key = reader.exactly(4) if second & 0x80 else b"\0\0\0\0"
    return first, _unmask(reader.exactly(n), key)


def upgrade(connection, request, more=(), first=b""):
    """Answers 101, and says what comes first in the same breath."""
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Accept: {accept_of(request.get('sec-websocket-key'))}",
             *(f"{n}: {v}" for n, v in more)]
    connection.send("\r\n".join(lines).encode() + b"\r\n\r\n" + first)


def echo(connection):
    """Each frame as it came, unmasked; ends after CLOSE."""
    while True:
        first, payload = read(connection.reader)
        opcode, fin = first & 0xf, bool(first & 0x80)
        answer = PONG if opcode == PING else opcode
        connection.send(frame(answer, payload, masked=False, fin=fin))
        if opcode == CLOSE:
            return
