"""The server's contract: what it answers, and what it answers when it cannot."""

import asyncio
import http.client
import json
import logging
import socket
import threading

import numpy as np
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st

from seed_code.cardholders import serve
from seed_code.cardholders.features import STORED_FEATURE_NAMES
from seed_code.cardholders.records import MAX_RECORDS

RECORD = {"usage_freq": 1, "amount_spend": 40000, "uniq_merchant": 89, "k": 6, "name": "C_Mason"}


def call(application, method="POST", path="/invocations", body=b"", content_type="application/json", chunks=1):
    """One request to an ASGI application: status, headers, parsed body."""
    size = -(-len(body) // chunks) if body else 0
    pieces = [body[start : start + size] for start in range(0, len(body), size)] if body else [b""]
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1}
        for number, piece in enumerate(pieces)
    ]
    headers = [] if content_type is None else [(b"content-type", content_type.encode())]
    if chunks == 1:
        headers.append((b"content-length", str(len(body)).encode()))
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "scheme": "http",
    }
    sent = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), content


@pytest.fixture(scope="module")
def application(scorer):
    return serve.application(scorer)


@pytest.fixture
def ask(application):
    """Ask with any JSON value: status and parsed answer."""

    def asked(payload, **options):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        status, _, content = call(application, body=body, **options)
        return status, json.loads(content)

    return asked


def test_ping_answers_200(application):
    assert call(application, "GET", "/ping")[0] == 200


def test_a_record_gets_the_three_answers_and_nothing_else(ask):
    status, answer = ask(RECORD)
    assert status == 200
    assert list(answer) == ["response"]
    response = answer["response"]
    assert list(response) == ["predicted_cluster", "will_spend", "probability"]
    assert type(response["predicted_cluster"]) is int
    assert response["will_spend"] is (response["probability"] >= 0.5)
    assert "Mason" not in json.dumps(answer)


def test_a_list_gets_a_list_in_its_order(ask):
    batch = [{**RECORD, "k": k} for k in (30, 1, 6)]
    status, answer = ask(batch)
    assert status == 200
    assert answer["response"] == [ask(record)[1]["response"] for record in batch]
    assert answer["response"][0]["probability"] > answer["response"][1]["probability"]


def test_json_lines_are_answered_line_by_line(application, ask):
    lines = b"\n".join(json.dumps({**RECORD, "k": k}).encode() for k in (1, 2)) + b"\n\n"
    status, headers, content = call(application, body=lines, content_type="application/jsonlines")
    assert status == 200
    assert headers[b"content-type"].startswith(b"application/jsonlines")
    answers = [json.loads(line) for line in content.splitlines()]
    assert answers == [ask({**RECORD, "k": k})[1] for k in (1, 2)]


def test_stored_features_change_the_probability_and_not_the_cluster(ask):
    known = {name: 0 for name in STORED_FEATURE_NAMES} | {"month_of_year": 1, "active_day_share": 1}
    bare, full = ask(RECORD)[1]["response"], ask({**RECORD, "features": known})[1]["response"]
    assert full["probability"] != bare["probability"]
    assert full["predicted_cluster"] == bare["predicted_cluster"]


def test_nothing_known_is_the_same_as_nothing_sent(ask):
    bare = ask(RECORD)
    assert ask({**RECORD, "features": {}}) == bare
    assert ask({**RECORD, "features": dict.fromkeys(STORED_FEATURE_NAMES)}) == bare
    assert ask({name: value for name, value in RECORD.items() if name != "name"}) == bare
    assert ask({**RECORD, "name": None, "features": None}) == bare


