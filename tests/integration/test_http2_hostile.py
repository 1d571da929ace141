"""Peers over HTTP/2 that refuse to listen, fall silent or leave: bounded, noticed, got over."""
import select
import ssl
import threading
import time

import pytest

from harness import h2frames as f
from harness import waiting, websocket
from harness.h2frames import END_HEADERS, END_STREAM, PREFACE, Code, Setting, Type
from harness.h2origin import Answer, H2Origin
from harness.h2scripts import after
from harness.h2sides import resident
from harness.http1 import Closed
from harness.origin import Origin

pytest_plugins = ["harness.h2fixtures"]
MIB = 1 << 20
FLOODS = "sluice_http2_floods_total"
WINDOW = 65535                  # of a python-h2 origin
ALTSVC = 0xa
SETTINGS_ACK = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"


def hold(exchange):
    """Takes one window of the body, and no more."""
    exchange.session.hold(exchange)


# -- streams over the limit ------------------------------------------------------------------------


def send_unread(sock, payload):
    """Sends without reading anything; False when the connection has ended."""
    view = memoryview(payload)
    end = time.monotonic() + waiting.DEADLINE
    while view:
        try:
            view = view[sock.send(view[:16384]):]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            if time.monotonic() > end:
                raise waiting.TimedOut("the proxy neither reads nor ends") from None
            select.select([], [sock], [], 0.1)
        except OSError:
            return False
    return True


def wait_still(value, meanwhile, rounds=150):
    """Until value() is the same for so many rounds, each with a meanwhile() in it."""
    seen = []

    def fact():
        meanwhile()
        seen.append(value())
        return len(seen) >= rounds and len(set(seen[-rounds:])) == 1

    waiting.until(fact, "a value that stays")


def pouring(progress):
    """Sends for ever; progress: a list that grows by one a piece."""
    def script(exchange):
        exchange.head(200)
        while True:
            exchange.data(b"x" * 16384)
            progress.append(1)
    return script


def test_refused_streams_of_a_client_that_does_not_read(lean, h2_origin, h2, host):
    """Each would leave a RST_STREAM to be sent: the connection ends when they become many."""
    progress = []
    origin = h2_origin(scripts={"/big": pouring(progress), "/slow": after(threading.Event())})
    proxy = lean({"limits": {"streams": 100}})
    other = h2(proxy, host, origin.port)
    client = h2(proxy, host, origin.port, start=False)
    client.is_answering = False
    client.send(PREFACE + f.settings({Setting.INITIAL_WINDOW_SIZE: (1 << 31) - 1}) +
                f.window_update(0, (1 << 31) - 1 - 65535))
    client.until(lambda: client.count(Type.SETTINGS), "the peer's SETTINGS")
    sock = client.wire.sock
    send_unread(sock, f.headers(client.open(), f.literals(client.head(target="/big"))))
    origin.wait_asked("/big")
    wait_still(lambda: len(progress), lambda: other.get("/"))
    block = f.literals(client.head(target="/slow"))
    send_unread(sock, b"".join(f.headers(client.open(), block) for _ in range(99)))
    origin.wait_asked("/slow", 99)
    before, n = resident(proxy), 0
    block = b"\x82\x87\x84" + f.literal(":authority", client.authority)     # GET /
    while n < 200_000 and send_unread(
            sock, b"".join(f.headers(client.open(), block) for _ in range(500))):
        n += 500
    assert n < 200_000
    waiting.until(lambda: proxy.metric(FLOODS) >= 1, "a counted flood")
    assert resident(proxy) - before < 16 * MIB
    assert other.get("/after").status == 200 and not other.goaways


ENTRY = b"\x40" + f.literal("x", "v" * 3000)[1:]


def bomb(client, number, is_first):
    """A request of some 36 MB in 12 KB: the entry once, and then a byte each time."""
    return f.headers(number, f.literals(client.head(target="/bomb")) +
                     (ENTRY if is_first else b"") + b"\xbe" * 12_000)


def is_ended_by(client, make, most):
    """Sends up to so many pieces, each read by the proxy before the next."""
    for i in range(most):
        client.send(make(i))
        try:
            client.send(f.ping(b"%08d" % i))
            client.until(lambda i=i: client.goaways or any(
                p.opaque_data == b"%08d" % i for p in client.of(Type.PING)), "PING's ACK")
        except Closed:
            return True
        if client.goaways:
            client.wait_closed()
            return True
    return False


