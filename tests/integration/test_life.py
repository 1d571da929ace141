"""A life of the process: start, reload, rotate, drain; and the commands around it."""
import re
import signal
import socket
import threading

import pytest

from harness import http1, waiting
from harness.check_service import CheckService, deny
from harness.client import request
from harness.origin import Origin, echo
from harness.process import Sluice, merged

pytest_plugins = ["harness.h2fixtures"]


@pytest.fixture
def held(servers, pki):
    """An origin that answers /slow only once `held.go` is set."""
    go = threading.Event()

    def respond(asked):
        if asked.target == "/slow":
            assert go.wait(30)
        return echo(asked)

    origin = servers(Origin(respond, tls=pki.server_context()))
    origin.go = go
    yield origin
    go.set()


def send_slow(client):
    client.send(request("GET", "/slow", client.authority))


# -- draining ------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_sigterm_lets_exchanges_finish(sluice, held, tunnel, host):
    proxy = sluice({"shutdown_grace": "20s"})
    client, idle = tunnel(proxy, host, held.port), tunnel(proxy, host, held.port)
    assert idle.get("/").status == 200
    send_slow(client)
    held.wait_requests(2)
    proxy.terminate()
    assert idle.is_closed()
    with pytest.raises(ConnectionError):
        waiting.until(lambda: socket.create_connection(("127.0.0.1", proxy.port), 1).close(),
                      "refusal of new connections")
    assert proxy.process.poll() is None
    held.go.set()
    answer = client.read()
    assert answer.status == 200 and answer.get("connection") == "close"
    assert client.is_closed()
    assert proxy.process.wait(20) == 0
    assert proxy.log(target="/slow")["status"] == 200


def test_readyz_says_no_while_draining(sluice, held, tunnel, host):
    proxy = sluice({"shutdown_grace": "20s"})
    assert proxy.look("/readyz")[0] == 200
    client = tunnel(proxy, host, held.port)
    send_slow(client)
    held.wait_requests(1)
    proxy.terminate()
    waiting.until(lambda: proxy.look("/readyz")[0] == 503, "503 of /readyz")
    assert proxy.look("/healthz")[0] == 200
    held.go.set()
    assert client.read().status == 200


def test_the_grace_ends(sluice, held, tunnel, host):
    proxy = sluice({"shutdown_grace": "200ms"})
    client = tunnel(proxy, host, held.port)
    send_slow(client)
    held.wait_requests(1)
    assert proxy.stop(seconds=10) == 0
    assert client.is_closed()


def test_a_second_signal_stops_at_once(sluice, held, tunnel, host):
    proxy = sluice({"shutdown_grace": "1h"})
    client = tunnel(proxy, host, held.port)
    send_slow(client)
    held.wait_requests(1)
    proxy.terminate()
    waiting.until(lambda: proxy.look("/readyz")[0] == 503, "the drain")
    proxy.terminate()
    assert proxy.process.wait(10) in (0, 1)
    assert client.is_closed()


def test_sigint_is_as_sigterm(sluice):
    assert sluice().stop(signal.SIGINT) == 0


# -- reloading -----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_reload_changes_the_rules_and_drops_nobody(sluice, surroundings, origin, tunnel, host):
    proxy = sluice()
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    proxy.reload(merged(surroundings, {"rules": [{"when": "any", "do": "deny"}]}))
    assert client.get("/").status == 403
    assert tunnel(proxy, host, origin.port).get("/").status == 403
    proxy.reload(surroundings)
    assert client.get("/").status == 200


def test_an_exchange_keeps_the_rules_it_began_with(sluice, surroundings, held, tunnel, host):
    proxy = sluice()
    client = tunnel(proxy, host, held.port)
    send_slow(client)
    held.wait_requests(1)
    proxy.reload({**surroundings, "default": "deny"})
    held.go.set()
    assert client.read().status == 200
    assert client.get("/").status == 403


