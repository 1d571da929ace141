"""Certificates of origins: each fault has a name, and no request passes by any of them."""
import pathlib
import ssl
import warnings

import pytest

from harness.origin import Origin
from harness.pki import Authority

AIA = "authorityInfoAccess = caIssuers;URI:http://middle.test/ca.der\n"
RSA_1024 = ["-newkey", "rsa:1024", "-nodes"]


def nul_behind(name):
    """A subjectAltName that a string function takes for `name`."""
    dns = name.encode() + b"\0.evil.test"
    return "DER:" + (bytes([0x30, len(dns) + 2, 0x82, len(dns)]) + dns).hex()


# How it is issued, the error, and what its details say.
FAULTS = {
    "expired": ({"end": "20210101000000Z"}, "cert_expired", "expired"),
    "not yet valid": ({"start": "20480101000000Z"}, "cert_not_yet", "not yet valid"),
    "self-signed": ({"by": None}, "cert_self_signed", "self-signed"),
    "unknown issuer": ({"by": "stranger"}, "cert_unknown_ca", "local issuer"),
    "intermediate missing": ({"by": "middle", "more": AIA}, "cert_incomplete", "neither sent nor"),
    "intermediate missing, nobody says where": ({"by": "middle"}, "cert_unknown_ca",
                                                "local issuer"),
    "wrong host": ({"san": "DNS:other.test"}, "cert_wrong_host", "hostname mismatch"),
    "wildcard over two labels": ({"san": "DNS:*.test"}, "cert_wrong_host", "hostname mismatch"),
    "wildcard in a label": ({"san": "DNS:h*.site.test"}, "cert_wrong_host", "hostname mismatch"),
    "wildcard not in front": ({"san": "DNS:{label}.*.test"}, "cert_wrong_host",
                              "hostname mismatch"),
    "wildcard alone": ({"san": "DNS:*"}, "cert_wrong_host", "hostname mismatch"),
    "NUL behind the name": ({"san": "NUL"}, "cert_wrong_host", "hostname mismatch"),
    "name in the subject alone": ({"san": None}, "cert_wrong_host", "hostname mismatch"),
    "name in the subject, an address beside it": ({"san": "IP:127.0.0.1"}, "cert_wrong_host",
                                                  "hostname mismatch"),
    "weak key": ({"new_key": RSA_1024}, "cert_weak_key", "key too weak"),
    "SHA-1": ({"digest": "sha1"}, "cert_weak_digest", "digest algorithm too weak"),
    "an address, not named": ({"host": "127.0.0.1", "san": "DNS:site.test"}, "cert_wrong_host",
                              "IP address mismatch"),
    "an address, named as a host": ({"host": "127.0.0.1", "san": "DNS:127.0.0.1"},
                                    "cert_wrong_host", "IP address mismatch"),
    "an address, in the subject alone": ({"host": "127.0.0.1", "san": None}, "cert_wrong_host",
                                         "IP address mismatch"),
    "issued by a server": ({"by": "server"}, "cert_invalid", "CA certificate"),
    "intermediate expired": ({"by": "old"}, "cert_expired", "expired"),
    "names excluded": ({"by": "excluding"}, "cert_constrained", "excluded subtree violation"),
    "name constraints": ({"by": "narrow"}, "cert_constrained", "permitted subtree violation"),
    "for clients": ({"usage": "clientAuth"}, "cert_invalid", "purpose"),
}


@pytest.fixture(scope="module")
def authorities(pki, tmp_path_factory):
    directory = tmp_path_factory.mktemp("authorities")
    narrow = "nameConstraints=critical,permitted;DNS:other.test\n"
    excluding = "nameConstraints=critical,excluded;DNS:site.test\n"
    server = Authority(directory, "server", pki.authority)
    server.certificate, server.key = pki.authority.issue("server", "DNS:server.test")
    old = Authority(directory, "old", pki.authority, end="20210101000000Z")
    return {"ours": pki.authority, "stranger": Authority(directory, "stranger"),
            "middle": Authority(directory, "middle", pki.authority), "server": server, "old": old,
            "narrow": Authority(directory, "narrow", pki.authority, narrow),
            "excluding": Authority(directory, "excluding", pki.authority, excluding)}


def issued(pki, authorities, host, how):
    """The pair of files, its issuer behind it where it is one that verifying should see."""
    how = {k: v for k, v in how.items() if k != "host"}
    by, san = how.pop("by", "ours"), how.pop("san", f"DNS:{host}")
    if by is None:
        return pki.self_signed(pki.authority.dir, host)
    if san is not None:
        san = nul_behind(host) if san == "NUL" else san.replace("{label}", host.split(".")[0])
    authority = authorities[by]
    crt, key = authority.issue(host, san, **how)
    if by in ("narrow", "excluding", "server", "old"):
        pathlib.Path(crt).write_text(crt.read_text() + authority.certificate.read_text())
    return crt, key


@pytest.mark.threat("certificate-names", "one-name")
@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_of_a_certificate_is_named(proxy, servers, pki, authorities, tunnel, host, case):
    how, error, detail = FAULTS[case]
    host = how.get("host", host)
    pair = issued(pki, authorities, host, how)
    origin = servers(Origin(tls=pki.server_context(pair, is_weak=True)))
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 502
    assert answer.get("proxy-status").startswith("sluice; error=tls_certificate_error")
    line = proxy.log(host=host)
    assert (line["error"], line["status"]) == (error, 502)
    assert detail in line["detail"] and detail in answer.get("proxy-status")
    assert origin.requests == []


def test_each_authority_can_do_better(proxy, servers, pki, authorities, tunnel, host):
    """The same way without a fault: what the table finds is what it names."""
    crt, key = authorities["middle"].issue(host, f"DNS:{host}", more=AIA)
    crt.write_text(crt.read_text() + authorities["middle"].certificate.read_text())
    origin = servers(Origin(tls=pki.server_context((crt, key), is_weak=True)))
    assert tunnel(proxy, host, origin.port).get("/").status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_origin_of_old_tls_is_named(proxy, servers, pki, tunnel, host, version):
    context = pki.server_context(is_weak=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    origin = servers(Origin(tls=context))
    answer = tunnel(proxy, host, origin.port).get("/")
    assert answer.status == 502 and "error=tls_protocol_error" in answer.get("proxy-status")
    assert proxy.log(host=host)["error"] == "tls_version"
    assert origin.requests == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_origin_that_wants_to_know_its_client_is_named(proxy, servers, pki, tunnel, host,
                                                          version):
    context = pki.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki.ca)
    context.minimum_version = context.maximum_version = version
    origin = servers(Origin(tls=context))
    assert tunnel(proxy, host, origin.port).get("/").status == 502
    assert proxy.log(host=host)["error"] == "cert_wanted"
    assert origin.requests == []