@pytest.mark.parametrize("is_acknowledged, most", [(True, 1), (False, 100)],
                         ids=["reset a moment ago", "limit not acknowledged"])
def test_an_hpack_bomb_on_refused_streams(lean, h2_origin, h2, host, is_acknowledged, most):
    """What nobody will look at is decoded all the same, and measured: the first is the last.
    What the library itself refuses, over a limit not yet known to the peer, is paid for by size."""
    origin = h2_origin(scripts={"/slow": after(threading.Event())})
    proxy = lean({"limits": {"streams": 2}})
    other = h2(proxy, host, origin.port)
    assert other.get("/before").status == 200
    client = h2(proxy, host, origin.port, start=False)
    client.is_answering = is_acknowledged
    client.start()
    before = resident(proxy)
    slots = [client.request("GET", "/slow") for _ in range(2)]
    origin.wait_asked("/slow", 2)
    if is_acknowledged:         # at once: on the wire they are gone, but not their exchanges
        client.wait_ping()
        gone = b"".join(f.rst_stream(n) for n in slots)
    else:
        gone = b""
    assert is_ended_by(client, lambda i: (gone if i == 0 else b"") +
                       bomb(client, client.open(), i == 0), most)
    assert not client.goaways or client.goaways[-1].error_code == Code.ENHANCE_YOUR_CALM
    assert proxy.metric(FLOODS) == 1
    assert resident(proxy) - before < 16 * MIB
    assert other.get("/after").status == 200 and origin.asked("/bomb") == []


def test_pings_paid_for_with_single_bytes(lean, h2_origin, h2, host):
    """Content earns the right to frames that cost; a byte a frame is no content."""
    origin = h2_origin(scripts={"/up": after(threading.Event())})
    proxy = lean()
    client = h2(proxy, host, origin.port)
    number = client.request("POST", "/up", end=False)
    piece = (f.data(number, b"x") + f.ping(b"bought!!") * 2) * 100
    assert is_ended_by(client, lambda i: piece, 300)
    assert client.goaways[-1].error_code == Code.ENHANCE_YOUR_CALM
    assert proxy.metric(FLOODS) == 1


# -- clients that leave, or do not go on -----------------------------------------------------------


def test_a_reset_while_the_upload_is_stalled_reaches_the_origin(sluice, h2_origin, h2, host):
    origin = h2_origin(scripts={"/hold": hold})
    proxy = sluice({"workers": 1, "limits": {"idle_timeout": "60s"}})
    client = h2(proxy, host, origin.port)
    assert client.get("/").status == 200
    number = client.request("POST", "/hold", end=False)
    asked = origin.wait_asked("/hold")[0]
    waiting.until(lambda: origin.sessions[0].held, "a held stream")
    client.body(number, b"x" * 2 * WINDOW, end=False)
    origin.wait(lambda: len(asked.body) == WINDOW, "all that the window allows")
    client.wait_ping()
    client.send(f.rst_stream(number))
    origin.wait(lambda: asked.reset is not None, "the reset", 5)
    assert asked.reset == Code.CANCEL and origin.sessions[0].is_open
    waiting.until(lambda: proxy.metric("sluice_exchanges") == 0, "no exchange that goes on")
    assert client.get("/after").status == 200 and origin.n_connections == 1


@pytest.mark.threat("callback-after-reset")
@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_reset_during_the_check_ends_the_exchange(sluice, check, h2_origin, h2, host, alpn,
                                                    method):
    """While the check is still out; the origin never hears of it."""
    origin = h2_origin(alpn=[alpn])
    other_origin = h2_origin()
    proxy = sluice({**check.config(timeout="60s"), "workers": 1})
    client = h2(proxy, host, origin.port)
    other = h2(proxy, host, other_origin.port)
    check.answer = lambda question: check.stall()
    number = client.request(method, "/x", end=method == "GET")
    check.wait_questions(1)
    assert proxy.metric("sluice_exchanges") == 1
    client.send(f.rst_stream(number))
    waiting.until(lambda: proxy.metric("sluice_exchanges") == 0, "the exchange's end", 5)
    check.release()
    assert proxy.log(host=host, target="/x")["error"] is not None
    assert other.get("/y").status == 200
    assert origin.n_connections == 0


