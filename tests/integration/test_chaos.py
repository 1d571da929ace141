"""Everything at once: clients that leave, origins and checks that fail, reloads.  What must hold:
no denied request arrives, no answer goes to the wrong client, and at the end nothing is left."""
import random
import ssl
import threading

import pytest

from harness import http1, waiting
from harness.check_service import CheckService, deny
from harness.client import Client, request
from harness.origin import Origin

CLIENTS, ROUNDS = 16, 15
ORIGIN_MOODS = ["good", "good", "good", "chunked", "close", "cut", "reset", "silent end", "garbage"]
CHECK_MOODS = ["allow", "allow", "allow", "deny", "die", "babble"]


def answer_of_origin(asked, connection, mood):
    """Sends an answer in that mood; True when the connection goes on."""
    body = f"{asked.target} {asked.get('x-me')}".encode()
    if mood == "good":
        connection.send(http1.response(body))
    elif mood == "chunked":
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    elif mood == "close":
        connection.send(http1.response(body, headers=[("Connection", "close")]))
    elif mood == "cut":
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nxx")
    elif mood == "reset":
        connection.reset()
    elif mood == "garbage":
        connection.send(b"\x00\x01garbage\r\n\r\n")
    return mood in ("good", "chunked")


def answer_of_check(question):
    mood = question["request"]["path"].split("/")[1]
    return {"allow": {"action": "allow", "cache": {"ttl": 1}}, "deny": deny(),
            "die": CheckService.die, "babble": http1.response(b"{")}[mood]


class Customer:
    """Makes requests whose path says what check and origin shall do, and what is expected."""

    def __init__(self, proxy, port, host, me):
        self.proxy, self.port, self.host, self.me = proxy, port, host, me
        self.random = random.Random(me)
        self.client = None
        self.faults = []

    def run(self):
        for i in range(ROUNDS):
            try:
                self.round(i)
            except (ConnectionError, ssl.SSLError, ValueError, TimeoutError):
                self.leave(abruptly=False)
            except AssertionError as e:
                self.faults.append(str(e))
        self.leave(abruptly=self.random.random() < 0.5)

    def leave(self, abruptly):
        if self.client is not None:
            if abruptly:
                self.client.reset()
            else:
                self.client.sock.close()
        self.client = None

    def round(self, i):
        dice = self.random
        if self.client is None:
            self.client = Client(self.proxy).tunnel(f"{dice.randrange(4)}-{self.host}", self.port)
        check, origin = dice.choice(CHECK_MOODS), dice.choice(ORIGIN_MOODS)
        target = f"/{check}/{origin.replace(' ', '-')}/{self.me}-{i}"
        body = b"x" * dice.choice([0, 0, 10, 100000])
        self.client.send(request("POST" if body else "GET", target, self.client.authority,
                                 [("X-Me", str(self.me))], body))
        if dice.random() < 0.15:
            self.leave(abruptly=dice.random() < 0.7)
            return
        self.judge(self.client.read(), check, origin, f"{target} {self.me}")

    def judge(self, answer, check, origin, expected):
        if check == "deny":
            assert answer.status == 403, (expected, answer.start)
        elif check != "allow":
            assert answer.status == 503, (expected, answer.start)
        elif answer.status == 200:
            assert answer.text == expected, (expected, answer.text)
        else:
            assert answer.status == 502, (expected, answer.start)
        if answer.get("connection") == "close":
            self.leave(abruptly=False)


@pytest.mark.parametrize("workers", [1, 4])
def test_everything_at_once(sluice, servers, pki, surroundings, host, workers):
    def serve(connection):
        going_on = True
        while going_on:
            asked = origin.take(connection)
            mood = asked.target.split("/")[2].replace("-", " ")
            going_on = answer_of_origin(asked, connection, mood)

    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    check = servers(CheckService(answer_of_check))
    config = {**check.config(timeout="20s"), "workers": workers}
    proxy = sluice(config)
    customers = [Customer(proxy, origin.port, host, me) for me in range(CLIENTS)]
    threads = [threading.Thread(target=c.run) for c in customers]
    for thread in threads:
        thread.start()
    for _ in range(5):
        proxy.reload({**surroundings, **config})
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert [c.faults for c in customers if c.faults] == []
    assert all(r.target.startswith("/allow/") for r in origin.requests)
    waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "no connection")
    waiting.until(lambda: proxy.metric("sluice_exchanges") == 0, "no exchange")
    waiting.until(lambda: proxy.metric("sluice_upstream_connections", state="active") == 0,
                  "no upstream connection in use")
