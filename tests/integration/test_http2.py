"""HTTP/2 on either side: the four pairings carry the same requests, responses and endings."""
import hashlib
import json
import os
import threading

import pytest

from harness import h2frames, http1, waiting
from harness.check_service import CheckService, deny
from harness.h2frames import Code
from harness.h2origin import Answer, H2Origin
from harness.h2scripts import (Once, after, cutting, grpc_echo, grpc_message, grpc_refusal, large,
                               resetting, server_sent)
from harness.h2sides import ALPN, VERSION
from harness.origin import Origin

pytest_plugins = ["harness.h2fixtures"]
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
              "proxy-authenticate", "x-down"}


def say(*args, **more):
    """A respond() of always the same answer."""
    return lambda request: Answer(*args, **more)


# -- messages ------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_get(pair, proxy, host, client_kind, origin_kind):
    side, origin = pair()
    answer = side.ask("GET", "/a?b=1", [("X-Mine", "1")])
    assert (answer.status, answer.text.splitlines()[0]) == (
        200, f"GET /a?b=1 HTTP/{VERSION[origin_kind]}")
    asked = origin.requests[0]
    assert (asked.authority, asked.all("x-mine")) == (f"{host}:{origin.port}", ["1"])
    assert origin.protocols == [ALPN[origin_kind]]
    line = proxy.log(host=host)
    assert (line["http"], line["target"], line["status"]) == (VERSION[client_kind], "/a?b=1", 200)
    assert (line["verdict"], line["error"]) == ("allow", None)


def test_one_connection_carries_many(pair):
    side, origin = pair()
    for i in range(10):
        assert side.ask("GET", f"/{i}").text.startswith(f"GET /{i} HTTP/")
    assert origin.n_connections == 1


def test_a_body_both_ways(pair, proxy, host):
    side, origin = pair()
    body = os.urandom(100_000)
    answer = side.ask("POST", "/up", [("Content-Type", "application/x")], body)
    assert (answer.status, bytes(answer.body)) == (200, body)
    asked = origin.requests[0]
    assert (asked.method, bytes(asked.body), asked.get("content-type")) == (
        "POST", body, "application/x")
    line = proxy.log(host=host)
    assert (line["bytes_in"], line["bytes_out"]) == (len(body), len(body))


def test_a_large_body_both_ways(pair):
    side, _ = pair()
    body = os.urandom(5 << 20)
    answer = side.ask("POST", "/up", body=body)
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_other_methods(pair, method):
    side, origin = pair()
    assert side.ask(method, "/m").status == 200
    assert origin.requests[0].method == method


def test_head_has_a_length_and_no_body(pair):
    side, _ = pair(say(b"x" * 1234))
    for _ in range(2):
        answer = side.ask("HEAD", "/")
        assert (answer.status, answer.get("content-length")) == (200, "1234")
        assert bytes(answer.body) == b""
    assert len(side.ask("GET", "/").body) == 1234


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_a_body(pair, status):
    side, _ = pair(say(status=status, headers=[("etag", '"x"')]))
    for _ in range(3):
        answer = side.ask("GET", "/")
        assert (answer.status, answer.get("etag"), bytes(answer.body)) == (status, '"x"', b"")


def test_an_empty_body(pair):
    side, _ = pair(say(b""))
    for _ in range(2):
        answer = side.ask("GET", "/")
        assert (answer.status, bytes(answer.body)) == (200, b"")


@pytest.mark.parametrize("status", [200, 299, 301, 400, 404, 418, 500, 599])
def test_the_status_is_the_origins(pair, status):
    side, _ = pair(say(b"x", status))
    assert side.ask("GET", "/").status == status


def test_trailers_both_ways(pair):
    side, origin = pair(say(b"down", trailers=[("x-end", "2")]))
    answer = side.ask("POST", "/", [("TE", "trailers"), ("Trailer", "x-sum")], b"up",
                      [("x-sum", "1")])
    assert (bytes(answer.body), answer.trailers) == (b"down", [("x-end", "2")])
    asked = origin.requests[0]
    assert (bytes(asked.body), asked.trailers) == (b"up", [("x-sum", "1")])
    assert side.ask("GET", "/").status == 200


def test_trailers_without_a_body(pair):
    side, origin = pair(say(b"", trailers=[("x-end", "2")]))
    answer = side.ask("POST", "/", [("TE", "trailers")], b"x", [("x-sum", "1")])
    assert answer.trailers == [("x-end", "2")]
    assert origin.requests[0].trailers == [("x-sum", "1")]


