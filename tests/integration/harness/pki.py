"""Authorities and certificates of origins, good and faulty, made with the openssl command."""
import ssl
import subprocess

_CONFIG = """
[ca]
default_ca = here
[here]
database = {dir}/index.txt
new_certs_dir = {dir}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""
_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments, stdin=b""):
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True,
                          timeout=60)
    assert done.returncode == 0, (arguments, done.stderr.decode())
    return done.stdout.decode()


class Authority:
    """Signs itself, or is signed by `parent`; `extensions` are lines of openssl's configuration."""

    def __init__(self, directory, name, parent=None, extensions="", **times):
        self.dir = directory / name
        self.dir.mkdir()
        self.certificate = self.dir / "ca.pem"
        self.key = self.dir / "ca.key"
        (self.dir / "index.txt").touch()
        self.config = self.dir / "ca.cnf"
        self.config.write_text(_CONFIG.format(dir=self.dir))
        subject = ["-keyout", self.key, "-subj", f"/CN={name}"]
        if parent is None:
            openssl("req", "-x509", *_EC, *subject, "-out", self.certificate, "-days", "30")
            return
        csr = self.dir / "ca.csr"
        openssl("req", "-new", *_EC, *subject, "-out", csr)
        parent.sign(csr, self.certificate, "basicConstraints=critical,CA:true\n"
                    f"keyUsage=critical,keyCertSign\n{extensions}", **times)

    def sign(self, csr, crt, extensions, start="20200101000000Z", end="20491231235959Z",
             digest="sha256"):
        file = csr.with_suffix(".ext")
        file.write_text(extensions)
        openssl("ca", "-batch", "-notext", "-config", self.config, "-cert", self.certificate,
                "-keyfile", self.key, "-in", csr, "-out", crt, "-startdate", start, "-enddate", end,
                "-extfile", file, "-md", digest)

    def issue(self, name, san, new_key=_EC, usage="serverAuth", more="", **how):
        """Certificate and key files of `name`; san None: a name in the subject alone."""
        key, csr, crt = (self.dir / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        names = f"subjectAltName = {san}\n" if san is not None else ""
        openssl("req", "-new", *new_key, "-keyout", key, "-out", csr, "-subj", f"/CN={name}")
        self.sign(csr, crt, f"{names}extendedKeyUsage = {usage}\n{more}", **how)
        return crt, key


class Pki:
    """`faulty` maps a host to its pair: each host's certificate has the fault it is named for."""

    def __init__(self, directory):
        self.authority = Authority(directory, "origins")
        self.ca = self.authority.certificate
        self.good = self.authority.issue("good", "DNS:*.site.test, DNS:site.test, IP:127.0.0.1")
        stranger = Authority(directory, "stranger")
        self.faulty = {
            "expired.test": self.authority.issue("expired", "DNS:expired.test",
                                                 end="20210101000000Z"),
            "not-yet.test": self.authority.issue("not-yet", "DNS:not-yet.test",
                                                 start="20480101000000Z"),
            "wrong-host.test": self.authority.issue("wrong-host", "DNS:other.test"),
            "unknown-issuer.test": stranger.issue("unknown-issuer", "DNS:unknown-issuer.test"),
            "self-signed.test": self.self_signed(directory, "self-signed.test"),
        }

    @staticmethod
    def self_signed(directory, name):
        crt, key = directory / f"{name}.self.pem", directory / f"{name}.self.key"
        openssl("req", "-x509", *_EC, "-keyout", key, "-out", crt, "-days", "30", "-subj",
                f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        return crt, key

    def server_context(self, pair=None, is_weak=False):
        """is_weak: also what no server should speak today."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if is_weak:
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(*(pair or self.good))
        return context

    def trusting(self):
        """A client's context that trusts the origins' own authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        return context
