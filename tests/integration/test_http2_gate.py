"""Every stream is asked about, once, before anything of it is heard of anywhere."""
import json
import threading

import pytest

from harness import h2frames, waiting
from harness.check_service import ALLOW, CheckService, deny
from harness.h2frames import Code
from harness.h2scripts import after, grpc_echo, grpc_message

pytest_plugins = ["harness.h2fixtures"]
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def by_path(question):
    """Denies what begins with /no."""
    no = question["request"]["path"].startswith("/no")
    return deny(reason="not on the list") if no else ALLOW


def paths(check):
    return sorted(q["request"]["path"] for q in check.questions)


# -- asked ---------------------------------------------------------------------------------------


@pytest.mark.threat("forged-inside", "checked-first")
@pytest.mark.smoke
def test_each_stream_is_asked_exactly_once(sluice, check, origin_of, h2, host):
    proxy = sluice(check.config(timeout="30s"))
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    targets = [f"/{i:02}" for i in range(60)]
    numbers = [client.request("GET", t) for t in targets]
    assert [client.response(n).status for n in numbers] == [200] * 60
    assert paths(check) == targets
    assert sorted(r.target for r in origin.requests) == targets
    waiting.until(lambda: len(proxy.log_lines()) >= 60, "60 lines of the access log")
    lines = proxy.log_lines()
    assert sorted(line["target"] for line in lines) == targets
    assert {line["http"] for line in lines} == {"2"}
    assert len({line["id"] for line in lines}) == 60
    assert proxy.metric("sluice_requests_total", verdict="allow", decided_by="policy") == 60


def test_the_question_says_what_it_is(sluice, check, origin_of, h2, host):
    proxy = sluice(check.config())
    origin = origin_of()
    client = h2(proxy, host, origin.port, offered=["h2"])
    client.get("/a%20b?b=1&c", [("accept", "*/*"), ("x-empty", ""), ("cookie", "a=1")])
    question = check.wait_questions(1)[0]
    assert question["id"] == proxy.log(host=host)["id"]
    assert question["connect"] == {"host": host, "port": origin.port}
    assert question["tls"] == {"sni": host, "alpn": "h2", "version": "TLSv1.3"}
    asked = question["request"]
    assert {k: asked[k] for k in asked if k != "headers"} == {
        "method": "GET", "scheme": "https", "host": host, "port": origin.port, "path": "/a%20b",
        "query": "b=1&c", "target": "/a%20b?b=1&c", "http": "2"}
    assert not any(name.startswith(":") or name == "host" for name, _ in asked["headers"])
    mine = [h for h in asked["headers"] if h[0] in ("accept", "cookie", "x-empty")]
    assert sorted(mine) == [["accept", "*/*"], ["cookie", "a=1"], ["x-empty", ""]]


def test_a_client_that_offers_both_speaks_h2_in_the_question(sluice, check, origin_of, h2, host):
    h2(sluice(check.config()), host, origin_of().port).get("/")
    question = check.wait_questions(1)[0]
    assert question["tls"]["alpn"] == "h2" and question["request"]["http"] == "2"


