"""nginx as the origin that most of the world is."""
import json
import os
import socket
import subprocess

from . import waiting

_CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {dir}/pid;
error_log {dir}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    log_format facts escape=json '{{"host":"$host","uri":"$request_uri","method":"$request_method",'
        '"tls":"$ssl_protocol","reused":"$ssl_session_reused","connection":"$connection",'
        '"sni":"$ssl_server_name","forwarded":"$http_x_user","status":"$status"}}';
    access_log {dir}/access.log facts;
    client_body_temp_path {dir}/tmp; proxy_temp_path {dir}/tmp; fastcgi_temp_path {dir}/tmp;
    uwsgi_temp_path {dir}/tmp; scgi_temp_path {dir}/tmp;
    client_max_body_size 0;
    keepalive_requests 100000;
    types {{ text/html html; text/plain txt; application/octet-stream bin; }}
    default_type application/octet-stream;
    ssl_session_cache shared:sessions:1m;
    root {dir}/www;
    server {{ listen 127.0.0.1:{plain}; server_name plain.test; }}
    server {{ listen 127.0.0.1:{h2c} http2; server_name h2c.test; }}
    {servers}
}}
"""
_SERVER = """
    server {{
        listen 127.0.0.1:{port} ssl; server_name {names}; ssl_protocols {protocols};
        ssl_certificate {crt}; ssl_certificate_key {key};
        location = /moved {{ return 302 /hello.txt; }}
        location = /nothing {{ return 204; }}
    }}
"""


def _bound():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    os.set_inheritable(sock.fileno(), True)
    return sock


class Nginx:
    """One for the session.  Ports: `tls` (1.2 and 1.3), `tls12` (1.2 alone), `plain`, `h2c`."""

    def __init__(self, directory, pki):
        self.dir = directory
        self.www = directory / "www"
        self.www.mkdir()
        (directory / "tmp").mkdir()
        self.log = directory / "access.log"
        self._files()
        # Bound here and inherited: nobody can take a port in between.
        sockets = [_bound() for _ in range(4)]
        self.tls, self.tls12, self.plain, self.h2c = (s.getsockname()[1] for s in sockets)
        self._configure(pki)
        self.process = self._start(sockets)
        for sock in sockets:
            sock.close()

    def _files(self):
        (self.www / "hello.txt").write_text("hello\n")
        (self.www / "page.html").write_text(
            "<!doctype html><title>page</title><p id=x>plain</p>"
            "<script>document.getElementById('x').textContent = 'scr' + 'ipted'</script>")
        (self.www / "big.bin").write_bytes(bytes(range(256)) * (16 << 10))
        with open(self.www / "huge.bin", "wb") as huge:
            huge.truncate(128 << 20)

    def _configure(self, pki):
        def server(port, names, pair, protocols="TLSv1.2 TLSv1.3"):
            return _SERVER.format(port=port, names=names, crt=pair[0], key=pair[1],
                                  protocols=protocols)
        servers = [server(self.tls, "*.site.test site.test", pki.good)]
        servers += [server(self.tls, name, pair) for name, pair in pki.faulty.items()]
        servers += [server(self.tls12, "*.site.test", pki.good, "TLSv1.2")]
        (self.dir / "nginx.conf").write_text(_CONFIG.format(
            dir=self.dir, plain=self.plain, h2c=self.h2c, servers="".join(servers),
            user="user root;" if os.geteuid() == 0 else ""))

    def _start(self, sockets):
        fds = [s.fileno() for s in sockets]
        return subprocess.Popen(
            ["/usr/sbin/nginx", "-p", self.dir, "-c", self.dir / "nginx.conf", "-e",
             self.dir / "error.log"],
            pass_fds=fds, env={**os.environ, "NGINX": "".join(f"{fd};" for fd in fds)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def hits(self, host):
        """What was asked for under this host, from the access log."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines(keepends=True)
        facts = [json.loads(line) for line in lines if line.endswith("\n")]
        return [fact for fact in facts if fact["host"] == host]

    def wait_hits(self, host, n):
        waiting.until(lambda: len(self.hits(host)) >= n, f"{n} requests for {host} at nginx")
        return self.hits(host)

    def close(self):
        self.process.terminate()
        self.process.wait(10)
