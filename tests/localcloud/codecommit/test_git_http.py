"""Git's smart HTTP, request by request: what is bounded, unpacked, refused, and left when a sender goes away."""

from __future__ import annotations

import asyncio
import base64
import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcloud.codecommit.http import GitHttp
from tests.localcloud.codecommit.conftest import ROOT, Place

UPLOAD, RECEIVE = "/v1/repos/demo/git-upload-pack", "/v1/repos/demo/git-receive-pack"
LS_REFS = b"0014command=ls-refs\n00010000"


@pytest.fixture
def site(place: Place) -> Any:
    """Asks the application: method, path, headers, body."""
    application = GitHttp(place.context, place.repositories, most_bytes=1000)

    def ask(method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.request(method, path, content=body, headers=given)

        return asyncio.run(exchange())

    yield ask
    application.stop()


def post(site: Any, body: bytes, path: str = UPLOAD, **headers: str) -> httpx.Response:
    kind = path.rpartition("/")[2]
    found: httpx.Response = site("POST", path, body, content_type=f"application/x-{kind}-request", **headers)
    return found


def test_what_there_is_is_told_in_either_version(place: Place, site: Any) -> None:
    commit = place.commit("main", a="1")
    first = site("GET", "/v1/repos/demo/info/refs?service=git-upload-pack")
    assert first.headers["content-type"] == "application/x-git-upload-pack-advertisement"
    assert first.content.startswith(b"001e# service=git-upload-pack\n0000")
    assert commit.encode() in first.content
    second = site("GET", "/v1/repos/demo/info/refs?service=git-upload-pack", git_protocol="version=2")
    assert second.content.startswith(b"000eversion 2\n")
    answer = post(site, LS_REFS, git_protocol="version=2")
    assert answer.headers["content-type"] == "application/x-git-upload-pack-result"
    assert commit.encode() in answer.content


def test_a_body_may_be_packed_and_is_bounded_by_what_it_unpacks_to(place: Place, site: Any) -> None:
    commit = place.commit("main", a="1")
    packed = gzip.compress(LS_REFS)
    answer = post(site, packed, git_protocol="version=2", content_encoding="gzip")
    assert commit.encode() in answer.content
    assert post(site, b"x" * 1001).status_code == 413
    assert post(site, gzip.compress(b"x" * 10_000_000), content_encoding="gzip").status_code == 413
    assert post(site, packed[:-4], content_encoding="gzip").status_code == 400
    assert post(site, LS_REFS, content_encoding="gzip").status_code == 400
    assert post(site, LS_REFS, content_encoding="br").status_code == 415


def test_what_is_not_gits_smart_http_is_refused(site: Any) -> None:
    assert post(site, b"", path="/v1/repos/none/git-upload-pack").status_code == 404
    assert site("POST", UPLOAD, b"", content_type="text/plain").status_code == 415
    assert site("GET", "/v1/repos/demo/info/refs?service=git-upload-archive").status_code == 403
    assert site("GET", "/v1/repos/demo/objects/info/packs").status_code == 404
    assert site("GET", "/v1/repos/../demo/info/refs?service=git-upload-pack").status_code == 404
    assert site("GET", "/_aws/connections/../x/info/refs?service=git-receive-pack").status_code == 404
    unreadable = post(site, b"zzzz", path=RECEIVE)
    assert (unreadable.status_code, "makes nothing of the request" in unreadable.text) == (400, True)


def test_a_push_of_nothing_is_answered_and_told_to_nobody(place: Place, site: Any) -> None:
    answer = post(site, b"0000", path=RECEIVE)
    assert (answer.status_code, answer.content, place.told) == (200, b"", [])


def test_whoever_gives_a_roles_key_is_that_role(place: Place, site: Any) -> None:
    role = "arn:aws:iam::123456789012:role/builds"
    key = place.context.principals.access_key(role)

    def ask(user: str) -> httpx.Response:
        credentials = base64.b64encode(f"{user}:any".encode()).decode()
        path = "/v1/repos/demo/info/refs?service=git-receive-pack"
        found: httpx.Response = site("GET", path, authorization=f"Basic {credentials}")
        return found

    assert ask(f"{key}%a-session-token").status_code == 200
    assert ask("anybody").status_code == 200
    actions = {(call.principal, call.action, call.resource) for call, _ in place.context.calls.list(None)}
    arn = "arn:aws:codecommit:eu-west-1:123456789012:demo"
    assert actions == {(role, "codecommit:GitPush", arn), (ROOT, "codecommit:GitPush", arn)}
    assert site("GET", "/v1/repos/demo/info/refs?service=git-upload-pack", authorization="Basic !").status_code == 400


def test_a_sender_who_goes_away_has_changed_nothing(place: Place, tmp_path: Path) -> None:
    place.commit("main", a="1")
    application = GitHttp(place.context, place.repositories)
    sent: list[Any] = []
    messages = iter([{"type": "http.request", "body": b"0" * 100, "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": RECEIVE,
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-git-receive-pack-request")],
    }
    asyncio.run(application(scope, receive, send))
    assert sent == []
    assert len(place.told) == 1
    application.stop()
