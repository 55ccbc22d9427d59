"""AWS::ApiGateway::Account, ::RestApi, ::Deployment and ::Stage.

A RestApi's resources and methods come from its Body. What stages and APIs change after their creation they change by
patch operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, document, pick

_ACCOUNT_ID = "api-gateway-account"
_API = {"Description": "description", "Name": "name"}
_STAGE = {
    "CacheClusterEnabled": "cacheClusterEnabled",
    "CacheClusterSize": "cacheClusterSize",
    "DeploymentId": "deploymentId",
    "Description": "description",
    "TracingEnabled": "tracingEnabled",
}
# What takes a member back to how a stage without it is. One without a deployment cannot be.
_TAKEN_BACK = {"CacheClusterEnabled": False, "Description": "", "TracingEnabled": False}
_METHOD = {
    "CacheDataEncrypted": "caching/dataEncrypted",
    "CacheTtlInSeconds": "caching/ttlInSeconds",
    "CachingEnabled": "caching/enabled",
    "DataTraceEnabled": "logging/dataTrace",
    "LoggingLevel": "logging/loglevel",
    "MetricsEnabled": "metrics/enabled",
    "ThrottlingBurstLimit": "throttling/burstLimit",
    "ThrottlingRateLimit": "throttling/rateLimit",
}
_LOG = {"DestinationArn": "destinationArn", "Format": "format"}


class Account(ResourceType):
    """There is one in each region, made with the account: what is deleted is the stack's hold of it, as on AWS."""

    name = "AWS::ApiGateway::Account"
    attributes = frozenset({"Id"})
    honours = frozenset({"CloudWatchRoleArn"})

    def create(self, call: Call, properties: Properties) -> str:
        self._set(call, properties)
        return _ACCOUNT_ID

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        self._set(call, after)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        pass

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Id": physical_id}

    def _set(self, call: Call, properties: Properties) -> None:
        role = properties.get("CloudWatchRoleArn", "")
        call.client("apigateway").update_account(patchOperations=[_replace("/cloudwatchRoleArn", role)])


