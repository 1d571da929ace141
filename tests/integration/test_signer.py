"""The authority's key in a process of its own: not in the one that reads what strangers send."""
import os
import pathlib
import re
import signal
import ssl
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization

from harness import waiting
from harness.process import children, exists, signer_of

WORD = 8


def secret_of(proxy):
    """The private number, in the two orders in which memory may hold it."""
    pem = (proxy.state / "ca.key").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    number = key.private_numbers().private_value
    return [number.to_bytes(4 * WORD, order) for order in ("big", "little")]


def memory_holds(pid, secrets):
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(n, 16) for n in line.split()[0].split("-"))
            # A sanitizer's shadow is terabytes, and no heap.
            if "rw" not in line.split()[1] or end - start > 1 << 30:
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, OverflowError):
                continue
            if any(secret in content for secret in secrets):
                return True
    return False


@pytest.mark.native
@pytest.mark.threat("key-kept")
def test_the_key_is_not_in_the_proxys_memory(sluice, origin, tunnel, host):
    proxy = sluice()
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    secrets = secret_of(proxy)
    if os.geteuid() == 0:
        assert memory_holds(signer_of(proxy), secrets)
    assert not memory_holds(proxy.process.pid, secrets)


@pytest.mark.threat("key-kept")
def test_nor_after_a_reload(sluice, origin, tunnel, host):
    proxy = sluice()
    proxy.reload()
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    assert not memory_holds(proxy.process.pid, secret_of(proxy))


@pytest.mark.native
def test_it_has_few_rights(sluice):
    dac_override, ipc_lock = 1 << 1, 1 << 14

    def rights():
        status = pathlib.Path(f"/proc/{signer_of(proxy)}/status").read_text()
        return int(re.search(r"CapPrm:\s+(\w+)", status).group(1), 16)

    proxy = sluice()
    waiting.until(lambda: rights() & ~(dac_override | ipc_lock) == 0, "few rights")


@pytest.mark.smoke
def test_a_killed_signer_is_replaced(sluice, origin, tunnel, host):
    """Whatever is under way: no handshake fails for it."""
    proxy = sluice()
    seen = set()
    for n in range(5):
        pid = signer_of(proxy)
        seen.add(pid)
        os.kill(pid, signal.SIGKILL)
        assert tunnel(proxy, f"{n}-{host}", origin.port).get("/").status == 200
    assert len(seen) == 5


def test_a_signer_that_hangs_holds_up_new_names_alone(sluice, origin, tunnel, connect, host):
    proxy = sluice({"workers": 1})
    known = tunnel(proxy, host, origin.port)
    pid = signer_of(proxy)
    os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        for n in range(5):
            client = connect(proxy)
            assert client.connect(f"{n}-{host}", origin.port).status == 200
            with pytest.raises((ssl.SSLError, OSError)):
                client.start_tls(f"{n}-{host}")
            assert known.get("/").status == 200
        assert tunnel(proxy, host, origin.port).get("/").status == 200
        assert time.monotonic() - start < 5
        assert proxy.log(host=f"0-{host}")["detail"] == "the signer does not answer"
    finally:
        os.kill(pid, signal.SIGCONT)

    def is_back():
        client = connect(proxy)
        client.connect(f"back-{host}", origin.port)
        try:
            return client.start_tls(f"back-{host}").get("/").status == 200
        except (ssl.SSLError, OSError):
            return False

    waiting.until(is_back, "a certificate")


def test_without_its_keeper_it_is_missed(sluice, origin, tunnel, host):
    """What could replace it was given up."""
    proxy = sluice()
    known = tunnel(proxy, host, origin.port)
    os.kill(children(proxy.process.pid)[0], signal.SIGKILL)
    proxy.wait_stderr("no certificate can be signed before a restart")
    assert proxy.look("/readyz")[0] == 503
    proxy.reload()
    assert proxy.look("/readyz")[0] == 503
    assert known.get("/").status == 200


@pytest.mark.parametrize("hangs", [False, True])
def test_nothing_is_left_when_the_proxy_is_killed(sluice, hangs):
    proxy = sluice()
    pid = signer_of(proxy)
    keeper = children(proxy.process.pid)[0]
    if hangs:
        os.kill(pid, signal.SIGSTOP)
    proxy.process.kill()
    proxy.process.wait()
    waiting.until(lambda: not exists(pid) and not exists(keeper), "the end of the signer")


def test_nothing_is_left_at_the_end_even_of_one_that_hangs(sluice):
    proxy = sluice()
    pid = signer_of(proxy)
    keeper = children(proxy.process.pid)[0]
    os.kill(pid, signal.SIGSTOP)
    assert proxy.stop() == 0
    assert not exists(keeper)
    waiting.until(lambda: not exists(pid), "the end of the signer")


def test_signals_to_the_whole_service_do_not_end_it(sluice, origin, tunnel, host):
    """As systemd and terminals send them; the proxy has yet to drain."""
    proxy = sluice()
    pid, keeper = signer_of(proxy), children(proxy.process.pid)[0]
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, signum)
        os.kill(keeper, signum)
    assert tunnel(proxy, host, origin.port).get("/").status == 200
    assert signer_of(proxy) == pid


def test_a_key_exchanged_behind_its_back_is_not_used(sluice, binary, origin, connect, tunnel, host):
    proxy = sluice()
    trusting = proxy.trusting()
    subprocess.run([binary, "ca", "init", "--force", "--state-dir", proxy.state], check=True,
                   capture_output=True)
    assert tunnel(proxy, f"one-{host}", origin.port, context=trusting).get("/").status == 200
    os.kill(signer_of(proxy), signal.SIGKILL)
    client = connect(proxy)
    assert client.connect(f"two-{host}", origin.port).status == 200
    with pytest.raises((ssl.SSLError, OSError)):
        client.start_tls(f"two-{host}", trusting)
    assert "is another key by now" in proxy.log(host=f"two-{host}")["detail"]
    proxy.reload()
    assert tunnel(proxy, f"two-{host}", origin.port).get("/").status == 200
