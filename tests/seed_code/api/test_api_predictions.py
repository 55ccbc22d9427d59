"""Predictions: asked of an endpoint that is there, slow, wrong or gone, with and without a feature store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from seed_code.api import inference_ids
from seed_code.api.endpoint import Endpoint
from seed_code.api.holders import identifier
from seed_code.api.refusals import Refused
from seed_code.cardholders.transactions import Format, read
from tests.contract.sagemaker_account import until
from tests.seed_code.api.account import SALT, ApiAccount
from tests.seed_code.api.conftest import Start
from tests.seed_code.api.gateway import NOW, REQUEST_ID, Answer, Context, Function, event, load

RECORD = {"usage_freq": 12, "amount_spend": 1840.5, "uniq_merchant": 7, "k": 14}
NAME = "C_Mason"


@pytest.fixture(scope="module", autouse=True)
def holders(account: ApiAccount) -> None:
    """One who is known, one whose features the model does not take, and one who is only named."""
    fields = {"event_time": "2026-11-21T23:59:59Z", "usage_freq": "3", "uniq_merchant": "2", "amount_spend": "9.5"}
    put = account.put
    put(account.holders, holder=identifier(NAME, SALT), recency_days="41", gap_mean="2.5", **fields)
    put(account.holders, holder=identifier("O_Odd", SALT), odd="1.0", **fields)
    put(account.holders, holder=identifier("N_Nothing", SALT), gap_mean="NaN", **fields)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def predict(function: Function, **members: Any) -> Answer:
    return function.ask("POST", "/predictions", {"input": {**RECORD, **members}})


def test_a_prediction(predictions: Start, capsys: pytest.CaptureFixture[str]) -> None:
    answer = predict(predictions())
    assert answer.status == 200
    found = answer.document["response"]
    name = found.pop("inference_id")
    assert re.fullmatch(r"20261122T101530Z-[0-9a-f]{16}", name)
    assert answer.document == {
        "message": "Received data successfully",
        "response": {"predicted_cluster": 0, "will_spend": True, "probability": 0.0, "stored_features": "no name"},
    }
    assert logged(capsys) == []


@pytest.mark.parametrize(
    ("name", "state", "features", "probability"),
    [(NAME, "used", 2, 0.41), ("c_mason", "unknown holder", 0, 0.0), ("N_Nothing", "used", 0, 0.0)],
)
def test_stored_features_go_along(
    predictions: Start, name: str, state: str, features: int, probability: float, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = predict(predictions(), name=name)
    found = answer.document["response"]
    assert (answer.status, found["stored_features"]) == (200, state)
    # The name is not sent to the model, which would say so.
    assert (found["predicted_cluster"], found["probability"], found["will_spend"]) == (features, probability, True)
    assert name not in json.dumps(answer.document)
    assert logged(capsys) == []


def test_names_are_made_of_the_request_s_time(predictions: Start) -> None:
    function = predictions()
    names = {predict(function).document["response"]["inference_id"] for _ in range(20)}
    assert len(names) == 20


def test_a_batch(predictions: Start) -> None:
    inputs = [RECORD, {**RECORD, "name": NAME}, {**RECORD, "name": "X_Nobody"}, {**RECORD, "name": NAME}]
    answer = predictions().ask("POST", "/predictions:batch", {"inputs": inputs})
    assert (answer.status, answer.document["message"]) == (200, "Received data successfully")
    found = answer.document["responses"]
    assert [one["stored_features"] for one in found] == ["no name", "used", "unknown holder", "used"]
    assert [one["probability"] for one in found] == [0.0, 0.41, 0.0, 0.41]
    names = [one["inference_id"].rpartition("-") for one in found]
    assert [end for _, _, end in names] == ["0", "1", "2", "3"]
    assert len({start for start, _, _ in names}) == 1
    assert inference_ids.moment(names[0][0], NOW) == NOW


def test_a_full_batch_of_names(predictions: Start) -> None:
    inputs = [{**RECORD, "name": NAME if place in (0, 150, 499) else f"A_{place}"} for place in range(500)]
    answer = predictions().ask("POST", "/predictions:batch", {"inputs": inputs})
    assert answer.status == 200
    states = [one["stored_features"] for one in answer.document["responses"]]
    assert [place for place, state in enumerate(states) if state == "used"] == [0, 150, 499]
    assert set(states) == {"used", "unknown holder"}


# --- what the caller does wrong --------------------------------------------------------------------------------------


def test_mistakes(predictions: Start, capsys: pytest.CaptureFixture[str]) -> None:
    function = predictions()
    answer = predict(function, k=91, usage_freq=-1, name=["C_Mason"])
    assert answer.status == 400
    assert list(answer.fields) == ["input.usage_freq", "input.k", "input.name"]
    assert "Mason" not in json.dumps(answer.document)
    assert function.ask("POST", "/predictions", "{").status == 400
    assert function.ask("POST", "/predictions").status == 400
    assert function.ask("POST", "/predictions", "{}", headers={"Content-Type": "text/csv"}).status == 415
    assert function.ask("POST", "/predictions", "e30=", encoded=True).fields == {"input": "is missing"}
    assert logged(capsys) == []


def test_the_model_has_limits_of_its_own(predictions: Start) -> None:
    function = predictions()
    message = "is 41; expected an integer from 1 to 30"
    answer = predict(function, k=41)
    assert (answer.status, answer.fields) == (400, {"input.k": message})
    answer = function.ask("POST", "/predictions:batch", {"inputs": [RECORD, {**RECORD, "k": 41}]})
    assert (answer.status, answer.fields) == (400, {"inputs[1].k": message})


# --- the feature store ----------------------------------------------------------------------------------------------


def test_without_a_feature_store(predictions: Start, capsys: pytest.CaptureFixture[str]) -> None:
    function = predictions(FEATURE_GROUP_NAME="there-is-no-such-group")
    answer = predict(function, name=NAME)
    assert (answer.status, answer.document["response"]["stored_features"]) == (200, "unavailable")
    inputs = [RECORD, {**RECORD, "name": NAME}]
    answer = function.ask("POST", "/predictions:batch", {"inputs": inputs})
    assert [one["stored_features"] for one in answer.document["responses"]] == ["no name", "unavailable"]
    lines = logged(capsys)
    assert [line["level"] for line in lines] == ["WARNING", "WARNING"]
    assert NAME not in json.dumps(lines)


def test_features_that_the_model_does_not_take(predictions: Start, capsys: pytest.CaptureFixture[str]) -> None:
    function = predictions()
    answer = predict(function, name="O_Odd")
    assert (answer.status, answer.document["response"]["stored_features"]) == (200, "unavailable")
    inputs = [{**RECORD, "name": name} for name in (NAME, "O_Odd", "X_Nobody")]
    answer = function.ask("POST", "/predictions:batch", {"inputs": inputs})
    states = [one["stored_features"] for one in answer.document["responses"]]
    assert states == ["unavailable", "unavailable", "unknown holder"]
    assert {line["message"] for line in logged(capsys)} == {"the model refuses the stored features"}


@pytest.mark.parametrize(
    ("salt", "initial", "last"), [(SALT, "C", "Mason"), ("other", "C", "Mason"), ("ü", "Å", "Öz 'n\" Co, ltd")]
)
def test_holders_have_the_identifiers_of_the_feature_writer(tmp_path: Path, salt: str, initial: str, last: str) -> None:
    """One rule in two places: SQL over a file of transactions, and a name in a request."""
    quoted = last.replace('"', '""')
    header = "Cardholder Last Name,Cardholder First Initial,Amount,Vendor,Transaction Date"
    file = tmp_path / "card.csv"
    file.write_text(f'{header}\n"{quoted}",{initial},12.50,ACME,01/31/2014\n')
    with duckdb.connect() as connection:
        read(connection, [file], Format(), salt=salt)
        assert connection.execute("SELECT id FROM holder").fetchall() == [(identifier(f"{initial}_{last}", salt),)]


# --- the endpoint ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "said"),
    [(42, "the model failed"), (44, "the model's answer is not one of predictions"), (45, "the model failed")],
)
def test_a_model_that_fails(predictions: Start, k: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    function = predictions()
    answer = predict(function, k=k)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.document == {"message": "The model cannot answer now; try again later"}
    (line,) = logged(capsys)
    assert (line["level"], line["message"], line["correlation_id"]) == ("ERROR", said, REQUEST_ID)
    until(lambda: predict(function).status == 200, "a model that has ended is there again")


def test_no_endpoint(predictions: Start, capsys: pytest.CaptureFixture[str]) -> None:
    function = predictions(ENDPOINT_NAME="there-is-no-such-endpoint")
    for path, document in (("/predictions", {"input": RECORD}), ("/predictions:batch", {"inputs": [RECORD]})):
        answer = function.ask("POST", path, document)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert "endpoint" not in json.dumps(answer.document)
    assert {line["message"] for line in logged(capsys)} == {"the endpoint cannot answer"}


def test_a_slow_endpoint(account: ApiAccount, predictions: Start, caplog: pytest.LogCaptureFixture) -> None:
    predictions()  # for the environment
    endpoint = Endpoint(account.endpoint, Logger(service="test"), patience_seconds=0.2)
    with pytest.raises(Refused) as caught:
        endpoint.ask({**RECORD, "k": 43})
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
    assert caplog.messages == ["the endpoint did not answer"]


def test_nobody_listens(predictions: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    function = predictions()
    assert predict(function, name=NAME).status == 503
    assert function.ask("GET", "/health").status == 503
    feedback = {"inference_id": inference_ids.make(NOW), "purchased": True}
    assert function.ask("POST", "/feedback", feedback).status == 503


def test_a_mistake_of_ours(predictions: Start, account: ApiAccount, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody has thought of: a bucket that is not there."""
    function = predictions(GROUND_TRUTH_URI="s3://there-is-no-such-bucket-4711/x")
    answer = function.ask("POST", "/feedback", {"inference_id": inference_ids.make(NOW), "purchased": True})
    assert (answer.status, answer.document) == (500, {"message": "Internal error", "request_id": REQUEST_ID})
    (line,) = logged(capsys)
    assert (line["level"], line["message"]) == ("ERROR", "the request failed")
    assert (line["correlation_id"], line["exception_name"]) == (REQUEST_ID, "NoSuchBucket")


