"""Fixtures for HTTP/2.  A test module says pytest_plugins = ["harness.h2fixtures"]."""
import os

import pytest

from . import h2frames
from .h2origin import H2Origin
from .h2sides import ALPN, Http1Side, Http2Side
from .nginx import Nginx
from .process import Sluice, merged


class Nginx2(Nginx):
    """nginx that offers h2."""

    def _configure(self, pki):
        super()._configure(pki)
        file = self.dir / "nginx.conf"
        text = file.read_text().replace(" ssl;", " ssl http2;")
        file.write_text(text.replace("root ", "http2_max_concurrent_streams 128; root ", 1))


@pytest.fixture(scope="session")
def nginx2(tmp_path_factory, pki):
    server = Nginx2(tmp_path_factory.mktemp("nginx2"), pki)
    yield server
    server.close()


@pytest.fixture
def h2(connect):
    """h2(proxy, host, port) -> a client that speaks HTTP/2 inside TLS, closed at the end."""
    def make(proxy, host, port, start=True, offered=("h2", "http/1.1"), **more):
        client = h2frames.inside_tls(connect(proxy), host, port, offered)
        return client.start(**more) if start else client

    return make


@pytest.fixture
def h2_origin(servers, pki):
    """h2_origin(...) -> an H2Origin over TLS.  What the proxy says to it has to be right."""
    there = []

    def make(*respond, **more):
        origin = servers(H2Origin(*respond, tls=pki.server_context(), **more))
        there.append(origin)
        return origin

    yield make
    assert [fault for origin in there for fault in origin.faults] == []


@pytest.fixture(params=["h1", "h2"], ids=["h1 client", "h2 client"])
def client_kind(request):
    return request.param


@pytest.fixture(params=["h1", "h2"], ids=["h1 origin", "h2 origin"])
def origin_kind(request):
    return request.param


@pytest.fixture
def side_of(client_kind, h2, tunnel):
    """side_of(proxy, host, port) -> a client of the kind."""
    def make(proxy, host, port):
        if client_kind == "h1":
            return Http1Side(tunnel(proxy, host, port))
        return Http2Side(h2(proxy, host, port))

    return make


@pytest.fixture
def origin_of(origin_kind, h2_origin):
    """origin_of(...) -> an origin of the kind."""
    def make(*respond, **more):
        return h2_origin(*respond, alpn=[ALPN[origin_kind]], **more)

    return make


@pytest.fixture
def pair(proxy, host, side_of, origin_of):
    """pair(...) -> a client and an origin, for all four pairings."""
    def make(*respond, **more):
        origin = origin_of(*respond, **more)
        return side_of(proxy, host, origin.port), origin

    return make


@pytest.fixture
def lean(binary, tmp_path_factory, surroundings):
    """As `sluice`, for measuring memory: AddressSanitizer keeps nothing of what was freed."""
    running = []

    def start(config=None):
        options = os.environ.get("ASAN_OPTIONS", "")
        env = {"ASAN_OPTIONS": f"{options}:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
        proxy = Sluice(binary, tmp_path_factory.mktemp("lean"),
                       merged(surroundings, merged({"workers": 1}, config or {})), env=env)
        running.append(proxy)
        return proxy.wait_ready()

    yield start
    for proxy in running:
        proxy.finish()
