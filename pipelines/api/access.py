"""Where the API is, and tokens for it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
import requests

from pipelines import infrastructure
from pipelines.errors import ServiceError, UsageError
from pipelines.names import API_STAGE, Names, dns_suffix
from pipelines.session import client, web_address

__all__ = ["Access", "Token", "find"]

_SCOPES = "api/predict api/feedback"
_SECONDS = 10


@dataclass(frozen=True)
class Token:
    """An access token, as it goes into the header `Authorization: Bearer …`."""

    value: str

    @property
    def expires(self) -> datetime:
        """When it ends: the token says so itself."""
        payload = self.value.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)


@dataclass(frozen=True)
class Access:
    """A deployed API."""

    session: boto3.Session
    url: str
    """Of its stage, without a slash at the end."""
    token_url: str
    user_pool_id: str
    applications_client_id: str
    people_client_id: str

    def token(self) -> Token:
        """A token for a program: by the secret of the client `applications`, which the caller's AWS rights read.

        Raises ServiceError when the token endpoint refuses.
        """
        described = client(self.session, "cognito-idp").describe_user_pool_client(
            UserPoolId=self.user_pool_id, ClientId=self.applications_client_id
        )
        try:
            answer = requests.post(
                self.token_url,
                data={"grant_type": "client_credentials", "scope": _SCOPES},
                auth=(self.applications_client_id, described["UserPoolClient"]["ClientSecret"]),
                timeout=_SECONDS,
            )
        except requests.RequestException as error:
            raise ServiceError(f"the token endpoint {self.token_url} did not answer: {error}") from None
        if answer.status_code != 200:
            raise ServiceError(
                f"the token endpoint {self.token_url} answered {answer.status_code}: {answer.text[:300]}"
            )
        return Token(answer.json()["access_token"])

    def token_of(self, user: str, password: str) -> Token:
        """A token for a person. Raises UsageError for a wrong name or password."""
        cognito = client(self.session, "cognito-idp")
        try:
            answer = cognito.initiate_auth(
                AuthFlow="USER_PASSWORD_AUTH",
                ClientId=self.people_client_id,
                AuthParameters={"USERNAME": user, "PASSWORD": password},
            )
        except (cognito.exceptions.NotAuthorizedException, cognito.exceptions.UserNotFoundException) as error:
            raise UsageError(f"no token for `{user}`: {error.response['Error']['Message']}") from None
        if "AuthenticationResult" not in answer:
            raise UsageError(
                f"`{user}` has a temporary password; set one that lasts with `aws cognito-idp admin-set-user-password "
                f"--user-pool-id {self.user_pool_id} --username {user} --permanent --password …`"
            )
        return Token(answer["AuthenticationResult"]["AccessToken"])


def find(session: boto3.Session, names: Names) -> Access:
    """The project's API. Raises UsageError when it is not deployed."""
    outputs = infrastructure.outputs(session, names.api_stack)
    if outputs is None:
        raise UsageError(f"the stack `{names.api_stack}` is not there; `mlops api` deploys it")
    api, domain = outputs["ApiId"], outputs["Domain"]
    host = f"{api}.execute-api.{names.region}.{dns_suffix(names.region)}"
    cognito = web_address("auth", domain, f"{domain}.auth.{names.region}.amazoncognito.com")
    return Access(
        session,
        url=f"{web_address('execute-api', api, host)}/{API_STAGE}",
        token_url=f"{cognito}/oauth2/token",
        user_pool_id=outputs["UserPoolId"],
        applications_client_id=outputs["ApplicationsClientId"],
        people_client_id=outputs["PeopleClientId"],
    )
