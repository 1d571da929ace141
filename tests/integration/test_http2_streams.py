"""Many streams over few connections: sharing, limits, windows, the end of a connection."""
import socket
import threading
import time

import pytest

from harness import h2frames, waiting
from harness.h2frames import Code, Setting, Type
from harness.h2origin import Answer, H2Origin
from harness.h2scripts import Once, after, cutting, large
from harness.h2sides import resident
from harness.process import merged

pytest_plugins = ["harness.h2fixtures"]
MIB = 1 << 20


def all_of(client, numbers):
    """The statuses of these streams, each to its end."""
    return [client.response(n).status for n in numbers]


# -- many at once --------------------------------------------------------------------------------


def test_a_slow_stream_holds_up_no_other(proxy, origin_of, h2, host):
    go = threading.Event()
    origin = origin_of(scripts={"/slow": after(go)})
    client = h2(proxy, host, origin.port)
    slow = client.request("GET", "/slow")
    origin.wait_asked("/slow")
    numbers = [client.request("GET", f"/{i}") for i in range(99)]
    assert all_of(client, numbers) == [200] * 99
    assert [client.streams[n].text.split()[1] for n in numbers] == [f"/{i}" for i in range(99)]
    assert client.streams[slow].headers is None
    go.set()
    assert bytes(client.response(slow).body) == b"late"


def test_streams_limit(sluice, origin_of, h2, host):
    """limits.streams is announced.  A stream over it is refused, not failed, where the client may
    not have known."""
    go = threading.Event()
    origin = origin_of(scripts={"/slow": after(go)})
    client = h2(sluice({"limits": {"streams": 5}}), host, origin.port, start=False)
    client.is_answering = False
    client.start()
    assert client.peer[Setting.MAX_CONCURRENT_STREAMS] == 5
    slow = [client.request("GET", "/slow") for _ in range(5)]
    origin.wait_asked("/slow", 5)
    over = client.request("GET", "/over")
    client.wait_reset(over, Code.REFUSED_STREAM)
    assert origin.asked("/over") == []
    go.set()
    assert all_of(client, slow) == [200] * 5
    assert client.get("/later").status == 200


def test_a_reload_changes_the_limit_of_streams(sluice, surroundings, origin_of, h2, host):
    go = threading.Event()
    origin = origin_of(scripts={"/slow": after(go)})
    proxy = sluice({"limits": {"streams": 1}})
    client = h2(proxy, host, origin.port)
    assert client.get("/").status == 200
    proxy.reload(merged(surroundings, {"limits": {"streams": 3}}))
    client.until(lambda: client.peer[Setting.MAX_CONCURRENT_STREAMS] == 3, "the new limit")
    slow = [client.request("GET", "/slow") for _ in range(2)]
    origin.wait_asked("/slow", 2)
    client.is_answering = False
    proxy.reload(merged(surroundings, {"limits": {"streams": 1}}))
    client.until(lambda: client.peer[Setting.MAX_CONCURRENT_STREAMS] == 1, "the newest limit")
    client.wait_reset(client.request("GET", "/over"), Code.REFUSED_STREAM)
    go.set()
    assert all_of(client, slow) == [200] * 2
    assert client.get("/later").status == 200


def test_a_thousand_streams_one_after_the_other(proxy, h2_origin, h2, host):
    origin = h2_origin()
    client = h2(proxy, host, origin.port)
    for batch in range(20):
        numbers = [client.request("GET", f"/{batch}/{i}") for i in range(50)]
        assert all_of(client, numbers) == [200] * 50
    assert len(origin.requests) == 1000 and not client.goaways
    assert origin.n_connections <= 3


def test_bodies_are_not_mixed_up(proxy, origin_of, h2, host):
    client = h2(proxy, host, origin_of().port)
    bodies = {client.request("POST", f"/{i}", end=False): bytes([i]) * (3000 + 7 * i)
              for i in range(60)}
    for at in (0, 1000, 2000):
        for number, body in bodies.items():
            client.body(number, body[at:at + 1000], end=False)
    for number, body in bodies.items():
        client.body(number, body[3000:] + b".")
    for number, body in bodies.items():
        assert bytes(client.response(number).body) == body + b"."


# -- the upstream connection ---------------------------------------------------------------------


