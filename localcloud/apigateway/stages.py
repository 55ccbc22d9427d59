"""Stages: where a deployment answers, with settings of its own."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.apigateway import settings, snapshots
from localcloud.apigateway.account import Account
from localcloud.apigateway.apis import Apis
from localcloud.apigateway.deployed import Deployed
from localcloud.apigateway.errors import bad_request, conflict, missing
from localcloud.apigateway.gateway import templates
from localcloud.apigateway.patches import Patch, patches_of
from localcloud.apigateway.remembered import Remembered
from localcloud.context import Context, Request

DEPLOYMENT, STAGE = "apigateway/deployment", "apigateway/stage"
Document = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_VARIABLE, _VALUE = re.compile(r"[A-Za-z0-9_]+"), re.compile(r"[A-Za-z0-9-._~:/?#&=,]+")
_SIZES = ("0.5", "1.6", "6.1", "13.5", "28.4", "58.2", "118", "237")
_SMALLEST = "0.5"
_LOG = "accessLogSettings"
_PATHS = (
    "/accessLogSettings", "/accessLogSettings/destinationArn", "/accessLogSettings/format", "/cacheClusterEnabled",
    "/cacheClusterSize", "/deploymentId", "/description", "/tracingEnabled", "/variables/{name}",
    "/{resourcePath}/{httpMethod}", *settings.PATHS,
)  # fmt: skip


class Stages:
    """The operations on stages; and what they answer by, for the gateway."""

    def __init__(self, context: Context, apis: Apis, account: Account) -> None:
        self._context, self._apis, self._account = context, apis, account
        self._remembered: Remembered[tuple[str, str], Deployed] = Remembered(lambda key: self._made(*key))
        self._on_flush: Callable[[str, str], None] = lambda api_id, stage: None
        self._on_change: Callable[[], None] = lambda: None
        self._on_delete: Callable[[str, str], None] = lambda api_id, stage: None

    def deployed(self, api_id: str, stage: str) -> Deployed | None:
        """What a stage answers by, or None. It is made once, and made anew after any change of an API."""
        return self._remembered.get((api_id, stage))

    def forget(self, api_id: str) -> None:
        """An API has changed."""
        self._remembered.forget(lambda key: key[0] == api_id)
        self._on_change()

    def flushed(self, tell: Callable[[str, str], None]) -> None:
        """Whom to tell, by API and stage, that a stage's cache is to be emptied."""
        self._on_flush = tell

    def listen(self, changed: Callable[[], None], deleted: Callable[[str, str], None]) -> None:
        """Whom to tell that stages have changed; and whom, by API and stage and within the transaction, that one
        goes."""
        self._on_change, self._on_delete = changed, deleted

    def arn(self, api_id: str, stage: str) -> str:
        """The ARN of a stage, whether there is one or not."""
        return f"{self._apis.arn(api_id)}/stages/{stage}"

    def exists(self, api_id: str, stage: str) -> bool:
        """Whether there is a stage of that name."""
        return self._context.store.get(STAGE, f"{api_id}/{stage}") is not None

    def create(self, request: Request) -> dict[str, Any]:
        """CreateStage."""
        params = request.params
        for name in ("canarySettings", "documentationVersion"):
            if params.get(name):
                raise bad_request(f"localcloud's stages have no {name}; got {params[name]!r}")
        api_id, name = params["restApiId"], params["stageName"]
        known = ("cacheClusterEnabled", "cacheClusterSize", "description", "tags", "tracingEnabled", "variables")
        with self._context.store.transaction():
            self._apis.named(api_id)
            if self.exists(api_id, name):
                raise conflict("Stage already exists")
            self.point(api_id, name, params["deploymentId"], {key: params[key] for key in known if key in params})
        self.forget(api_id)
        return self._described(api_id, name)

    def point(self, api_id: str, name: str, deployment_id: str, members: Mapping[str, Any]) -> None:
        """Let a stage, a new one if there is none, answer by a deployment; within a transaction of the caller's."""
        if not _NAME.fullmatch(name):
            raise bad_request("Stage name only allows a-zA-Z0-9_-")
        now = self._context.clock.now()
        new = {
            "stageName": name,
            "cacheClusterEnabled": False,
            "tracingEnabled": False,
            "methodSettings": {},
            "createdDate": now,
        }
        before = self._context.store.get(STAGE, f"{api_id}/{name}")
        after = {**(before or new), **members, "deploymentId": deployment_id, "lastUpdatedDate": now}
        self._put(api_id, after)

    def get(self, request: Request) -> dict[str, Any]:
        """GetStage."""
        return self._described(request.params["restApiId"], request.params["stageName"])

    def list(self, request: Request) -> dict[str, Any]:
        """GetStages of an API, or of one of its deployments."""
        api_id, wanted = self._apis.named(request.params["restApiId"])["id"], request.params.get("deploymentId")
        found = [stage for _, stage in self._context.store.list(STAGE, f"{api_id}/")]
        return {"item": [_shown(stage) for stage in found if wanted in (None, stage["deploymentId"])]}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateStage: all of its operations, or none."""
        api_id, name = request.params["restApiId"], request.params["stageName"]
        patches = builtins.list(patches_of(request))
        with self._context.store.transaction():
            stage = self._named(api_id, name)
            for patch in patches:
                stage = _patched(stage, patch)
            self._put(api_id, {**stage, "lastUpdatedDate": self._context.clock.now()})
        self.forget(api_id)
        return self._described(api_id, name)

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteStage."""
        api_id, name = request.params["restApiId"], request.params["stageName"]
        with self._context.store.transaction():
            self._named(api_id, name)
            self._gone(api_id, name)
        self.forget(api_id)
        return {}

    def delete_all(self, api_id: str) -> None:
        """Delete the stages and the deployments of an API, within a transaction of the caller's."""
        for _, stage in self._context.store.list(STAGE, f"{api_id}/"):
            self._gone(api_id, stage["stageName"])
        for key, _ in self._context.store.list(DEPLOYMENT, f"{api_id}/", members=("id",)):
            self._context.store.delete(DEPLOYMENT, key)

    def flush(self, request: Request) -> dict[str, Any]:
        """FlushStageCache."""
        api_id, name = request.params["restApiId"], request.params["stageName"]
        self._named(api_id, name)
        self._on_flush(api_id, name)
        return {}

    def _gone(self, api_id: str, name: str) -> None:
        self._context.store.delete(STAGE, f"{api_id}/{name}")
        self._on_delete(api_id, name)

    def _named(self, api_id: str, name: str) -> Document:
        document = self._context.store.get(STAGE, f"{self._apis.named(api_id)['id']}/{name}")
        if document is None:
            raise missing("Stage")
        return document

    def _described(self, api_id: str, name: str) -> dict[str, Any]:
        return _shown(self._named(api_id, name))

    def _put(self, api_id: str, stage: Document) -> None:
        """Keep a stage. Raises BadRequestException for one that cannot answer as it says."""
        deployment = self._context.store.get(DEPLOYMENT, f"{api_id}/{stage['deploymentId']}")
        if deployment is None:
            raise bad_request("Deployment id does not exist")
        before = self._context.store.get(STAGE, f"{api_id}/{stage['stageName']}") or {}
        known = {settings.ALL} | {
            settings.key_of(path, verb) for path, methods in deployment["apiSummary"].items() for verb in methods
        }
        # Those of before may be of methods that the deployment has not any more: they come back with another one.
        for key in sorted(stage["methodSettings"].keys() - known - before.get("methodSettings", {}).keys()):
            raise bad_request(f"Invalid method identifier specified: the deployment has no method {key}")
        _check_cache(stage)
        _check_variables(stage.get("variables") or {})
        if stage.get(_LOG) and stage[_LOG] != before.get(_LOG):
            self._check_log(stage[_LOG])
        self._context.store.put(STAGE, f"{api_id}/{stage['stageName']}", stage)

    def _check_log(self, log: Mapping[str, str]) -> None:
        arn, text = log.get("destinationArn", ""), log.get("format", "")
        groups = f"arn:aws:logs:{self._context.region}:{self._context.account_id}:log-group:"
        if not arn.startswith(groups) or ":" in arn.removeprefix(groups) or arn == groups:
            raise bad_request(
                "Invalid ARN specified in the request. localcloud writes access logs to a log group,"
                f" {groups}NAME; got {arn!r}"
            )
        try:
            templates.check_log_format(text)
        except ValueError as error:
            raise bad_request(str(error)) from None
        if self._account.log_role() is None:
            raise bad_request("CloudWatch Logs role ARN must be set in account settings to enable logging")

    def _made(self, api_id: str, name: str) -> Deployed | None:
        with self._context.store.transaction():
            stage = self._context.store.get(STAGE, f"{api_id}/{name}")
            if stage is None:
                return None
            deployment = self._context.store.get(DEPLOYMENT, f"{api_id}/{stage['deploymentId']}")
            api = self._apis.named(api_id)
        assert deployment is not None, "a deployment with a stage is not deleted"
        return snapshots.deployed(api, stage, deployment, self.arn(api_id, name))


