"""What stays inside: the admin address, the client's secrets, and bytes that would act on a reader."""
import json
import os
import re
import socket
import stat

import pytest

from harness import http1, waiting
from harness.check_service import deny
from harness.client import WireTls, request
from harness.process import Sluice, merged

SECRET = "s3cret"
SECRETS = [("Authorization", f"Bearer {SECRET}"), ("Cookie", f"c={SECRET}"), ("X-Key", SECRET),
           ("Referer", f"https://x.test/?{SECRET}"), ("User-Agent", SECRET),
           ("Proxy-Authorization", f"Basic {SECRET}")]


# -- the admin address -----------------------------------------------------------------------------


def ask_admin(proxy, head):
    host, port = proxy.admin.rsplit(":", 1)
    with socket.create_connection((host, int(port)), waiting.DEADLINE) as sock:
        sock.sendall(head)
        return http1.read_response(http1.Reader(sock))


@pytest.mark.threat("admin-through-proxy", "nobody-in")
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/ca.pem",
                                  "/debug/pprof/profile?seconds=0"])
@pytest.mark.parametrize("name", ["evil.example", "evil.example:{port}", "localhost.evil.example",
                                  "127.0.0.1.evil.example", "127-0-0-1.evil.example"])
def test_admin_answers_to_no_name_of_others(proxy, path, name):
    """DNS rebinding: a page's own name leads a browser here, and is in the Host field."""
    name = name.replace("{port}", proxy.admin.rsplit(":", 1)[1])
    answer = ask_admin(proxy, request("GET", path, name))
    assert answer.status == 421 and b"sluice_" not in answer.body and b"BEGIN" not in answer.body


@pytest.mark.parametrize("name, status", [("localhost", 200), ("127.0.0.1", 200), ("[::1]", 200),
                                          ("LOCALHOST.", 200), ("", 400), (None, 400)])
def test_admin_answers_to_its_own_names(proxy, name, status):
    assert ask_admin(proxy, request("GET", "/healthz", name)).status == status


@pytest.mark.threat("nobody-in")
def test_the_admin_socket_is_its_owners_alone(sluice, tmp_path):
    old = os.umask(0)
    try:
        path = tmp_path / "admin.sock"
        sluice({"admin": {"address": f"unix:{path}"}})
    finally:
        os.umask(old)
    waiting.until(path.exists, "the socket")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.threat("nobody-in")
@pytest.mark.parametrize("address, is_good", [
    ("127.0.0.1:0", True), ("127.9.9.9:0", True), ("[::1]:0", True), ("[::ffff:127.0.0.1]:0", True),
    ("0.0.0.0:0", False), ("[::]:0", False), ("192.0.2.1:0", False), ("[2001:db8::1]:0", False),
    ("[::ffff:0.0.0.0]:0", False)])
def test_admin_is_on_loopback_or_nowhere(cli, address, is_good):
    done = cli("check-config", "--set", f"admin.address='{address}'")
    assert done.returncode == (0 if is_good else 78), done.stderr
    assert is_good or "admin.address" in done.stderr


# -- replies and logs ------------------------------------------------------------------------------


REPLIES = {
    "denied": (403, {}, "/denied?q={s}", []),
    "another name": (421, {}, "/?q={s}", [("Host", "other.test")]),
    "no such origin": (502, {"host": "nowhere.invalid"}, "/?q={s}", []),
    "inside": (403, {"host": "192.168.0.1"}, "/?q={s}", []),
    "too large a header": (431, {}, "/?q={s}", [("X-Big", "x" * (80 << 10))]),
    "malformed": (400, {}, "/?q={s}", [("X Y", "1")]),
    "an expectation": (400, {}, "/?q={s}", [("Expect", "x")]),
    "a coding": (501, {}, "/?q={s}", [("Transfer-Encoding", "gzip")]),
    "too large a body": (413, {}, "/?q={s}", [("Content-Length", "2000000")]),
    "a check that fails": (503, {}, "/checked?q={s}", []),
}


@pytest.mark.threat("secrets-in-error-pages", "nobody-in")
@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/plain"])
@pytest.mark.parametrize("case", REPLIES)
def test_no_reply_and_no_log_has_a_secret_in_it(keeper, tunnel, host, case, accept):
    status, how, target, more = REPLIES[case]
    name = how.get("host", host)
    client = tunnel(keeper, name, 443)
    hosts = [] if any(n == "Host" for n, _ in more) else [("Host", name)]
    client.send(request("GET", target.replace("{s}", SECRET), None,
                        [*hosts, ("Accept", accept), *SECRETS, *more]))
    answer = client.read()
    assert answer.status == status
    assert SECRET not in str(answer.headers) + answer.text
    waiting.until(lambda: any(line["status"] == status for line in keeper.log_lines()), "its line")


