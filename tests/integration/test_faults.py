"""What a kernel may do to a program at any call: nothing is lost, skipped or told wrong for it."""
import json
import resource
import signal

import pytest

from harness import waiting
from harness.check_service import ALLOW, deny
from harness.client import request
from harness.faults import Faults
from harness.h2scripts import large
from harness.h2sides import resident
from harness.process import merged

pytest_plugins = ["harness.h2fixtures"]
pytestmark = pytest.mark.native
KIB = 1 << 10
HOUR = 3600
# How often each kind strikes, alone and all together.
MOODS = {"short": {"short": 2}, "interrupted": {"interrupted": 3}, "not ready": {"not ready": 3},
         "all": {"short": 2, "interrupted": 5, "not ready": 5}}
# What one of them says when it takes lines again, and of how many it says that they were lost.
LOGS = {"log broken": ("access", "access log: works again, lines lost: "),
        "log full": ("access", "access log: works again, lines lost: "),
        "stderr broken": ("error", "stderr: takes lines again, lines lost: ")}
MANY = 1 << 30


@pytest.fixture
def faults(binary, tmp_path):
    return Faults(binary, tmp_path)


@pytest.fixture
def faulty(sluice, check, faults):
    """A proxy that asks about every request, with its faults; what is under /no is denied."""
    check.answer = lambda q: deny() if q["request"]["path"].startswith("/no") else ALLOW
    yield sluice(check.config(), env=faults.environment)
    faults.heal()


def strike(faults, mood):
    for kind, calls in MOODS[mood].items():
        faults.one_in(kind, calls)


def assert_struck(faults, mood):
    for kind in MOODS[mood]:
        assert faults.done(kind) > 0, kind


def fetch(client, host, origin, path):
    """In the absolute form."""
    authority = f"{host}:{origin.port}"
    client.send(request("GET", f"http://{authority}{path}", authority))
    return client.read()


def asked(check):
    return [q["request"]["path"] for q in check.questions]


@pytest.mark.smoke
@pytest.mark.parametrize("mood", MOODS)
def test_http1_is_whole(faulty, faults, check, origin, tunnel, host, mood):
    """Pipelined, chunked, denied in between: each answer is its request's."""
    strike(faults, mood)
    clients = [tunnel(faulty, host, origin.port) for _ in range(3)]
    for n in range(5):
        for client in clients:
            answer = client.ask("POST", f"/{n}", [("Content-Length", str(20 * KIB))],
                                b"x" * 20 * KIB)
            assert (answer.status, answer.text.split()[1]) == (200, f"/{n}")
            assert client.get(f"/no/{n}").status == 403
    assert_struck(faults, mood)
    assert sorted(asked(check)) == sorted(3 * [p for n in range(5) for p in (f"/{n}", f"/no/{n}")])
    assert not any(r.target.startswith("/no") for r in origin.requests)
    assert len(origin.requests) == 15


@pytest.mark.parametrize("mood", MOODS)
def test_http2_is_whole(faulty, faults, check, h2_origin, h2, host, mood):
    origin = h2_origin(scripts={"/big": large(200 * KIB)})
    strike(faults, mood)
    client = h2(faulty, host, origin.port)
    big = client.request("GET", "/big")
    denied = [client.request("GET", f"/no/{n}") for n in range(5)]
    assert client.ask("POST", "/up", body=b"x" * 100 * KIB).status == 200
    assert len(client.response(big).body) == 200 * KIB
    assert [client.response(n).status for n in denied] == 5 * [403]
    assert_struck(faults, mood)
    assert sorted(asked(check)) == sorted(["/big", "/up", *(f"/no/{n}" for n in range(5))])
    assert faulty.metric("sluice_http2_floods_total") == 0


