"""Programs that people use work through the proxy, with only its authority trusted."""
import hashlib
import json
import os

import pytest
import requests

from harness import http1
from harness.origin import Origin
from harness.programs import need

_NODE_FETCH = """
const http = require('http'), tls = require('tls'), fs = require('fs');
const [proxyPort, ca, ...urls] = process.argv.slice(2);
// The connector of undici's agents is pluggable: ours makes the CONNECT.
function connect(options, done) {
  const target = `${options.hostname}:${options.port || 443}`;
  const asked = http.request({host: '127.0.0.1', port: proxyPort, method: 'CONNECT', path: target,
                              headers: {host: target}});
  asked.on('error', done);
  asked.on('connect', (answer, socket) => {
    if (answer.statusCode !== 200) return done(new Error(`CONNECT: ${answer.statusCode}`));
    const inner = tls.connect({socket, servername: options.hostname, ca: fs.readFileSync(ca)},
                              () => done(null, inner));
    inner.on('error', done);
  });
  asked.end();
}
(async () => {
  await fetch('data:,').catch(() => {});
  const Agent = globalThis[Symbol.for('undici.globalDispatcher.1')].constructor;
  const dispatcher = new Agent({connect});
  const answers = [];
  for (const url of urls) {
    const answer = await fetch(url, {dispatcher});
    answers.push([answer.status, await answer.text()]);
  }
  console.log(JSON.stringify(answers));
  await dispatcher.close();
})();
"""


def url_of(nginx, host, path):
    return f"https://{host}:{nginx.tls}{path}"


@pytest.mark.smoke
def test_curl(proxy, nginx, host, shell):
    url = url_of(nginx, host, "/hello.txt")
    done = shell("curl", "-sS", "--http1.1", "--cacert", proxy.ca, "-x",
                 f"http://127.0.0.1:{proxy.port}", "-w", "%{num_connects}\n", url, url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello\n1\nhello\n0\n"
    assert proxy.log(host=host)["verdict"] == "allow"


def test_curl_without_our_authority_fails(proxy, nginx, host, shell):
    done = shell("curl", "-sS", "-x", f"http://127.0.0.1:{proxy.port}",
                 url_of(nginx, host, "/hello.txt"))
    assert done.returncode == 60, done.stderr


def test_curl_uploads_a_large_body(proxy, servers, pki, host, shell, tmp_path):
    sink = servers(Origin(lambda r: http1.response(hashlib.sha256(r.body).hexdigest().encode()),
                          tls=pki.server_context()))
    body = tmp_path / "body"
    body.write_bytes(os.urandom(3 << 20))
    done = shell("curl", "-sS", "--http1.1", "--cacert", proxy.ca, "-x",
                 f"http://127.0.0.1:{proxy.port}", "-T", body, f"https://{host}:{sink.port}/up")
    assert done.stdout == hashlib.sha256(body.read_bytes()).hexdigest(), done.stderr


def test_curl_plain_http_through_a_tunnel(proxy, plain_origin, host, shell):
    done = shell("curl", "-sS", "-p", "-x", f"http://127.0.0.1:{proxy.port}",
                 f"http://{host}:{plain_origin.port}/inside")
    assert done.stdout.startswith("GET /inside HTTP/1.1"), done.stderr
    line = proxy.log(host=host)
    assert (line["scheme"], line["target"]) == ("http", "/inside")


def test_wget(proxy, nginx, host, shell):
    need("wget")
    done = shell("wget", "-q", "-O", "-", f"--ca-certificate={proxy.ca}",
                 url_of(nginx, host, "/hello.txt"),
                 env={"https_proxy": f"http://127.0.0.1:{proxy.port}"})
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_python_requests(proxy, nginx, host):
    with requests.Session() as session:
        session.proxies = {"https": f"http://127.0.0.1:{proxy.port}"}
        session.verify = str(proxy.ca)
        for _ in range(3):
            answer = session.get(url_of(nginx, host, "/hello.txt"), timeout=30)
            assert (answer.status_code, answer.text) == (200, "hello\n")
        big = session.get(url_of(nginx, host, "/big.bin"), timeout=30)
    assert big.content == bytes(range(256)) * (16 << 10)


def test_node_fetch(proxy, nginx, host, shell, tmp_path):
    need("node")
    script = tmp_path / "fetch.js"
    script.write_text(_NODE_FETCH)
    url = url_of(nginx, host, "/hello.txt")
    done = shell("node", script, proxy.port, proxy.ca, url, url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[200, "hello\n"]] * 2


def test_git_clone(proxy, nginx, host, shell, tmp_path):
    need("git")
    identity = ["-c", "user.name=a", "-c", "user.email=a@site.test", "-c", "init.defaultBranch=m"]
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
             "GIT_TERMINAL_PROMPT": "0"}
    work, served = tmp_path / "work", nginx.www / f"{host}.git"
    assert shell("git", *identity, "init", "-q", work, env=quiet).returncode == 0
    (work / "file").write_text("content\n")
    shell("git", "add", "file", cwd=work, env=quiet)
    assert shell("git", *identity, "commit", "-qm", "x", cwd=work, env=quiet).returncode == 0
    shell("git", "clone", "-q", "--bare", work, served, env=quiet)
    shell("git", "update-server-info", cwd=served, env=quiet)
    done = shell("git", "-c", f"http.proxy=http://127.0.0.1:{proxy.port}",
                 "-c", f"http.sslCAInfo={proxy.ca}", "clone", "-q",
                 url_of(nginx, host, f"/{host}.git"), tmp_path / "clone", env=quiet)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clone/file").read_text() == "content\n"


