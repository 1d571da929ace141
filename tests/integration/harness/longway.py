"""A path that takes its time: every byte arrives so much later, however many are under way."""
import collections
import socket
import threading
import time

from .server import Server


class _Lane:
    """One direction.  `most`: bytes that were under way at once."""

    def __init__(self, source, sink, seconds):
        self.source, self.sink, self.seconds = source, sink, seconds
        self.condition = threading.Condition()
        self.pieces = collections.deque()
        self.under_way = self.most = 0
        self.threads = [threading.Thread(target=work, daemon=True)
                        for work in (self._take, self._deliver)]
        for thread in self.threads:
            thread.start()

    def _put(self, data):
        with self.condition:
            self.pieces.append((time.monotonic() + self.seconds, data))
            self.under_way += len(data)
            self.most = max(self.most, self.under_way)
            self.condition.notify()

    def _take(self):
        try:
            while data := self.source.recv(1 << 20):
                self._put(data)
        except OSError:
            pass
        self._put(b"")

    def _due(self):
        """The first piece, once its time has come."""
        with self.condition:
            self.condition.wait_for(lambda: self.pieces)
            due, data = self.pieces[0]
        self._until(due)
        with self.condition:
            self.pieces.popleft()
        return data

    @staticmethod
    def _until(due):
        while (left := due - time.monotonic()) > 0:
            time.sleep(left)

    def _deliver(self):
        try:
            while data := self._due():
                self.sink.sendall(data)
                with self.condition:
                    self.under_way -= len(data)
            self.sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class LongWay(Server):
    """From `port` to 127.0.0.1:target, `seconds` each way; unbounded bandwidth and memory.

    most_there, most_back: bytes under way at once towards the target, and from it.
    """

    def __init__(self, target, seconds):
        self.target, self.seconds = target, seconds
        self.most_there = self.most_back = 0
        super().__init__()

    def serve(self, connection):
        with socket.create_connection(("127.0.0.1", self.target)) as far:
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there = _Lane(connection.sock, far, self.seconds)
            back = _Lane(far, connection.sock, self.seconds)
            for thread in (*there.threads, *back.threads):
                thread.join()
        self.most_there = max(self.most_there, there.most)
        self.most_back = max(self.most_back, back.most)
