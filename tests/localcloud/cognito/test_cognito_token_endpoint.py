"""The token endpoint of a domain: RFC 6749, with Cognito's answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from localcloud.protocols.http import HttpRequest, HttpResponse
from tests.localcloud.cognito.pool_account import FORM, Document, PoolAccount, basic

GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[PoolAccount, Document]:
    account = PoolAccount(tmp_path_factory.mktemp("endpoint"))
    return account, account.application()


def _error(response: HttpResponse) -> str:
    assert response.status == 400, response.body
    assert response.header("cache-control") == "no-store"
    content = json.loads(response.body)
    assert content.keys() == {"error"}
    return str(content["error"])


def test_an_application_gets_a_token_by_header_or_form(shared: tuple[PoolAccount, Document]) -> None:
    account, client = shared
    secrets = {"client_id": client["ClientId"], "client_secret": client["ClientSecret"]}
    for response in (account.ask(GRANT, authorization=basic(client)), account.ask({**GRANT, **secrets})):
        assert response.status == 200
        assert response.header("cache-control") == "no-store"
        content = json.loads(response.body)
        assert content.keys() == {"access_token", "expires_in", "token_type"}
        assert (content["expires_in"], content["token_type"]) == (3600, "Bearer")
        assert account.cognito.verify(account.arn, content["access_token"])["scope"] == "api/predict api/feedback"


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("api/feedback", "api/feedback"),
        ("api/feedback api/predict", "api/feedback api/predict"),
        (" api/predict  api/predict ", "api/predict"),
        ("", "api/predict api/feedback"),
    ],
)
def test_it_may_ask_for_less_than_it_is_allowed(shared: tuple[PoolAccount, Document], wanted: str, given: str) -> None:
    account, client = shared
    token = account.granted(client, scope=wanted)["access_token"]
    assert account.cognito.verify(account.arn, token)["scope"] == given


@pytest.mark.parametrize("wanted", ["api/everything", "api/predict openid", "aws.cognito.signin.user.admin"])
def test_it_gets_nothing_where_it_asks_for_more(shared: tuple[PoolAccount, Document], wanted: str) -> None:
    account, client = shared
    response = account.ask({**GRANT, "scope": wanted}, authorization=basic(client))
    assert _error(response) == "invalid_scope"


def _header(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_who_does_not_know_the_secret_gets_nothing(shared: tuple[PoolAccount, Document]) -> None:
    account, client = shared
    name, secret = client["ClientId"], client["ClientSecret"]
    headers = [
        _header(f"{name}:{secret}x"),
        _header(f"{name}:{secret[:-1]}"),
        _header(f"{name}:"),
        _header(f"{name}"),
        _header(f":{secret}"),
        _header(f"{name}:é"),
        _header(f"nobody:{secret}"),
        "Basic !!!",
        "Basic",
        "",
        basic(client).replace("Basic", "Bearer"),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    ]
    for header in headers:
        assert _error(account.ask(GRANT, authorization=header)) == "invalid_client", header
    forms = [
        {},
        {"client_id": name},
        {"client_id": name, "client_secret": ""},
        {"client_id": name, "client_secret": "x"},
        {"client_id": name, "client_secret": "\ud800".encode("utf-8", "surrogatepass").hex()},
        {"client_id": "", "client_secret": secret},
        {"client_id": "a/b", "client_secret": secret},
    ]
    for form in forms:
        assert _error(account.ask({**GRANT, **form})) == "invalid_client", form
    twice = account.ask({**GRANT, "client_id": "another"}, authorization=basic(client))
    assert _error(twice) == "invalid_client"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        ("grant_type=client_credentials&scope=%ff", "invalid_request"),
        ("grant_type=client_credentials&scope=\udcff", "invalid_request"),
        ('{"grant_type": "client_credentials"}', "invalid_request"),
        (f"grant_type=client_credentials&scope={'a' * 40_000}", "invalid_request"),
        ("grant_type=password&username=a&password=b", "unsupported_grant_type"),
        ("grant_type=CLIENT_CREDENTIALS", "unsupported_grant_type"),
        ("grant_type=authorization_code&code=a", "unauthorized_client"),
        ("grant_type=refresh_token", "invalid_request"),
    ],
)
def test_what_is_no_request_for_a_token(shared: tuple[PoolAccount, Document], form: str, error: str) -> None:
    account, client = shared
    assert _error(account.ask(form, authorization=basic(client))) == error


@pytest.mark.parametrize("kind", ["application/json", "", "text/plain", "'application/x-www-form-urlencoded'"])
def test_only_forms_are_read(shared: tuple[PoolAccount, Document], kind: str) -> None:
    account, client = shared
    assert _error(account.ask(GRANT, authorization=basic(client), content_type=kind)) == "invalid_request"


def test_a_form_may_tell_its_charset(shared: tuple[PoolAccount, Document]) -> None:
    account, client = shared
    kind = "Application/X-WWW-Form-Urlencoded; charset=UTF-8"
    assert account.ask(GRANT, authorization=basic(client), content_type=kind).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_only_post_is_answered(shared: tuple[PoolAccount, Document], method: str) -> None:
    account, _ = shared
    response = account.context.web.handle(HttpRequest(method, "/_aws/auth/people/oauth2/token", "", FORM))
    assert (response.status, response.header("allow")) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["/_aws/auth/people/login", "/_aws/auth/people", "/_aws/auth/nobody/oauth2/token", "/_aws/auth/"]
)
def test_what_is_not_there_is_told(shared: tuple[PoolAccount, Document], path: str) -> None:
    account, _ = shared
    response = account.context.web.handle(HttpRequest("POST", path, "", FORM))
    assert response.status == 404
    assert "localcloud has nothing at" in json.loads(response.body)["message"]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"AllowedOAuthFlows": []}, "unauthorized_client"),
        ({"AllowedOAuthFlowsUserPoolClient": False}, "invalid_grant"),
    ],
)
def test_a_client_needs_the_flow(account: PoolAccount, settings: Document, error: str) -> None:
    if not settings.get("AllowedOAuthFlows", True):
        settings = {**settings, "AllowedOAuthFlowsUserPoolClient": False}
    client = account.application(**settings)
    assert _error(account.ask(GRANT, authorization=basic(client))) == error


def test_a_client_of_people_gets_no_token_for_itself(account: PoolAccount) -> None:
    form = {**GRANT, "client_id": account.client()["ClientId"]}
    assert _error(account.ask(form)) == "unauthorized_client"
    assert _error(account.ask({**form, "client_secret": "x"})) == "invalid_client"


def test_scopes_go_with_their_resource_server(account: PoolAccount) -> None:
    client = account.application()
    one: list[Any] = [{"ScopeName": "feedback", "ScopeDescription": "f"}]
    account.call("UpdateResourceServer", UserPoolId=account.id, Identifier="api", Name="api", Scopes=one)
    token = account.granted(client)["access_token"]
    assert account.cognito.verify(account.arn, token)["scope"] == "api/feedback"
    account.call("DeleteResourceServer", UserPoolId=account.id, Identifier="api")
    assert _error(account.ask(GRANT, authorization=basic(client))) == "invalid_scope"


def test_another_pools_client_gets_nothing_here(account: PoolAccount) -> None:
    client = account.application()
    other = account.call("CreateUserPool", PoolName="other")["UserPool"]["Id"]
    account.call("CreateUserPoolDomain", UserPoolId=other, Domain="elsewhere")
    assert _error(account.ask(GRANT, domain="elsewhere", authorization=basic(client))) == "invalid_client"


def test_a_session_goes_on_here_too(account: PoolAccount) -> None:
    client, other = account.client(), account.client()
    account.user()
    token = account.tokens(client)["RefreshToken"]
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client["ClientId"]}
    content = json.loads(account.ask(form).body)
    assert content.keys() == {"id_token", "access_token", "expires_in", "token_type"}
    assert account.cognito.verify(account.arn, content["access_token"])["username"] == "ann"
    assert account.cognito.verify(account.arn, content["id_token"])["token_use"] == "id"
    assert _error(account.ask({**form, "client_id": other["ClientId"]})) == "invalid_grant"
    assert _error(account.ask({**form, "refresh_token": token[:-1]})) == "invalid_grant"
    assert _error(account.ask({**form, "refresh_token": "é"})) == "invalid_grant"
    account.call("RevokeToken", ClientId=client["ClientId"], Token=token)
    assert _error(account.ask(form)) == "invalid_grant"
