"""The deployed REST API as an application meets it: through the firewall, API Gateway, the authorizer, the functions,
the feature store and the endpoints."""

from __future__ import annotations

import base64
import io
import json
import shlex
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import requests
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

from localcloud import instance
from pipelines.api import access
from pipelines.config import load
from pipelines.errors import ServiceError, UsageError
from tests.contract.sagemaker_account import until
from tests.pipelines.api.served import RECENCY_DAYS, Served, bring
from tests.pipelines.conftest import Project


def _edited(api: Served, file: str, change: Callable[[Any], None]) -> Project:
    """The project with a YAML file of its working copy changed."""
    path = api.project.root / file
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    configuration = load(api.project.root, environ={})
    return Project(api.project.root, configuration, api.project.session)


# --- what an application asks -----------------------------------------------------------------------------------------


def test_a_prediction_with_what_the_feature_store_knows(api: Served) -> None:
    answer = api.predict()
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["message"] == "Received data successfully"
    inference_id = said["response"].pop("inference_id")
    # The model of these tests answers by the number of features, and by one of them.
    assert said["response"] == {
        "predicted_cluster": 1,
        "will_spend": True,
        "probability": RECENCY_DAYS / 100,
        "stored_features": "used",
    }
    assert api.predict(name="D_Unknown").json()["response"]["stored_features"] == "unknown holder"
    feedback = {"inference_id": inference_id, "purchased": True}
    assert [api.ask("POST", "/feedback", feedback).status_code for _ in range(2)] == [201, 200]
    assert api.ask("POST", "/feedback", {**feedback, "purchased": False}).status_code == 409


def test_a_batch_is_answered_in_order(api: Served) -> None:
    record = {"usage_freq": 1, "amount_spend": 2.5, "uniq_merchant": 1, "k": 3}
    answer = api.ask("POST", "/predictions:batch", {"inputs": [{**record, "name": "C_Mason"}, record]})
    assert answer.status_code == 200, answer.text
    assert [one["stored_features"] for one in answer.json()["responses"]] == ["used", "no name"]


def test_forecasts_and_health(api: Served) -> None:
    answer = api.ask("GET", "/forecasts?minutes=5")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["response"]["forecast"]) == 5
    assert api.ask("GET", "/forecasts?minutes=31").status_code == 400
    assert api.ask("GET", "/health", token=None).json() == {"status": "ok"}


def test_a_forecast_comes_from_the_cache_by_its_minutes(api: Served) -> None:
    first, other = api.ask("GET", "/forecasts?minutes=7"), api.ask("GET", "/forecasts?minutes=8")
    assert len(other.json()["response"]["forecast"]) == 8
    calls = len(api.calls("forecasts")), _count(api, "forecasts")
    again = api.ask("GET", "/forecasts?minutes=7")
    assert again.json() == first.json()
    assert (len(api.calls("forecasts")), _count(api, "forecasts")) == calls
    instance.advance(api.port, 21)
    assert api.ask("GET", "/forecasts?minutes=7").status_code == 200
    assert _count(api, "forecasts") > calls[1]


def _count(api: Served, role: str) -> int:
    return sum(call["count"] for call in api.calls(role))


def test_pages_of_other_origins_may_ask_as_the_configuration_says(api: Served) -> None:
    origin = {"Origin": "https://app.example.com"}
    answer = api.ask("OPTIONS", "/predictions", token=None, headers=origin)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
    refused = api.ask("POST", "/predictions", {}, token=None, headers=origin)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
    mistaken = api.ask("POST", "/predictions", {}, headers=origin)
    for told in (refused, mistaken):
        readable = told.headers["access-control-expose-headers"].split(",")
        assert {"Retry-After", "WWW-Authenticate", "x-amzn-RequestId"} <= set(readable)


# --- who may ask ------------------------------------------------------------------------------------------------------


def _forged(api: Served) -> str:
    """The token as somebody else signs it."""
    claims = jwt.decode(api.token, options={"verify_signature": False})
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, "RS256", headers={"kid": jwt.get_unverified_header(api.token)["kid"]})


def _unsigned(api: Served) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{head}.{api.token.split('.')[1]}."


@pytest.mark.parametrize("make", [_forged, _unsigned, lambda api: "a.b.c", lambda api: api.token[:-10]])
def test_a_token_that_is_not_the_pools_is_refused(api: Served, make: Callable[[Served], str]) -> None:
    answer = api.ask("POST", "/predictions", {}, token=make(api))
    assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})
    assert "www-authenticate" in {name.lower() for name in answer.headers}


