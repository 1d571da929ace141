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
    def __init__(self, directory, name):
        self.dir = directory / name
        self.dir.mkdir()
        self.certificate = self.dir / "ca.pem"
        self.key = self.dir / "ca.key"
        (self.dir / "index.txt").touch()
        self.config = self.dir / "ca.cnf"
        self.config.write_text(_CONFIG.format(dir=self.dir))
        openssl("req", "-x509", *_EC, "-keyout", self.key, "-out", self.certificate, "-days", "30",
                "-subj", f"/CN={name}")

    def issue(self, name, san, start="20200101000000Z", end="20491231235959Z", new_key=_EC,
              usage="serverAuth"):
        """Certificate and key files of `name`; san None: a name in the subject alone."""
        key, csr, crt = (self.dir / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extensions = self.dir / f"{name}.ext"
        names = f"subjectAltName = {san}\n" if san is not None else ""
        extensions.write_text(f"{names}extendedKeyUsage = {usage}\n")
        openssl("req", "-new", *new_key, "-keyout", key, "-out", csr, "-subj", f"/CN={name}")
        openssl("ca", "-batch", "-notext", "-config", self.config, "-cert", self.certificate,
                "-keyfile", self.key, "-in", csr, "-out", crt, "-startdate", start, "-enddate", end,
                "-extfile", extensions)
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
            "self-signed.test": self._self_signed(directory),
        }

    @staticmethod
    def _self_signed(directory):
        crt, key = directory / "self.pem", directory / "self.key"
        openssl("req", "-x509", *_EC, "-keyout", key, "-out", crt, "-days", "30", "-subj",
                "/CN=self-signed.test", "-addext", "subjectAltName=DNS:self-signed.test")
        return crt, key

    def server_context(self, pair=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(pair or self.good))
        return context

    def trusting(self):
        """A client's context that trusts the origins' own authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        return context
