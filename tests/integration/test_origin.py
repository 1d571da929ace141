"""The way to the origin: its certificate, its failures, its connections, its address."""
import socket
import ssl
import threading
import warnings

import pytest

from harness import http1, waiting
from harness.client import request
from harness.origin import Origin, echo
from harness.process import Sluice, merged


@pytest.fixture
def scripted(servers, pki):
    """scripted(respond or serve=...) -> a TLS origin that answers so."""
    def make(respond=echo, **more):
        return servers(Origin(respond, **{"tls": pki.server_context(), **more}))

    return make


def unused_port():
    """A port of 127.0.0.1 on which nobody listens; the socket keeps it so."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


# -- certificates --------------------------------------------------------------------------------


@pytest.mark.threat("certificate-names")
@pytest.mark.smoke
@pytest.mark.parametrize("name, words, error", [
    ("expired.test", "certificate has expired", "cert_expired"),
    ("not-yet.test", "certificate is not yet valid", "cert_not_yet"),
    ("wrong-host.test", "certificate is for another host", "cert_wrong_host"),
    ("self-signed.test", "certificate is self-signed", "cert_self_signed"),
    ("unknown-issuer.test", "certificate issuer is unknown", "cert_unknown_ca"),
])
def test_a_faulty_certificate_is_a_named_502(proxy, nginx, tunnel, name, words, error):
    client = tunnel(proxy, name, nginx.tls)
    page = client.get("/faulty", [("Accept", "text/html")])
    assert page.status == 502 and words in page.text
    assert page.get("proxy-status").startswith("sluice; error=tls_certificate_error")
    assert client.get("/faulty").status == 502
    assert proxy.log(host=name)["error"] == error
    assert all(hit["uri"] != "/faulty" for hit in nginx.hits(name))
    assert proxy.metric("sluice_handshake_failures_total", side="upstream") >= 2


def test_the_store_of_the_system_does_not_know_our_origins(sluice, nginx, tunnel, host):
    proxy = sluice({"upstream": {"ca_file": "system"}})
    answer = tunnel(proxy, host, nginx.tls).get("/hello.txt")
    assert answer.status == 502 and "issuer is unknown" in answer.text


def test_an_origin_by_address(proxy, origin, connect):
    client = connect(proxy).tunnel("127.0.0.1", origin.port)
    assert client.get("/").status == 200
    assert proxy.log(host="127.0.0.1")["leaf"] in ("forged", "hit")


def test_a_tls_12_origin(proxy, nginx, tunnel, host):
    assert tunnel(proxy, host, nginx.tls12).get("/hello.txt").status == 200
    assert nginx.wait_hits(host, 1)[0]["tls"] == "TLSv1.2"
    assert proxy.log(host=host)["tls_upstream"] == "TLSv1.2"


@pytest.mark.threat("one-name")
def test_the_origin_is_told_the_name(proxy, nginx, tunnel, host):
    tunnel(proxy, host, nginx.tls).get("/hello.txt")
    hit = nginx.wait_hits(host, 1)[0]
    assert (hit["sni"], hit["tls"]) == (host, "TLSv1.3")


def test_an_origin_that_speaks_no_tls_is_502(proxy, servers, tunnel, host):
    plain = servers(Origin(serve=lambda c: (c.reader.some(), c.send(http1.response(b"", 400)))))
    answer = tunnel(proxy, host, plain.port).get("/")
    assert answer.status == 502
    assert "error=tls_" in answer.get("proxy-status")


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.threat("dead-upstream")
@pytest.mark.smoke
def test_a_dead_origin_is_502_inside_tls(proxy, tunnel, host):
    sock, port = unused_port()
    with sock:
        client = tunnel(proxy, host, port)
        answer = client.get("/", [("Accept", "text/html")])
        assert answer.status == 502 and "error=connection_refused" in answer.get("proxy-status")
        assert "<!doctype html>" in answer.text
        assert client.get("/").status == 502
    line = proxy.log(host=host)
    assert (line["error"], line["status"]) == ("refused", 502)


def test_a_name_that_does_not_exist_is_502(proxy, tunnel):
    client = tunnel(proxy, "nowhere.invalid", 443)
    answer = client.get("/")
    assert answer.status == 502 and "error=dns_error" in answer.get("proxy-status")
    assert "does not resolve" in answer.text


def test_a_name_without_address_is_502(proxy, dns, tunnel, host):
    dns.records[host] = []
    answer = tunnel(proxy, host, 443).get("/")
    assert answer.status == 502 and "error=dns_error" in answer.get("proxy-status")


def test_a_dns_server_that_says_nothing_is_504(sluice, dns, tunnel, host):
    dns.silent.add(host)
    proxy = sluice({"upstream": {"connect_timeout": "300ms"}})
    answer = tunnel(proxy, host, 443).get("/")
    assert answer.status == 504
    assert dns.heard_of(host)


def test_the_second_address_is_tried(proxy, dns, scripted, tunnel, host):
    dns.records[host] = ["127.0.0.9", "127.0.0.1"]
    origin = scripted()
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    assert proxy.log(host=host)["upstream_ip"] == "127.0.0.1"


def test_an_origin_that_never_finishes_the_handshake_is_504(sluice, servers, tunnel, host):
    held = threading.Event()
    silent = servers(Origin(serve=lambda connection: held.wait(20)))
    proxy = sluice({"upstream": {"connect_timeout": "300ms"}})
    answer = tunnel(proxy, host, silent.port).get("/")
    held.set()
    assert answer.status == 504
    assert "error=connection_timeout" in answer.get("proxy-status")


@pytest.mark.smoke
def test_no_response_in_time_is_504(sluice, scripted, tunnel, host):
    held = threading.Event()
    origin = scripted(serve=lambda c: (c.read_request(), held.wait(20)))
    proxy = sluice({"upstream": {"response_timeout": "300ms"}})
    client = tunnel(proxy, host, origin.port)
    answer = client.get("/")
    held.set()
    assert answer.status == 504
    assert "error=http_response_timeout" in answer.get("proxy-status")
    assert proxy.log(host=host)["error"] == "response_timeout"


def test_a_close_without_response_is_502(proxy, scripted, tunnel, host):
    origin = scripted(serve=lambda c: c.read_request())
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 502
    assert "error=connection_terminated" in answer.get("proxy-status")
    assert origin.n_connections == 1


def test_a_response_that_ends_early_is_cut(proxy, scripted, tunnel, host):
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)

    client = tunnel(proxy, host, scripted(serve=serve).port)
    with pytest.raises((http1.Closed, ConnectionError)):
        client.get("/")
    line = proxy.log(host=host)
    assert (line["status"], line["error"]) == (200, "response_cut")


@pytest.mark.parametrize("is_tls", [True, False])
def test_a_cut_shows_where_only_the_end_of_the_connection_tells(proxy, scripted, connect, host,
                                                                is_tls):
    """A 1.0 client sees no chunks: a proper end would make the rest of the body nobody's loss."""
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert got.wait(20)
        connection.reset()

    got = threading.Event()
    client = connect(proxy)
    port = scripted(serve=serve, **({} if is_tls else {"tls": None})).port
    assert client.connect(host, port).status == 200
    if is_tls:
        context = proxy.trusting()
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0x80)
        client.sock = context.wrap_socket(client.sock, server_hostname=host,
                                          suppress_ragged_eofs=False)
        client.reader = http1.Reader(client.sock)
    client.send(request("GET", "/", client.authority, version="1.0"))
    assert http1.read_head(client.reader).status == 200
    client.reader.until(b"hello")
    got.set()
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        client.sock.recv(1)


