"""Leaves, handshakes and resumption, as clients see them."""
import re
import ssl
import threading

import pytest

from harness.client import WireTls
from harness.pki import openssl

REGIMES = {
    "rsa without cache": {"leaf_key": "rsa-2048", "leaf_key_scope": "host", "cache_entries": 0},
    "rsa with cache": {"leaf_key": "rsa-2048", "leaf_key_scope": "host"},
    "ecdsa without cache": {"cache_entries": 0},
    "ecdsa with cache": {},
}


def leaf_of(client, tmp_path):
    """The leaf's facts as the openssl command prints them."""
    path = tmp_path / "leaf.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(client.sock.getpeercert(True)))
    return path, openssl("x509", "-in", path, "-noout", "-text")


def serial_of(client):
    return client.sock.getpeercert()["serialNumber"]


def only(proxy, version):
    context = proxy.trusting()
    context.minimum_version = context.maximum_version = version
    return context


# -- the leaf ------------------------------------------------------------------------------------


@pytest.mark.threat("coalesced-connections")
@pytest.mark.smoke
def test_the_leaf_is_what_clients_want(proxy, tunnel, host, tmp_path):
    path, text = leaf_of(tunnel(proxy, host, 443), tmp_path)
    openssl("verify", "-x509_strict", "-CAfile", proxy.ca, "-verify_hostname", host, "-purpose",
            "sslserver", path)
    assert re.findall(r"DNS:[^,\s]+|IP Address:\S+", text) == [f"DNS:{host}"]
    assert f"CN = {host}" in text
    assert "Public Key Algorithm: id-ecPublicKey" in text and "prime256v1" in text
    assert "CA:TRUE" not in text
    assert re.search(r"Extended Key Usage:\s*\n\s*TLS Web Server Authentication\n", text)
    assert "OCSP" not in text and "Authority Information Access" not in text


@pytest.mark.threat("key-identifiers")
def test_the_issuer_is_named_by_its_own_key_id(proxy, tunnel, host, tmp_path):
    _, text = leaf_of(tunnel(proxy, host, 443), tmp_path)
    ca = openssl("x509", "-in", proxy.ca, "-noout", "-text")

    def key_id(of, kind):
        return re.search(rf"X509v3 {kind} Key Identifier:[^\n]*\n\s*(?:keyid:)?([0-9A-F:]+)",
                         of).group(1)

    assert key_id(text, "Authority") == key_id(ca, "Subject")
    assert key_id(text, "Subject") != key_id(ca, "Subject")


def test_the_root_is_not_sent(proxy, host, shell):
    done = shell("openssl", "s_client", "-proxy", f"127.0.0.1:{proxy.port}", "-connect",
                 f"{host}:443", "-servername", host, "-showcerts", "-CAfile", proxy.ca)
    assert done.stdout.count("BEGIN CERTIFICATE") == 1, done.stdout + done.stderr
    assert "Verify return code: 0 (ok)" in done.stdout


def test_validity_is_backdated_and_inside_the_authority(proxy, tunnel, host, tmp_path):
    path, _ = leaf_of(tunnel(proxy, host, 443), tmp_path)
    day = 86400
    openssl("x509", "-in", path, "-noout", "-checkend", str(6 * day))
    facts = tunnel(proxy, host, 443).sock.getpeercert()
    begin, end = (ssl.cert_time_to_seconds(facts[k]) for k in ("notBefore", "notAfter"))
    assert 7 * day < end - begin <= 9 * day


@pytest.mark.threat("serials-reused")
def test_serials_are_random_and_differ(proxy, tunnel, host):
    serials = {serial_of(tunnel(proxy, f"{i}.{host}", 443)) for i in range(8)}
    assert len(serials) == 8 and all(len(s) > 24 for s in serials)


def test_a_known_host_gets_the_same_leaf(proxy, tunnel, host):
    assert serial_of(tunnel(proxy, host, 443)) == serial_of(tunnel(proxy, host, 443))