def test_connections_that_are_gone_when_accepted_are_passed_over(faulty, faults, plain_origin,
                                                                 connect, host):
    faults.one_in("gone", 2)
    faults.one_in("interrupted", 3)
    for n in range(30):
        assert fetch(connect(faulty), host, plain_origin, f"/{n}").status == 200
    assert faults.done("gone") > 0


@pytest.mark.parametrize("mood", ["short", "interrupted"])
def test_the_log_is_whole(faulty, faults, plain_origin, connect, host, mood):
    """A file takes what it takes; no line is cut or told twice."""
    strike(faults, mood)
    client = connect(faulty)
    for n in range(50):
        assert fetch(client, host, plain_origin, f"/{n}").status == 200
    faulty.log(target="/49")
    assert [line["target"] for line in faulty.log_lines()] == [f"/{n}" for n in range(50)]


# -- logs that take nothing ----------------------------------------------------------------------


def dropped(proxy, log):
    return proxy.metric("sluice_log_lines_dropped_total", log=log)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", LOGS)
def test_a_log_that_takes_nothing_for_a_while(faulty, faults, plain_origin, connect, host, kind):
    """What is lost is counted, and told once, when it is over."""
    log, words = LOGS[kind]
    client = connect(faulty)
    faults.one_in(kind, 1)
    for n in range(1, 4):
        assert fetch(client, host, plain_origin, f"/{n}").status == 200
        if log == "error":
            faulty.process.send_signal(signal.SIGHUP)
        waiting.until(lambda: dropped(faulty, log) >= n, "a lost line")
    faults.heal()
    since = len(faulty.errors)
    assert fetch(client, host, plain_origin, "/after").status == 200
    assert "reloaded" in faulty.reload()
    faulty.wait_stderr(words + rf"{dropped(faulty, log):.0f}\b", since)
    faulty.log(target="/after")
    assert faulty.stderr.count(words) == 1
    assert faulty.stderr.count("access log: lines are lost: ") == (1 if log == "access" else 0)
    assert [line["target"] for line in faulty.log_lines()] == (
        ["/after"] if log == "access" else ["/1", "/2", "/3", "/after"])


def test_a_log_that_takes_half_a_line(faulty, faults, plain_origin, connect, host):
    """Every line is whole or counted; what is torn has a line of its own."""
    faults.one_in("short", 1)
    faults.nth("log full", 100)
    client = connect(faulty)
    for n in range(20):
        assert fetch(client, host, plain_origin, f"/{n}").status == 200
    waiting.until(lambda: faults.done("log full"), "half a line")
    faults.heal()
    assert fetch(client, host, plain_origin, "/end").status == 200
    waiting.until(lambda: '"/end"' in faulty.access.read_text(), "the last line")
    lines = faulty.access.read_text().splitlines()
    whole = [json.loads(line)["target"] for line in lines if line.endswith("}")]
    assert dropped(faulty, "access") > 0
    assert all(line.startswith('{"ts"') for line in lines if line)
    assert len(whole) == len(set(whole)) == 21 - dropped(faulty, "access")


# -- memory that runs out ------------------------------------------------------------------------


def visit(client, path):
    """Two requests, the second one denied; None when the connection did not live to answer."""
    try:
        side = client()
        return side.ask("GET", path).status, side.ask("GET", "/no" + path).status
    except (TimeoutError, waiting.TimedOut):
        raise
    except (OSError, AssertionError):
        return None


def goes_on_or_ends(proxy, client, path):
    """Whether it serves as ever; else it has ended, and said why."""
    if visit(client, path) == (200, 403):
        return True
    assert proxy.process.wait(waiting.DEADLINE) == -signal.SIGABRT
    proxy.wait_stderr("out of memory")
    return False