# --- health ---------------------------------------------------------------------------------------------------------


def test_health(predictions: Start) -> None:
    answer = predictions().ask("GET", "/health")
    assert (answer.status, answer.document) == (200, {"status": "ok"})


@pytest.fixture
def endpoint_for_a_while(account: ApiAccount) -> Iterator[str]:
    sagemaker, name = account.client("sagemaker"), f"{account.endpoint}-for-a-while"
    yield name
    with suppress(ClientError):  # the test has deleted it
        sagemaker.delete_endpoint(EndpointName=name)


def test_health_is_looked_up_once_in_a_few_seconds(
    predictions: Start, account: ApiAccount, endpoint_for_a_while: str
) -> None:
    function = predictions(ENDPOINT_NAME=endpoint_for_a_while)
    answer = function.ask("GET", "/health")
    assert (answer.status, answer.document) == (503, {"message": "The model is not in service"})
    sagemaker = account.client("sagemaker")
    sagemaker.create_endpoint(EndpointName=endpoint_for_a_while, EndpointConfigName=account.endpoint)
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=endpoint_for_a_while, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert function.ask("GET", "/health", at=NOW + timedelta(seconds=4)).status == 503
    assert function.ask("GET", "/health", at=NOW + timedelta(seconds=5)).status == 200
    # A clock that was put back does not keep it for ever.
    sagemaker.delete_endpoint(EndpointName=endpoint_for_a_while)
    assert function.ask("GET", "/health", at=NOW).status == 503