def test_interim_responses(pair):
    side, _ = pair(say(b"x", interim=[(103, [("link", "</a.css>")]), (103, [("link", "</b.js>")])]))
    answer = side.ask("GET", "/")
    assert [(s, dict(h).get("link")) for s, h in answer.interim] == [
        (103, "</a.css>"), (103, "</b.js>")]
    assert (answer.status, bytes(answer.body)) == (200, b"x")


@pytest.mark.parametrize("sent, passed", [([(103, [("link", "v" * 20000)])] * 4, 3),
                                          ([(103, [])] * 33, 32)], ids=["bytes", "number"])
def test_interim_responses_are_limited(pair, proxy, host, sent, passed):
    """Until the exchange ends they are kept, whether the client reads them or not."""
    side, _ = pair(say(b"x", interim=sent))
    answer = side.ask("GET", "/")
    assert (answer.status, len(answer.interim)) == (502, passed)
    assert proxy.log(host=host)["error"] == "bad_response"


def large_fields(n, size):
    """Of bytes that Huffman's code does not make smaller, and that cost the decoder nothing."""
    return {f"x-{i}": "|" * size for i in range(n)}


def ask_for_large(proxy, host, port, h2):
    client = h2(proxy, host, port)
    client.decoder.max_header_list_size = 1 << 26
    answer = client.get("/")
    assert answer.reset is None
    return answer


def raw_fields(fields):
    return "".join(f"{n}: {v}\r\n" for n, v in fields.items()).encode()


@pytest.mark.parametrize("size", [15_000, 150_000], ids=["1.5 MB", "15 MB"])
def test_a_response_head_of_many_megabytes(sluice, servers, pki, h2, host, size):
    """As large as limits.header_bytes admits."""
    fields = large_fields(100, size)
    head = b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % raw_fields(fields)
    origin = servers(Origin(lambda r: head, tls=pki.server_context()))
    proxy = sluice({"limits": {"header_bytes": "16MiB"}})
    answer = ask_for_large(proxy, host, origin.port, h2)
    assert (answer.status, bytes(answer.body)) == (200, b"ok")
    assert fields.items() <= dict(answer.headers).items()


def test_trailers_of_many_megabytes(sluice, servers, pki, h2, host):
    fields = large_fields(100, 15_000)
    whole = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n%b\r\n"
             % raw_fields(fields))
    origin = servers(Origin(lambda r: whole, tls=pki.server_context()))
    proxy = sluice({"limits": {"header_bytes": "8MiB"}})
    answer = ask_for_large(proxy, host, origin.port, h2)
    assert bytes(answer.body) == b"ok" and dict(answer.trailers) == fields


def test_a_denial_of_a_megabyte(sluice, check, origin, h2, host):
    """As large as a verdict may be."""
    fields = large_fields(256, 4083)
    check.answer = lambda q: http1.response(
        json.dumps(deny(headers=fields), separators=(",", ":")).encode())
    answer = ask_for_large(sluice(check.config()), host, origin.port, h2)
    assert answer.status == 403 and fields.items() <= dict(answer.headers).items()


def test_what_eight_checks_set_goes_out(sluice, servers, origin, h2, host):
    """All limits at their defaults: none of them is of what verdicts add."""
    def adding(k):
        fields = {f"x-{k}-{i}": "|" * 60_000 for i in range(17)}
        return servers(CheckService(lambda q: {"action": "allow", "response": {"set": fields}}))

    checks = [{"name": f"c{k}", "url": adding(k).url, "timeout": f"{waiting.DEADLINE:.0f}s"}
              for k in range(8)]
    proxy = sluice({"checks": checks,
                    "rules": [{"when": "any", "do": [f"check {c['name']}" for c in checks]}]})
    answer = ask_for_large(proxy, host, origin.port, h2)
    assert answer.status == 200
    assert sum(len(v) for n, v in answer.headers if n.startswith("x-")) == 8 * 17 * 60_000


def test_a_response_without_length(pair):
    side, _ = pair(scripts={"/": large(100_000)})
    for _ in range(2):
        answer = side.ask("GET", "/")
        assert len(answer.body) == 100_000 and answer.get("content-length") is None


def test_a_response_to_the_end_of_the_connection(proxy, servers, pki, host, h2):
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 50_000)

    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    client = h2(proxy, host, origin.port)
    assert [len(client.get("/").body) for _ in range(2)] == [50_000] * 2


def test_server_sent_events_are_not_held_back(pair):
    turns = [threading.Event() for _ in range(2)]
    side, _ = pair(scripts={"/events": server_sent(*turns)})
    side.begin("/events")
    side.wait_body(b"data: 0\n\n")
    turns[0].set()
    side.wait_body(b"data: 1\n\n")
    turns[1].set()
    side.wait_body(b"data: 2\n\n")