def test_clients_share_one_upstream_connection(sluice, h2_origin, side_of, host):
    proxy = sluice({"workers": 1})
    origin = h2_origin()
    sides = [side_of(proxy, host, origin.port) for _ in range(6)]
    assert sides[0].ask("GET", "/first").status == 200
    before = proxy.metric("sluice_upstream_connections_opened_total")
    for i in range(5):
        for side in sides:
            assert side.ask("GET", f"/{i}").status == 200
    assert origin.n_connections == 1
    assert proxy.metric("sluice_upstream_connections_opened_total") == before
    assert proxy.log(host=host, target="/4")["upstream_reused"] is True


def test_a_crowd_on_a_cold_origin_needs_few_connections(sluice, h2_origin, h2, host):
    origin = h2_origin()
    client = h2(sluice({"workers": 1}), host, origin.port)
    assert all_of(client, [client.request("GET", f"/{i}") for i in range(80)]) == [200] * 80
    n = origin.n_connections
    assert all_of(client, [client.request("GET", f"/{i}") for i in range(80)]) == [200] * 80
    assert origin.n_connections == n <= 8


def test_the_origins_limit_of_streams_is_kept(sluice, h2_origin, h2, host):
    def script(exchange):
        with lock:
            running.add(exchange.request)
            most.append(len([r for r in running if r.connection == exchange.request.connection]))
        exchange.wait(go)
        with lock:
            running.discard(exchange.request)
        exchange.answer(Answer(b"x"))

    lock, running, most, go = threading.Lock(), set(), [], threading.Event()
    origin = h2_origin(scripts={"/x": script}, settings={Setting.MAX_CONCURRENT_STREAMS: 4})
    client = h2(sluice({"workers": 1}), host, origin.port)
    assert client.get("/first").status == 200
    numbers = [client.request("GET", "/x") for _ in range(30)]
    origin.wait_asked("/x", 4)
    client.wait_ping()
    assert max(most) <= 4
    go.set()
    assert all_of(client, numbers) == [200] * 30
    assert max(most) <= 4


def test_a_limit_of_no_streams_is_no_end_of_waiting(sluice, h2_origin, h2, host):
    """A connection that takes no stream but the first is replaced, or given up in time."""
    origin = h2_origin(settings={Setting.MAX_CONCURRENT_STREAMS: 0})
    proxy = sluice({"workers": 1, "upstream": {"response_timeout": "500ms",
                                               "connect_timeout": "500ms"}})
    client = h2(proxy, host, origin.port)
    for _ in range(3):
        assert client.get("/").status in (200, 502, 503, 504)


def refuse(exchange):
    exchange.reset(Code.REFUSED_STREAM)


def goaway_below(exchange):
    """This stream was not looked at, and none will be from now on."""
    exchange.session.goaway(exchange.number - 2)


@pytest.mark.parametrize("away", [refuse, goaway_below])
@pytest.mark.parametrize("method, headers", [
    ("GET", []), ("POST", [("content-length", "0")]), ("DELETE", [])])
def test_an_unprocessed_stream_is_sent_again(sluice, check, h2_origin, h2, host, away, method,
                                             headers):
    proxy = sluice({**check.config(), "workers": 1})
    origin = h2_origin(scripts={"/x": Once(away)})
    client = h2(proxy, host, origin.port)
    assert client.get("/first").status == 200
    answer = client.ask(method, "/x", headers)
    assert (answer.status, bytes(answer.body)) == (200, b"again")
    assert len(origin.asked("/x")) == 2
    assert [q["request"]["path"] for q in check.questions] == ["/first", "/x"]
    assert proxy.log(host=host, target="/x")["status"] == 200


def test_refusing_for_ever_is_not_tried_for_ever(proxy, h2_origin, h2, host):
    origin = h2_origin(scripts={"/x": refuse})
    client = h2(proxy, host, origin.port)
    answer = client.get("/x")
    assert answer.status in (502, 503) or answer.reset == Code.REFUSED_STREAM
    assert len(origin.asked("/x")) <= 5
    assert client.get("/ok").status == 200


def test_a_body_that_was_sent_is_not_sent_twice(proxy, h2_origin, h2, host):
    """It is gone: the request fails, and the origin never sees it without its body."""
    def script(exchange):
        exchange.read(1000)
        exchange.reset(Code.REFUSED_STREAM)

    origin = h2_origin(scripts={"/x": script})
    client = h2(proxy, host, origin.port)
    number = client.request("POST", "/x", [("content-length", "200000")], end=False)
    client.body(number, b"x" * 1000, end=False)
    stream = client.wait_headers(number)
    assert stream.reset is not None or stream.status in (502, 503)
    assert len(origin.asked("/x")) == 1