@pytest.mark.parametrize("path", ["/predictions", "/predictions:batch", "/feedback"])
def test_without_a_token_nothing_is_answered(api: Served, path: str) -> None:
    assert api.ask("POST", path, {}, token=None).status_code == 401
    assert api.ask("GET", "/forecasts?minutes=5", token=None).status_code == 401


def test_another_pools_token_is_refused(api: Served) -> None:
    cognito = api.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="foreign")["UserPool"]["Id"]
    cognito.create_resource_server(
        UserPoolId=pool, Identifier="api", Name="api", Scopes=[{"ScopeName": "predict", "ScopeDescription": "x"}]
    )
    cognito.create_user_pool_domain(UserPoolId=pool, Domain="foreign-pool")
    made = cognito.create_user_pool_client(
        UserPoolId=pool,
        ClientName="foreign",
        GenerateSecret=True,
        AllowedOAuthFlowsUserPoolClient=True,
        AllowedOAuthFlows=["client_credentials"],
        AllowedOAuthScopes=["api/predict"],
    )["UserPoolClient"]
    answer = requests.post(
        f"{api.localcloud.endpoint}/_aws/auth/foreign-pool/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(made["ClientId"], made["ClientSecret"]),
        timeout=10,
    )
    assert api.ask("POST", "/predictions", {}, token=answer.json()["access_token"]).status_code == 401


def test_a_token_without_the_scope_is_refused_there_only(api: Served) -> None:
    described = api.client("cognito-idp").describe_user_pool_client(
        UserPoolId=api.access.user_pool_id, ClientId=api.access.applications_client_id
    )["UserPoolClient"]
    answer = requests.post(
        api.access.token_url,
        data={"grant_type": "client_credentials", "scope": "api/feedback"},
        auth=(described["ClientId"], described["ClientSecret"]),
        timeout=10,
    )
    token = answer.json()["access_token"]
    assert api.ask("POST", "/predictions", {}, token=token).status_code == 403
    assert api.ask("POST", "/feedback", {}, token=token).status_code == 400


def test_a_person_signs_in_and_an_old_token_is_refused(api: Served, mlops: Any, monkeypatch: Any) -> None:
    cognito, pool = api.client("cognito-idp"), api.access.user_pool_id
    cognito.admin_create_user(
        UserPoolId=pool, Username="ada", TemporaryPassword="Temporary-Secret-1", MessageAction="SUPPRESS"
    )
    with pytest.raises(UsageError, match="`ada` has a temporary password; set one that lasts with `aws cognito-idp"):
        api.access.token_of("ada", "Temporary-Secret-1")
    cognito.admin_set_user_password(UserPoolId=pool, Username="ada", Password="Lasting-Secret-22", Permanent=True)
    with pytest.raises(UsageError, match="no token for `ada`: Incorrect username or password"):
        api.access.token_of("ada", "wrong")
    with pytest.raises(UsageError, match="no token for `nobody`: Incorrect username or password"):
        api.access.token_of("nobody", "wrong")
    token = api.access.token_of("ada", "Lasting-Secret-22").value
    assert api.ask("POST", "/predictions", {}, token=token).status_code == 400
    instance.advance(api.port, 3601)
    expired = api.ask("POST", "/predictions", {}, token=token)
    assert (expired.status_code, "expired" in expired.text) == (401, True)
    assert api.predict().status_code == 401
    api.token = api.access.token().value
    assert api.predict().status_code == 200


# --- what cannot be answered ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "nonsense"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("POST", "/predictions/1"), ("GET", "/a/b/c")])
def test_an_unknown_path_is_404_whatever_comes_with_it(api: Served, method: str, path: str, token: str | None) -> None:
    answer = api.ask(method, path, token=token)
    assert (answer.status_code, set(answer.json())) == (404, {"message"})


TYPES = [
    "text/plain; charset=utf-8",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "application/xml",
]


@pytest.mark.parametrize("given_type", TYPES)
def test_what_is_not_there_is_told_whatever_is_sent(api: Served, given_type: str) -> None:
    headers = {"Content-Type": given_type}
    for method, path, status in (
        ("POST", "/nope", 404),
        ("POST", "/", 404),
        ("POST", "/health", 405),
        ("PUT", "/feedback", 405),
        ("OPTIONS", "/predictions:batch", 204),
    ):
        answer = api.ask(method, path, content="{}", token=None, headers=headers)
        assert answer.status_code == status, (method, path)
        assert status == 204 or "x-amzn-RequestId" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/predictions"), ("GET", "/feedback"), ("POST", "/forecasts")])
