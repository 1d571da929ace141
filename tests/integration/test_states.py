"""Whatever an exchange waits for: the proxy can be ended, reloaded or left by the client then, and
nothing is leaked, kept or sent on."""
import ssl
import threading

import pytest

from harness import h2frames, http1, waiting
from harness.check_service import ALLOW, CheckService, deny
from harness.client import Client, WireTls, request
from harness.origin import Origin
from harness.websocket import KEY, OFFER, accept_of

GRACE = {"shutdown_grace": "100ms"}


class Scene:
    """A proxy, and a client whose exchange stands still in one state."""

    def __init__(self, sluice, servers, pki, dns, host):
        self.sluice, self.servers, self.pki, self.dns, self.host = sluice, servers, pki, dns, host
        self.held = threading.Event()
        self.check = None

    def start(self, **config):
        self.proxy = self.sluice({**GRACE, **config})
        self.n_descriptors = n_descriptors(self.proxy)
        self.client = Client(self.proxy)

    def origin(self, serve, tls=True):
        context = self.pki.server_context() if tls else None
        return self.servers(Origin(serve=serve, tls=context))

    def hold(self, *parts):
        """An origin that sends the parts after a request, and then nothing more."""
        def serve(connection):
            server.take(connection)
            for part in parts:
                connection.send(part)
            self.held.wait(30)

        server = self.origin(serve)
        return server

    def send_get(self, port):
        self.client.tunnel(self.host, port)
        self.client.send(request("GET", "/", self.client.authority))

    def gauge(self, name, state, n=1):
        waiting.until(lambda: self.proxy.metric(name, state=state) == n, f"{name} {state}")


def idle(scene):
    origin = scene.servers(Origin(tls=scene.pki.server_context()))
    scene.start()
    assert scene.client.tunnel(scene.host, origin.port).get("/").status == 200


def silent_after_connect(scene):
    scene.start()
    assert scene.client.connect(scene.host, 443).status == 200


def half_a_connect(scene):
    scene.start()
    scene.client.send(b"CONNECT " + scene.host.encode())


def half_a_hello(scene):
    silent_after_connect(scene)
    scene.client.send(WireTls(scene.proxy.trusting(), scene.host).hello()[:100])


def hello_without_finish(scene):
    silent_after_connect(scene)
    scene.client.send(WireTls(scene.proxy.trusting(), scene.host).hello())
    assert scene.client.sock.recv(1)


def half_a_head(scene):
    scene.start()
    scene.client.tunnel(scene.host, 443).send(b"GET / HTTP/1.1\r\nHo")


def asking(scene):
    scene.check = check = scene.servers(CheckService())
    check.answer = lambda q: check.stall()
    scene.start(**check.config(timeout="60s"))
    scene.send_get(443)
    check.wait_questions(1)


def asking_at_connect(scene):
    scene.check = check = scene.servers(CheckService())
    check.answer = lambda q: check.stall()
    scene.start(**check.config(timeout="60s", phase=["connect"]))
    authority = f"{scene.host}:443"
    scene.client.send(request("CONNECT", authority, authority))
    check.wait_questions(1)


def preconnected(scene):
    scene.check = check = scene.servers(CheckService())
    check.answer = lambda q: check.stall()
    origin = scene.hold()
    scene.start(**check.config(timeout="60s"), upstream={"preconnect": True})
    scene.send_get(origin.port)
    check.wait_questions(1)
    origin.wait(lambda: origin.connections, "the preconnection")


def resolving(scene):
    scene.dns.silent.add(scene.host)
    scene.start()
    scene.send_get(443)
    waiting.until(lambda: scene.dns.heard_of(scene.host), "the DNS question")


def upstream_handshake(scene):
    origin = scene.origin(lambda connection: scene.held.wait(30), tls=False)
    scene.start()
    scene.send_get(origin.port)
    origin.wait(lambda: origin.connections, "the connection")


def awaiting_the_response(scene):
    origin = scene.hold()
    scene.start()
    scene.send_get(origin.port)
    origin.wait_requests(1)


