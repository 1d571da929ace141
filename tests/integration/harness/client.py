"""A client of the proxy that controls every byte."""
import socket
import ssl
import struct

from . import http1, waiting


def request(method, target, host=None, headers=(), body=b"", version="1.1"):
    """A request's bytes; Content-Length is added for a body unless it is given or chunked."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    framed = any(n.lower() in ("content-length", "transfer-encoding") for n, _ in headers)
    if body and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class Client:
    """One connection to the proxy.  Use as a context manager."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.sock = socket.create_connection(("127.0.0.1", proxy.port), waiting.DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = http1.Reader(self.sock)
        self.authority = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def read(self, method="GET"):
        """The next message; interim responses are messages too."""
        return http1.read_response(self.reader, method)

    def connect(self, host, port):
        """Sends CONNECT; the proxy's answer."""
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.send(request("CONNECT", self.authority, self.authority))
        answer = http1.read_head(self.reader)
        return answer if answer.status == 200 else http1.read_body(self.reader, answer)

    def start_tls(self, sni, context=None, session=None):
        context = context or self.proxy.trusting()
        self.sock = context.wrap_socket(self.sock, server_hostname=sni, session=session)
        self.reader = http1.Reader(self.sock)
        return self

    def tunnel(self, host, port, context=None, session=None):
        """CONNECT and TLS; ready for requests."""
        assert self.connect(host, port).status == 200
        return self.start_tls(host, context, session)

    def ask(self, method, target, headers=(), body=b"", host=None):
        """One request inside the tunnel, and its response."""
        self.send(request(method, target, host or self.authority, headers, body))
        return self.read(method)

    def get(self, target, headers=()):
        return self.ask("GET", target, headers)

    def reset(self):
        """Leaves with RST."""
        sock = socket.socket(fileno=self.sock.detach())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def is_closed(self):
        """Waits for the end of the connection; False when bytes come instead."""
        try:
            return self.reader.some() == b""
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return True


class WireTls:
    """TLS over memory: the test carries the records, and cuts them as it likes."""

    def __init__(self, context, sni):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=sni)

    def hello(self):
        """The ClientHello's bytes."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def finish(self, sock, already=b""):
        """Carries the handshake on, over sock."""
        self.incoming.write(already)
        self._pump(sock, self.tls.do_handshake)

    def send(self, sock, data):
        self.tls.write(data)
        sock.sendall(self.outgoing.read())

    def _pump(self, sock, step):
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                result = None
                want = True
            else:
                want = False
            if out := self.outgoing.read():
                sock.sendall(out)
            if not want:
                return result
            data = sock.recv(65536)
            if not data:
                raise http1.Closed("closed inside the handshake")
            self.incoming.write(data)

    def reader(self, sock):
        """An http1.Reader of what comes decrypted."""
        pipe = self

        class Source:
            @staticmethod
            def recv(n):
                return pipe._pump(sock, lambda: pipe.tls.read(n))

        return http1.Reader(Source)