def test_a_request_body_is_not_held_back(proxy, origin_of, h2, host):
    """The origin sees the first part before the second is sent."""
    seen = threading.Event()

    def script(exchange):
        exchange.read(3)
        seen.set()
        exchange.answer(Answer(exchange.read(6)))

    client = h2(proxy, host, origin_of(scripts={"/": script}).port)
    number = client.request("POST", "/", [("content-length", "6")], end=False)
    client.body(number, b"abc", end=False)
    assert seen.wait(waiting.DEADLINE)
    client.body(number, b"def")
    assert bytes(client.response(number).body) == b"abcdef"


# -- fields --------------------------------------------------------------------------------------


def test_cookie_crumbs_are_one_cookie_for_http1(proxy, origin_of, origin_kind, h2, host):
    origin = origin_of()
    crumbs = [("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2"), ("cookie", "c=3")]
    assert h2(proxy, host, origin.port).get("/", crumbs).status == 200
    cookies = origin.requests[0].all("cookie")
    assert "; ".join(cookies) == "a=1; b=2; c=3"
    assert len(cookies) == 1 or origin_kind == "h2"


def test_te_trailers_is_kept_between_http2(proxy, h2_origin, h2, host):
    origin = h2_origin()
    assert h2(proxy, host, origin.port).get("/", [("te", "trailers")]).status == 200
    assert origin.requests[0].all("te") == ["trailers"]


@pytest.mark.threat("multi-value-header")
def test_repeated_fields_keep_their_order(pair):
    side, origin = pair(say(b"", headers=[("set-cookie", "a=1"), ("x-o", "1"),
                                          ("set-cookie", "b=2")]))
    answer = side.ask("GET", "/", [("X-R", "1"), ("X-S", "2"), ("X-R", "3")])
    assert answer.all("set-cookie") == ["a=1", "b=2"] and answer.all("x-o") == ["1"]
    mine = [(n.lower(), v) for n, v in origin.requests[0].headers if n.lower() in ("x-r", "x-s")]
    assert mine == [("x-r", "1"), ("x-s", "2"), ("x-r", "3")]


def test_bytes_above_ascii_pass(pair):
    side, origin = pair(say(b"", headers=[("x-bytes", "d\xe9")]))
    assert side.ask("GET", "/", [("X-Bytes", "u\xff")]).get("x-bytes") == "d\xe9"
    assert origin.requests[0].get("x-bytes") == "u\xff"


def test_hop_by_hop_fields_of_http1_stay_there(proxy, servers, pki, h2, host):
    answer = http1.response(b"x", headers=[
        ("Connection", "keep-alive, X-Down"), ("X-Down", "1"), ("Keep-Alive", "timeout=1"),
        ("Proxy-Connection", "keep-alive"), ("Upgrade", "h2c"), ("X-Kept", "1"),
        ("Proxy-Authenticate", "Basic")])
    origin = servers(Origin(lambda r: answer, tls=pki.server_context()))
    got = h2(proxy, host, origin.port).get("/")
    assert not HOP_BY_HOP & {n for n, _ in got.headers}
    assert (got.status, got.get("x-kept"), bytes(got.body)) == (200, "1", b"x")


def test_fields_of_http1_clients_are_lower_case_for_http2(proxy, h2_origin, tunnel, host):
    origin = h2_origin()
    client = tunnel(proxy, host, origin.port)
    fields = [("X-UPPER", "Value"), ("Connection", "X-Up"), ("X-Up", "1")]
    assert client.get("/", fields).status == 200
    names = [n for n, _ in origin.requests[0].headers]
    assert "x-upper" in names and origin.requests[0].get("x-upper") == "Value"
    assert not {"x-up", "host", *HOP_BY_HOP} & set(names)


def test_alt_svc_is_stripped(pair):
    side, _ = pair(say(b"", headers=[("alt-svc", 'h3=":443"'), ("x-kept", "1")]))
    answer = side.ask("GET", "/")
    assert answer.get("alt-svc") is None and answer.get("x-kept") == "1"


def test_via_on_both_sides(pair):
    side, origin = pair()
    assert "sluice" in side.ask("GET", "/").get("via")
    assert "sluice" in origin.requests[0].get("via")


@pytest.mark.threat("path-read-twice")
@pytest.mark.parametrize("target", ["//a//b/../c/./d", "/%2e%2e/%2F", "/a?x=https://other.test/",
                                    "/a?", "/;x=1,2", "/*", "/a//?q"])