def test_a_bad_file_leaves_the_old_one_in_force(sluice, origin, tunnel, host):
    proxy = sluice({"rules": [{"when": "path /no", "do": "deny"}]})
    client = tunnel(proxy, host, origin.port)
    proxy.file.write_text("rules: [\n")
    said = proxy.reload()
    assert "sluice.yaml:" in said and "failed" in said
    assert [client.get("/no").status, client.get("/yes").status] == [403, 200]


def test_reload_reads_host_lists_again(sluice, origin, tunnel, host, tmp_path):
    listed = tmp_path / "list"
    listed.write_text("other.test\n")
    proxy = sluice({"rules": [{"when": f"host in {listed}", "do": "deny"}]})
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    listed.write_text(f"{host}\n")
    proxy.reload()
    assert client.get("/").status == 403


def test_reload_changes_checks(sluice, surroundings, servers, check, origin, tunnel, host):
    other = servers(CheckService(lambda q: deny(reason="the new one")))
    proxy = sluice(check.config())
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    proxy.reload({**surroundings, **other.config()})
    answer = client.get("/")
    assert answer.status == 403 and "the new one" in answer.text
    assert len(check.questions) == 1


def test_many_reloads_under_traffic(sluice, origin, tunnel, host):
    proxy = sluice()
    stop = threading.Event()
    statuses = set()

    def use():
        client = tunnel(proxy, host, origin.port)
        while not stop.is_set():
            statuses.add(client.get("/").status)

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    for _ in range(10):
        proxy.reload()
    stop.set()
    for user in users:
        user.join(20)
    assert statuses == {200}


# -- logs ----------------------------------------------------------------------------------------


def test_sigusr1_opens_the_log_anew(sluice, origin, tunnel, host):
    proxy = sluice()
    client = tunnel(proxy, host, origin.port)
    client.get("/old")
    proxy.log(target="/old")
    old = proxy.access.with_suffix(".1")
    proxy.access.rename(old)
    proxy.process.send_signal(signal.SIGUSR1)
    waiting.until(proxy.access.exists, "the new log file")
    client.get("/new")
    assert proxy.log(target="/new")
    assert "/new" not in old.read_text() and "/old" not in proxy.access.read_text()


@pytest.mark.smoke
def test_a_full_log_device_stops_nothing_and_is_counted(sluice, origin, tunnel, host):
    proxy = sluice({"log": {"access": "/dev/full"}})
    client = tunnel(proxy, host, origin.port)
    assert [client.get(f"/{i}").status for i in range(3)] == [200] * 3
    waiting.until(lambda: proxy.metric("sluice_log_lines_dropped_total") >= 3, "lost lines counted")
    assert proxy.wait_stderr("access log")


def test_the_text_log_is_one_line_an_exchange(sluice, origin, tunnel, host):
    proxy = sluice({"log": {"format": "text"}})
    client = tunnel(proxy, host, origin.port)
    client.ask("GET", "/a", [("X-Evil", "1")])
    waiting.until(lambda: proxy.access.exists() and proxy.access.read_text(), "a line")
    line = proxy.access.read_text()
    assert line.count("\n") == 1
    assert f"GET https://{host}:{origin.port}/a 200 allow default" in line


def test_the_log_on_stdout_and_off(sluice, origin, tunnel, host):
    proxy = sluice({"log": {"access": "off"}})
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    assert not proxy.access.exists()


@pytest.mark.threat("says-why")
def test_the_log_line_has_every_field(sluice, check, origin, tunnel, host):
    proxy = sluice(check.config())
    client = tunnel(proxy, host, origin.port)
    client.ask("POST", "/a?b=1", body=b"12345")
    line = proxy.log(host=host)
    fields = ("ts id client user listener method scheme host port target http status bytes_in "
              "bytes_out duration_us verdict decided_by reason check_us cache leaf upstream_ip "
              "upstream_reused tls_client tls_upstream opaque error").split()
    assert list(line) == fields
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["ts"])
    expected = {"client": "127.0.0.1", "user": None, "method": "POST", "scheme": "https",
                "port": origin.port, "target": "/a?b=1", "http": "1.1", "status": 200,
                "bytes_in": 5, "reason": None, "cache": "miss", "leaf": "forged",
                "upstream_ip": "127.0.0.1", "upstream_reused": False, "tls_client": "TLSv1.3",
                "tls_upstream": "TLSv1.3", "opaque": False, "error": None}
    assert {k: line[k] for k in expected} == expected
    assert line["bytes_out"] > 0 and line["duration_us"] >= line["check_us"] > 0


