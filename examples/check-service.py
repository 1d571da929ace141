#!/usr/bin/python3
"""check-service: a check that denies the hosts of a list, per client network if need be.

    check-service.py [--listen HOST:PORT | --listen unix:/PATH] LIST

LIST has one entry a line: a host name, which also covers what is below it, and perhaps a network;
the entry then counts for clients of that network only.  `#` starts a comment.  The list is read
anew when it changes.

    ads.example
    games.example  10.1.0.0/16

Every verdict says how long it may be kept and what it depends on, so that the proxy asks once a
minute for each host and client, not for each request.
"""
import argparse
import ipaddress
import json
import os
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TTL_SECONDS = 60


def parse(line):
    """(host, network or None), or None for a line without an entry."""
    words = line.split("#")[0].split()
    if not words:
        return None
    network = ipaddress.ip_network(words[1]) if len(words) > 1 else None
    return words[0].lower().rstrip("."), network


class DenyList:
    """The entries of a file, as of its last change that could be read."""

    def __init__(self, path):
        self.path, self.stamp, self.entries = path, None, {}
        self.lock = threading.Lock()
        self.refresh()

    def refresh(self):
        status = os.stat(self.path)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        with self.lock:
            if stamp == self.stamp:
                return
            entries = {}
            with open(self.path, encoding="utf-8") as file:
                for host, network in filter(None, map(parse, file)):
                    entries.setdefault(host, []).append(network)
            self.stamp, self.entries = stamp, entries

    def covers(self, host, client):
        """The entry that denies, or None.  Looks at the name and at each name above it."""
        labels = host.split(".")
        for start in range(len(labels)):
            name = ".".join(labels[start:])
            for network in self.entries.get(name, ()):
                if network is None or client is not None and client in network:
                    return name
        return None


def judge(deny_list, question):
    """A question of the json protocol to its reply."""
    # A CONNECT, or bytes that could not be opened, come without a request.
    host = (question.get("request") or question["connect"])["host"]
    # A client on a unix socket has no address: entries with a network are not for it.
    ip = question["client"]["ip"]
    client = None if ip == "unix" else ipaddress.ip_address(ip)
    entry = deny_list.covers(host, client)
    reply = {"cache": {"ttl": TTL_SECONDS, "vary": ["host", "client"]}}
    if entry is None:
        return {"action": "allow", **reply}
    return {"action": "deny", "status": 403, "reason": f"{entry} is on the list", **reply}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept alive
    wbufsize = -1                  # head and body leave in one segment
    deny_list = None

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.refresh()
        self.answer(judge(self.deny_list, question))

    def refresh(self):
        try:
            self.deny_list.refresh()
        except (OSError, ValueError) as error:
            print(f"{self.deny_list.path}: {error}; the old list stays", file=sys.stderr)

    def answer(self, reply):
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return self.client_address[0] if self.client_address else "unix"

    def log_message(self, *arguments):
        """Silent: the proxy's own log has one line a request."""


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def serve(address):
    if address.startswith("unix:"):
        path = address[len("unix:"):]
        if os.path.exists(path):
            os.unlink(path)
        return UnixServer(path, Handler)
    host, port = address.rsplit(":", 1)
    return ThreadingHTTPServer((host, int(port)), Handler)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:9000")
    parser.add_argument("list")
    options = parser.parse_args()
    Handler.deny_list = DenyList(options.list)
    with serve(options.listen) as server:
        server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
