"""API keys: what a caller sends as `x-api-key`. A key counts where a usage plan has it."""

from __future__ import annotations

import builtins
import re
import string
from collections.abc import Callable
from typing import Any

from localcloud.apigateway.errors import bad_request, conflict, missing, new_id
from localcloud.apigateway.paging import page_of
from localcloud.apigateway.patches import Patch, patches_of
from localcloud.context import Context, Request

KEY = "apigateway/key"
Document = dict[str, Any]

_ID_LENGTH, _VALUE_LENGTH = 10, 40
_VALUE = re.compile(r"[!-~]{20,128}")
_PATHS = ("/customerId", "/description", "/enabled", "/name")


class ApiKeys:
    """The operations on keys."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._on_change: Callable[[], None] = lambda: None
        self._on_delete: Callable[[str], None] = lambda key_id: None

    def listen(self, changed: Callable[[], None], deleted: Callable[[str], None]) -> None:
        """Whom to tell that a key has changed; and whom, within the transaction, that it goes."""
        self._on_change, self._on_delete = changed, deleted

    def named(self, key_id: str) -> Document:
        """The stored document of a key. Raises NotFoundException."""
        document = self._context.store.get(KEY, key_id)
        if document is None:
            raise missing("API Key")
        return document

    def create(self, request: Request) -> dict[str, Any]:
        """CreateApiKey, with a value of the caller's or a new one. It is disabled unless the request says otherwise."""
        params = request.params
        if params.get("stageKeys"):
            raise bad_request(f"localcloud's keys belong to stages by usage plans; got stageKeys {params['stageKeys']}")
        if not params.get("generateDistinctId", True):
            raise bad_request("localcloud's keys have ids of their own; got generateDistinctId False")
        value = params.get("value") or new_id(_VALUE_LENGTH, string.ascii_letters + string.digits)
        if not _VALUE.fullmatch(value):
            raise bad_request("API Key value should be at least 20 characters, and at most 128, none of them a blank")
        now = self._context.clock.now()
        document: Document = {
            **{name: params.get(name) for name in ("customerId", "description", "name", "tags")},
            "id": new_id(_ID_LENGTH),
            "value": value,
            "enabled": params.get("enabled", False),
            "createdDate": now,
            "lastUpdatedDate": now,
        }
        with self._context.store.transaction():
            if any(key["value"] == value for _, key in self._context.store.list(KEY)):
                raise conflict("API Key already exists")
            self._context.store.put(KEY, document["id"], document)
        self._on_change()
        return _described(document, True)

    def get(self, request: Request) -> dict[str, Any]:
        """GetApiKey; its value only for who asks for it."""
        return _described(self.named(request.params["apiKey"]), request.params.get("includeValue", False))

    def list(self, request: Request) -> dict[str, Any]:
        """GetApiKeys, of a customer, or with names that begin so."""
        params = request.params
        found = [
            _described(key, params.get("includeValues", False))
            for _, key in self._context.store.list(KEY)
            if (key["name"] or "").startswith(params.get("nameQuery") or "")
            and params.get("customerId") in (None, key["customerId"])
        ]
        return page_of(request, found)

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateApiKey."""
        patches = builtins.list(patches_of(request))

        def changed(key: Document) -> Document:
            for patch in patches:
                key = _patched(key, patch)
            return {**key, "lastUpdatedDate": self._context.clock.now()}

        try:
            document = self._context.store.update(KEY, request.params["apiKey"], changed)
        except KeyError:
            raise missing("API Key") from None
        self._on_change()
        return _described(document, False)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteApiKey, from its usage plans as well."""
        key_id = request.params["apiKey"]
        with self._context.store.transaction():
            self.named(key_id)
            self._context.store.delete(KEY, key_id)
            self._on_delete(key_id)
        self._on_change()
        return {}


def _described(key: Document, with_value: bool) -> dict[str, Any]:
    return {
        **key,
        "value": key["value"] if with_value else None,
        "tags": key["tags"] or None,
        "stageKeys": [],
    }


def _patched(key: Document, patch: Patch) -> Document:
    if patch.op != "replace" or patch.path not in _PATHS:
        raise patch.unsupported(*_PATHS)
    name = patch.path[1:]
    return {**key, name: patch.boolean() if name == "enabled" else patch.value}
