"""Forecasts: of the newest minutes, with gaps, from an endpoint that is there or not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from seed_code.api.forecasting import Forecasting
from seed_code.api.minutes import CONTEXT_MINUTES, OLDEST_HOURS, Series
from seed_code.api.refusals import Refused
from seed_code.forecaster import records
from seed_code.forecaster.forecasts import Configuration
from seed_code.forecaster.frequency import Frequency
from tests.seed_code.api.account import ApiAccount
from tests.seed_code.api.conftest import Start
from tests.seed_code.api.gateway import REQUEST_ID, Answer, Function, document, load

MINUTE = timedelta(minutes=1)


class Days:
    """A day for each test, so that the minutes of one are never those of another."""

    number = 0

    @classmethod
    def next(cls) -> datetime:
        cls.number += 2
        return datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=cls.number)


@pytest.fixture
def noon() -> datetime:
    """Noon of a day of this test's own. The newest minute that has ended is 11:59."""
    return Days.next()


def put(account: ApiAccount, moments: Iterable[datetime], fee: str | None = "12.5") -> None:
    for moment in moments:
        values = {"total_nb_trx_1min": "0", "total_fee_1min": "0.0", **({} if fee is None else {"avg_fee_1min": fee})}
        at = f"{moment + MINUTE:%Y-%m-%dT%H:%M:%SZ}"
        account.put(account.minutes, tx_minute=f"{moment:%Y-%m-%dT%H:%M:%SZ}", event_time=at, **values)


def forecast(function: Function, at: datetime, *minutes: str) -> Answer:
    query = {"minutes": list(minutes)} if minutes else None
    return function.ask("GET", "/forecasts", query=query, at=at)


def told(answer: Answer) -> list[float]:
    """What the model was asked: number of values, how many are missing, the first, the last, the minute of start."""
    assert answer.status == 200, answer.document
    return [one["mean"] for one in answer.document["response"]["forecast"][:5]]


def test_a_forecast(forecasts: Start, account: ApiAccount, noon: datetime, capsys: pytest.CaptureFixture[str]) -> None:
    put(account, [noon - number * MINUTE for number in (3, 2, 1)])
    put(account, [noon], "99.0")  # the minute that is under way
    answer = forecast(forecasts(), noon + timedelta(seconds=59), "7")
    assert told(answer) == [3, 0, 12.5, 12.5, 57]
    response = answer.document["response"]
    assert (answer.document["message"], response["unit"]) == ("Forecast made successfully", "satoshi")
    assert response["data_until"] == f"{noon - MINUTE:%Y-%m-%dT%H:%M:%SZ}"
    assert [one["minute"] for one in response["forecast"]] == [
        f"{noon + number * MINUTE:%Y-%m-%dT%H:%M:%SZ}" for number in range(7)
    ]
    assert response["forecast"][6]["quantiles"] == {"0.05": 0.05, "0.5": 0.5, "0.95": 0.95}
    assert capsys.readouterr().out == ""


def test_gaps_are_missing_values(forecasts: Start, account: ApiAccount, noon: datetime) -> None:
    put(account, [noon - 5 * MINUTE], "1.0")
    put(account, [noon - 3 * MINUTE], "NaN")
    put(account, [noon - 2 * MINUTE], None)  # without transactions
    put(account, [noon - 1 * MINUTE], "5.0")
    assert told(forecast(forecasts(), noon, "5")) == [5, 3, 1.0, 5.0, 55]


def test_a_newest_minute_without_transactions_counts(forecasts: Start, account: ApiAccount, noon: datetime) -> None:
    put(account, [noon - 2 * MINUTE], "1.0")
    put(account, [noon - 1 * MINUTE], None)
    answer = forecast(forecasts(), noon, "5")
    assert told(answer) == [2, 1, 1.0, -1, 58]
    assert answer.document["response"]["data_until"] == f"{noon - MINUTE:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("behind", [1, 2, 100, 101, 250, 60 * OLDEST_HOURS])
def test_the_context_is_long_enough_however_old_the_newest_is(
    forecasts: Start, account: ApiAccount, noon: datetime, behind: int
) -> None:
    newest = noon - behind * MINUTE
    start = newest - (CONTEXT_MINUTES - 1) * MINUTE
    put(account, [newest, newest - 150 * MINUTE, start], "3.0")
    put(account, [start - MINUTE], "99.0")  # one too many
    answer = forecast(forecasts(), noon, "5")
    assert told(answer) == [CONTEXT_MINUTES, CONTEXT_MINUTES - 3, 3.0, 3.0, start.minute]
    assert answer.document["response"]["data_until"] == f"{newest:%Y-%m-%dT%H:%M:%SZ}"


def test_data_that_are_too_old(forecasts: Start, account: ApiAccount, noon: datetime) -> None:
    put(account, [noon - (60 * OLDEST_HOURS + 1) * MINUTE])
    answer = forecast(forecasts(), noon, "5")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.document == {"message": "There are no data of the last 6 hours, so that nothing can be forecast"}


def test_minutes_without_any_transaction(forecasts: Start, account: ApiAccount, noon: datetime) -> None:
    put(account, [noon - MINUTE], None)
    assert forecast(forecasts(), noon, "5").status == 503


# --- what the caller asks for ----------------------------------------------------------------------------------------

