"""One stream over a long path: its windows grow to what 1 Gbit/s has under way in 100 ms."""
import contextlib
import subprocess

import pytest

from harness import waiting
from harness.longway import LongWay
from harness.server import Server

UNDER_WAY = 125_000_000 // 10  # bytes: 1 Gbit/s for 100 ms
HUGE = 128 << 20  # of the file
# A window follows what its reader takes in 500 ms, in doublings: a slow machine needs no more.
FOLLOWED = 0.25


def _curl(*arguments):
    """What curl says of the exchange, and bytes a second."""
    said = subprocess.run(
        ["curl", "-sS", "-o", "/dev/null", "--max-time", "120",
         "-w", "%{http_version} %{http_code} %{size_download} %{size_upload} %{time_total}",
         *arguments], capture_output=True, text=True, timeout=150,
        check=True, stdin=subprocess.DEVNULL).stdout
    facts, _, seconds = said.rpartition(" ")
    return facts, max(map(int, facts.split()[2:])) / float(seconds)


def _assert_filled(most, rate):
    """most: bytes under way at once."""
    assert most >= min(UNDER_WAY, rate * FOLLOWED)
    assert most >= 16 * 65535


@contextlib.contextmanager
def _long_way(target, one_way):
    way = LongWay(target, one_way)
    try:
        yield way
    finally:
        way.close()


@pytest.mark.parametrize("one_way, size", [(0.05, HUGE), (0.2, 32 << 20)],
                         ids=["100 ms", "400 ms"])
def test_a_download_from_far_away(sluice, nginx, host, one_way, size):
    proxy = sluice()
    with _long_way(nginx.h2c, one_way) as way:
        facts, rate = _curl("-x", f"http://127.0.0.1:{proxy.port}", "--proxytunnel",
                            "--http2-prior-knowledge", "-r", f"0-{size - 1}",
                            f"http://{host}:{way.port}/huge.bin")
        assert facts == f"2 206 {size} 0"
    waiting.until(lambda: way.most_back, "the end of the way")
    _assert_filled(way.most_back, rate)


class _Sink(Server):
    """Reads one HTTP/1.1 request body of any size, keeps none of it."""

    def serve(self, connection):
        sock = connection.sock
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1 << 16)
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                      if line.lower().startswith(b"content-length:"))
        left = length - len(body)
        while left:
            left -= len(sock.recv(1 << 20)) or left
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_an_upload_from_far_away(sluice, nginx, pki, host):
    """Over TLS, and on to an origin of HTTP/1.1 that is near."""
    proxy = sluice()
    sink = _Sink(tls=pki.server_context())
    with _long_way(proxy.port, 0.05) as way, contextlib.closing(sink):
        facts, rate = _curl("-x", f"http://127.0.0.1:{way.port}", "--cacert",
                            str(proxy.ca), "--http2", "-T", nginx.www / "huge.bin",
                            f"https://{host}:{sink.port}/")
        assert facts == f"2 200 0 {HUGE}"
    waiting.until(lambda: way.most_there, "the end of the way")
    _assert_filled(way.most_there, rate)