@pytest.mark.parametrize("rest", [b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                                  b"Content-Length: 5\r\n\r\n"])
def test_a_response_whose_body_fails_at_once_shows_its_head(proxy, scripted, tunnel, host, rest):
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n" + rest)

    client = tunnel(proxy, host, scripted(serve=serve).port)
    client.send(request("GET", "/", client.authority))
    assert http1.read_head(client.reader).get("x-a") == "1"
    assert client.is_closed()
    assert proxy.log(host=host)["error"] in ("bad_response", "response_cut", "bad_framing")


def test_a_reset_inside_the_response_is_cut(proxy, scripted, tunnel, host):
    def serve(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert got.wait(20)
        connection.reset()

    got = threading.Event()
    client = tunnel(proxy, host, scripted(serve=serve).port)
    client.send(request("GET", "/", client.authority))
    assert http1.read_head(client.reader).status == 200
    client.reader.until(b"hello\r\n")
    got.set()
    assert client.is_closed()
    assert proxy.log(host=host)["error"] in ("reset", "response_cut")


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.threat("ssrf-forms")
@pytest.mark.smoke
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254",
                                     "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1",
                                     "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"])
def test_a_guarded_address_is_403(guarded, dns, tunnel, host, address):
    dns.records[host] = [address]
    client = tunnel(guarded, host, 443)
    answer = client.get("/")
    assert answer.status == 403
    assert "error=destination_ip_prohibited" in answer.get("proxy-status")
    line = guarded.log(host=host)
    assert (line["verdict"], line["error"]) == ("deny", "blocked_address")