@pytest.mark.threat("long-common-name")
@pytest.mark.parametrize("name", ["x" * 63 + "." + "y" * 63 + "." + "z" * 63 + "." + "w" * 61,
                                  "l" * 60 + ".site.test", "under_score.site.test", "x"])
def test_odd_names(proxy, connect, tmp_path, name):
    client = connect(proxy)
    assert client.connect(name, 443).status == 200
    client.start_tls(name)
    _, text = leaf_of(client, tmp_path)
    assert re.findall(r"DNS:[^,\s]+", text) == [f"DNS:{name}"]
    assert (f"CN = {name}" in text) == (len(name) <= 64)
    assert ("X509v3 Subject Alternative Name: critical" in text) == (len(name) > 64)


@pytest.mark.parametrize("literal, shown", [("192.0.2.7", "192.0.2.7"),
                                            ("2001:db8::7", "2001:DB8:0:0:0:0:0:7")])
def test_a_literal_goes_into_an_address_san(proxy, connect, tmp_path, literal, shown):
    client = connect(proxy)
    assert client.connect(literal, 443).status == 200
    client.start_tls(literal)
    _, text = leaf_of(client, tmp_path)
    assert re.findall(r"DNS:\S+|IP Address:\S+", text) == [f"IP Address:{shown}"]


def test_without_sni_the_connect_host_is_named(proxy, connect, host, tmp_path):
    context = proxy.trusting()
    context.check_hostname = False
    client = connect(proxy)
    assert client.connect(host, 443).status == 200
    client.start_tls(None, context)
    _, text = leaf_of(client, tmp_path)
    assert f"DNS:{host}" in text


def test_a_client_that_knows_only_rsa_gets_rsa(proxy, host):
    done = openssl("s_client", "-proxy", f"127.0.0.1:{proxy.port}", "-connect", f"{host}:443",
                   "-servername", host, "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256", "-CAfile",
                   proxy.ca)
    assert "Verify return code: 0 (ok)" in done
    assert "Server public key is 2048 bit" in done


def test_a_client_without_the_leafs_curve_gets_rsa(proxy, host):
    """Up to TLS 1.2 its groups speak of certificates too."""
    done = openssl("s_client", "-proxy", f"127.0.0.1:{proxy.port}", "-connect", f"{host}:443",
                   "-servername", host, "-tls1_2", "-groups", "X25519", "-CAfile", proxy.ca)
    assert "Verify return code: 0 (ok)" in done
    assert "Server public key is 2048 bit" in done


def test_an_elliptic_leaf_does_not_change_for_an_rsa_client(proxy, tunnel, host):
    before = serial_of(tunnel(proxy, host, 443))
    openssl("s_client", "-proxy", f"127.0.0.1:{proxy.port}", "-connect", f"{host}:443",
            "-servername", host, "-sigalgs", "RSA+SHA256:RSA-PSS+SHA256", "-CAfile", proxy.ca)
    assert serial_of(tunnel(proxy, host, 443)) == before


# -- versions and resumption ---------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(proxy, origin, tunnel, host, version):
    client = tunnel(proxy, host, origin.port, context=only(proxy, version))
    assert client.get("/").status == 200
    name = "TLSv1.2" if version == ssl.TLSVersion.TLSv1_2 else "TLSv1.3"
    assert client.sock.version() == name
    assert proxy.log(host=host)["tls_client"] == name


def test_min_version(sluice, connect, origin, host):
    proxy = sluice({"intercept": {"min_version": "tls1.3"}})
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        client.start_tls(host, only(proxy, ssl.TLSVersion.TLSv1_2))
    assert proxy.log(host=host)["verdict"] == "error"  # counted by the time it is logged
    assert proxy.metric("sluice_handshake_failures_total", side="client") == 1
    assert origin.n_connections == 0


@pytest.mark.smoke
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_on_other_connections_and_workers(sluice, origin, tunnel, host, version):
    proxy = sluice({"workers": 4})
    context = only(proxy, version)
    first = tunnel(proxy, host, origin.port, context=context)
    assert first.get("/").status == 200
    session = first.sock.session
    for _ in range(8):
        with tunnel(proxy, host, origin.port, context=context, session=session) as client:
            assert client.get("/").status == 200
            assert client.sock.session_reused
            session = client.sock.session
    assert proxy.metric("sluice_handshakes_total", side="client", resumed="true") == 8


