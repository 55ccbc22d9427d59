"""What a stage of an API answers by: the API as it was when it was deployed, and the stage's own settings.

The service's operations make it (from what they keep), and the gateway reads it. Of the gateway, the operations know
but what it can fill in and answer (`gateway.templates`, `gateway.refusals`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Templates = Mapping[str, str]
"""Mapping templates by media type."""


@dataclass(frozen=True)
class Authorizer:
    """A Cognito authorizer."""

    provider_arns: tuple[str, ...]
    """The user pools whose tokens count."""
    header: str = "authorization"
    """The header that bears the token, in lower case."""


@dataclass(frozen=True)
class IntegrationResponse:
    """What becomes of the answer of a MOCK integration."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header by name: the mapped value, without the quotes of a literal."""
    templates: Templates = field(default_factory=dict)


@dataclass(frozen=True)
class Integration:
    """What answers a method."""

    type: str
    """AWS_PROXY (a Lambda function) or MOCK."""
    function_arn: str = ""
    """With ${stageVariables.…} in it where the URI has them."""
    timeout_seconds: float = 29.0
    cache_key_parameters: tuple[str, ...] = ()
    """For example `method.request.querystring.minutes`."""
    request_templates: Templates = field(default_factory=dict)
    responses: tuple[IntegrationResponse, ...] = ()
    passthrough: str = "WHEN_NO_MATCH"
    """Whether a body without a template for its type is its own request: so, or WHEN_NO_TEMPLATES, or NEVER."""


@dataclass(frozen=True)
class Method:
    """One method of one resource."""

    verb: str
    """GET, POST … or ANY."""
    resource_id: str
    resource_path: str
    """`/predictions`, `/things/{id}`, `/files/{proxy+}`."""
    integration: Integration
    operation_name: str | None = None
    authorizer: Authorizer | None = None
    """None: everybody may ask."""
    scopes: tuple[str, ...] = ()
    """An access token must have one of them. Without any, an identity token is asked for."""
    key_required: bool = False
    validates_body: bool = False
    validates_parameters: bool = False
    required_parameters: tuple[str, ...] = ()
    """For example `method.request.querystring.minutes`."""
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """JSON schemas (draft 4) by media type, references resolved."""


@dataclass(frozen=True)
class GatewayResponse:
    """How the gateway itself answers in one case."""

    status: int | None = None
    """None: the case's own."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name, without the quotes of a literal."""
    templates: Templates = field(default_factory=dict)


@dataclass(frozen=True)
class MethodSettings:
    """A stage's settings of one method."""

    rate: float = 10_000.0
    """Requests a second."""
    burst: int = 5_000
    caching: bool = False
    cache_ttl_seconds: int = 300
    cache_needs_authorization: bool = True
    """Whether only a signed request may ask for a fresh answer (Cache-Control: max-age=0). Others get the one that is
    kept, with a warning in a header."""
    metrics: bool = False
    """Metrics of the method, beside those of the stage."""


@dataclass(frozen=True)
class Deployed:
    """One stage of one API."""

    api_id: str
    api_name: str
    stage: str
    deployment_id: str
    stage_arn: str
    """arn:aws:apigateway:{region}::/restapis/{api}/stages/{stage}: what a web ACL is associated with."""
    methods: tuple[Method, ...]
    settings: Mapping[tuple[str, str], MethodSettings] = field(default_factory=dict)
    """By resource path and verb, for every method of `methods`."""
    gateway_responses: Mapping[str, GatewayResponse] = field(default_factory=dict)
    """By response type: `UNAUTHORIZED`, `DEFAULT_4XX` …; those that the API changes."""
    variables: Mapping[str, str] = field(default_factory=dict)
    binary_media_types: tuple[str, ...] = ()
    tracing: bool = False
    cache_bytes: int = 0
    """0: no cache."""
    access_log_group: str | None = None
    access_log_format: str = ""


@dataclass(frozen=True)
class KeyPlan:
    """What a caller with an API key may do at a stage."""

    key_id: str
    plan_id: str
    rate: float | None = None
    burst: int | None = None
    method: str = ""
    """The stage's method whose own limits these are; empty where they are the plan's, which all methods share."""