def test_half_a_head_beside_a_running_exchange(sluice, h2_origin, h2, host):
    """limits.header_timeout is not put off by what else goes on."""
    origin = h2_origin(scripts={"/slow": after(threading.Event())})
    proxy = sluice({"limits": {"header_timeout": "300ms", "idle_timeout": "60s"}})
    client = h2(proxy, host, origin.port)
    client.request("GET", "/slow")
    origin.wait_asked("/slow")
    block = f.literals(client.head(target="/half"))
    client.send(f.headers(client.open(), block[:-5], END_STREAM))
    client.wait_closed(10)
    origin.wait_reset("/slow")
    assert origin.asked("/half") == []


def test_a_head_in_halves_beside_a_running_exchange(sluice, h2_origin, h2, host):
    """One that does end is an ordinary request, and the exchange goes on."""
    go = threading.Event()
    origin = h2_origin(scripts={"/slow": after(go)})
    client = h2(sluice({"limits": {"header_timeout": "20s"}}), host, origin.port)
    slow = client.request("GET", "/slow")
    origin.wait_asked("/slow")
    number, block = client.open(), f.literals(client.head(target="/halves"))
    client.send(f.headers(number, block[:-5], END_STREAM))
    client.send(f.continuation(number, block[-5:], END_HEADERS))
    assert client.response(number).status == 200
    go.set()
    assert client.response(slow).status == 200


@pytest.mark.parametrize("wrong", [f.data(0, b"x"), f.settings(stream=1), f.window_update(0, 0)],
                         ids=["DATA on stream 0", "SETTINGS on a stream", "empty WINDOW_UPDATE"])
def test_a_client_that_stays_after_our_goaway_is_closed(sluice, h2_origin, h2, host, wrong):
    """Its socket stays open, as does its half of the connection: ours does not wait for it."""
    origin = h2_origin()
    proxy = sluice({"limits": {"idle_timeout": "60s"}})
    client = h2(proxy, host, origin.port)
    assert client.get("/").status == 200
    assert proxy.metric("sluice_open_connections") == 1
    client.send(wrong)
    client.wait_goaway(Code.PROTOCOL_ERROR)
    waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "the proxy's close", 5)


# -- origins that leave, or do not answer ----------------------------------------------------------


def test_a_silent_upstream_connection_is_probed_and_replaced(sluice, h2_origin, h2, host):
    """Not for one exchange without an answer, but when nothing at all is heard for a second."""
    origin = h2_origin()
    proxy = sluice({"workers": 1, "upstream": {"response_timeout": "600ms"}})
    client = h2(proxy, host, origin.port)
    assert client.get("/first").status == 200
    session = origin.sessions[0]
    origin.wait(lambda: session.is_settled, "the ACK of its SETTINGS")
    session.mute()
    assert client.get("/lost").status == 504 and client.get("/lost").status == 504
    start = time.monotonic()
    origin.wait(lambda: SETTINGS_ACK in session.unsaid or not session.is_open, "a probe")
    assert session.is_open
    origin.wait(lambda: not session.is_open, "the end of the silent connection")
    assert 3 < time.monotonic() - start < 15
    assert client.get("/x").status == 200
    assert origin.n_connections == 2 and origin.asked("/x")[0].connection == 1


def test_a_connection_that_talks_is_not_given_up(sluice, h2_origin, h2, host):
    """Whatever it leaves unanswered: others are served on it."""
    origin = h2_origin(scripts={"/ticks": lambda exchange: exchange.head(200),
                                "/slow": lambda exchange: None})
    proxy = sluice({"workers": 1, "upstream": {"response_timeout": "2s"}})
    one, other = (h2(proxy, host, origin.port) for _ in range(2))
    number = one.request("GET", "/ticks")
    one.wait_headers(number)
    session, ticking = origin.sessions[0], origin.asked("/ticks")[0].stream
    session.mute()
    assert other.get("/slow").status == 504
    origin.wait(lambda: SETTINGS_ACK in session.unsaid, "a probe")
    start, ticks = time.monotonic(), 0
    while time.monotonic() - start < 7:
        ticks += 1
        session.say(f.data(ticking, b"tick"))
        one.wait_body(number, 4 * ticks)
        threading.Event().wait(0.5)
    assert not one.stream(number).is_over and session.is_open


# -- origins that break the protocol ---------------------------------------------------------------


