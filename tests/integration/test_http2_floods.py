"""Floods and bombs over HTTP/2: bounded, counted, and felt by nobody else."""
import threading
import time

import pytest

from harness import h2frames as f
from harness import waiting
from harness.h2frames import END_HEADERS, END_STREAM, PADDED, PREFACE, Code, Setting, Type
from harness.h2scripts import after, large
from harness.h2sides import resident
from harness.http1 import Closed

pytest_plugins = ["harness.h2fixtures"]
MIB = 1 << 20
BATCH = 200
NOT_MINE = ("/before", "/meanwhile", "/after")
CALM = (Code.ENHANCE_YOUR_CALM,)
# A peer that is wrong, or leaves, the first time does not come to be a flood.
WRONG = (*CALM, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED, Code.COMPRESSION_ERROR)


# -- floods: each gives one more piece of it -------------------------------------------------------


def rapid_reset(c):
    number = c.open()
    return f.headers(number, c.block(c.head(target=f"/{number}"))) + f.rst_stream(number)


def cancelled_uploads(c):
    """As rapid reset, with a body begun."""
    number = c.open()
    return (f.headers(number, c.block(c.head("POST", "/up")), END_HEADERS) +
            f.data(number, b"x") + f.rst_stream(number))


def made_you_reset(c):
    """CVE-2025-8671: the client is polite, and has the server reset."""
    number = c.open()
    return f.headers(number, c.block(c.head(target="/made"))) + f.window_update(number, 0)


def made_you_reset_by_data(c):
    number = c.open()
    return (f.headers(number, c.block(c.head(target="/made"))) + f.data(number, b"x"))


def malformed_requests(c):
    return f.headers(c.open(), c.block([*c.head(target="/made"), ("connection", "close")]))


def misdirected_requests(c):
    """Each makes a log line and a reply that the client does not read."""
    return f.headers(c.open(), c.block(c.head(target="/", authority="other.test"))) + f.rst_stream(
        c.next_stream - 2)


def on_open_stream(make):
    def piece(c):
        if not c.streams:
            number = c.open()
            c.wire.send(f.headers(number, c.block(c.head("POST", "/open")), END_HEADERS))
        return make(next(iter(c.streams)))
    return piece


def on_closed_stream(make):
    def piece(c):
        if not c.streams:
            number = c.open()
            c.wire.send(f.headers(number, c.block(c.head(target="/open")),
                                  END_STREAM | END_HEADERS) + f.rst_stream(number))
            c.wait_ping(b"settled!")
        return make(next(iter(c.streams)))
    return piece


def tiny_download(c):
    """A byte of window buys a frame of a byte, which must not pay for a PING."""
    if not c.streams:
        c.wire.send(f.settings({Setting.INITIAL_WINDOW_SIZE: 0}))
        c.wire.send(f.headers(c.open(), c.block(c.head(target="/big")), END_STREAM | END_HEADERS))
    return f.window_update(next(iter(c.streams)), 1) + f.ping()


def header_block(part):
    """CVE-2024-27316 and its kin: a header block that goes on and on."""
    def piece(c):
        if not c.streams:
            c.wire.send(f.headers(c.open(), c.block(c.head(target="/open")), END_STREAM))
        return f.continuation(1, part, 0)
    return piece


FLOODS = {
    "rapid reset": (rapid_reset, 20_000),
    "cancelled uploads": (cancelled_uploads, 20_000),
    "made you reset": (made_you_reset, 20_000),
    "made you reset by DATA": (made_you_reset_by_data, 20_000),
    "malformed requests": (malformed_requests, 20_000),
    "misdirected requests": (misdirected_requests, 20_000),
    "empty CONTINUATION": (header_block(b""), 50_000),
    "CONTINUATION of one field": (header_block(f.literal("x", "y")), 50_000),
    "CONTINUATION of large fields": (header_block(f.literal("x", "y" * 8000)), 20_000),
    "CONTINUATION of never-ending field": (header_block(b"\x00" * 1000), 20_000),
    "SETTINGS": (lambda c: f.settings({Setting.INITIAL_WINDOW_SIZE: 65535}), 50_000),
    "empty SETTINGS": (lambda c: f.settings(), 50_000),
    "SETTINGS of many entries": (
        lambda c: f.raw(Type.SETTINGS, 0, 0, b"\0\4\0\0\xff\xff" * 2000), 20_000),
    "SETTINGS ACK": (lambda c: f.settings(flags=f.ACK), 100_000),
    "PING": (lambda c: f.ping(), 100_000),
    "PING ACK": (lambda c: f.ping(flags=f.ACK), 100_000),
    "empty DATA": (on_open_stream(f.data), 100_000),
    "DATA of padding": (on_open_stream(lambda n: f.data(n, b"\x00", PADDED)), 100_000),
    "PRIORITY": (lambda c: f.priority(1, 3), 100_000),
    "PRIORITY of idle streams": (
        lambda c: f.priority(c.open(), 0) + f.priority(c.next_stream - 2, c.next_stream), 50_000),
    "WINDOW_UPDATE": (lambda c: f.window_update(0, 1), 100_000),
    "WINDOW_UPDATE of a stream": (on_open_stream(lambda n: f.window_update(n, 1)), 100_000),
    "unknown frames": (lambda c: f.raw(0x21, 0, 0, b"x"), 100_000),
    "RST_STREAM of a closed stream": (on_open_stream(f.rst_stream), 100_000),
    "empty DATA of a closed stream": (on_closed_stream(f.data), 100_000),
    "DATA of a closed stream": (on_closed_stream(lambda n: f.data(n, b"x" * 16384)), 20_000),
    "HEADERS of a closed stream": (
        on_closed_stream(lambda n: f.headers(n, b"\x82" * 1000)), 20_000),
    "PING for each byte of a download": (tiny_download, 100_000),
}