@pytest.mark.threat("secrets-in-error-pages", "nobody-in")
def test_secrets_are_in_no_log(sluice, origin, tunnel, host):
    proxy = sluice({"rules": [{"when": "path /no", "do": "deny"}], "log": {"level": "debug"}})
    client = tunnel(proxy, host, origin.port)
    secret = [("Authorization", "Bearer s3cret"), ("Cookie", "c=s3cret"), ("X-Key", "s3cret")]
    client.get("/yes", secret)
    client.ask("POST", "/no?q=s3cret", secret, b"s3cret")
    proxy.log(target="/no")
    assert "s3cret" not in proxy.access.read_text() + proxy.stderr


# -- the admin address ---------------------------------------------------------------------------


@pytest.mark.threat("key-kept")
@pytest.mark.smoke
def test_admin_pages(proxy):
    assert proxy.look("/healthz")[0] == proxy.look("/readyz")[0] == 200
    status, pem = proxy.look("/ca.pem")
    assert status == 200 and pem == proxy.ca.read_bytes()
    assert b"PRIVATE" not in pem
    assert proxy.look("/nothing")[0] == 404
    assert b"metrics" in proxy.look("/")[1]


def test_metrics_are_prometheus_text(sluice, check, origin, tunnel, host):
    proxy = sluice(check.config())
    tunnel(proxy, host, origin.port).get("/")
    text = proxy.look("/metrics")[1].decode()
    families = re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", text, re.M)
    names = {name for name, _ in families}
    assert len(names) == len(families)
    assert names >= {"sluice_requests_total", "sluice_check_failures_total",
                     "sluice_check_duration_seconds", "sluice_leaf_cache_hits_total",
                     "sluice_leaf_cache_misses_total", "sluice_forge_duration_seconds",
                     "sluice_handshakes_total", "sluice_handshake_failures_total",
                     "sluice_upstream_connections", "sluice_exchanges", "sluice_open_connections",
                     "process_cpu_seconds_total", "process_resident_memory_bytes",
                     "process_open_fds"}
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) .*|\w+(\{.*\})? [-+.eE0-9InfNa]+", line), line


def test_gauges_return_to_zero(sluice, origin, tunnel, host):
    proxy = sluice()
    client = tunnel(proxy, host, origin.port)
    client.get("/")
    assert proxy.metric("sluice_open_connections") == 1
    client.sock.close()
    waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "no open connection")
    assert proxy.metric("sluice_exchanges") == 0


def test_a_profile(proxy):
    status, profile = proxy.look("/debug/pprof/profile?seconds=1")
    if status == 501:
        pytest.skip("built without gperftools")
    assert status == 200 and len(profile) >= 40
    assert int.from_bytes(profile[:8], "little") == 0


@pytest.mark.threat("admin-through-proxy")
def test_admin_refuses_other_hosts(proxy):
    assert proxy.look("/metrics", {"Host": "evil.example"})[0] == 421


def test_admin_on_a_unix_socket(sluice, tmp_path):
    path = tmp_path / "admin.sock"
    sluice({"admin": {"address": f"unix:{path}"}})
    sock = socket.socket(socket.AF_UNIX)
    waiting.until(path.exists, "the socket")
    with sock:
        sock.connect(str(path))
        sock.sendall(request("GET", "/healthz", "x", [("Connection", "close")]))
        assert http1.read_response(http1.Reader(sock)).status == 200