@pytest.fixture(scope="module")
def keeper(binary, tmp_path_factory, surroundings):
    """At its end: nothing that was secret is in a log."""
    config = merged(surroundings, {
        "log": {"level": "debug"}, "limits": {"body_bytes": "1MiB"},
        "checks": [{"name": "policy", "url": "http://127.0.0.1:1/"}],
        "rules": [{"when": "path /denied", "do": "deny", "reason": "no"},
                  {"when": "path /checked", "do": ["check policy"]}]})
    one = Sluice(binary, tmp_path_factory.mktemp("sluice"), config).wait_ready()
    yield one
    one.finish()
    refused = [line for line in one.log_lines() if line["verdict"] == "deny"]
    assert refused and SECRET not in json.dumps(refused)
    said = one.access.read_text() + one.stderr
    assert not re.search(rf"Bearer {SECRET}|c={SECRET}|Basic {SECRET}|x.test/\?{SECRET}", said)


# What a check says of a request, with bytes that would act on who reads it.
ACTING = {
    "CR LF": "a\r\nSet-Cookie: b=1", "LF": "a\nb", "CR": "a\rb", "ESC": "a\x1b[2Jb", "NUL": "a\0b",
    "BEL": "a\x07b", "DEL": "a\x7fb", "C1": "a\x9b2Jb", "NEL": "a\x85b", "line separator": "a\u2028b",
    "right to left": "a\u202eb", "tag": "a<script>alert(1)</script>b", "entity": "a&lt;b",
    "quotes": "a\"'`b", "backslash": "a\\b", "lone surrogate": "a\ud800b",
}
_ACTS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@pytest.mark.threat("nobody-in", "says-why")
@pytest.mark.parametrize("form", ["json", "text"])
def test_text_of_others_is_escaped(sluice, servers, check, tunnel, host, form):
    """In the page, in the problem's JSON, in Proxy-Status, in either log."""
    check.answer = lambda q: deny(reason=ACTING[q["request"]["query"].replace("+", " ")])
    proxy = sluice({**check.config(), "log": {"format": form, "level": "debug"}})
    client = tunnel(proxy, host, 443)
    for case, text in ACTING.items():
        target = "/?" + case.replace(" ", "+")
        for kind in ("text/html", "application/json", "text/plain"):
            answer = client.get(target, [("Accept", kind)])
            assert answer.status in (403, 503), case
            assert answer.get("set-cookie") is None, case
            assert not _ACTS.search(answer.text.replace("\r\n", "")), case
            assert re.fullmatch(r"[ -~]*", answer.get("proxy-status")), case
            if kind == "text/html":
                assert "<script" not in answer.text and "lt;b" not in answer.text.replace(
                    "&amp;lt;b", ""), case
            else:
                json.loads(answer.body)
    n = 3 * len(ACTING)
    waiting.until(lambda: proxy.access.exists() and proxy.access.read_bytes().count(b"\n") >= n,
                  "all of the lines")
    said = proxy.access.read_text()
    assert said.count("\n") == n
    assert not _ACTS.search(said) and not _ACTS.search(proxy.stderr)
    if form == "json":
        assert all(json.loads(line)["status"] in (403, 503) for line in said.split("\n") if line)


@pytest.mark.threat("nobody-in")
@pytest.mark.parametrize("bytes_of_it", [b"aa\r\nSet-x", b"aa\x1b[31mevi", b"aa\nx:y evil"])
def test_text_of_a_client_hello_is_escaped(sluice, connect, host, bytes_of_it):
    proxy = sluice({"log": {"format": "text", "level": "debug"}})
    name = "aaDNSabank." + host
    wire = WireTls(proxy.trusting(), name)
    client = connect(proxy)
    assert client.connect(name, 443).status == 200
    client.send(wire.hello().replace(b"aaDNSabank", bytes_of_it[:10].ljust(10, b"x")))
    assert client.is_closed()
    assert proxy.stop() == 0
    said = proxy.access.read_text()
    assert said.count("\n") == 1 and not _ACTS.search(said) and not _ACTS.search(proxy.stderr)