EXPECTED = "expected a whole number from 1 to 400"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], f"is missing; {EXPECTED}"),
        ([""], f'is ""; {EXPECTED}'),
        (["0"], f'is "0"; {EXPECTED}'),
        (["-1"], f'is "-1"; {EXPECTED}'),
        (["+5"], f'is "+5"; {EXPECTED}'),
        (["05"], f'is "05"; {EXPECTED}'),
        (["5.0"], f'is "5.0"; {EXPECTED}'),
        (["1e1"], f'is "1e1"; {EXPECTED}'),
        ([" 5"], f'is " 5"; {EXPECTED}'),
        (["5\n"], f'is "5\\n"; {EXPECTED}'),
        (["\u0665"], f'is "\\u0665"; {EXPECTED}'),
        (["401"], f'is "401"; {EXPECTED}'),
        (["9" * 500], f'is "{"9" * 59}…; {EXPECTED}'),
        (["5", "5"], f"is given 2 times; {EXPECTED}, once"),
    ],
)
def test_a_wrong_number_of_minutes(forecasts: Start, noon: datetime, given: list[str], message: str) -> None:
    answer = forecast(forecasts(), noon, *given)
    assert (answer.status, answer.fields) == (400, {"minutes": message})


def test_more_minutes_than_the_model_forecasts(forecasts: Start, account: ApiAccount, noon: datetime) -> None:
    put(account, [noon - MINUTE])
    function = forecasts()
    assert len(forecast(function, noon, "30").document["response"]["forecast"]) == 30
    answer = forecast(function, noon, "31")
    message = "is 31; expected at most 30, which is what the model forecasts"
    assert (answer.status, answer.fields) == (400, {"minutes": message})


def test_the_limit_is_the_document_s(forecasts: Start) -> None:
    forecasts()
    most = load("forecasts").MOST_MINUTES
    (parameter,) = document()["paths"]["/forecasts"]["get"]["parameters"]
    assert (parameter["schema"]["minimum"], parameter["schema"]["maximum"]) == (1, most)
    assert document()["components"]["schemas"]["Forecast"]["properties"]["forecast"]["maxItems"] == most


# --- what may be gone -----------------------------------------------------------------------------------------------


def test_no_endpoint(forecasts: Start, account: ApiAccount, noon: datetime, capsys: pytest.CaptureFixture[str]) -> None:
    put(account, [noon - MINUTE])
    answer = forecast(forecasts(ENDPOINT_NAME="there-is-no-such-endpoint"), noon, "5")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.document == {"message": "The model cannot answer now; try again later"}
    line = json.loads(capsys.readouterr().out)
    assert (line["message"], line["correlation_id"]) == ("the endpoint cannot answer", REQUEST_ID)


@pytest.mark.parametrize(
    ("fee", "said"), [("42.0", "the model refuses the series"), ("44.0", "the model's answer is not a forecast")]
)
def test_a_model_that_fails(
    forecasts: Start, account: ApiAccount, noon: datetime, fee: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(account, [noon - MINUTE], fee)
    assert forecast(forecasts(), noon, "5").status == 503
    assert json.loads(capsys.readouterr().out)["message"] == said


def test_no_feature_store(forecasts: Start, noon: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = forecast(forecasts(FEATURE_GROUP_NAME="there-is-no-such-group"), noon, "5")
    assert (answer.status, answer.document) == (503, {"message": "The data are not there now; try again later"})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    assert forecast(forecasts(), noon, "5").status == 503


@pytest.mark.parametrize("levels", ["", "0.5,0.5", "0.5,1", "0,0.5", "half", "0.5,", "nan"])
def test_levels_that_are_none_are_refused(forecasts: Start, levels: str) -> None:
    with pytest.raises(Exception, match="QUANTILES"):
        forecasts(QUANTILES=levels)


# --- the model's contract -------------------------------------------------------------------------------------------


class Answering:
    """An endpoint that answers one thing, and keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, None

    def ask(self, document: Any) -> Any:
        self.asked = document
        return self.answer

    def no_answer(self, why: str, error: object = None) -> Refused:
        return Refused(why)


SERIES = Series(datetime(2026, 11, 22, 10, tzinfo=UTC), [1.0, None, 3.5])


def test_the_question_is_one_that_our_server_takes() -> None:
    endpoint = Answering({"predictions": [{"mean": [1.0], "quantiles": {"0.1": [1.0]}}]})
    Forecasting(endpoint, ["0.1"]).forecast(SERIES, 1)  # type: ignore[arg-type]
    assert endpoint.asked is not None
    (instance,) = endpoint.asked["instances"]
    series = records.parse(instance, Frequency.parse("1min"))
    assert [value if value == value else None for value in series.target.tolist()] == list(SERIES.values)
    configuration = Configuration.parse(endpoint.asked["configuration"])
    assert (configuration.num_samples, configuration.quantiles) == (100, {"0.1": 0.1})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"predictions": []},
        {"predictions": [{}, {}]},
        {"predictions": [{"mean": [1.0]}]},
        {"predictions": [{"mean": [1.0], "quantiles": {"0.2": [1.0]}}]},
        {"predictions": [{"mean": [1.0], "quantiles": {"0.1": [1.0, 2.0]}}]},
        {"predictions": [{"mean": [], "quantiles": {"0.1": []}}]},
        {"predictions": [{"mean": [None], "quantiles": {"0.1": [1.0]}}]},
        {"predictions": [{"mean": [float("nan")], "quantiles": {"0.1": [1.0]}}]},
        {"predictions": [{"mean": 5, "quantiles": {"0.1": [1.0]}}]},
    ],
)
def test_an_answer_that_is_no_forecast(answer: Any) -> None:
    with pytest.raises(Refused, match="the model's answer is not a forecast"):
        Forecasting(Answering(answer), ["0.1"]).forecast(SERIES, 1)  # type: ignore[arg-type]
