"""Web ACLs as they are kept, and the stages that they are associated with."""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.context import Context, Request
from localcloud.protocols import models
from localcloud.sagemaker.crud import paginate
from localcloud.waf import errors
from localcloud.waf.conditions import Statement
from localcloud.waf.rates import Rate
from localcloud.waf.rules import Acl, read_acl, read_rules

_LOG = logging.getLogger(__name__)

ACL, ASSOCIATION = "wafv2/web-acl", "wafv2/association"
Document = dict[str, Any]
_DECLARED = ("CustomResponseBodies", "DefaultAction", "Description", "Rules", "VisibilityConfig")
"""What an update replaces altogether."""
_NOT_HERE = (
    "ApplicationConfig", "AssociationConfig", "CaptchaConfig", "ChallengeConfig", "DataProtectionConfig",
    "MonetizationConfig", "OnSourceDDoSProtectionConfig", "TokenDomains",
)  # fmt: skip
_API_GATEWAY = "API_GATEWAY"
_LOAD_BALANCER = "APPLICATION_LOAD_BALANCER"
_PAGE = 100


class Acls:
    """The operations. All methods may be called from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._stage_exists: Callable[[str, str], bool] = lambda api_id, stage: False
        self._lock = threading.Lock()
        self._read: dict[str, tuple[str, Acl]] = {}
        self._rates: dict[tuple[str, str], tuple[str, Rate]] = {}
        # Replaced as a whole: it is looked into with every request, and never waited for.
        self._active: Mapping[str, Acl] = {}
        self._stage_arn = re.compile(rf"arn:aws:apigateway:{context.region}::/restapis/([^/]+)/stages/([^/]+)")

    def of(self, resource_arn: str) -> Acl | None:
        """The web ACL that a resource is associated with."""
        return self._active.get(resource_arn)

    def connect(self, stage_exists: Callable[[str, str], bool]) -> None:
        """Say who knows, by the id of an API and the name of a stage, which stages there are."""
        self._stage_exists = stage_exists

    def release(self, resource_arn: str) -> None:
        """A resource goes, within a transaction of the caller's. `load` follows when that is committed."""
        self._context.store.delete(ASSOCIATION, resource_arn)

    def load(self) -> None:
        """Take up what the store has; after every change, when it is committed."""
        with self._lock:
            with self._context.store.transaction():
                documents = dict(self._context.store.list(ACL))
                associations = self._context.store.list(ASSOCIATION)
            for identifier in self._read.keys() - documents.keys():
                self._forget(identifier)
            found = {identifier: self._acl(document) for identifier, document in documents.items()}
            self._active = {arn: found[document["Id"]] for arn, document in associations}

    def _acl(self, document: Document) -> Acl:
        identifier, token = document["Id"], document["LockToken"]
        before = self._read.get(identifier)
        if before is not None and before[0] == token:
            return before[1]
        acl = read_acl(document, lambda *rule: self._rate(identifier, *rule))
        self._read[identifier] = (token, acl)
        _tell_not_evaluated(document["Name"], acl, before[1] if before is not None else None)
        return acl

    def _rate(self, identifier: str, rule: str, statement: Statement, limit: int, window_seconds: int) -> Rate:
        """The counts of a rule, which go on as long as its statement is the same."""
        text = json.dumps(statement, sort_keys=True, default=repr)
        found = self._rates.get((identifier, rule))
        if found is None or found[0] != text:
            found = self._rates[identifier, rule] = (text, Rate(limit, window_seconds))
        return found[1]

    def _forget(self, identifier: str) -> None:
        del self._read[identifier]
        for key in [key for key in self._rates if key[0] == identifier]:
            del self._rates[key]

    # Web ACLs.

    def create(self, request: Request) -> dict[str, Any]:
        """CreateWebACL."""
        params = request.params
        _check_scope(params["Scope"])
        acl = _checked(params)
        name, identifier = params["Name"], str(uuid.uuid4())
        document: Document = {
            **{member: params[member] for member in _DECLARED if member in params},
            "Name": name,
            "Id": identifier,
            "ARN": self._arn(name, identifier),
            "Capacity": acl.capacity,
            "LabelNamespace": f"awswaf:{self._context.account_id}:webacl:{name}:",
            "LockToken": str(uuid.uuid4()),
            "Tags": params.get("Tags", []),
        }
        with self._context.store.transaction():
            if any(one["Name"] == name for _, one in self._context.store.list(ACL, members=("Name",))):
                raise errors.duplicate(f"there is a web ACL {name}")
            self._context.store.put(ACL, identifier, document)
        self.load()
        return {"Summary": _projected(document, "WebACLSummary")}

    def get(self, request: Request) -> dict[str, Any]:
        """GetWebACL, by its ARN or by name, id and scope."""
        params = request.params
        if "ARN" in params:
            document = self._by_arn(params["ARN"])
        elif {"Name", "Id", "Scope"} <= params.keys():
            document = self._named(params)
        else:
            raise errors.invalid("A web ACL is asked for by its ARN, or by Name, Id and Scope.", "WEB_ACL", "ARN")
        return {"WebACL": _shown(document), "LockToken": document["LockToken"]}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateWebACL: what is not named is taken away."""
        params = request.params
        acl = _checked(params)
        token = str(uuid.uuid4())

        def changed(document: Document) -> Document:
            _check_token(document, params)
            kept = {member: value for member, value in document.items() if member not in _DECLARED}
            new = {member: params[member] for member in _DECLARED if member in params}
            return {**kept, **new, "Capacity": acl.capacity, "LockToken": token}

        with self._context.store.transaction():
            self._context.store.update(ACL, self._named(params)["Id"], changed)
        self.load()
        return {"NextLockToken": token}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteWebACL: one that no resource has."""
        with self._context.store.transaction():
            document = self._named(request.params)
            _check_token(document, request.params)
            if arns := self._resources(document["Id"]):
                raise errors.associated(arns)
            self._context.store.delete(ACL, document["Id"])
        self.load()
        return {}

    def list_acls(self, request: Request) -> dict[str, Any]:
        """ListWebACLs."""
        params = request.params
        _check_scope(params["Scope"])
        paging = {"MaxResults": params.get("Limit", _PAGE), "NextToken": params.get("NextMarker")}
        documents = [document for _, document in self._context.store.list(ACL)]
        page, token = paginate(request.operation, documents, paging, lambda document: str(document["Id"]))
        return {"WebACLs": [_projected(document, "WebACLSummary") for document in page], "NextMarker": token}

    def check_capacity(self, request: Request) -> dict[str, Any]:
        """CheckCapacity."""
        _check_scope(request.params["Scope"])
        return {"Capacity": sum(rule.capacity for rule in read_rules(request.params["Rules"], _new_rate))}

    # Associations.

    def associate(self, request: Request) -> dict[str, Any]:
        """AssociateWebACL: a resource has one web ACL, the last one that it was associated with."""
        arn = request.params["ResourceArn"]
        with self._context.store.transaction():
            self._check_resource(arn)
            document = self._by_arn(request.params["WebACLArn"])
            self._context.store.put(ASSOCIATION, arn, {"Id": document["Id"]})
        self.load()
        return {}

    def disassociate(self, request: Request) -> dict[str, Any]:
        """DisassociateWebACL: that a resource has none is no error."""
        arn = request.params["ResourceArn"]
        self._stage(arn)
        self._context.store.delete(ASSOCIATION, arn)
        self.load()
        return {}

    def get_for_resource(self, request: Request) -> dict[str, Any]:
        """GetWebACLForResource; without a web ACL if it has none."""
        arn = request.params["ResourceArn"]
        self._check_resource(arn)
        association = self._context.store.get(ASSOCIATION, arn)
        document = self._context.store.get(ACL, association["Id"]) if association is not None else None
        return {"WebACL": _shown(document) if document is not None else None}

    def list_resources(self, request: Request) -> dict[str, Any]:
        """ListResourcesForWebACL: load balancers, of which there are none, unless another type is asked for."""
        document = self._by_arn(request.params["WebACLArn"])
        kind = request.params.get("ResourceType", _LOAD_BALANCER)
        if kind != _API_GATEWAY:
            return {"ResourceArns": []}
        return {"ResourceArns": self._resources(document["Id"])}

    def _resources(self, identifier: str) -> list[str]:
        found = self._context.store.list(ASSOCIATION)
        return [arn for arn, document in found if document["Id"] == identifier]

    def _check_resource(self, arn: str) -> None:
        if not self._stage_exists(*self._stage(arn)):
            raise errors.unavailable(arn)

    def _stage(self, arn: str) -> tuple[str, str]:
        found = self._stage_arn.fullmatch(arn)
        if found is None:
            raise errors.invalid(
                "localcloud associates web ACLs with stages of REST APIs"
                f" (arn:aws:apigateway:{self._context.region}::/restapis/API/stages/STAGE).",
                "RESOURCE_ARN",
                arn,
            )
        return found[1], found[2]

    # Tags.

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource: a tag with a known key gets the new value."""
        given = {tag["Key"]: tag["Value"] for tag in request.params["Tags"]}
        self._retag(request.params["ResourceARN"], lambda tags: {**tags, **given})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource: keys that are not there are no error."""
        gone = request.params["TagKeys"]
        self._retag(request.params["ResourceARN"], lambda tags: {k: v for k, v in tags.items() if k not in gone})
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        params = request.params
        document = self._by_arn(params["ResourceARN"])
        paging = {"MaxResults": params.get("Limit", _PAGE), "NextToken": params.get("NextMarker")}
        page, token = paginate(request.operation, document["Tags"], paging, lambda tag: str(tag["Key"]))
        return {"TagInfoForResource": {"ResourceARN": document["ARN"], "TagList": page}, "NextMarker": token}

    def _retag(self, arn: str, function: Callable[[dict[str, str]], dict[str, str]]) -> None:
        def changed(document: Document) -> Document:
            tags = function({tag["Key"]: tag["Value"] for tag in document["Tags"]})
            return {**document, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

        with self._context.store.transaction():
            self._context.store.update(ACL, self._by_arn(arn)["Id"], changed)

    # What a request names.

    def _arn(self, name: str, identifier: str) -> str:
        account = f"{self._context.region}:{self._context.account_id}"
        return f"arn:aws:wafv2:{account}:regional/webacl/{name}/{identifier}"

    def _named(self, params: Mapping[str, Any]) -> Document:
        _check_scope(params["Scope"])
        document = self._context.store.get(ACL, params["Id"])
        if document is None or document["Name"] != params["Name"]:
            raise errors.nonexistent(f"the web ACL {params['Name']} with the id {params['Id']}")
        return document

    def _by_arn(self, arn: str) -> Document:
        document = self._context.store.get(ACL, arn.rpartition("/")[2])
        if document is None or document["ARN"] != arn:
            raise errors.nonexistent(arn)
        return document


def _checked(params: Mapping[str, Any]) -> Acl:
    for member in _NOT_HERE:
        if params.get(member):
            raise errors.lacking(member, "WEB_ACL", member)
    # It is read to see whether it is valid, and for its price; what it would count is thrown away.
    return read_acl(params, _new_rate)


def _new_rate(rule: str, statement: Statement, limit: int, window_seconds: int) -> Rate:
    return Rate(limit, window_seconds)


def _check_scope(scope: str) -> None:
    if scope != "REGIONAL":
        # What AWS answers everywhere but in us-east-1.
        raise errors.invalid("The scope is not valid.", "SCOPE_VALUE", scope)


def _check_token(document: Document, params: Mapping[str, Any]) -> None:
    if document["LockToken"] != params["LockToken"]:
        raise errors.locked()


def _projected(document: Document, shape: str) -> dict[str, Any]:
    known = models.service_model("wafv2").shape_for(shape).members
    return {member: value for member, value in document.items() if member in known}


def _shown(document: Document) -> dict[str, Any]:
    constant = {"ManagedByFirewallManager": False, "RetrofittedByFirewallManager": False}
    return {"Rules": [], **_projected(document, "WebACL"), **constant}


def _tell_not_evaluated(name: str, acl: Acl, before: Acl | None) -> None:
    """Say once of a web ACL which of its rules match nothing here."""
    found = _not_evaluated(acl)
    if found and (before is None or found != _not_evaluated(before)):
        _LOG.warning(
            "the web ACL %s has rules that match nothing here, since only AWS knows their patterns: %s",
            name,
            "; ".join(found),
        )


def _not_evaluated(acl: Acl) -> list[str]:
    return [f"{rule.group}: {', '.join(rule.not_evaluated)}" for rule in acl.rules if rule.not_evaluated]
