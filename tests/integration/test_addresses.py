"""The guard: what is connected to is judged, whatever name, spelling or moment led there."""
import pytest

from harness.client import request
from harness.dns import Dns
from harness.origin import Origin
from harness.process import Sluice, merged

# First and last of each range that nobody reaches by default.
RANGES = {
    "0/8": ("0.0.0.0", "0.255.255.255"),
    "10/8": ("10.0.0.0", "10.255.255.255"),
    "100.64/10": ("100.64.0.0", "100.127.255.255"),
    "127/8": ("127.0.0.0", "127.255.255.255"),
    "169.254/16": ("169.254.0.0", "169.254.169.254", "169.254.255.255"),
    "172.16/12": ("172.16.0.0", "172.31.255.255"),
    "192.0.0/24": ("192.0.0.0", "192.0.0.255"),
    "192.168/16": ("192.168.0.0", "192.168.255.255"),
    "198.18/15": ("198.18.0.0", "198.19.255.255"),
    "multicast": ("224.0.0.0", "239.255.255.255"),
    "reserved": ("240.0.0.0", "255.255.255.254"),
    "broadcast": ("255.255.255.255",),
    "::": ("::",),
    "::1": ("::1",),
    "fc00::/7": ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "fe80::/10": ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "ff00::/8": ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "mapped": ("::ffff:127.0.0.1", "::ffff:169.254.169.254"),
    "compatible": ("::127.0.0.1", "::169.254.169.254"),
    "64:ff9b::/96": ("64:ff9b::", "64:ff9b::127.0.0.1", "64:ff9b::ffff:ffff"),
    "64:ff9b:1::/48": ("64:ff9b:1::", "64:ff9b:1::7f00:1", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    "2002::/16": ("2002::", "2002:7f00:1::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "2001::/32": ("2001::", "2001:0:4136:e378:8000:63bf:80ff:fffe",
                  "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),
}


@pytest.fixture(scope="module")
def guarded(binary, tmp_path_factory, surroundings):
    """A proxy that lets through what it lets through by default."""
    config = merged(surroundings, {"upstream": {"allow_addresses": []}})
    one = Sluice(binary, tmp_path_factory.mktemp("sluice"), config).wait_ready()
    yield one
    one.finish()


def assert_prohibited(answer):
    assert answer.status == 403
    assert "error=destination_ip_prohibited" in answer.get("proxy-status")


@pytest.mark.threat("ssrf-forms", "no-way-inside")
@pytest.mark.parametrize("case", RANGES)
def test_a_name_that_leads_inside_is_403(guarded, dns, connect, host, case):
    for n, address in enumerate(RANGES[case]):
        name = f"{n}.{host}"
        dns.records[name] = [address]
        assert_prohibited(connect(guarded).ask("GET", f"http://{name}/", host=name))
        line = guarded.log(host=name)
        assert (line["verdict"], line["error"]) == ("deny", "blocked_address")


@pytest.mark.threat("ssrf-forms")
@pytest.mark.parametrize("case", RANGES)
def test_a_literal_that_leads_inside_is_403(guarded, connect, case):
    for address in RANGES[case]:
        literal = f"[{address}]" if ":" in address else address
        assert_prohibited(connect(guarded).ask("GET", f"http://{literal}/", host=literal))


# None: malformed; else what rules, checks and the log call it.
SPELLINGS = {
    "127.0.0.1": "127.0.0.1", "127.0.0.1.": "127.0.0.1",
    "127.0.0.1..": None, "2130706433": None, "017700000001": None, "0x7f000001": None,
    "0x7f.1": None, "0x7f.0.0.1": None, "0177.0.0.1": None, "127.1": None, "127.0.1": None,
    "127.0.0.01": None, "127.0.0.1.1": None, "127.0.0.256": None, "127.0.0.0x1": None, "0": None,
    "00.0.0.0": None, "[127.0.0.1]": None, "127.0.0.1%00": None, "127.0.0.1\\@x.test": None,
    "[::ffff:127.0.0.1]": "127.0.0.1", "[::FFFF:7F00:1]": "127.0.0.1",
    "[0:0:0:0:0:ffff:127.0.0.1]": "127.0.0.1", "[::ffff:127.1]": None, "[::ffff:2130706433]": None,
    "[::1%lo]": None, "[::1%25lo]": None, "::1": None, "[::1": None, "[::1]x": None,
    "[0:0:0:0:0:0:0:1]": "::1", "[::0001]": "::1",
}


@pytest.mark.threat("spelling-of-hosts", "ssrf-forms")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_of_an_address_is_one_or_none(sluice_denying, connect, spelling):
    canonical = SPELLINGS[spelling]
    client, path = connect(sluice_denying), f"/{list(SPELLINGS).index(spelling)}"
    answer = client.ask("GET", f"http://{spelling}:9{path}", host=f"{spelling}:9")
    if canonical is None:
        assert answer.status == 400
        return
    assert answer.status == 403
    line = sluice_denying.log(target=path)
    assert (line["decided_by"], line["host"]) == ("loopback", canonical)


@pytest.fixture(scope="module")
def sluice_denying(binary, tmp_path_factory, surroundings):
    """A rule is what stands in the way of loopback."""
    rules = [{"name": "loopback", "when": "host 127.0.0.1 or host ::1", "do": "deny"}]
    config = merged(surroundings, {"rules": rules,
                                   "upstream": {"allow_addresses": ["0.0.0.0/0", "::/0"]}})
    one = Sluice(binary, tmp_path_factory.mktemp("sluice"), config).wait_ready()
    yield one
    one.finish()


# -- our own doors -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_proxy(binary, tmp_path_factory, surroundings):
    """Everything is allowed, so that only its own doors are closed."""
    config = merged(surroundings, {"upstream": {"allow_addresses": ["0.0.0.0/0", "::/0"]}})
    one = Sluice(binary, tmp_path_factory.mktemp("sluice"), config).wait_ready()
    yield one
    one.finish()


@pytest.mark.threat("admin-through-proxy", "no-way-inside")
@pytest.mark.parametrize("door", ["listener", "admin"])
@pytest.mark.parametrize("name, records", [
    ("127.0.0.1", None), ("localhost", None), ("0.0.0.0", None), ("[::]", None),
    ("[::ffff:127.0.0.1]", None), ("[::ffff:0.0.0.0]", None), ("127.0.0.1.", None),
    ("a.{host}", ["127.0.0.1"]), ("B.{host}.", ["127.0.0.1"]), ("c.{host}", ["0.0.0.0"]),
    ("d.{host}", ["::ffff:127.0.0.1"]), ("e.{host}", ["::"]),
    ("f.{host}", ["127.0.0.1", "0.0.0.0", "::"]),
])
def test_its_own_doors_are_closed_by_any_name(open_proxy, dns, connect, host, door, name, records):
    port = open_proxy.port if door == "listener" else int(open_proxy.admin.rsplit(":", 1)[1])
    name = name.format(host=host)
    if records is not None:
        dns.records[name.lower().rstrip(".")] = records
    authority = f"{name}:{port}"
    plain, client = connect(open_proxy), connect(open_proxy)
    client.send(request("CONNECT", authority, authority))
    assert client.read("HEAD").status == 200
    for answer in (plain.ask("GET", f"http://{authority}/metrics", host=authority),
                   client.ask("GET", "/metrics", host=authority)):
        # localhost is ::1 as well, where nobody listens.
        assert answer.status == 403 or (name, answer.status) == ("localhost", 502)


# -- time and number -----------------------------------------------------------------------------


@pytest.mark.threat("ssrf-forms")
@pytest.mark.parametrize("order", [1, -1])
def test_each_candidate_is_judged(sluice, dns, origin, tunnel, host, order):
    """The one that is allowed refuses; the one beside it would answer, and is not asked."""
    dns.records[host] = ["127.0.0.9", "127.0.0.1"][::order]
    proxy = sluice({"upstream": {"allow_addresses": ["127.0.0.9/32"]}})
    assert tunnel(proxy, host, origin.port).get("/").status == 502
    assert origin.n_connections == 0


class Rebinding(Dns):
    """Another address each time, for one second or less."""

    def __init__(self, addresses):
        self.turns = iter(addresses)
        self.asked = 0
        super().__init__()

    def answer(self, query):
        name, end = self._name(query)
        if query[end:end + 2] == b"\0\1":
            self.records[name] = [next(self.turns)]
            self.asked += 1
        else:
            self.records[name] = []
        return super().answer(query)


@pytest.fixture
def rebinding(servers):
    return lambda *addresses: servers(Rebinding(addresses))


INSIDE = ["127.0.0.1"] * 50


@pytest.mark.threat("ssrf-forms", "no-way-inside")
def test_the_address_that_was_judged_is_connected_to(sluice, rebinding, servers, tunnel, host, pki):
    """Good when it is judged, inside a moment later: one look-up a connection, used as it is."""
    origin = servers(Origin(tls=pki.server_context()))
    dns = rebinding("127.0.0.9", *INSIDE)
    proxy = sluice({"upstream": {"nameservers": [dns.address], "pool": {"max_idle": 0},
                                 "allow_addresses": ["127.0.0.9/32"]}})
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 502  # nobody listens there
    assert dns.asked == 1
    while (answer := client.get("/")).status == 502:  # until the answer is too old
        pass
    assert_prohibited(answer)
    assert origin.n_connections == 0


@pytest.mark.threat("ssrf-forms")
def test_a_name_that_moves_while_the_check_is_out(sluice, dns, check, origin, tunnel, host):
    def move(question):
        dns.records[host] = ["127.0.0.1"]
        return {"action": "allow"}

    check.answer = move
    dns.records[host] = ["127.0.0.9"]
    proxy = sluice({**check.config(), "upstream": {"allow_addresses": ["127.0.0.9/32"]}})
    assert_prohibited(tunnel(proxy, host, origin.port).get("/"))
    assert origin.n_connections == 0


@pytest.mark.threat("ssrf-forms")
def test_a_retry_is_judged_again(sluice, rebinding, servers, tunnel, host, pki):
    """A connection that dies is replaced by one that would lead inside."""
    def serve(connection):
        while origin.take(connection):
            if origin.requests[-1].target == "/die":
                return
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    origin = servers(Origin(serve=serve, tls=pki.server_context()))
    dns = rebinding("127.0.0.1", *["10.0.0.1"] * 50)
    proxy = sluice({"workers": 1, "upstream": {"nameservers": [dns.address]}})
    client = tunnel(proxy, host, origin.port)
    assert client.get("/").status == 200
    while client.get("/die").status == 502:  # as long as the answer is good
        assert origin.n_connections < 5000
    assert_prohibited(client.get("/die"))
