"""HTTP/1 on both sides: framing, connections, upgrades, and everything malformed."""
import asyncio
import socket
import ssl
import threading

import pytest

from harness import http1, websocket
from harness.client import WireTls, request
from harness.origin import Origin, echo
from harness.websocket import OFFER


@pytest.fixture
def scripted(servers, pki):
    """scripted(respond or serve=...) -> a TLS origin that answers so."""
    def make(respond=echo, **more):
        return servers(Origin(respond, tls=pki.server_context(), **more))

    return make


def fixed(answer):
    """Always the same bytes."""
    return lambda request: answer


# -- connections and messages --------------------------------------------------------------------


@pytest.mark.smoke
def test_keep_alive(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    for i in range(5):
        assert client.get(f"/{i}").text.startswith(f"GET /{i} HTTP/1.1\n")
    assert origin.n_connections == 1


@pytest.mark.smoke
def test_pipelining_keeps_the_order(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(b"".join(request("GET", f"/{i}", client.authority) for i in range(20)))
    got = [client.read().text.split()[1] for _ in range(20)]
    assert got == [f"/{i}" for i in range(20)]


def test_pipelining_behind_a_post(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(request("POST", "/1", client.authority, body=b"x" * 1000) +
                request("GET", "/2", client.authority))
    assert [client.read().text.split()[1] for _ in range(2)] == ["/1", "/2"]
    assert origin.requests[0].body == b"x" * 1000


def test_pipelining_with_a_denial_between(sluice, origin, tunnel, host):
    proxy = sluice({"rules": [{"when": "path /no", "do": "deny"}]})
    client = tunnel(proxy, host, origin.port)
    client.send(b"".join(request("GET", p, client.authority) for p in ("/1", "/no", "/2")))
    assert [client.read().status for _ in range(3)] == [200, 403, 200]


def test_connection_close_of_the_client(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    answer = client.get("/", [("Connection", "close")])
    assert answer.status == 200 and answer.get("connection") == "close"
    assert client.is_closed()
    assert origin.requests[0].get("connection") in (None, "keep-alive")


def test_connection_close_of_the_origin(proxy, scripted, tunnel, host):
    close = http1.response(b"x", headers=[("Connection", "close")])
    origin = scripted(serve=lambda c: (origin.take(c), c.send(close)))
    client = tunnel(proxy, host, origin.port)
    assert [client.get("/").body for _ in range(3)] == [b"x"] * 3
    assert origin.n_connections == 3


def test_http10_client(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/", client.authority, version="1.0"))
    assert client.read().status == 200
    assert client.is_closed()


def test_http10_client_gets_no_chunks(proxy, scripted, tunnel, host):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    client = tunnel(proxy, host, scripted(fixed(chunked)).port)
    client.send(request("GET", "/", client.authority, version="1.0"))
    answer = client.read()
    assert answer.get("transfer-encoding") is None and answer.body == b"abc"


def test_http10_origin_without_length(proxy, scripted, tunnel, host):
    def serve(connection):
        origin.take(connection)
        connection.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"body" * 5000)

    origin = scripted(serve=serve)
    client = tunnel(proxy, host, origin.port)
    answer = client.get("/")
    assert answer.body == b"body" * 5000
    assert answer.get("transfer-encoding") == "chunked"
    assert client.get("/again").body == b"body" * 5000


def test_a_body_to_the_end_without_close_notify_is_cut(proxy, scripted, tunnel, host):
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of wh")
        connection.close()

    client = tunnel(proxy, host, scripted(serve=serve).port)
    with pytest.raises((http1.Closed, ConnectionError)):
        client.get("/")
    assert proxy.log(host=host)["error"] == "response_cut"


def test_head_204_and_304_have_no_body(proxy, scripted, tunnel, host):
    answers = {"HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
               "GET": b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
               "DELETE": b"HTTP/1.1 204 No Content\r\n\r\n"}
    origin = scripted(lambda r: answers[r.method])
    client = tunnel(proxy, host, origin.port)
    head = client.ask("HEAD", "/")
    assert (head.status, head.get("content-length")) == (200, "1234")
    assert client.ask("GET", "/").status == 304
    empty = client.ask("DELETE", "/")
    assert empty.status == 204 and empty.get("transfer-encoding") is None
    assert client.ask("HEAD", "/").status == 200
    assert origin.n_connections == 1


@pytest.mark.smoke
def test_chunks_and_trailers_both_ways(proxy, scripted, tunnel, host):
    answer = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
              b"4;ext=1\r\nWiki\r\n6\r\npedia \r\n0\r\nX-End: down\r\n\r\n")
    origin = scripted(fixed(answer))
    client = tunnel(proxy, host, origin.port)
    body = b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: up\r\n\r\n"
    got = client.ask("POST", "/", [("Transfer-Encoding", "chunked"), ("TE", "trailers"),
                                   ("Trailer", "X-Sum")], body)
    assert (got.body, got.trailers) == (b"Wikipedia ", [("X-End", "down")])
    asked = origin.requests[0]
    assert (asked.body, asked.trailers) == (b"abcde", [("X-Sum", "up")])
    assert client.get("/").status == 200


def test_a_chunked_upload_split_bytewise(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    whole = request("POST", "/", client.authority, [("Transfer-Encoding", "chunked")],
                    b"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n")
    for byte in whole:
        client.send(bytes([byte]))
    assert client.read().status == 200
    assert origin.requests[0].body == b"0123456789x"


def test_expect_100_continue(proxy, scripted, tunnel, host):
    def serve(connection):
        asked = http1.read_head(connection.reader)
        assert asked.get("expect") == "100-continue"
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        http1.read_body(connection.reader, asked)
        connection.send(http1.response(asked.body))

    client = tunnel(proxy, host, scripted(serve=serve).port)
    client.send(request("POST", "/", client.authority,
                        [("Expect", "100-continue"), ("Content-Length", "4")]))
    assert client.read().status == 100
    client.send(b"body")
    assert client.read().body == b"body"


def test_expect_100_continue_of_a_denied_request(sluice, origin, tunnel, host):
    client = tunnel(sluice({"rules": [{"when": "any", "do": "deny"}]}), host, origin.port)
    client.send(request("POST", "/", client.authority,
                        [("Expect", "100-continue"), ("Content-Length", "4")]))
    assert client.read().status == 403


def test_interim_responses_pass(proxy, scripted, tunnel, host):
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    client = tunnel(proxy, host, scripted(fixed(early + http1.response(b"x"))).port)
    hints = client.get("/")
    assert (hints.status, hints.get("link")) == (103, "</a.css>; rel=preload")
    assert client.read().body == b"x"


def test_an_early_response_ends_the_upload(proxy, scripted, tunnel, host):
    def serve(connection):
        http1.read_head(connection.reader)
        connection.send(http1.response(b"no", 413, [("Connection", "close")], "Too Large"))
        connection.reader.rest()

    client = tunnel(proxy, host, scripted(serve=serve).port)
    length = [("Content-Length", "1000000")]
    client.send(request("POST", "/", client.authority, length, b"x" * 1000))
    assert client.read().status == 413


@pytest.mark.threat("one-reading")
def test_hop_by_hop_fields_stay(proxy, scripted, tunnel, host):
    answer = http1.response(b"x", headers=[
        ("Connection", "X-Down"), ("X-Down", "1"), ("Keep-Alive", "timeout=1"),
        ("Proxy-Authenticate", "Basic"), ("Alt-Svc", 'h3=":443"'), ("X-Kept", "1"),
        ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    origin = scripted(fixed(answer))
    got = tunnel(proxy, host, origin.port).get("/", [
        ("Connection", "X-Up"), ("X-Up", "1"), ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eA=="), ("X-Kept", "1")])
    up = {n.lower() for n, _ in origin.requests[0].headers}
    assert not up & {"x-up", "proxy-connection", "proxy-authorization"} and "x-kept" in up
    down = {n.lower() for n, _ in got.headers}
    assert not down & {"x-down", "keep-alive", "proxy-authenticate", "alt-svc"}
    assert got.all("x-kept") == ["1"] and got.all("set-cookie") == ["a=1", "b=2"]


def test_case_and_order_of_fields_are_kept(proxy, origin, tunnel, host):
    fields = [("x-LOWER-Upper", "1"), ("Accept", "*/*"), ("X-2", "b"), ("X-1", "a")]
    tunnel(proxy, host, origin.port).get("/", fields)
    assert [f for f in origin.requests[0].headers if f in fields] == fields


def test_a_large_download_streams(proxy, scripted, tunnel, host):
    def serve(connection):
        origin.take(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20971520\r\n\r\n")
        for _ in range(320):
            connection.send(b"0123456789abcdef" * 4096)

    origin = scripted(serve=serve)
    assert len(tunnel(proxy, host, origin.port).get("/").body) == 20 << 20


def test_server_sent_events_are_not_held_back(proxy, scripted, tunnel, host):
    go_on = threading.Event()

    def serve(connection):
        origin.take(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
        assert go_on.wait(20)
        connection.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    origin = scripted(serve=serve)
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/", client.authority))
    assert http1.read_head(client.reader).status == 200
    assert client.reader.until(b"data: 1\n\n")
    go_on.set()
    assert client.reader.until(b"0\r\n\r\n").endswith(b"data: 2\n\n\r\n0\r\n\r\n")


# -- targets -------------------------------------------------------------------------------------


def test_absolute_form_of_plain_http(proxy, plain_origin, connect, host):
    client = connect(proxy)
    authority = f"{host}:{plain_origin.port}"
    for i in range(2):
        answer = client.ask("GET", f"http://{authority}/a?b={i}", host=authority)
        assert answer.text.splitlines()[0] == f"GET /a?b={i} HTTP/1.1"
    assert plain_origin.requests[0].get("host") == authority
    assert proxy.log(host=host)["scheme"] == "http"


@pytest.mark.threat("host-spoof")
def test_absolute_form_rules_over_host(proxy, plain_origin, connect, host):
    client = connect(proxy)
    authority = f"{host}:{plain_origin.port}"
    assert client.ask("GET", f"http://{authority}/", host="other.site.test").status == 200
    assert plain_origin.requests[0].all("host") == [authority]


def test_absolute_form_inside_the_tunnel(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    answer = client.get(f"https://{client.authority}/inside?x=1")
    assert answer.text.splitlines()[0] == "GET /inside?x=1 HTTP/1.1"


@pytest.mark.threat("absolute-form-inside", "forged-inside")
def test_absolute_form_inside_the_tunnel_to_another_host_is_421(proxy, origin, dns, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    assert client.get(f"https://evil-{host}:{origin.port}/").status == 421
    assert not dns.heard_of(f"evil-{host}") and origin.requests == []
    assert client.get("/").status == 200


@pytest.mark.threat("forged-inside")
@pytest.mark.smoke
def test_host_other_than_connect_is_421(proxy, origin, dns, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    answer = client.ask("GET", "/", host=f"evil-{host}:{origin.port}")
    assert answer.status == 421
    assert "error=http_request_error" in answer.get("proxy-status")
    assert origin.requests == [] and not dns.heard_of(f"evil-{host}")
    line = proxy.log(status=421, host=f"evil-{host}")
    assert (line["verdict"], line["error"]) == ("deny", "misdirected")
    assert client.get("/").status == 200


def test_port_other_than_connect_is_421(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    assert client.ask("GET", "/", host=f"{host}:1").status == 421


@pytest.mark.threat("domain-fronting")
def test_sni_other_than_connect_is_421(proxy, origin, dns, connect, host):
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    client.start_tls(f"evil-{host}")
    assert client.ask("GET", "/by-sni", host=f"evil-{host}:{origin.port}").status == 421
    assert origin.n_connections == 0 and not dns.heard_of(f"evil-{host}")
    assert proxy.log(error="misdirected", target="/by-sni")["verdict"] == "deny"


@pytest.mark.threat("domain-fronting")
def test_a_tunnel_rule_does_not_help_another_sni(sluice, origin, dns, connect, host):
    proxy = sluice({"rules": [{"when": f"sni evil-{host}", "do": "tunnel"}]})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        client.start_tls(f"evil-{host}")
        assert client.get("/").status == 200
    assert origin.n_connections == 0 and not dns.heard_of(f"evil-{host}")


def test_sni_other_than_connect_reaches_neither_by_host(proxy, origin, connect, host):
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    client.start_tls(f"evil-{host}")
    assert client.get("/").status == 421
    assert origin.n_connections == 0


def test_origin_form_to_the_proxy_itself_is_400(proxy, connect):
    client = connect(proxy)
    assert client.ask("GET", "/", host="x.test").status == 400
    assert client.is_closed()


def test_options_asterisk(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    assert client.ask("OPTIONS", "*").text.splitlines()[0] == "OPTIONS * HTTP/1.1"


@pytest.mark.threat("forged-inside")
def test_connect_inside_the_tunnel_is_no_way_out(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    client.send(request("CONNECT", f"evil-{host}:443", f"evil-{host}:443"))
    assert client.read().status == 400


# -- first bytes ---------------------------------------------------------------------------------


@pytest.mark.threat("connect-and-hello-at-once")
@pytest.mark.smoke
def test_connect_and_hello_in_one_segment(proxy, origin, connect, host):
    client = connect(proxy)
    wire = WireTls(proxy.trusting(), host)
    authority = f"{host}:{origin.port}"
    client.send(request("CONNECT", authority, authority) + wire.hello())
    assert http1.read_head(client.reader).status == 200
    wire.finish(client.sock, client.reader.buffer)
    wire.send(client.sock, request("GET", "/one", authority))
    answer = http1.read_response(wire.reader(client.sock))
    assert answer.text.startswith("GET /one")


@pytest.mark.threat("hello-beyond-a-peek")
def test_hello_split_bytewise(proxy, origin, connect, host):
    client = connect(proxy)
    wire = WireTls(proxy.trusting(), host)
    assert client.connect(host, origin.port).status == 200
    for byte in wire.hello():
        client.send(bytes([byte]))
    wire.finish(client.sock)
    wire.send(client.sock, request("GET", "/", client.authority))
    assert http1.read_response(wire.reader(client.sock)).status == 200


@pytest.mark.threat("hello-beyond-a-peek")
def test_hello_over_many_records(proxy, origin, connect, host):
    client = connect(proxy)
    wire = WireTls(proxy.trusting(), host)
    assert client.connect(host, origin.port).status == 200
    message = wire.hello()[5:]
    pieces = [message[i:i + 40] for i in range(0, len(message), 40)]
    client.send(b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p for p in pieces))
    wire.finish(client.sock)
    wire.send(client.sock, request("GET", "/", client.authority))
    assert http1.read_response(wire.reader(client.sock)).status == 200


@pytest.mark.threat("connect-and-hello-at-once")
def test_request_behind_connect_in_one_segment(proxy, plain_origin, connect, host):
    client = connect(proxy)
    authority = f"{host}:{plain_origin.port}"
    client.send(request("CONNECT", authority, authority) + request("GET", "/early", authority))
    assert http1.read_head(client.reader).status == 200
    assert client.read().text.startswith("GET /early")


def test_request_in_the_segment_of_finished(proxy, origin, connect, host):
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    context = proxy.trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    wire = WireTls(context, host)
    hello = wire.hello()
    client.send(hello)
    while True:
        wire.incoming.write(client.sock.recv(65536))
        try:
            wire.tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            continue
    wire.tls.write(request("GET", "/0", client.authority))
    client.send(wire.outgoing.read())
    assert http1.read_response(wire.reader(client.sock)).text.startswith("GET /0")


def test_a_client_that_leaves_after_connect(proxy, origin, connect, dns, host):
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    client.sock.close()
    assert proxy.log(host=host, method="CONNECT")["upstream_ip"] is None
    assert not dns.heard_of(host)


@pytest.mark.threat("endless-head")
def test_a_silent_tunnel_ends(sluice, origin, connect, host):
    client = connect(sluice({"limits": {"handshake_timeout": "100ms"}}))
    assert client.connect(host, origin.port).status == 200
    assert client.is_closed()


@pytest.mark.threat("endless-head", "bounded")
def test_a_head_that_never_ends_times_out(sluice, origin, tunnel, host):
    client = tunnel(sluice({"limits": {"header_timeout": "100ms"}}), host, origin.port)
    client.send(b"GET / HTTP/1.1\r\nHost: ")
    assert client.read().status == 408
    assert client.is_closed()


def test_an_idle_connection_ends(sluice, origin, tunnel, host):
    client = tunnel(sluice({"limits": {"idle_timeout": "100ms"}}), host, origin.port)
    assert client.get("/").status == 200
    assert client.is_closed()


# -- half-close and leaving ----------------------------------------------------------------------


@pytest.mark.threat("half-closed-peers")
def test_half_close_after_the_request(proxy, plain_origin, connect, host):
    client = connect(proxy)
    authority = f"{host}:{plain_origin.port}"
    client.send(request("GET", f"http://{authority}/", authority))
    client.sock.shutdown(socket.SHUT_WR)
    assert client.read().status == 200
    assert client.is_closed()


@pytest.mark.threat("half-closed-peers")
def test_half_close_passes_through_a_tunnel(sluice, servers, connect, host):
    def serve(connection):
        connection.send(b"got " + connection.reader.rest())

    origin = servers(Origin(serve=serve))
    client = connect(sluice({"rules": [{"when": "any", "do": "tunnel"}]}))
    assert client.connect(host, origin.port).status == 200
    client.send(b"everything")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.reader.rest() == b"got everything"


def test_a_client_that_resets_cancels_upstream(proxy, scripted, tunnel, host):
    ended = []

    def serve(connection):
        origin.take(connection)
        ended.append(connection.reader.some())
        with origin.condition:
            origin.condition.notify_all()

    origin = scripted(serve=serve)
    client = tunnel(proxy, host, origin.port)
    client.send(request("GET", "/", client.authority))
    origin.wait_requests(1)
    client.reset()
    origin.wait(lambda: ended, "the end of the upstream connection")
    assert proxy.log(host=host)["error"] == "cancelled"


# -- upgrades ------------------------------------------------------------------------------------


HI = websocket.frame(websocket.TEXT, b"hi", masked=False)
ABC = websocket.frame(websocket.TEXT, b"abc")


def accept_websocket(connection):
    websocket.upgrade(connection, connection.read_request(), first=HI)
    websocket.echo(connection)


def test_an_upgrade_is_relayed(proxy, scripted, tunnel, host):
    client = tunnel(proxy, host, scripted(serve=accept_websocket).port)
    answer = client.get("/ws", OFFER)
    assert answer.status == 101
    assert answer.get("upgrade") == "websocket" and answer.get("connection").lower() == "upgrade"
    assert websocket.read(client.reader)[1] == b"hi"
    client.send(ABC)
    assert websocket.read(client.reader)[1] == b"abc"


def test_bytes_sent_with_the_upgrade_are_kept(proxy, scripted, tunnel, host):
    client = tunnel(proxy, host, scripted(serve=accept_websocket).port)
    client.send(request("GET", "/ws", client.authority, OFFER) + ABC)
    assert client.read().status == 101
    assert [websocket.read(client.reader)[1] for _ in range(2)] == [b"hi", b"abc"]


def test_an_upgrade_is_checked(sluice, check, scripted, tunnel, dns, host):
    check.answer = lambda q: {"action": "deny"}
    origin = scripted(serve=accept_websocket)
    client = tunnel(sluice(check.config()), host, origin.port)
    assert client.get("/ws", OFFER).status == 403
    assert origin.n_connections == 0 and not dns.heard_of(host)
    assert check.questions[0]["request"]["scheme"] == "wss"


@pytest.mark.threat("200-as-upgrade")
def test_only_101_opens_a_tunnel(proxy, scripted, tunnel, host):
    client = tunnel(proxy, host, scripted().port)
    client.send(request("GET", "/ws", client.authority, OFFER) +
                request("GET", "/smuggled", client.authority))
    assert client.read().status == 502
    assert client.read().text.startswith("GET /smuggled")


@pytest.mark.threat("200-as-upgrade")
def test_101_that_was_not_asked_for_is_502(proxy, scripted, tunnel, host):
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
    assert tunnel(proxy, host, scripted(fixed(answer)).port).get("/").status == 502


def test_101_to_another_protocol_is_502(proxy, scripted, tunnel, host):
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    client = tunnel(proxy, host, scripted(fixed(answer)).port)
    assert client.get("/", OFFER).status == 502
    assert proxy.log(host=host)["error"] == "upgrade_failed"


def test_websockets_library(proxy, pki, connect, host):
    websockets = pytest.importorskip("websockets")

    async def talk():
        async def mirror(socket_, _path=None):
            async for message in socket_:
                await socket_.send(message[::-1])

        async with websockets.serve(mirror, "127.0.0.1", 0, ssl=pki.server_context()) as server:
            port = server.sockets[0].getsockname()[1]
            client = connect(proxy)
            answer = await asyncio.to_thread(client.connect, host, port)
            assert answer.status == 200
            async with websockets.connect(f"wss://{host}:{port}/", sock=client.sock,
                                          ssl=proxy.trusting(), server_hostname=host) as ws:
                await ws.send("hello")
                assert await ws.recv() == "olleh"
                await ws.send(b"\x00\x01" * 50000)
                assert await ws.recv() == b"\x01\x00" * 50000

    asyncio.run(asyncio.wait_for(talk(), 30))
    line = proxy.log(host=host)
    assert (line["status"], line["scheme"]) == (101, "wss")