def test_an_unknown_method_is_405_and_told_what_there_is(api: Served, method: str, path: str) -> None:
    answer = api.ask(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"OPTIONS", "GET" if path == "/forecasts" else "POST"}


RECORD = {"usage_freq": 1, "amount_spend": 1, "uniq_merchant": 1, "k": 1}
NAN = '{"input": {"usage_freq": NaN, "amount_spend": 1, "uniq_merchant": 1, "k": 1}}'


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("", 400),
        ("no json", 400),
        (b"\xff\xfe", 400),
        (NAN, 400),
        (NAN.replace("NaN", "-Infinity"), 400),
        ("[" * 100_000, 400),
        (json.dumps({"input": {"usage_freq": -1, "amount_spend": 1e300, "uniq_merchant": 10**400, "k": 91}}), 400),
        (
            json.dumps(
                {"input": {"usage_freq": 1, "amount_spend": 1, "uniq_merchant": 1, "k": 1, "name": "ü" * 10_000}}
            ),
            400,
        ),
        (" " * (2**20 + 1), 413),
        (" " * 7 * 2**20, 413),
        (" " * 11 * 2**20, 413),
    ],
    ids=[
        "empty",
        "no JSON",
        "no UTF-8",
        "NaN",
        "infinite",
        "deep",
        "beyond limits",
        "long name",
        "above 1 MB",
        "7 MB",
        "11 MB",
    ],
)
def test_a_bad_body_is_refused_with_a_message(api: Served, content: bytes | str, status: int) -> None:
    answer = api.ask("POST", "/predictions", content=content)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert "Traceback" not in answer.text


def test_every_mistake_is_named_with_its_field(api: Served) -> None:
    record = {"usage_freq": -1, "amount_spend": 1e300, "uniq_merchant": True, "k": 91, "colour": 1}
    answer = api.ask("POST", "/predictions", {"input": record})
    assert {one["field"] for one in answer.json()["errors"]} == {f"input.{name}" for name in record}


def test_any_unicode_is_a_name_and_is_in_no_log(api: Served) -> None:
    name = "Ŵ\u202e\U0001f4b3_\u0000O'Brien"
    assert api.predict(name=name).json()["response"]["stored_features"] == "unknown holder"
    told = "".join(_log(api, group) for group in _groups(api))
    assert "requestId" in told
    assert "Brien" not in told
    assert "Mason" not in told
    assert "127.0.0.1" not in _log(api, f"/aws/apigateway/{api.project.names.project}-api")


def _groups(api: Served) -> list[str]:
    project = api.project.names.project
    functions = [f"/aws/lambda/{project}-{name}" for name in ("predictions", "forecasts")]
    return [f"/aws/apigateway/{project}-api", *functions]


def _log(api: Served, group: str) -> str:
    instance.advance(api.port, 10)  # what is written is gathered for a moment
    found = api.client("logs").filter_log_events(logGroupName=group)
    return "\n".join(event["message"] for event in found["events"])


