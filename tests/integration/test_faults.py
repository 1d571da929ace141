"""What a kernel may do to a program at any call: nothing is lost, skipped or told wrong for it."""
import pytest

from harness.check_service import ALLOW, deny
from harness.client import request
from harness.faults import KINDS, Faults
from harness.h2scripts import large

pytest_plugins = ["harness.h2fixtures"]
pytestmark = pytest.mark.native
KIB = 1 << 10
HOUR = 3600
# How often each kind strikes, alone and all together.
MOODS = {"short": {"short": 2}, "interrupted": {"interrupted": 3}, "not ready": {"not ready": 3},
         "all": {"short": 2, "interrupted": 5, "not ready": 5}}


@pytest.fixture
def faults(binary, tmp_path):
    return Faults(binary, tmp_path)


@pytest.fixture
def faulty(sluice, check, faults):
    """A proxy that asks about every request, with its faults; what is under /no is denied."""
    check.answer = lambda q: deny() if q["request"]["path"].startswith("/no") else ALLOW
    yield sluice(check.config(), env=faults.environment)
    for kind in KINDS:
        faults.one_in(kind, 0)
    faults.set_clock(0)


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