def test_a_whole_number_may_be_written_as_a_float_among_the_features_only(ask):
    assert ask({**RECORD, "features": {"purchases_7d": 3.0}}) == ask({**RECORD, "features": {"purchases_7d": 3}})


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"usage_freq": -1}, "usage_freq", "is -1; expected an integer from 0 to 1000000000000000"),
        ({"usage_freq": 1.5}, "usage_freq", "is 1.5; expected an integer"),
        ({"usage_freq": True}, "usage_freq", "is true; expected an integer"),
        ({"usage_freq": "1"}, "usage_freq", 'is "1"; expected an integer'),
        ({"usage_freq": None}, "usage_freq", "is null"),
        ({"usage_freq": 10**16}, "usage_freq", "expected an integer from 0 to 1000000000000000"),
        ({"uniq_merchant": [1]}, "uniq_merchant", "is [1]"),
        ({"amount_spend": -0.01}, "amount_spend", "is -0.01; expected a number from 0 to 1000000000000000"),
        ({"amount_spend": "40000"}, "amount_spend", 'is "40000"'),
        ({"amount_spend": False}, "amount_spend", "is false"),
        ({"k": 0}, "k", "is 0; expected an integer from 1 to 30"),
        ({"k": 31}, "k", "is 31; expected an integer from 1 to 30"),
        ({"k": 6.0}, "k", "is 6.0; expected an integer"),
        ({"name": 7}, "name", "expected a string"),
        ({"features": [1]}, "features", "is [1]; expected an object"),
        ({"features": {"purchase_7d": 1}}, "features.purchase_7d", "is unknown; expected only recency_days"),
        ({"features": {"purchases_7d": -1}}, "features.purchases_7d", "is -1; expected a whole number from 0"),
        ({"features": {"purchases_7d": 0.5}}, "features.purchases_7d", "is 0.5; expected a whole number"),
        ({"features": {"purchases_7d": True}}, "features.purchases_7d", "is true"),
        ({"features": {"weekday": 7}}, "features.weekday", "is 7; expected a whole number from 0 to 6, or null"),
        ({"features": {"gap_mean": "3"}}, "features.gap_mean", 'is "3"'),
        ({"feature": {}}, "feature", "is unknown; expected only amount_spend, features"),
    ],
)
def test_a_mistake_in_a_record_names_field_value_and_expectation(ask, change, field, said):
    status, answer = ask({**RECORD, **change})
    assert status == 400
    assert list(answer) == ["error"]
    assert answer["error"]["field"] == field
    assert said in answer["error"]["message"]
    status, answer = ask([RECORD, RECORD, {**RECORD, **change}])
    assert (status, answer["error"]["field"]) == (400, f"[2].{field}")


@pytest.mark.parametrize("name", ["usage_freq", "amount_spend", "uniq_merchant", "k"])
def test_a_missing_field_is_named(ask, name):
    status, answer = ask({field: value for field, value in RECORD.items() if field != name})
    assert (status, answer["error"]["field"]) == (400, name)
    assert "is missing" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b'{"k": NaN}', "NaN is no JSON value"),
        (b'{"k": -Infinity}', "-Infinity is no JSON value"),
        (b"\xff\xfe\xfd", "the body is not JSON: it is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"k": ' + b"9" * 5000 + b"}", "the body is not JSON: a number has more than 4300 digits"),
        (b"[]", "an empty list"),
        (b"3", "found 3; expected a JSON object"),
        (b"null", "found null; expected a JSON object"),
        (b'"text"', "expected a JSON object"),
    ],
)
def test_a_body_that_is_no_request_gets_400(ask, body, said):
    status, answer = ask(body)
    assert status == 400
    assert said in answer["error"]["message"]


@pytest.mark.parametrize(
    "where", ['{"k": %s}', '{"usage_freq": 1, "amount_spend": 1, "uniq_merchant": 1, "k": %s}', "%s"]
)
def test_a_value_nested_as_deep_as_the_parser_goes_gets_400(ask, where):
    for depth in range(700, 1000, 3):
        status, answer = ask((where % ("[" * depth + "]" * depth)).encode())
        assert (status, list(answer)) == (400, ["error"]), depth


def test_a_number_beyond_floating_point_is_refused_by_field(ask):
    status, answer = ask(json.dumps(RECORD).replace("40000", "1e999").encode())
    assert (status, answer["error"]["field"]) == (400, "amount_spend")


def test_a_list_in_a_list_is_named_by_its_place(ask):
    status, answer = ask([RECORD, [RECORD]])
    assert (status, answer["error"]["field"]) == (400, "[1]")


def test_a_bad_line_is_named_by_its_number(application):
    status, _, content = call(application, body=b'{"k": 1}\n{', content_type="application/jsonlines")
    assert status == 400
    assert json.loads(content)["error"]["field"] == "[1]"


def test_too_many_records_get_400(ask):
    status, answer = ask([{}] * (MAX_RECORDS + 1))
    assert status == 400
    assert f"expected at most {MAX_RECORDS}" in answer["error"]["message"]