def test_a_body_that_is_not_declared_as_json_is_refused(api: Served) -> None:
    answer = api.ask("POST", "/predictions", {"input": {}}, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    answer = api.ask("POST", "/predictions", {"input": {}}, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, "gzip" in answer.json()["message"]) == (415, True)


@pytest.mark.parametrize(("k", "told"), [(42, "503"), (44, "503"), (45, "503")])
def test_a_model_that_fails_is_a_503_without_its_story(api: Served, k: int, told: str) -> None:
    answer = api.predict(k=k)
    assert (str(answer.status_code), int(answer.headers["retry-after"]) > 0) == (told, True)
    assert "secret" not in answer.text


# --- how much may be asked --------------------------------------------------------------------------------------------


def test_a_burst_above_the_limit_is_told_to_wait_and_served_afterwards(api: Served) -> None:
    def little(document: Any) -> None:
        document["api"].update(requests_per_second=1, burst=3)

    before = (api.project.root / "configs/project.yml").read_text()
    try:
        changes = bring(_edited(api, "configs/project.yml", little))
        assert changes == ["updated ApiGateway::Stage ApiStage"]
        answers = [api.ask("POST", "/feedback", {}) for _ in range(8)]
        waiting = [answer for answer in answers if answer.status_code == 429]
        assert answers[0].status_code == 400
        assert len(waiting) >= 3
        assert int(waiting[0].headers["retry-after"]) >= 1
        instance.advance(api.port, 5)
        assert api.ask("POST", "/feedback", {}).status_code == 400
    finally:
        (api.project.root / "configs/project.yml").write_text(before)
        bring(api.project)


def test_an_address_that_asks_too_much_is_turned_away_until_time_has_passed(api: Served) -> None:
    def little(document: Any) -> None:
        document["api"].update(requests_per_address=10)

    before = (api.project.root / "configs/project.yml").read_text()
    try:
        assert bring(_edited(api, "configs/project.yml", little)) == ["updated WAFv2::WebACL Firewall"]
        instance.advance(api.port, 310)
        statuses = [api.ask("POST", "/feedback", {}).status_code for _ in range(12)]
        assert statuses == [400] * 10 + [429] * 2
        turned_away = api.ask("POST", "/feedback", {})
        assert turned_away.headers["access-control-allow-origin"] == "*"
        assert turned_away.json() == {"message": "Too many requests from your address; try again in a minute."}
        assert turned_away.headers["retry-after"] == "60"
        instance.advance(api.port, 310)
        again = api.ask("POST", "/feedback", {})
        assert again.status_code == 400, again.text
    finally:
        (api.project.root / "configs/project.yml").write_text(before)
        bring(api.project)


# --- how it is deployed -----------------------------------------------------------------------------------------------


def test_deployed_again_nothing_changes(api: Served) -> None:
    assert bring(api.project) == []


def test_another_origin_is_everywhere_at_once(api: Served) -> None:
    def elsewhere(document: Any) -> None:
        document["api"].update(allowed_origin="https://app.example.com")

    before = (api.project.root / "configs/project.yml").read_text()
    try:
        bring(_edited(api, "configs/project.yml", elsewhere))
        answers = [
            api.ask("OPTIONS", "/predictions", token=None),
            api.ask("GET", "/nothing"),
            api.ask("POST", "/predictions", {}, token=None),
            api.predict(),
        ]
        assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"https://app.example.com"}
    finally:
        (api.project.root / "configs/project.yml").write_text(before)
        bring(api.project)


def test_two_who_deploy_at_once_both_end_well(api: Served) -> None:
    def another(document: Any) -> None:
        document["api"].update(burst=77)

    before = (api.project.root / "configs/project.yml").read_text()
    try:
        changed = _edited(api, "configs/project.yml", another)
        with ThreadPoolExecutor(2) as threads:
            done = [threads.submit(bring, changed) for _ in range(2)]
        changes = [one.result() for one in done]
        assert [] in changes or changes[0] == changes[1]
    finally:
        (api.project.root / "configs/project.yml").write_text(before)
        bring(api.project)


def test_a_changed_document_is_deployed_and_all_else_stays(api: Served) -> None:
    file = api.project.root / "seed_code/api/openapi.yml"
    before = file.read_text()
    url = api.access.url

    def another(document: Any) -> None:
        responses = {"default": {"statusCode": "200", "responseTemplates": {"application/json": '{"motto": "new"}'}}}
        document["paths"]["/motto"] = {
            "get": {
                "responses": {"200": {"description": "A motto."}},
                "x-amazon-apigateway-integration": {
                    "type": "mock",
                    "requestTemplates": {"application/json": '{"statusCode": 200}'},
                    "responses": responses,
                },
            }
        }

    assert api.ask("GET", "/motto", token=None).status_code == 404
    try:
        changes = bring(_edited(api, "seed_code/api/openapi.yml", another))
        assert {change.split()[2][:13] for change in changes} >= {"Api", "ApiDeployment", "ApiStage"}
        assert access.find(api.project.session, api.project.names).url == url
        assert api.ask("GET", "/motto", token=None).json() == {"motto": "new"}
    finally:
        file.write_text(before)
        bring(api.project)
    assert api.ask("GET", "/motto", token=None).status_code == 404
    assert api.predict().status_code == 200


def test_the_command_prints_a_curl_that_is_answered(api: Served, mlops: Any) -> None:
    status, out, err = mlops(api.project.root, "api")
    assert (status, err) == (0, "")
    command = shlex.split(out.splitlines()[-1])
    assert command[0] == "curl"
    answered = subprocess.run([*command, "-f"], capture_output=True, text=True, check=True)
    assert json.loads(answered.stdout)["response"]["stored_features"] == "used"
    page = api.project.root / ".mlops" / "api.html"
    assert page.stat().st_mode & 0o777 == 0o600


def test_the_command_gives_a_token_alone_and_json(api: Served, mlops: Any) -> None:
    status, token, _ = mlops(api.project.root, "api", "--token")
    assert status == 0
    assert api.ask("POST", "/feedback", {}, token=token.strip()).status_code == 400
    status, out, _ = mlops(api.project.root, "api", "--json")
    document = json.loads(out)
    assert (status, document["url"]) == (0, api.access.url)
    assert set(document) == {"url", "token", "expires", "page"}