# These have no more streams open than they may: few at a time, and they wait to be answered.
POLITE = {made_you_reset, malformed_requests}


def pour(client, piece, most, meanwhile=lambda: None):
    """Sends pieces until the connection ends; how many went out."""
    at_once = 50 if piece in POLITE else BATCH
    for sent in range(0, most, at_once):
        is_open = client.send(b"".join(piece(client) for _ in range(at_once)))
        if is_open and piece in POLITE:
            client.send(f.ping(b"%08d" % sent))
            until_answered(client, b"%08d" % sent)
        if not is_open or client.goaways:
            client.wait_closed()
            return sent
        if sent % (50 * BATCH) == 0:
            meanwhile()
    return most


def until_answered(client, payload):
    try:
        client.until(lambda: client.goaways or any(
            p.opaque_data == payload for p in client.of(Type.PING)), "PING's ACK")
    except Closed:
        pass


@pytest.fixture
def checked(lean, check):
    """A proxy with a check behind it."""
    return lean(check.config(timeout="30s"))


@pytest.mark.threat("resource-floods", "bounded")
@pytest.mark.parametrize("piece, most", FLOODS.values(), ids=FLOODS)
def test_floods(checked, check, h2_origin, h2, host, piece, most):
    origin = h2_origin(scripts={"/big": large(MIB)})
    client, other = (h2(checked, host, origin.port) for _ in range(2))
    assert other.get("/before").status == 200
    before, start = resident(checked), time.monotonic()

    def meanwhile():
        assert other.get("/meanwhile").status == 200

    sent = pour(client, piece, most, meanwhile)
    codes = [g.error_code for g in client.goaways]
    assert sent < most, f"{sent} were taken"
    assert not codes or codes[-1] in (CALM if sent > BATCH else WRONG), client.goaways
    if not codes or codes[-1] in CALM:
        assert checked.metric("sluice_http2_floods_total") >= 1, (sent, client.goaways)
    assert time.monotonic() - start < 60
    assert other.get("/after").status == 200 and not other.goaways
    assert resident(checked) - before < 16 * MIB
    mine = [q for q in check.questions if q["request"]["path"] not in NOT_MINE]
    assert len(mine) <= sent + BATCH
    assert len([r for r in origin.requests if r.target not in NOT_MINE]) <= len(mine)


@pytest.mark.smoke
def test_rapid_reset_is_answered_with_enhance_your_calm(checked, check, h2_origin, h2, host):
    """CVE-2023-44487.  What was reset is not worked on any more."""
    origin = h2_origin()
    client = h2(checked, host, origin.port)
    sent = pour(client, rapid_reset, 20_000)
    assert sent < 5_000
    assert not client.goaways or client.goaways[-1].error_code == Code.ENHANCE_YOUR_CALM
    assert checked.metric("sluice_http2_floods_total") == 1
    assert len({q["request"]["path"] for q in check.questions}) == len(check.questions)
    waiting.until(lambda: checked.metric("sluice_exchanges") == 0, "no exchange that goes on")


def test_an_honest_client_is_no_flood(checked, h2_origin, h2, host):
    """Browsers cancel, ping, prioritise and open windows, but they also fetch."""
    origin = h2_origin(scripts={"/slow": after(threading.Event())})
    client = h2(checked, host, origin.port)
    for i in range(400):
        number = client.request("GET", "/slow" if i % 5 == 4 else "/")
        client.send(f.priority(number, 0, 200) + f.window_update(0, 100) +
                    f.ping(b"%08d" % i))
        if i % 5 == 4:
            client.send(f.rst_stream(number))
        else:
            assert client.response(number).status == 200
    assert not client.goaways
    assert checked.metric("sluice_http2_floods_total") == 0


