"""Between three ways to write down an HTTP exchange: ours, WSGI's and botocore's."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from botocore.awsrequest import AWSPreparedRequest

from localcloud.protocols.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def call(application: WSGIApplication, request: HttpRequest) -> HttpResponse:
    """One exchange with a WSGI application, its answer read to the end."""
    answer: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        answer.append((status, headers))
        return lambda _: None

    result = application(_environ(request), start_response)
    try:
        body = b"".join(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    status, headers = answer[-1]
    return HttpResponse(int(status.split(" ", 1)[0]), list(headers), body)


def _environ(request: HttpRequest) -> dict[str, Any]:
    host, _, port = request.headers.get("host", "127.0.0.1").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        # WSGI wants the bytes of the decoded path as Latin-1 text (PEP 3333).
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.path + (f"?{request.query}" if request.query else ""),
        "REQUEST_URI": request.path + (f"?{request.query}" if request.query else ""),
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    original_names: dict[str, str] = {}
    for name, value in request.headers.items():
        if name == "content-length":
            continue
        variable = name.upper().replace("-", "_")
        key = variable if variable == "CONTENT_TYPE" else f"HTTP_{variable}"
        environ[key] = value
        if "_" in name and name.startswith("x-amz-meta-"):
            original_names[key] = name
    # moto's own server keeps the underscores of metadata names this way.
    environ["moto.preserved_header_names"] = original_names
    return environ


def from_prepared(request: AWSPreparedRequest, scope: str) -> HttpRequest:
    """botocore's request as ours. `scope` stands in for the signature, from which moto reads service and region."""
    url = urlsplit(request.url)
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else str(value)
        for name, value in request.headers.items()
    }
    headers.update({"host": "127.0.0.1", "authorization": scope})
    return HttpRequest(request.method, url.path or "/", url.query, headers, _body_bytes(request.body))


def _body_bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    content: bytes = body.read()
    return content


class RawBody(io.BytesIO):
    """A response body with the one method that botocore needs beyond a file's."""

    def stream(self, amt: int = 1024 * 1024, decode_content: bool | None = None) -> Iterator[bytes]:
        """The body in parts."""
        while chunk := self.read(amt):
            yield chunk
