"""rig.py -- what bench/story and bench/soak start: the origin, the DNS server, the proxy.

Everything listens on loopback ports that the kernel picks, and lives in one temporary directory.
"""
import contextlib
import json
import pathlib
import re
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/release"
START_SECONDS = 20
STOP_SECONDS = 40


class Program:
    """A child process, what it says, and its end."""

    def __init__(self, command, directory):
        self.command = [str(part) for part in command]
        self.lines = []
        self.said = threading.Condition()
        self.process = subprocess.Popen(self.command, cwd=directory, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, errors="replace")
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            with self.said:
                self.lines.append(line.rstrip())
                self.said.notify_all()
        with self.said:
            self.lines.append(None)
            self.said.notify_all()

    def wait_for(self, pattern, seconds=START_SECONDS):
        """The first line that matches, said already or within `seconds`."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self.said:
            while True:
                for line in self.lines[seen:]:
                    match = re.search(pattern, line or "")
                    if match:
                        return match
                    if line is None:
                        raise SystemExit(self.complaint("ended early"))
                seen = len(self.lines)
                if not self.said.wait(max(0, deadline - time.monotonic())):
                    raise SystemExit(self.complaint(f"did not say {pattern!r}"))

    def complaint(self, what):
        said = "\n".join(line for line in self.lines[-20:] if line)
        return f"{' '.join(self.command)}: {what}\n{said}"

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Rig:
    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.directory = pathlib.Path(
            self.stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
        self.origin_ca = self.directory / "origin-ca.pem"
        origin = self.start([BUILD / "bench/origin", "--ca", self.origin_ca])
        ports = origin.wait_for(r"ready, https (\d+), http (\d+)")
        self.origin_port, self.origin_http_port = int(ports[1]), int(ports[2])
        dns = self.start([ROOT / "bench/dns"])
        self.dns_port = int(dns.wait_for(r"dns: ready on 127\.0\.0\.1:(\d+)")[1])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stack.close()

    def start(self, command):
        program = Program(command, self.directory)
        self.stack.callback(program.stop)
        return program

    def proxy(self, *settings):
        return Proxy(self, settings)


def family(pid):
    """A process and all that it started."""
    yield pid
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))


class Proxy:
    """One run of the proxy; each has a state directory, so a CA, of its own."""

    def __init__(self, rig, settings):
        self.rig = rig
        self.state = pathlib.Path(tempfile.mkdtemp(dir=rig.directory))
        config = self.state / "sluice.yaml"
        config.write_text("{}\n")
        common = [f"upstream.ca_file={rig.origin_ca}", "upstream.allow_addresses=[127.0.0.0/8]",
                  f"upstream.nameservers=['127.0.0.1:{rig.dns_port}']", "workers=1",
                  "admin.address=127.0.0.1:0", "log.access=off"]
        command = [BUILD / "sluice", "run", "-c", config, "--state-dir", self.state,
                   "--listen", "127.0.0.1:0"]
        for setting in [*common, *settings]:
            command += ["--set", setting]
        self.program = Program(command, self.state)
        self.pid = self.program.process.pid
        self.address = self.program.wait_for(r"ready, listening on (127\.0\.0\.1:\d+)")[1]
        self.admin = self.program.wait_for(r"admin on (127\.0\.0\.1:\d+)")[1]
        self.ca = self.state / "ca.pem"
        # Whose CPU counts: also that of the process which signs, and of the one that watches it.
        self.pids = list(family(self.pid))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.program.stop()

    def load_command(self, **options):
        """loadgen's command line: requests=1000 becomes --requests 1000, resume=True --resume."""
        command = [BUILD / "bench/loadgen", "--proxy", self.address, "--ca", self.ca,
                   "--origin-port", self.rig.origin_port]
        for pid in self.pids:
            command += ["--pid", pid]
        for name, value in options.items():
            command.append("--" + name.replace("_", "-"))
            if value is not True:
                command.append(value)
        return [str(part) for part in command]

    def load(self, **options):
        """Runs the load to its end and answers what it measured."""
        done = subprocess.run(self.load_command(**options), stdout=subprocess.PIPE, text=True)
        if not done.stdout:
            raise SystemExit(f"{done.args[0]} said nothing, exit status {done.returncode}")
        return json.loads(done.stdout.splitlines()[0])
