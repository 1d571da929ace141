"""Fixtures: the proxy from a configuration fragment, and everything around it on free ports."""
import itertools
import os
import pathlib
import shutil
import subprocess

import pytest

from harness import waiting
from harness.check_service import CheckService
from harness.client import Client
from harness.dns import Dns
from harness.nginx import Nginx
from harness.origin import Origin
from harness.pki import Pki
from harness.process import Sluice, command, merged
from harness.programs import need

_numbers = itertools.count(1)
# Proxies and authorities of the environment must not come between the tests and their peers.
_MISLEADING = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "curl_ca_bundle",
               "requests_ca_bundle", "ssl_cert_file", "ssl_cert_dir", "git_ssl_cainfo",
               "node_extra_ca_certs", "node_use_env_proxy", "sluice_config"}
ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: the essential ones, run on every build variant")
    config.addinivalue_line("markers", "native: of descriptors, a stopped thread, preloading: not in valgrind")
    config.addinivalue_line("markers", "threat(name, ...): rows of docs/THREAT-MODEL.md it is for")
    for name in list(os.environ):
        if name.lower() in _MISLEADING:
            del os.environ[name]


@pytest.fixture(scope="session")
def binary():
    path = os.environ.get("SLUICE") or os.environ.get("SLUICE_BIN") or ROOT / "build/asan/sluice"
    path = pathlib.Path(path).resolve()
    assert path.exists(), f"{path} is not built"
    return path


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def dns():
    server = Dns()
    yield server
    server.close()


@pytest.fixture(scope="session")
def nginx(tmp_path_factory, pki):
    if shutil.which("nginx", path="/usr/sbin:" + os.environ["PATH"]) is None:
        pytest.fail("no nginx: tools/install-deps build test")
    server = Nginx(tmp_path_factory.mktemp("nginx"), pki)
    yield server
    server.close()


@pytest.fixture(scope="session")
def surroundings(dns, pki):
    """What every proxy of the tests is told: our DNS, our authority, loopback is allowed.

    Under valgrind an RSA key takes longer than users wait for a handshake.
    """
    return {"limits": {"handshake_timeout": f"{int(waiting.DEADLINE)}s"},
            "upstream": {"nameservers": [dns.address], "ca_file": str(pki.ca),
                         "allow_addresses": ["127.0.0.0/8"]}}


@pytest.fixture
def sluice(binary, tmp_path_factory, surroundings):
    """A factory: sluice({...}, "--flag", ...) -> a running proxy of the test's own."""
    running = []

    def start(config=None, *arguments, ready=True, directory=None, **more):
        directory = directory or tmp_path_factory.mktemp("sluice")
        proxy = Sluice(binary, directory, merged(surroundings, config or {}), arguments, **more)
        running.append(proxy)
        return proxy.wait_ready() if ready else proxy

    yield start
    for proxy in running:
        proxy.finish()


@pytest.fixture(scope="module")
def proxy(binary, tmp_path_factory, surroundings):
    """A proxy with the default rules, shared by a module's tests."""
    one = Sluice(binary, tmp_path_factory.mktemp("proxy"), surroundings).wait_ready()
    yield one
    one.finish()


@pytest.fixture
def servers():
    """Registers servers of a test, to be closed at its end: servers(Origin(...))."""
    there = []

    def register(server):
        there.append(server)
        return server

    yield register
    for server in there:
        server.close()


@pytest.fixture
def origin(servers, pki):
    """A TLS origin that echoes request heads, good for *.site.test."""
    return servers(Origin(tls=pki.server_context()))


@pytest.fixture
def plain_origin(servers):
    return servers(Origin())


@pytest.fixture
def check(servers):
    return servers(CheckService())


@pytest.fixture
def connect():
    """connect(proxy) -> a raw client, closed at the end."""
    there = []

    def make(proxy):
        client = Client(proxy)
        there.append(client)
        return client

    yield make
    for client in there:
        client.sock.close()


@pytest.fixture
def tunnel(connect):
    """tunnel(proxy, host, port) -> a raw client inside TLS."""
    def make(proxy, host, port, **more):
        return connect(proxy).tunnel(host, port, **more)

    return make


@pytest.fixture
def cli(binary, tmp_path):
    """Runs the binary to its end: cli("ca", "show")."""
    def call(*arguments, env=None, timeout=60):
        done = command(binary, *arguments, env=env, timeout=timeout)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done

    return call


@pytest.fixture
def shell():
    """Runs a client program; its result with text output."""
    def call(*arguments, env=None, cwd=None, timeout=120, stdin=""):
        return subprocess.run([*map(str, arguments)], capture_output=True, text=True,
                              timeout=timeout, input=stdin, cwd=cwd,
                              env={**os.environ, **(env or {})})

    return call


@pytest.fixture
def browse(shell, tmp_path):
    """browse(proxy, url) -> the page as headless Chromium sees it; the proxy's authority is in the
    browser's own store, nothing is ignored."""
    need("chromium", "certutil")

    def visit(proxy, url):
        home = tmp_path / "home"
        for store in (".pki/nssdb", ".local/share/pki/nssdb"):
            (home / store).mkdir(parents=True)
            database = f"sql:{home / store}"
            shell("certutil", "-N", "-d", database, "--empty-password")
            added = shell("certutil", "-A", "-d", database, "-t", "C,,", "-n", "sluice",
                          "-i", proxy.ca)
            assert added.returncode == 0, added.stderr
        return shell("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                     "--no-first-run", "--disable-background-networking", "--disable-sync",
                     "--disable-component-update", "--disable-dev-shm-usage",
                     f"--user-data-dir={tmp_path / 'profile'}",
                     f"--proxy-server=http://127.0.0.1:{proxy.port}", "--dump-dom", url,
                     env={"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"),
                          "XDG_DATA_HOME": str(home / ".local/share")})

    return visit


@pytest.fixture
def host():
    """A name below site.test that no other test uses."""
    return f"h{next(_numbers)}.site.test"