def test_admin_survives_garbage(proxy):
    address = proxy.admin.rsplit(":", 1)
    for garbage in (b"\x00\xff\r\n\r\n", b"GET /" + b"x" * 100000, b"POST / HTTP/1.1\r\n\r\n"):
        with socket.create_connection((address[0], int(address[1])), 10) as sock:
            try:
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
                http1.Reader(sock).rest()
            except ConnectionError:
                pass
    assert proxy.look("/healthz")[0] == 200


# -- reloading what connections hold -------------------------------------------------------------


def test_reload_changes_the_authority(sluice, surroundings, cli, origin, tunnel, host, tmp_path):
    """From another directory, which the sandbox would not allow."""
    proxy = sluice({"security": {"sandbox": "off"}})
    old = tunnel(proxy, host, origin.port)
    assert old.get("/").status == 200
    assert cli("ca", "init", "--state-dir", tmp_path, "--name", "second").returncode == 0
    proxy.reload(merged(surroundings, {"ca": {"certificate": str(tmp_path / "ca.pem"),
                                              "key": str(tmp_path / "ca.key")}}))
    assert old.get("/").status == 200
    assert proxy.look("/ca.pem")[1] == (tmp_path / "ca.pem").read_bytes()
    proxy.ca = tmp_path / "ca.pem"
    new = tunnel(proxy, host, origin.port)
    assert new.get("/").status == 200
    assert dict(x[0] for x in new.sock.getpeercert()["issuer"])["commonName"] == "second"


def test_reload_with_a_bad_authority_keeps_the_old(sluice, surroundings, origin, tunnel, host,
                                                   tmp_path):
    proxy = sluice()
    (tmp_path / "ca.pem").write_text("rubbish")
    (tmp_path / "ca.key").write_text("rubbish")
    (tmp_path / "ca.key").chmod(0o600)
    said = proxy.reload(merged(surroundings, {"ca": {"certificate": str(tmp_path / "ca.pem"),
                                                     "key": str(tmp_path / "ca.key")}}))
    assert "failed" in said and "ca.pem" in said
    assert tunnel(proxy, host, origin.port).get("/").status == 200


def test_reload_changes_limits(sluice, surroundings, origin, tunnel, host):
    proxy = sluice()
    big = [("X-Big", "x" * 4000)]
    assert tunnel(proxy, host, origin.port).get("/", big).status == 200
    proxy.reload(merged(surroundings, {"limits": {"header_bytes": "2KiB"}}))
    assert tunnel(proxy, host, origin.port).get("/", big).status == 431


def test_reload_changes_limits_of_connections_that_are_there(sluice, surroundings, origin, side_of,
                                                             host):
    proxy = sluice()
    asked = [("POST", "/", [], b"x" * 100), ("GET", "/" + "u" * 600, [], b""),
             ("GET", "/", [("X-Big", "x" * 4000)], b""), ("GET", "/", [("X", "1")] * 30, b"")]
    sides = [side_of(proxy, host, origin.port) for _ in asked]
    assert [side.ask(*a).status for side, a in zip(sides, asked)] == [200] * 4
    proxy.reload(merged(surroundings, {"limits": {"body_bytes": 10, "uri_bytes": 500,
                                                  "header_bytes": "2KiB", "header_count": 20}}))
    assert [side.ask(*a).status for side, a in zip(sides, asked)] == [413, 414, 431, 431]


@pytest.mark.parametrize("was, becomes", [(0, 10), (10, 0)])
def test_a_body_keeps_the_limit_it_began_with(sluice, surroundings, origin, h2, host, was, becomes):
    proxy = sluice({"limits": {"body_bytes": was}})
    client = h2(proxy, host, origin.port)
    number = client.request("POST", "/", end=False)
    client.body(number, b"12345", end=False)
    client.wait_ping()
    proxy.reload(merged(surroundings, {"limits": {"body_bytes": becomes}}))
    client.body(number, b"67890" * 20)
    assert client.response(number).status == (200 if was == 0 else 413)