def test_resumption_can_be_turned_off(sluice, origin, tunnel, host):
    proxy = sluice({"intercept": {"resumption": False}})
    context = proxy.trusting()
    first = tunnel(proxy, host, origin.port, context=context)
    assert first.get("/").status == 200
    second = tunnel(proxy, host, origin.port, context=context, session=first.sock.session)
    assert second.get("/").status == 200 and not second.sock.session_reused


@pytest.mark.threat("domain-fronting")
def test_a_session_of_another_name_opens_no_door(proxy, origin, connect, tunnel, host):
    context = proxy.trusting()
    first = tunnel(proxy, host, origin.port, context=context)
    assert first.get("/").status == 200
    other = connect(proxy)
    assert other.connect("b-" + host, origin.port).status == 200
    other.start_tls("b-" + host, context, first.sock.session)
    assert other.get("/").status == 200
    names = other.sock.getpeercert()["subjectAltName"]
    assert names == (("DNS", "b-" + host),)


# -- the cache -----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_each_host_is_forged_once(sluice, tunnel, host):
    proxy = sluice({"intercept": {"resumption": False}})
    for _ in range(3):
        for i in range(5):
            tunnel(proxy, f"{i}.{host}", 443)
    assert proxy.metric("sluice_forge_duration_seconds_count") == 5
    assert proxy.metric("sluice_leaf_cache_misses_total") == 5
    assert proxy.metric("sluice_leaf_cache_hits_total") == 10


