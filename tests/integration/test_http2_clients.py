"""Programs that speak HTTP/2 work through the proxy, with only its authority trusted."""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import threading

import pytest

from harness import websocket
from harness.check_service import ALLOW, deny
from harness.h2origin import Answer, H2Origin
from harness.h2scripts import after
from harness.programs import need
from harness.relay import Relay

pytest_plugins = ["harness.h2fixtures"]
GRPC_PEER = pathlib.Path(__file__).parent / "harness/grpc_peer.py"
_NODE = """
const http = require('http'), http2 = require('http2'), tls = require('tls'), fs = require('fs');
const [proxyPort, ca, origin] = process.argv.slice(2);
const url = new URL(origin);
const asked = http.request({host: '127.0.0.1', port: proxyPort, method: 'CONNECT', path: url.host,
                            headers: {host: url.host}});
function ask(session, headers, body) {
  return new Promise((done, fail) => {
    const stream = session.request(headers);
    const parts = [];
    let answer;
    stream.on('response', (h) => { answer = h; });
    stream.on('data', (part) => parts.push(part));
    stream.on('error', fail);
    stream.on('end', () => done([answer[':status'], Buffer.concat(parts).length]));
    stream.end(body);
  });
}
asked.on('connect', (answer, socket) => {
  const inner = tls.connect({socket, servername: url.hostname, ca: fs.readFileSync(ca),
                             ALPNProtocols: ['h2']});
  const session = http2.connect(origin, {createConnection: () => inner});
  session.on('error', (e) => { console.error(e); process.exit(1); });
  const asks = [];
  for (let i = 0; i < 20; i++) asks.push(ask(session, {':path': '/' + i}));
  asks.push(ask(session, {':path': '/up', ':method': 'POST'}, Buffer.alloc(1 << 20)));
  Promise.all(asks).then((all) => {
    console.log(JSON.stringify({alpn: inner.alpnProtocol, all}));
    session.close();
  });
});
asked.end();
"""
# A page is loaded when its picture is; the origin keeps that back until the script has finished.
_PAGE = """<!doctype html><title>page</title><img src="/picture"><p id=x>plain</p><script>
const say = (text) => { document.getElementById('x').textContent += ' ' + text; };
const finish = () => fetch('/finished');
%s
</script>"""
_EVERYTHING = """
const parts = Promise.all([...Array(30).keys()].map((i) => fetch('/part/' + i)
  .then((r) => r.text()))).then((all) => say('parts:' + all.filter((p) => p === 'part').length));
const socket = new Promise((done) => {
  const ws = new WebSocket('wss://' + location.host + '/ws');
  ws.onopen = () => ws.send('hello');
  ws.onmessage = (e) => { say('ws:' + e.data); ws.close(1000); };
  ws.onclose = (e) => { say('closed:' + e.code); done(); };
});
const events = new Promise((done) => {
  const source = new EventSource('/events');
  source.onmessage = (e) => { say('event:' + e.data); source.close(); done(); };
});
Promise.all([parts, socket, events]).then(finish);
"""
_OTHER_NAME = """
fetch('https://%s/there').then((r) => r.text()).then(say).then(finish);
"""


@pytest.fixture
def curl(shell):
    """curl(proxy, ...) -> its result; what it uses is HTTP/2."""
    need("curl")

    def call(proxy, *arguments):
        return shell("curl", "-sS", "--http2", "--cacert", proxy.ca, "-x",
                     f"http://127.0.0.1:{proxy.port}", *arguments)

    return call


def test_curl(proxy, origin_of, host, curl):
    origin = origin_of()
    url = f"https://{host}:{origin.port}/x"
    done = curl(proxy, "-w", "\n%{http_version} %{num_connects}\n", url, url)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^2 \d$", done.stdout, re.M) == ["2 1", "2 0"]
    assert proxy.log(host=host)["http"] == "2" and len(origin.requests) == 2


def test_curl_uploads(proxy, origin_of, host, curl, tmp_path):
    origin = origin_of(lambda r: Answer(hashlib.sha256(r.body).hexdigest().encode()))
    body = tmp_path / "body"
    body.write_bytes(os.urandom(3 << 20))
    done = curl(proxy, "-T", body, f"https://{host}:{origin.port}/up")
    assert done.stdout == hashlib.sha256(body.read_bytes()).hexdigest(), done.stderr


def test_curl_in_parallel(proxy, origin_of, host, curl):
    origin = origin_of()
    urls = [part for i in range(40)
            for part in ("-o", os.devnull, f"https://{host}:{origin.port}/{i}")]
    done = curl(proxy, "-Z", "-w", "%{http_version} %{response_code}\n", *urls)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["2 200"] * 40
    assert len(origin.requests) == 40


