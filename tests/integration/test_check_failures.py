"""Checks that die, stall, babble or are too busy: a no, unless the configuration says otherwise."""
import time

import pytest

from harness import http1
from harness.check_service import ALLOW, CheckService, deny
from harness.origin import Origin
from harness.process import Sluice


def assert_unheard(host, dns, origin):
    assert not dns.heard_of(host)
    assert origin.n_connections == 0


def assert_unavailable(answer):
    assert (answer.status, answer.get("retry-after")) == (503, "1")
    assert "check unavailable" in answer.text


@pytest.mark.threat("check-skipped", "fail-closed")
@pytest.mark.smoke
def test_a_dead_check_is_503_within_its_deadline(sluice, check, origin, dns, tunnel, host):
    check.close()
    proxy = sluice(check.config(timeout="2s"))
    client = tunnel(proxy, host, origin.port)
    start = time.monotonic()
    assert_unavailable(client.get("/"))
    assert time.monotonic() - start < 10
    assert_unheard(host, dns, origin)
    assert proxy.log(host=host)["error"] == "check_failed"
    assert proxy.metric("sluice_check_failures_total", check="policy", outcome="deny",
                        **{"class": "connect"}) == 1
    assert_unavailable(client.get("/again"))


@pytest.mark.threat("fail-closed")
@pytest.mark.parametrize("phase", ["request", "connect"])
def test_each_pass_of_a_failing_check_is_logged(sluice, servers, check, origin, tunnel, host,
                                                phase):
    """Whoever decides in the end; the check's own log has one line a second at most."""
    dead = servers(CheckService())
    dead.close()
    checks = [{"name": "bad", "url": dead.url, "on_error": "allow", "phase": [phase]},
              {"name": "good", "url": check.url}]
    proxy = sluice({"checks": checks, "rules": [{"when": "any", "do": ["check bad good"]}]})
    client = tunnel(proxy, host, origin.port)
    for n in range(3):
        assert client.get(f"/{n}").status == 200
        line = proxy.log(host=host, target=f"/{n}")
        assert (line["decided_by"], line["reason"]) == ("good", "passed on error: bad")
    check.answer = lambda q: deny(reason="no")
    assert client.get("/3").status == 403
    assert proxy.log(host=host, target="/3")["reason"] == "no"


def test_a_stale_pass_is_logged_as_one_whoever_is_asked_next(sluice, servers, check, origin,
                                                             tunnel, host):
    first = servers(CheckService(lambda q: {**ALLOW, "cache": {"ttl": 1, "vary": ["host"]}}))
    checks = [{"name": "one", "url": first.url, "on_error": "stale"},
              {"name": "two", "url": check.url}]
    proxy = sluice({"checks": checks, "rules": [{"when": "any", "do": ["check one two"]}]})
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    first.close()
    for n in range(1000):
        assert client.get(f"/{n}").status == 200
        if proxy.log(host=host, target=f"/{n}")["cache"] == "stale":
            break
    else:
        pytest.fail("the verdict never went stale")


@pytest.mark.threat("fail-closed")
def test_a_stalling_check_is_503_at_its_deadline(sluice, check, origin, dns, tunnel, host):
    check.answer = lambda q: check.stall()
    proxy = sluice(check.config(timeout="200ms"))
    assert_unavailable(tunnel(proxy, host, origin.port).get("/"))
    assert_unheard(host, dns, origin)
    assert proxy.metric("sluice_check_failures_total", **{"class": "timeout"}) == 1


@pytest.mark.smoke
def test_a_slow_check_does_not_hold_up_others(sluice, check, origin, tunnel, host):
    check.answer = lambda q: check.stall() if q["request"]["path"] == "/slow" else ALLOW
    proxy = sluice({**check.config(timeout="30s"), "workers": 1})
    slow, quick = (tunnel(proxy, host, origin.port) for _ in range(2))
    slow.send(f"GET /slow HTTP/1.1\r\nHost: {slow.authority}\r\n\r\n".encode())
    check.wait_questions(1)
    assert [quick.get(f"/{i}").status for i in range(3)] == [200] * 3
    check.release()
    assert slow.read().status == 200


BABBLE = {
    "garbage": b"\x00\xff\xfe garbage\r\n\r\n",
    "not http": b"SSH-2.0-x\r\n",
    "not json": http1.response(b"{allow}"),
    "no object": http1.response(b"[]"),
    "empty": http1.response(b""),
    "no action": http1.response(b"{}"),
    "wrong action": http1.response(b'{"action":"Allow"}'),
    "action is a number": http1.response(b'{"action":1}'),
    "two actions": http1.response(b'{"action":"allow","action":"deny"}'),
    "status 500": http1.response(b'{"action":"allow"}', 500, reason="Oops"),
    "status 204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "status 302": http1.response(b"", 302, [("Location", "/check")], "Found"),
    "not utf-8": http1.response(b'{"action":"allow","reason":"\xff"}'),
    "over 1 MiB": http1.response(b'{"action":"allow","x":"' + b"x" * (1 << 20) + b'"}'),
    "deeply nested": http1.response(b"[" * 100000),
    "header with newline": http1.response(
        b'{"action":"deny","headers":{"x":"a\\r\\nSet-Cookie: b"}}'),
    "set of framing": http1.response(
        b'{"action":"allow","request":{"set":{"transfer-encoding":"chunked"}}}'),
}


