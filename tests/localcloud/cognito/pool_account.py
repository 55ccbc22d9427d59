"""A Cognito without a process around it: its operations and its sites are called directly, the clock stands."""

from __future__ import annotations

import base64
import functools
import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from localcloud.cognito.keys import new_key
from localcloud.cognito.service import Cognito
from localcloud.context import Context, Request
from localcloud.errors import ServiceError
from localcloud.protocols import models
from localcloud.protocols.http import HttpRequest, HttpResponse
from localcloud.protocols.validation import check_request, check_response
from tests.surroundings import StandingClock, surroundings

PASSWORD = "Correct-horse-1"
FORM = {"content-type": "application/x-www-form-urlencoded"}
Document = dict[str, Any]


class PoolAccount:
    """One account with one user pool, which has an API's resource server and a domain."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, StandingClock()
        self.context: Context = surroundings(folder, self.clock)
        self.cognito = cheap(self.context)
        self.pool = self.call("CreateUserPool", PoolName="pool")["UserPool"]
        self.id, self.arn = self.pool["Id"], self.pool["Arn"]
        scopes = [{"ScopeName": name, "ScopeDescription": name} for name in ("predict", "feedback")]
        self.call("CreateResourceServer", UserPoolId=self.id, Identifier="api", Name="api", Scopes=scopes)
        self.call("CreateUserPoolDomain", UserPoolId=self.id, Domain="people")

    def call(self, operation: str, **params: Any) -> Document:
        """An operation, its request and its answer checked as the dispatcher does."""
        model = models.service_model("cognito-idp").operation_model(operation)
        check_request(params, model.input_shape)
        answer = _without_none(self.cognito.operations[operation](Request("cognito-idp", operation, params)))
        check_response(answer, model.output_shape)
        return answer

    def fail(self, operation: str, **params: Any) -> tuple[str, str]:
        """The code and the message of the error that an operation ends with."""
        with pytest.raises(ServiceError) as caught:
            self.call(operation, **params)
        return caught.value.code, caught.value.message

    def wait(self, **time: float) -> None:
        self.clock.moment += timedelta(**time)

    def client(self, **settings: Any) -> Document:
        """A client of people: it has no secret, and signs in by password."""
        settings = {
            "ClientName": "people",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            "PreventUserExistenceErrors": "ENABLED",
            **settings,
        }
        found: Document = self.call("CreateUserPoolClient", UserPoolId=self.id, **settings)["UserPoolClient"]
        return found

    def application(self, *scopes: str, **settings: Any) -> Document:
        """A client that gets tokens for itself."""
        return self.client(
            **{
                "ClientName": "application",
                "GenerateSecret": True,
                "AllowedOAuthFlows": ["client_credentials"],
                "AllowedOAuthScopes": list(scopes or ("api/predict", "api/feedback")),
                "AllowedOAuthFlowsUserPoolClient": True,
                **settings,
            }
        )

    def user(self, name: str = "ann", password: str = PASSWORD, **members: Any) -> None:
        """A user with a password for good."""
        self.invite(name, **members)
        self.call("AdminSetUserPassword", UserPoolId=self.id, Username=name, Password=password, Permanent=True)

    def invite(self, name: str = "ann", **members: Any) -> Document:
        """A user with a temporary password."""
        members = {"MessageAction": "SUPPRESS", **members}
        return self.call("AdminCreateUser", UserPoolId=self.id, Username=name, **members)

    def sign_in(self, client: Document, name: str = "ann", password: str = PASSWORD, **more: str) -> Document:
        """What InitiateAuth answers."""
        return self.call("InitiateAuth", **attempt(client, name, password, **more))

    def tokens(self, client: Document, name: str = "ann", password: str = PASSWORD) -> Document:
        found: Document = self.sign_in(client, name, password)["AuthenticationResult"]
        return found

    def ask(self, form: dict[str, str] | str, domain: str = "people", **headers: str) -> HttpResponse:
        """A request to the token endpoint."""
        body = form if isinstance(form, str) else urlencode(form)
        path = f"/_aws/auth/{domain}/oauth2/token"
        given = {**FORM, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.context.web.handle(HttpRequest("POST", path, "", given, body.encode("utf-8", "surrogateescape")))

    def granted(self, client: Document, **form: str) -> Document:
        """The tokens that an application gets for itself."""
        response = self.ask({"grant_type": "client_credentials", **form}, authorization=basic(client))
        assert response.status == 200, response.body
        found: Document = json.loads(response.body)
        return found

    def page(self, path: str, method: str = "GET", pool_id: str = "") -> HttpResponse:
        """A page of the pool."""
        return self.context.web.handle(HttpRequest(method, f"/_aws/cognito-idp/{pool_id or self.id}{path}"))


def cheap(context: Context) -> Cognito:
    """A Cognito whose keys are made already, and whose passwords are quickly hashed."""
    return Cognito(context, new_key=lambda: next(_keys()), password_cost=2)


@functools.cache
def _keys() -> Iterator[RSAPrivateKey]:
    return itertools.cycle([new_key() for _ in range(3)])


def attempt(client: Document, name: str = "ann", password: str = PASSWORD, **more: str) -> Document:
    """The parameters of a sign-in by password."""
    given = {"USERNAME": name, "PASSWORD": password, **more}
    return {"ClientId": client["ClientId"], "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": given}


def refreshing(client: Document, token: str, **more: str) -> Document:
    """The parameters of a refresh."""
    given = {"REFRESH_TOKEN": token, **more}
    return {"ClientId": client["ClientId"], "AuthFlow": "REFRESH_TOKEN_AUTH", "AuthParameters": given}


def basic(client: Document) -> str:
    """An Authorization header with a client's id and secret."""
    return "Basic " + base64.b64encode(f"{client['ClientId']}:{client['ClientSecret']}".encode()).decode()


def _without_none(value: Any) -> Any:
    return {key: item for key, item in value.items() if item is not None} | {
        key: _without_none(item) for key, item in value.items() if isinstance(item, dict)
    }
