"""List operations: filters, order and pages."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.errors import ServiceError
from localcloud.sagemaker.crud import listing, paginate

START = datetime(2026, 1, 1, tzinfo=UTC)


def models(*names: str) -> list[dict[str, Any]]:
    return [
        {
            "ModelName": name,
            "ModelArn": f"arn:aws:sagemaker:eu-west-1:1:model/{name}",
            "CreationTime": START + timedelta(days=day),
        }
        for day, name in enumerate(names)
    ]


def names(documents: list[dict[str, Any]], **params: Any) -> list[str]:
    answer = listing("ListModels", documents, params, name="ModelName", default_order="Descending")
    return [entry["ModelName"] for entry in answer["Models"]]


def test_filters_and_order() -> None:
    made = models("b-one", "a-two", "c-one")
    assert names(made) == ["c-one", "a-two", "b-one"]
    assert names(made, SortBy="Name", SortOrder="Ascending") == ["a-two", "b-one", "c-one"]
    assert names(made, NameContains="ONE", SortOrder="Ascending") == ["b-one", "c-one"]
    assert names(made, CreationTimeAfter=START) == ["c-one", "a-two"]
    assert names(made, CreationTimeBefore=START + timedelta(days=1)) == ["b-one"]


def test_summaries_hold_what_the_model_says() -> None:
    documents = [{**models("a")[0], "ExecutionRoleArn": "r", "Internal": 1}]
    answer = listing("ListModels", documents, {}, name="ModelName", default_order="Ascending")
    assert set(answer["Models"][0]) == {"ModelName", "ModelArn", "CreationTime"}


def test_things_made_in_the_same_instant_keep_their_order() -> None:
    made = [{**model, "CreationTime": START} for model in models("x", "a", "m")]
    assert names(made, SortOrder="Ascending") == ["x", "a", "m"]
    assert names(made, SortOrder="Descending") == ["m", "a", "x"]


@given(st.integers(0, 25), st.integers(1, 10))
def test_pages_hold_everything_once(count: int, size: int) -> None:
    items = [{"name": str(number)} for number in range(count)]
    seen: list[str] = []
    params: dict[str, Any] = {"MaxResults": size}
    while True:
        page, token = paginate("ListModels", items, params, lambda item: item["name"])
        assert len(page) <= size
        seen += [item["name"] for item in page]
        if token is None:
            break
        params["NextToken"] = token
    assert seen == [item["name"] for item in items]


def test_a_page_goes_on_after_the_last_item_when_others_come_and_go() -> None:
    items = [{"name": name} for name in "abcd"]
    _, token = paginate("ListModels", items, {"MaxResults": 2}, lambda item: item["name"])
    changed = [{"name": name} for name in ("new", "b", "c", "d")]
    page, _ = paginate("ListModels", changed, {"MaxResults": 2, "NextToken": token}, lambda item: item["name"])
    assert [item["name"] for item in page] == ["c", "d"]


def token_of(content: str) -> str:
    return base64.urlsafe_b64encode(content.encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "e30=",
        "\u00e9",
        *map(
            token_of, ('["ListModels", -5, "a"]', '["ListModels", 1e999, "a"]', '["ListModels", null, "a"]', "[" * 5000)
        ),
    ],
)
def test_a_token_of_nobodys_is_refused(token: str) -> None:
    with pytest.raises(ServiceError, match="NextToken"):
        paginate("ListModels", ["a", "b", "c"], {"NextToken": token}, str)


def test_a_token_of_another_operation_is_refused() -> None:
    _, token = paginate("ListTags", ["a", "b"], {"MaxResults": 1}, str)
    with pytest.raises(ServiceError, match="NextToken"):
        paginate("ListModels", ["a", "b"], {"NextToken": token}, str)