def test_the_target_is_not_touched(pair, target):
    side, origin = pair()
    assert side.ask("GET", target).status == 200
    assert origin.requests[0].target == target


def test_options_asterisk(pair):
    side, origin = pair()
    assert side.ask("OPTIONS", "*").status == 200
    assert origin.requests[0].target == "*"


# -- endings -------------------------------------------------------------------------------------


def test_a_cancelled_request_is_cancelled_upstream(pair, proxy, host):
    side, origin = pair(scripts={"/slow": after(threading.Event())})
    side.begin("/slow")
    origin.wait_asked("/slow")
    side.cancel()
    assert origin.wait_reset("/slow").reset in (-1, Code.CANCEL, Code.NO_ERROR)
    assert proxy.log(host=host, target="/slow")["error"] == "cancelled"


def test_a_cancelled_download_is_cancelled_upstream(pair):
    side, origin = pair(scripts={"/big": large(64 << 20)})
    side.begin("/big")
    side.wait_body(b"0123456789abcdef")
    side.cancel()
    assert origin.wait_reset("/big")


def test_a_cancelled_stream_leaves_the_connection(proxy, h2_origin, h2, host):
    """Its own and the shared one upstream."""
    origin = h2_origin(scripts={"/slow": after(threading.Event())})
    client = h2(proxy, host, origin.port)
    assert client.get("/").status == 200
    number = client.request("GET", "/slow")
    origin.wait_asked("/slow")
    client.send(h2frames.rst_stream(number))
    origin.wait_reset("/slow")
    assert client.get("/again").status == 200 and origin.n_connections == 1


@pytest.mark.parametrize("code", [Code.INTERNAL_ERROR, Code.PROTOCOL_ERROR, Code.CANCEL])
def test_a_reset_instead_of_a_response_is_502(pair, proxy, host, code):
    side, _ = pair(scripts={"/x": resetting(code)})
    assert side.ask("POST", "/x", body=b"x").status == 502
    assert proxy.log(host=host, target="/x")["error"] is not None
    assert side.ask("GET", "/ok").status == 200


def test_a_reset_inside_a_response_is_passed_on(pair, proxy, host):
    side, _ = pair(scripts={"/x": resetting(Code.INTERNAL_ERROR, b"part")})
    side.fail("GET", "/x")
    assert proxy.log(host=host, target="/x")["error"] is not None


def test_the_end_of_the_connection_inside_a_response(pair, proxy, host):
    side, _ = pair(scripts={"/x": cutting(b"part")})
    side.fail("GET", "/x")
    assert proxy.log(host=host, target="/x")["error"] is not None


@pytest.mark.threat("smuggled-past-hooks")
def test_a_length_that_is_not_that_of_the_body(proxy, h2_origin, h2, host):
    """python-h2 does not look at what it sends."""
    def script(exchange):
        exchange.head(200, [("content-length", "10")])
        exchange.data(b"short", end=True)

    client = h2(proxy, host, h2_origin(scripts={"/x": script}).port)
    stream = client.get("/x")
    assert stream.reset is not None or stream.status == 502, stream
    assert client.get("/ok").status == 200


def test_an_early_response_ends_the_upload(proxy, origin_of, h2, host):
    def script(exchange):
        exchange.answer(Answer(b"too much", 413))
        if exchange.request.version == "1.1":
            exchange.cut()

    client = h2(proxy, host, origin_of(scripts={"/up": script}).port)
    number = client.request("POST", "/up", [("content-length", "10000000")], end=False)
    client.body(number, b"x" * 100, end=False)
    stream = client.wait_headers(number)
    assert stream.status == 413
    client.response(number)
    assert client.get("/ok").status == 200


# -- gRPC ----------------------------------------------------------------------------------------


GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def test_a_grpc_call(proxy, h2_origin, h2, host):
    origin = h2_origin(scripts={"/a.B/C": grpc_echo})
    stream = h2(proxy, host, origin.port).ask("POST", "/a.B/C", GRPC, grpc_message(b"hello"))
    assert (stream.status, bytes(stream.body)) == (200, grpc_message(b"hello"))
    assert stream.trailers == [("grpc-status", "0"), ("grpc-message", "fine")]


def test_a_grpc_answer_of_trailers_only(proxy, h2_origin, h2, host):
    origin = h2_origin(scripts={"/a.B/C": grpc_refusal})
    stream = h2(proxy, host, origin.port).ask("POST", "/a.B/C", GRPC, grpc_message(b"hello"))
    assert (stream.status, stream.get("grpc-status"), stream.trailers) == (200, "5", [])
    assert bytes(stream.body) == b""


