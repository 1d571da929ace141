"""An origin, or a check that allows everything, which comes to its end at a step of an exchange.

Dying does so with one connection, in the test's own process; Killed is a process of its own that
halts there until it is killed.  Both: end_at(step), wait_ended(), resume().
"""
import json
import pathlib
import select
import socket
import ssl
import subprocess
import sys
import threading

from . import http1, waiting
from .check_service import ALLOW
from .origin import echo
from .server import Server

# In their order; a check has no handshake.
STEPS = ("accept", "handshake", "request head", "request body", "request", "response head",
         "response body")


def allow(_):
    return http1.response(json.dumps(ALLOW).encode())


def close(connection):
    connection.close()
    raise ConnectionError


def reset(connection):
    connection.reset()
    raise ConnectionError


class Dying(Server):
    def __init__(self, end, pair=None, port=0):
        """pair: certificate and key files of an origin; none: a check."""
        self.end, self.step = end, None
        self.respond = echo if pair else allow
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if pair else None
        if pair:
            self.context.load_cert_chain(*pair)
        super().__init__(port=port)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def end_at(self, step):
        """Of the next connection: what ends on one that is used again may be asked again."""
        self.step = step
        self.hang_up()

    def wait_ended(self):
        self.wait(lambda: self.step is None, "its end")

    def resume(self):
        pass

    def _reach(self, step, connection):
        if self.step == step:
            with self.condition:
                self.step = None
                self.condition.notify_all()
            self.end(connection)

    def serve(self, connection):
        self._reach("accept", connection)
        if self.context is not None:
            self._shake_hands(connection)
        while True:
            self._answer(connection)

    def _shake_hands(self, connection):
        connection.sock.recv(1, socket.MSG_PEEK)
        self._reach("handshake", connection)
        connection.sock = self.context.wrap_socket(connection.sock, server_side=True)
        connection.reader = http1.Reader(connection.sock)

    def _answer(self, connection):
        request = http1.read_head(connection.reader)
        self._reach("request head", connection)
        rest = int(request.get("content-length", "0"))
        connection.reader.exactly(rest // 2)
        self._reach("request body", connection)
        connection.reader.exactly(rest - rest // 2)
        self._reach("request", connection)
        answer = self.respond(request)
        connection.send(answer[:10])
        self._reach("response head", connection)
        connection.send(answer[10:-1])
        self._reach("response body", connection)
        connection.send(answer[-1:])


def kept_port():
    """A socket that, bound and no more, keeps its port for who comes after one that was killed."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    return place, place.getsockname()[1]


class Killed:
    def __init__(self, pair=()):
        self.pair = pair
        self.place, self.port = kept_port()
        self.process = None
        self.resume()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def _wait_says(self, word):
        assert select.select([self.process.stdout], [], [], waiting.DEADLINE)[0], f"not {word}"
        assert self.process.stdout.readline().strip() == word

    def end_at(self, step):
        self.process.stdin.write(f"{step}\n")
        self.process.stdin.flush()
        self._wait_says("armed")

    def wait_ended(self):
        self._wait_says("halted")
        self.kill()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def resume(self):
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self.port), *map(str, self.pair)], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                cwd=pathlib.Path(__file__).parents[1])
            self._wait_says("ready")

    def close(self):
        self.kill()
        self.place.close()


def main(port, *pair):
    def halt(_):
        print("halted", flush=True)
        threading.Event().wait()

    server = Dying(halt, pair, int(port))
    print("ready", flush=True)
    for line in sys.stdin:
        server.end_at(line.strip())
        print("armed", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
