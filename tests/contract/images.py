"""A tiny image whose program does what its instructions say, registered the way `mlops images` registers one.

The program takes instructions as arguments of a processing job, or as hyperparameters of a training job, in the order
of their names:

    print TEXT            a line on standard output
    chatter COUNT         so many lines, as fast as it can
    write PATH TEXT       a file below the base folder (missing folders are made)
    copy FROM TO          a file below the base folder to another place there
    list PATH             the files below a folder, one a line
    show PATH             a file's content
    env NAME              a variable of its environment
    fail TEXT             the failure file with TEXT, and exit status 1
    message TEXT          /opt/ml/output/message
    exit STATUS           end
    hang                  wait to be killed, politely or not
    stubborn              the same, deaf to SIGTERM
    child PATH            start a process that hangs, and write its pid to a file; `daemon PATH` in a session of its own
    meet BUCKET KEY OTHER write an object, and wait for the other one: two jobs that do this must overlap
    fill PATH             write to a device until it is full
    save PATH             on SIGTERM write a file and end (for `hang`)

Its server answers each line of a request with the line's length, and writes a line about each request on standard
output; its environment, and what is in a request, make it behave otherwise:

    SERVE_EXIT=3                 ends before it listens
    SERVE_PARAMETERS={...}       its answer to GET /execution-parameters (without: 404)
    SERVE_FAIL=2                 its first so many answers to /invocations are 503
    SERVE_WHOLE=1                answers once for a request, not for each line
    `bad` in a request           400 with a message;  `crash`: 500;  `die`: ends;  `wait`: never answers
    `meet`                       answered once there are two such requests at the same time
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import tarfile
from typing import Any

REPOSITORY = "contract-tests"
PROGRAM = """#!/usr/bin/env python3
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path

base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def place(path):
    return Path(path) if path.startswith("/") else base / path


def put(path, text):
    place(path).parent.mkdir(parents=True, exist_ok=True)
    place(path).write_text(text)


def hang():
    while True:
        signal.pause()


