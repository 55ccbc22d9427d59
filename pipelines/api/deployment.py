"""The stack of the REST API, made of template/api.yml and the OpenAPI document of seed_code/api."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3

from pipelines import functions, infrastructure, yaml_files
from pipelines.config import Configuration
from pipelines.errors import UsageError
from pipelines.infrastructure import Wanted
from pipelines.names import ADMIN_STACK, LocalPaths
from pipelines.session import client

__all__ = ["deploy", "read_document", "render", "wanted"]

# The marker of template/api.yml: a document without paths, several lines deeper than its name.
_BODY = re.compile(r"^( +)Body:\n(?:\1 .*\n)+", re.MULTILINE)
# As the template calls it.
_NAME = "${SageMakerProjectName}-api"
_DEPLOYMENT = re.compile(r"\bApiDeployment\b")
_PARAMETER = re.compile(r"\$\{(\w+)\}")
# A character beyond 16 bits, as JSON writes it.
_PAIR = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")


def deploy(
    session: boto3.Session,
    configuration: Configuration,
    paths: LocalPaths,
    *,
    poll_seconds: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Make the API's stack what the files say, and before it what the account needs once; gives what was done.

    tell: called with what is under way. Raises UsageError for a document that is none, ServiceError when CloudFormation
    fails.
    """
    names = configuration.names
    changes = []
    if not client(session, "apigateway").get_account().get("cloudwatchRoleArn"):
        tell(f"deploying the stack {ADMIN_STACK}, once per account")
        admin = Wanted(_read(paths.admin_template), {})
        changes = infrastructure.deploy(session, names, ADMIN_STACK, admin, poll_seconds)
    stack = infrastructure.under_the_boundary(session, names, wanted(session, configuration, paths))
    tell(f"deploying the stack {names.api_stack}")
    return changes + infrastructure.deploy(session, names, names.api_stack, stack, poll_seconds)


def wanted(session: boto3.Session, configuration: Configuration, paths: LocalPaths) -> Wanted:
    """What the API's stack is to be made of; its code is uploaded. Raises UsageError as `deploy` does."""
    names, api = configuration.names, configuration.project.api
    parameters = {
        "SageMakerProjectName": names.project,
        "CodeBucket": names.code_bucket,
        "CodeKey": functions.upload(session, names, paths.root, functions.API),
        "Quantiles": ",".join(configuration.workloads.forecaster.forecast.quantiles),
        "AllowedOrigin": api.allowed_origin,
        "RequestsPerSecond": str(api.requests_per_second),
        "Burst": str(api.burst),
        "RequestsPerAddress": str(api.requests_per_address),
        "CacheGigabytes": api.cache_gb,
    }
    return Wanted(render(_read(paths.api_template), read_document(paths), parameters), parameters)


def read_document(paths: LocalPaths) -> dict[str, Any]:
    """The OpenAPI document as API Gateway imports it. Raises UsageError for a file that is not there, or none such."""
    file = paths.api_document.relative_to(paths.root).as_posix()
    found = yaml_files.read(paths.api_document, file, aliases=True)
    if found.mistakes or found.values is None:
        raise UsageError("\n".join(str(mistake) for mistake in found.mistakes))
    for name, kind in (("openapi", str), ("info", dict), ("paths", dict)):
        if not isinstance(found.values.get(name), kind):
            expected = "a text such as 3.0.1" if kind is str else "a mapping"
            given = yaml_files.kind(found.values.get(name))
            raise UsageError(f"{found.position((name,))}: {name}: found {given}, expected {expected}")
    for path, value in _leaves(found.values, ()):
        if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
            raise UsageError(
                f"{found.position(path)}: {yaml_files.dotted(path)}: found {yaml_files.kind(value)}, which JSON does "
                "not have; put it in quotes"
            )
    return found.values


def _leaves(value: Any, path: yaml_files.KeyPath) -> Iterator[tuple[yaml_files.KeyPath, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key if isinstance(key, int) and isinstance(value, list) else str(key)))
    else:
        yield path, value


def render(template: str, document: dict[str, Any], parameters: Mapping[str, str]) -> str:
    """The template with the document in it, and a deployment of its own for that very document.

    API Gateway may call an API by its document's title, and its metrics bear that name: the title becomes the API's.
    The document's functions (Fn::Sub, Fn::GetAtt) are the template's from then on. The deployment's logical id bears
    the digest of the document and of the parameters in it, as AWS SAM and the CDK have it, for a deployment is a
    snapshot that no update renews.
    """
    named = {**document, "info": {**document["info"], "title": {"Fn::Sub": _NAME}}}
    body = json.dumps(named, separators=(",", ":"))
    within = {name: parameters[name] for name in sorted(set(_PARAMETER.findall(body))) if name in parameters}
    digest = hashlib.sha256((body + json.dumps(within)).encode()).hexdigest()[:12]
    rendered, deployments = _DEPLOYMENT.subn(f"ApiDeployment{digest}", template)
    rendered, bodies = _BODY.subn(lambda found: f"{found[1]}Body: {_as_yaml(body)}\n", rendered)
    if bodies != 1 or not deployments:
        raise UsageError("the API's template has no place for the document: expected one `Body:` and an ApiDeployment")
    return rendered


def _as_yaml(text: str) -> str:
    """JSON as YAML, which is the same but for characters beyond 16 bits: YAML has an escape of 32."""

    def escaped(pair: re.Match[str]) -> str:
        character: str = json.loads(f'"{pair[0]}"')
        return f"\\U{ord(character):08x}"

    return _PAIR.sub(escaped, text)


def _read(file: Path) -> str:
    """A template's text. Raises UsageError."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"`{file}` cannot be read: {error}; expected a template") from None
