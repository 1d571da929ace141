"""Scripts for an H2Origin: what it does on a path instead of answering."""
import struct
import threading

from .h2origin import Answer


def after(event, answer=None):
    """Answers once a test's Event is set."""
    def script(exchange):
        exchange.read()
        exchange.wait(event)
        exchange.answer(answer or Answer(b"late"))
    return script


def large(n, chunk=b"0123456789abcdef" * 1024):
    """n bytes without a length, as fast as they are taken."""
    def script(exchange):
        exchange.head(200, [("content-type", "application/octet-stream")])
        for at in range(0, n, len(chunk)):
            exchange.data(chunk[:n - at])
        exchange.end()
    return script


def server_sent(*turns):
    """An event at once, then one for each of a test's Events."""
    def script(exchange):
        exchange.head(200, [("content-type", "text/event-stream")])
        exchange.data(b"data: 0\n\n")
        for i, turn in enumerate(turns, 1):
            exchange.wait(turn)
            exchange.data(b"data: %d\n\n" % i)
        exchange.end()
    return script


def resetting(code, part=b""):
    """RST_STREAM, before the head or after part of a body."""
    def script(exchange):
        if part:
            exchange.head(200)
            exchange.data(part)
        exchange.reset(code)
    return script


def cutting(part):
    """The connection ends inside the body."""
    def script(exchange):
        exchange.head(200, [("content-length", str(len(part) + 1))])
        exchange.data(part)
        exchange.cut()
    return script


class Once:
    """Does `first` the first time, and answers as usual from then on."""

    def __init__(self, first, then=None):
        self.first, self.then = first, then or (lambda exchange: exchange.answer(Answer(b"again")))
        self.lock = threading.Lock()
        self.n = 0

    def __call__(self, exchange):
        with self.lock:
            self.n += 1
            is_first = self.n == 1
        (self.first if is_first else self.then)(exchange)


def grpc_message(payload):
    return struct.pack("!BL", 0, len(payload)) + payload


def grpc_echo(exchange):
    """Every message at once, back; then a status in trailers."""
    exchange.head(200, [("content-type", "application/grpc")])
    exchange.data(exchange.read())
    exchange.end([("grpc-status", "0"), ("grpc-message", "fine")])


def grpc_refusal(exchange):
    """Trailers only."""
    exchange.read()
    exchange.head(200, [("content-type", "application/grpc"), ("grpc-status", "5")], end=True)