def test_curl_to_nginx(proxy, nginx, nginx2, host, curl, tmp_path):
    """A large file from an nginx of each version."""
    for server in (nginx, nginx2):
        file = tmp_path / "file"
        done = curl(proxy, "-o", file, "-w", "%{http_version} %{response_code}",
                    f"https://{host}:{server.tls}/big.bin")
        assert (done.returncode, done.stdout) == (0, "2 200"), done.stderr
        assert file.read_bytes() == bytes(range(256)) * (16 << 10)


def test_curl_is_denied(sluice, nginx2, host, curl):
    proxy = sluice({"rules": [{"when": f"host {host}", "do": "deny"}]})
    done = curl(proxy, "-w", "%{http_version} %{response_code}", "-o", os.devnull,
                f"https://{host}:{nginx2.tls}/hello.txt")
    assert done.stdout == "2 403" and nginx2.hits(host) == []


@pytest.fixture
def relay(servers):
    return lambda proxy, host, port: servers(Relay(proxy, host, port))


def test_nghttp(proxy, origin_of, host, shell, relay, tmp_path):
    need("nghttp")
    origin = origin_of()
    body = tmp_path / "body"
    body.write_bytes(b"x" * 200_000)
    way = relay(proxy, host, origin.port)
    url, authority = f"https://127.0.0.1:{way.port}", f":authority: {host}:{origin.port}"
    got = shell("nghttp", "-ns", "-m", "20", "-H", authority, f"{url}/x")
    assert got.returncode == 0 and len(re.findall(r" 200 .* /x$", got.stdout, re.M)) == 20
    sent = shell("nghttp", "-v", "-d", body, "--no-content-length", "--continuation", "--trailer",
                 "x-sum: 1", "-b", "50", "-H", authority, f"{url}/up")
    assert ":status: 200" in sent.stdout, sent.stdout
    up = origin.asked("/up")[0]
    assert (len(up.body), up.trailers) == (200_000, [("x-sum", "1")])


def test_h2load(proxy, nginx, nginx2, host, shell, relay):
    """100 streams at a time, over one connection."""
    need("h2load")
    for i, server in enumerate((nginx, nginx2)):
        name = f"{i}-{host}"
        way = relay(proxy, name, server.tls)
        done = shell("h2load", "-n", "5000", "-c", "1", "-m", "100",
                     f"--connect-to=127.0.0.1:{way.port}",
                     f"https://{name}:{server.tls}/hello.txt")
        assert "5000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout
        assert "5000 2xx" in done.stdout
        assert len(server.wait_hits(name, 5000)) == 5000


def test_h2load_with_many_connections(sluice, check, nginx2, host, shell, relay):
    need("h2load")
    check.answer = lambda q: {**ALLOW, "cache": {"ttl": 60, "vary": ["host"]}}
    proxy = sluice(check.config(timeout="30s"))
    way = relay(proxy, host, nginx2.tls)
    done = shell("h2load", "-n", "2000", "-c", "10", "-m", "10",
                 f"--connect-to=127.0.0.1:{way.port}", f"https://{host}:{nginx2.tls}/hello.txt")
    assert "2000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout
    connections = {fact["connection"] for fact in nginx2.wait_hits(host, 2000)}
    assert len(connections) <= 8


def test_httpx(proxy, origin_of, host):
    httpx = pytest.importorskip("httpx")
    origin = origin_of()
    with httpx.Client(http2=True, verify=str(proxy.ca), trust_env=False, timeout=30,
                      proxies=f"http://127.0.0.1:{proxy.port}") as client:
        url = f"https://{host}:{origin.port}"
        answers = [client.get(f"{url}/{i}") for i in range(5)]
        posted = client.post(f"{url}/up", content=b"x" * 1_000_000)
    assert [(a.status_code, a.http_version) for a in answers] == [(200, "HTTP/2")] * 5
    assert len(posted.content) == 1_000_000
    assert proxy.log(host=host)["http"] == "2"


def test_node_http2(proxy, origin_of, host, shell, tmp_path):
    need("node")
    script = tmp_path / "http2.js"
    script.write_text(_NODE)
    origin = origin_of(lambda r: Answer(bytes(r.body) or b"hello"))
    done = shell("node", script, proxy.port, proxy.ca, f"https://{host}:{origin.port}")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["alpn"] == "h2"
    assert said["all"] == [[200, 5]] * 20 + [[200, 1 << 20]]


# -- gRPC ----------------------------------------------------------------------------------------