def inside_the_response(scene):
    origin = scene.hold(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    scene.start()
    scene.send_get(origin.port)
    scene.client.reader.until(b"half")


def inside_the_upload(scene):
    def serve(connection):
        http1.read_head(connection.reader)
        connection.reader.exactly(4)
        got.set()
        scene.held.wait(30)

    got = threading.Event()
    origin = scene.origin(serve)
    scene.start()
    scene.client.tunnel(scene.host, origin.port)
    scene.client.send(request("POST", "/", scene.client.authority, [("Content-Length", "99")],
                              b"half"))
    assert got.wait(20)


def unread_response(scene):
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        connection.sock.settimeout(0.5)
        try:
            while True:
                connection.send(b"x" * 65536)
        except TimeoutError:
            full.set()
        scene.held.wait(30)

    full = threading.Event()
    origin = scene.origin(serve)
    scene.start()
    scene.send_get(origin.port)
    assert full.wait(30)


def multiplex(scene, port):
    """GET in a stream of HTTP/2."""
    h2frames.inside_tls(scene.client, scene.host, port).start().request("GET", "/")


def asking_for_a_stream(scene):
    scene.check = check = scene.servers(CheckService())
    check.answer = lambda q: check.stall()
    scene.start(**check.config(timeout="60s"))
    multiplex(scene, 443)
    check.wait_questions(1)


def stream_inside_the_response(scene):
    origin = scene.hold(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    scene.start()
    multiplex(scene, origin.port)
    origin.wait_requests(1)


def websocket(scene):
    origin = scene.hold(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n\x81\x02hi" %
                        accept_of(KEY).encode())
    scene.start()
    scene.client.tunnel(scene.host, origin.port)
    assert scene.client.get("/", OFFER).status == 101
    scene.client.reader.exactly(4)


def tunnelled(scene):
    origin = scene.origin(lambda c: (c.send(b"hi"), scene.held.wait(30)), tls=False)
    scene.start(rules=[{"when": "any", "do": "tunnel"}])
    assert scene.client.connect(scene.host, origin.port).status == 200
    assert scene.client.reader.exactly(2) == b"hi"


STATES = [half_a_connect, idle, silent_after_connect, half_a_hello, hello_without_finish,
          half_a_head, asking, asking_at_connect, preconnected, resolving, upstream_handshake,
          awaiting_the_response, inside_the_response, inside_the_upload, unread_response, websocket,
          tunnelled, asking_for_a_stream, stream_inside_the_response]
# What the line of a client says that has left there, where that is not "cancelled" alone: it may
# have asked for nothing yet, be done, or have closed no more than its half.
SAID = {half_a_connect: set(), half_a_head: set(), idle: {None}, tunnelled: {"reset", None},
        websocket: {"cancelled", None}, **dict.fromkeys(
            (silent_after_connect, half_a_hello, hello_without_finish), {"cancelled", "reset"})}
# Two workers' lines to the signer and sockets of their resolvers, once they are used.
N_KEPT = 4


@pytest.fixture
def scene(sluice, servers, pki, dns, host):
    one = Scene(sluice, servers, pki, dns, host)
    yield one
    one.held.set()
    one.client.sock.close()


def named(states):
    return pytest.mark.parametrize("state", states, ids=lambda s: s.__name__)


@named(STATES)
def test_ending_in(scene, state):
    state(scene)
    assert scene.proxy.stop(seconds=10) == 0


@named(STATES)
def test_reloading_in(scene, state):
    state(scene)
    scene.proxy.reload()
    assert scene.proxy.look("/healthz")[0] == 200


@named(STATES)
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_in(scene, servers, pki, state, how):
    state(scene)
    proxy = scene.proxy
    waiting.until(lambda: proxy.metric("sluice_open_connections") == 1, "the connection")
    if how == "reset":
        scene.client.reset()
    else:
        scene.client.sock.close()
    if state is asking_at_connect:
        scene.check.release()
    if state in (websocket, tunnelled):
        scene.held.set()
    waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "the connection to be gone")
    assert proxy.metric("sluice_exchanges") == 0
    if state in (asking, asking_for_a_stream):
        assert not scene.dns.heard_of(scene.host)
    assert said_of(scene, state) <= SAID.get(state, {"cancelled"})
    assert_serves(scene, servers(Origin(tls=pki.server_context())),
                  pki.trusting() if state is tunnelled else None)
    waiting.until(lambda: proxy.metric("sluice_upstream_connections", state="active") == 0,
                  "no upstream connection in use")
    waiting.until(lambda: n_descriptors(proxy) <= scene.n_descriptors + N_KEPT,
                  "as many descriptors as before")


def n_descriptors(proxy):
    """Without those of idle connections to origins and checks."""
    idle = proxy.metric("sluice_upstream_connections", state="idle")
    return proxy.metric("process_open_fds") - idle


def said_of(scene, state):
    """The error of the one line there has to be, as a set."""
    if SAID.get(state) == set():
        return set()
    waiting.until(scene.proxy.log_lines, "a line in the access log")
    return {line["error"] for line in scene.proxy.log_lines()}


def assert_serves(scene, origin, trusting):
    if scene.check:
        scene.check.answer = lambda q: ALLOW
        scene.check.release()
    with Client(scene.proxy) as client:
        client.tunnel(f"later-{scene.host}", origin.port, trusting)
        assert client.get("/later").status == 200


def test_a_verdict_of_the_old_policy_counts_for_its_request(scene):
    asking(scene)
    scene.proxy.reload()
    scene.check.answer = lambda q: deny()
    scene.check.release()
    assert scene.client.read().status in (200, 502)
    assert scene.client.get("/").status == 403


def test_one_who_asked_first_and_left_takes_no_answer_from_others(sluice, check, origin, tunnel,
                                                                  host):
    check.answer = lambda q: check.stall()
    proxy = sluice(check.config(timeout="60s"))
    clients = [tunnel(proxy, host, origin.port) for _ in range(4)]
    for client in clients:
        client.send(request("GET", "/same", client.authority))
    waiting.until(lambda: proxy.metric("sluice_exchanges", state="ask") == 4, "four that ask")
    clients[0].reset()
    clients[1].reset()
    check.release()
    assert [c.read().status for c in clients[2:]] == [200, 200]


@pytest.mark.threat("half-closed-peers")
def test_no_descriptor_is_left(sluice, origin, check, tunnel, host):
    proxy = sluice({**check.config(), "upstream": {"pool": {"max_idle": 0}}})
    check.answer = lambda q: deny() if q["request"]["path"] == "/no" else {"action": "allow"}

    def use(i):
        with tunnel(proxy, f"{i}-{host}", origin.port) as client:
            assert client.get("/no").status == 403
            assert client.get("/").status == 200
        with Client(proxy) as client:
            client.connect(f"{i}-{host}", origin.port)
            try:
                client.start_tls(host, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            except (ssl.SSLError, ConnectionError):
                pass
        with Client(proxy) as client:
            client.send(b"GARBAGE\r\n\r\n")
            client.read()

    def settle():
        waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "no connection")
        return proxy.metric("process_open_fds")

    for i in range(5):
        use(i)
    before = settle()
    for i in range(40):
        use(i)
    waiting.until(lambda: settle() <= before + 2, "as many descriptors as before")


def test_a_second_sigterm_in_a_stalled_exchange(scene):
    awaiting_the_response(scene)
    scene.proxy.terminate()
    scene.proxy.terminate()
    assert scene.proxy.process.wait(20) == 0