BROKEN = {
    "PUSH_PROMISE": lambda n: f.raw(Type.PUSH_PROMISE, END_HEADERS, n, b"\0\0\0\2\x88"),
    "a bad SETTINGS": lambda n: f.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31}),
    "DATA before the head": lambda n: f.data(n, b"early"),
    "GOAWAY": lambda n: f.raw(Type.GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\1"),
    "a flood": lambda n: f.ping() * 5000,
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
def test_an_origins_fault_is_not_the_clients(sluice, h2_origin, side_of, host, frames):
    origin = h2_origin(scripts={"/": lambda x: x.session.say(frames(x.number))})
    answer = side_of(sluice({"workers": 1}), host, origin.port).ask("POST", "/", body=b"x")
    assert answer.status == 502


def test_last_words_before_a_reset_arrive(sluice, h2_origin, tunnel, host):
    def script(exchange):
        exchange.head(200, [("content-length", "100")])
        exchange.session.say(f.data(exchange.number, b"last words") +
                             f.rst_stream(exchange.number, Code.INTERNAL_ERROR))

    client = tunnel(sluice(), host, h2_origin(scripts={"/": script}).port)
    client.send(f"GET / HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
    assert b"last words" in client.reader.until(b"last words")
    with pytest.raises((Closed, ConnectionError)):
        client.reader.exactly(1)


def test_an_origin_that_wants_http1_gets_it_from_then_on(sluice, h2_origin, h2, host):
    """RFC 9113 section 7: HTTP_1_1_REQUIRED.  A body that was sent cannot be sent again."""
    def script(exchange):
        if exchange.request.version == "2":
            exchange.read()
            exchange.reset(Code.HTTP_1_1_REQUIRED)
        else:
            exchange.read()
            exchange.answer(Answer(b"fine"))

    origin = h2_origin(scripts={"/": script}, alpn=["h2", "http/1.1"])
    client = h2(sluice({"workers": 1}), host, origin.port)
    assert [client.ask("POST", "/", body=b"hello").status for _ in range(3)] == [502, 200, 200]
    assert client.get("/").status == 200
    assert origin.protocols == ["h2", "http/1.1"]


class Gathering(H2Origin):
    """Hands its connections out from the second on only when there are so many more."""
    barrier = threading.Barrier(7)

    def _run(self, sock):
        if self.n_connections:
            self.barrier.wait(waiting.DEADLINE)
        super()._run(sock)


def test_an_origin_of_one_stream_gets_connections_at_once(sluice, servers, pki, h2, host):
    hold = threading.Event()
    origin = servers(Gathering(tls=pki.server_context(), scripts={"/hold": after(hold)},
                               settings={Setting.MAX_CONCURRENT_STREAMS: 1}))
    client = h2(sluice({"workers": 1}), host, origin.port)
    assert client.get("/first").status == 200
    numbers = [client.request("GET", "/hold") for _ in range(8)]
    origin.wait_asked("/hold", 8)
    hold.set()
    assert [client.response(n).status for n in numbers] == [200] * 8


def test_a_negotiated_connection_is_its_clients_alone(sluice, h2_origin, tunnel, host):
    """RFC 4559: it would be HTTP/2, which many share."""
    origin = h2_origin(lambda r: Answer(str(r.connection).encode()), alpn=["h2", "http/1.1"])
    proxy = sluice({"workers": 1})
    one, other = (tunnel(proxy, host, origin.port) for _ in range(2))
    mine = [one.get("/", [("Authorization", "Negotiate abc")]).body for _ in range(2)]
    assert other.get("/").body not in mine
    assert mine == [one.get("/").body] * 2
    assert origin.protocols == ["http/1.1", "h2"]


def ask_extended(client):
    number = client.request_fields(
        [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", client.scheme),
         (":authority", client.authority), (":path", "/ws"), ("sec-websocket-version", "13")],
        end=False)
    return client.wait_headers(number)


@pytest.mark.parametrize("ask", [lambda client: client.get("/"), ask_extended],
                         ids=["GET", "extended CONNECT"])
def test_given_up_requests_leave_no_connections(sluice, h2_origin, h2, host, ask):
    """The origin takes no streams: nothing that waited for one stays active."""
    origin = h2_origin(settings={Setting.ENABLE_CONNECT_PROTOCOL: 1,
                                 Setting.MAX_CONCURRENT_STREAMS: 0})
    short = {"response_timeout": "500ms", "connect_timeout": "500ms", "idle_timeout": "300ms"}
    proxy = sluice({"workers": 1, "upstream": short})
    client = h2(proxy, host, origin.port)
    for _ in range(4):
        stream = ask(client)
        assert stream.status in (502, 503, 504) or stream.reset == Code.REFUSED_STREAM, stream
    waiting.until(lambda: proxy.metric("sluice_upstream_connections") == 0,
                  "no connection upstream")
    origin.wait(lambda: not any(s.is_open for s in origin.sessions), "the end of all of them")


def test_goaway_below_many_streams(sluice, h2_origin, h2, host):
    """They all go elsewhere, and not each to a connection of its own."""
    def script(exchange):
        if exchange.session.number > 0:
            exchange.answer(Answer(b"fine"))

    origin = h2_origin(scripts={"/x": script})
    client = h2(sluice({"workers": 1}), host, origin.port)
    assert client.get("/first").status == 200
    numbers = [client.request("GET", "/x") for _ in range(90)]
    origin.wait_asked("/x", 90)
    assert origin.n_connections == 1
    origin.sessions[0].goaway(origin.asked("/first")[0].stream)
    assert [client.response(n).status for n in numbers] == [200] * 90
    assert origin.n_connections <= 1 + 3


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
def test_a_preconnected_connection_that_dies_is_replaced(sluice, check, h2_origin, h2, host, alpn):
    origin = h2_origin(alpn=[alpn])
    proxy = sluice({**check.config(timeout="60s"), "workers": 1,
                    "upstream": {"preconnect": True}})
    client = h2(proxy, host, origin.port)
    check.answer = lambda question: check.stall()
    number = client.request("GET", "/x")
    check.wait_questions(1)
    origin.wait(lambda: origin.protocols == [alpn], "a connection before the verdict")
    if alpn == "h2":
        origin.wait(lambda: origin.sessions and origin.sessions[0].is_settled, "its SETTINGS' ACK")
        origin.sessions[0].finish()
        origin.wait(lambda: not origin.sessions[0].is_open, "its end")
    else:
        origin.connections[0].finish()
    client.wait_ping()
    check.release()
    assert client.response(number).status == 200
    assert origin.n_connections == 2 and len(origin.requests) == 1


# -- what passes, and what does not ----------------------------------------------------------------


def test_a_websocket_is_no_body(sluice, servers, pki, h2, host):
    """limits.body_bytes is about content; what follows a 101 is none."""
    def serve(connection):
        websocket.upgrade(connection, origin.take(connection))
        websocket.echo(connection)

    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    client = h2(sluice({"limits": {"body_bytes": "1KiB"}}), host, origin.port)
    stream = ask_extended(client)
    assert stream.status == 200
    message = websocket.frame(websocket.TEXT, b"x" * 500)
    for _ in range(8):
        client.body(stream.number, message, end=False)
    client.wait_body(stream.number, 8 * len(websocket.frame(websocket.TEXT, b"x" * 500, False)))
    assert not stream.is_over


@pytest.mark.parametrize("has_host", [False, True], ids=["alone", "with host"])
def test_an_authority_of_another_port_is_misdirected(sluice, h2_origin, h2, host, has_host):
    origin = h2_origin()
    client = h2(sluice(), host, origin.port)
    for port in {443, 1, origin.port ^ 1}:
        authority = f"{host}:{port}"
        more = [("host", authority)] if has_host else []
        assert client.get("/wrong", more, authority=authority).status == 421
    assert client.get("/right").status == 200
    assert [r.target for r in origin.requests] == ["/right"]


def test_alt_svc_does_not_pass_as_a_frame(sluice, h2_origin, h2, host):
    """RFC 7838 section 4."""
    def script(exchange):
        exchange.session.say(f.raw(ALTSVC, 0, exchange.number, b'\0\0h3=":443"') +
                             f.raw(ALTSVC, 0, 0, b'\0\0h3=":443"'))
        exchange.answer(Answer(b"x"))

    client = h2(sluice(), host, h2_origin(scripts={"/": script}).port)
    assert client.get("/").body == b"x" and client.get("/").status == 200
    assert client.count(ALTSVC) == 0


def test_alt_svc_does_not_pass_as_a_trailer(sluice, h2_origin, h2, host):
    """Nor as a field: it would lead past the proxy."""
    def script(exchange):
        exchange.head(200, [("alt-svc", 'h3=":443"')])
        exchange.data(b"x")
        exchange.end([("alt-svc", 'h3=":443"'), ("x-kept", "1")])

    client = h2(sluice(), host, h2_origin(scripts={"/x": script}).port)
    stream = client.get("/x", [("te", "trailers")])
    assert stream.status == 200 and stream.trailers == [("x-kept", "1")]
    assert stream.get("alt-svc") is None
