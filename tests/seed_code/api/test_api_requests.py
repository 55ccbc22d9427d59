"""Requests: what is taken, what is refused, and that all mistakes are named."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.api import bodies, requests
from seed_code.api.refusals import Refused
from seed_code.cardholders.records import Reader
from seed_code.common.request_errors import RequestError
from tests.seed_code.api.gateway import check, document, event

GOOD = {"usage_freq": 12, "amount_spend": 1840.5, "uniq_merchant": 7, "k": 14}
NAME = "Q_Verysecretname"
COUNT = "expected an integer from 0 to 1000000000000000"


def refusal(read: Any, *values: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        read(*values)
    return caught.value


def mistakes(found: Refused) -> dict[str, str]:
    return {one.field: one.message for one in found.mistakes}


def test_every_mistake_is_named() -> None:
    wrong = {"usage_freq": True, "amount_spend": "9", "k": 91, "name": "", "Name": NAME}
    found = refusal(requests.batch, {"inputs": [GOOD, wrong, 7, None], "more": 1})
    record = "is not an object; expected one with usage_freq, amount_spend, uniq_merchant, k and, if known, name"
    assert mistakes(found) == {
        "inputs[1].usage_freq": f"is true; {COUNT}",
        "inputs[1].amount_spend": 'is "9"; expected a number from 0 to 1000000000000000',
        "inputs[1].uniq_merchant": "is missing",
        "inputs[1].k": "is 91; expected an integer from 1 to 90",
        "inputs[1].name": "is not a text of 1 to 200 characters; expected one, or leave it out",
        "inputs[1].Name": "is unknown; expected only usage_freq, amount_spend, uniq_merchant, k, name",
        "inputs[2]": record,
        "inputs[3]": record,
        "more": "is unknown; expected only inputs",
    }
    assert found.message == "The request has 9 mistakes"
    assert NAME not in json.dumps(found.document())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("usage_freq", 1.0, f"is 1.0; {COUNT}"),
        ("usage_freq", -1, f"is -1; {COUNT}"),
        ("usage_freq", None, f"is null; {COUNT}"),
        ("uniq_merchant", 10**15 + 1, f"is 1000000000000001; {COUNT}"),
        ("uniq_merchant", [1], f"is [1]; {COUNT}"),
        ("amount_spend", float("inf"), "is Infinity; expected a number from 0 to 1000000000000000"),
        ("amount_spend", -0.01, "is -0.01; expected a number from 0 to 1000000000000000"),
        ("amount_spend", True, "is true; expected a number from 0 to 1000000000000000"),
        ("amount_spend", None, "is null; expected a number from 0 to 1000000000000000"),
        ("k", 0, "is 0; expected an integer from 1 to 90"),
        ("k", "9" * 99, f'is "{"9" * 59}…; expected an integer from 1 to 90'),
    ],
)
def test_a_wrong_value_is_shown(field: str, value: Any, message: str) -> None:
    assert mistakes(refusal(requests.prediction, {"input": {**GOOD, field: value}})) == {f"input.{field}": message}


@pytest.mark.parametrize("name", [None, "", "N" * 201, 7, [NAME], {NAME: NAME}, f"\ud800{NAME}"])
def test_a_wrong_name_is_not_shown(name: Any) -> None:
    found = refusal(requests.prediction, {"input": {**GOOD, "name": name}})
    assert list(mistakes(found)) == ["input.name"]
    assert NAME not in json.dumps(found.document())


@pytest.mark.parametrize("document", [None, [], "text", 7, True])
def test_a_document_is_an_object(document: Any) -> None:
    for read in (requests.prediction, requests.batch, requests.feedback):
        found = mistakes(refusal(read, document))
        assert found["body"].startswith("is not an object; expected one with ")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "has 0 records; expected 1 to 500"),
        ([GOOD] * 501, "has 501 records; expected 1 to 500"),
        ({"0": GOOD}, "is not a list; expected one of records"),
        (None, "is not a list; expected one of records"),
    ],
)
def test_a_batch_has_its_size(inputs: Any, message: str) -> None:
    assert mistakes(refusal(requests.batch, {"inputs": inputs})) == {"inputs": message}


def test_a_batch_may_be_full() -> None:
    records = requests.batch({"inputs": [{**GOOD, "name": f"A_{number}"} for number in range(500)]})
    assert [record.name for record in records] == [f"A_{number}" for number in range(500)]
    assert records[0].values == GOOD


def test_there_is_an_end_to_the_list_of_mistakes() -> None:
    found = refusal(requests.batch, {"inputs": [{"x" * 9000: 1}] * 500})
    assert found.message == "The request has at least 105 mistakes; the first 100 are listed"
    assert len(found.document()["errors"]) == 100
    assert len(json.dumps(found.document())) < 100_000


def test_as_many_mistakes_as_are_listed_are_counted() -> None:
    found = refusal(requests.batch, {"inputs": [{**GOOD, "k": 0}] * 100 + [GOOD] * 400})
    assert (found.message, len(found.mistakes)) == ("The request has 100 mistakes", 100)
    found = refusal(requests.batch, {"inputs": [{**GOOD, "k": 0}] * 500})
    assert (found.message, len(found.mistakes)) == (
        "The request has at least 101 mistakes; the first 100 are listed",
        101,
    )


def test_very_many_members_are_one_mistake() -> None:
    many = dict.fromkeys(map(str, range(21)), 1)
    record = "has 21 members; expected only usage_freq, amount_spend, uniq_merchant, k, name"
    assert mistakes(refusal(requests.prediction, {"input": many})) == {"input": record}
    assert mistakes(refusal(requests.batch, {"inputs": [GOOD, many]})) == {"inputs[1]": record}
    assert mistakes(refusal(requests.batch, many)) == {"body": "has 21 members; expected only inputs"}
    less = dict.fromkeys(map(str, range(20)), 1)
    assert len(mistakes(refusal(requests.prediction, less))) == 21


def test_a_member_called_as_marshmallow_calls_the_object_has_its_own_name() -> None:
    unknown = "is unknown; expected only"
    assert mistakes(refusal(requests.feedback, {"inference_id": "x", "purchased": True, "_schema": 1})) == {
        "_schema": f"{unknown} inference_id, purchased"
    }
    record = f"{unknown} usage_freq, amount_spend, uniq_merchant, k, name"
    assert mistakes(refusal(requests.prediction, {"input": {**GOOD, "_schema": 1}})) == {"input._schema": record}
    assert mistakes(refusal(requests.batch, {"inputs": [{**GOOD, "_schema": 1}], "_schema": 1})) == {
        "inputs[0]._schema": record,
        "_schema": f"{unknown} inputs",
    }


def test_the_names_of_members_can_be_sent_back() -> None:
    found = refusal(requests.feedback, {"inference_id": 7, "purchased": 0, "\ud800": 1, "": 2})
    assert mistakes(found) == {
        "inference_id": "is 7; expected the inference_id of a prediction's answer",
        "purchased": "is 0; expected true or false",
        "\\ud800": "is unknown; expected only inference_id, purchased",
        "": "is unknown; expected only inference_id, purchased",
    }
    json.dumps(found.document()).encode("ascii")


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**15 + 2),
    st.integers(0, 100),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
)
records = st.one_of(
    st.fixed_dictionaries(dict.fromkeys(GOOD, values), optional={"name": values, "other": values}),
    st.fixed_dictionaries({name: st.integers(1, 95) for name in GOOD}, optional={"name": st.text(max_size=2)}),
    st.dictionaries(st.sampled_from([*GOOD, "name", "other"]), values),
)


@given(records)
def test_what_is_accepted_the_document_and_the_model_accept(record: dict[str, Any]) -> None:
    """One truth in three places: marshmallow's schema, the document's, and the model server's reader."""

    def accepted(read: Any, error: type[Exception]) -> bool:
        try:
            read()
        except error:
            return False
        return True

    ours = accepted(lambda: requests.prediction({"input": record}), Refused)
    schema = document()["components"]["schemas"]["CardholderRecord"]
    finite = all(value == value and abs(value) != float("inf") for value in record.values() if type(value) is float)
    assert ours is (finite and accepted(lambda: check(schema, record), jsonschema.ValidationError))
    reader = Reader([], requests.MOST_DAYS)
    if ours:
        reader.read([record], batch=False)
    elif "name" not in record:
        assert not accepted(lambda: reader.read([record], batch=False), RequestError)