def test_goaway_lets_running_streams_finish(sluice, h2_origin, h2, host):
    go = threading.Event()
    origin = h2_origin(scripts={"/slow": after(go)})
    client = h2(sluice({"workers": 1}), host, origin.port)
    slow = client.request("GET", "/slow")
    asked = origin.wait_asked("/slow")[0]
    origin.sessions[0].goaway(asked.stream)
    waiting.until(lambda: client.get("/new").status == 200 and
                  origin.asked("/new")[-1].connection == 1, "a new connection upstream")
    go.set()
    assert bytes(client.response(slow).body) == b"late"


def test_a_connection_that_ends_between_requests_is_replaced(proxy, h2_origin, side_of, host):
    origin = h2_origin()
    side = side_of(proxy, host, origin.port)
    for i in range(3):
        assert side.ask("GET", f"/{i}").status == 200
        origin.connections[-1].close()


def test_the_end_of_a_connection_ends_only_its_own_streams(proxy, h2_origin, h2, host):
    origin = h2_origin(scripts={"/cut": cutting(b"part")})
    other = h2_origin(scripts={"/slow": after(threading.Event())})
    clients = [h2(proxy, host, o.port) for o in (origin, other)]
    slow = clients[1].request("GET", "/slow")
    other.wait_asked("/slow")
    assert clients[0].get("/cut").reset is not None
    assert clients[0].get("/ok").status == 200
    assert not clients[1].streams[slow].is_over


def test_an_idle_upstream_connection_is_closed(sluice, h2_origin, h2, host):
    origin = h2_origin()
    proxy = sluice({"upstream": {"idle_timeout": "200ms"}})
    client = h2(proxy, host, origin.port)
    assert client.get("/").status == 200
    origin.wait(lambda: not origin.sessions[0].is_open, "the end of the idle connection")
    assert client.get("/").status == 200 and origin.n_connections == 2


def test_a_ping_of_the_origin_is_answered(proxy, h2_origin, h2, host):
    origin = h2_origin()
    client = h2(proxy, host, origin.port)
    assert client.get("/").status == 200
    origin.sessions[0].ping()
    origin.wait(lambda: origin.sessions[0].pongs == [b"origin12"], "PING's ACK")


def test_settings_of_the_origin_are_taken_in_mid_flight(proxy, h2_origin, h2, host):
    """A smaller window, a smaller header table: python-h2 checks that both are kept."""
    origin = h2_origin()
    client = h2(proxy, host, origin.port)
    number = client.request("POST", "/open", [("x-a", "1" * 100)], end=False)
    origin.wait_asked("/open")
    origin.sessions[0].update_settings({Setting.INITIAL_WINDOW_SIZE: 1000,
                                        Setting.HEADER_TABLE_SIZE: 0,
                                        Setting.MAX_FRAME_SIZE: 20000})
    client.body(number, b"x" * 50_000)
    answers = [client.response(number)]
    for _ in range(2):
        answers.append(client.ask("POST", "/x", [("x-a", "1" * 100)], b"x" * 50_000))
    for answer in answers:
        assert (answer.status, len(answer.body)) == (200, 50_000)
    assert origin.n_connections == 1


# -- windows -------------------------------------------------------------------------------------


def test_a_reader_that_stands_still_holds_up_nobody(lean, origin_of, h2, host):
    origin = origin_of(scripts={"/big": large(20 * MIB)})
    proxy = lean()
    client = h2(proxy, host, origin.port)
    assert all_of(client, [client.request("GET", f"/{i}") for i in range(50)]) == [200] * 50
    before = resident(proxy)
    client.held.add(client.next_stream)
    big = client.request("GET", "/big")
    client.wait_body(big, 65535)
    assert all_of(client, [client.request("GET", f"/{i}") for i in range(50)]) == [200] * 50
    assert len(client.streams[big].body) == 65535
    assert resident(proxy) - before < 8 * MIB
    client.held.discard(big)
    client.send(h2frames.window_update(big, 65535))
    assert len(client.response(big).body) == 20 * MIB


