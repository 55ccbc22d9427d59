"""Where S3's answer depends on rights beyond yes and no: of many keys those are deleted that may be, and that an object
is not there is told to those only who may list the bucket.

Source: DeleteObjects and GetObject in the S3 API Reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from xml.sax.saxutils import escape

from localcloud.calls import Call
from localcloud.errors import ServiceError
from localcloud.iam.authority import Authority
from localcloud.iam.facts import Asked
from localcloud.principals import Caller
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.s3_actions import deleted

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
# They are of the body as it was.
_OF_BODY = ("content-md5", "content-length", "x-amz-content-sha256")
_READING = ("GetObject", "HeadObject")


class Deletion:
    """A DeleteObjects, as far as it may be done."""

    def __init__(self, http: HttpRequest, refused: Sequence[tuple[str, str, str]]) -> None:
        """refused: keys, their versions or empty texts, and why."""
        self._http, self._refused = http, refused

    @classmethod
    def judged(
        cls, authority: Authority, caller: Caller, asked: Asked, http: HttpRequest, pairs: Sequence[tuple[str, str]]
    ) -> tuple[Deletion, Sequence[Call]]:
        """What may be done, and the calls for keys that may be deleted. Those of the others are recorded."""
        calls: list[Call] = []
        refused = []
        for (key, version), pair in zip(deleted(http.body), pairs, strict=True):
            try:
                calls += authority.authorise(caller, "s3", models.REST_XML, asked, [pair])
            except ServiceError as error:
                refused.append((key, version, error.message))
        return cls(http, refused), calls

    def request(self) -> HttpRequest | None:
        """The request without what may not be done; None where nothing is left."""
        if not self._refused:
            return self._http
        left = set(deleted(self._http.body)) - {(key, version) for key, version, _ in self._refused}
        if not left:
            return None
        listed = "".join(
            f"<Object><Key>{escape(key)}</Key>{f'<VersionId>{version}</VersionId>' if version else ''}</Object>"
            for key, version in deleted(self._http.body)
            if (key, version) in left
        )
        quiet = "<Quiet>true</Quiet>" if b"<Quiet>true</Quiet>" in self._http.body else ""
        headers = {
            name: value
            for name, value in self._http.headers.items()
            if name not in _OF_BODY and not name.startswith(("x-amz-checksum-", "x-amz-sdk-checksum"))
        }
        body = f'<Delete xmlns="{_NAMESPACE}">{listed}{quiet}</Delete>'
        return replace(self._http, headers=headers, body=body.encode())

    def response(self, response: HttpResponse | None) -> HttpResponse:
        """The answer, with what was not done."""
        if not self._refused or (response is not None and response.status != 200):
            assert response is not None
            return response
        errors = "".join(
            f"<Error><Key>{escape(key)}</Key>"
            + (f"<VersionId>{escape(version)}</VersionId>" if version else "")
            + f"<Code>AccessDenied</Code><Message>{escape(why)}</Message></Error>"
            for key, version, why in self._refused
        )
        if response is None:
            body = f'<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult xmlns="{_NAMESPACE}">{errors}</DeleteResult>'
            return HttpResponse(200, [("Content-Type", "application/xml")], body.encode())
        text = response.body.decode()
        if "</DeleteResult>" in text:
            text = text.replace("</DeleteResult>", f"{errors}</DeleteResult>")
        else:
            text = text.replace("<DeleteResult/>", f"<DeleteResult>{errors}</DeleteResult>")
        kept = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
        return HttpResponse(200, kept, text.encode())


def check_missing(
    authority: Authority, caller: Caller, asked: Asked, resource: str, response: HttpResponse
) -> Sequence[Call]:
    """Raise ServiceError (AccessDenied) in place of the answer that an object is not there, to who may not list its
    bucket; else gives the call, to be recorded, that this answer stands on."""
    if (
        response.status != 404
        or asked.operation not in _READING
        or caller.is_root
        or "NoSuchBucket" in str(response.body)
    ):
        return ()
    bucket = resource.partition("/")[0]
    listing = replace(asked, query="", headers={})
    return authority.authorise(caller, "s3", models.REST_XML, listing, [("s3:ListBucket", bucket)])
