"""What a call has under the condition keys: read from the request when a policy asks for it.

localcloud speaks plain HTTP on the loopback address, where nobody else listens; it stands for TLS, so that
`aws:SecureTransport` is true.

Source: "AWS global condition context keys" in the IAM User Guide, and "Actions, resources, and condition keys for AWS
services" in the Service Authorization Reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from localcloud.iam import passing
from localcloud.iam.policy import Actor

Params = Mapping[str, Any]
Found = Mapping[str, Sequence[str]]
"""Keys in lower case."""

_NUMBERED = re.compile(r"(?P<list>[A-Za-z]+)\.(?:member\.|entry\.)?(?P<number>\d+)\.(?P<member>\w+)")


@dataclass(frozen=True)
class Asked:
    """A call, as far as conditions ask for it."""

    service: str
    """As in an action: `s3`."""
    operation: str
    params: Params = field(default_factory=dict)
    """By the names of botocore's model; of a query request its fields."""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    client: str = "127.0.0.1"


Beyond = Callable[["CallFacts", str], Sequence[str] | None]
"""What conditions ask beyond the request: given the call and a key, as the policy spells it, its values."""


@dataclass
class CallFacts:
    """The keys of one action on one resource within a call. Called with a key, it gives the values, or None."""

    asked: Asked
    action: str
    resource: str
    actor: Actor
    principal_tags: Mapping[str, str]
    region: str
    account_id: str
    now: Callable[[], datetime]
    beyond: Beyond
    given: Found = field(default_factory=dict)
    """What is known of the call from elsewhere; it wins."""
    _of_service: Found | None = None

    def __call__(self, key: str) -> Sequence[str] | None:
        lower = key.lower()
        if lower in self.given:
            return self.given[lower]
        if lower.startswith("aws:"):
            return self._global(lower.removeprefix("aws:"), key)
        prefix = lower.partition(":")[0]
        if prefix in _MEMBERS:
            value = self.asked.params.get(_MEMBERS[prefix].get(lower, ""))
            if value is not None:
                return texts(value)
        found = self._found().get(lower)
        if found is not None:
            return found
        return self.beyond(self, key)

    def _found(self) -> Found:
        if self._of_service is None:
            reader = _READERS.get(self.action)
            if reader is None:
                reader = _READERS.get(self.action.partition(":")[0])
            found = reader(self.asked) if reader is not None else {}
            self._of_service = {key.lower(): values for key, values in found.items()}
        return self._of_service

    def _global(self, name: str, key: str) -> Sequence[str] | None:
        if name.startswith("principaltag/"):
            found = self.principal_tags.get(key.partition("/")[2])
            return None if found is None else [found]
        if name.startswith("requesttag/"):
            found = tags_of(self.asked.params).get(key.partition("/")[2])
            return None if found is None else [found]
        if name.startswith("resourcetag/"):
            return self.beyond(self, key)
        if name == "tagkeys":
            return sorted({*tags_of(self.asked.params), *_tag_keys(self.asked.params)})
        reader = _GLOBAL.get(name)
        return reader(self) if reader is not None else None


def _principal_arn(facts: CallFacts) -> Sequence[str] | None:
    names = [name for name in facts.actor.names if name.startswith("arn:aws:iam:")]
    return names or None


_GLOBAL: Mapping[str, Callable[[CallFacts], Sequence[str] | None]] = {
    "currenttime": lambda facts: [facts.now().isoformat()],
    "epochtime": lambda facts: [str(int(facts.now().timestamp()))],
    "principalaccount": lambda facts: [facts.account_id] if facts.actor.kind == "AWS" else None,
    "principalarn": _principal_arn,
    "principalisawsservice": lambda facts: ["true" if facts.actor.kind == "Service" else "false"],
    "principalservicename": lambda facts: sorted(facts.actor.names) if facts.actor.kind == "Service" else None,
    "principaltype": lambda facts: (
        ["AssumedRole" if any(":role/" in name for name in facts.actor.names) else "Account"]
        if facts.actor.kind == "AWS"
        else None
    ),
    "requestedregion": lambda facts: [facts.region],
    "resourceaccount": lambda facts: (
        [facts.resource.split(":")[4] or facts.account_id] if facts.resource.count(":") >= 5 else [facts.account_id]
    ),
    "securetransport": lambda facts: ["true"],
    "sourceip": lambda facts: [facts.asked.client],
    "useragent": lambda facts: [facts.asked.headers.get("user-agent", "")],
    "viaawsservice": lambda facts: ["false"],
}


