"""User pools: made, described, changed and deleted, with their tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.cognito.errors import Settings, invalid, missing, page, refuse
from localcloud.cognito.keys import KIND as KEY
from localcloud.cognito.keys import Keys
from localcloud.cognito.names import new_pool_id
from localcloud.context import Context, Request

POOL, DOMAIN, SERVER = "cognito/pool", "cognito/domain", "cognito/resource-server"
CLIENT, USER, ATTEMPTS, SESSION = "cognito/client", "cognito/user", "cognito/attempts", "cognito/session"
CHALLENGE = "cognito/challenge"
PLACE = "cognito/client-pool"
"""The pool of each client, by the client's id: operations that users call name the client alone."""
_OF_POOL = (SERVER, CLIENT, USER, ATTEMPTS, SESSION)
Document = dict[str, Any]

_NOT_HERE: Settings = {
    "Policies.SignInPolicy.AllowedFirstAuthFactors": (["PASSWORD"],),
    "Policies.PasswordPolicy.PasswordHistorySize": (0,),
    "LambdaConfig": ({},),
    "AutoVerifiedAttributes": ([],),
    "AliasAttributes": ([],),
    "UsernameAttributes": ([],),
    "SmsVerificationMessage": (),
    "EmailVerificationMessage": (),
    "EmailVerificationSubject": (),
    "VerificationMessageTemplate": ({}, {"DefaultEmailOption": "CONFIRM_WITH_CODE"}),
    "SmsAuthenticationMessage": (),
    "MfaConfiguration": ("OFF",),
    "UserAttributeUpdateSettings": ({}, {"AttributesRequireVerificationBeforeUpdate": []}),
    "DeviceConfiguration": ({},),
    "EmailConfiguration": ({}, {"EmailSendingAccount": "COGNITO_DEFAULT"}),
    "SmsConfiguration": ({},),
    "AdminCreateUserConfig.InviteMessageTemplate": ({},),
    "Schema": ([],),
    "UserPoolAddOns.AdvancedSecurityMode": ("OFF",),
    "UserPoolAddOns.AdvancedSecurityAdditionalFlows": ({},),
    "AccountRecoverySetting": ({}, {"RecoveryMechanisms": [{"Name": "admin_only", "Priority": 1}]}),
    "UserPoolTier": ("LITE", "ESSENTIALS"),
    "KeyConfiguration": ({}, {"KeyType": "AWS_OWNED_KEY"}),
    "IssuerConfiguration": ({}, {"Type": "ORIGINAL"}),
    "AcrConfiguration": ({},),
}
_KEPT = ("DeletionProtection", "AccountRecoverySetting", "UserPoolAddOns", "UserPoolTier", "EmailConfiguration")
_LONGEST_TEMPORARY_DAYS = 7
_DEFAULT_POLICY = {
    "MinimumLength": 8,
    "RequireUppercase": True,
    "RequireLowercase": True,
    "RequireNumbers": True,
    "RequireSymbols": True,
}
_LENIENT_POLICY = {"MinimumLength": 8, **{name: False for name in _DEFAULT_POLICY if name != "MinimumLength"}}


