"""What the process that serves clients can do besides: the sandbox and the user, from inside."""
import errno
import json
import os
import pathlib
import pwd
import shutil
import signal
import tempfile

import pytest

from harness import waiting
from harness.process import Sluice, merged

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
pytestmark = pytest.mark.skipif("SLUICE_TEST_SANDBOX" in os.environ, reason="measured without it")
NOBODY = pwd.getpwnam("nobody").pw_uid
CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE = 1 << 1, 1 << 10
# A sanitizer's finder of leaks needs them.
FOR_SANITIZERS = {"fork", "kill", "ptrace"}
# Relative to where a proxy is started.
KEY, CONFIG = "state/ca.key", "conf/sluice.yaml"


def threads(proxy):
    """What the kernel says about each."""
    for task in pathlib.Path(f"/proc/{proxy.process.pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        yield {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_sanitized(binary):
    content = binary.read_bytes()
    return b"__asan_init" in content or b"__tsan_init" in content


def preloaded(binary, **more):
    options = os.environ.get("ASAN_OPTIONS", "")
    return {"LD_PRELOAD": str(binary.parent / "tests/faults/libprobe.so"),
            "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0", **more}


@pytest.fixture
def probe(binary, connect, tmp_path):
    """probe(start, config, files) -> a proxy from start, and what its worker could do there."""
    def run(start, config, files=()):
        report = tmp_path / "report"
        proxy = start(config, env=preloaded(binary, PROBE=str(report),
                                            PROBE_FILES=":".join(map(str, files))))
        connect(proxy)
        waiting.until(lambda: "end: 0" in report.read_text(), "the end of the report")
        lines = (line.rpartition(": ") for line in report.read_text().splitlines())
        return proxy, {what: int(error) for what, _, error in lines}
    return run


@pytest.fixture
def others_proxy(binary, surroundings):
    """As sluice, where another user can read what he is to read, and write his log."""
    there = []

    def start(config, ready=True, **more):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-user-"))
        directory.chmod(0o755)
        trust = directory / "origins.pem"
        shutil.copy(surroundings["upstream"]["ca_file"], trust)
        (directory / "log").mkdir()
        os.chown(directory / "log", NOBODY, -1)
        more_config = {"upstream": {"ca_file": str(trust)},
                       "log": {"access": str(directory / "log/access.log")}}
        proxy = Sluice(binary, directory, merged(merged(surroundings, more_config), config), **more)
        proxy.access = directory / "log/access.log"
        there.append(proxy)
        return proxy.wait_ready() if ready else proxy

    yield start
    for proxy in there:
        proxy.finish()
        shutil.rmtree(proxy.dir)


# -- what is out of reach --

@pytest.mark.smoke
@pytest.mark.native
@pytest.mark.threat("key-kept")
def test_files_that_are_not_named_cannot_be_opened(sluice, probe, tmp_path):
    other = tmp_path / "other"
    other.write_text("secret")
    _, could = probe(sluice, {}, [KEY, other, "state/ca.pem", "/proc/1/environ", CONFIG, "/etc/hosts"])
    assert {could[str(p)] for p in (KEY, other, "state/ca.pem", "/proc/1/environ")} == {errno.EACCES}
    assert could[CONFIG] == could["/etc/hosts"] == 0


@pytest.mark.smoke
@pytest.mark.native
@pytest.mark.threat("key-kept")
def test_calls_that_are_not_needed_are_not_there(sluice, probe, binary):
    _, could = probe(sluice, {})
    del could["end"]
    if is_sanitized(binary):
        could = {call: error for call, error in could.items() if call not in FOR_SANITIZERS}
    assert could == dict.fromkeys(could, errno.ENOSYS)


@pytest.mark.native
def test_every_thread_is_in_it(sluice):
    for thread in threads(sluice()):
        assert (thread["NoNewPrivs"], thread["Seccomp"]) == ("1", "2"), thread["Name"]
        rights = int(thread["CapEff"], 16) | int(thread["CapPrm"], 16)
        assert rights & ~(CAP_NET_BIND_SERVICE | CAP_DAC_OVERRIDE) == 0, thread["Name"]


@pytest.mark.native
def test_off_is_off(sluice, probe):
    proxy, could = probe(sluice, {"security": {"sandbox": "off"}}, [KEY])
    assert could[KEY] == could["fork"] == 0
    assert {t["Seccomp"] for t in threads(proxy)} == {"0"}


@pytest.mark.native
@pytest.mark.threat("key-kept")
def test_a_key_among_the_configuration_is_out_of_reach(sluice, cli, probe, tmp_path):
    """Then nothing new there is read: that is said, once."""
    assert cli("ca", "init", "--state-dir", tmp_path).returncode == 0
    (tmp_path / "hosts").write_text("a.test\n")
    (tmp_path / "more-hosts").write_text("b.test\n")
    proxy, could = probe(sluice, {
        "ca": {"certificate": str(tmp_path / "ca.pem"), "key": str(tmp_path / "ca.key")},
        "rules": [{"when": f"host in {tmp_path / name}", "do": "deny"}
                  for name in ("hosts", "more-hosts")]}, [tmp_path / "ca.key", tmp_path / "hosts"])
    assert could[str(tmp_path / "ca.key")] == errno.EACCES
    assert could[str(tmp_path / "hosts")] == 0
    assert proxy.stderr.count("the authority's key lies below") == 1
    assert "reloaded" in proxy.reload()


@pytest.mark.native
@pytest.mark.threat("key-kept")
def test_nor_is_another_key_there_or_what_links_lead_to(sluice, cli, probe, tmp_path):
    conf, elsewhere = tmp_path / "conf", tmp_path / "elsewhere"
    for directory in (conf, elsewhere, tmp_path / "old"):
        assert cli("ca", "init", "--state-dir", directory).returncode == 0
    (conf / "ca.key").rename(conf / "now.key")
    (tmp_path / "old/ca.key").rename(conf / "ca.key.bak")
    (conf / "round").symlink_to(".")
    (conf / "out").symlink_to(elsewhere)
    (conf / "hosts").write_text("a.test\n")
    tried = [conf / "now.key", conf / "ca.key.bak", conf / "round/now.key", conf / "out/ca.pem"]
    _, could = probe(sluice, {
        "ca": {"certificate": str(conf / "ca.pem"), "key": str(conf / "now.key")},
        "rules": [{"when": f"host in {conf / 'hosts'}", "do": "deny"}]}, tried)
    assert {could[str(path)] for path in tried} == {errno.EACCES}


@pytest.mark.native
def test_a_directory_that_may_be_changed_holds_nothing_else(sluice, cli, tmp_path):
    assert "may be changed" not in sluice().stderr
    assert cli("ca", "init", "--state-dir", tmp_path).returncode == 0
    proxy = sluice({"log": {"access": str(tmp_path / "access.log")},
                    "ca": {"certificate": str(tmp_path / "ca.pem"),
                           "key": str(tmp_path / "ca.key")}})
    assert f"all of {tmp_path} may be changed" in proxy.stderr
    assert proxy.stderr.count("may be changed") == 1


@pytest.mark.native
def test_a_key_with_two_names_is_said(sluice, cli, tmp_path):
    assert cli("ca", "init", "--state-dir", tmp_path).returncode == 0
    os.link(tmp_path / "ca.key", tmp_path / "another")
    proxy = sluice({"ca": {"certificate": str(tmp_path / "ca.pem"), "key": str(tmp_path / "ca.key")}})
    assert "has another name" in proxy.stderr


@pytest.mark.native
@pytest.mark.parametrize("part", ["landlock", "seccomp"])
def test_a_part_that_the_kernel_lacks_is_done_without(sluice, binary, part):
    proxy = sluice(env=preloaded(binary, PROBE_MISSING=part))
    assert proxy.stderr.count("sandbox: goes on without a part of it") == 1
    assert f"no {part}" in proxy.stderr.lower()


# -- what still works --

def test_a_reload_reads_what_is_new_beside_what_was_named(sluice, connect, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("first.test\n")
    proxy = sluice({"rules": [{"when": f"host in {first}", "do": "refuse"}]})
    second.write_text("second.test\n")
    new = proxy.file.with_name("new.yaml")
    new.write_text(proxy.file.read_text().replace(str(first), str(second)))
    new.replace(proxy.file)
    assert "reloaded" in proxy.reload()
    assert connect(proxy).connect("second.test", 443).status == 403


def test_a_reload_into_another_directory_says_what_bounds_it(sluice, surroundings, tmp_path):
    proxy = sluice()
    (tmp_path / "hosts").write_text("a.test\n")
    said = proxy.reload(merged(surroundings, {
        "rules": [{"when": f"host in {tmp_path / 'hosts'}", "do": "deny"}]}))
    assert "reload failed" in said and "Permission denied" in said
    proxy.wait_stderr("need a restart")


def test_the_authority_is_replaced_where_it_is_and_nowhere_else(sluice, surroundings, cli, tunnel,
                                                               origin, host, tmp_path):
    proxy = sluice()
    assert cli("ca", "init", "--force", "--state-dir", proxy.state, "--name", "2nd").returncode == 0
    assert "reloaded" in proxy.reload()
    assert proxy.look("/ca.pem")[1] == proxy.ca.read_bytes()
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    assert cli("ca", "init", "--state-dir", tmp_path).returncode == 0
    said = proxy.reload(merged(surroundings, {"ca": {"certificate": str(tmp_path / "ca.pem"),
                                                     "key": str(tmp_path / "ca.key")}}))
    assert "reload failed" in said and "restart" in said


def test_what_is_new_about_it_counts_from_the_next_start(sluice, surroundings):
    proxy = sluice()
    proxy.reload(merged(surroundings, {"security": {"sandbox": "off"}}))
    proxy.wait_stderr("security: what is new counts from the next start on")


# -- the user --

@as_root
@pytest.mark.native
@pytest.mark.threat("key-kept")
@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_another_user(others_proxy, probe, tunnel, origin, host, sandbox):
    proxy, could = probe(others_proxy, {"security": {"user": "nobody", "sandbox": sandbox}}, [KEY])
    assert could[KEY] == errno.EACCES
    for thread in threads(proxy):
        assert thread["Uid"].split() == [str(NOBODY)] * 4
        assert thread["Groups"] == ""
        assert int(thread["CapPrm"], 16) & ~CAP_NET_BIND_SERVICE == 0
    assert "runs as root" not in proxy.stderr
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    assert "reloaded" in proxy.reload()
    proxy.access.rename(proxy.access.with_name("old.log"))
    proxy.process.send_signal(signal.SIGUSR1)
    waiting.until(proxy.access.exists, "a new log")
    assert proxy.access.stat().st_uid == NOBODY
    assert b"process_open_fds" in proxy.look("/metrics")[1]


@pytest.fixture
def fails(cli, tmp_path):
    """fails(config) -> what a start that comes to nothing says."""
    def run(config):
        file = tmp_path / "sluice.yaml"
        file.write_text(json.dumps({"listeners": [{"address": "127.0.0.1:0"}],
                                    "admin": {"address": "off"}, **config}))
        done = cli("run", "-c", file, "--state-dir", tmp_path / "state")
        assert done.returncode == 78, done.stderr
        return done.stderr
    return run


def test_a_user_that_is_not_there(fails, cli, tmp_path):
    said = "security.user: nobody-of-that-name: no such user"
    assert said in fails({"security": {"user": "nobody-of-that-name"}})
    done = cli("check-config", "-c", tmp_path / "sluice.yaml")
    assert done.returncode == 78 and said in done.stderr


@as_root
def test_what_the_user_may_not_read_is_an_error_at_the_start(fails, tmp_path):
    """Its directory is root's; the log would be as well."""
    said = fails({"security": {"user": "nobody"}})
    assert f"{tmp_path}/sluice.yaml: Permission denied for nobody" in said
