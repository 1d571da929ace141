"""The command line: configuration and its errors, the authority, explain."""
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess

import pytest

from harness import websocket
from harness.check_service import deny

ROOT = pathlib.Path(__file__).resolve().parents[2]


# -- start-up ------------------------------------------------------------------------------------


def test_an_address_in_use_is_exit_1(cli, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        done = cli("run", "--listen", f"127.0.0.1:{port}", "--state-dir", tmp_path / "s", "--set",
                   "admin.address=off")
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr and "in use" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


@pytest.mark.parametrize("arguments", [["run", "--nonsense"], ["nonsense"], ["run", "-c"],
                                       ["run", "extra"], ["explain"], ["ca"], ["ca", "nonsense"],
                                       ["ca", "export", "--format", "jks"]])
def test_a_wrong_command_line_is_exit_2(cli, arguments):
    done = cli(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("sluice: ") and done.stdout == ""


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines", "a\tb", "\x7f", "caf\udce9"])
def test_a_wrong_name_of_an_authority_is_exit_2(cli, tmp_path, name):
    done = cli("ca", "init", "--state-dir", tmp_path, "--name", name)
    assert done.returncode == 2 and "--name: 1 to 64 bytes" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["help"], ["--help"], ["run", "--help"], ["ca", "--help"],
                                       ["version"], ["--version"], ["help", "keys"]])
def test_help_is_on_stdout(cli, arguments):
    done = cli(*arguments)
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout) > 10