def _shown(stage: Document) -> dict[str, Any]:
    return {
        **stage,
        "methodSettings": settings.described(stage["methodSettings"]),
        "cacheClusterStatus": "AVAILABLE" if stage["cacheClusterEnabled"] else "NOT_AVAILABLE",
        "tags": stage.get("tags") or None,
        "variables": stage.get("variables") or None,
    }


def _patched(stage: Document, patch: Patch) -> Document:
    parts = patch.parts
    if patch.op == "remove":
        if patch.path == f"/{_LOG}":
            return {**stage, _LOG: None}
        if parts[0] == "variables" and len(parts) == 2:
            kept = {name: value for name, value in (stage.get("variables") or {}).items() if name != parts[1]}
            return {**stage, "variables": kept}
    elif parts[0] == "variables" and len(parts) == 2:
        return {**stage, "variables": {**(stage.get("variables") or {}), parts[1]: patch.value}}
    elif parts[0] == _LOG and parts[1:] in (["destinationArn"], ["format"]):
        # GetAtt of a log group gives its ARN with a star for the streams.
        value = patch.value.removesuffix(":*") if parts[1] == "destinationArn" else patch.value
        return {**stage, _LOG: {**(stage.get(_LOG) or {}), parts[1]: value}}
    elif patch.path in ("/cacheClusterEnabled", "/tracingEnabled"):
        return {**stage, parts[0]: patch.boolean()}
    elif patch.path in ("/cacheClusterSize", "/deploymentId", "/description"):
        return {**stage, parts[0]: patch.value}
    changed = settings.patched(stage["methodSettings"], patch) if parts[0] not in ("variables", _LOG) else None
    if changed is None:
        raise patch.unsupported(*_PATHS)
    return {**stage, "methodSettings": changed}


def _check_cache(stage: Document) -> None:
    if stage["cacheClusterEnabled"]:
        stage.setdefault("cacheClusterSize", _SMALLEST)
    size = stage.get("cacheClusterSize")
    if size is not None and size not in _SIZES:
        raise bad_request(f"Invalid cache cluster size specified: {size!r}; expected one of {', '.join(_SIZES)}")


def _check_variables(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise bad_request(f"Stage variable name {name!r} is not valid: letters, digits and underscores")
        if not _VALUE.fullmatch(value):
            raise bad_request(
                f"Stage variable value of {name} is not valid: {value!r}. It must match [A-Za-z0-9-._~:/?#&=,]+"
            )
