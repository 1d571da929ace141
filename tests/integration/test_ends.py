"""Peers whose connections end, or who are killed, at every step of theirs: the exchange ends with
an answer or a cut, nothing passes unchecked, nothing is left, and the next one finds them back.
Then the proxy itself."""
import json
import threading

import pytest

from harness import http1, waiting
from harness.check_service import ALLOW, CheckService, deny
from harness.client import Client, request
from harness.dying import STEPS, Dying, Killed, close, kept_port, reset
from harness.origin import Origin
from harness.process import Sluice, children, exists, merged, signer_of

pytestmark = pytest.mark.native
ENDS = {"close": close, "reset": reset, "kill": None}
CHECK_STEPS = [step for step in STEPS if step != "handshake"]
BODY = b"x" * 100_000
# A response that has begun is cut.  A check that did not come to its answer's end has not allowed.
STATUS = {"origin": 502, "check": 503}
ERRORS = {"origin": {"reset", "response_cut"}, "check": {"check_failed"}}
WORLDS = [(side, how) for side in STATUS for how in ENDS]


class World:
    """A proxy, and the two peers it has; one of them is `dying`."""

    def __init__(self, binary, directory, surroundings, pki, side, how):
        pair = pki.good if side == "origin" else ()
        self.dying = Killed(pair) if how == "kill" else Dying(ENDS[how], pair)
        self.living = CheckService() if side == "origin" else Origin(tls=pki.server_context())
        self.check, self.origin = self.dying, self.living
        if side == "origin":
            self.check, self.origin = self.living, self.dying
        self.proxy = Sluice(binary, directory, merged(surroundings, {
            "workers": 1, "upstream": {"pool": {"max_idle": 1}},
            "checks": [{"name": "policy", "url": self.check.url, "timeout": "20s"}],
            "rules": [{"when": "any", "do": ["check policy"]}]})).wait_ready()

    def n_descriptors(self):
        """When nobody is there."""
        waiting.until(lambda: self.proxy.metric("sluice_open_connections") == 0, "no connection")
        assert self.proxy.metric("sluice_exchanges") == 0
        return self.proxy.metric("process_open_fds")

    def post(self, client, host, target):
        client.tunnel(host, self.origin.port)
        client.send(request("POST", target, client.authority, (), BODY))

    def ask(self, host, target):
        with Client(self.proxy) as client:
            self.post(client, host, target)
            return client.read().status

    def heard_by_the_living(self):
        if self.living is self.check:
            return [q["request"]["path"] for q in self.living.questions]
        return [r.target for r in self.living.requests]

    def close(self):
        self.proxy.finish()
        self.dying.close()
        self.living.close()


@pytest.fixture
def world(binary, tmp_path, surroundings, pki, side, how):
    one = World(binary, tmp_path, surroundings, pki, side, how)
    yield one
    one.close()


@pytest.mark.threat("fail-closed")
@pytest.mark.parametrize("side, how", WORLDS)
def test_a_peer_that_ends_at_each_step(world, connect, host, side, how):
    for step in STEPS if side == "origin" else CHECK_STEPS:
        target = f"/{step.replace(' ', '-')}"
        assert world.ask(host, "/before") == 200
        n_descriptors = world.n_descriptors()
        world.dying.end_at(step)
        client = connect(world.proxy)
        world.post(client, host, target)
        world.dying.wait_ended()
        if (side, step) == ("origin", "response body"):
            with pytest.raises((http1.Closed, ConnectionError)):
                client.read()
        else:
            assert client.read().status == STATUS[side]
        client.sock.close()
        assert world.proxy.log(host=host, target=target)["error"] in ERRORS[side]
        world.dying.resume()
        assert world.ask(host, "/after") == 200
        waiting.until(lambda: world.n_descriptors() <= n_descriptors, "as many descriptors")
        heard = ["/before", target, "/after"] if side == "origin" else ["/before", "/after"]
        assert world.heard_by_the_living()[-len(heard):] == heard


@pytest.mark.parametrize("side, how", [(side, "kill") for side in STATUS])
def test_an_idle_connection_of_one_that_was_killed(world, tunnel, host, side, how):
    """It costs the next request nothing."""
    client = tunnel(world.proxy, host, world.origin.port)
    for n in range(3):
        assert client.ask("POST", f"/{n}", (), BODY).status == 200
        world.dying.kill()
        world.dying.resume()


# -- the proxy is killed -------------------------------------------------------------------------


def is_whole(line):
    return line.startswith('{"ts"') and line.endswith("}")


def use(proxy, host, port):
    """Until it is gone."""
    try:
        for n in range(10_000):
            with Client(proxy) as client:
                client.tunnel(f"{n}-{host}", port)
                assert client.ask("POST", f"/{n}", (), BODY).status == 200
                assert client.get(f"/no/{n}").status == 403
    except OSError:
        pass


def test_a_proxy_that_is_killed_at_work_starts_again(sluice, check, origin, host, tmp_path):
    """With all that it had: directory, ports, sockets; and its signer is not left alone."""
    check.answer = lambda q: deny() if q["request"]["path"].startswith("/no") else ALLOW
    place, port = kept_port()
    config = merged(check.config(), {
        "admin": {"address": f"unix:{tmp_path}/admin"},
        "listeners": [{"address": f"127.0.0.1:{port}"}, {"address": f"unix:{tmp_path}/proxy"}]})
    proxy = sluice(config, listen=None)
    left = [signer_of(proxy), *children(proxy.process.pid)]
    users = [threading.Thread(target=use, args=(proxy, f"{n}-{host}", origin.port))
             for n in range(4)]
    for user in users:
        user.start()
    origin.wait_requests(20)
    proxy.process.kill()
    proxy.process.wait()
    for user in users:
        user.join(waiting.DEADLINE)
    assert not any(user.is_alive() for user in users)
    waiting.until(lambda: not any(map(exists, left)), "the end of the signer")
    again = sluice(config, listen=None, directory=proxy.dir)
    assert again.port == port
    with Client(again) as client:
        assert client.tunnel(host, origin.port).get("/again").status == 200
    again.log(target="/again")
    # The kernel may have stopped between two pages of a write.
    lines = again.access.read_text().splitlines()
    assert len(lines) > 1 and sum(not is_whole(line) for line in lines) <= 1
    arrived = {r.target for r in origin.requests}
    assert arrived <= {q["request"]["path"] for q in check.questions}
    assert not any(target.startswith("/no") for target in arrived)
    place.close()


def test_half_a_line_of_one_that_was_killed_stays_alone(sluice, plain_origin, connect, host,
                                                        tmp_path):
    log = tmp_path / "access.log"
    log.write_text('{"ts":"2026-0')
    proxy = sluice({"log": {"access": str(log)}})
    client = connect(proxy)
    for n in range(2):
        authority = f"{host}:{plain_origin.port}"
        assert client.ask("GET", f"http://{authority}/{n}", host=authority).status == 200
    waiting.until(lambda: '"/1"' in log.read_text(), "the last line")
    torn, *lines = log.read_text().splitlines()
    assert torn == '{"ts":"2026-0'
    assert [json.loads(line)["target"] for line in lines if is_whole(line)] == ["/0", "/1"]