WRONG = {
    "unknown key": ("listen:\n  - x\n", "1:1"),
    "unknown key below": ("intercept:\n  leaf_kye: rsa-2048\n", "2:3"),
    "wrong word": ("intercept:\n  leaf_key: dsa\n", "2:13"),
    "wrong type": ("workers: many\n", "1:10"),
    "out of range": ("limits:\n  header_count: 0\n", "2:17"),
    "bad duration": ("shutdown_grace: 30 parsecs\n", "1:17"),
    "bad size": ("limits:\n  header_bytes: 64 furlongs\n", "2:17"),
    "bad cidr": ("upstream:\n  allow_addresses: [10.0.0.0/33]\n", "2:21"),
    "bad address": ("listeners:\n  - address: nowhere\n", "2:14"),
    "bad expression": ("rules:\n  - {when: \"hos x\", do: deny}\n", "2:13"),
    "expression ends early": ("rules:\n  - when: host x and\n    do: deny\n", "2:"),
    "bad regex": ("rules:\n  - when: path ~ /(/\n    do: deny\n", "2:"),
    "unknown check": ("rules:\n  - {when: any, do: [check nobody]}\n", "2:"),
    "check without url": ("checks:\n  - name: x\n", "2:"),
    "twice": ("workers: 1\nworkers: 2\n", "2:1"),
    "not yaml": ("rules: [\n", ""),
    "tab": ("limits:\n\tconnections: 1\n", "2:"),
    "later version": ("upstream:\n  parent: http://x:1\n", "2:3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_exit_78_with_its_place(cli, tmp_path, case):
    text, place = WRONG[case]
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    for done in (cli("check-config", "-c", path),
                 cli("run", "-c", path, "--state-dir", tmp_path / "state")):
        assert done.returncode == 78
        assert re.search(rf"wrong\.yaml:{place}(:|\d)", done.stderr), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_misspelt_key_gets_a_hint(cli, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("upstream:\n  conect_timeout: 1s\n")
    assert "connect_timeout" in cli("check-config", "-c", path).stderr


def test_a_file_that_is_not_there_is_exit_78(cli, tmp_path):
    done = cli("check-config", "-c", tmp_path / "nowhere.yaml")
    assert done.returncode == 78 and "nowhere.yaml" in done.stderr


def test_a_right_file_is_exit_0(cli, tmp_path):
    path = tmp_path / "right.yaml"
    path.write_text("workers: 1\nrules:\n  - {when: any, do: deny}\n")
    done = cli("check-config", "-c", path, "--state-dir", tmp_path / "state")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["nowhere/log", "", "file/log"])
def test_a_log_that_could_not_be_opened_is_exit_78(cli, tmp_path, path):
    (tmp_path / "file").touch()
    arguments = ["--state-dir", tmp_path / "s", "--set", f"log.access={tmp_path / path}", "--set",
                 "admin.address=off", "--listen", "127.0.0.1:0"]
    for done in (cli("check-config", *arguments), cli("run", *arguments)):
        assert done.returncode == 78 and f"access log {tmp_path / path}: " in done.stderr


@pytest.mark.parametrize("key, place, error", [
    ("log: {access: /nowhere/log}", "1:15", "access log /nowhere/log: "),
    ("upstream:\n  ca_file: /nowhere/ca.pem", "2:12", "/nowhere/ca.pem"),
])
def test_check_config_tells_where_a_bad_file_is_named(cli, tmp_path, key, place, error):
    path = tmp_path / "sluice.yaml"
    path.write_text(key)
    done = cli("check-config", "-c", path, "--state-dir", tmp_path / "state")
    assert done.returncode == 78
    assert f"{path}:{place}: " in done.stderr and error in done.stderr


def test_check_config_opens_no_log(cli, tmp_path):
    path = tmp_path / "log"
    assert cli("check-config", "--set", f"log.access={path}").returncode == 0
    assert not path.exists()


def test_settings_of_the_command_line_rule(sluice, origin, tunnel, host):
    proxy = sluice({"default": "allow"}, "--set", "default=deny")
    assert tunnel(proxy, host, origin.port).get("/").status == 403


def test_a_wrong_setting_is_exit_78(cli):
    done = cli("check-config", "--set", "workers=lots")
    assert done.returncode == 78 and "workers" in done.stderr


# -- the authority's commands --------------------------------------------------------------------


@pytest.mark.smoke
def test_ca_init_show_export(cli, tmp_path, shell):
    state = tmp_path / "state"
    made = cli("ca", "init", "--state-dir", state, "--name", "My CA", "--days", "30")
    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE((state / "ca.key").stat().st_mode) == 0o600
    shown = cli("ca", "show", "--state-dir", state)
    fingerprint = shell("openssl", "x509", "-in", state / "ca.pem", "-noout", "-fingerprint",
                        "-sha256").stdout.strip().split("=")[1]
    assert "My CA" in shown.stdout
    assert fingerprint in shown.stdout.upper() or fingerprint.replace(":", "") in \
        shown.stdout.upper()
    assert cli("ca", "export", "--state-dir", state).stdout == (state / "ca.pem").read_text()
    assert "PRIVATE" not in shown.stdout


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "link"])
def test_ca_export_spares_the_authority(cli, tmp_path, name):
    state = tmp_path / "state"
    assert cli("ca", "init", "--state-dir", state).returncode == 0
    (state / "link").symlink_to("ca.key")
    before = {part: (state / part).read_bytes() for part in ("ca.key", "ca.pem")}
    done = cli("ca", "export", "--state-dir", state, "-o", state / name)
    assert done.returncode == 1 and "name another file" in done.stderr
    assert before == {part: (state / part).read_bytes() for part in before}


@pytest.mark.parametrize("form", ["der", "p12"])
def test_ca_export_forms(cli, tmp_path, shell, form):
    state, out = tmp_path / "state", tmp_path / f"ca.{form}"
    assert cli("ca", "init", "--state-dir", state).returncode == 0
    done = cli("ca", "export", "--state-dir", state, "--format", form, "-o", out)
    assert done.returncode == 0, done.stderr
    if form == "der":
        read = shell("openssl", "x509", "-inform", "der", "-in", out, "-noout", "-subject")
    else:
        read = shell("openssl", "pkcs12", "-in", out, "-nokeys", "-passin", "pass:")
        keys = shell("openssl", "pkcs12", "-in", out, "-nocerts", "-nodes", "-passin", "pass:")
        assert "PRIVATE" not in keys.stdout
        assert "friendlyName: sluice CA" in read.stdout
        assert "2.16.840.1.113894.746875.1.1" in read.stdout, "Java would not trust it"
    assert read.returncode == 0, read.stderr


