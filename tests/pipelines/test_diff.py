"""What changed between two definitions, and the verb that shows it."""

from __future__ import annotations

import copy as copying
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import definitions
from pipelines.definition_diff import ABSENT, ItemChange, ValueChange, as_json, as_markdown, compare, short, steps

GOLDEN = Path(__file__).parent / "golden" / "cardholders-build.json"


def _definition(**step: Any) -> dict[str, Any]:
    arguments = {
        "AppSpecification": {"ContainerArguments": ["--k", "30"]},
        "ProcessingInputs": [{"InputName": "a", "Uri": "s3://1"}, {"InputName": "b", "Uri": "s3://2"}],
    }
    return {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Seed", "Type": "Integer", "DefaultValue": 0}],
        "Steps": [{"Name": "Prepare", "Type": "Processing", "Arguments": arguments, **step}],
    }


def _compare(old: Any, new: Any) -> Any:
    return compare("p", None if old is None else json.dumps(old), json.dumps(new))


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Name", "Key", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(_json_values)
def test_a_definition_does_not_differ_from_itself(value: Any) -> None:
    assert not _compare(_definition(More=value), _definition(More=value))


@given(_json_values, _json_values)
def test_definitions_that_differ_as_json_differ_here(old: Any, new: Any) -> None:
    as_text = [json.dumps(value, sort_keys=True) for value in (old, new)]
    found = _compare(_definition(More=old), _definition(More=new))
    if _unordered(old) != _unordered(new):
        assert found
    if as_text[0] == as_text[1]:
        assert not found


def _unordered(value: Any) -> Any:
    """Equal for values that differ in nothing but the order of named entries, which has no meaning."""
    if isinstance(value, dict):
        return json.dumps({key: _unordered(inner) for key, inner in value.items()}, sort_keys=True)
    if isinstance(value, list):
        return json.dumps(sorted(_unordered(inner) for inner in value))
    return json.dumps(value)


def test_an_argument_that_changed_is_named_by_its_path() -> None:
    new = _definition()
    new["Steps"][0]["Arguments"]["AppSpecification"]["ContainerArguments"] = ["--k", "60", "--now"]
    (change,) = _compare(_definition(), new).steps
    path = "Arguments.AppSpecification.ContainerArguments"
    assert change == ItemChange(
        "Prepare",
        "Processing",
        "changed",
        (ValueChange(f"{path}[1]", "30", "60"), ValueChange(f"{path}[2]", ABSENT, "--now")),
    )


def test_entries_with_a_name_are_compared_by_it() -> None:
    new = _definition()
    inputs = new["Steps"][0]["Arguments"]["ProcessingInputs"]
    new["Steps"][0]["Arguments"]["ProcessingInputs"] = [{"InputName": "new", "Uri": "s3://3"}, inputs[1], inputs[0]]
    (change,) = _compare(_definition(), new).steps
    assert change.values == (
        ValueChange("Arguments.ProcessingInputs['new']", ABSENT, {"InputName": "new", "Uri": "s3://3"}),
    )


def test_steps_and_parameters_that_came_and_went() -> None:
    new = _definition()
    new["Parameters"] = [{"Name": "Epochs", "Type": "Integer"}]
    new["Steps"].append({"Name": "Train", "Type": "Training", "Arguments": {}})
    new["Steps"][0]["Name"] = "Prepare2"
    found = _compare(_definition(), new)
    assert [(change.name, change.change) for change in found.steps] == [
        ("Prepare2", "added"),
        ("Train", "added"),
        ("Prepare", "removed"),
    ]
    assert [(change.name, change.change) for change in found.parameters] == [("Epochs", "added"), ("Seed", "removed")]


def test_steps_inside_a_condition_are_compared_like_the_others() -> None:
    old = json.loads(GOLDEN.read_text())
    new = copying.deepcopy(old)
    gate = next(step for step in new["Steps"] if step["Name"] == "QualityGate")
    known = gate["Arguments"]["IfSteps"][0]
    known["Arguments"]["ElseSteps"][0]["Arguments"]["ModelApprovalStatus"] = "Approved"
    known["Arguments"]["ElseSteps"].pop()
    found = {change.name: change for change in _compare(old, new).steps}
    assert found["Register"].values == (
        ValueChange("Arguments.ModelApprovalStatus", "PendingManualApproval", "Approved"),
    )
    assert found["LinkMlflow"].change == "removed"
    assert found["AlreadyRegistered"].values == (ValueChange("Arguments.ElseSteps[1]", "LinkMlflow", ABSENT),)
    assert len(found) == 3


