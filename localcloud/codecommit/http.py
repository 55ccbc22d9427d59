"""Git's smart HTTP: what `git clone`, `git fetch` and `git push` ask for at a repository's address.

    {CodeCommit's}  /v1/repos/{name}                    {a connection's}  /_aws/connections/{owner}/{name}.git

    GET  …/info/refs?service=git-upload-pack     what there is, before a clone or a fetch (of git-receive-pack: a push)
    POST …/git-upload-pack                       a part of a clone or a fetch
    POST …/git-receive-pack                      a push

A request is on disk as a whole before git is begun, and so is git's answer: neither needs memory, and a push whose
sender dies half-way has begun nothing. Nobody on this machine is asked for credentials. Whoever gives an access key
(as the user's name, like git-remote-codecommit does) is whom that stands for, and needs `codecommit:GitPull` or
`codecommit:GitPush`. Source: "Git Smart HTTP" in Git's own documentation (`gitprotocol-http`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import os
import re
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from localcloud import routing
from localcloud.codecommit.git import GitError
from localcloud.codecommit.repositories import Repositories
from localcloud.context import Context
from localcloud.errors import ServiceError
from localcloud.principals import Caller
from localcloud.protocols import models
from localcloud.routing import Target

_LOG = logging.getLogger(__name__)

PREFIX, CONNECTED_PREFIX = "/v1/repos/", "/_aws/connections/"

_UPLOAD, _RECEIVE = "git-upload-pack", "git-receive-pack"
_REST = rf"(?P<rest>/(?:info/refs|{_UPLOAD}|{_RECEIVE}))"
_ADDRESSES = (
    re.compile(rf"{PREFIX}(?P<name>[^/]+?)/?{_REST}"),
    re.compile(rf"{CONNECTED_PREFIX}(?P<name>[^/]+/[^/]+?)(?:\.git)?{_REST}"),
)
_ACTIONS = {_UPLOAD: "codecommit:GitPull", _RECEIVE: "codecommit:GitPush"}
_PROTOCOL = re.compile(r"[a-z0-9=.:_-]{1,100}")
_MOST_BYTES = 2 * 1024**3
_CHUNK = 256 * 1024
_THREADS = 16
_FLUSH = b"0000"
"""A push of nothing: git sends it before a large one, to see whether it may."""
_STATUS = {"RepositoryDoesNotExistException": 404, "InvalidRepositoryNameException": 404, "ServiceUnavailable": 503}
_NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}


class _Refused(Exception):
    """The request gets this status and, as text, this reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class _Asked:
    """What a request is about."""

    repository: str
    service: str
    advertised: bool
    """Whether it asks what there is, before anything is sent."""
    caller: Caller
    environment: Mapping[str, str]

    @property
    def command(self) -> str:
        return self.service.removeprefix("git-")

    @property
    def version_2(self) -> bool:
        return "version=2" in self.environment.get("GIT_PROTOCOL", "").split(":")