@settings(max_examples=30)
@given(st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner)))
def test_whatever_comes_is_refused_in_words(content: Any) -> None:
    for read in (requests.prediction, requests.batch, requests.feedback):
        found = refusal(read, content)
        check({"$ref": "#/components/schemas/Mistakes"}, found.document())
        assert found.status == 400


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "The request has no body; expected a JSON object"),
        ("", "The request has no body; expected a JSON object"),
        (" \n", "The request has no body; expected a JSON object"),
        ("{", "The body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("{} {}", "The body is not JSON: Extra data: line 1 column 4 (char 3)"),
        ('{"a": NaN}', "expected here: NaN is no JSON value; expected finite numbers"),
        ('{"a": -Infinity}', "expected here: -Infinity is no JSON value; expected finite numbers"),
        ('{"a": 1, "b": 2, "a": 1}', 'expected here: the member "a" is given twice in one object'),
        ("[" * 30 + "]" * 30, "The body is nested too deeply"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "The body is nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "The body holds a number of too many digits"),
    ],
)
def test_a_body_that_is_no_document(body: str | None, message: str) -> None:
    found = refusal(bodies.read, event("POST", "/predictions", body))
    assert (found.status, found.mistakes) == (400, ())
    assert found.message.endswith(message)


@pytest.mark.parametrize(
    "given_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/json; charset=latin-1",
        "application/json; x=1; charset=latin-1",
    ],
)
@pytest.mark.parametrize("header", ["Content-Type", "content-type"])
def test_a_body_of_another_type(given_type: str, header: str) -> None:
    found = refusal(bodies.read, event("POST", "/predictions", "{}", headers={header: given_type}))
    assert (found.status, found.mistakes) == (415, ())
    assert found.message == f'Content-Type is "{given_type}"; expected application/json, in UTF-8'


