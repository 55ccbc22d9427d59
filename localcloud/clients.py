"""boto3 clients of localcloud's own services, without HTTP in between: for services that call others as a user would.

A stack makes its resources this way, and EventBridge starts a pipeline. The calls are checked, answered and recorded
like everybody's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from localcloud.principals import Principals
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.wsgi import RawBody, from_prepared

Send = Callable[[HttpRequest], HttpResponse]

_ANYBODY = "localcloud"


class Clients:
    """Makes each client once, for each role. All methods may be called from any thread."""

    def __init__(self, region: str, principals: Principals) -> None:
        self._region, self._principals = region, principals
        self._send: Send | None = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def connect(self, send: Send) -> None:
        """Say what answers: the dispatcher, which is made after the services that hold this."""
        self._send = send

    def of(self, service: str, role_arn: str | None = None) -> Any:
        """A client whose calls are the role's, or the account's root's where none is given."""
        access_key = self._principals.access_key(role_arn) if role_arn else _ANYBODY
        with self._lock:
            found = self._clients.get((service, access_key))
            if found is None:
                found = in_process_client(service, self._region, self._answer, access_key)
                self._clients[service, access_key] = found
            return found

    def _answer(self, request: HttpRequest) -> HttpResponse:
        assert self._send is not None, "no dispatcher was connected"
        return self._send(request)


def in_process_client(service: str, region: str, send: Send, access_key: str = _ANYBODY) -> Any:
    """A boto3 client whose requests go to `send`, unsigned but with the scope of a signature."""
    client = _session(region).client(
        service,
        region_name=region,
        endpoint_url="http://127.0.0.1",
        aws_access_key_id=access_key,
        aws_secret_access_key="localcloud",
        config=Config(
            # Nobody checks a signature here, and hashing a body costs time.
            signature_version=UNSIGNED,
            retries={"mode": "standard", "total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            # The endpoint is given; a configuration file's must not win.
            ignore_configured_endpoint_urls=True,
        ),
    )
    model = client.meta.service_model
    signing_name = model.metadata.get("signingName") or model.metadata["endpointPrefix"]
    scope = credential_scope(access_key, region, signing_name)

    def over_there(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        response = send(from_prepared(request, scope))
        return AWSResponse(request.url, response.status, dict(response.headers), RawBody(response.body))

    client.meta.events.register_first(f"before-send.{model.service_id.hyphenize()}", over_there)
    return client


def credential_scope(access_key: str, region: str, signing_name: str) -> str:
    """What stands in for a signature in localcloud's own calls: service and region are read from it."""
    return f"AWS4-HMAC-SHA256 Credential={access_key}/20000101/{region}/{signing_name}/aws4_request"


@cache
def _session(region: str) -> boto3.Session:
    """Without profiles: what the user's own files say about AWS has no say here. It keeps the models it has read."""
    core = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    core.set_config_variable("region", region)
    return boto3.Session(botocore_session=core, region_name=region)