@pytest.mark.smoke
@pytest.mark.parametrize("kind, n_cases", [("own memory", 3), ("library memory", 20)])
def test_memory_that_runs_out_at_any_call(sluice, faults, check, h2_origin, host, side_of, kind,
                                          n_cases):
    """Of one exchange in a proxy that has been at work; of it and its signer."""
    def start():
        proxy = sluice(check.config(), env=faults.environment)
        assert visit(lambda: side_of(proxy, f"first-{host}", origin.port), "/first") == (200, 403)
        return proxy

    check.answer = lambda q: deny() if q["request"]["path"].startswith("/no") else ALLOW
    origin = h2_origin()
    proxy = start()
    faults.nth(kind, MANY)
    visit(lambda: side_of(proxy, f"second-{host}", origin.port), "/second")
    n_calls = MANY - faults.n_until(kind)
    if n_calls == 0:
        pytest.skip("memory is a sanitizer's affair here")
    for n in range(1, n_calls, n_calls // n_cases):
        faults.nth(kind, n)
        visit(lambda: side_of(proxy, f"{n}-{host}", origin.port), f"/{n}")
        faults.heal()
        if not goes_on_or_ends(proxy, lambda: side_of(proxy, f"{n}-{host}", origin.port),
                               f"/then/{n}"):
            proxy = start()
    assert faults.done(kind) > n_cases // 2
    arrived = [r.target for r in origin.requests]
    assert set(arrived) <= set(asked(check))
    assert not any(target.startswith("/no") for target in arrived)


@pytest.mark.smoke
@pytest.mark.threat("bounded")
def test_limits_memory_comes_before_its_end(sluice, surroundings, plain_origin, connect, host):
    """Heads that are never whole, until one more is refused; the system has no more to give."""
    proxy = sluice()
    early = connect(proxy)
    assert fetch(early, host, plain_origin, "/early").status == 200
    pid, limit = proxy.process.pid, resident(proxy) + (8 << 20)
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        data = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    resource.prlimit(pid, resource.RLIMIT_DATA, (data + (64 << 20),) * 2)
    assert "reloaded" in proxy.reload(merged(surroundings, {"limits": {"memory": str(limit)}}))
    since, n_clients = len(proxy.errors), 0
    while not any("over limits.memory" in line for line in proxy.errors[since:]):
        n_clients += 1
        assert n_clients < 900
        connect(proxy).send(b"GET / HTTP/1.1\r\nX: " + b"x" * 60 * KIB)
    late = connect(proxy)
    assert late.read().status == 503
    assert fetch(early, host, plain_origin, "/over").status == 503
    assert proxy.look("/healthz")[0] == 200
    assert [r.target for r in plain_origin.requests] == ["/early"]


# -- files and clocks ----------------------------------------------------------------------------


@pytest.mark.parametrize("mood", ["short", "interrupted"])
def test_files_are_read_whole(faulty, faults, origin, tunnel, host, mood):
    """Configuration and authority, in a reload."""
    strike(faults, mood)
    assert "reloaded" in faulty.reload()
    assert_struck(faults, mood)
    assert tunnel(faulty, host, origin.port).get("/").status == 200


@pytest.mark.parametrize("hours", [-12, 12, -100_000, 100_000])
def test_the_wall_clock_may_jump(faulty, faults, check, plain_origin, origin, tunnel, connect, host,
                                 hours):
    """Deadlines, pools and caches go by another; certificates need this one."""
    client = connect(faulty)
    assert fetch(client, host, plain_origin, "/before").status == 200
    faults.set_clock(hours * HOUR)
    assert fetch(client, host, plain_origin, "/after").status == 200
    assert fetch(client, host, plain_origin, "/no").status == 403
    if 0 < hours < 24:     # the authority of the tests is a day old at most
        assert tunnel(faulty, host, origin.port).get("/").status == 200
    assert "/after" in asked(check)


@pytest.mark.parametrize("hours", [-12, 12])
def test_the_end_is_in_time_when_the_wall_clock_is_not(faulty, faults, plain_origin, connect, host,
                                                       hours):
    assert fetch(connect(faulty), host, plain_origin, "/").status == 200
    faults.set_clock(hours * HOUR)
    assert faulty.stop() == 0