# --- the function itself ----------------------------------------------------------------------------------------------


def test_a_function_without_its_environment_does_not_start(predictions: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions()
    monkeypatch.delenv("HOLDER_SALT")
    monkeypatch.setenv("ALLOWED_ORIGIN", "")
    with pytest.raises(Exception, match="the function has no HOLDER_SALT, ALLOWED_ORIGIN in its environment"):
        load("predictions")


@pytest.mark.parametrize("uri", ["https://bucket/x", "s3://bucket", "s3:///x"])
def test_a_place_that_is_none_is_refused(predictions: Start, uri: str) -> None:
    with pytest.raises(ValueError, match=f"GROUND_TRUTH_URI is `{uri}`; expected s3://bucket/prefix"):
        predictions(GROUND_TRUTH_URI=uri)


def test_a_path_may_be_spelt_otherwise(predictions: Start) -> None:
    body = json.dumps({"inputs": [RECORD]})
    asked = {**event("POST", "/predictions:batch", body), "path": "/v1/predictions%3Abatch"}
    assert predictions().handler(asked, Context())["statusCode"] == 200


def test_an_unknown_path(predictions: Start) -> None:
    answer = predictions().handler(event("GET", "/nothing"), Context())
    assert (answer["statusCode"], answer["body"]) == (404, '{"message":"Not Found"}')