def tags_of(params: Params) -> dict[str, str]:
    """The tags that a request gives, in whichever of AWS's many forms."""
    for name in ("Tags", "tags", "TagList", "ResourceTags", "TagSpecifications"):
        given = params.get(name)
        if isinstance(given, Mapping):
            return {str(key): str(value) for key, value in given.items()}
        if isinstance(given, list):
            return dict(_tag(one) for one in given if isinstance(one, Mapping))
    numbered = list(_numbered(params, "Tags", "Tag"))
    return dict(_tag(one) for one in numbered)


def _tag(one: Mapping[str, Any]) -> tuple[str, str]:
    key = next((one[name] for name in ("Key", "key", "TagKey") if name in one), "")
    value = next((one[name] for name in ("Value", "value", "TagValue") if name in one), "")
    return str(key), str(value)


def _numbered(params: Params, *lists: str) -> Iterator[dict[str, str]]:
    """The members of a query request's lists: `Tags.member.1.Key`."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in params.items():
        match = _NUMBERED.fullmatch(name)
        if match is not None and match["list"] in lists:
            found.setdefault((match["list"], match["number"]), {})[match["member"]] = str(value)
    yield from found.values()


def _tag_keys(params: Params) -> list[str]:
    for name in ("TagKeys", "tagKeys", "TagKeyList"):
        if isinstance(params.get(name), list):
            return [str(one) for one in params[name]]
    return [str(value) for name, value in params.items() if re.fullmatch(r"TagKeys\.member\.\d+", name)]


def texts(value: Any) -> list[str]:
    """A member's value as conditions compare it."""
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, list | tuple | set | frozenset):
        return [text for one in value for text in texts(one)]
    return [str(value)]


def _pass_role(asked: Asked) -> Found:
    service = passing.passed_to(asked.service, asked.operation)
    return {"iam:passedtoservice": [service]} if service else {}


def _iam(asked: Asked) -> Found:
    found: dict[str, Sequence[str]] = {}
    for key, member in (
        ("iam:permissionsboundary", "PermissionsBoundary"),
        ("iam:policyarn", "PolicyArn"),
        ("iam:awsservicename", "AWSServiceName"),
    ):
        if asked.params.get(member):
            found[key] = [str(asked.params[member])]
    return found


def _s3(asked: Asked) -> Found:
    fields = parse_qs(asked.query, keep_blank_values=True)
    found: dict[str, Sequence[str]] = {
        f"s3:{name}": fields[name][:1] for name in ("prefix", "delimiter", "max-keys") if name in fields
    }
    if "versionId" in fields:
        found["s3:versionid"] = fields["versionId"][:1]
    for name in (
        "x-amz-acl", "x-amz-copy-source", "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-storage-class",
    ):  # fmt: skip
        if name in asked.headers:
            found[f"s3:{name}"] = [asked.headers[name]]
    for name, values in parse_qs(asked.headers.get("x-amz-tagging", "")).items():
        found[f"s3:requestobjecttag/{name}"] = values[:1]
    found["s3:authtype"] = ["REST-QUERY-STRING" if "X-Amz-Credential" in fields else "REST-HEADER"]
    return found


def _events(asked: Asked) -> Found:
    found: dict[str, Sequence[str]] = {}
    entries = asked.params.get("Entries") or []
    if asked.operation == "PutEvents":
        found["events:source"] = [str(entry["Source"]) for entry in entries if "Source" in entry]
        found["events:detail-type"] = [str(entry["DetailType"]) for entry in entries if "DetailType" in entry]
    if asked.operation == "PutTargets":
        found["events:targetarn"] = [str(target["Arn"]) for target in asked.params.get("Targets") or []]
    if asked.operation == "PutRule" and asked.params.get("EventPattern"):
        pattern = _loaded(asked.params["EventPattern"])
        for key in ("source", "detail-type"):
            if isinstance(pattern.get(key), list):
                found[f"events:{key}"] = [one for one in pattern[key] if isinstance(one, str)]
    return found


