"""S3's `aws-chunked` content encoding, undone.

Clients that learn a body's checksum or signature only while they send it wrap the body in chunks and append trailers:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

from __future__ import annotations

from dataclasses import replace

from localcloud.errors import ServiceError
from localcloud.protocols.http import HttpRequest


def is_chunked(request: HttpRequest) -> bool:
    """Whether the body is in chunks."""
    return request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-") or "aws-chunked" in [
        encoding.strip() for encoding in request.headers.get("content-encoding", "").split(",")
    ]


def decode(request: HttpRequest) -> HttpRequest:
    """The request as if it had been sent whole: plain body, trailers among the headers.

    Raises ServiceError (IncompleteBody) if the chunks do not add up to what the request announces.
    """
    body, trailers = _split(request.body)
    announced = request.headers.get("x-amz-decoded-content-length")
    if announced is not None and announced != str(len(body)):
        raise _incomplete(f"the chunks hold {len(body)} bytes, x-amz-decoded-content-length says {announced}")
    headers = {
        name: value
        for name, value in request.headers.items()
        if name not in ("content-encoding", "x-amz-trailer", "x-amz-decoded-content-length")
    }
    encodings = [part.strip() for part in request.headers.get("content-encoding", "").split(",")]
    if kept := ",".join(part for part in encodings if part and part != "aws-chunked"):
        headers["content-encoding"] = kept
    # The signature of trailers belongs to the chunks; what remains describes the object.
    headers.update({name: value for name, value in trailers.items() if name != "x-amz-trailer-signature"})
    headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    headers["content-length"] = str(len(body))
    return replace(request, headers=headers, body=body)


def _split(raw: bytes) -> tuple[bytes, dict[str, str]]:
    view, position, parts = memoryview(raw), 0, []
    while True:
        end = raw.find(b"\r\n", position)
        if end < 0:
            raise _incomplete("the body ends before its last chunk")
        try:
            size = int(raw[position:end].partition(b";")[0], 16)
        except ValueError:
            found = raw[position:end][:40]
            raise _incomplete(f"a chunk begins with {found!r}, expected its size in hexadecimal") from None
        position = end + 2
        if size == 0:
            break
        if position + size > len(raw):
            raise _incomplete(f"a chunk announces {size} bytes, {len(raw) - position} are left")
        parts.append(view[position : position + size])
        position += size + 2  # the chunk's own line end
    trailers = {}
    for line in raw[position:].split(b"\r\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            trailers[name.strip().lower()] = value.strip()
    return b"".join(parts), trailers


def _incomplete(message: str) -> ServiceError:
    return ServiceError("IncompleteBody", message, 400)
