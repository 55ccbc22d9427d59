"""The functions' parts, apart from requests: what they carry, what goes to the model, and the endpoint's states."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from seed_code.api.endpoint import ModelRefused
from seed_code.api.health import Health
from seed_code.api.holders import Holders, Stored, identifier
from seed_code.api.refusals import Refused
from seed_code.api.requests import Record
from seed_code.api.scoring import Scoring
from seed_code.cardholders import feature_writer
from seed_code.cardholders.features import STORED_FEATURES
from seed_code.cardholders.records import Reader, StoredFeature
from tests.conftest import ROOT, Localcloud
from tests.seed_code.api.gateway import NOW

LOG = Logger(service="test")
PARTS = sorted((ROOT / "seed_code" / "api").glob("*.py"))
# What is packed with the functions, and what Lambda's runtime has.
CARRIED = ("aws-lambda-powertools", "jmespath", "marshmallow", "typing-extensions")
RUNTIME = ("boto3", "botocore", "python-dateutil", "s3transfer", "six", "urllib3")


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.stem)
def test_what_is_imported(part: Path) -> None:
    allowed = {*sys.stdlib_module_names, "aws_lambda_powertools", "boto3", "botocore", "marshmallow"}
    for node in ast.walk(ast.parse(part.read_text())):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        )  # fmt: skip
        for name in names:
            assert name.startswith("seed_code.api") or name.partition(".")[0] in allowed, name


def test_the_functions_start_with_what_they_carry(tmp_path: Path) -> None:
    tops = {
        found.parts[0]
        for library in (*CARRIED, *RUNTIME)
        for found in files(library) or []
        if found.suffix == ".py" and not found.parts[0].startswith("..")
    }
    site = Path(str((files("boto3") or [])[0].locate())).parents[1]
    for top in tops:
        (tmp_path / top).symlink_to(site / top)
    (tmp_path / "seed_code").mkdir()
    (tmp_path / "seed_code" / "__init__.py").touch()
    (tmp_path / "seed_code" / "api").symlink_to(ROOT / "seed_code" / "api")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import seed_code.api.{{}} as f; f.handler"
    variables = {
        "ENDPOINT_NAME": "e",
        "FEATURE_GROUP_NAME": "f",
        "HOLDER_SALT": "s",
        "GROUND_TRUTH_URI": "s3://bucket/prefix",
        "ALLOWED_ORIGIN": "*",
        "QUANTILES": "0.5",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "PATH": os.environ["PATH"],
    }
    for function in ("predictions", "forecasts"):
        command = [sys.executable, "-S", "-B", "-W", "error", "-c", program.format(function)]
        ended = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")


# --- what goes to the model -----------------------------------------------------------------------------------------


class Model:
    """An endpoint that takes what our model server takes, and answers for each record."""

    def __init__(self, refusal: ModelRefused | None = None, answer: Any = None) -> None:
        self.reader = Reader([StoredFeature(one.name, one.kind == "int", one.minimum, one.maximum) for one in
                              STORED_FEATURES], 90)  # fmt: skip
        self.refusal, self.answer = refusal, answer
        self.asked: list[Any] = []

    def ask(self, document: Any, inference_id: str) -> Any:
        self.asked.append((document, inference_id))
        if self.refusal is not None:
            raise self.refusal
        batch = isinstance(document, list)
        self.reader.read(document if batch else [document], batch=batch)
        one = {"predicted_cluster": 1, "will_spend": False, "probability": 0.25}
        return self.answer or {"response": [one] * len(document) if batch else one}

    def no_answer(self, why: str, error: object = None) -> Refused:
        return Refused(why)


class Store:
    """A feature group's records by holder, or its refusal."""

    def __init__(self, records: Sequence[dict[str, str]], **answer: Any) -> None:
        self.records = [
            [{"FeatureName": name, "ValueAsString": value} for name, value in record.items()] for record in records
        ]
        self.answer = answer
        self.asked: list[list[str]] = []

    def find(self, name: str | None) -> Stored:
        return Stored("used", {"recency_days": 1}) if name else Stored("no name")

    def find_all(self, names: Sequence[str | None]) -> list[Stored]:
        return [self.find(name) for name in names]

    def get_record(self, **_: Any) -> Any:
        return {"Record": self.records[0]}

    def batch_get_record(self, Identifiers: list[Any]) -> Any:
        names = Identifiers[0]["RecordIdentifiersValueAsString"]
        self.asked.append(names)
        if len(self.asked) > 1:
            raise ClientError({"Error": {"Code": "InternalFailure", "Message": "no"}}, "BatchGetRecord")
        found = [{"RecordIdentifierValueAsString": names[0], "Record": self.records[0]}]
        return {"Records": found, "Errors": [], "UnprocessedIdentifiers": [], **self.answer}


def holders(store: Store, monkeypatch: pytest.MonkeyPatch) -> Holders:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    found = Holders("group", "salt", LOG)
    found._client = store
    return found


RECORD = Record({"usage_freq": 1, "amount_spend": 2.0, "uniq_merchant": 3, "k": 4}, "C_Mason")