def test_a_window_of_zero_from_the_beginning(proxy, origin_of, h2, host):
    client = h2(proxy, host, origin_of().port, pairs={Setting.INITIAL_WINDOW_SIZE: 0})
    number = client.request("GET", "/")
    assert client.wait_headers(number).status == 200
    client.wait_ping()
    assert not client.streams[number].body and not client.streams[number].is_ended
    for i in (1, 2, 3):
        client.send(h2frames.window_update(number, 1))
        client.wait_body(number, i)
        client.wait_ping(b"%08d" % i)
        assert len(client.streams[number].body) == i
    client.send(h2frames.settings({Setting.INITIAL_WINDOW_SIZE: 65535}))
    assert client.response(number).text.startswith("GET / ")


def test_an_upload_that_nobody_takes_stays_with_the_client(lean, h2_origin, h2, host):
    """The proxy's windows bound it: what the origin does not read is not asked for."""
    origin = h2_origin(scripts={"/hold": lambda exchange: exchange.session.hold(exchange)})
    proxy = lean()
    client = h2(proxy, host, origin.port)
    assert client.get("/").status == 200
    before = resident(proxy)
    number = client.request("POST", "/hold", end=False)
    sent = push_until_stuck(client, number, 64 * MIB)
    assert sent < 16 * MIB
    assert resident(proxy) - before < 16 * MIB
    assert client.ask("POST", "/other", body=b"x" * 100_000).status == 200


def push_until_stuck(client, number, most):
    """Sends until the window stays shut; how much."""
    sent = 0
    while sent < most:
        try:
            client.until(lambda: min(client.streams[number].window, client.window) > 0, "", 0.5)
        except waiting.TimedOut:
            break
        n = min(client.streams[number].window, client.window, 16384)
        client.body(number, b"x" * n, end=False)
        sent += n
    return sent


def test_one_stream_fills_a_long_path(proxy, origin_of, h2, host):
    """20 MiB arrive although the client opens its own windows late and in large steps."""
    client = h2(proxy, host, origin_of(scripts={"/big": large(20 * MIB)}).port,
                pairs={Setting.INITIAL_WINDOW_SIZE: 16 * MIB}, window=16 * MIB)
    assert len(client.get("/big").body) == 20 * MIB


def test_upload_windows_suit_a_long_path(proxy, origin_of, h2, host):
    """A client 100 ms away can have a few MiB under way: the windows grow, or are large."""
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    number = client.request("POST", "/up", [("content-length", str(8 * MIB))], end=False)
    most = 0
    for at in range(0, 8 * MIB, 65536):
        most = max(most, min(client.window, client.streams[number].window))
        client.body(number, b"x" * 65536, end=at + 65536 == 8 * MIB)
    assert client.response(number).status == 200
    assert most > MIB


# -- the end -------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_sigterm_lets_streams_finish(sluice, origin_of, h2, host):
    go = threading.Event()
    origin = origin_of(scripts={"/slow": after(go)})
    proxy = sluice({"shutdown_grace": "20s"})
    client, idle = (h2(proxy, host, origin.port) for _ in range(2))
    assert idle.get("/").status == 200
    slow = client.request("GET", "/slow")
    origin.wait_asked("/slow")
    proxy.terminate()
    idle.wait_closed()
    assert [g.error_code for g in idle.goaways][-1:] == [Code.NO_ERROR]
    client.wait_goaway(Code.NO_ERROR)
    late = client.request("GET", "/too-late")
    client.wait_ping()
    go.set()
    assert bytes(client.response(slow).body) == b"late"
    client.wait_closed()
    assert proxy.process.wait(20) == 0
    assert client.goaways[-1].last_stream_id in (slow, late)
    assert client.streams[late].headers is None or client.streams[late].status == 200
    assert proxy.log(target="/slow")["status"] == 200


def test_the_grace_ends_for_streams_too(sluice, origin_of, h2, host):
    origin = origin_of(scripts={"/slow": after(threading.Event())})
    proxy = sluice({"shutdown_grace": "200ms"})
    client = h2(proxy, host, origin.port)
    client.request("GET", "/slow")
    origin.wait_asked("/slow")
    assert proxy.stop(seconds=10) == 0
    client.wait_closed()