@pytest.fixture(scope="module")
def guarded(binary, tmp_path_factory, surroundings):
    config = merged(surroundings, {"upstream": {"allow_addresses": []}})
    proxy = Sluice(binary, tmp_path_factory.mktemp("sluice"), config).wait_ready()
    yield proxy
    proxy.finish()


@pytest.mark.parametrize("literal", ["127.0.0.1", "[::1]", "[::ffff:10.0.0.1]"])
def test_a_guarded_literal_is_403(guarded, connect, literal):
    client = connect(guarded)
    assert client.ask("GET", f"http://{literal}/", host=literal).status == 403


def test_a_guarded_tunnel_is_refused(sluice, connect, host):
    rules = [{"when": "any", "do": "tunnel"}]
    proxy = sluice({"upstream": {"allow_addresses": []}, "rules": rules})
    assert connect(proxy).connect(host, 443).status == 403


@pytest.mark.threat("admin-through-proxy")
@pytest.mark.parametrize("where", ["listener", "admin"])
def test_its_own_addresses_are_never_reached(proxy, connect, host, where):
    port = proxy.port if where == "listener" else int(proxy.admin.rsplit(":", 1)[1])
    client = connect(proxy)
    answer = client.ask("GET", f"http://{host}:{port}/metrics", host=f"{host}:{port}")
    assert answer.status == 403
    assert "error=destination_ip_prohibited" in answer.get("proxy-status")


def test_an_allowed_range_is_that_range_alone(sluice, dns, origin, tunnel, host):
    proxy = sluice({"upstream": {"allow_addresses": ["127.0.0.1/32"]}})
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    dns.records["b-" + host] = ["127.0.0.2"]
    assert tunnel(proxy, "b-" + host, origin.port).get("/").status == 403


# -- connections ---------------------------------------------------------------------------------


def test_a_dead_reused_connection_is_retried(sluice, scripted, tunnel, host):
    def serve(connection):
        first = connection.number == 0
        while origin.take(connection):
            if first and len(origin.requests) > 1:
                return
            connection.send(http1.response(str(connection.number).encode()))

    origin = scripted(serve=serve)
    client = tunnel(sluice({"workers": 1}), host, origin.port)
    assert [client.get(f"/{i}").body for i in range(3)] == [b"0", b"1", b"1"]
    assert origin.n_connections == 2


def test_a_post_is_not_sent_twice(sluice, scripted, tunnel, host):
    def serve(connection):
        while origin.take(connection):
            if len(origin.requests) > 1:
                return
            connection.send(http1.response(b"x"))

    origin = scripted(serve=serve)
    client = tunnel(sluice({"workers": 1}), host, origin.port)
    assert client.get("/").status == 200
    assert client.ask("POST", "/pay", body=b"1").status == 502
    assert len(origin.requests) == 2