class GitHttp:
    """An ASGI application for the two prefixes. Who may reach it at all has been checked before."""

    def __init__(self, context: Context, repositories: Repositories, *, most_bytes: int = _MOST_BYTES) -> None:
        """most_bytes: how much one request may send, unpacked."""
        self._context, self._repositories, self._most_bytes = context, repositories, most_bytes
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="git-http")

    def stop(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except _Refused as refused:
            response = PlainTextResponse(f"localcloud: {refused}\n", refused.status)
        except ServiceError as error:
            response = PlainTextResponse(f"localcloud: {error.message}\n", _STATUS.get(error.code, 403))
        except Exception as error:
            _LOG.exception("while localcloud answered %s %s", request.method, request.scope["path"])
            response = PlainTextResponse(f"localcloud: {error}; its log has the traceback\n", 500)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        run = partial(asyncio.get_running_loop().run_in_executor, self._threads)
        asked = await run(self._asked, request)
        # What is not allowed is said before a body is read.
        await run(self._check, asked)
        if asked.advertised:
            body = await run(self._advertise, asked)
            return Response(body, headers=_NO_CACHE, media_type=f"application/x-{asked.service}-advertisement")
        sent = await self._received(request)
        try:
            answer = await run(self._perform, asked, sent)
        finally:
            sent.close()
        return StreamingResponse(_chunks(answer), headers=_NO_CACHE, media_type=f"application/x-{asked.service}-result")

    def _asked(self, request: Request) -> _Asked:
        path = request.scope["path"]
        found = next((found for one in _ADDRESSES if (found := one.fullmatch(path))), None)
        if found is None:
            raise _Refused(404, f"there is nothing at {path}; a repository's address is for git: git clone {path}")
        advertised = found["rest"] == "/info/refs"
        service = request.query_params.get("service", "") if advertised else found["rest"].lstrip("/")
        if service not in _ACTIONS:
            raise _Refused(403, "only Git's smart HTTP is spoken here (git 1.6.6 or later), asking for ?service=git-…")
        method = "GET" if advertised else "POST"
        if request.method != method:
            raise _Refused(405, f"{path} is for {method}")
        expected = f"application/x-{service}-request"
        if not advertised and request.headers.get("content-type") != expected:
            raise _Refused(415, f"the Content-Type is {request.headers.get('content-type')!r}, expected {expected}")
        protocol = request.headers.get("git-protocol", "")
        environment = {"GIT_PROTOCOL": protocol} if _PROTOCOL.fullmatch(protocol) else {}
        caller = self._caller(request.headers.get("authorization", ""))
        return _Asked(found["name"], service, advertised, caller, environment)

    def _caller(self, authorization: str) -> Caller:
        """Who asks. What is no access key says nothing: a password kept for another host, say."""
        scheme, _, encoded = authorization.partition(" ")
        key = None
        if scheme.lower() == "basic":
            try:
                user = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise _Refused(400, "the Authorization header is not HTTP's Basic one") from None
            # git-remote-codecommit writes `key%session-token` for the user.
            key = user.partition(":")[0].partition("%")[0]
            target = Target("codecommit", models.JSON, None, key)
            routing.check_access_key(target, lambda given: self._context.leaf.issued(given))
        return self._context.principals.caller(key)

    def _check(self, asked: _Asked) -> None:
        is_connected = "/" in asked.repository
        if is_connected and asked.service == _RECEIVE:
            self._repositories.create_connected(asked.repository)
        self._repositories.open(asked.repository)
        if not is_connected:
            arn = f"arn:aws:codecommit:{self._context.region}:{self._context.account_id}:{asked.repository}"
            self._context.authority.check_session(asked.caller, "codecommit")
            self._context.authority.check(asked.caller.arn, _ACTIONS[asked.service], arn)

    def _advertise(self, asked: _Asked) -> bytes:
        folder = self._repositories.open(asked.repository).folder
        arguments = (asked.command, "--stateless-rpc", "--advertise-refs", ".")
        body = self._repositories.git.run(folder, *arguments, environment=asked.environment)
        if asked.version_2 and asked.service == _UPLOAD:
            return body
        first = f"# service={asked.service}\n"
        return f"{len(first) + 4:04x}{first}0000".encode() + body

    def _perform(self, asked: _Asked, sent: IO[bytes]) -> IO[bytes]:
        """What git answers, in a file."""
        answer = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, it is closed when it was sent
        try:
            is_nothing = sent.read(len(_FLUSH) + 1) == _FLUSH
            sent.seek(0)
            if asked.service == _RECEIVE and not is_nothing:
                with self._repositories.changing(asked.repository, asked.caller.shown) as (bare, claim):
                    self._run(asked, bare.folder, sent, answer, claim)
            else:
                self._run(asked, self._repositories.open(asked.repository).folder, sent, answer)
            answer.seek(0)
        except BaseException:
            answer.close()
            raise
        return answer

    def _run(self, asked: _Asked, folder: Path, sent: IO[bytes], answer: IO[bytes], *holding: int) -> None:
        arguments = (asked.command, "--stateless-rpc", ".")
        try:
            self._repositories.git.run(
                folder, *arguments, stdin=sent, stdout=answer, environment=asked.environment, holding=holding
            )
        except GitError as error:
            # What git has to say to git is in its answer, if it has got so far.
            if not answer.seek(0, os.SEEK_END):
                raise _Refused(400, f"git {asked.command} makes nothing of the request: {error.text}") from error

    async def _received(self, request: Request) -> IO[bytes]:
        """The request's body, unpacked, in a file."""
        encoding = request.headers.get("content-encoding", "identity")
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise _Refused(415, f"the Content-Encoding is {encoding!r}, expected gzip or none")
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if encoding != "identity" else None
        # Unbuffered, since the next to read it is another process.
        received = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, it is closed when git has read it
        try:
            async for chunk in request.stream():
                for part in _unpacked(chunk, unpack):
                    _write(received, part)
                    if received.tell() > self._most_bytes:
                        raise _Refused(413, f"a request may have {self._most_bytes} bytes, unpacked; this has more")
            if unpack is not None:
                _write(received, unpack.flush())
                if not unpack.eof:
                    raise _Refused(400, "the body is not gzip to its end")
        except zlib.error as error:
            received.close()
            raise _Refused(400, f"the body is not gzip: {error}") from error
        except BaseException:
            received.close()
            raise
        received.seek(0)
        return received


def _unpacked(chunk: bytes, unpack: zlib._Decompress | None) -> Iterator[bytes]:
    """What a chunk holds, in parts of which none is large: a few bytes may unpack to very many."""
    if unpack is None:
        yield chunk
        return
    while chunk:
        yield unpack.decompress(chunk, _CHUNK)
        chunk = unpack.unconsumed_tail


def _write(file: IO[bytes], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while part := file.read(_CHUNK):
            yield part