@pytest.mark.threat("path-read-twice")
def test_what_is_asked_is_what_is_sent(sluice, check, origin_of, h2, host):
    origin = origin_of()
    client = h2(sluice(check.config()), host, origin.port)
    client.get("/x", [("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("cookie", "a=1"),
                      ("cookie", "b=2")])
    asked = check.questions[0]["request"]["headers"]
    sent = [[n.lower(), v] for n, v in origin.requests[0].headers]
    assert [h for h in asked if h[0].startswith("x-")] == [h for h in sent if h[0][:2] == "x-"]
    crumbs = "; ".join(v for n, v in asked if n == "cookie")
    assert crumbs == "; ".join(v for n, v in sent if n == "cookie") == "a=1; b=2"


def test_changes_of_the_check_arrive(sluice, check, origin_of, h2, host):
    check.answer = lambda q: {**ALLOW, "request": {"set": {"X-User": "a", "x-role": "new"},
                                                   "remove": ["cookie"]},
                              "response": {"set": {"X-Seen": "1"}}}
    origin = origin_of()
    client = h2(sluice(check.config()), host, origin.port)
    answer = client.get("/", [("x-role", "forged"), ("cookie", "a=1"), ("cookie", "b=2")])
    assert answer.get("x-seen") == "1"
    seen = origin.requests[0]
    assert (seen.all("x-user"), seen.all("x-role"), seen.all("cookie")) == (["a"], ["new"], [])


def test_outer_blanks_are_no_part_of_a_value(sluice, check, origin_of, h2, host):
    """RFC 9113, 8.2.1: what has them is malformed, for strict peers a reason to end it all."""
    check.answer = lambda q: {**ALLOW, "request": {"set": {"x-user": "Smith ", "x-none": " \t "}},
                              "response": {"set": {"x-seen": ["\t1", " 2 3 "]}}}
    origin = origin_of()
    answer = h2(sluice(check.config()), host, origin.port).get("/")
    assert (answer.status, answer.all("x-seen")) == (200, ["1", "2 3"])
    seen = origin.requests[0]
    assert (seen.all("x-user"), seen.all("x-none")) == (["Smith"], [""])


@pytest.mark.parametrize("more", [[], GRPC], ids=["page", "grpc"])
def test_outer_blanks_are_no_part_of_a_denials_values(sluice, check, origin, h2, host, more):
    check.answer = lambda q: deny(headers={"x-why": " because\t"}, reason=" so ")
    answer = h2(sluice(check.config()), host, origin.port).get("/", more)
    assert answer.get("x-why") == "because"
    assert [v for _, v in answer.headers if v != v.strip()] == []


def test_identical_questions_in_flight_are_asked_once(sluice, check, origin_of, h2, host):
    check.answer = lambda q: check.stall()
    proxy = sluice({**check.config(timeout="30s"), "workers": 1})
    client = h2(proxy, host, origin_of().port)
    numbers = [client.request("GET", "/same") for _ in range(8)]
    client.wait_ping()
    check.release()
    assert [client.response(n).status for n in numbers] == [200] * 8
    assert len(check.questions) == 1


# -- denied --------------------------------------------------------------------------------------


@pytest.mark.threat("checked-first")
def test_a_denied_stream_is_never_heard_of(sluice, check, origin_of, dns, h2, host):
    check.answer = lambda q: deny(reason="not on the list")
    proxy = sluice(check.config())
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    answer = client.get("/secret?token=1")
    assert answer.status == 403
    assert answer.get("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["title"]) == (403, "Forbidden")
    assert "not on the list" in problem["detail"]
    line = proxy.log(host=host)
    assert problem["instance"].endswith(line["id"])
    assert answer.get("proxy-status").startswith("sluice; error=http_request_denied")
    assert (line["verdict"], line["status"], line["http"]) == ("deny", 403, "2")
    assert "token" not in proxy.access.read_text()
    assert not dns.heard_of(host) and origin.n_connections == 0


def test_a_denied_browser_gets_a_page(sluice, check, origin_of, dns, h2, host):
    check.answer = lambda q: deny(reason="<script>alert(1)</script>")
    origin = origin_of()
    answer = h2(sluice(check.config()), host, origin.port).get(
        "/", [("accept", "text/html,*/*"), ("cookie", "secret-cookie")])
    assert answer.status == 403 and answer.get("content-type").startswith("text/html")
    assert "<script>" not in answer.text and host in answer.text
    assert "secret-cookie" not in answer.text
    assert not dns.heard_of(host) and origin.n_connections == 0


def test_a_denied_grpc_call_has_its_status_in_trailers_only(sluice, check, h2_origin, dns, h2,
                                                            host):
    check.answer = lambda q: deny(reason="50% no")
    origin = h2_origin(scripts={"/a.B/C": grpc_echo})
    client = h2(sluice(check.config()), host, origin.port)
    stream = client.ask("POST", "/a.B/C", GRPC, grpc_message(b"x"))
    assert (stream.status, stream.get("grpc-status")) == (200, "7")
    assert stream.get("grpc-message") == "50%25 no"
    assert stream.get("content-type").startswith("application/grpc")
    assert (bytes(stream.body), stream.trailers) == (b"", [])
    assert not dns.heard_of(host) and origin.n_connections == 0


@pytest.mark.smoke
def test_a_denied_stream_leaves_the_others(sluice, check, origin_of, h2, host):
    check.answer = by_path
    proxy = sluice(check.config(timeout="30s"))
    go = threading.Event()
    origin = origin_of(scripts={"/slow": after(go)})
    client = h2(proxy, host, origin.port)
    slow = client.request("GET", "/slow")
    origin.wait_asked("/slow")
    numbers = [client.request("GET", f"/{'no' if i % 2 else 'yes'}/{i}") for i in range(40)]
    statuses = [client.response(n).status for n in numbers]
    assert statuses == [200, 403] * 20
    go.set()
    assert client.response(slow).status == 200
    assert not any(r.target.startswith("/no") for r in origin.requests)
    assert len(check.questions) == 41 and not client.goaways


def test_a_denied_upload_ends_without_its_body(sluice, check, origin_of, dns, h2, host):
    """The client is told not to go on; what it sends all the same does not end the connection."""
    check.answer = by_path
    origin = origin_of()
    client = h2(sluice(check.config()), host, origin.port)
    for i in range(5):
        number = client.request("POST", "/no", [("content-length", "1000000")], end=False)
        client.body(number, b"x" * 10_000, end=False)
        assert client.wait_headers(number).status == 403
        client.response(number)
        client.send(h2frames.data(number, b"x" * 1000))
    assert client.streams[number].reset in (None, Code.NO_ERROR)
    assert not dns.heard_of(host) and origin.n_connections == 0
    client.wait_ping()
    assert not client.goaways and client.get("/yes").status == 200


def test_denied_bodies_give_their_window_back(sluice, check, origin_of, h2, host):
    """4 MiB of uploads that nobody reads do not shut the connection's window."""
    check.answer = by_path
    client = h2(sluice(check.config()), host, origin_of().port)
    for _ in range(70):
        assert client.ask("POST", "/no", body=b"x" * 60_000).status == 403
    assert client.ask("POST", "/yes", body=b"x" * 60_000).status == 200


@pytest.mark.parametrize("status, headers", [
    (302, {"location": "https://login.site.test/"}), (401, {"www-authenticate": "Basic"}),
    (200, {"set-cookie": ["a=1", "b=2"]}), (599, {}), (204, {}), (304, {})])
def test_a_denial_of_any_shape(sluice, check, origin_of, h2, host, status, headers):
    check.answer = lambda q: deny(status=status, headers=headers, body="body")
    client = h2(sluice(check.config()), host, origin_of().port)
    for _ in range(2):
        answer = client.get("/")
        assert answer.status == status
        assert bytes(answer.body) == (b"" if status in (204, 304) else b"body")
        for name, value in headers.items():
            assert answer.all(name) == (value if isinstance(value, list) else [value])


def test_a_rule_denies_streams(sluice, origin_of, h2, host):
    rules = [{"when": "method POST", "do": "deny", "status": 405},
             {"when": "header x-bad *", "do": "deny"}, {"when": "size > 10", "do": "deny"}]
    client = h2(sluice({"rules": rules}), host, origin_of().port)
    assert client.ask("POST", "/").status == 405
    assert client.get("/", [("x-bad", "1")]).status == 403
    assert client.ask("PUT", "/", [("content-length", "11")], b"x" * 11).status == 403
    assert client.ask("PUT", "/", [("content-length", "2")], b"xx").status == 200


def test_a_rule_by_alpn(sluice, origin_of, h2, tunnel, host):
    proxy = sluice({"rules": [{"when": "alpn h2", "do": "deny"}]})
    port = origin_of().port
    assert h2(proxy, host, port).get("/").status == 403
    assert tunnel(proxy, host, port).get("/").status == 200


@pytest.mark.parametrize("when, explained", [("alpn http/1.1", "deny"), ("alpn x-bad", "allow")])
def test_a_rule_by_alpn_goes_by_what_is_offered(sluice, cli, origin, h2, host, when, explained):
    """At the ClientHello, at the request, and in `explain`, which offers what browsers do."""
    proxy = sluice({"rules": [{"when": when, "do": "deny"}]})
    client = h2(proxy, host, origin.port, offered=("h2", "http/1.1", "x-bad"))
    assert client.get("/").status == 403
    assert f"verdict: {explained}" in cli("explain", f"https://{host}/", "-c", proxy.file).stdout


def test_a_rule_by_alpn_asks_its_check(sluice, check, origin, h2, host):
    check.answer = lambda q: deny()
    proxy = sluice({**check.config(), "rules": [{"when": "alpn http/1.1", "do": ["check policy"]}]})
    assert h2(proxy, host, origin.port).get("/").status == 403
    assert check.questions[0]["tls"]["alpn"] == "h2"


# -- waiting, failing ----------------------------------------------------------------------------


def test_nothing_is_sent_while_the_check_is_out(sluice, check, origin_of, dns, h2, host):
    check.answer = lambda q: check.stall()
    origin = origin_of()
    client = h2(sluice(check.config(timeout="30s")), host, origin.port)
    numbers = [client.request("POST", f"/{i}", end=False) for i in range(5)]
    for number in numbers:
        client.body(number, b"x" * 1000)
    check.wait_questions(5)
    client.wait_ping()
    assert not dns.heard_of(host) and origin.n_connections == 0
    check.release()
    assert [client.response(n).status for n in numbers] == [200] * 5


def test_a_stalled_check_holds_up_its_own_stream_only(sluice, check, origin_of, h2, host):
    check.answer = lambda q: check.stall() if q["request"]["path"] == "/stall" else ALLOW
    origin = origin_of()
    client = h2(sluice(check.config(timeout="30s")), host, origin.port)
    stalled = client.request("GET", "/stall")
    check.wait_questions(1)
    assert [client.get(f"/{i}").status for i in range(20)] == [200] * 20
    assert origin.asked("/stall") == []
    check.release()
    assert client.response(stalled).status == 200


@pytest.mark.parametrize("what", ["die", "reset", "garbage", "timeout", "gone"])
def test_a_check_that_fails_is_503_in_the_stream(sluice, servers, origin_of, dns, h2, host, what):
    check = servers(CheckService())
    config = check.config(timeout="300ms")
    check.answer = {"die": lambda q: check.die, "reset": lambda q: check.reset,
                    "garbage": lambda q: b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
                    "timeout": lambda q: check.stall(), "gone": None}[what]
    if what == "gone":
        check.close()
    origin = origin_of()
    client = h2(sluice(config), host, origin.port)
    numbers = [client.request("GET", f"/{i}") for i in range(5)]
    answers = [client.response(n) for n in numbers]
    assert [(a.status, a.get("retry-after")) for a in answers] == [(503, "1")] * 5
    assert not client.goaways
    assert not dns.heard_of(host) and origin.n_connections == 0


@pytest.mark.threat("callback-after-reset")
def test_a_stream_that_is_cancelled_while_asked_is_not_sent(sluice, check, origin_of, dns, h2,
                                                            host):
    check.answer = lambda q: check.stall() if q["request"]["path"] == "/x" else ALLOW
    proxy = sluice(check.config(timeout="30s"))
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    number = client.request("GET", "/x")
    check.wait_questions(1)
    client.send(h2frames.rst_stream(number))
    assert proxy.log(host=host, target="/x")["error"] == "cancelled"
    check.release()
    assert not dns.heard_of(host)
    assert client.get("/y").status == 200
    assert [r.target for r in origin.requests] == ["/y"]


# -- one name ------------------------------------------------------------------------------------


@pytest.mark.threat("domain-fronting", "coalesced-connections", "one-name")
@pytest.mark.parametrize("authority", ["evil-{host}:{port}", "{host}:1", "127.0.0.1:{port}",
                                       "evil.{host}:{port}"])
def test_another_authority_is_421_on_its_stream(sluice, check, origin_of, dns, h2, host, authority):
    proxy = sluice(check.config())
    go = threading.Event()
    origin = origin_of(scripts={"/slow": after(go)})
    client = h2(proxy, host, origin.port)
    slow = client.request("GET", "/slow")
    origin.wait_asked("/slow")
    name = authority.format(host=host, port=origin.port)
    stream = client.get("/by-authority", authority=name)
    assert stream.status == 421
    assert "error=http_request_error" in stream.get("proxy-status")
    assert proxy.log(error="misdirected")["verdict"] == "deny"
    go.set()
    assert client.response(slow).status == 200 and client.get("/ok").status == 200
    assert origin.asked("/by-authority") == [] and not dns.heard_of(f"evil-{host}")
    assert "/by-authority" not in paths(check)


@pytest.mark.parametrize("authority", ["{host}:{port}", "UP{host}:{port}", "{host}.:{port}"])
def test_spellings_of_one_name_are_one_name(proxy, origin_of, h2, host, authority):
    origin = origin_of()
    name = f"up{host}" if authority.startswith("UP") else host
    client = h2(proxy, name, origin.port)
    spelled = authority.format(host=host.upper(), port=origin.port)
    assert client.get("/", authority=spelled).status == 200
    assert origin.requests[0].authority == f"{name}:{origin.port}"


@pytest.mark.threat("domain-fronting")
def test_host_beside_authority_has_to_be_the_same(proxy, origin_of, dns, h2, host):
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    assert client.get("/same", [("host", client.authority)]).status == 200
    other = client.get("/other", [("host", f"evil-{host}:{origin.port}")])
    assert other.reset == Code.PROTOCOL_ERROR or other.status in (400, 421)
    assert [r.target for r in origin.requests] == ["/same"]
    assert origin.requests[0].authority == client.authority
    assert client.get("/ok").status == 200


def test_host_in_place_of_authority(proxy, origin_of, h2, host):
    """RFC 9113, 8.3.1: as a gateway from HTTP/1 may send it."""
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    fields = [(":method", "GET"), (":scheme", "https"), (":path", "/h"),
              ("host", client.authority)]
    stream = client.response(client.request_fields(fields))
    assert stream.status in (200, 400) or stream.reset == Code.PROTOCOL_ERROR
    if stream.status == 200:
        assert origin.requests[0].authority == client.authority
    evil = [*fields[:3], ("host", f"evil-{host}:{origin.port}")]
    stream = client.response(client.request_fields(evil))
    assert stream.status in (400, 421) or stream.reset == Code.PROTOCOL_ERROR
    assert len(origin.requests) <= 1


@pytest.mark.threat("domain-fronting")
def test_sni_other_than_connect_is_421_for_all_streams(proxy, origin_of, dns, connect, host):
    origin = origin_of()
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    client.start_tls(f"evil-{host}", h2frames.alpn_context(proxy.trusting()))
    inside = h2frames.H2Client(client.sock, client.authority).start()
    assert [inside.get("/1").status, inside.get("/2").status] == [421, 421]
    assert inside.get("/3", authority=f"evil-{host}:{origin.port}").status == 421
    assert origin.n_connections == 0 and not dns.heard_of(f"evil-{host}")
    assert not dns.heard_of(host)


@pytest.mark.threat("one-name", "domain-fronting")
def test_a_rule_excepts_names_stream_by_stream(sluice, origin_of, dns, connect, host):
    """The SNI is the address's name; the origin hears the authority that the stream says."""
    proxy = sluice({"rules": [{"when": "path /no*", "do": "allow"},
                              {"when": "any", "do": "allow", "names": [host, f"*.{host}"]}]})
    origin = origin_of()
    client = connect(proxy)
    assert client.connect("127.0.0.1", origin.port).status == 200
    client.start_tls(host, h2frames.alpn_context(proxy.trusting()))
    inside = h2frames.H2Client(client.sock, client.authority).start()
    names = [host, f"a.{host}", "127.0.0.1", f"b.{host}"]
    for name in names:
        assert inside.get("/", authority=f"{name}:{origin.port}").status == 200
        assert inside.get("/no", authority=f"{name}:{origin.port}").status == 421
        assert inside.get("/", authority=f"{name}.evil.test:{origin.port}").status == 421
    assert [r.authority for r in origin.requests] == [f"{n}:{origin.port}" for n in names]
    assert not any(dns.heard_of(n) for n in names)


@pytest.mark.threat("parser-panics", "forged-inside")
def test_connect_inside_is_no_way_out(proxy, origin_of, dns, h2, host):
    origin = origin_of()
    client = h2(proxy, host, origin.port)
    number = client.request_fields([(":method", "CONNECT"), (":authority", f"evil-{host}:443")],
                                   end=False)
    stream = client.wait_headers(number)
    assert stream.reset is not None or stream.status in (400, 405, 421, 501), stream
    assert not dns.heard_of(f"evil-{host}")
    assert client.get("/ok").status == 200