def test_ca_init_overwrites_only_by_force_and_keeps_a_copy(cli, tmp_path):
    state = tmp_path / "state"
    assert cli("ca", "init", "--state-dir", state).returncode == 0
    first = (state / "ca.pem").read_bytes()
    assert cli("ca", "init", "--state-dir", state).returncode == 1
    assert (state / "ca.pem").read_bytes() == first
    assert cli("ca", "init", "--state-dir", state, "--force").returncode == 0
    assert (state / "ca.pem").read_bytes() != first
    assert any(p.read_bytes() == first for p in state.iterdir() if p.name != "ca.pem")


def test_first_runs_at_once_share_one_authority(binary, tmp_path):
    state = tmp_path / "state"
    several = [subprocess.Popen(
        [binary, "run", "--listen", "127.0.0.1:0", "--state-dir", state, "--set",
         "admin.address=off", "--set", "workers=1"], cwd=tmp_path, stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True) for _ in range(6)]
    said = []
    for process in several:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "ready" in line:
                break
        process.terminate()
        said.append("".join(lines) + process.stderr.read())
        process.stderr.close()
        assert process.wait(30) == 0, said[-1]
    assert sum("made a certificate authority" in text for text in said) == 1
    assert sorted(path.name for path in state.iterdir()) == ["ca.key", "ca.pem"]


def test_an_expired_authority_says_so(cli, tmp_path, pki):
    crt, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    bad = pki.faulty["expired.test"]
    crt.write_bytes(bad[0].read_bytes())
    key.write_bytes(bad[1].read_bytes())
    key.chmod(0o600)
    done = cli("check-config", "--set", f"ca.certificate={crt}", "--set", f"ca.key={key}")
    assert done.returncode == 78
    assert re.search("expired|no CA|not a CA", done.stderr)


def test_a_key_of_another_authority_says_so(cli, tmp_path):
    for name in ("one", "two"):
        assert cli("ca", "init", "--state-dir", tmp_path / name).returncode == 0
    done = cli("check-config", "--set", f"ca.certificate={tmp_path / 'one/ca.pem'}", "--set",
               f"ca.key={tmp_path / 'two/ca.key'}")
    assert done.returncode == 78 and "is not the key of" in done.stderr


# -- explain -------------------------------------------------------------------------------------


def test_explain_knows_a_handshake(cli, tmp_path, host):
    file = tmp_path / "sluice.yaml"
    file.write_text('rules: [{name: no sockets, when: "scheme wss", do: deny}]\n')
    fields = [part for name, value in websocket.OFFER for part in ("--header", f"{name}: {value}")]
    for more, verdict in ((fields, "deny"), (fields[:2], "allow")):
        said = cli("explain", "-c", file, f"https://{host}/", *more).stdout
        assert re.search(rf"^verdict: {verdict}", said, re.M), said


def test_explain_names_the_rule(cli, tmp_path, dns, host):
    path = tmp_path / "c.yaml"
    path.write_text("rules:\n  - {when: client 10.0.0.0/8 and method POST and header x-a b,"
                    " do: deny, name: the-one, reason: because}\n"
                    f"upstream: {{nameservers: ['{dns.address}']}}\n")
    url = f"https://{host}/x?y"
    done = cli("explain", url, "-c", path, "--client", "10.1.2.3", "--method", "POST", "--header",
               "X-A: b")
    assert done.returncode == 0, done.stderr
    assert "the-one" in done.stdout and "because" in done.stdout and "deny" in done.stdout
    other = cli("explain", url, "-c", path)
    assert "allow" in other.stdout and "default" in other.stdout
    assert not dns.heard_of(host)


