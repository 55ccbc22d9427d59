"""AWS::Cognito::UserPool, ::UserPoolClient, ::UserPoolDomain and ::UserPoolResourceServer."""

from __future__ import annotations

from typing import Any

from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, changed, pick
from localcloud.web import PREFIX

# What has no effect here the service refuses, by value; these are the properties that it is given.
_POOL = (
    "AccountRecoverySetting", "AdminCreateUserConfig", "DeletionProtection", "EmailConfiguration",
    "IssuerConfiguration", "KeyConfiguration", "MfaConfiguration", "Policies", "UserPoolAddOns", "UserPoolTier",
)  # fmt: skip
_CLIENT = (
    "AccessTokenValidity", "AllowedOAuthFlows", "AllowedOAuthFlowsUserPoolClient", "AllowedOAuthScopes",
    "AuthSessionValidity", "EnableTokenRevocation", "ExplicitAuthFlows", "IdTokenValidity",
    "PreventUserExistenceErrors", "RefreshTokenRotation", "RefreshTokenValidity", "SupportedIdentityProviders",
    "TokenValidityUnits",
)  # fmt: skip
_SERVER = ("UserPoolId", "Identifier", "Name", "Scopes")


class UserPool(ResourceType):
    name = "AWS::Cognito::UserPool"
    tags_property = "UserPoolTags"
    attributes = frozenset({"Arn", "ProviderName", "ProviderURL", "UserPoolId"})
    honours = frozenset({*_POOL, "UserPoolName", "UserPoolTags", "UsernameConfiguration"})
    # Whether names differ by case is settled with the first user; Cognito has no call that changes it.
    replaced_by = frozenset({"UsernameConfiguration"})

    def create(self, call: Call, properties: Properties) -> str:
        made = call.client("cognito-idp").create_user_pool(
            PoolName=properties.get("UserPoolName") or call.new_name(128),
            UserPoolTags=dict(call.tags),
            **pick(properties, *_POOL, "UsernameConfiguration"),
        )
        return str(made["UserPool"]["Id"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        if not changed(before, after, *_POOL, "UserPoolName") and call.tags == call.tags_before:
            return
        # What is not named goes back to its default; the tags would stay.
        settings = {"UserPoolTags": dict(call.tags), **pick(after, *_POOL)}
        if "UserPoolName" in after:
            settings["PoolName"] = after["UserPoolName"]
        call.client("cognito-idp").update_user_pool(UserPoolId=physical_id, **settings)

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("cognito-idp").delete_user_pool(UserPoolId=physical_id)

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        return {
            "Arn": call.arn("cognito-idp", f"userpool/{physical_id}"),
            "ProviderName": f"cognito-idp.{call.region}.amazonaws.com/{physical_id}",
            "ProviderURL": f"{call.endpoint_url}{PREFIX}cognito-idp/{physical_id}",
            "UserPoolId": physical_id,
        }


class UserPoolClient(ResourceType):
    """Of a client without a secret, the attribute of that name is empty."""

    name = "AWS::Cognito::UserPoolClient"
    attributes = frozenset({"ClientId", "ClientSecret", "Name"})
    honours = frozenset({*_CLIENT, "ClientName", "GenerateSecret", "UserPoolId"})
    changing = frozenset({"Name"})

    def create(self, call: Call, properties: Properties) -> str:
        made = call.client("cognito-idp").create_user_pool_client(
            ClientName=properties.get("ClientName") or call.new_name(128),
            **pick(properties, *_CLIENT, "GenerateSecret", "UserPoolId"),
        )
        return str(made["UserPoolClient"]["ClientId"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        # What is not named goes back to its default.
        if changed(before, after, *_CLIENT, "ClientName"):
            call.client("cognito-idp").update_user_pool_client(
                ClientId=physical_id, **pick(after, *_CLIENT, "ClientName", "UserPoolId")
            )

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("cognito-idp").delete_user_pool_client(ClientId=physical_id, **pick(properties, "UserPoolId"))

    def values(self, call: Call, physical_id: str, properties: Properties) -> dict[str, Any]:
        found = call.client("cognito-idp").describe_user_pool_client(
            ClientId=physical_id, **pick(properties, "UserPoolId")
        )["UserPoolClient"]
        return {
            "ClientId": physical_id,
            "ClientSecret": found.get("ClientSecret", ""),
            "Name": found["ClientName"],
        }


class UserPoolDomain(ResourceType):
    name = "AWS::Cognito::UserPoolDomain"
    name_property = "Domain"
    honours = frozenset({"Domain", "UserPoolId"})

    def create(self, call: Call, properties: Properties) -> str:
        call.client("cognito-idp").create_user_pool_domain(**pick(properties, "Domain", "UserPoolId"))
        return str(properties["Domain"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        """Nothing of it can be changed in place."""

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        cognito = call.client("cognito-idp")
        # Of a domain that is not there, or is another pool's, Delete says that the request is not valid.
        found = cognito.describe_user_pool_domain(Domain=physical_id)["DomainDescription"]
        if found.get("UserPoolId") == properties["UserPoolId"]:
            cognito.delete_user_pool_domain(Domain=physical_id, **pick(properties, "UserPoolId"))


class UserPoolResourceServer(ResourceType):
    name = "AWS::Cognito::UserPoolResourceServer"
    name_property = "Identifier"
    honours = frozenset(_SERVER)

    def create(self, call: Call, properties: Properties) -> str:
        call.client("cognito-idp").create_resource_server(**pick(properties, *_SERVER))
        return str(properties["Identifier"])

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        if changed(before, after, *_SERVER):
            call.client("cognito-idp").update_resource_server(**pick(after, *_SERVER))

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        call.client("cognito-idp").delete_resource_server(Identifier=physical_id, **pick(properties, "UserPoolId"))


TYPES = (UserPool(), UserPoolClient(), UserPoolDomain(), UserPoolResourceServer())