def make_repository(directory, tmp_path, shell):
    """A flat Debian repository of one package."""
    tree = tmp_path / "package"
    (tree / "DEBIAN").mkdir(parents=True)
    control = ("Package: through-sluice\nVersion: 1\nArchitecture: all\n"
               "Maintainer: a <a@site.test>\nDescription: came through the proxy\n")
    (tree / "DEBIAN/control").write_text(control)
    directory.mkdir()
    deb = directory / "through-sluice_1_all.deb"
    assert shell("dpkg-deb", "--build", "--root-owner-group", tree, deb).returncode == 0
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    packages = (f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\n"
                f"SHA256: {digest}\n\n").encode()
    (directory / "Packages").write_bytes(packages)
    (directory / "Release").write_text(
        "Suite: test\nCodename: test\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
        f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n")
    return deb


def test_apt(proxy, nginx, host, shell, tmp_path):
    need("apt-get", "dpkg-deb")
    deb = make_repository(nginx.www / f"{host}-apt", tmp_path, shell)
    root, here = tmp_path / "root", tmp_path / "here"
    for each in ("etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d",
                 "etc/apt/trusted.gpg.d", "state/lists/partial", "cache/archives/partial", "log"):
        (root / each).mkdir(parents=True)
    here.mkdir()
    (root / "status").touch()
    (root / "etc/apt/sources.list").write_text(
        f"deb [trusted=yes] {url_of(nginx, host, f'/{host}-apt')}/ ./\n")
    options = {"Dir::Etc": root / "etc/apt", "Dir::State": root / "state",
               "Dir::Cache": root / "cache", "Dir::Log": root / "log",
               "Dir::State::status": root / "status", "APT::Sandbox::User": "",
               "Acquire::https::Proxy": f"http://127.0.0.1:{proxy.port}",
               "Acquire::https::CAInfo": proxy.ca, "Acquire::Retries": "0",
               "Acquire::Languages": "none"}
    flags = [part for k, v in options.items() for part in ("-o", f"{k}={v}")]
    updated = shell("apt-get", *flags, "update")
    assert updated.returncode == 0, updated.stdout + updated.stderr
    assert "Err:" not in updated.stdout and "Failed" not in updated.stderr
    got = shell("apt-get", *flags, "download", "through-sluice", cwd=here)
    assert got.returncode == 0, got.stdout + got.stderr
    assert (here / deb.name).read_bytes() == deb.read_bytes()


def test_chromium_shows_a_page(proxy, nginx, host, browse):
    done = browse(proxy, url_of(nginx, host, "/page.html"))
    assert '<p id="x">scripted</p>' in done.stdout, done.stderr[-2000:]
    assert proxy.log(host=host, target="/page.html")["status"] == 200


def test_chromium_shows_the_block_page(sluice, nginx, host, browse):
    proxy = sluice({"rules": [{"when": f"host {host}", "do": "deny", "reason": "<i>advert</i>"}]})
    done = browse(proxy, url_of(nginx, host, "/page.html"))
    assert "This request was blocked" in done.stdout, done.stderr[-2000:]
    assert "&lt;i&gt;advert&lt;/i&gt;" in done.stdout
    assert nginx.hits(host) == []
