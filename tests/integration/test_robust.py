"""What must not bring it down: full tables, closed pipes, lost directories, crowds."""
import ctypes
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import urllib.request

import pytest

from harness import http1, waiting
from harness.client import Client, request
from harness.origin import Origin
from harness.process import Sluice, merged


@pytest.mark.native
@pytest.mark.parametrize("n", [8, 20])
def test_a_start_without_descriptors_says_so(shell, binary, tmp_path, n):
    ended = shell("sh", "-c", f'ulimit -n {n}; exec "$0" run --state-dir {tmp_path} --listen '
                  "127.0.0.1:0 --set admin.address=off --set workers=3", binary,
                  env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert ended.returncode == 1
    assert "raise the limit of open files" in ended.stderr


@pytest.mark.threat("bounded")
def test_running_out_of_descriptors(binary, surroundings, plain_origin, host, tmp_path):
    """New connections wait or are refused; those that are there, and later ones, are served."""
    wrapper = tmp_path / "few"
    wrapper.write_text(f'#!/bin/sh\nulimit -n 60\nexec {binary} "$@"\n')
    wrapper.chmod(0o755)
    proxy = Sluice(wrapper, tmp_path, merged(surroundings, {"workers": 1})).wait_ready()
    authority = f"{host}:{plain_origin.port}"
    first = Client(proxy)
    assert first.ask("GET", f"http://{authority}/", host=authority).status == 200
    crowd = [socket.create_connection(("127.0.0.1", proxy.port), 10) for _ in range(120)]
    for sock in crowd:
        sock.sendall(b"GET ")
    assert first.ask("GET", f"http://{authority}/", host=authority).status == 200
    for sock in crowd:
        sock.close()
    later = Client(proxy)
    assert later.ask("GET", f"http://{authority}/", host=authority).status == 200
    first.sock.close()
    later.sock.close()
    proxy.finish()


@pytest.mark.native
def test_a_reload_without_descriptors_fails_and_no_more(sluice, plain_origin, host):
    proxy = sluice({"workers": 1})
    pid = proxy.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    n_open = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
    said = []
    for n_free in range(8):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_open + n_free, limits[1]))
        said.append(proxy.reload())
    assert "reload failed" in said[0]
    assert any("no descriptors left" in line for line in said)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert "reloaded" in proxy.reload()
    authority = f"{host}:{plain_origin.port}"
    with Client(proxy) as client:
        assert client.ask("GET", f"http://{authority}/", host=authority).status == 200