def test_all_that_the_feature_writer_writes_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three parts must agree: who writes the features, who passes them on, and the model's server."""
    texts = {"Integral": "1", "Fractional": "0.5", "String": "2026-11-21T23:59:59Z"}
    record = {name: texts[kind] for name, kind in feature_writer.definitions().items()}
    model = Model()
    scoring = Scoring(model, holders(Store([record]), monkeypatch), LOG)  # type: ignore[arg-type]
    assert scoring.one(RECORD, "an-id") == {
        "predicted_cluster": 1,
        "will_spend": False,
        "probability": 0.25,
        "inference_id": "an-id",
        "stored_features": "used",
    }
    ((document, inference_id),) = model.asked
    assert document == {
        **RECORD.values,
        "features": {one.name: 1 if one.kind == "int" else 0.5 for one in STORED_FEATURES},
    }
    assert inference_id == "an-id"


def test_a_value_that_is_not_known_is_left_away(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"recency_days": "-3", "gap_mean": "NaN", "gap_std": "-Infinity", "overdue": "many", "gap_last": "1e3"}
    found = holders(Store([record]), monkeypatch).find("C_Mason")
    assert found == Stored("used", {"recency_days": -3, "gap_last": 1000.0})
    assert type(found.features["recency_days"]) is int


def test_holders_are_looked_up_by_hundreds_and_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store([{"recency_days": "1"}])
    names = [None, *(f"A_{number}" for number in range(150)), "A_0", None, "A_149"]
    found = holders(store, monkeypatch).find_all(names)
    assert [len(names) for names in store.asked] == [100, 50]
    assert len({name for asked in store.asked for name in asked}) == 150
    # The second call has failed.
    states = [one.state for one in found]
    assert states[:102] == ["no name", "used", *["unknown holder"] * 99, "unavailable"]
    assert states[-3:] == ["used", "no name", "unavailable"]


@pytest.mark.parametrize("left", ["Errors", "UnprocessedIdentifiers"])
def test_holders_that_the_store_does_not_say_anything_of(monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    other = identifier("B_Other", "salt")
    said = {
        "Errors": [{"RecordIdentifierValueAsString": other, "ErrorCode": "InternalFailure"}],
        "UnprocessedIdentifiers": [{"RecordIdentifiersValueAsString": [other]}],
    }
    store = Store([{"recency_days": "1"}], **{left: said[left]})
    states = [one.state for one in holders(store, monkeypatch).find_all(["A_Known", "B_Other", "C_Unknown"])]
    assert states == ["used", "unavailable", "unknown holder"]


@pytest.mark.parametrize(
    ("said", "batch", "path"),
    [
        ("k", False, "input.k"),
        (None, False, "input"),
        ("[1].k", True, "inputs[1].k"),
        ("[0]", True, "inputs[0]"),
        (None, True, "inputs"),
    ],
)
def test_what_the_model_refuses_has_its_place(said: str | None, batch: bool, path: str) -> None:
    scoring = Scoring(Model(ModelRefused(said, "is wrong")), Store([]), LOG)  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        scoring.many([RECORD, RECORD], "an-id") if batch else scoring.one(RECORD, "an-id")
    assert [(one.field, one.message) for one in caught.value.mistakes] == [(path, "is wrong")]


def test_a_model_that_goes_on_refusing_features_is_not_asked_for_ever() -> None:
    model = Model(ModelRefused("features.odd", "is unknown"))
    with pytest.raises(Refused):
        Scoring(model, Store([]), LOG).one(RECORD, "an-id")  # type: ignore[arg-type]
    assert len(model.asked) == 2
    assert "features" not in model.asked[1][0]


GOOD = {"predicted_cluster": 1, "will_spend": True, "probability": 0.5}


@pytest.mark.parametrize(
    "response",
    [
        None,
        [GOOD],
        {},
        {**GOOD, "probability": "0.5"},
        {**GOOD, "probability": float("nan")},
        {**GOOD, "probability": -0.1},
        {**GOOD, "predicted_cluster": 1.0},
        {**GOOD, "predicted_cluster": True},
        {**GOOD, "will_spend": 1},
    ],
)
def test_an_answer_that_is_no_prediction(response: Any) -> None:
    for answer in ({"response": response}, [response]):
        with pytest.raises(Refused, match="the model's answer is not one of predictions"):
            Scoring(Model(answer=answer), Store([]), LOG).one(RECORD, "an-id")  # type: ignore[arg-type]


@pytest.mark.parametrize("response", [GOOD, [], [GOOD], [GOOD] * 3, [GOOD, None]])
def test_an_answer_of_another_number(response: Any) -> None:
    scoring = Scoring(Model(answer={"response": response}), Store([]), LOG)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="the model's answer is not one of predictions"):
        scoring.many([RECORD, RECORD], "an-id")


# --- health ---------------------------------------------------------------------------------------------------------


class SageMaker:
    def __init__(self, status: str) -> None:
        self.status = status

    def describe_endpoint(self, **_: Any) -> Any:
        return {"EndpointStatus": self.status}


@pytest.mark.parametrize(
    ("status", "serves"),
    [
        ("InService", True),
        ("Updating", True),
        ("SystemUpdating", True),
        ("RollingBack", True),
        ("Creating", False),
        ("Failed", False),
        ("OutOfService", False),
        ("Deleting", False),
        ("UpdateRollbackFailed", False),
    ],
)
def test_the_states_of_an_endpoint(aws: Localcloud, status: str, serves: bool) -> None:
    health = Health("endpoint", LOG)
    health._client = SageMaker(status)
    assert health.serving(NOW) is serves