def test_a_password_is_read_from_standard_input(api: Served, mlops: Any, monkeypatch: Any) -> None:
    cognito, pool = api.client("cognito-idp"), api.access.user_pool_id
    cognito.admin_create_user(UserPoolId=pool, Username="joan", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username="joan", Password="Lasting-Secret-33", Permanent=True)
    monkeypatch.setattr("sys.stdin", io.StringIO("Lasting-Secret-33\r\n"))
    status, token, _ = mlops(api.project.root, "api", "--user", "joan", "--token")
    assert (status, api.ask("POST", "/feedback", {}, token=token.strip()).status_code) == (0, 400)
    for closed in (None, io.StringIO("")):
        monkeypatch.setattr("sys.stdin", closed)
        status, _, err = mlops(api.project.root, "api", "--user", "joan", "--token")
        assert (status, "no password was given for `joan`" in err) == (2, True)


def test_a_page_that_cannot_be_written_is_told_and_nothing_is_left(api: Served, mlops: Any) -> None:
    page = api.project.root / ".mlops" / "api.html"
    page.unlink(missing_ok=True)
    page.mkdir(parents=True)
    try:
        status, _, err = mlops(api.project.root, "api")
        assert (status, "the page `" in err, "cannot be written" in err) == (2, True, True)
        assert [file.name for file in page.parent.iterdir() if file.name.startswith("api.html.")] == []
    finally:
        page.rmdir()


def test_a_token_endpoint_that_is_not_there_is_told(api: Served) -> None:
    gone = access.Access(**{**vars(api.access), "token_url": f"{api.localcloud.endpoint}/_aws/auth/none/oauth2/token"})
    with pytest.raises(ServiceError, match=r"the token endpoint .*/none/oauth2/token answered 4"):
        gone.token()
    deaf = access.Access(**{**vars(api.access), "token_url": "http://127.0.0.1:9/oauth2/token"})
    with pytest.raises(ServiceError, match="did not answer"):
        deaf.token()


# --- what the functions may -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["predictions", "forecasts"])
def test_the_roles_allow_what_is_called_and_nothing_else(api: Served, role: str) -> None:
    """All that the tests above called, and that the functions can call, is one of these; and each is one's own."""
    names, iam = api.project.names, api.client("iam")
    policy = iam.get_role_policy(RoleName=f"{names.project}-{role}", PolicyName=role)["PolicyDocument"]
    allowed = {
        (action, resource)
        for statement in policy["Statement"]
        # The key is used by the Feature Store in the caller's name, which localcloud's does not.
        if statement["Sid"] not in ("Log", "Traces", "KeyOfTheStream")
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        for resource in [statement["Resource"]]
    }
    if role == "predictions":
        made = api.predict().json()["response"]["inference_id"]
        for purchased in (True, True):
            api.ask("POST", "/feedback", {"inference_id": made, "purchased": purchased})
        api.ask(
            "POST",
            "/predictions:batch",
            {"inputs": [{**RECORD, "name": "a"}]},
        )
        api.ask("GET", "/health", token=None)
    else:
        api.ask("GET", "/forecasts?minutes=9")
    calls = api.calls(role)
    # Lambda writes a function's lines in its name, as the statement Log allows it to.
    called = {(call["action"], call["resource"]) for call in calls if not call["action"].startswith("logs:")}
    assert {action for action, _ in called} == {action for action, _ in allowed}
    for action, resource in called:
        fitting = [pattern for one, pattern in allowed if one == action]
        assert any(resource == pattern or resource.startswith(pattern.removesuffix("*")) for pattern in fitting), action


# --- the end ----------------------------------------------------------------------------------------------------------


def test_without_a_model_the_answer_says_to_come_again(api: Served) -> None:
    """Last, for it takes the models away."""
    sagemaker = api.client("sagemaker")
    for workload in ("cardholders", "forecaster"):
        sagemaker.delete_endpoint(EndpointName=api.project.names.endpoint(workload, "prod"))
    until(lambda: sagemaker.list_endpoints()["Endpoints"] == [], "the endpoints are gone")
    instance.advance(api.port, 6)  # health is looked up once in a while
    for method, path, document in (
        ("POST", "/predictions", {"input": RECORD}),
        ("GET", "/forecasts?minutes=11", None),
        ("GET", "/health", None),
    ):
        answer = api.ask(method, path, document)
        assert (answer.status_code, answer.headers.get("retry-after", "0") > "0") == (503, True), answer.text