@pytest.fixture(scope="module")
def babbling(binary, tmp_path_factory, surroundings, pki):
    """One proxy and one check for all kinds of nonsense."""
    check = CheckService(lambda q: BABBLE[q["request"]["query"].replace("+", " ")])
    origin = Origin(tls=pki.server_context())
    config = {**surroundings, **check.config(timeout="10s")}
    proxy = Sluice(binary, tmp_path_factory.mktemp("sluice"), config).wait_ready()
    proxy.asked, proxy.origin = check, origin
    yield proxy
    proxy.finish()
    check.close()
    origin.close()


@pytest.mark.threat("check-skipped", "fail-closed")
@pytest.mark.parametrize("kind", BABBLE)
def test_a_bad_reply_denies(babbling, dns, tunnel, host, kind):
    before = babbling.metric("sluice_check_failures_total", **{"class": "bad_reply"})
    client = tunnel(babbling, host, babbling.origin.port)
    assert_unavailable(client.get("/?" + kind.replace(" ", "+")))
    assert_unheard(host, dns, babbling.origin)
    after = babbling.metric("sluice_check_failures_total", **{"class": "bad_reply"})
    assert after == before + 1


@pytest.mark.parametrize("how", ["die", "reset"])
def test_a_check_that_hangs_up_denies(sluice, check, origin, dns, tunnel, host, how):
    check.answer = lambda q: getattr(CheckService, how)
    assert_unavailable(tunnel(sluice(check.config(timeout="5s")), host, origin.port).get("/"))
    assert_unheard(host, dns, origin)


def test_a_trickling_reply_counts(sluice, check, origin, tunnel, host):
    check.answer = lambda q: check.trickle()
    assert tunnel(sluice(check.config(timeout="20s")), host, origin.port).get("/").status == 200


@pytest.mark.parametrize("failing", ["connect", "timeout", "bad_reply"])
def test_on_error_by_class(sluice, check, origin, tunnel, host, failing):
    others = {c: "deny" for c in ("connect", "timeout", "bad_reply", "overload") if c != failing}
    replies = {"timeout": check.stall(), "bad_reply": {"action": "perhaps"}}
    if failing == "connect":
        check.close()
    else:
        check.answer = lambda q: replies[failing]
    passes = sluice(check.config(timeout="300ms", on_error={**others, failing: "allow"}))
    assert tunnel(passes, host, origin.port).get("/").status == 200
    assert passes.metric("sluice_check_failures_total", outcome="allow", check="policy",
                         **{"class": failing}) == 1
    others = {c: "allow" for c in others}
    denies = sluice(check.config(timeout="300ms", on_error={**others, failing: "deny"}))
    assert_unavailable(tunnel(denies, host, origin.port).get("/"))


def test_on_error_stale_serves_the_old_verdict(sluice, check, origin, tunnel, host):
    check.answer = lambda q: {**ALLOW, "cache": {"vary": ["host"]}}
    proxy = sluice(check.config(timeout="2s", on_error="stale", cache={"ttl": "1ms"}))
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    check.close()
    assert client.get("/stale").status == 200
    line = proxy.log(host=host, target="/stale")
    assert line["verdict"] == "allow"


def test_on_error_stale_without_an_old_verdict_denies(sluice, check, origin, tunnel, host):
    check.close()
    proxy = sluice(check.config(timeout="2s", on_error="stale"))
    assert_unavailable(tunnel(proxy, host, origin.port).get("/"))


@pytest.mark.threat("check-skipped", "fail-closed")
def test_max_in_flight_is_overload(sluice, check, origin, tunnel, host):
    check.answer = lambda q: check.stall()
    proxy = sluice(check.config(timeout="30s", max_in_flight=1))
    first, second = (tunnel(proxy, host, origin.port) for _ in range(2))
    first.send(f"GET /1 HTTP/1.1\r\nHost: {first.authority}\r\n\r\n".encode())
    check.wait_questions(1)
    assert_unavailable(second.get("/2"))
    assert proxy.metric("sluice_check_failures_total", **{"class": "overload"}) == 1
    check.release()
    assert first.read().status == 200


def test_shadow_asks_and_does_not_enforce(sluice, check, origin, tunnel, host):
    check.answer = lambda q: deny()
    proxy = sluice(check.config(shadow=True))
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    check.wait_questions(1)


# -- passes that should not go unseen ------------------------------------------------------------


def test_a_pass_without_verdict_is_seen_in_the_log(sluice, check, origin, tunnel, host):
    check.close()
    proxy = sluice(check.config(timeout="1s", on_error="allow"))
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    line = proxy.log(host=host)
    assert line["verdict"] == "allow" and line["decided_by"] == "policy"
    assert line["reason"] == "passed on error: policy"


def test_shadow_denials_are_counted(sluice, check, origin, tunnel, host):
    check.answer = lambda q: deny(reason="would be denied")
    proxy = sluice(check.config(shadow=True))
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    text = proxy.look("/metrics")[1].decode()
    assert any("shadow" in line and line.endswith(" 1") for line in text.splitlines())


def test_a_failing_shadow_check_holds_nobody(sluice, check, origin, tunnel, host):
    check.answer = lambda q: check.stall()
    proxy = sluice(check.config(shadow=True, timeout="200ms"))
    assert tunnel(proxy, host, origin.port).get("/").status == 200