@pytest.fixture
def unread(binary, surroundings, tmp_path):
    """A proxy with one worker whose stderr is a full pipe that nobody reads."""
    file, told = tmp_path / "sluice.yaml", tmp_path / "told"
    file.write_text(json.dumps(merged(surroundings, {
        "workers": 1, "shutdown_grace": "1s", "admin": {"address": "127.0.0.1:0"},
        "checks": [{"name": "dead", "url": "http://127.0.0.1:1/"}],
        "rules": [{"when": "path /checked", "do": "check dead"}]})))
    process = subprocess.Popen(
        [binary, "run", "-c", file, "--listen", "127.0.0.1:0", "--state-dir", tmp_path,
         "--set", "log.access=off"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while "ready" not in (line := process.stderr.readline().decode()):
        if found := re.search(r"admin on (\S+)", line):
            process.admin = found.group(1)
    process.port = int(re.search(r"listening on 127\.0\.0\.1:(\d+)", line).group(1))
    process.ca = tmp_path / "ca.pem"
    end = os.open(f"/proc/{process.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(end, b".")
    os.close(end)
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


def healthy(admin):
    with urllib.request.urlopen(f"http://{admin}/healthz", timeout=waiting.DEADLINE) as answer:
        return answer.status == 200


def test_a_stderr_nobody_reads_stops_no_traffic(unread, plain_origin, origin, host):
    authority = f"{host}:{plain_origin.port}"
    with Client(unread) as client:
        rejecting = Client(unread)
        assert rejecting.connect(host, origin.port).status == 200
        with pytest.raises(ssl.SSLError):
            rejecting.start_tls(host, ssl.create_default_context())
        for path, status in (("/", 200), ("/checked", 503), ("/", 200)):
            answer = client.ask("GET", f"http://{authority}{path}", host=authority)
            assert answer.status == status
    unread.send_signal(signal.SIGHUP)
    assert healthy(unread.admin)
    unread.terminate()
    assert unread.wait(10) == 0


def test_a_stderr_read_late_has_it_all(unread):
    unread.send_signal(signal.SIGHUP)
    assert healthy(unread.admin)
    assert any(b"reloaded" in line for line in unread.stderr)
    unread.terminate()
    assert unread.wait(10) == 0


@pytest.fixture
def piped(binary, surroundings, tmp_path):
    """A proxy whose access log goes to a pipe that nobody reads any more."""
    file = tmp_path / "sluice.yaml"
    file.write_text(json.dumps(surroundings))
    process = subprocess.Popen(
        [binary, "run", "-c", file, "--listen", "127.0.0.1:0", "--state-dir", tmp_path / "state",
         "--set", "admin.address=off", "--set", "log.access=stderr"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.port = None
    while process.port is None:
        line = process.stderr.readline().decode()
        if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
            process.port = int(found.group(1))
    process.stderr.close()
    yield process
    process.terminate()
    assert process.wait(30) == 0


def test_a_closed_log_pipe_kills_nothing(piped, plain_origin, host):
    authority = f"{host}:{plain_origin.port}"
    with Client(piped) as client:
        for i in range(20):
            answer = client.ask("GET", f"http://{authority}/{i}", host=authority)
            assert answer.status == 200


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_a_lost_log_directory_kills_nothing(sluice, origin, tunnel, host, tmp_path, sandbox):
    """What comes in its place is another, which a sandbox does not know."""
    directory = tmp_path / "logs"
    directory.mkdir()
    proxy = sluice({"log": {"access": str(directory / "access.log")},
                    "security": {"sandbox": sandbox}})
    client = tunnel(proxy, host, origin.port)
    assert client.get("/1").status == 200
    shutil.rmtree(directory)
    said = proxy.signal_and_wait(signal.SIGUSR1, "access.log")
    assert "error" in said
    assert client.get("/2").status == 200
    directory.mkdir()
    if sandbox == "on":
        assert "Permission denied" in proxy.signal_and_wait(signal.SIGUSR1, "access.log")
        assert client.get("/3").status == 200
        return
    proxy.process.send_signal(signal.SIGUSR1)
    waiting.until(lambda: (directory / "access.log").exists(), "the log to be back")
    assert client.get("/3").status == 200
    waiting.until(lambda: "/3" in (directory / "access.log").read_text(), "a line in it")


@pytest.mark.threat("bounded")
def test_a_crowd_of_idle_connections(sluice, origin, tunnel, host):
    proxy = sluice()
    clients = [tunnel(proxy, host, origin.port) for _ in range(200)]
    assert proxy.metric("sluice_open_connections") == 200
    for client in clients[::10]:
        assert client.get("/").status == 200
    assert origin.n_connections <= 2
    for client in clients:
        client.sock.close()
    waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "all to be gone")


def test_very_many_pipelined_requests(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    whole = b"".join(request("GET", f"/{i}", client.authority) for i in range(1500))
    sender = threading.Thread(target=client.sock.sendall, args=(whole,))
    sender.start()
    got = [client.read().text.split()[1] for _ in range(1500)]
    sender.join(20)
    assert got == [f"/{i}" for i in range(1500)]


def test_an_early_response_does_not_shift_requests(proxy, servers, pki, tunnel, host):
    """The origin answers before it has the body; the rest of the body is nobody's request."""
    def serve(connection):
        asked = http1.read_head(connection.reader)
        heads.append(asked.start)
        connection.send(http1.response(b"early"))
        if asked.get("content-length"):
            rest.append(connection.reader.rest())
        else:
            connection.reader.rest()

    heads, rest = [], []
    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    client = tunnel(proxy, host, origin.port)
    body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
    client.send(request("POST", "/", client.authority, [("Content-Length", str(len(body)))],
                        body[:100]))
    assert client.read().body == b"early"
    try:
        client.send(body[100:])
        answer = client.get("/next")
        assert answer.body == b"early"
    except (ConnectionError, http1.Closed):
        pass
    assert all("smuggled" not in start for start in heads)


@pytest.mark.threat("smuggled-past-hooks")
def test_trailers_that_frame_or_route_are_dropped(proxy, origin, tunnel, host):
    client = tunnel(proxy, host, origin.port)
    evil = (b"0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil.test\r\n"
            b"Authorization: x\r\nX-Fine: 1\r\n\r\n")
    assert client.ask("POST", "/", [("Transfer-Encoding", "chunked")], b"1\r\na\r\n" + evil).status
    assert {n.lower() for n, _ in origin.requests[0].trailers} <= {"x-fine"}
    assert client.get("/").status == 200


def test_a_flood_of_refused_clients(sluice, origin, tunnel, host):
    proxy = sluice({"limits": {"connections": 3}})
    kept = [tunnel(proxy, host, origin.port) for _ in range(3)]
    for _ in range(200):
        socket.create_connection(("127.0.0.1", proxy.port), 10).close()
    waiting.until(lambda: proxy.metric("sluice_connections_refused_total") == 200, "200 refusals")
    assert [c.get("/").status for c in kept] == [200] * 3
    assert proxy.metric("sluice_open_connections") == 3


@pytest.mark.threat("rejecting-clients", "rejected-leaves")
def test_rejecting_clients_leave_nothing(sluice, origin, host):
    """e2guardian#542: memory kept for each client that rejects the forged certificate."""
    proxy = sluice()
    for _ in range(60):
        with Client(proxy) as client:
            client.connect(host, origin.port)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                client.start_tls(host, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    waiting.until(lambda: proxy.metric("sluice_open_connections") == 0, "all to be gone")
    assert proxy.metric("sluice_handshake_failures_total", side="client") == 60
    assert proxy.metric("sluice_forge_duration_seconds_count") == 1


# -- a thread that hangs -------------------------------------------------------------------------

_SEIZE, _INTERRUPT, _WALL = 0x4206, 0x4207, 0x40000000


def _hang(pid, name):
    """Halts one thread, as nothing short of a debugger can; the id of the halted one."""
    threads = (int(t) for t in os.listdir(f"/proc/{pid}/task"))
    tid = next(t for t in threads
               if pathlib.Path(f"/proc/{pid}/task/{t}/comm").read_text().strip() == name)
    libc = ctypes.CDLL(None, use_errno=True)
    for what in (_SEIZE, _INTERRUPT):
        if libc.ptrace(what, tid, None, None) != 0:
            pytest.skip("no ptrace here")
    os.waitpid(tid, _WALL)
    return tid


@pytest.mark.smoke
@pytest.mark.native
def test_a_worker_that_hangs_does_not_hold_up_the_end(sluice, tmp_path):
    path = tmp_path / "proxy.sock"
    proxy = sluice({"workers": 1}, "--listen", f"unix:{path}")
    tid = _hang(proxy.process.pid, "worker-0")
    try:
        proxy.terminate()
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.wait_stderr("a worker does not end")
    finally:
        os.waitpid(tid, _WALL)
    assert proxy.stop() == 1
    assert not path.exists()
