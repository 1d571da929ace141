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

    def __init__(self, directory, name, parent=None, extensions=""):
        self.dir = directory / name
        self.dir.mkdir()
        self.certificate = self.dir / "ca.pem"
        self.key = self.dir / "ca.key"
        (self.dir / "index.txt").touch()
        self.config = self.dir / "ca.cnf"
        self.config.write_text(_CONFIG.format(dir=self.dir))
        if parent is None:
            openssl("req", "-x509", *_EC, "-keyout", self.key, "-out", self.certificate, "-days",
                    "30", "-subj", f"/CN={name}")
        else:
            self._descend(name, parent, extensions)

    def _descend(self, name, parent, extensions):
        csr, file = self.dir / "ca.csr", self.dir / "ca.ext"
        file.write_text("basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n"
                        f"subjectKeyIdentifier=hash\n{extensions}")
        openssl("req", "-new", *_EC, "-keyout", self.key, "-out", csr, "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", csr, "-CA", parent.certificate, "-CAkey", parent.key,
                "-days", "10", "-out", self.certificate, "-extfile", file)

    def issue(self, name, san, start="20200101000000Z", end="20491231235959Z", new_key=_EC,
              usage="serverAuth", digest="sha256"):
        """Certificate and key files of `name`; san None: a name in the subject alone."""
        key, csr, crt = (self.dir / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extensions = self.dir / f"{name}.ext"
        names = f"subjectAltName = {san}\n" if san is not None else ""
        extensions.write_text(f"{names}extendedKeyUsage = {usage}\n")
        openssl("req", "-new", *new_key, "-keyout", key, "-out", csr, "-subj", f"/CN={name}")
        openssl("ca", "-batch", "-notext", "-config", self.config, "-cert", self.certificate,
                "-keyfile", self.key, "-in", csr, "-out", crt, "-startdate", start, "-enddate", end,
                "-extfile", extensions, "-md", digest)
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
