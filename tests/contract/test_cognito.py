"""Cognito user pools as their callers meet them: administrators with credentials, users and applications without."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import jwt
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.contract.conftest import Cloud, Running
from tests.contract.sagemaker_account import until

PASSWORD, NEW_PASSWORD = "Correct-horse-1", "Another-horse-2"
SCOPES = [{"ScopeName": name, "ScopeDescription": name} for name in ("predict", "feedback")]


class Pool:
    """A user pool with a domain, an application and a client of people."""

    def __init__(self, admin: Any, endpoint_url: str | None, region: str) -> None:
        self.admin, self.endpoint_url, self.region = admin, endpoint_url, region
        self.domain = f"people-{uuid.uuid4().hex[:12]}"
        self.id = admin.create_user_pool(
            PoolName=self.domain, AdminCreateUserConfig={"AllowAdminCreateUserOnly": True}
        )["UserPool"]["Id"]
        admin.create_resource_server(UserPoolId=self.id, Identifier="api", Name="api", Scopes=SCOPES)
        admin.create_user_pool_domain(UserPoolId=self.id, Domain=self.domain)
        self.application = admin.create_user_pool_client(
            UserPoolId=self.id,
            ClientName="application",
            GenerateSecret=True,
            AllowedOAuthFlows=["client_credentials"],
            AllowedOAuthFlowsUserPoolClient=True,
            AllowedOAuthScopes=["api/predict", "api/feedback"],
        )["UserPoolClient"]
        self.people = admin.create_user_pool_client(
            UserPoolId=self.id,
            ClientName="people",
            ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            PreventUserExistenceErrors="ENABLED",
        )["UserPoolClient"]

    def user(self, name: str) -> None:
        self.admin.admin_create_user(
            UserPoolId=self.id, Username=name, MessageAction="SUPPRESS", TemporaryPassword=PASSWORD
        )

    def anonymous(self) -> Any:
        """A client of somebody who has no credentials."""
        return boto3.client(
            "cognito-idp",
            region_name=self.region,
            endpoint_url=self.endpoint_url,
            config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
        )

    def sign_in(self, name: str, password: str = PASSWORD) -> dict[str, Any]:
        answer: dict[str, Any] = self.anonymous().initiate_auth(
            ClientId=self.people["ClientId"],
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": name, "PASSWORD": password},
        )
        return answer

    def refresh(self, token: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.anonymous().initiate_auth(
            ClientId=self.people["ClientId"],
            AuthFlow="REFRESH_TOKEN_AUTH",
            AuthParameters={"REFRESH_TOKEN": token},
        )["AuthenticationResult"]
        return answer

    @property
    def issuer(self) -> str:
        if self.endpoint_url is None:
            return f"https://cognito-idp.{self.region}.amazonaws.com/{self.id}"
        return f"{self.endpoint_url}/_aws/cognito-idp/{self.id}"

    @property
    def token_url(self) -> str:
        if self.endpoint_url is None:
            return f"https://{self.domain}.auth.{self.region}.amazoncognito.com/oauth2/token"
        return f"{self.endpoint_url}/_aws/auth/{self.domain}/oauth2/token"

    def ask(self, form: dict[str, str], secret: str | None = None) -> tuple[int, dict[str, Any]]:
        """A request of the application to the token endpoint."""
        name = f"{self.application['ClientId']}:{secret or self.application['ClientSecret']}"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": "Basic " + base64.b64encode(name.encode()).decode(),
        }
        request = urllib.request.Request(self.token_url, urlencode(form).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def checked(self, token: str, **options: Any) -> dict[str, Any]:
        """The claims of a token, checked as any resource server would: by the keys at the issuer's address."""
        found = jwt.PyJWKClient(f"{self.issuer}/.well-known/jwks.json").get_signing_key_from_jwt(token)
        # The tests let localcloud's time pass: it may be before this machine's.
        claims: dict[str, Any] = jwt.decode(
            token, found.key, algorithms=["RS256"], issuer=self.issuer, leeway=timedelta(days=400), **options
        )
        return claims

    def delete(self) -> None:
        self.admin.delete_user_pool_domain(UserPoolId=self.id, Domain=self.domain)
        self.admin.delete_user_pool(UserPoolId=self.id)


@pytest.fixture(scope="module")
def pool(cloud: Cloud) -> Iterator[Pool]:
    pool = Pool(cloud.client("cognito-idp"), cloud.endpoint_url, cloud.region)
    yield pool
    pool.delete()


def test_an_application_gets_a_token_that_anyone_can_check(pool: Pool) -> None:
    status, content = pool.ask({"grant_type": "client_credentials", "scope": "api/predict"})
    assert (status, content["token_type"], content["expires_in"]) == (200, "Bearer", 3600)
    claims = pool.checked(content["access_token"])
    assert claims["scope"] == "api/predict"
    assert claims["token_use"] == "access"
    assert claims["client_id"] == claims["sub"] == pool.application["ClientId"]
    assert claims["exp"] - claims["iat"] == 3600


