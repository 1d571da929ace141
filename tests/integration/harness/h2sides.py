"""Clients of both versions with one interface, for what has to hold in every pairing."""
import pytest

from . import h2frames, http1
from .client import request

ALPN = {"h1": "http/1.1", "h2": "h2"}
VERSION = {"h1": "1.1", "h2": "2"}


class Http1Side:
    version = "1.1"

    def __init__(self, client):
        self.client = client

    def ask(self, method, target, headers=(), body=b"", trailers=()):
        """A request and its response; interim ones are its member `interim`."""
        if trailers:
            headers = [*headers, ("Transfer-Encoding", "chunked")]
            lines = "".join(f"{n}: {v}\r\n" for n, v in trailers).encode()
            body = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, lines)
        self.client.send(request(method, target, self.client.authority, headers, body))
        interim = []
        while (answer := self.client.read(method)).status < 200:
            interim.append((answer.status, answer.headers))
        answer.interim = interim
        return answer

    def begin(self, target):
        self.client.send(request("GET", target, self.client.authority))

    def wait_body(self, mark):
        self.client.reader.until(mark)

    def cancel(self):
        self.client.reset()

    def fail(self, method, target):
        """Asks for what ends in the middle."""
        with pytest.raises((http1.Closed, ConnectionError)):
            self.ask(method, target)


class Http2Side:
    version = "2"

    def __init__(self, client):
        self.client = client
        self.number = None

    def ask(self, method, target, headers=(), body=b"", trailers=()):
        lower = [(n.lower(), v) for n, v in headers]
        if body and not trailers and not any(n == "content-length" for n, _ in lower):
            lower.append(("content-length", str(len(body))))
        return self.client.ask(method, target, lower, body, trailers)

    def begin(self, target):
        self.number = self.client.request("GET", target)

    def wait_body(self, mark):
        self.client.wait_body(self.number, mark)

    def cancel(self):
        self.client.send(h2frames.rst_stream(self.number))

    def fail(self, method, target):
        stream = self.ask(method, target)
        assert stream.reset not in (None, h2frames.Code.NO_ERROR), stream


def resident(proxy):
    """Bytes of memory that the proxy has now."""
    with open(f"/proc/{proxy.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))
