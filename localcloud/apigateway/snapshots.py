"""What a stage answers by, made of its document and its deployment's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from localcloud.apigateway import settings
from localcloud.apigateway.deployed import (
    Authorizer,
    Deployed,
    GatewayResponse,
    Integration,
    IntegrationResponse,
    Method,
)
from localcloud.apigateway.openapi.importer import methods_of
from localcloud.apigateway.openapi.integrations import function_arn, literal

Document = Mapping[str, Any]

_GIGABYTE = 1024**3


def deployed(api: Document, stage: Document, deployment: Document, stage_arn: str) -> Deployed:
    """One stage of one API, as the gateway reads it."""
    definition = deployment["definition"]
    authorizers = {one["id"]: _authorizer(one) for one in definition["authorizers"]}
    validators = {one["id"]: one for one in definition["validators"]}
    schemas = {name: json.loads(text) for name, text in definition["models"].items()}
    methods = tuple(
        _method(resource, method, authorizers, validators, schemas) for resource, method in methods_of(definition)
    )
    given = stage.get("methodSettings") or {}
    log = stage.get("accessLogSettings") or {}
    return Deployed(
        api_id=api["id"],
        api_name=api["name"],
        stage=stage["stageName"],
        deployment_id=deployment["id"],
        stage_arn=stage_arn,
        methods=methods,
        settings={
            (one.resource_path, one.verb): settings.of_method(given, one.resource_path, one.verb) for one in methods
        },
        gateway_responses={name: _gateway_response(one) for name, one in definition["gatewayResponses"].items()},
        variables=stage.get("variables") or {},
        binary_media_types=tuple(deployment["binaryMediaTypes"]),
        tracing=stage["tracingEnabled"],
        cache_bytes=int(float(stage["cacheClusterSize"]) * _GIGABYTE) if stage["cacheClusterEnabled"] else 0,
        access_log_group=log["destinationArn"].partition(":log-group:")[2] if log else None,
        access_log_format=log.get("format", ""),
    )


def _method(
    resource: Document,
    method: Document,
    authorizers: Mapping[str, Authorizer],
    validators: Mapping[str, Document],
    schemas: Mapping[str, Any],
) -> Method:
    validator = validators.get(method.get("requestValidatorId", ""), {})
    return Method(
        verb=method["httpMethod"],
        resource_id=resource["id"],
        resource_path=resource["path"],
        integration=_integration(method["methodIntegration"]),
        operation_name=method.get("operationName"),
        authorizer=authorizers.get(method.get("authorizerId", "")),
        scopes=tuple(method.get("authorizationScopes") or ()),
        key_required=method["apiKeyRequired"],
        validates_body=validator.get("validateRequestBody", False),
        validates_parameters=validator.get("validateRequestParameters", False),
        required_parameters=tuple(
            name for name, required in (method.get("requestParameters") or {}).items() if required
        ),
        models={media_type: schemas[name] for media_type, name in (method.get("requestModels") or {}).items()},
    )


def _authorizer(given: Document) -> Authorizer:
    return Authorizer(
        provider_arns=tuple(given["providerARNs"]),
        header=given["identitySource"].rpartition(".")[2].lower(),
    )


def _integration(given: Document) -> Integration:
    # The first is the one that answers where no other's status is asked for.
    responses = sorted(
        (given.get("integrationResponses") or {}).values(), key=lambda one: one["selectionPattern"] or ""
    )
    return Integration(
        type=given["type"],
        function_arn=function_arn(given.get("uri", "")),
        timeout_seconds=given["timeoutInMillis"] / 1000,
        cache_key_parameters=tuple(given["cacheKeyParameters"]),
        request_templates=given.get("requestTemplates") or {},
        responses=tuple(
            IntegrationResponse(
                status=int(one["statusCode"]),
                headers=_headers(one["responseParameters"] or {}),
                templates=one["responseTemplates"] or {},
            )
            for one in responses
        ),
        passthrough=given["passthroughBehavior"],
    )


def _gateway_response(given: Document) -> GatewayResponse:
    return GatewayResponse(
        status=int(given["statusCode"]) if given["statusCode"] else None,
        headers=_headers(given["responseParameters"]),
        templates=given["responseTemplates"],
    )


def _headers(parameters: Mapping[str, str]) -> dict[str, str]:
    """`…response.header.{name}` with a literal, as name and value."""
    return {name.partition(".header.")[2]: literal(value) for name, value in parameters.items()}
