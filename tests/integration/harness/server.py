"""A threaded server on a free loopback port or a unix socket; what it says is the test's affair."""
import socket
import ssl
import struct
import threading

from . import http1, waiting


class Connection:
    """One accepted connection, as a script of the test sees it."""

    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.reader = http1.Reader(sock)

    def send(self, data):
        self.sock.sendall(data)

    def read_request(self):
        return http1.read_request(self.reader)

    def reset(self):
        """Closes with RST instead of FIN."""
        raw = self.sock
        if isinstance(raw, ssl.SSLSocket):
            raw = socket.socket(fileno=raw.detach())
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()

    def finish(self):
        """Closes as it should be: with close_notify before FIN."""
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.fileno() >= 0:
            try:
                self.sock.settimeout(0)
                self.sock.unwrap()
            except (OSError, ValueError):
                pass
        self.close()

    def hang_up(self):
        """Ends what its thread is at; the descriptor stays that thread's."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.hang_up()
        self.sock.close()


class Server:
    """Runs serve(connection) in a thread a connection.  tls: an ssl.SSLContext, or None."""

    def __init__(self, serve=None, tls=None, path=None, port=0):
        if serve is not None:
            self.serve = serve
        self.tls = tls
        self.condition = threading.Condition()
        self.connections = []
        self.n_handshake_failures = 0
        self.closing = threading.Event()
        self.listener = self._listen(path, port)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _listen(self, path, port):
        if path is not None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            self.port = None
        else:
            listener = socket.socket()
            if port != 0:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            self.port = listener.getsockname()[1]
        listener.listen(1024)
        return listener

    def serve(self, connection):
        raise NotImplementedError

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock):
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
        except OSError:
            with self.condition:
                self.n_handshake_failures += 1
                self.condition.notify_all()
            sock.close()
            return
        with self.condition:
            connection = Connection(sock, len(self.connections))
            self.connections.append(connection)
            self.condition.notify_all()
        try:
            self.serve(connection)
        except (OSError, ValueError):
            pass
        finally:
            connection.finish()

    @property
    def n_connections(self):
        with self.condition:
            return len(self.connections)

    def wait(self, fact, what, seconds=waiting.DEADLINE):
        """Waits for fact(), which this server's threads make true."""
        with self.condition:
            if not self.condition.wait_for(fact, seconds):
                raise waiting.TimedOut(f"not seen within {seconds:g} s: {what}")

    def close(self):
        """Takes no new connection and ends those that are there.

        Each thread closes its own socket: one closed under it could be another test's, by number,
        before it looks again, and that test would miss what was read here.
        """
        self.closing.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join(5)
        self.hang_up()

    def hang_up(self):
        """Ends all connections that are there."""
        with self.condition:
            connections = list(self.connections)
        for connection in connections:
            connection.hang_up()