@pytest.mark.threat("forge-under-lock")
def test_simultaneous_misses_forge_once(sluice, connect, host):
    proxy = sluice({"workers": 4, "intercept": {"leaf_key": "rsa-2048", "leaf_key_scope": "host"}})
    clients = [connect(proxy) for _ in range(8)]
    threads = [threading.Thread(target=c.tunnel, args=(host, 443)) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({serial_of(c) for c in clients}) == 1
    assert proxy.metric("sluice_forge_duration_seconds_count") == 1


def test_the_log_says_whether_a_leaf_was_forged(sluice, origin, tunnel, host):
    proxy = sluice({"intercept": {"resumption": False}})
    for path in ("/1", "/2"):
        assert tunnel(proxy, host, origin.port).get(path).status == 200
    assert proxy.log(host=host, target="/1")["leaf"] == "forged"
    assert proxy.log(host=host, target="/2")["leaf"] == "hit"


def test_a_small_cache_forgets_the_oldest(sluice, tunnel, host):
    proxy = sluice({"intercept": {"cache_entries": 1, "resumption": False}})
    names = [f"{i}.{host}" for i in range(40)]
    for name in [*names, names[0]]:
        tunnel(proxy, name, 443)
    assert proxy.metric("sluice_forge_duration_seconds_count") == 41


@pytest.mark.parametrize("regime", REGIMES)
def test_the_regimes_of_the_story(sluice, origin, tunnel, host, tmp_path, regime):
    proxy = sluice({"intercept": {**REGIMES[regime], "resumption": False}})
    clients = [tunnel(proxy, host, origin.port) for _ in range(2)]
    assert [c.get("/").status for c in clients] == [200, 200]
    _, text = leaf_of(clients[0], tmp_path)
    assert ("rsaEncryption" in text) == regime.startswith("rsa")
    cached = "with cache" in regime
    assert (serial_of(clients[0]) == serial_of(clients[1])) == cached
    assert proxy.metric("sluice_forge_duration_seconds_count") == (1 if cached else 2)


@pytest.mark.threat("key-kept")
def test_a_shared_leaf_key_is_not_the_authority_s(proxy, tunnel, host, tmp_path):
    paths = [leaf_of(tunnel(proxy, n, 443), tmp_path)[0] for n in (host, "b-" + host)]
    ca_key = openssl("x509", "-in", proxy.ca, "-noout", "-pubkey")
    assert openssl("x509", "-in", paths[0], "-noout", "-pubkey") != ca_key


def test_leaf_key_scope_host_gives_each_host_a_key(sluice, tunnel, host, tmp_path):
    def key(proxy, name):
        path, _ = leaf_of(tunnel(proxy, name, 443), tmp_path)
        return openssl("x509", "-in", path, "-noout", "-pubkey")

    shared, own = sluice(), sluice({"intercept": {"leaf_key_scope": "host"}})
    assert key(shared, host) == key(shared, "b-" + host)
    assert key(own, host) != key(own, "b-" + host)


# -- the authority -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-3072", "rsa-4096"])
def test_authorities_of_every_kind(cli, sluice, origin, tunnel, host, kind, tmp_path):
    state = tmp_path / "state"
    assert cli("ca", "init", "--state-dir", state, "--key", kind).returncode == 0
    proxy = sluice({"ca": {"certificate": str(state / "ca.pem"), "key": str(state / "ca.key")}})
    proxy.ca = state / "ca.pem"
    assert tunnel(proxy, host, origin.port).get("/").status == 200


def test_an_authority_with_a_chain(sluice, origin, pki, connect, host, tmp_path):
    key, csr, crt = (tmp_path / f"sub.{kind}" for kind in ("key", "csr", "pem"))
    extensions = tmp_path / "ext"
    extensions.write_text("basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n"
                          "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr, "-subj",
            "/CN=sub")
    openssl("x509", "-req", "-in", csr, "-CA", pki.ca, "-CAkey", pki.authority.key, "-days", "10",
            "-out", crt, "-extfile", extensions)
    chain = tmp_path / "chain.pem"
    chain.write_text(crt.read_text() + pki.ca.read_text())
    key.chmod(0o600)
    proxy = sluice({"ca": {"certificate": str(chain), "key": str(key)}})
    client = connect(proxy).tunnel(host, origin.port, pki.trusting())
    assert client.get("/").status == 200


@pytest.mark.threat("says-why")
def test_a_client_that_rejects_the_authority_is_logged(proxy, connect, origin, host):
    client = connect(proxy)
    assert client.connect(host, origin.port).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        client.start_tls(host, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    client.sock.close()
    line = proxy.log(host=host, method="CONNECT")
    assert line["error"] in ("tls_alert", "tls_protocol")
    assert line["leaf"] == "forged"
    assert origin.n_connections == 0


@pytest.mark.threat("key-kept")
def test_the_key_is_the_owner_s_alone(proxy):
    assert (proxy.state / "ca.key").stat().st_mode & 0o777 == 0o600
    assert proxy.ca.stat().st_mode & 0o777 == 0o644


@pytest.mark.threat("key-kept")
def test_a_key_that_others_can_read_is_refused(cli, tmp_path):
    state = tmp_path / "state"
    assert cli("ca", "init", "--state-dir", state).returncode == 0
    (state / "ca.key").chmod(0o640)
    done = cli("run", "--state-dir", state, "--listen", "127.0.0.1:0", "--set", "admin.address=off")
    assert done.returncode in (1, 78)
    assert "ca.key" in done.stderr and "ready" not in done.stderr


# -- names that are no names ---------------------------------------------------------------------


@pytest.mark.threat("sni-into-san")
@pytest.mark.parametrize("evil", [b"a,DNS:bank", b"aa\0NSabank", b"aaDNS bank", b"*.DNSabank",
                                  b"aa\nNSabank"])
def test_an_evil_sni_gets_no_leaf_of_that_name(proxy, origin, connect, host, evil):
    name = "aaDNSabank." + host
    wire = WireTls(proxy.trusting(), name)
    client = connect(proxy)
    assert client.connect(name, origin.port).status == 200
    client.send(wire.hello().replace(b"aaDNSabank", evil.ljust(10, b"x")[:10]))
    try:
        wire.finish(client.sock)
    except (ssl.SSLError, ConnectionError):
        pass
    assert proxy.log(method="CONNECT", host=name.lower())["verdict"] != "allow"
    assert origin.n_connections == 0
