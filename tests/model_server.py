"""Model servers of the tests: programs of their own, of the standard library alone, that keep SageMaker's hosting
contract.
"""

from __future__ import annotations

_HEAD = """\
#!/usr/bin/env python3
import json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
"""
_TAIL = """


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def send(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send(200, {})

    def do_POST(self):
        self.send(*respond(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

    def log_message(self, *words):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


def program(model: str) -> str:
    """The text of a server. model: the text of what defines `respond(document)`, which gives a status and a document;
    json, os, sys, threading, time and Path are imported.
    """
    return f"{_HEAD}{model}{_TAIL}"