def test_an_idle_connection_that_the_origin_closed_is_not_used(sluice, scripted, tunnel, host):
    def serve(connection):
        origin.take(connection)
        connection.send(http1.response(b"x"))

    origin = scripted(serve=serve)
    proxy = sluice({"workers": 1})
    client = tunnel(proxy, host, origin.port)
    for _ in range(3):
        assert client.ask("POST", "/", body=b"1").status == 200
        waiting.until(lambda: proxy.metric("sluice_upstream_connections", state="idle") == 0,
                      "the closed connection to leave the pool")


@pytest.mark.smoke
def test_clients_share_upstream_connections(sluice, origin, tunnel, host):
    proxy = sluice({"workers": 1})
    for _ in range(10):
        with tunnel(proxy, host, origin.port) as client:
            for i in range(5):
                assert client.get(f"/{i}").status == 200
    assert origin.n_connections == 1
    assert proxy.metric("sluice_upstream_connections_opened_total") == 1
    assert proxy.log(target="/0")["upstream_reused"] is False
    assert proxy.log(target="/4")["upstream_reused"] is True


def test_many_clients_open_no_more_connections_than_themselves(sluice, origin, tunnel, host):
    proxy = sluice()
    clients = [tunnel(proxy, host, origin.port) for _ in range(16)]

    def use(client):
        for i in range(25):
            assert client.get(f"/{i}").status == 200

    threads = [threading.Thread(target=use, args=(c,)) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(origin.requests) == 400
    assert origin.n_connections <= 16


def test_hosts_do_not_share_connections(sluice, origin, tunnel, host):
    proxy = sluice({"workers": 1})
    for name in (host, "b-" + host, host):
        with tunnel(proxy, name, origin.port) as client:
            assert client.get("/").status == 200
    assert origin.n_connections == 2


def test_ntlm_pins_the_connection_to_its_client(sluice, scripted, tunnel, host):
    origin = scripted(lambda r: http1.response(str(r.connection).encode()))
    proxy = sluice({"workers": 1})
    one = tunnel(proxy, host, origin.port)
    mine = one.get("/", [("Authorization", "NTLM abc")]).body
    other = tunnel(proxy, host, origin.port)
    assert other.get("/").body != mine
    assert one.get("/").body == mine


def test_an_ntlm_handshake_stays_on_the_connection_it_began_on(sluice, scripted, tunnel, host):
    answers = {None: (401, "NTLM"), "NTLM 1": (401, "NTLM 2"), "NTLM 3": (200, "NTLM")}

    def respond(r):
        status, said = answers[r.get("authorization")]
        return http1.response(str(r.connection).encode(), status, [("WWW-Authenticate", said)])

    origin = scripted(respond)
    client = tunnel(sluice({"workers": 1}), host, origin.port)
    asked = [client.get("/", [("Authorization", said)] if said else []) for said in answers]
    assert [a.status for a in asked] == [401, 401, 200]
    assert len({a.body for a in asked}) == 1 and origin.n_connections == 1


def test_no_pool_when_it_holds_nothing(sluice, origin, tunnel, host):
    proxy = sluice({"upstream": {"pool": {"max_idle": 0}}})
    client = tunnel(proxy, host, origin.port)
    for i in range(3):
        assert client.get(f"/{i}").status == 200
    assert origin.n_connections == 3


def test_upstream_sessions_are_resumed(sluice, nginx, tunnel, host):
    proxy = sluice({"workers": 1, "upstream": {"pool": {"max_idle": 0}}})
    client = tunnel(proxy, host, nginx.tls)
    for _ in range(4):
        assert client.get("/hello.txt").status == 200
    reused = [hit["reused"] for hit in nginx.wait_hits(host, 4)]
    assert reused[0] == "." and reused[1:] == ["r"] * 3
    assert proxy.metric("sluice_handshakes_total", side="upstream", resumed="true") == 3


def test_a_slow_reader_holds_the_origin_back(sluice, scripted, tunnel, host):
    """Backpressure: what the client does not take is not read from the origin."""
    sent = []

    def serve(connection):
        origin.take(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        connection.sock.settimeout(1)
        try:
            while True:
                connection.send(b"x" * 65536)
                sent.append(65536)
        finally:
            with origin.condition:
                sent.append(0)
                origin.condition.notify_all()

    origin = scripted(serve=serve)
    client = tunnel(sluice(), host, origin.port)
    client.send(request("GET", "/", client.authority))
    origin.wait(lambda: sent and sent[-1] == 0, "the origin to be held back")
    assert sum(sent) < 64 << 20


# -- more that origins do ------------------------------------------------------------------------


def test_an_origin_that_wants_a_certificate_is_502(proxy, servers, pki, tunnel, host):
    context = pki.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki.ca)
    origin = servers(Origin(tls=context))
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 502
    assert "error=tls_" in answer.get("proxy-status")


def test_an_origin_of_old_tls_is_502(proxy, servers, pki, tunnel, host):
    context = pki.server_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    origin = servers(Origin(tls=context))
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 502
    assert "error=tls_" in answer.get("proxy-status")


def test_a_failing_preconnect_is_tried_again_after_the_verdict(sluice, check, tunnel, host):
    sock, port = unused_port()
    with sock:
        proxy = sluice({**check.config(), "upstream": {"preconnect": True}})
        client = tunnel(proxy, host, port)
        assert [client.get("/").status for _ in range(3)] == [502] * 3


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
@pytest.mark.parametrize("method, body", [("POST", b"abc"), ("POST", b""), ("PUT", b"x")])
def test_a_preconnection_that_ends_costs_no_request(sluice, check, servers, pki, tunnel, host,
                                                    method, body, said):
    ended = threading.Event()

    def serve(connection):
        if not ended.is_set():
            connection.send(said)
            connection.finish()
            ended.set()
        else:
            assert connection.read_request().body == body
            connection.send(http1.response(b"ok"))

    check.answer = lambda q: check.stall()
    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    proxy = sluice({**check.config(timeout="30s"), "workers": 1, "upstream": {"preconnect": True}})
    client = tunnel(proxy, host, origin.port)
    client.send(request(method, "/", client.authority, (), body))
    assert ended.wait(20)
    tunnel(proxy, host, origin.port)  # meanwhile the end has been heard of
    check.release()
    assert client.read().body == b"ok"
    assert origin.n_connections == 2


def test_preconnect_by_rule(sluice, check, origin, tunnel, host):
    check.answer = lambda q: check.stall()
    config = check.config(timeout="30s")
    config["rules"][0]["upstream"] = {"preconnect": True}
    client = tunnel(sluice(config), host, origin.port)
    client.send(request("GET", "/", client.authority))
    check.wait_questions(1)
    origin.wait(lambda: origin.connections, "a connection before the verdict")
    check.release()
    assert client.read().status == 200


def test_a_name_with_guarded_and_open_addresses_uses_the_open_ones(sluice, dns, origin, tunnel,
                                                                   host):
    dns.records[host] = ["10.1.2.3", "127.0.0.1"]
    proxy = sluice({"upstream": {"connect_timeout": "5s"}})
    assert tunnel(proxy, host, origin.port).get("/").status in (200, 403)
    assert proxy.log(host=host)["upstream_ip"] in ("127.0.0.1", None)


def test_a_rebinding_name_is_guarded_each_time(sluice, dns, origin, tunnel, host):
    proxy = sluice({"workers": 1, "upstream": {"allow_addresses": ["127.0.0.1/32"],
                                               "pool": {"max_idle": 0}}})
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    dns.records[host] = ["127.0.0.66"]

    def is_blocked():
        return client.get("/").status == 403

    waiting.until(is_blocked, "the new address to be guarded")


def test_upload_is_held_back_by_a_slow_origin(sluice, scripted, tunnel, host):
    def serve(connection):
        http1.read_head(connection.reader)
        got_head.set()
        go.wait(30)
        connection.reader.exactly(16 << 20)
        connection.send(http1.response(b"all"))

    got_head, go = threading.Event(), threading.Event()
    client = tunnel(sluice(), host, scripted(serve=serve).port)
    client.send(request("POST", "/", client.authority, [("Content-Length", str(16 << 20))]))
    assert got_head.wait(20)
    client.sock.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 16 << 20:
            sent += client.sock.send(b"x" * 65536)
    assert sent < 16 << 20
    go.set()
    client.sock.settimeout(waiting.DEADLINE)
    client.send(b"x" * ((16 << 20) - sent))
    assert client.read().body == b"all"


def test_an_origin_gone_inside_the_upload_is_502(proxy, scripted, tunnel, host):
    def serve(connection):
        http1.read_head(connection.reader)
        connection.reset()

    client = tunnel(proxy, host, scripted(serve=serve).port)
    client.send(request("POST", "/", client.authority, [("Content-Length", "100000")], b"x" * 100))
    assert client.read().status == 502


# -- certificates that only look right -----------------------------------------------------------


def served_with(servers, pki, pair):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(*pair)
    return servers(Origin(tls=context))


def test_a_name_in_the_subject_alone_proves_nothing(proxy, servers, pki, tunnel):
    origin = served_with(servers, pki, pki.authority.issue("cn-only.test", None))
    answer = tunnel(proxy, "cn-only.test", origin.port).get("/")
    assert answer.status == 502
    assert proxy.log(host="cn-only.test")["error"] == "cert_wrong_host"
    assert origin.requests == []


def test_a_weak_key_is_named(proxy, servers, pki, tunnel):
    leaf = pki.authority.issue("weak.test", "DNS:weak.test",
                               new_key=["-newkey", "rsa:1024", "-nodes"])
    origin = served_with(servers, pki, leaf)
    answer = tunnel(proxy, "weak.test", origin.port).get("/")
    assert answer.status == 502 and "too weak" in answer.text
    assert proxy.log(host="weak.test")["error"] == "cert_weak_key"


def test_a_wildcard_covers_one_label(proxy, origin, tunnel, host):
    assert tunnel(proxy, f"deep.{host}", origin.port).get("/").status == 502


def test_a_client_certificate_is_no_server_s(proxy, servers, pki, tunnel):
    leaf = pki.authority.issue("client-only.test", "DNS:client-only.test", usage="clientAuth")
    origin = served_with(servers, pki, leaf)
    answer = tunnel(proxy, "client-only.test", origin.port).get("/")
    assert answer.status == 502
    assert "tls_certificate_error" in answer.get("proxy-status")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_lease_that_ends_while_the_check_is_out(sluice, check, scripted, tunnel, host, method):
    """Taken from the pool before the verdict, closed by the origin before the request."""
    def serve(connection):
        while origin.take(connection):
            connection.send(http1.response(b"x"))
            if connection.number == 0:
                assert go.wait(20)
                return

    go = threading.Event()
    origin = scripted(serve=serve)
    check.answer = lambda q: check.stall() if q["request"]["path"] == "/2" else {"action": "allow"}
    proxy = sluice({**check.config(timeout="30s"), "workers": 1, "upstream": {"preconnect": True}})
    client = tunnel(proxy, host, origin.port)
    assert client.get("/1").status == 200
    body = b"body" if method == "POST" else b""
    client.send(request(method, "/2", client.authority, body=body))
    check.wait_questions(2)
    go.set()
    waiting.until(lambda: origin.connections[0].sock.fileno() < 0, "the origin's close")
    check.release()
    answer = client.read()
    assert answer.status == 200 or (answer.status, method) == (502, "POST")
    assert proxy.log(target="/2")["error"] in (None, "reset")
