"""Gateway responses: how the gateway answers by itself, by the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localcloud.apigateway.gateway import refusals
from localcloud.apigateway.openapi.document import Document, shown
from localcloud.apigateway.openapi.integrations import Integrations

NAME = "x-amazon-apigateway-gateway-responses"

STATUSES: Mapping[str, str | None] = {
    kind: None if kind.startswith("DEFAULT_") else str(status) for kind, status in refusals.STATUSES.items()
}
"""The reasons, each with the status that it has where nobody says otherwise."""

_STATUS = re.compile(r"[1-5]\d\d")
_USUAL_TEMPLATES = {"application/json": '{"message":$context.error.messageString}'}


def read(document: Document, integrations: Integrations) -> dict[str, dict[str, Any]]:
    """The gateway responses of a document, as GetGatewayResponses gives them, by type."""
    found: dict[str, dict[str, Any]] = {}
    given = document.members(document.root, NAME, "")
    for kind in given:
        place = f"{NAME}.{kind}"
        node = document.members(given, kind, NAME)
        if kind not in STATUSES:
            document.findings.errors.append(
                f"{place}: Invalid response type; expected one of {', '.join(sorted(STATUSES))}"
            )
            continue
        document.unknown(node, {"responseParameters", "responseTemplates", "statusCode"}, place)
        status = node.get("statusCode", STATUSES[kind])
        if status is not None and not _STATUS.fullmatch(str(status)):
            document.findings.errors.append(f"{place}.statusCode: is {shown(status)}; expected a status of HTTP")
        headers = integrations.literals(node, "responseParameters", "gatewayresponse.header.", place)
        templates = integrations.templates(node, "responseTemplates", place)
        found[kind] = {
            "responseType": kind,
            "statusCode": None if status is None else str(status),
            "responseParameters": headers,
            "responseTemplates": templates or dict(_USUAL_TEMPLATES),
            "defaultResponse": False,
        }
    return found


def listed(changed: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """All gateway responses: those that the API changes, and the others as they are."""
    return [
        changed.get(kind)
        or {
            "responseType": kind,
            "statusCode": status,
            "responseParameters": {},
            "responseTemplates": dict(_USUAL_TEMPLATES),
            "defaultResponse": True,
        }
        for kind, status in sorted(STATUSES.items())
    ]
