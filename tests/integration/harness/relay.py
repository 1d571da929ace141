"""A tunnel for programs that know no proxies: makes the CONNECT, hands the bytes through."""
import select

from .client import Client
from .server import Server


class Relay(Server):
    """Whoever connects to `port` is inside a CONNECT to host:target of the proxy."""

    def __init__(self, proxy, host, target):
        self.proxy, self.host, self.target = proxy, host, target
        super().__init__()

    def serve(self, connection):
        with Client(self.proxy) as outer:
            assert outer.connect(self.host, self.target).status == 200
            ends = {connection.sock: outer.sock, outer.sock: connection.sock}
            while True:
                for sock in select.select(list(ends), [], [])[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    ends[sock].sendall(data)
