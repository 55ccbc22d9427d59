"""Values of variables that lie in Parameter Store and Secrets Manager, looked up as a build's service role."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.codebuild.errors import PhaseError
from localcloud.codebuild.sources import said

_AT_ONCE = 10
_PARAMETERS, _SECRETS = "Decrypted Variables Error", "Secrets Manager Error Message"
_ARN_PARTS = 7


def parameters(client: Any, names: Mapping[str, str]) -> dict[str, str]:
    """Values by the names of variables. names: those of parameters by those of variables. Raises PhaseError."""
    found: dict[str, str] = {}
    wanted = list(dict.fromkeys(names.values()))
    for start in range(0, len(wanted), _AT_ONCE):
        try:
            answer = client.get_parameters(Names=wanted[start : start + _AT_ONCE], WithDecryption=True)
        except (ClientError, ParamValidationError) as error:
            raise PhaseError(_PARAMETERS, said(error)) from error
        if answer.get("InvalidParameters"):
            raise PhaseError(_PARAMETERS, f"parameter does not exist: {', '.join(answer['InvalidParameters'])}")
        found |= {one["Name"]: one["Value"] for one in answer["Parameters"]}
        # Who asks by ARN is answered with the name.
        found |= {one["ARN"]: one["Value"] for one in answer["Parameters"] if "ARN" in one}
    return {variable: found[name] for variable, name in names.items()}


def secrets(client: Any, references: Mapping[str, str]) -> dict[str, str]:
    """Values by the names of variables. references: `secret-id:json-key:version-stage:version-id`, of which all but the
    first may be missing, by the names of variables. Raises PhaseError."""
    return {variable: _secret(client, reference) for variable, reference in references.items()}


def _secret(client: Any, reference: str) -> str:
    parts = reference.split(":")
    if reference.startswith("arn:"):
        parts = [":".join(parts[:_ARN_PARTS]), *parts[_ARN_PARTS:]]
    identifier, key, stage, version = (*parts, "", "", "", "")[:4]
    given = {"VersionStage": stage, "VersionId": version}
    try:
        answer = client.get_secret_value(SecretId=identifier, **{name: value for name, value in given.items() if value})
    except (ClientError, ParamValidationError) as error:
        raise PhaseError(_SECRETS, f"{said(error)} ({identifier})") from error
    text = answer.get("SecretString")
    if text is None:
        raise PhaseError(_SECRETS, f"the secret {identifier} is binary; localcloud sets variables to text")
    if not key:
        return str(text)
    try:
        value = json.loads(text)[key]
    except (ValueError, KeyError, TypeError) as error:
        raise PhaseError(_SECRETS, f"the secret {identifier} has no key {key!r} in a JSON object") from error
    return value if isinstance(value, str) else json.dumps(value)