def test_a_window_opened_in_small_steps_is_no_flood(checked, h2_origin, h2, host):
    client = h2(checked, host, h2_origin(scripts={"/big": large(2 * MIB)}).port)
    number = client.request("GET", "/big")
    client.is_answering = False
    stream, given = client.stream(number), 65535
    while not stream.is_over:
        client.until(lambda: stream.is_over or len(stream.body) >= given - 1024, "more")
        client.send(f.window_update(number, 2048) + f.window_update(0, 2048))
        given += 2048
    assert len(stream.body) == 2 * MIB and not client.goaways


def test_a_reader_far_behind_is_no_flood(checked, h2_origin, h2, host):
    """It acknowledges each DATA frame twice, and a whole window of them only now."""
    client = h2(checked, host, h2_origin(scripts={"/big": large(20 * MIB)}).port,
                pairs={Setting.INITIAL_WINDOW_SIZE: 16 * MIB}, window=16 * MIB)
    client.is_answering = False
    number = client.request("GET", "/big")
    client.wait_body(number, 16 * MIB)
    client.is_answering = True
    client.send((f.window_update(0, 16384) + f.window_update(number, 16384)) * 1024)
    assert len(client.response(number).body) == 20 * MIB
    assert client.get("/after").status == 200


# -- header sections -------------------------------------------------------------------------------


def assert_431(client, number):
    """On its stream, or the connection ends for it."""
    stream = client.stream(number)
    client.until(lambda: stream.is_over or client.goaways or client.wire.is_closed, "an end")
    if not client.goaways:
        assert stream.status == 431 or stream.reset is not None, stream
    return stream.status == 431


@pytest.mark.threat("resource-floods", "bounded")
@pytest.mark.parametrize("fields", [
    [("x-big", "x" * 65500)], [(f"x-{i}", "y" * 900) for i in range(80)],
    [("x", "1")] * 300], ids=["one large", "many", "too many"])
def test_a_header_list_too_large_is_431_on_its_stream(proxy, origin_of, h2, host, fields):
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    stream = client.get("/big", fields)
    assert stream.status == 431
    assert "error=http_request_error" in stream.get("proxy-status")
    assert client.get("/small").status == 200
    assert [r.target for r in origin.requests] == ["/small"]
    assert proxy.log(host=host, status=431)["error"] == "header_too_large"


def test_a_field_over_64_kib_ends_the_connection(sluice, origin_of, h2, host):
    """The library's own limit on a string, whatever limits.header_bytes says."""
    origin = origin_of()
    client = h2(sluice({"limits": {"header_bytes": "1MiB"}}), host, origin.port)
    client.request("GET", "/big", [("x-big", "x" * (80 << 10))])
    client.wait_goaway(Code.COMPRESSION_ERROR)
    assert origin.requests == []


def test_header_lists_up_to_the_limit_pass(proxy, origin_of, h2, host):
    client = h2(proxy, host, origin_of().port)
    assert client.get("/", [("x-big", "x" * (60 << 10))]).status == 200
    assert client.get("/", [(f"x-{i}", "1") for i in range(190)]).status == 200


def test_a_path_too_long_is_414_on_its_stream(proxy, origin_of, h2, host):
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    assert client.get("/" + "x" * (16 << 10)).status == 414
    assert client.get("/" + "x" * 16000).status == 200
    assert len(origin.requests) == 1


def test_a_body_too_large_is_413_on_its_stream(sluice, origin_of, h2, host):
    origin = origin_of()
    client = h2(sluice({"limits": {"body_bytes": "1KiB"}}), host, origin.port)
    assert client.ask("POST", "/1", body=b"x" * 1024).status == 200
    assert client.ask("POST", "/2", [("content-length", "1025")], b"x" * 1025).status == 413
    number = client.request("POST", "/3", end=False)
    client.body(number, b"x" * 1025)
    assert client.response(number).status in (413, None)
    assert client.ask("POST", "/4", body=b"x").status == 200
    assert all(len(r.body) <= 1024 for r in origin.requests)


@pytest.mark.threat("resource-floods")
def test_hpack_bomb(checked, check, h2_origin, h2, host):
    """4 KB once in the table, and then a byte each time: 64 MB of fields in 16 KB."""
    origin = h2_origin()
    client, other = (h2(checked, host, origin.port) for _ in range(2))
    assert other.get("/").status == 200
    before = resident(checked)
    head = f.literals(client.head(target="/bomb"))
    entry = b"\x40\x01x" + f.integer(4000, 7, 0) + b"y" * 4000
    for i in range(50):
        number = client.open()
        if not client.send(f.headers(number, (entry if i == 0 else b"") + head + b"\xbe" * 12_000)):
            break
        if not assert_431(client, number):
            break
    assert resident(checked) - before < 16 * MIB
    assert other.get("/").status == 200
    assert origin.asked("/bomb") == []
    assert all(q["request"]["path"] != "/bomb" for q in check.questions)