@pytest.mark.parametrize(
    "given_type",
    [
        "application/json",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; charset=utf-8; x=1",
        "application/json; x=1",
        "application/json;",
        "",
    ],
)
def test_a_body_of_the_right_type(given_type: str) -> None:
    assert bodies.read(event("POST", "/predictions", '{"a": 1}', headers={"Content-Type": given_type})) == {"a": 1}


@pytest.mark.parametrize("given_encoding", ["gzip", "br", "identity, gzip"])
def test_a_body_that_is_compressed(given_encoding: str) -> None:
    found = refusal(bodies.read, event("POST", "/predictions", "{}", headers={"content-Encoding": given_encoding}))
    assert (found.status, found.message) == (415, f'Content-Encoding is "{given_encoding}"; expected none')
    assert bodies.read(event("POST", "/predictions", "{}", headers={"content-encoding": "Identity"})) == {}


def test_a_body_has_its_size() -> None:
    text = '"' + "a" * (bodies.MOST_BYTES - 2) + '"'
    assert len(bodies.read(event("POST", "/predictions", text))) == bodies.MOST_BYTES - 2
    encoded = base64.b64encode(text.encode()).decode()
    assert bodies.read(event("POST", "/predictions", encoded, encoded=True)) == text[1:-1]
    longer = text[:-1] + 'a"'
    encoded = base64.b64encode(longer.encode()).decode()
    # Bytes count, not characters; and what is too large is not read.
    for body, is_encoded in ((longer, False), (encoded, True), ("ä" * (bodies.MOST_BYTES // 2) + "a", False)):
        found = refusal(bodies.read, event("POST", "/predictions", body, encoded=is_encoded))
        assert (found.status, found.message) == (413, "The body has 1048577 bytes; expected at most 1048576")


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs":[' + ",".join(['{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0,"k":0}'] * 500) + "]}",
        '{"input":{' + ",".join(f'"{number:x}":0' for number in range(110_000)) + "}}",
        "{" + ",".join(f'"{number:x}":0' for number in range(110_000)) + "}",
    ],
    ids=["many mistakes", "many members", "many members of the document"],
)
def test_the_worst_body_is_refused_soon(text: str) -> None:
    assert len(text) <= bodies.MOST_BYTES
    read = requests.batch if "inputs" in text else requests.prediction
    begun = time.process_time()
    found = refusal(lambda: read(bodies.read(event("POST", "/predictions", text))))
    assert len(found.mistakes) < 120
    assert time.process_time() - begun < 1  # it was ten and more


def test_a_request_without_headers() -> None:
    assert bodies.read({**event("POST", "/predictions", "[1]"), "headers": None}) == [1]


def test_a_body_that_was_encoded() -> None:
    body = base64.b64encode('{"name": "Ä"}'.encode()).decode()
    assert bodies.read(event("POST", "/predictions", body, encoded=True)) == {"name": "Ä"}
    found = refusal(bodies.read, event("POST", "/predictions", "{}", encoded=True))
    assert found.message == "The body is not JSON: it is declared as base64, and is not that"
    latin = base64.b64encode('{"name": "Ä"}'.encode("latin-1")).decode()
    found = refusal(bodies.read, event("POST", "/predictions", latin, encoded=True))
    assert found.message == "The body is not JSON: it is not UTF-8 at byte 10"


@settings(max_examples=50)
@given(st.text())
def test_no_text_makes_the_reader_fail(text: str) -> None:
    try:
        found = bodies.read(event("POST", "/predictions", text))
    except Refused:
        return
    assert found == json.loads(text)