def test_both_directions_at_once(proxy, h2_origin, h2, host):
    """Each message is answered before the next one is sent."""
    def script(exchange):
        exchange.head(200, [("content-type", "application/grpc")])
        for i in range(1, 6):
            exchange.data(exchange.read(5 * i)[5 * (i - 1):5 * i])
        exchange.end([("grpc-status", "0")])

    client = h2(proxy, host, h2_origin(scripts={"/a.B/C": script}).port)
    number = client.request("POST", "/a.B/C", GRPC, end=False)
    for i in range(1, 6):
        client.body(number, b"ping%d" % i, end=i == 5)
        client.wait_body(number, b"ping%d" % i)
    assert client.response(number).trailers == [("grpc-status", "0")]


# -- which version -------------------------------------------------------------------------------


@pytest.mark.parametrize("offered, selected", [
    (["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["h2"], "h2"),
    (["http/1.1"], "http/1.1"), (["foo", "http/1.1"], "http/1.1"), (["foo", "h2"], "h2")])
def test_alpn_whatever_the_origin_speaks(proxy, origin_of, connect, host, offered, selected):
    origin = origin_of()
    context = h2frames.alpn_context(proxy.trusting(), offered)
    client = connect(proxy).tunnel(host, origin.port, context=context)
    assert client.sock.selected_alpn_protocol() == selected
    if selected == "h2":
        client = h2frames.H2Client(client.sock, client.authority).start()
    assert client.get("/").status == 200
    assert origin.n_connections == 1


def test_without_alpn_it_is_http1(proxy, origin_of, tunnel, host):
    client = tunnel(proxy, host, origin_of().port)
    assert client.sock.selected_alpn_protocol() is None
    assert client.get("/").status == 200


@pytest.mark.parametrize("config", [
    {"upstream": {"http2": False}},
    {"rules": [{"when": "any", "do": "allow", "upstream": {"http2": False}}]}],
    ids=["everywhere", "by a rule"])
def test_http2_upstream_can_be_turned_off(sluice, h2_origin, side_of, host, config):
    origin = h2_origin(alpn=["h2", "http/1.1"])
    side = side_of(sluice(config), host, origin.port)
    assert side.ask("GET", "/").status == 200
    assert origin.requests[0].version == "1.1" and "h2" not in origin.protocols


def test_a_rule_turns_it_off_for_its_own_only(sluice, h2_origin, side_of, host):
    origin = h2_origin(alpn=["h2", "http/1.1"])
    rule = {"when": "path /old", "do": "allow", "upstream": {"http2": False}}
    side = side_of(sluice({"rules": [rule]}), host, origin.port)
    for target, version in (("/new", "2"), ("/old", "1.1"), ("/new", "2"), ("/old", "1.1")):
        assert side.ask("GET", target).status == 200
        assert origin.asked(target)[-1].version == version


def test_an_origin_with_both_is_asked_over_http2(proxy, h2_origin, side_of, host):
    origin = h2_origin(alpn=["http/1.1", "h2"])
    other = h2_origin(alpn=["h2", "http/1.1"])
    assert side_of(proxy, host, other.port).ask("GET", "/").status == 200
    assert other.requests[0].version == "2"
    assert side_of(proxy, host, origin.port).ask("GET", "/").status == 200


def test_prior_knowledge_after_connect(proxy, servers, connect, host):
    origin = servers(H2Origin(prior_knowledge=True))
    client = h2frames.inside_connect(connect(proxy), host, origin.port).start()
    answer = client.ask("POST", "/a", body=b"x" * 1000)
    assert (answer.status, len(answer.body)) == (200, 1000)
    assert client.get("/b").text.startswith("GET /b HTTP/2")
    line = proxy.log(host=host, target="/b")
    assert (line["http"], line["scheme"], line["tls_client"]) == ("2", "http", None)
    assert origin.faults == []


def test_refused_once_is_sent_again(pair, proxy, host):
    """Whichever the client: an origin that refuses a stream has not looked at it."""
    def refuse(exchange):
        if exchange.request.version == "1.1":
            exchange.answer(Answer(b"again"))
        else:
            exchange.reset(Code.REFUSED_STREAM)

    side, _ = pair(scripts={"/x": Once(refuse)})
    answer = side.ask("GET", "/x")
    assert (answer.status, bytes(answer.body)) == (200, b"again")
    assert len([line for line in proxy.log_lines() if line["host"] == host]) <= 1