def test_what_the_token_endpoint_refuses(pool: Pool) -> None:
    grant = {"grant_type": "client_credentials"}
    assert pool.ask(grant, secret="x" * 51) == (400, {"error": "invalid_client"})
    assert pool.ask({**grant, "scope": "api/everything"}) == (400, {"error": "invalid_scope"})
    assert pool.ask({"grant_type": "password"}) == (400, {"error": "unsupported_grant_type"})


def test_a_user_signs_in_without_credentials(pool: Pool) -> None:
    pool.user("ann")
    challenge = pool.sign_in("ann")
    assert challenge["ChallengeName"] == "NEW_PASSWORD_REQUIRED"
    tokens = pool.anonymous().respond_to_auth_challenge(
        ClientId=pool.people["ClientId"],
        ChallengeName="NEW_PASSWORD_REQUIRED",
        Session=challenge["Session"],
        ChallengeResponses={"USERNAME": "ann", "NEW_PASSWORD": NEW_PASSWORD},
    )["AuthenticationResult"]
    access = pool.checked(tokens["AccessToken"])
    identity = pool.checked(tokens["IdToken"], audience=pool.people["ClientId"])
    assert (access["username"], access["scope"]) == ("ann", "aws.cognito.signin.user.admin")
    assert (identity["cognito:username"], identity["token_use"]) == ("ann", "id")
    found = pool.admin.admin_get_user(UserPoolId=pool.id, Username="ann")
    assert found["UserStatus"] == "CONFIRMED"
    assert {"Name": "sub", "Value": access["sub"]} in found["UserAttributes"]
    again = pool.refresh(tokens["RefreshToken"])
    assert pool.checked(again["AccessToken"])["origin_jti"] == access["origin_jti"]
    pool.anonymous().global_sign_out(AccessToken=again["AccessToken"])
    with pytest.raises(ClientError, match="Refresh Token has been revoked"):
        pool.refresh(tokens["RefreshToken"])
    with pytest.raises(ClientError, match="Access Token has been revoked"):
        pool.anonymous().global_sign_out(AccessToken=again["AccessToken"])


def test_a_refresh_token_is_revoked(pool: Pool) -> None:
    pool.user("eve")
    pool.admin.admin_set_user_password(UserPoolId=pool.id, Username="eve", Password=NEW_PASSWORD, Permanent=True)
    token = pool.sign_in("eve", NEW_PASSWORD)["AuthenticationResult"]["RefreshToken"]
    pool.anonymous().revoke_token(ClientId=pool.people["ClientId"], Token=token)
    with pytest.raises(ClientError, match="Refresh Token has been revoked"):
        pool.refresh(token)


def test_who_is_nobody_and_who_mistypes_are_told_the_same(pool: Pool) -> None:
    pool.user("bob")
    for name in ("bob", "nobody"):
        with pytest.raises(ClientError) as caught:
            pool.sign_in(name, "wrong")
        assert caught.value.response["Error"] == {
            "Code": "NotAuthorizedException",
            "Message": "Incorrect username or password.",
        }


def test_administration_is_for_those_with_credentials(pool: Pool) -> None:
    with pytest.raises(ClientError) as caught:
        pool.anonymous().list_users(UserPoolId=pool.id)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


@pytest.mark.slow  # that what is committed outlives a crash, test_core shows
def test_pools_users_and_keys_outlive_a_crash(
    start_localcloud: Callable[[Path], Running], client_of: Callable[..., Any], tmp_path: Path, cloud: Cloud
) -> None:
    running = start_localcloud(tmp_path)
    pool = Pool(client_of(running, "cognito-idp"), running.endpoint_url, cloud.region)
    pool.user("ann")
    pool.admin.admin_set_user_password(UserPoolId=pool.id, Username="ann", Password=NEW_PASSWORD, Permanent=True)
    tokens = pool.sign_in("ann", NEW_PASSWORD)["AuthenticationResult"]
    running.kill()
    again = start_localcloud(tmp_path)
    pool.endpoint_url, pool.admin = again.endpoint_url, client_of(again, "cognito-idp")
    # Its address has changed with the port, its key has not.
    claims = pool.checked(pool.refresh(tokens["RefreshToken"])["AccessToken"])
    assert claims["origin_jti"] == jwt.decode(tokens["AccessToken"], options={"verify_signature": False})["origin_jti"]
    kids = {jwt.get_unverified_header(one)["kid"] for one in (tokens["AccessToken"], tokens["IdToken"])}
    assert kids == {jwt.get_unverified_header(pool.refresh(tokens["RefreshToken"])["IdToken"])["kid"]}
    assert pool.ask({"grant_type": "client_credentials"})[0] == 200


