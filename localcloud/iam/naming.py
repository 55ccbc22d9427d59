"""The ARN that policies mean, of what a request names otherwise: a key by its alias or by what it has encrypted, a
secret without its suffix, a role without its path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# moto writes the id of the key before everything else.
_KEY_ID_BYTES = 36


class Naming:
    """Finds names out once, until the service's resources change. Any thread may ask; it may wait for moto."""

    def __init__(self, leaf: Callable[[str], Any], changes: Callable[[str], int]) -> None:
        """changes: how often a service that moto stores has changed."""
        self._leaf, self._changes = leaf, changes
        self._found: dict[str, tuple[int, dict[str, str]]] = {}

    def resolved(self, resource: str, params: Mapping[str, Any]) -> str:
        """A resource of a call, by its own ARN where it was named otherwise."""
        if resource.startswith("arn:aws:kms:") or (resource == "*" and "CiphertextBlob" in params):
            return self._looked_up("kms", _key_of(resource, params), self._key) or resource
        if resource.startswith("arn:aws:secretsmanager:"):
            return self._looked_up("secretsmanager", resource.rpartition(":secret:")[2], self._secret) or resource
        if resource.startswith("arn:aws:iam:") and ":role/" in resource and "RoleName" in params:
            return self._looked_up("iam", str(params["RoleName"]), self._role) or resource
        return resource

    def _looked_up(self, service: str, name: str, look: Callable[[str], str]) -> str | None:
        changes = self._changes(service)
        at, names = self._found.get(service, (changes, {}))
        if at != changes:
            names = {}
        if name not in names:
            try:
                names[name] = look(name)
            except (ClientError, BotoCoreError):
                # There is none, as the service will say itself.
                return None
            self._found[service] = (changes, names)
        return names[name]

    def _key(self, name: str) -> str:
        arn: str = self._leaf("kms").describe_key(KeyId=name)["KeyMetadata"]["Arn"]
        return arn

    def _secret(self, name: str) -> str:
        arn: str = self._leaf("secretsmanager").describe_secret(SecretId=name)["ARN"]
        return arn

    def _role(self, name: str) -> str:
        arn: str = self._leaf("iam").get_role(RoleName=name)["Role"]["Arn"]
        return arn


def _key_of(resource: str, params: Mapping[str, Any]) -> str:
    name = resource.partition(":key/")[2]
    if name:
        return name
    blob = params.get("CiphertextBlob")
    if isinstance(blob, str):
        try:
            return base64.b64decode(blob)[:_KEY_ID_BYTES].decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return resource