class RestApi(ResourceType):
    name = "AWS::ApiGateway::RestApi"
    name_property = None
    attributes = frozenset({"RestApiId", "RootResourceId"})
    honours = frozenset(
        {
            *_API, "ApiKeySourceType", "BinaryMediaTypes", "Body", "DisableExecuteApiEndpoint",
            "EndpointConfiguration.IpAddressType", "EndpointConfiguration.Types", "FailOnWarnings", "Mode", "Tags",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        gateway = call.client("apigateway")
        _check(properties)
        if "Name" not in properties and "Body" not in properties:
            raise ResourceFailed("Resource creation requires either a Name or a Body; the API has neither")
        # Made empty, so that whatever is wrong with the body is found when the API is on record, and goes with it.
        name = properties.get("Name") or call.new_name(100)
        made = gateway.create_rest_api(
            name=name, **_created(properties), **({"tags": dict(call.tags)} if call.tags else {})
        )
        return str(made["id"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._define(call, physical_id, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        _check(after)
        if changed(before, after, *_API, "BinaryMediaTypes", "Body", "FailOnWarnings"):
            self._define(call, physical_id, after)
        _retag(call, f"/restapis/{physical_id}")

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("apigateway").delete_rest_api(restApiId=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        found = call.client("apigateway").get_rest_api(restApiId=physical_id)
        return {"RestApiId": physical_id, "RootResourceId": found["rootResourceId"]}

    def _define(self, call: Call, api_id: str, properties: Properties) -> None:
        """The body, and on top of it what the properties say: they win."""
        gateway = call.client("apigateway")
        if "Body" in properties:
            gateway.put_rest_api(
                restApiId=api_id,
                mode="overwrite",
                failOnWarnings=properties.get("FailOnWarnings", False),
                body=document(properties["Body"]).encode(),
            )
        patches = [_replace(f"/{member}", properties[name]) for name, member in _API.items() if name in properties]
        if "Body" not in properties:
            patches += [_replace("/description", "")] if "Description" not in properties else []
        there = gateway.get_rest_api(restApiId=api_id).get("binaryMediaTypes") or []
        wanted = properties.get("BinaryMediaTypes") or []
        patches += [_add(f"/binaryMediaTypes/{_escaped(one)}") for one in wanted if one not in there]
        if "Body" not in properties:
            patches += [_remove(f"/binaryMediaTypes/{_escaped(one)}") for one in there if one not in wanted]
        if patches:
            gateway.update_rest_api(restApiId=api_id, patchOperations=patches)


class Deployment(ResourceType):
    name = "AWS::ApiGateway::Deployment"
    attributes = frozenset({"DeploymentId"})
    honours = frozenset({"Description", "RestApiId"})

    def create(self, call: Call, properties: Properties) -> str:
        about = {"description": properties["Description"]} if "Description" in properties else {}
        made = call.client("apigateway").create_deployment(restApiId=properties["RestApiId"], **about)
        return str(made["id"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        if changed(before, after, "Description"):
            call.client("apigateway").update_deployment(
                restApiId=after["RestApiId"],
                deploymentId=physical_id,
                patchOperations=[_replace("/description", after.get("Description", ""))],
            )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("apigateway").delete_deployment(restApiId=properties["RestApiId"], deploymentId=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"DeploymentId": physical_id}


class Stage(ResourceType):
    name = "AWS::ApiGateway::Stage"
    honours = frozenset(
        {
            *_STAGE, *(f"AccessLogSetting.{member}" for member in _LOG),
            *(f"MethodSettings.{member}" for member in (*_METHOD, "HttpMethod", "ResourcePath")), "RestApiId",
            "StageName", "Tags", "Variables",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        for name in ("DeploymentId", "StageName"):
            if name not in properties:
                raise ResourceFailed(f"Property {name} cannot be empty; localcloud's stages have no other default")
        call.client("apigateway").create_stage(
            restApiId=properties["RestApiId"],
            stageName=properties["StageName"],
            **{member: properties[name] for name, member in _STAGE.items() if name in properties},
            **({"variables": properties["Variables"]} if properties.get("Variables") else {}),
            **({"tags": dict(call.tags)} if call.tags else {}),
        )
        return str(properties["StageName"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        same = pick(properties, *_STAGE, "Variables")
        self._patch(call, physical_id, same, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        self._patch(call, physical_id, before, after)
        _retag(call, f"/restapis/{after['RestApiId']}/stages/{physical_id}")

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("apigateway").delete_stage(restApiId=properties["RestApiId"], stageName=physical_id)

    def _patch(self, call: Call, name: str, before: Properties, after: Properties) -> None:
        gateway, api = call.client("apigateway"), {"restApiId": after["RestApiId"], "stageName": name}
        patches = [*_stage_patches(before, after)]
        if changed(before, after, "MethodSettings"):
            # What an update that failed half-way has left may be there as well.
            there = gateway.get_stage(**api).get("methodSettings") or {}
            patches += [_remove(f"/{_key(key)}") for key in there]
            patches += _method_patches(after)
        if patches:
            gateway.update_stage(**api, patchOperations=patches)


def _created(properties: Properties) -> dict[str, Any]:
    """What CreateRestApi is given, of what it is to refuse or to make so."""
    found: dict[str, Any] = {"endpointConfiguration": {"types": ["REGIONAL"]}}
    endpoint = properties.get("EndpointConfiguration") or {}
    if "Types" in endpoint:
        found["endpointConfiguration"]["types"] = endpoint["Types"]
    if "IpAddressType" in endpoint:
        found["endpointConfiguration"]["ipAddressType"] = endpoint["IpAddressType"]
    if "ApiKeySourceType" in properties:
        found["apiKeySource"] = properties["ApiKeySourceType"]
    if "DisableExecuteApiEndpoint" in properties:
        found["disableExecuteApiEndpoint"] = properties["DisableExecuteApiEndpoint"]
    return found


def _check(properties: Properties) -> None:
    """Refuse what has another effect on AWS than the one thing that is done here."""
    wanted = {
        "ApiKeySourceType": "HEADER",
        "DisableExecuteApiEndpoint": False,
        "Mode": "overwrite",
    }
    for name, value in wanted.items():
        if properties.get(name, value) != value:
            raise ResourceFailed(f"localcloud's APIs have {name} {value}; got {properties[name]!r}")
    types = (properties.get("EndpointConfiguration") or {}).get("Types") or ["REGIONAL"]
    if types != ["REGIONAL"]:
        raise ResourceFailed(f"localcloud's APIs are REGIONAL; got EndpointConfiguration.Types {types}")


def _stage_patches(before: Properties, after: Properties) -> Iterator[dict[str, str]]:
    for name, member in _STAGE.items():
        if name in after and before.get(name) != after[name]:
            yield _replace(f"/{member}", after[name])
        elif name in before and name not in after and name in _TAKEN_BACK:
            yield _replace(f"/{member}", _TAKEN_BACK[name])
    was, wanted = (one.get("Variables") or {} for one in (before, after))
    yield from (_remove(f"/variables/{key}") for key in was if key not in wanted)
    yield from (_replace(f"/variables/{key}", value) for key, value in wanted.items() if was.get(key) != value)
    if changed(before, after, "AccessLogSetting"):
        log = after.get("AccessLogSetting") or {}
        yield _remove("/accessLogSettings")
        yield from (_replace(f"/accessLogSettings/{member}", log[name]) for name, member in _LOG.items() if name in log)


def _method_patches(properties: Properties) -> Iterator[dict[str, str]]:
    for setting in properties.get("MethodSettings") or ():
        for name in ("HttpMethod", "ResourcePath"):
            if name not in setting:
                raise ResourceFailed(f"MethodSettings: {name} is missing in {dict(setting)}")
        resource = setting["ResourcePath"]
        # A template may write a path's slashes as they are, or escaped as a patch operation has them.
        place = "*" if resource in ("*", "/*") else _escaped(resource.replace("~1", "/").replace("//", "/"))
        for name, path in _METHOD.items():
            if name in setting:
                yield _replace(f"/{place}/{setting['HttpMethod']}/{path}", setting[name])


def _key(key: str) -> str:
    """The path of a method's settings, of the key that GetStage gives."""
    resource, _, verb = key.rpartition("/")
    return key if resource == "*" else f"~1{resource.removeprefix('~1')}/{verb}"


def _retag(call: Call, path: str) -> None:
    arn = f"arn:aws:apigateway:{call.region}::{path}"
    call.retag(
        lambda tags: call.client("apigateway").tag_resource(resourceArn=arn, tags=tags),
        lambda keys: call.client("apigateway").untag_resource(resourceArn=arn, tagKeys=keys),
    )


def _replace(path: str, value: Any) -> dict[str, str]:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return {"op": "replace", "path": path, "value": text}


def _add(path: str) -> dict[str, str]:
    return {"op": "add", "path": path, "value": ""}


def _remove(path: str) -> dict[str, str]:
    return {"op": "remove", "path": path}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


TYPES = (Account(), RestApi(), Deployment(), Stage())