def test_reload_changes_who_is_trusted(sluice, surroundings, nginx, tunnel):
    proxy = sluice({"upstream": {"verify": False}})
    client = tunnel(proxy, "expired.test", nginx.tls)
    assert client.get("/hello.txt").status == 200
    proxy.reload(surroundings)
    assert client.get("/hello.txt").status == 502


def test_a_session_ticket_of_the_old_authority_is_not_honoured_blindly(sluice, surroundings, cli,
                                                                       origin, tunnel, host,
                                                                       tmp_path):
    proxy = sluice()
    assert cli("ca", "init", "--state-dir", tmp_path).returncode == 0
    context = proxy.trusting()
    first = tunnel(proxy, host, origin.port, context=context)
    assert first.get("/").status == 200
    proxy.reload(merged(surroundings, {"ca": {"certificate": str(tmp_path / "ca.pem"),
                                              "key": str(tmp_path / "ca.key")}}))
    context.load_verify_locations(tmp_path / "ca.pem")
    again = tunnel(proxy, host, origin.port, context=context, session=first.sock.session)
    assert again.get("/").status == 200


def test_cached_verdicts_do_not_survive_a_reload_that_changes_the_check(
        sluice, surroundings, servers, check, origin, tunnel, host):
    check.answer = lambda q: {"action": "allow", "cache": {"ttl": 600, "vary": ["host"]}}
    other = servers(CheckService(lambda q: deny()))
    proxy = sluice(check.config())
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    proxy.reload({**surroundings, **other.config()})
    assert client.get("/").status == 403


# -- telling who waits, listening elsewhere ---------------------------------------------------


def test_systemd_is_told(binary, tmp_path):
    path = tmp_path / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(waiting.DEADLINE)
        proxy = Sluice(binary, tmp_path, {}, env={"NOTIFY_SOCKET": str(path)}).wait_ready()
        try:
            said = sock.recv(4096)
        except TimeoutError:
            said = b""
        proxy.finish()
    if not said:
        pytest.skip("built without libsystemd")
    assert b"READY=1" in said


def test_an_ipv6_listener(sluice, plain_origin, host):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    proxy = sluice({}, "--listen", "[::1]:0")
    port = int(proxy.wait_stderr(r"listening on .*\[::1\]:(\d+)").group(1))
    authority = f"{host}:{plain_origin.port}"
    with socket.create_connection(("::1", port), 20) as sock:
        sock.sendall(request("GET", f"http://{authority}/six", authority))
        assert http1.read_response(http1.Reader(sock)).text.startswith("GET /six")


def n_listening(port):
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def test_reload_moves_sockets_over_each_other(sluice, surroundings, origin, tunnel, host):
    proxy = sluice({"listeners": [{"address": "127.0.0.1:0"}]}, listen=None)
    client = tunnel(proxy, host, origin.port)
    admin, listener = proxy.admin, f"127.0.0.1:{proxy.port}"
    for address in (f"0.0.0.0:{proxy.port}", listener):
        said = proxy.reload(merged(surroundings, {"listeners": [{"address": address}],
                                                  "admin": {"address": admin}}))
        assert "reloaded" in said
        waiting.until(lambda: n_listening(proxy.port) == 1, "the old socket to be closed")
        assert tunnel(proxy, host, origin.port).get("/").status == 200
    proxy.reload(merged(surroundings, {"listeners": [{"address": admin}],
                                       "admin": {"address": listener}}))
    proxy.port, proxy._admin = int(admin.rsplit(":", 1)[1]), listener
    waiting.until(lambda: proxy.look("/healthz")[0] == 200, "the admin address to be elsewhere")
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    assert client.get("/").status == 200


def test_listen_takes_the_place_of_the_file_s_listeners(sluice):
    proxy = sluice({"listeners": [{"address": "127.0.0.1:1"}]})
    assert proxy.port > 1
