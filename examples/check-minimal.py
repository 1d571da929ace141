#!/usr/bin/python3
"""check-minimal: the smallest useful check service.  Try it with

    python3 examples/check-minimal.py
    sluice run --check http://127.0.0.1:9000/check
"""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Check(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        host = (question.get("request") or question["connect"])["host"]
        verdict = {"action": "deny" if host == "example.org" else "allow"}
        body = json.dumps(verdict).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", 9000), Check).serve_forever()
