"""AWS::Lambda::Function, ::Permission, ::EventSourceMapping and ::EventInvokeConfig."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    exists,
    is_missing,
    pick,
    refuse_existing,
)

# With what takes a setting back to how a function without it is.
_CONFIGURATION: dict[str, Any] = {
    "DeadLetterConfig": {"TargetArn": ""},
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "Handler": None,
    "LoggingConfig": {"LogFormat": "Text"},
    "MemorySize": 128,
    "Role": None,
    "Runtime": None,
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    # localcloud's functions are in no network: the service refuses to put one into some.
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
}
_CODE = ("S3Bucket", "S3Key", "S3ObjectVersion")
_PERMISSION = ("Action", "Principal", "SourceAccount", "SourceArn")
# With what takes a setting back to how a mapping without it is, of either kind of source.
_MAPPING: dict[str, Any] = {
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {},
    "FilterCriteria": {},
    "FunctionName": None,
    "FunctionResponseTypes": [],
    "MaximumBatchingWindowInSeconds": 0,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
    "ScalingConfig": {},
}
_BATCH_SIZES = {"kinesis": 100, "sqs": 10}
_STARTING = ("StartingPosition", "StartingPositionTimestamp")
_INVOKE_CONFIG = ("DestinationConfig", "FunctionName", "MaximumEventAgeInSeconds", "MaximumRetryAttempts", "Qualifier")
# A zip's entries carry times. This one, the earliest there can be, makes the same code the same archive.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


class Function(ResourceType):
    name = "AWS::Lambda::Function"
    name_property = "FunctionName"
    attributes = frozenset({"Arn"})
    honours = frozenset(
        {
            *_CONFIGURATION, *(f"Code.{member}" for member in (*_CODE, "ZipFile")), "Architectures", "FunctionName",
            "PackageType", "ReservedConcurrentExecutions", "Tags",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("FunctionName") or call.new_name(64)
        call.client("lambda").create_function(
            FunctionName=name,
            Code=_code(properties),
            **pick(properties, *_CONFIGURATION, "Architectures", "PackageType"),
            **({"Tags": dict(call.tags)} if call.tags else {}),
        )
        return str(name)

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._wait(call, physical_id)
        self._concurrency(call.client("lambda"), physical_id, {}, properties)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        functions = call.client("lambda")
        if changed(before, after, "Code", "Architectures"):
            functions.update_function_code(FunctionName=physical_id, **_code(after), **pick(after, "Architectures"))
            self._wait(call, physical_id)
        if changed(before, after, *_CONFIGURATION):
            defaults = {
                name: default for name, default in _CONFIGURATION.items() if name in before and default is not None
            }
            functions.update_function_configuration(FunctionName=physical_id, **defaults | pick(after, *_CONFIGURATION))
            self._wait(call, physical_id)
        self._concurrency(functions, physical_id, before, after)
        _retag(call, call.arn("lambda", f"function:{physical_id}"))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("lambda").delete_function(FunctionName=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Arn": call.arn("lambda", f"function:{physical_id}")}

    def _concurrency(self, functions: Any, name: str, before: Properties, after: Properties) -> None:
        reserved = "ReservedConcurrentExecutions"
        if before.get(reserved) == after.get(reserved):
            return
        if reserved in after:
            functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=after[reserved])
        else:
            functions.delete_function_concurrency(FunctionName=name)

    def _wait(self, call: Call, name: str) -> None:
        def ready() -> bool:
            found = call.client("lambda").get_function_configuration(FunctionName=name)
            states = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
            if "Failed" in states:
                reason = found.get("LastUpdateStatusReason") or found.get("StateReason") or "no reason is given"
                raise ResourceFailed(f"The function {name} is {states[0]}, its last update {states[1]}: {reason}")
            return states == ("Active", "Successful")

        call.until(ready, f"the function {name} is Active")


class Permission(ResourceType):
    name = "AWS::Lambda::Permission"
    attributes = frozenset({"Id"})
    honours = frozenset({*_PERMISSION, "FunctionName"})

    def create(self, call: Call, properties: Properties) -> str:
        statement = call.new_name(100)
        call.client("lambda").add_permission(
            FunctionName=properties["FunctionName"], StatementId=statement, **pick(properties, *_PERMISSION)
        )
        return statement

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        raise AssertionError("every property of a permission is one whose change makes a new one")

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("lambda").remove_permission(FunctionName=properties["FunctionName"], StatementId=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {"Id": physical_id}


class EventSourceMapping(ResourceType):
    name = "AWS::Lambda::EventSourceMapping"
    attributes = frozenset({"EventSourceMappingArn", "Id"})
    honours = frozenset({*_MAPPING, *_STARTING, "BatchSize", "Enabled", "EventSourceArn", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        answer = call.client("lambda").create_event_source_mapping(
            **pick(properties, *_MAPPING, *_STARTING, "BatchSize", "Enabled", "EventSourceArn"),
            **({"Tags": dict(call.tags)} if call.tags else {}),
        )
        return str(answer["UUID"])

    def finish(self, call: Call, physical_id: str, properties: Properties) -> None:
        self._wait(call, physical_id)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        source = after["EventSourceArn"].split(":")[2]
        defaults = {**_MAPPING, "BatchSize": _BATCH_SIZES.get(source), "Enabled": True}
        if changed(before, after, *defaults):
            reset = {name: value for name, value in defaults.items() if name in before and value is not None}
            call.client("lambda").update_event_source_mapping(UUID=physical_id, **reset | pick(after, *defaults))
            self._wait(call, physical_id)
        _retag(call, call.arn("lambda", f"event-source-mapping:{physical_id}"))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        functions = call.client("lambda")
        functions.delete_event_source_mapping(UUID=physical_id)
        call.until(
            lambda: not exists(lambda: functions.get_event_source_mapping(UUID=physical_id)),
            f"the event source mapping {physical_id} is deleted",
        )

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {
            "EventSourceMappingArn": call.arn("lambda", f"event-source-mapping:{physical_id}"),
            "Id": physical_id,
        }

    def _wait(self, call: Call, uuid: str) -> None:
        def settled() -> bool:
            return call.client("lambda").get_event_source_mapping(UUID=uuid)["State"] in ("Enabled", "Disabled")

        call.until(settled, f"the event source mapping {uuid} is Enabled or Disabled")


class EventInvokeConfig(ResourceType):
    name = "AWS::Lambda::EventInvokeConfig"
    honours = frozenset(_INVOKE_CONFIG)

    def create(self, call: Call, properties: Properties) -> str:
        functions = call.client("lambda")
        function = pick(properties, "FunctionName", "Qualifier")
        if self._exists(functions, function):
            refuse_existing(self.name, f"{function['FunctionName']}|{function['Qualifier']}")
        functions.put_function_event_invoke_config(**pick(properties, *_INVOKE_CONFIG))
        return call.new_name(128)

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        call.client("lambda").put_function_event_invoke_config(**pick(after, *_INVOKE_CONFIG))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("lambda").delete_function_event_invoke_config(**pick(properties, "FunctionName", "Qualifier"))

    def _exists(self, functions: Any, function: dict[str, Any]) -> bool:
        # That the function itself is missing, Put says.
        try:
            functions.get_function_event_invoke_config(**function)
        except ClientError as error:
            if is_missing(error):
                return False
            raise
        return True


def _code(properties: Properties) -> dict[str, Any]:
    code = properties["Code"]
    if "ZipFile" not in code:
        return pick(code, *_CODE)
    if not str(properties.get("Runtime", "")).startswith("python"):
        raise ResourceFailed(
            f"Code.ZipFile holds Python here: the Runtime must be a python one; got {properties.get('Runtime')!r}"
        )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        entry = zipfile.ZipInfo("index.py", _ZIP_TIME)
        entry.external_attr = _READABLE
        written.writestr(entry, code["ZipFile"])
    return {"ZipFile": archive.getvalue()}


def _retag(call: Call, arn: str) -> None:
    call.retag(
        lambda tags: call.client("lambda").tag_resource(Resource=arn, Tags=tags),
        lambda keys: call.client("lambda").untag_resource(Resource=arn, TagKeys=keys),
    )


TYPES = (Function(), Permission(), EventSourceMapping(), EventInvokeConfig())