def test_reload_drops_no_stream(sluice, surroundings, origin_of, h2, host):
    go = threading.Event()
    origin = origin_of(scripts={"/slow": after(go)})
    proxy = sluice()
    client = h2(proxy, host, origin.port)
    slow = client.request("GET", "/slow")
    origin.wait_asked("/slow")
    proxy.reload({**surroundings, "default": "deny"})
    assert client.get("/new").status == 403
    go.set()
    assert bytes(client.response(slow).body) == b"late"
    proxy.reload(surroundings)
    assert client.get("/new").status == 200


def test_many_reloads_under_streams(sluice, h2_origin, h2, host):
    proxy = sluice()
    client = h2(proxy, host, h2_origin().port)
    for _ in range(10):
        numbers = [client.request("GET", f"/{i}") for i in range(20)]
        proxy.reload()
        assert all_of(client, numbers) == [200] * 20


def test_goaway_of_the_client_lets_its_streams_finish(proxy, origin_of, h2, host):
    go = threading.Event()
    origin = origin_of(scripts={"/slow": after(go)})
    client = h2(proxy, host, origin.port)
    slow = client.request("GET", "/slow")
    origin.wait_asked("/slow")
    client.send(h2frames.goaway())
    go.set()
    assert bytes(client.response(slow).body) == b"late"
    client.wait_closed()


def test_half_close_of_the_client_is_an_end_or_none(proxy, servers, connect, host):
    """Streams go on, or are cancelled."""
    go = threading.Event()
    origin = servers(H2Origin(prior_knowledge=True, scripts={"/slow": after(go)}))
    client = h2frames.inside_connect(connect(proxy), host, origin.port).start()
    slow = client.request("GET", "/slow")
    request = origin.wait_asked("/slow")[0]
    client.wire.sock.shutdown(socket.SHUT_WR)
    waiting.until(lambda: client.wire.wait(0.2) or request.reset is not None or go.set() or
                  client.response(slow), "the one or the other")
    assert client.wire.is_closed or bytes(client.streams[slow].body) == b"late"
    assert not client.wire.is_closed or origin.wait_reset("/slow")


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_cancels_all_its_streams(proxy, origin_of, connect, host, leave):
    scripts = {f"/{i}": after(threading.Event()) for i in range(10)}
    origin = origin_of(scripts=scripts)
    outer = connect(proxy)
    client = h2frames.inside_tls(outer, host, origin.port).start()
    for path in scripts:
        client.request("GET", path)
    for path in scripts:
        origin.wait_asked(path)
    outer.reset() if leave == "reset" else client.close()
    for path in scripts:
        assert origin.wait_reset(path)
        assert proxy.log(host=host, target=path)["error"] == "cancelled"


def test_an_idle_connection_is_told_to_go(sluice, origin_of, h2, host):
    client = h2(sluice({"limits": {"idle_timeout": "200ms"}}), host, origin_of().port)
    assert client.get("/").status == 200
    start = time.monotonic()
    client.wait_closed()
    assert time.monotonic() - start < 10
    assert client.goaways and client.goaways[-1].error_code == Code.NO_ERROR


def test_a_body_that_stands_still_ends_its_stream_alone(sluice, origin_of, h2, host):
    client = h2(sluice({"limits": {"idle_timeout": "300ms"}}), host, origin_of().port)
    number = client.request("POST", "/", [("content-length", "10")], end=False)
    client.body(number, b"half", end=False)
    stream = client.response(number)
    assert stream.status == 408 or stream.reset is not None
    assert not client.goaways
    assert client.get("/").status == 200


def test_a_response_in_time_or_504(sluice, origin_of, h2, host):
    origin = origin_of(scripts={"/slow": after(threading.Event())})
    proxy = sluice({"upstream": {"response_timeout": "300ms"}})
    client = h2(proxy, host, origin.port)
    assert client.get("/slow").status == 504
    assert client.get("/ok").status == 200
    assert origin.wait_reset("/slow")
    assert proxy.log(host=host, target="/slow")["error"] == "response_timeout"


def test_nothing_is_left_open(sluice, h2_origin, h2, host):
    proxy = sluice()
    client = h2(proxy, host, h2_origin().port)
    assert all_of(client, [client.request("GET", f"/{i}") for i in range(30)]) == [200] * 30
    client.close()
    waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "no connection")
    assert proxy.metric("sluice_exchanges") == 0
    assert client.count(Type.RST_STREAM) == 0