def test_explain_asks_the_check(cli, tmp_path, check, dns, host):
    check.answer = lambda q: deny(reason="the check said so")
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({**check.config(), "upstream": {"nameservers": [dns.address]}}))
    done = cli("explain", f"https://{host}/x", "-c", path)
    assert "the check said so" in done.stdout and "policy" in done.stdout, done.stderr
    assert check.questions[0]["request"]["host"] == host
    assert not dns.heard_of(host)


def test_explain_asks_as_the_proxy_does(cli, sluice, check, origin, tunnel, host):
    """About the fields that would be sent, over the HTTP that browsers would speak."""
    proxy = sluice(check.config())
    fields = [("Accept", "*/*"), ("X-A", "b"), ("Connection", "x-gone"), ("X-Gone", "1")]
    tunnel(proxy, host, origin.port).get("/a?b", fields)
    cli("explain", f"https://{host}:{origin.port}/a?b", "-c", proxy.file,
        *(word for n, v in fields for word in ("--header", f"{n}: {v}")))
    asked, explained = check.wait_questions(2)
    assert explained["request"]["headers"][-1] == ["via", "2 sluice"]
    assert explained["request"]["headers"][:-1] == asked["request"]["headers"][:-1]


@pytest.mark.parametrize("url", ["https://bücher.test/x", "https://BÜCHER.test:443?y",
                                 "HTTPS://bücher.test"])
def test_explain_takes_a_name_as_people_read_it(cli, url):
    done = cli("explain", url, "--set", "rules=[{when: host bücher.test, do: deny, name: the-one}]")
    assert "CONNECT xn--bcher-kva.test:443" in done.stdout and "by the-one" in done.stdout


@pytest.mark.parametrize("end", ["", "/", "/x?y"])
def test_explain_drops_a_fragment_as_clients_do(cli, end):
    done = cli("explain", f"https://name.test{end}#part")
    assert done.returncode == 0 and f"GET https://name.test{end}\n" in done.stdout


@pytest.mark.parametrize("url", ["bücher.test", "https://ü@bücher.test/", "https://a b.test/"])
def test_explain_refuses_what_is_no_url(cli, url):
    assert cli("explain", url).returncode == 2


@pytest.mark.parametrize("condition", ["sni .site.test", "alpn h2"])
def test_explain_hears_the_client_hello(cli, host, condition):
    """As the proxy does: a rule that only the ClientHello can settle may still tunnel."""
    done = cli("explain", f"https://{host}/", "--set",
               "rules=[{when: %s, do: tunnel, name: the-one}]" % condition)
    assert "verdict: tunnel, by the-one" in done.stdout and "GET" not in done.stdout


def test_explain_shows_what_a_rule_excepts(cli, host):
    done = cli("explain", f"https://{host}/", "--set",
               f"rules=[{{when: host {host}, do: allow, names: [A.test., '*.b.test']}}]")
    assert f"rule-1: host {host}, names a.test *.b.test: true\n" in done.stdout


@pytest.mark.parametrize("said, verdict", [
    ("a.test", "allow"), ("x.b.test", "allow"), ("{host}", "allow"), ("A.test:443", "allow"),
    ("c.test", "deny, 421, host c.test:443, CONNECT {host}:443"),
    ("a.test:80", "deny, 421, host a.test:80, CONNECT {host}:443")])
def test_explain_hears_another_host(cli, host, said, verdict):
    done = cli("explain", f"https://{host}/", "--header", f"Host: {said.format(host=host)}", "--set",
               "rules=[{when: any, do: allow, names: [a.test, '*.b.test']}]")
    assert f"verdict: {verdict.format(host=host)}" in done.stdout