def _loaded(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _kms(asked: Asked) -> Found:
    found: dict[str, Sequence[str]] = {}
    context = asked.params.get("EncryptionContext")
    if isinstance(context, Mapping):
        found = {f"kms:encryptioncontext:{key}": [str(value)] for key, value in context.items()}
        found["kms:encryptioncontextkeys"] = sorted(str(key) for key in context)
    named = str(asked.params.get("KeyId", "")).rpartition(":")[2]
    if named.startswith("alias/"):
        found = {**found, "kms:requestalias": [named]}
    return found


# Where in a request of SageMaker each of its keys is: the names of members, wherever they stand.
_SAGEMAKER: Mapping[str, tuple[str, ...]] = {
    "sagemaker:acceleratortypes": ("AcceleratorType",),
    "sagemaker:customermetadatapropertiestoremove": ("CustomerMetadataPropertiesToRemove",),
    "sagemaker:featuregroupdisablegluetablecreation": ("DisableGlueTableCreation",),
    "sagemaker:featuregroupenableonlinestore": ("EnableOnlineStore",),
    "sagemaker:featuregroupofflinestores3uri": ("ResolvedOutputS3Uri", "S3Uri"),
    "sagemaker:instancetypes": ("InstanceType", "InstanceTypes"),
    "sagemaker:intercontainertrafficencryption": ("EnableInterContainerTrafficEncryption",),
    "sagemaker:maxruntimeinseconds": ("MaxRuntimeInSeconds",),
    "sagemaker:modelapprovalstatus": ("ModelApprovalStatus",),
    "sagemaker:modelarn": ("ModelArn",),
    "sagemaker:networkisolation": ("EnableNetworkIsolation",),
    "sagemaker:outputkmskey": ("KmsKeyId",),
    "sagemaker:rootaccess": ("RootAccess",),
    "sagemaker:targetmodel": ("TargetModel",),
    "sagemaker:volumekmskey": ("VolumeKmsKeyId",),
    "sagemaker:vpcsecuritygroupids": ("SecurityGroupIds",),
    "sagemaker:vpcsubnets": ("Subnets",),
}


def _sagemaker(asked: Asked) -> Found:
    members: dict[str, list[str]] = {}
    _gather(asked.params, members)
    found = {
        key: [text for name in names for text in members.get(name, ())]
        for key, names in _SAGEMAKER.items()
        if any(name in members for name in names)
    }
    if asked.operation != "CreateFeatureGroup":
        found = {key: values for key, values in found.items() if not key.startswith("sagemaker:featuregroup")}
    return found


def _gather(value: Any, members: dict[str, list[str]]) -> None:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if not isinstance(member, Mapping) and not (isinstance(member, list) and _holds_objects(member)):
                members.setdefault(str(name), []).extend(texts(member))
            _gather(member, members)
    elif isinstance(value, list):
        for one in value:
            _gather(one, members)


def _holds_objects(values: list[Any]) -> bool:
    return any(isinstance(one, Mapping) for one in values)


# Keys whose values are members of the request.
_MEMBERS: Mapping[str, Mapping[str, str]] = {
    "application-autoscaling": {
        "application-autoscaling:scalable-dimension": "ScalableDimension",
        "application-autoscaling:service-namespace": "ServiceNamespace",
    },
    "cloudformation": {
        "cloudformation:changesetname": "ChangeSetName",
        "cloudformation:resourcetypes": "ResourceTypes",
        "cloudformation:rolearn": "RoleARN",
        "cloudformation:templateurl": "TemplateURL",
    },
    "cloudwatch": {"cloudwatch:alarmactions": "AlarmActions", "cloudwatch:namespace": "Namespace"},
    "lambda": {
        "lambda:eventsourcetoken": "EventSourceToken",
        "lambda:layer": "Layers",
        "lambda:principal": "Principal",
    },
    "sns": {"sns:endpoint": "Endpoint", "sns:protocol": "Protocol"},
    "ssm": {"ssm:overwrite": "Overwrite", "ssm:recursive": "Recursive"},
    "sts": {"sts:externalid": "ExternalId", "sts:rolesessionname": "RoleSessionName"},
}
_READERS: Mapping[str, Callable[[Asked], Found]] = {
    "iam:PassRole": _pass_role,
    "events": _events,
    "iam": _iam,
    "kms": _kms,
    "s3": _s3,
    "sagemaker": _sagemaker,
}
