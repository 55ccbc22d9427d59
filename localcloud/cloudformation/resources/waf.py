"""AWS::WAFv2::WebACL and AWS::WAFv2::WebACLAssociation."""

from __future__ import annotations

import base64
from typing import Any

from botocore.exceptions import ClientError

from localcloud.cloudformation.resources.kind import (
    Call,
    Properties,
    ResourceType,
    changed,
    code_of,
    pick,
    tag_list,
)

_DECLARED = ("CustomResponseBodies", "DefaultAction", "Description", "Rules", "VisibilityConfig")
_NONEXISTENT = "WAFNonexistentItemException"
_UNAVAILABLE = "WAFUnavailableEntityException"


class WebAcl(ResourceType):
    """Its physical id is `name|id|scope`."""

    name = "AWS::WAFv2::WebACL"
    name_property = "Name"
    attributes = frozenset({"Arn", "Capacity", "Id", "LabelNamespace"})
    changing = frozenset({"Capacity"})
    # The service refuses by name what a rule has that it has not.
    honours = frozenset({*_DECLARED, "Name", "Scope", "Tags"})

    def create(self, call: Call, properties: Properties) -> str:
        name = properties.get("Name") or call.new_name(128)
        made = call.client("wafv2").create_web_acl(
            Name=name,
            Scope=properties["Scope"],
            **_declared(properties),
            **({"Tags": tag_list(call.tags)} if call.tags else {}),
        )
        return f"{name}|{made['Summary']['Id']}|{properties['Scope']}"

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        waf, named = call.client("wafv2"), _named(physical_id)
        found = waf.get_web_acl(**named)
        if changed(before, after, *_DECLARED):
            waf.update_web_acl(**named, LockToken=found["LockToken"], **_declared(after))
        arn = found["WebACL"]["ARN"]
        call.retag(
            lambda tags: waf.tag_resource(ResourceARN=arn, Tags=tag_list(tags)),
            lambda keys: waf.untag_resource(ResourceARN=arn, TagKeys=keys),
        )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        waf, named = call.client("wafv2"), _named(physical_id)
        try:
            waf.delete_web_acl(**named, LockToken=waf.get_web_acl(**named)["LockToken"])
        except ClientError as error:
            if code_of(error) != _NONEXISTENT:
                raise

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        found = call.client("wafv2").get_web_acl(**_named(physical_id))["WebACL"]
        return {"Arn": found["ARN"], **pick(found, "Capacity", "Id", "LabelNamespace")}


class WebAclAssociation(ResourceType):
    """Its physical id is `resource ARN|web ACL ARN`. Both ask for a new one when they change."""

    name = "AWS::WAFv2::WebACLAssociation"
    honours = frozenset({"ResourceArn", "WebACLArn"})

    def create(self, call: Call, properties: Properties) -> str:
        resource, acl = properties["ResourceArn"], properties["WebACLArn"]
        call.client("wafv2").associate_web_acl(ResourceArn=resource, WebACLArn=acl)
        return f"{resource}|{acl}"

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        """Nothing can be changed in place."""

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        waf = call.client("wafv2")
        resource, _, acl = physical_id.partition("|")
        try:
            found = waf.get_web_acl_for_resource(ResourceArn=resource)
        except ClientError as error:
            if code_of(error) in (_NONEXISTENT, _UNAVAILABLE):
                return
            raise
        # A new association of the same resource has taken the place of this one already.
        if found.get("WebACL", {}).get("ARN") == acl:
            waf.disassociate_web_acl(ResourceArn=resource)


def _declared(properties: Properties) -> dict[str, Any]:
    found: dict[str, Any] = _with_search_strings(pick(properties, *_DECLARED))
    return found


def _with_search_strings(value: Any) -> Any:
    """The same, with what a template gives as SearchStringBase64 as the SearchString that the service takes."""
    if isinstance(value, list):
        return [_with_search_strings(item) for item in value]
    if not isinstance(value, dict):
        return value
    members = {name: _with_search_strings(item) for name, item in value.items()}
    if "SearchStringBase64" in members:
        members["SearchString"] = base64.b64decode(members.pop("SearchStringBase64"))
    return members


def _named(physical_id: str) -> dict[str, str]:
    name, identifier, scope = physical_id.split("|")
    return {"Name": name, "Id": identifier, "Scope": scope}


TYPES = (WebAcl(), WebAclAssociation())
