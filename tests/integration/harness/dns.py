"""A DNS server that knows *.test, and remembers who was asked for."""
import socket
import struct
import threading

_A, _AAAA, _NXDOMAIN, _SERVFAIL = 1, 28, 3, 2


class Dns:
    """Answers 127.0.0.1 for every name below .test, unless `records` says otherwise: a list of
    addresses (none: the name has none), or None for NXDOMAIN.  Names in `silent` get no answer."""

    def __init__(self):
        self.records = {}
        self.silent = set()
        self.names = []
        self.condition = threading.Condition()
        self.udp, self.tcp = self._bind()
        self.port = self.udp.getsockname()[1]
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self._udp, self._tcp)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _bind():
        while True:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind(("127.0.0.1", 0))
            tcp = socket.socket()
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                udp.close()
                tcp.close()
                continue
            tcp.listen(64)
            return udp, tcp

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def heard_of(self, name):
        with self.condition:
            return name in self.names

    def _udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            if answer := self.answer(query):
                self.udp.sendto(answer, peer)

    def _tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(5)
                try:
                    query = sock.recv(4096)[2:]
                    if answer := self.answer(query):
                        sock.sendall(struct.pack("!H", len(answer)) + answer)
                except OSError:
                    pass

    def answer(self, query):
        name, end = self._name(query)
        kind, = struct.unpack("!H", query[end:end + 2])
        question = query[12:end + 4]
        with self.condition:
            self.names.append(name)
            self.condition.notify_all()
        if name in self.silent:
            return None
        known = name == "test" or name.endswith(".test")
        addresses = self.records.get(name, ["127.0.0.1"] if known else None)
        code = _NXDOMAIN if addresses is None else 0
        records = b"".join(self._record(a) for a in addresses or [] if self._kind(a) == kind)
        count = sum(self._kind(a) == kind for a in addresses or [])
        return query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0) + question + records

    @staticmethod
    def _name(query):
        labels, at = [], 12
        while n := query[at]:
            labels.append(query[at + 1:at + 1 + n].decode("latin-1").lower())
            at += n + 1
        return ".".join(labels), at + 1

    @staticmethod
    def _kind(address):
        return _AAAA if ":" in address else _A

    @staticmethod
    def _record(address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        data = socket.inet_pton(family, address)
        kind = _AAAA if family == socket.AF_INET6 else _A
        return struct.pack("!HHHIH", 0xC00C, kind, 1, 1, len(data)) + data

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