@pytest.fixture
def grpc_server():
    """grpc_server(certificate, key) -> the port of a server process."""
    pytest.importorskip("grpc")
    running = []

    def start(*pair):
        process = subprocess.Popen([sys.executable, GRPC_PEER, "serve", *map(str, pair)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return int(process.stdout.readline())

    yield start
    for process in running:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def grpc_calls(shell, *arguments):
    done = shell(sys.executable, GRPC_PEER, "call", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def deny_denied(question):
    return deny(reason="not you") if question["request"]["path"].endswith("/Denied") else ALLOW


def assert_all_calls(said):
    assert said["unary"] == ["echo hello", "1", "2", [0, 255]]
    assert said["big"] == (1 << 20) + 5
    assert said["client"] == "a+b+c"
    assert said["server"] == [f"n {i}" for i in range(5)]
    assert said["both"] == [f"echo {i}" for i in range(5)]
    assert said["cancelled"] == "yes"
    assert said["failing"] == ["FAILED_PRECONDITION", "no way: because"]
    assert said["denied"] == ["PERMISSION_DENIED", "not you"]
    assert said["unknown"] == "UNIMPLEMENTED"


def test_grpc(sluice, check, grpc_server, pki, host, shell):
    port = grpc_server(*pki.good)
    check.answer = deny_denied
    proxy = sluice(check.config(timeout="30s"))
    assert_all_calls(grpc_calls(shell, proxy.port, f"{host}:{port}", proxy.ca))
    asked = [q["request"]["path"].rpartition("/")[2] for q in check.questions]
    assert sorted(asked) == sorted(["Unary", "Unary", "ClientStream", "ServerStream",
                                    "Bidirectional", "Endless", "HasLeft", "Failing",
                                    "Denied", "Unknown"])
    assert proxy.log(verdict="deny")["http"] == "2"


def test_grpc_without_tls(sluice, check, grpc_server, host, shell):
    """Prior knowledge inside CONNECT."""
    port = grpc_server()
    check.answer = deny_denied
    proxy = sluice(check.config(timeout="30s"))
    assert_all_calls(grpc_calls(shell, proxy.port, f"{host}:{port}"))


# -- a browser -----------------------------------------------------------------------------------


@pytest.fixture
def site(servers, pki):
    """site(script, alpn) -> an origin with a page of that script; what else it has is b"part"."""
    def make(script, alpn):
        finished = threading.Event()

        def finish(exchange):
            finished.set()
            exchange.answer(Answer(b"x"))

        def page(exchange):
            text = _PAGE % script.replace("{port}", str(origin.port))
            exchange.answer(Answer(text.encode(), headers=[("content-type", "text/html")]))

        scripts = {"/page.html": page, "/picture": after(finished), "/finished": finish,
                   "/ws": socket_of_site, "/events": events_of_site}
        origin = servers(H2Origin(
            lambda r: Answer(b"part", headers=[("access-control-allow-origin", "*")]),
            tls=pki.server_context(), scripts=scripts, alpn=alpn))
        return origin

    return make


def socket_of_site(exchange):
    """On HTTP/1.1 alone, as most origins do it."""
    if exchange.request.version == "2":
        exchange.answer(Answer(b"no", 404))
        return
    websocket.upgrade(exchange.connection, exchange.request)
    websocket.echo(exchange.connection)


def events_of_site(exchange):
    exchange.answer(Answer(b"data: one\n\n", headers=[("content-type", "text/event-stream")]))


def words_of(done):
    """What the script has said."""
    shown = re.search(r"<p id=\"x\">(.*?)</p>", done.stdout)
    assert shown is not None, done.stderr[-2000:]
    return set(shown.group(1).split())


@pytest.mark.parametrize("alpn", [["http/1.1"], ["h2", "http/1.1"]], ids=["h1", "both"])
def test_chromium(proxy, site, host, browse, alpn):
    origin = site(_EVERYTHING, alpn)
    done = browse(proxy, f"https://{host}:{origin.port}/page.html")
    assert {"parts:30", "event:one", "ws:hello", "closed:1000"} <= words_of(done)
    for target in ("/page.html", "/part/29", "/ws"):
        assert proxy.log(host=host, target=target)["http"] == "2"


def test_chromium_coalesces_nothing(proxy, site, host, browse):
    """One address, one certificate for both at the origin: each name has its own connection."""
    other = f"other-{host}"
    origin = site(_OTHER_NAME % (other + ":{port}"), ["h2", "http/1.1"])
    assert "part" in words_of(browse(proxy, f"https://{host}:{origin.port}/page.html"))
    assert proxy.log(host=other, target="/there")["status"] == 200
