"""The check decides: what it allows arrives, what it denies is never heard of, and what it fails
to answer is denied."""
import base64
import json
import socket
import threading

import pytest

from harness import waiting
from harness.check_service import ALLOW, CheckService, deny
from harness.client import request
from harness.origin import Origin
from harness.process import Sluice

HTML = [("Accept", "text/html,*/*")]


def in_threads(*calls):
    """Runs the calls at once; their results in order."""
    results = [None] * len(calls)

    def run(i, call):
        results[i] = call()

    threads = [threading.Thread(target=run, args=(i, c)) for i, c in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def assert_unheard(host, dns, origin):
    assert not dns.heard_of(host)
    assert origin.n_connections == 0


# -- allowed and denied --------------------------------------------------------------------------


@pytest.mark.smoke
def test_allowed_arrives(sluice, check, origin, tunnel, host):
    proxy = sluice(check.config())
    answer = tunnel(proxy, host, origin.port).get("/a?b=1", [("X-Mine", "1")])
    assert answer.status == 200
    assert answer.text.splitlines()[0] == "GET /a?b=1 HTTP/1.1"
    assert "X-Mine: 1" in answer.text.splitlines()
    line = proxy.log(host=host)
    assert (line["verdict"], line["decided_by"]) == ("allow", "policy")
    assert line["check_us"] > 0
    assert proxy.metric("sluice_requests_total", verdict="allow", decided_by="policy") == 1
    assert proxy.metric("sluice_check_duration_seconds_count", check="policy") == 1


@pytest.mark.smoke
def test_the_question_says_everything(sluice, check, origin, tunnel, host):
    proxy = sluice(check.config())
    client = tunnel(proxy, host, origin.port)
    client.ask("GET", "/a%20b?b=1&c", [("Accept", "*/*"), ("Cookie", "a=1"), ("Cookie", "b=2"),
                                       ("X-Empty", "")])
    question = check.wait_questions(1)[0]
    assert question["_http"].start == "POST /check HTTP/1.1"
    assert question["_http"].get("content-type") == "application/json"
    assert question["version"] == 1 and question["phase"] == "request"
    assert question["id"] == proxy.log(host=host)["id"]
    me = client.sock.getsockname()
    assert question["client"] == {"ip": "127.0.0.1", "port": me[1], "user": None}
    assert question["connect"] == {"host": host, "port": origin.port}
    assert (question["tls"]["sni"], question["tls"]["version"]) == (host, "TLSv1.3")
    request = question["request"]
    assert {k: request[k] for k in request if k != "headers"} == {
        "method": "GET", "scheme": "https", "host": host, "port": origin.port, "path": "/a%20b",
        "query": "b=1&c", "target": "/a%20b?b=1&c", "http": "1.1"}
    mine = [h for h in request["headers"] if h[0] in ("accept", "cookie", "x-empty")]
    assert mine == [["accept", "*/*"], ["cookie", "a=1"], ["cookie", "b=2"], ["x-empty", ""]]
    assert "response" not in question


@pytest.mark.threat("checked-first")
@pytest.mark.smoke
def test_denied_is_never_heard_of(sluice, check, origin, dns, tunnel, host):
    check.answer = lambda q: deny(reason="not on the list")
    proxy = sluice(check.config())
    answer = tunnel(proxy, host, origin.port).get("/secret?token=1")
    assert answer.status == 403
    assert answer.get("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["title"]) == (403, "Forbidden")
    assert "not on the list" in problem["detail"]
    line = proxy.log(host=host)
    assert problem["instance"].endswith(line["id"])
    assert answer.get("proxy-status").startswith("sluice; error=http_request_denied")
    assert (line["verdict"], line["status"], line["target"]) == ("deny", 403, "/secret")
    assert line["reason"] == "not on the list"
    assert "token" not in proxy.access.read_text()
    assert_unheard(host, dns, origin)


def test_denied_plain_http_is_never_heard_of(sluice, check, plain_origin, dns, connect, host):
    check.answer = lambda q: deny()
    client = connect(sluice(check.config()))
    authority = f"{host}:{plain_origin.port}"
    assert client.ask("GET", f"http://{authority}/x", host=authority).status == 403
    assert_unheard(host, dns, plain_origin)


def test_denied_browser_gets_a_page(sluice, check, origin, dns, tunnel, host):
    check.answer = lambda q: deny(reason="<script>alert(1)</script>")
    proxy = sluice(check.config())
    answer = tunnel(proxy, host, origin.port).get("/x", [*HTML, ("Cookie", "secret-cookie"),
                                                         ("User-Agent", "agent-of-mine")])
    assert answer.status == 403
    assert answer.get("content-type").startswith("text/html")
    assert host in answer.text and proxy.log(host=host)["id"] in answer.text
    assert "<script>" not in answer.text and "&lt;script&gt;" in answer.text
    assert "secret-cookie" not in answer.text and "agent-of-mine" not in answer.text
    assert "default-src 'none'" in answer.get("content-security-policy")
    assert_unheard(host, dns, origin)


def test_denied_grpc_gets_a_grpc_status(sluice, check, origin, tunnel, host):
    check.answer = lambda q: deny(reason="50% no")
    client = tunnel(sluice(check.config()), host, origin.port)
    answer = client.ask("POST", "/a.B/C", [("Content-Type", "application/grpc")], b"\0\0\0\0\0")
    assert (answer.status, answer.get("grpc-status")) == (200, "7")
    assert answer.get("grpc-message") == "50%25 no"
    assert answer.body == b""


def test_the_verdict_shapes_the_denial(sluice, check, origin, tunnel, host):
    check.answer = lambda q: deny(status=451, reason="law", headers={"x-policy": "7"},
                                  body="<h1>no</h1>")
    answer = tunnel(sluice(check.config()), host, origin.port).get("/")
    assert (answer.status, answer.get("x-policy"), answer.body) == (451, "7", b"<h1>no</h1>")
    assert answer.get("content-type").startswith("text/html")


@pytest.mark.smoke
def test_a_denial_keeps_the_connection(sluice, check, origin, tunnel, host):
    check.answer = lambda q: ALLOW if q["request"]["path"] == "/yes" else deny()
    client = tunnel(sluice(check.config()), host, origin.port)
    statuses = [client.get(p).status for p in ("/no", "/yes", "/no", "/yes")]
    assert statuses == [403, 200, 403, 200]
    assert origin.n_connections == 1


def test_a_denied_body_is_not_sent_on(sluice, check, origin, dns, tunnel, host):
    check.answer = lambda q: deny()
    client = tunnel(sluice(check.config()), host, origin.port)
    assert [client.ask("POST", "/up", body=b"x" * 10000).status for _ in range(3)] == [403] * 3
    assert_unheard(host, dns, origin)


def test_a_denial_that_ends_the_connection_says_so(sluice, check, origin, tunnel, host):
    check.answer = lambda q: deny()
    client = tunnel(sluice(check.config()), host, origin.port)
    client.send(request("POST", "/up", client.authority, [("Content-Length", "10000000")], b"x"))
    answer = client.read()
    assert (answer.status, answer.get("connection")) == (403, "close")
    assert client.is_closed()


def test_each_request_of_a_connection_is_asked(sluice, check, origin, tunnel, host):
    client = tunnel(sluice(check.config()), host, origin.port)
    for i in range(5):
        client.get(f"/{i}")
    assert [q["request"]["path"] for q in check.questions] == [f"/{i}" for i in range(5)]


@pytest.mark.threat("checked-first")
def test_nothing_is_sent_while_the_check_is_out(sluice, check, origin, dns, tunnel, host):
    check.answer = lambda q: check.stall()
    proxy = sluice(check.config(timeout="30s"))
    client = tunnel(proxy, host, origin.port)
    client.send(f"GET / HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
    check.wait_questions(1)
    assert_unheard(host, dns, origin)
    check.release()
    assert client.read().status == 200


def test_a_connection_that_dies_while_the_check_is_out_is_replaced(sluice, check, servers, pki,
                                                                   tunnel, host):
    def serve(connection):
        if impatient.n_connections == 1:
            return
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    impatient = servers(Origin(serve=serve, tls=pki.server_context()))
    check.answer = lambda q: check.stall()
    proxy = sluice({**check.config(timeout="30s"), "upstream": {"preconnect": True}})
    client = tunnel(proxy, host, impatient.port)
    client.send(f"GET / HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
    check.wait_questions(1)
    impatient.wait(lambda: impatient.n_connections == 1, "a connection before the verdict")
    check.release()
    assert client.read().status == 200


def test_preconnect_connects_early_and_writes_nothing(sluice, check, origin, tunnel, host):
    check.answer = lambda q: check.stall(deny())
    proxy = sluice({**check.config(timeout="30s"), "upstream": {"preconnect": True}})
    client = tunnel(proxy, host, origin.port)
    client.send(f"GET / HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
    check.wait_questions(1)
    origin.wait(lambda: len(origin.connections) == 1, "a connection before the verdict")
    check.release()
    assert client.read().status == 403
    assert origin.requests == []


@pytest.mark.parametrize("do", [["check one", "check two"], ["check one", "two"], "check one two"])
def test_several_checks_must_all_allow(sluice, servers, origin, dns, tunnel, host, do):
    first, second = servers(CheckService()), servers(CheckService(lambda q: deny(reason="2nd")))
    checks = [{"name": "one", "url": first.url}, {"name": "two", "url": second.url}]
    proxy = sluice({"checks": checks, "rules": [{"when": "any", "do": do}]})
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 403 and "2nd" in answer.text
    assert proxy.log(host=host)["decided_by"] == "two"
    assert len(first.questions) == len(second.questions) == 1
    assert_unheard(host, dns, origin)


def test_a_check_sees_what_those_before_it_have_changed(sluice, servers, origin, tunnel, host):
    edit = {"set": {"x-user": "alice"}, "remove": ["x-admin"]}
    first = servers(CheckService(lambda q: {**ALLOW, "request": edit, "cache": {"ttl": 600}}))
    second = servers(CheckService())
    checks = [{"name": "one", "url": first.url}, {"name": "two", "url": second.url}]
    proxy = sluice({"checks": checks, "rules": [{"when": "any", "do": ["check one two"]}]})
    client = tunnel(proxy, host, origin.port)
    for _ in range(2):  # asked, then from the cache
        assert client.get("/", [("X-User", "root"), ("X-Admin", "1"), ("X-A", "1")]).status == 200
    assert (len(first.questions), len(second.questions)) == (1, 2)
    for question in second.questions:
        fields = [f for f in question["request"]["headers"] if f[0].startswith("x-")]
        assert fields == [["x-a", "1"], ["x-user", "alice"]]
    assert origin.requests[-1].get("x-user") == "alice"
    assert origin.requests[-1].get("x-admin") is None


def test_check_of_the_command_line(sluice, check, origin, tunnel, host):
    check.answer = lambda q: deny()
    proxy = sluice({}, "--check", check.url)
    assert tunnel(proxy, host, origin.port).get("/").status == 403
    assert proxy.log(host=host)["decided_by"] == "cli"


# -- sharing answers -----------------------------------------------------------------------------


@pytest.mark.smoke
def test_identical_questions_in_flight_are_asked_once(sluice, check, origin, tunnel, host):
    check.answer = lambda q: check.stall()
    proxy = sluice(check.config(timeout="30s"))
    clients = [tunnel(proxy, host, origin.port) for _ in range(8)]
    for client in clients:
        client.send(f"GET /same HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
    waiting.until(lambda: proxy.metric("sluice_exchanges", state="ask") == 8,
                  "eight exchanges that wait for the check")
    check.release()
    assert [c.read().status for c in clients] == [200] * 8
    assert len(check.questions) == 1


def test_different_questions_in_flight_are_asked_each(sluice, check, origin, tunnel, host):
    proxy = sluice(check.config())
    clients = [tunnel(proxy, host, origin.port) for _ in range(4)]
    calls = [lambda c=c, i=i: c.get("/", [("X-I", str(i))]).status for i, c in enumerate(clients)]
    assert in_threads(*calls) == [200] * 4
    assert len(check.questions) == 4


def test_a_verdict_is_kept_for_its_ttl_and_vary(sluice, check, origin, tunnel, host):
    check.answer = lambda q: {**ALLOW, "cache": {"ttl": 600, "vary": ["host", "method"]}}
    proxy = sluice(check.config())
    client = tunnel(proxy, host, origin.port)
    for path in ("/1", "/2", "/3"):
        assert client.get(path).status == 200
    assert len(check.questions) == 1
    assert proxy.log(host=host, target="/1")["cache"] == "miss"
    assert proxy.log(host=host, target="/3")["cache"] == "hit"
    assert client.ask("DELETE", "/1").status == 200
    assert len(check.questions) == 2


def test_vary_by_header(sluice, check, origin, tunnel, host):
    check.answer = lambda q: {**ALLOW, "cache": {"ttl": 600, "vary": ["host", "header:X-Role"]}}
    client = tunnel(sluice(check.config()), host, origin.port)
    for role in ("a", "b", "a", "b"):
        assert client.get("/", [("X-Role", role)]).status == 200
    assert len(check.questions) == 2


def test_a_denial_is_kept_too(sluice, check, origin, dns, tunnel, host):
    check.answer = lambda q: deny(cache={"ttl": 600, "vary": ["host"]}, reason="kept")
    client = tunnel(sluice(check.config()), host, origin.port)
    answers = [client.get(f"/{i}") for i in range(3)]
    assert [a.status for a in answers] == [403] * 3 and "kept" in answers[2].text
    assert len(check.questions) == 1
    assert_unheard(host, dns, origin)


def test_vary_by_the_host_field(sluice, check, plain_origin, connect, host):
    """It is no field of the question: the key is made of what will be written there."""
    check.answer = lambda q: {**(deny() if q["request"]["host"] != host else ALLOW),
                              "cache": {"ttl": 600, "vary": ["header:host"]}}
    client = connect(sluice(check.config()))
    for name, status in ((host, 200), ("other." + host, 403), (host, 200)):
        client.send(request("GET", f"http://{name}:{plain_origin.port}/", f"{name}:{plain_origin.port}"))
        assert client.read().status == status
    assert len(check.questions) == 2


def test_without_vary_everything_counts(sluice, check, origin, tunnel, host):
    check.answer = lambda q: {**ALLOW, "cache": {"ttl": 600}}
    client = tunnel(sluice(check.config()), host, origin.port)
    for target in ("/1", "/2", "/1"):
        client.get(target)
    assert len(check.questions) == 2


def test_without_ttl_nothing_is_kept(sluice, check, origin, tunnel, host):
    client = tunnel(sluice(check.config()), host, origin.port)
    for _ in range(3):
        client.get("/")
    assert len(check.questions) == 3


def test_connections_to_the_check_are_kept(sluice, check, origin, tunnel, host):
    client = tunnel(sluice({**check.config(), "workers": 1}), host, origin.port)
    for i in range(10):
        client.get(f"/{i}")
    assert len(check.questions) == 10 and check.n_connections == 1


def test_a_kept_check_connection_that_died_is_replaced(sluice, check, origin, tunnel, host):
    client = tunnel(sluice(check.config(timeout="5s")), host, origin.port)
    assert client.get("/1").status == 200
    check.connections[0].close()
    assert client.get("/2").status == 200


# -- changes and bytes ---------------------------------------------------------------------------


def test_header_changes_arrive(sluice, check, origin, tunnel, host):
    check.answer = lambda q: {**ALLOW, "request": {"set": {"x-user": "a", "x-role": "new"},
                                                   "remove": ["cookie"]},
                              "response": {"set": {"x-seen": "1"}}}
    client = tunnel(sluice(check.config()), host, origin.port)
    answer = client.get("/", [("X-Role", "forged"), ("Cookie", "a=1"), ("Cookie", "b=2")])
    assert answer.get("x-seen") == "1"
    seen = origin.requests[0]
    assert (seen.all("x-user"), seen.all("x-role"), seen.all("cookie")) == (["a"], ["new"], [])


def raw_get(client, *lines):
    head = [b"GET / HTTP/1.1", b"Host: " + client.authority.encode(), *lines, b"", b""]
    client.send(b"\r\n".join(head))
    return client.read()


@pytest.mark.threat("invalid-utf8", "check-skipped")
@pytest.mark.parametrize("verdict", ["allow", "deny"])
def test_bytes_that_are_not_utf8_are_asked_as_base64(sluice, check, origin, tunnel, host, verdict):
    check.answer = lambda q: {"action": verdict}
    client = tunnel(sluice(check.config()), host, origin.port)
    answer = raw_get(client, b"X-Bytes: a\xff\xfe", b"X-Utf8: \xc3\xa9")
    headers = check.wait_questions(1)[0]["request"]["headers"]
    assert ["x-bytes", {"base64": base64.b64encode(b"a\xff\xfe").decode()}] in headers
    assert ["x-utf8", "\u00e9"] in headers
    assert answer.status == (200 if verdict == "allow" else 403)
    if verdict == "allow":
        assert b"X-Bytes: a\xff\xfe\r\n" in origin.requests[0].raw_head


@pytest.mark.threat("multi-value-header")
def test_duplicates_and_order_are_kept(sluice, check, origin, tunnel, host):
    client = tunnel(sluice(check.config()), host, origin.port)
    given = [("X-B", "1"), ("X-A", "2"), ("X-B", "3"), ("x-b", "4")]
    client.get("/", given)
    asked = [tuple(h) for h in check.questions[0]["request"]["headers"] if h[0] in ("x-a", "x-b")]
    assert asked == [(n.lower(), v) for n, v in given]
    assert [h for h in origin.requests[0].headers if h[0].lower() in ("x-a", "x-b")] == given


@pytest.mark.threat("path-read-twice", "checked-first")
@pytest.mark.parametrize("target", ["//a//b/../c/./d", "/%2e%2e/%2F", "/a?x=https://other.test/",
                                    "/a?", "/;x=1,2", "/*", "/a//?q"])
def test_what_is_asked_is_what_is_sent(sluice_shared, tunnel, host, target):
    proxy, check, origin = sluice_shared
    n = len(origin.requests)
    assert tunnel(proxy, host, origin.port).get(target).status == 200
    assert check.questions[-1]["request"]["target"] == target
    assert origin.wait_requests(n + 1)[-1].target == target


@pytest.fixture(scope="module")
def sluice_shared(binary, tmp_path_factory, surroundings, pki):
    """An allowing check and an origin that several cases use."""
    check, origin = CheckService(), Origin(tls=pki.server_context())
    config = {**surroundings, **check.config()}
    proxy = Sluice(binary, tmp_path_factory.mktemp("sluice"), config).wait_ready()
    yield proxy, check, origin
    proxy.finish()
    check.close()
    origin.close()


# -- ways to a check -----------------------------------------------------------------------------


def test_check_over_a_unix_socket(sluice, servers, origin, tunnel, host, tmp_path):
    check = servers(CheckService(path=tmp_path / "check.sock"))
    assert tunnel(sluice(check.config()), host, origin.port).get("/").status == 200
    assert check.questions[0]["_http"].start == "POST /check HTTP/1.1"


def test_check_over_https(sluice, servers, pki, origin, tunnel, host):
    check = servers(CheckService(tls=pki.server_context()))
    assert tunnel(sluice(check.config(timeout="5s")), host, origin.port).get("/").status == 200
    assert len(check.questions) == 1


def test_an_https_check_with_a_bad_certificate_denies(sluice, servers, pki, origin, tunnel, host):
    context = pki.server_context(pki.faulty["wrong-host.test"])
    check = servers(CheckService(tls=context))
    proxy = sluice(check.config(timeout="5s"))
    assert tunnel(proxy, host, origin.port).get("/").status == 503
    assert check.questions == []


# -- what cannot be opened -----------------------------------------------------------------------


@pytest.fixture
def banner(servers):
    """An origin that speaks something else than HTTP: it echoes bytes."""
    def serve(connection):
        while data := connection.reader.some():
            connection.send(data.upper())

    return servers(Origin(serve=serve))


def test_opaque_bytes_are_asked_in_phase_connect(sluice, check, banner, connect, host):
    proxy = sluice(check.config(phase=["connect", "request"]))
    client = connect(proxy)
    assert client.connect(host, banner.port).status == 200
    client.send(b"\x00\x01opaque")
    assert client.reader.exactly(8) == b"\x00\x01OPAQUE"
    client.sock.shutdown(socket.SHUT_WR)
    assert client.is_closed()
    question = check.wait_questions(1)[0]
    assert question["phase"] == "connect"
    assert question["connect"] == {"host": host, "port": banner.port}
    assert "request" not in question
    line = proxy.log(host=host)
    assert (line["opaque"], line["verdict"]) == (True, "allow")
    assert (line["bytes_in"], line["bytes_out"]) == (8, 8)


def test_opaque_bytes_are_asked_even_of_a_request_check(sluice, check, banner, connect, host):
    client = connect(sluice(check.config()))
    assert client.connect(host, banner.port).status == 200
    client.send(b"\x00\x01opaque")
    assert client.reader.exactly(8) == b"\x00\x01OPAQUE"
    assert [q["phase"] for q in check.questions] == ["connect"]


@pytest.mark.threat("checked-first")
def test_denied_opaque_bytes_go_nowhere(sluice, check, banner, dns, connect, host):
    check.answer = lambda q: deny()
    proxy = sluice(check.config())
    client = connect(proxy)
    assert client.connect(host, banner.port).status == 200
    client.send(b"\x00\x01opaque")
    assert client.is_closed()
    assert_unheard(host, dns, banner)
    assert proxy.log(host=host)["verdict"] == "deny"


def test_phase_connect_denies_before_the_request(sluice, check, origin, dns, tunnel, host):
    check.answer = lambda q: deny(reason="by name")
    proxy = sluice(check.config(phase=["connect"]))
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 403 and "by name" in answer.text
    assert [q["phase"] for q in check.questions] == ["connect"]
    assert_unheard(host, dns, origin)


def test_both_phases_are_asked_in_turn(sluice, check, origin, tunnel, host):
    client = tunnel(sluice(check.config(phase=["connect", "request"])), host, origin.port)
    assert [client.get("/1").status, client.get("/2").status] == [200, 200]
    assert [q["phase"] for q in check.questions] == ["connect", "request", "request"]
    assert "request" not in check.questions[0]


# -- the shape of a denial -----------------------------------------------------------------------


@pytest.mark.parametrize("status, headers", [
    (302, {"location": "https://login.site.test/"}),
    (401, {"www-authenticate": "Basic realm=\"x\""}),
    (429, {"retry-after": "7"}),
    (200, {"content-type": "text/css", "set-cookie": ["a=1", "b=2"]}),
    (599, {}),
])
def test_a_denial_of_any_status(sluice, check, origin, tunnel, host, status, headers):
    check.answer = lambda q: deny(status=status, headers=headers, body="body")
    client = tunnel(sluice(check.config()), host, origin.port)
    for _ in range(2):
        answer = client.get("/")
        assert (answer.status, answer.body) == (status, b"body")
        for name, value in headers.items():
            assert answer.all(name) == (value if isinstance(value, list) else [value])
    assert origin.requests == []


@pytest.mark.parametrize("status", [204, 304])
def test_a_denial_without_content(sluice, check, origin, tunnel, host, status):
    check.answer = lambda q: deny(status=status, body="not to be sent")
    client = tunnel(sluice(check.config()), host, origin.port)
    assert [client.get("/").status for _ in range(3)] == [status] * 3


@pytest.mark.threat("says-why")
@pytest.mark.parametrize("reason", ["line\r\nSet-Cookie: evil=1", "d\u00e9fendu \u2603",
                                    "\x00\x1b[2J", "x" * 5000, '"quoted" \\ <b>'])
def test_odd_reasons_break_nothing(sluice, check, origin, tunnel, host, reason):
    check.answer = lambda q: deny(reason=reason)
    proxy = sluice(check.config())
    client = tunnel(proxy, host, origin.port)
    for accept in ("text/html", "application/json"):
        answer = client.get("/", [("Accept", accept)])
        assert answer.status in (403, 503)
        assert answer.get("set-cookie") is None and answer.get("content-type") is not None
        assert "<b>" not in answer.text or accept != "text/html"
        assert all(0x20 <= b < 0x7f for b in answer.get("proxy-status").encode("latin-1"))
    assert proxy.log(host=host)["verdict"] == "deny"


def test_odd_reasons_stay_on_one_line_of_the_text_log(sluice, check, origin, tunnel, host):
    check.answer = lambda q: deny(reason="one\ntwo\x1b[31m")
    proxy = sluice({**check.config(), "log": {"format": "text"}})
    tunnel(proxy, host, origin.port).get("/")
    waiting.until(lambda: proxy.access.exists() and proxy.access.read_text(), "a line")
    text = proxy.access.read_text()
    assert text.count("\n") == 1 and "\x1b" not in text