def _stack(**resources: Any) -> str:
    outputs = {
        "Pool": {"Value": {"Ref": "People"}},
        "Arn": {"Value": {"Fn::GetAtt": "People.Arn"}},
        "Issuer": {"Value": {"Fn::GetAtt": "People.ProviderURL"}},
        "Client": {"Value": {"Ref": "Application"}},
        "Secret": {"Value": {"Fn::GetAtt": "Application.ClientSecret"}},
        "Domain": {"Value": {"Ref": "Domain"}},
    }
    return json.dumps({"Resources": resources, "Outputs": outputs})


def test_a_stack_makes_changes_and_deletes_a_pool(cloud: Cloud) -> None:
    name = f"pool-{uuid.uuid4().hex[:10]}"
    cloudformation, cognito = cloud.client("cloudformation"), cloud.client("cognito-idp")
    people = {"UserPoolName": name, "DeletionProtection": "INACTIVE", "UserPoolTags": {"team": "fraud"}}
    application: dict[str, Any] = {
        "UserPoolId": {"Ref": "People"},
        "GenerateSecret": True,
        "AllowedOAuthFlows": ["client_credentials"],
        "AllowedOAuthFlowsUserPoolClient": True,
        "AllowedOAuthScopes": [{"Fn::Sub": "${Api}/predict"}],
        "AccessTokenValidity": 30,
        "TokenValidityUnits": {"AccessToken": "minutes"},
    }
    api = {"UserPoolId": {"Ref": "People"}, "Identifier": "api", "Name": "api", "Scopes": SCOPES}

    def template(people: dict[str, Any], application: dict[str, Any], api: dict[str, Any]) -> str:
        return _stack(
            People={"Type": "AWS::Cognito::UserPool", "Properties": people},
            Domain={
                "Type": "AWS::Cognito::UserPoolDomain",
                "Properties": {"Domain": name, "UserPoolId": {"Ref": "People"}},
            },
            Api={"Type": "AWS::Cognito::UserPoolResourceServer", "Properties": api},
            Application={"Type": "AWS::Cognito::UserPoolClient", "Properties": application},
        )

    def settled() -> dict[str, Any] | None:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]
        return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

    stack_id = cloudformation.create_stack(
        StackName=name, TemplateBody=template(people, application, api), Tags=[{"Key": "stage", "Value": "test"}]
    )["StackId"]
    stack = until(settled, "the stack has settled")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    made = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    pool = cognito.describe_user_pool(UserPoolId=made["Pool"])["UserPool"]
    assert (pool["Name"], pool["Arn"], pool["Domain"]) == (name, made["Arn"], made["Domain"])
    assert pool["UserPoolTags"].items() >= {"team": "fraud", "stage": "test"}.items()
    assert made["Issuer"].endswith(made["Pool"])
    client = cognito.describe_user_pool_client(UserPoolId=made["Pool"], ClientId=made["Client"])["UserPoolClient"]
    assert (client["ClientSecret"], client["AccessTokenValidity"]) == (made["Secret"], 30)
    assert client["ClientName"].startswith(f"{name}-Application-")

    less = {
        key: value for key, value in application.items() if key not in ("AccessTokenValidity", "TokenValidityUnits")
    }
    changed = template(
        {"UserPoolName": name, "Policies": {"PasswordPolicy": {"MinimumLength": 14}}},
        {**less, "ClientName": "renamed"},
        {**api, "Scopes": SCOPES[:1]},
    )
    cloudformation.update_stack(StackName=stack_id, TemplateBody=changed)
    stack = until(settled, "the stack has settled")
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]} == made
    pool = cognito.describe_user_pool(UserPoolId=made["Pool"])["UserPool"]
    assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] == 14
    assert (pool["UserPoolTags"].get("stage"), pool["UserPoolTags"].get("team")) == ("test", None)
    client = cognito.describe_user_pool_client(UserPoolId=made["Pool"], ClientId=made["Client"])["UserPoolClient"]
    assert (client["ClientName"], "AccessTokenValidity" in client) == ("renamed", False)
    servers = cognito.list_resource_servers(UserPoolId=made["Pool"])["ResourceServers"]
    assert [server["Scopes"] for server in servers] == [SCOPES[:1]]

    cloudformation.delete_stack(StackName=stack_id)
    assert until(settled, "the stack has settled")["StackStatus"] == "DELETE_COMPLETE"
    with pytest.raises(cognito.exceptions.ResourceNotFoundException, match="does not exist"):
        cognito.describe_user_pool(UserPoolId=made["Pool"])