def do(verb, *words):
    rest = " ".join(words)
    if verb == "print":
        print(rest, flush=True)
    elif verb == "chatter":
        sys.stdout.writelines(f"line {number}\\n" for number in range(int(rest)))
        sys.stdout.flush()
    elif verb == "write":
        put(words[0], " ".join(words[1:]))
    elif verb == "copy":
        place(words[1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place(words[0]), place(words[1]))
    elif verb == "list":
        for path in sorted(place(rest).rglob("*")):
            if path.is_file():
                print(path.relative_to(place(rest)).as_posix(), flush=True)
    elif verb == "show":
        print(place(rest).read_text(), flush=True)
    elif verb == "env":
        print(f"{rest}={os.environ.get(rest)}", flush=True)
    elif verb == "fail":
        put("output/failure", rest)
        raise SystemExit(1)
    elif verb == "message":
        put("output/message", rest)
    elif verb == "exit":
        raise SystemExit(int(rest))
    elif verb == "save":
        def saved(*_):
            put(rest, "saved")
            raise SystemExit(0)
        signal.signal(signal.SIGTERM, saved)
    elif verb == "hang":
        print("hanging", flush=True)
        hang()
    elif verb == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("hanging", flush=True)
        hang()
    elif verb in ("child", "daemon"):
        code = "import signal; signal.pause()"
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session=verb == "daemon")
        put(rest, str(child.pid))
    elif verb == "meet":
        import boto3
        bucket, own, other = words
        s3 = boto3.client("s3")
        s3.put_object(Bucket=bucket, Key=own, Body=b"here")
        s3.get_waiter("object_exists").wait(Bucket=bucket, Key=other, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        print("met", flush=True)
    elif verb == "fill":
        try:
            with open(rest, "wb", buffering=0) as stream:
                while True:
                    stream.write(b"x" * 65536)
        except OSError as error:
            put("output/failure", f"cannot write the result: {error.strerror}")
            raise SystemExit(1)
    else:
        raise SystemExit(f"unknown instruction {verb!r}")


lines = sys.argv[1:]
if Path(sys.argv[0]).name == "train":
    hyperparameters = json.loads((base / "input/config/hyperparameters.json").read_text())
    lines = [hyperparameters[name] for name in sorted(hyperparameters)]
for line in lines:
    do(*line.split())
"""

SERVER = """#!/usr/bin/env python3
import itertools, os, signal, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

if "SERVE_EXIT" in os.environ:
    print("no model here", flush=True)
    raise SystemExit(int(os.environ["SERVE_EXIT"]))
calls = itertools.count()
met = threading.Barrier(2, timeout=30)
weights = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model" / "weights.txt"
print("weights", weights.read_text() if weights.exists() else "none", flush=True)
print("batch", *(os.environ.get(f"SAGEMAKER_{name}") for name in (
    "BATCH", "BATCH_STRATEGY", "MAX_PAYLOAD_IN_MB", "MAX_CONCURRENT_TRANSFORMS")), flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        parameters = os.environ.get("SERVE_PARAMETERS")
        if self.path == "/execution-parameters":
            self.answer(200 if parameters else 404, (parameters or "").encode())
        else:
            self.answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lines = body.decode().split("\\n")
        print("request", len(lines), self.headers["Content-Type"], self.headers["Accept"], flush=True)
        if next(calls) < int(os.environ.get("SERVE_FAIL", "0")):
            self.answer(503, b"too busy")
        elif b"bad" in body:
            self.answer(400, b"the field target is missing")
        elif b"crash" in body:
            self.answer(500, b"a bug")
        elif b"die" in body:
            os._exit(9)
        elif b"wait" in body:
            threading.Event().wait()
        elif b"meet" in body:
            met.wait()
            self.answer(200, b"met")
        elif "SERVE_WHOLE" in os.environ:
            self.answer(200, b"whole")
        else:
            self.answer(200, "\\n".join(str(len(line)) for line in lines).encode())

    def log_message(self, *words):
        pass


port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
server = ThreadingHTTPServer(("0.0.0.0" if port == 8080 else "127.0.0.1", port), Handler)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server.serve_forever()
"""


def layer() -> bytes:
    """The image's one layer: a tar.gz with `act`, `train` and `serve` in /opt/program/bin and a text beside them."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for name, text, mode in (
            ("opt/program/bin/act", PROGRAM, 0o755),
            ("opt/program/bin/train", PROGRAM, 0o755),
            ("opt/program/bin/serve", SERVER, 0o755),
            ("opt/program/words.txt", "from the image", 0o644),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


def register(
    s3: Any,
    ecr: Any,
    bucket: str,
    *,
    account: str,
    region: str,
    repository: str = REPOSITORY,
    tag: str = "1",
    content: bytes | None = None,
    **configuration: Any,
) -> str:
    """Put the image into S3 and ECR, and give its URI. The bucket must exist."""
    content = layer() if content is None else content
    digest = hashlib.sha256(content).hexdigest()
    key = f"images/{digest}.tar.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=content)
    image = {
        "config": {
            "Env": ["PATH=/opt/program/bin:/usr/local/bin:/usr/bin:/bin", "WORDS=/opt/program/words.txt"],
            "WorkingDir": "/opt/program",
            **configuration,
        }
    }
    document = json.dumps(image).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{hashlib.sha256(document).hexdigest()}",
            "size": len(document),
            "data": base64.b64encode(document).decode(),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": f"sha256:{digest}",
                "size": len(content),
                "urls": [f"s3://{bucket}/{key}"],
            }
        ],
    }
    with contextlib.suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName=repository)
    with contextlib.suppress(ecr.exceptions.ImageAlreadyExistsException):
        ecr.put_image(
            repositoryName=repository,
            imageManifest=json.dumps(manifest),
            imageManifestMediaType=manifest["mediaType"],
            imageTag=tag,
        )
    return f"{account}.dkr.ecr.{region}.amazonaws.com/{repository}:{tag}"