class Pools:
    """The operations on user pools."""

    def __init__(self, context: Context, keys: Keys) -> None:
        self._context, self._keys = context, keys
        self._on_delete: list[Callable[[], None]] = []

    def on_delete(self, action: Callable[[], None]) -> None:
        """Call this when a pool is gone."""
        self._on_delete.append(action)

    def arn(self, pool_id: str) -> str:
        """The ARN of the pool with that id, whether there is one or not."""
        return f"arn:aws:cognito-idp:{self._context.region}:{self._context.account_id}:userpool/{pool_id}"

    def named(self, pool_id: str) -> Document:
        """The stored document of a pool. Raises ResourceNotFoundException."""
        document = self._context.store.get(POOL, pool_id)
        if document is None:
            raise _missing(pool_id)
        return document

    def create(self, request: Request) -> dict[str, Any]:
        """CreateUserPool: with a key of its own."""
        params = request.params
        refuse("user pools", params, _NOT_HERE)
        now, pool_id = self._context.clock.now(), new_pool_id(self._context.region)
        document: Document = {
            **_settings(params),
            "Id": pool_id,
            "Name": params["PoolName"],
            "Arn": self.arn(pool_id),
            "UsernameConfiguration": params.get("UsernameConfiguration") or {"CaseSensitive": False},
            "UserPoolTags": params.get("UserPoolTags", {}),
            "CreationDate": now,
            "LastModifiedDate": now,
        }
        # Its key first: to make one takes a while, and a pool without one must never be seen.
        self._keys.create(pool_id)
        self._context.store.put(POOL, pool_id, document)
        return {"UserPool": self._described(document)}

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeUserPool."""
        return {"UserPool": self._described(self.named(request.params["UserPoolId"]))}

    def update(self, request: Request) -> dict[str, Any]:
        """UpdateUserPool: what is not named goes back to what it is by default, as on AWS."""
        params = request.params
        refuse("user pools", params, _NOT_HERE)

        def changed(document: Document) -> Document:
            lasting = ("Id", "Name", "Arn", "UsernameConfiguration", "UserPoolTags", "CreationDate")
            return {
                **_settings(params),
                **{member: document[member] for member in lasting},
                **({"Name": params["PoolName"]} if "PoolName" in params else {}),
                **({"UserPoolTags": params["UserPoolTags"]} if "UserPoolTags" in params else {}),
                "LastModifiedDate": self._context.clock.now(),
            }

        self._change(params["UserPoolId"], changed)
        return {}

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteUserPool: with its users and clients. Not one with a domain, or one that is protected."""
        pool_id = request.params["UserPoolId"]
        with self._context.store.transaction():
            document = self.named(pool_id)
            if document["DeletionProtection"] == "ACTIVE":
                raise invalid(
                    "The user pool cannot be deleted because deletion protection is activated. Deletion protection"
                    " must be inactivated first."
                )
            if self.domain(pool_id) is not None:
                raise invalid("User pool cannot be deleted. It has a domain configured that should be deleted first.")
            for kind in _OF_POOL:
                for key, _ in self._context.store.list(kind, f"{pool_id}/"):
                    self._context.store.delete(kind, key)
            for client_id, place in self._context.store.list(PLACE):
                if place["UserPoolId"] == pool_id:
                    self._context.store.delete(PLACE, client_id)
            self._context.store.delete(KEY, pool_id)
            self._context.store.delete(POOL, pool_id)
        self._keys.forget(pool_id)
        for action in self._on_delete:
            action()
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        """ListUserPools."""
        params = request.params
        documents = [document for _, document in self._context.store.list(POOL)]
        found, token = page("ListUserPools", documents, params["MaxResults"], params.get("NextToken"), "Id")
        members = ("Id", "Name", "LastModifiedDate", "CreationDate")
        pools = [{"LambdaConfig": {}, **{member: one[member] for member in members}} for one in found]
        return {"UserPools": pools, "NextToken": token}

    def domain(self, pool_id: str) -> str | None:
        """The prefix of a pool's domain, if it has one."""
        documents = (document for _, document in self._context.store.list(DOMAIN))
        return next((one["Domain"] for one in documents if one["UserPoolId"] == pool_id), None)

    # Tags.

    def tag(self, request: Request) -> dict[str, Any]:
        """TagResource: a tag with a known key gets the new value."""
        self._retag(request, lambda tags: {**tags, **request.params["Tags"]})
        return {}

    def untag(self, request: Request) -> dict[str, Any]:
        """UntagResource: keys that are not there are no error."""
        gone = request.params["TagKeys"]
        self._retag(request, lambda tags: {key: value for key, value in tags.items() if key not in gone})
        return {}

    def tags(self, request: Request) -> dict[str, Any]:
        """ListTagsForResource."""
        return {"Tags": self.named(self._id(request.params["ResourceArn"]))["UserPoolTags"]}

    def _retag(self, request: Request, function: Callable[[dict[str, str]], dict[str, str]]) -> None:
        pool_id = self._id(request.params["ResourceArn"])
        self._change(pool_id, lambda document: {**document, "UserPoolTags": function(document["UserPoolTags"])})

    def id_of(self, arn: str) -> str | None:
        """The id in the ARN of a pool of this account and region; None for any other ARN."""
        pool_id = arn.rpartition("/")[2]
        return pool_id if arn == self.arn(pool_id) else None

    def _id(self, arn: str) -> str:
        pool_id = self.id_of(arn)
        if pool_id is None:
            raise missing(f"Resource {arn} does not exist.")
        return pool_id

    def _change(self, pool_id: str, function: Callable[[Document], Document]) -> None:
        try:
            self._context.store.update(POOL, pool_id, function)
        except KeyError:
            raise _missing(pool_id) from None

    def _described(self, document: Document) -> dict[str, Any]:
        users = len(self._context.store.list(USER, f"{document['Id']}/", ("Username",)))
        return {
            **document,
            "LambdaConfig": {},
            "MfaConfiguration": "OFF",
            "EstimatedNumberOfUsers": users,
            "Domain": self.domain(document["Id"]),
        }


def _settings(params: Mapping[str, Any]) -> Document:
    return {
        "DeletionProtection": "INACTIVE",
        "UserPoolTier": "ESSENTIALS",
        **{member: params[member] for member in _KEPT if member in params},
        **_user_settings(params),
    }


def _user_settings(params: Mapping[str, Any]) -> Document:
    given = params.get("Policies", {}).get("PasswordPolicy")
    policy = dict(_DEFAULT_POLICY) if not given else {**_LENIENT_POLICY, **given}
    creation = params.get("AdminCreateUserConfig", {})
    days, unused = policy.get("TemporaryPasswordValidityDays"), creation.get("UnusedAccountValidityDays")
    if days is not None and unused is not None and days != unused:
        raise invalid(
            "Please use TemporaryPasswordValidityDays in PasswordPolicy instead of UnusedAccountValidityDays; got"
            f" {days} and {unused}"
        )
    valid = next((value for value in (days, unused) if value is not None), _LONGEST_TEMPORARY_DAYS)
    return {
        "Policies": {
            "PasswordPolicy": {**policy, "TemporaryPasswordValidityDays": valid},
            "SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD"]},
        },
        "AdminCreateUserConfig": {
            "AllowAdminCreateUserOnly": creation.get("AllowAdminCreateUserOnly", False),
            "UnusedAccountValidityDays": valid,
        },
    }


def _missing(pool_id: str) -> Exception:
    return missing(f"User pool {pool_id} does not exist.")