@pytest.mark.parametrize("chunks", [1, 9])
def test_too_large_a_body_gets_413_announced_or_not(ask, chunks):
    status, answer = ask(b" " * (serve.MAX_BODY_BYTES + 1), chunks=chunks)
    assert status == 413
    assert str(serve.MAX_BODY_BYTES) in answer["error"]["message"]


def test_a_body_that_is_too_large_is_read_to_its_end_so_that_the_answer_arrives(scorer):
    body = b" " * (serve.MAX_BODY_BYTES + 1024 * 1024)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # from here on a client waits, be the server ready or not
        server = uvicorn.Server(uvicorn.Config(serve.application(scorer), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            # All of the body before the answer is looked at, as most clients do it.
            connection = http.client.HTTPConnection(*listening.getsockname(), timeout=30)
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, answer.read().count(b"7340032")) == (413, 1)
            connection.close()
        finally:
            server.should_exit = True
            thread.join()


def test_a_body_far_too_large_is_refused_before_it_is_read(application):
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b"", "more_body": False}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/invocations",
        "query_string": b"",
        "headers": [(b"content-length", b"99999999999")],
    }
    asyncio.run(application(scope, receive, send))
    assert (sent[0]["status"], read) == (413, [])


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-npy", "nonsense"])
def test_another_content_type_gets_415(ask, content_type):
    status, answer = ask(RECORD, content_type=content_type)
    assert status == 415
    assert "application/json" in answer["error"]["message"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", None])
def test_json_is_recognised_however_it_is_named(ask, content_type):
    assert ask(RECORD, content_type=content_type)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/invocations", 405), ("POST", "/ping", 405), ("GET", "/models", 404)]
)
def test_another_path_or_method_is_told_what_there_is(application, method, path, status):
    found, _, content = call(application, method, path)
    assert found == status
    assert "expected GET /ping or POST /invocations" in json.loads(content)["error"]["message"]


def test_a_large_batch_is_answered_like_a_small_one(ask):
    features = dict.fromkeys(STORED_FEATURE_NAMES, 1)
    batch = [{**RECORD, "k": 1 + number % 30, "features": features} for number in range(300)]
    assert len(json.dumps(batch)) > serve._INLINE_BYTES
    status, answer = ask(batch)
    assert status == 200
    assert answer["response"][:30] == ask(batch[:30])[1]["response"]


class _Broken:
    def answer(self, payload):
        raise RuntimeError("secret detail of " + str(payload["k"]))


def test_an_error_of_ours_shows_an_id_that_the_log_explains(caplog):
    with caplog.at_level(logging.ERROR):
        status, _, content = call(serve.application(_Broken()), body=json.dumps(RECORD).encode())
    message = json.loads(content)["error"]["message"]
    assert status == 500
    assert "secret" not in message
    assert "Traceback" not in message
    record = caplog.records[-1]
    assert record.args[0] in message
    assert record.exc_info is not None


def test_a_holders_name_never_reaches_the_log(ask, caplog):
    with caplog.at_level(logging.DEBUG):
        ask(RECORD)
        ask({**RECORD, "k": 99})
        ask({**RECORD, "name": ["C_Mason"]})
    assert "Mason" not in caplog.text
    assert "Mason" not in json.dumps(ask({**RECORD, "name": ["C_Mason"]})[1])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150)
@given(
    st.one_of(
        JSON_VALUES,
        st.fixed_dictionaries(
            {},
            optional={name: JSON_VALUES for name in ("usage_freq", "amount_spend", "uniq_merchant", "k", "features")},
        ),
        st.fixed_dictionaries({name: st.just(value) for name, value in RECORD.items()} | {"features": JSON_VALUES}),
    )
)
def test_whatever_is_sent_the_answer_is_200_or_400_in_json(application, payload):
    status, _, content = call(application, body=json.dumps(payload).encode())
    answer = json.loads(content)
    assert (status, list(answer)) in ((200, ["response"]), (400, ["error"]))


def test_one_record_costs_the_same_answer_alone_and_in_a_batch(scorer):
    features = [None, {"recency_days": 3}, {"weekday": 2}]
    records = [{**RECORD, "k": k, "features": given} for k in (1, 15, 30) for given in features]
    together = scorer.answer(records)
    assert together == [scorer.answer(record) for record in records]
    assert np.unique([answer["predicted_cluster"] for answer in together]).size == 1