def test_hpack_state_is_kept_behind_a_431(proxy, h2_origin, h2, host):
    """The fields of a refused block are in the table all the same."""
    origin = h2_origin()
    client = h2(proxy, host, origin.port)
    number = client.open()
    entry = b"\x40\x06x-mine" + f.integer(5, 7, 0) + b"value"
    block = entry + f.literals([*client.head(target="/big"), ("x-big", "x" * (70 << 10))])
    client.send(f.headers(number, block[:16000], END_STREAM) + b"".join(
        f.continuation(number, block[i:i + 16000], END_HEADERS if i + 16000 >= len(block) else 0)
        for i in range(16000, len(block), 16000)))
    if assert_431(client, number):
        number = client.open()
        client.send(f.headers(number, f.literals(client.head(target="/next")) + b"\xbe"))
        assert client.response(number).status == 200
        assert origin.asked("/next")[0].get("x-mine") == "value"


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", PREFACE[:10], PREFACE, PREFACE + f.settings(),
                                  PREFACE + f.settings() + f.ping()],
                         ids=["nothing", "half a preface", "preface", "SETTINGS", "PING"])
def test_a_silent_client_is_ended(sluice, origin_of, h2, host, said):
    limits = {"idle_timeout": "300ms", "header_timeout": "300ms", "handshake_timeout": "300ms"}
    client = h2(sluice({"limits": limits}), host, origin_of().port, start=False)
    start = time.monotonic()
    client.send(said)
    client.wait_closed()
    assert time.monotonic() - start < 10


def test_pings_do_not_keep_an_idle_connection(sluice, origin_of, h2, host):
    client = h2(sluice({"limits": {"idle_timeout": "500ms"}}), host, origin_of().port)
    assert client.get("/").status == 200
    assert not ping_until(client, lambda: client.wire.is_closed or client.goaways)


def ping_until(client, fact, seconds=waiting.DEADLINE):
    """Pings now and then; whether the time was over first."""
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        client.send(f.ping())
        client.wire.wait(0.1)
    return not fact()


@pytest.mark.threat("resource-floods")
def test_a_header_block_that_never_ends_is_ended(sluice, origin_of, h2, host):
    origin = origin_of()
    client = h2(sluice({"limits": {"header_timeout": "300ms"}}), host, origin.port)
    assert client.get("/").status == 200
    number = client.open()
    client.send(f.headers(number, f.literals(client.head())[:20], END_STREAM))
    start = time.monotonic()
    client.wait_closed()
    assert time.monotonic() - start < 10
    assert len(origin.requests) == 1


def test_a_dripping_header_block_does_not_win_time(sluice, origin_of, h2, host):
    client = h2(sluice({"limits": {"header_timeout": "300ms"}}), host, origin_of().port)
    number = client.open()
    client.send(f.headers(number, f.literals(client.head()), END_STREAM))
    n = 0
    while not client.wire.is_closed and n < 400:
        client.send(f.continuation(number, f.literal("x", "y"), 0))
        client.wire.wait(0.05)
        n += 1
    assert client.wire.is_closed and n < 200


def test_a_window_that_stays_shut_is_not_waited_for_for_ever(sluice, origin_of, h2, host):
    """Although the client pings: the stream ends, and its connection upstream is free."""
    origin = origin_of(scripts={"/big": large(64 * MIB)})
    proxy = sluice({"limits": {"idle_timeout": "500ms"}})
    client = h2(proxy, host, origin.port)
    client.held.add(client.next_stream)
    number = client.request("GET", "/big")
    client.wait_body(number, 65535)
    stream = client.stream(number)
    assert not ping_until(client, lambda: stream.reset is not None or client.wire.is_closed)
    origin.wait_reset("/big")
    assert proxy.log(host=host, target="/big")["error"] is not None


def test_zero_windows_of_many_streams(sluice, origin_of, h2, host):
    origin = origin_of()
    proxy = sluice({"limits": {"idle_timeout": "500ms"}})
    client = h2(proxy, host, origin.port, pairs={Setting.INITIAL_WINDOW_SIZE: 0})
    numbers = [client.request("GET", f"/{i}") for i in range(90)]
    waiting.until(lambda: (client.wire.wait(0.05), proxy.metric("sluice_exchanges") == 0)[1],
                  "the end of all exchanges")
    assert len(origin.requests) <= len(numbers)