def test_all_steps_are_found_in_the_order_in_which_they_stand() -> None:
    assert list(steps(json.loads(GOLDEN.read_text()))) == [
        "Prepare",
        "TrainClusters",
        "TrainPurchase",
        "Package",
        "Evaluate",
        "QualityGate",
        "AlreadyRegistered",
        "Register",
        "LinkMlflow",
        "QualityTooLow",
    ]


def test_one_and_true_are_not_the_same() -> None:
    assert _compare(_definition(More=1), _definition(More=True))
    assert _compare({**_definition(), "Metadata": {"a": 0}}, {**_definition(), "Metadata": {"a": False}}).rest


def test_a_pipeline_that_the_account_does_not_have_is_new() -> None:
    found = _compare(None, _definition())
    assert found
    assert not found.exists
    assert [change.change for change in found.steps] == ["added"]


def test_markdown_keeps_its_table_whatever_the_values_hold() -> None:
    found = _compare(_definition(More="plain"), _definition(More="a|b\n`c`"))
    row = as_markdown(found).splitlines()[-1]
    assert row == "| Prepare | `More` | `plain` | `` a\\|b `c` `` |"
    assert "No change." in as_markdown(_compare(_definition(), _definition()))


def test_json_leaves_out_the_side_that_is_absent() -> None:
    found = as_json(_compare(_definition(), _definition(More=None)))
    assert found["steps"][0]["values"] == [{"path": "More", "new": None}]
    json.dumps(found)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("text", "text"),
        ({"Get": "Parameters.Seed"}, "${Parameters.Seed}"),
        ({"Std:Join": {"On": "/", "Values": ["s3://b", {"Get": "Execution.Id"}]}}, "s3://b/${Execution.Id}"),
        (
            {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.E.PropertyFiles.F"}, "Path": "a.b"}},
            "${Steps.E.PropertyFiles.F:a.b}",
        ),
        ({"a": [1]}, '{"a": [1]}'),
        (ABSENT, "—"),
    ],
)
def test_values_are_shown_on_one_line(value: Any, words: str) -> None:
    assert short(value) == words


# --- the verb ---------------------------------------------------------------------------------------------------------


def test_the_verb_tells_by_its_status_and_its_words_what_changed(
    project: Any, mlops: Callable[..., tuple[int, str, str]]
) -> None:
    name = project.names.pipeline("cardholders", "build")
    images = project.root / "seed_code"
    (images / "forecaster").mkdir()
    (images / "forecaster" / "Dockerfile").write_text((images / "cardholders" / "Dockerfile").read_text())
    status, out, _ = mlops(project.root, "diff")  # all that there are
    assert (status, out.count("new: the account does not have it")) == (1, len(definitions.PIPELINES))

    request = definitions.request("cardholders", "build", project.configuration, project.root)
    project.session.client("sagemaker").create_pipeline(**request, ClientRequestToken="0" * 32)
    status, out, _ = mlops(project.root, "diff", "cardholders", "build")
    assert (status, out) == (0, f"pipeline {name}\n  no change\n")

    file = project.root / "configs" / "workloads" / "cardholders.yml"
    file.write_text(file.read_text().replace("behaviour_days: 120", "behaviour_days: 90"))
    status, out, _ = mlops(project.root, "diff", "cardholders", "build")
    assert status == 1
    assert "~ step Prepare (Processing)" in out
    assert "- 120" in out
    assert "+ 90" in out
    status, out, _ = mlops(project.root, "diff", "cardholders", "build", "--json")
    (found,) = json.loads(out)
    assert (status, found["pipeline"], [step["name"] for step in found["steps"]]) == (1, name, ["Prepare"])
    status, out, _ = mlops(project.root, "diff", "cardholders", "build", "--markdown")
    assert status == 1
    assert "| Prepare |" in out
    assert "| `120` | `90` |" in out


def test_the_verb_refuses_half_a_pipeline_and_two_formats(
    project: Any, mlops: Callable[..., tuple[int, str, str]]
) -> None:
    assert mlops(project.root, "diff", "cardholders")[0] == 2
    assert mlops(project.root, "diff", "--json", "--markdown")[0] == 2
    status, _, err = mlops(project.root, "diff", "cardholders", "biuld")
    assert (status, "did you mean `cardholders build`" in err) == (2, True)


def test_an_endpoint_that_does_not_answer_is_named(
    project: Any, mlops: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    status, out, err = mlops(project.root, "params", "list")
    assert (status, out) == (1, "")
    assert "cannot reach `http://127.0.0.1:1` (AWS_ENDPOINT_URL)" in err
    assert "Traceback" not in err
