"""Who may call an operation: the document's security schemes as authorizers, and its requirements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localcloud.apigateway.openapi.document import Document, Node, shown

_POOL = re.compile(r"arn:aws[a-z-]*:cognito-idp:[a-z0-9-]+:\d{12}:userpool/[\w-]+_[0-9a-zA-Z]+")
_AUTHTYPE, _AUTHORIZER = "x-amazon-apigateway-authtype", "x-amazon-apigateway-authorizer"
_KEY_HEADER = "x-api-key"


class Security:
    """The security schemes of one document."""

    def __init__(self, document: Document, ids: Mapping[str, str], new_id: Any) -> None:
        self._document, self._findings = document, document.findings
        self._ids, self._new_id = ids, new_id
        self.authorizers: dict[str, dict[str, Any]] = {}
        """By name, as GetAuthorizers gives them."""
        self._keys: set[str] = set()

    def read(self) -> None:
        """Take up `components.securitySchemes`."""
        components = self._document.members(self._document.root, "components", "")
        schemes = self._document.members(components, "securitySchemes", "components")
        for name in schemes:
            scheme = self._document.members(schemes, name, "components.securitySchemes")
            self._scheme(name, scheme, f"components.securitySchemes.{name}")

    def of(self, operation: Node, place: str) -> dict[str, Any]:
        """The members of a method that say who may call it."""
        requirements = operation.get("security", self._document.root.get("security")) or []
        open_to_all = {"authorizationType": "NONE", "apiKeyRequired": False}
        if not requirements:
            return open_to_all
        if not isinstance(requirements, list) or not all(isinstance(one, Mapping) for one in requirements):
            self._findings.errors.append(f"{place}.security: is {shown(requirements)}; expected a list of objects")
            return open_to_all
        if len(requirements) > 1:
            self._findings.errors.append(
                f"{place}.security: has {len(requirements)} alternatives; a method has one authorizer, and so one"
            )
        names = list(requirements[0])
        found = dict(open_to_all)
        for name in names:
            if name in self._keys:
                found["apiKeyRequired"] = True
            elif name in self.authorizers:
                if "authorizerId" in found:
                    self._findings.errors.append(f"{place}.security: asks for {', '.join(names)}; a method has one")
                scopes = requirements[0][name] or []
                found |= {
                    "authorizationType": "COGNITO_USER_POOLS",
                    "authorizerId": self.authorizers[name]["id"],
                    "authorizationScopes": [str(scope) for scope in scopes] or None,
                }
            else:
                self._findings.errors.append(
                    f"{place}.security: names {name!r}, which is no security scheme with an authorizer"
                )
        return found

    def _scheme(self, name: str, scheme: Node, place: str) -> None:
        in_header = scheme.get("type") == "apiKey" and scheme.get("in") == "header"
        header = str(scheme.get("name", ""))
        if in_header and header.lower() == _KEY_HEADER and _AUTHORIZER not in scheme:
            self._keys.add(name)
            return
        if not in_header or not header:
            self._findings.errors.append(f"{place}: expected type apiKey, in header, with the header's name")
            return
        if scheme.get(_AUTHTYPE) != "cognito_user_pools":
            self._findings.errors.append(
                f"{place}.{_AUTHTYPE}: is {shown(scheme.get(_AUTHTYPE))}; localcloud has cognito_user_pools"
            )
        given = self._document.members(scheme, _AUTHORIZER, place)
        self._document.unknown(given, {"type", "providerARNs"}, f"{place}.{_AUTHORIZER}")
        if given.get("type") != "cognito_user_pools":
            self._findings.errors.append(
                f"{place}.{_AUTHORIZER}.type: is {shown(given.get('type'))}; localcloud has cognito_user_pools"
            )
        pools = given.get("providerARNs")
        if not isinstance(pools, list) or not pools or not all(_POOL.fullmatch(str(pool)) for pool in pools):
            self._findings.errors.append(
                f"{place}.{_AUTHORIZER}.providerARNs: is {shown(pools)}; expected the ARNs of user pools"
            )
            pools = []
        self.authorizers[name] = {
            "id": self._ids.get(name) or self._new_id(),
            "name": name,
            "type": "COGNITO_USER_POOLS",
            "providerARNs": [str(pool) for pool in pools],
            "authType": "cognito_user_pools",
            "identitySource": f"method.request.header.{header}",
        }
