"""The proxy as a process: started from a configuration fragment, watched, ended, checked."""
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import threading
import urllib.request

from . import waiting

_READY = re.compile(r"sluice: ready, listening on 127\.0\.0\.1:(\d+)")
_ADMIN = re.compile(r"sluice: admin on (\S+)")
_FAULTS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|assertion|"
                     r"UndefinedBehaviorSanitizer")
_METRIC = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.M)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def merged(base, more):
    """Dictionaries are merged at every depth; anything else is replaced."""
    if not isinstance(base, dict) or not isinstance(more, dict):
        return more
    return {**base, **{k: merged(base[k], v) if k in base else v for k, v in more.items()}}


def command(binary, *arguments, timeout=60, env=None):
    """Runs one of the subcommands that end by themselves."""
    return subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(env or {})})


def children(pid):
    return [int(n) for n in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def signer_of(proxy):
    """The process that holds the key: a child of the proxy's only child."""
    def find():
        keepers = children(proxy.process.pid)
        return children(keepers[0]) if keepers else []
    return waiting.until(find, "a signer")[0]


def exists(pid):
    """Not as a zombie either."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Sluice:
    def __init__(self, binary, directory, config, arguments=(), env=None, listen="127.0.0.1:0"):
        """listen None: as the configuration says."""
        self.binary = binary
        self.dir = directory
        self.state = directory / "state"
        self.ca = self.state / "ca.pem"
        (directory / "conf").mkdir(exist_ok=True)
        self.file = directory / "conf" / "sluice.yaml"
        (directory / "log").mkdir(exist_ok=True)
        self.access = directory / "log" / "access.log"
        self.base = {"log": {"access": str(self.access), "format": "json"},
                     "admin": {"address": "127.0.0.1:0"}, "workers": 2, "shutdown_grace": "2s"}
        if "SLUICE_TEST_SANDBOX" in os.environ:
            self.base["security"] = {"sandbox": os.environ["SLUICE_TEST_SANDBOX"]}
        self.errors = []
        self.condition = threading.Condition()
        self.ended = False
        self.is_told = False
        self.port = None
        self._admin = None
        self.write(config)
        self.process = subprocess.Popen(
            [binary, "run", "-c", self.file, "--state-dir", self.state,
             *(["--listen", listen] if listen else []), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            cwd=directory, env={**os.environ, **(env or {})})
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    # -- configuration --

    def write(self, config):
        """JSON is YAML."""
        self.file.write_text(json.dumps(merged(self.base, config), indent=1))

    def reload(self, config=None):
        """SIGHUP, with a new file if one is given; the log line that says how it went."""
        if config is not None:
            self.write(config)
        return self.signal_and_wait(signal.SIGHUP, r"reloaded |reload failed")

    # -- what it says --

    def _watch(self):
        for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            with self.condition:
                self.errors.append(line)
                self.condition.notify_all()
        with self.condition:
            self.ended = True
            self.condition.notify_all()

    @property
    def stderr(self):
        with self.condition:
            return "\n".join(self.errors)

    def _find(self, pattern, since):
        return next((m for m in map(re.compile(pattern).search, self.errors[since:]) if m), None)

    def wait_stderr(self, pattern, since=0, seconds=waiting.DEADLINE):
        """The match of the first line of stderr with the pattern."""
        with self.condition:
            self.condition.wait_for(lambda: self._find(pattern, since) or self.ended, seconds)
            found = self._find(pattern, since)
        if found is None:
            raise waiting.TimedOut(f"not on stderr: {pattern}\n{self.stderr}")
        return found

    def signal_and_wait(self, signum, pattern):
        with self.condition:
            since = len(self.errors)
        self.process.send_signal(signum)
        return self.wait_stderr(pattern, since).string

    def wait_ready(self):
        self.port = int(self.wait_stderr(_READY.pattern).group(1))
        return self

    # -- the access log --

    def log_lines(self):
        if not self.access.exists():
            return []
        lines = self.access.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def log(self, **facts):
        """The first line of the access log in which all of the facts hold."""
        def find():
            return next((line for line in self.log_lines()
                         if all(line.get(k) == v for k, v in facts.items())), None)
        try:
            return waiting.until(find, f"log line with {facts}")
        except waiting.TimedOut as e:
            lines = "\n".join(str(line)[:600] for line in self.log_lines()[-10:])
            raise waiting.TimedOut(f"{e}; there are:\n{lines}") from None

    # -- the admin address --

    @property
    def admin(self):
        if self._admin is None:
            self._admin = self.wait_stderr(_ADMIN.pattern).group(1)
        return self._admin

    def look(self, path, headers=None):
        """Status and body of a page of the admin address."""
        asked = urllib.request.Request(f"http://{self.admin}{path}", headers=headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(asked, timeout=waiting.DEADLINE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read()

    def metric(self, name, **labels):
        """Sum of the samples of that name that carry the labels; 0 when there are none."""
        status, body = self.look("/metrics")
        assert status == 200
        total = 0.0
        for found, text, value in _METRIC.findall(body.decode()):
            there = dict(_LABEL.findall(text))
            if found == name and all(there.get(k) == v for k, v in labels.items()):
                total += float(value)
        return total

    # -- TLS --

    def trusting(self):
        """A client's TLS context that trusts this proxy's authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        return context

    # -- the end --

    def terminate(self, signum=signal.SIGTERM):
        self.is_told = True
        self.process.send_signal(signum)

    def stop(self, signum=signal.SIGTERM, seconds=30):
        """Exit status; does not tell it twice."""
        if self.process.poll() is None and not self.is_told:
            self.terminate(signum)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {seconds} s:\n{self.stderr}") from None
        finally:
            self.thread.join(10)
            self.process.stderr.close()
        return status

    def finish(self):
        """A proxy that the test has not ended itself must end well."""
        if self.process.returncode is None:
            status = self.stop()
            assert status == 0, f"exit status {status}:\n{self.stderr}"
        assert not _FAULTS.search(self.stderr), self.stderr