@pytest.mark.parametrize("url, allowed, word", [
    ("http://10.0.0.1/", "[]", "refuses"), ("https://[fd00::1]:8443/", "[]", "refuses"),
    ("http://10.0.0.1/", "[10.0.0.0/8]", "lets it through"),
    ("http://127.0.0.1:9901/", "[127.0.0.0/8]", "refuses"), ("http://name.test/", "[]", None)])
def test_explain_says_what_the_guard_says_of_an_address(cli, url, allowed, word):
    done = cli("explain", url, "--set", f"upstream.allow_addresses={allowed}")
    assert "verdict: allow" in done.stdout
    assert f"address guard: {word}" in done.stdout if word else "guard" not in done.stdout


# -- finding its files ---------------------------------------------------------------------------


@pytest.fixture
def cwd_cli(binary, tmp_path, shell):
    """Runs the binary in an empty directory of its own."""
    def call(*arguments, **env):
        return shell(binary, *arguments, cwd=tmp_path, env={"HOME": str(tmp_path), **env})

    return call


def test_where_the_configuration_is_looked_for(cwd_cli, tmp_path):
    (tmp_path / "sluice.yaml").write_text("here: 1\n")
    assert "sluice.yaml:1:1" in cwd_cli("check-config").stderr
    (tmp_path / "other.yaml").write_text("\nthere: 1\n")
    assert "other.yaml:2:1" in cwd_cli("check-config", SLUICE_CONFIG="other.yaml").stderr
    (tmp_path / "third.yaml").write_text("\n\nyonder: 1\n")
    assert "third.yaml:3:1" in cwd_cli("check-config", "-c", "third.yaml",
                                       SLUICE_CONFIG="other.yaml").stderr


@pytest.mark.parametrize("leads_to", ["nowhere.yaml", "sluice.yaml"])
def test_a_configuration_out_of_reach_is_not_passed_over(cwd_cli, tmp_path, leads_to):
    (tmp_path / "sluice.yaml").symlink_to(leads_to)
    done = cwd_cli("check-config")
    assert done.returncode == 78 and "sluice.yaml: " in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's place")
def test_a_configuration_in_a_closed_directory_is_not_passed_over(binary, tmp_path):
    (tmp_path / "sluice.yaml").write_text("default: deny\n")
    tmp_path.chmod(0o700)
    copy = os.open(binary, os.O_RDONLY)
    done = subprocess.run([f"/proc/self/fd/{copy}", "check-config"], cwd=tmp_path, user=65534,
                          group=65534, extra_groups=[], pass_fds=[copy], capture_output=True,
                          text=True, env={"HOME": "/nonexistent"})
    os.close(copy)
    assert done.returncode == 78 and "sluice.yaml: Permission denied" in done.stderr


@pytest.mark.parametrize("goal", ["build", "run", "install", "lint", "fuzz", "bench", "coverage"])
def test_make_sees_to_packages_before_it_builds(shell, tmp_path, goal):
    shutil.copy(ROOT / "Makefile", tmp_path)
    does = shell("make", "-n", "-C", tmp_path, goal,
                 env={"DEPS_ARE_THERE": "", "MAKEFLAGS": ""}).stdout
    assert 0 <= does.find("tools/install-deps build") < does.find("meson setup")


@pytest.mark.smoke
def test_run_needs_no_file(binary, tmp_path):
    """And says what to try."""
    process = subprocess.Popen(
        [binary, "run", "--listen", "127.0.0.1:0", "--state-dir", tmp_path / "state", "--set",
         "admin.address=off"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "HOME": str(tmp_path)})
    said = ""
    with process.stderr:
        for line in process.stderr:
            said += line
            if "curl" in line:
                break
        process.terminate()
        said += process.stderr.read()
    assert process.wait(30) == 0
    port = re.search(r"sluice: ready, listening on 127\.0\.0\.1:(\d+)", said).group(1)
    assert f"curl --proxy http://127.0.0.1:{port} --cacert {tmp_path / 'state/ca.pem'}" in said
    assert "Sanitizer" not in said
