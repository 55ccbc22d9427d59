"""The report as HTML: what it tells of good, failed and unfinished executions, and that no text gets out of place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.executions import StepRun
from pipelines.report.page import JobDetail, render
from tests.pipelines import samples
from tests.pipelines.report_pages import EVALUATIONS, EXECUTIONS, SECTIONS, Page, checked, failed_in_training, inputs

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 1237*1019 }}</title></style>"
WORKLOADS = ("cardholders", "forecaster")


@cache
def _good(workload: str) -> tuple[str, Page]:
    """The page of an execution that went well, and what is in it."""
    html = render(inputs(workload))
    return html, checked(html)


TOLD = {
    "cardholders": """8 steps in 31 s, 1 of them from the cache | 0.8312 | Gap model | 0.7792 | Champion | +0.0080 |
        Dormant | 442,458 | 31/31/2014 | MinRocAuc | 0.25 (0.3 in configs/workloads/cardholders.yml)""",
    "forecaster": """9 steps in 44 s | 0.1234 | 90 % interval 0.1127 to 0.1361 | 88.2 % | Seasonal naive | 0.2077 |
        MaxWql | \u221240.6 % | +4.0 pp | 52 of 60 configured | 60 (253 in configs/workloads/forecaster.yml) |
        demo-forecaster-minutes | 3 h 32 min | And 2 more. | wQL at quantile 0.05 | yesterday""",
}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_good_execution_is_told_in_full(workload: str) -> None:
    html, page = _good(workload)
    assert page.sections() == SECTIONS[workload]
    assert "Version 3 waits for approval" in page.text
    assert [said for said in re.split(r"\s*\|\s*", TOLD[workload]) if said not in page.text] == []
    links = [attributes.get("href") for tag, attributes in page.elements if tag == "a"]
    run_id = EVALUATIONS[workload]()["mlflow"]["run_id"]
    assert f"http://127.0.0.1:4611/#/experiments/1/runs/{run_id}" in links
    assert len(html.encode()) < 1_000_000


def test_the_same_inputs_give_the_same_bytes() -> None:
    for workload in WORKLOADS:
        assert render(inputs(workload)) == _good(workload)[0]


@pytest.mark.parametrize(
    ("workload", "drawings"),
    [
        # Both graphs; by horizon, calibration, profiles, numbers of clusters; what served when (wide and narrow).
        ("cardholders", 2 + 6 + 1 + 3 + 3 + 2),
        # Both graphs; one after another (wide and narrow), in full, in small, by window (as before), estimates,
        # training, history (as before); what served when (as before).
        ("forecaster", 2 + 2 + 4 + 20 + 2 + 1 + 1 + 2 + 2),
    ],
)
def test_every_drawing_has_a_name_and_a_description(workload: str, drawings: int) -> None:
    _, page = _good(workload)
    found = page.drawings()
    assert len(found) == drawings
    assert all(drawing["aria-label"] for drawing in found)
    assert sum(1 for tag, _ in page.elements if tag == "desc") == len(found)


@pytest.mark.parametrize("told", ["cardholders", "forecaster", "another", None])
def test_the_workload_is_the_one_that_the_evaluation_names(told: str | None) -> None:
    """An evaluation that names none, or one that is not known, is shown as that of the pipeline."""
    evaluation = {**samples.forecaster_evaluation(windows=3), "workload": told}
    sections = checked(render(inputs("cardholders", evaluation=evaluation))).sections()
    assert ("forecasts" in sections) == (told == "forecaster")
    sections = checked(render(inputs("forecaster", evaluation=evaluation))).sections()
    assert ("forecasts" in sections) == (told != "cardholders")


def test_a_workload_that_is_not_known_has_the_parts_that_all_have() -> None:
    evaluation = {**samples.forecaster_evaluation(windows=3), "workload": "another"}
    page = checked(render(inputs("forecaster", workload="another", evaluation=evaluation)))
    assert page.sections() == ["pipeline", "gate", "serving", "lineage"]


@pytest.mark.parametrize(
    ("approval", "words"),
    [("Approved", "Version 3 is approved"), ("Rejected", "Version 3 was rejected")],
)
def test_a_decision_is_the_headline_with_who_and_why(approval: str, words: str) -> None:
    key = approval.lower()
    package = samples.package(
        ModelApprovalStatus=approval,
        ApprovalDescription="because of the holdout",
        CustomerMetadataProperties={f"{key}_by": "Ada", f"{key}_at": "2026-11-20T09:00:00+00:00"},
    )
    page = checked(render(inputs(package=package)))
    assert words in page.text
    assert "by Ada" in page.text
    assert "2026-11-20 09:00 UTC" in page.text
    assert "because of the holdout" in page.text


def test_a_failed_step_is_told_first_with_its_log() -> None:
    page = checked(render(failed_in_training()))
    assert page.sections()[0] == "failure"
    assert "Failed at TrainPurchase" in page.text
    assert "ClientError: no column `k`" in page.text
    assert "last <line>" in page.text
    assert "No evaluation was written" in page.text
    assert "metrics" not in page.sections()
    assert "not known" in page.text  # the gate's limits, without what would be measured


def test_a_model_below_the_gate_says_which_limit_it_missed() -> None:
    good = samples.execution()
    steps = tuple(
        samples.step("QualityTooLow", "Fail", 28, 0.1, "Failed", failure_reason="too low: 0.6")
        if step.name == "QualityTooLow"
        else StepRun(step.name, step.type, "Skipped")
        if step.name in {"Register", "LinkMlflow"}
        else replace(step, metadata={"Condition": {"Outcome": "False"}})
        if step.name == "QualityGate"
        else step
        for step in good.steps
    )
    evaluation = samples.evaluation()
    evaluation["metrics"]["roc_auc"] = 0.6
    execution = samples.execution(status="Failed", steps=steps)
    page = checked(render(inputs(execution=execution, evaluation=evaluation, package=None)))
    assert "Not good enough to register" in page.text
    assert "too low: 0.6" in page.text
    gate = page.text[page.text.index("What a model must reach") :]
    assert "metrics.roc_auc 0.6000 ≥ 0.7000 MinRocAuc not passed" in gate
    assert "metrics.silhouette 0.4120 ≥ 0.2500 MinSilhouette passed" in gate


@pytest.mark.parametrize(
    ("status", "words"), [("Executing", "Still running"), ("Stopped", "Stopped before it was done")]
)
def test_an_execution_that_did_not_end_well_has_a_page_too(status: str, words: str) -> None:
    execution = samples.execution(
        status=status,
        steps=(
            StepRun("Prepare", "Processing", "Executing", samples.BEGIN),
            *(StepRun(step.name, step.type, "Pending") for step in samples.execution().steps[1:]),
        ),
    )
    page = checked(render(inputs(execution=execution, evaluation=None, package=None, jobs={})))
    assert words in page.text


def _hostile(value: Any, keeping: frozenset[str] | set[str] = frozenset()) -> Any:
    """The same document with every text replaced, but for those of some keys."""
    if isinstance(value, dict):
        return {key: inner if key in keeping else _hostile(inner, keeping) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hostile(inner, keeping) for inner in value]
    return HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("workload", WORKLOADS)
def test_hostile_texts_are_shown_and_never_run(workload: str) -> None:
    good = EXECUTIONS[workload]()
    execution = EXECUTIONS[workload](
        arn=HOSTILE,
        pipeline=HOSTILE,
        failure_reason=HOSTILE,
        status="Failed",
        parameters={name: HOSTILE for name in good.parameters},
        steps=(samples.step(HOSTILE, HOSTILE, 0, 1, "Failed", failure_reason=HOSTILE), *good.steps),
    )
    # The workload and the moments stay: without them, the parts that hold the other texts would be left out.
    evaluation = _hostile(EVALUATIONS[workload](), keeping={"workload", "origin", "start"})
    html = render(
        inputs(
            workload,
            project=HOSTILE,
            workload=HOSTILE,
            execution=execution,
            evaluation=evaluation,
            package=_hostile(samples.package()),
            jobs={HOSTILE: JobDetail(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, [HOSTILE])},
            mlflow_url="javascript:alert(1)",
            file_values=dict.fromkeys(good.parameters, HOSTILE + "2"),
        )
    )
    page = checked(html)
    assert set(SECTIONS[workload]) <= set(page.sections())
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "{{ 1237*1019 }}" in page.text
    assert "1260503" not in html
    assert 'href="javascript' not in html


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_page_forbids_scripts_and_anything_from_elsewhere(workload: str) -> None:
    _, page = _good(workload)
    policies = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert "default-src 'none'" in (policies[0] or "")


def _paths(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value inside a document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from _paths(value, (*path, key))


def _thinned(document: Any) -> Any:
    """The same document with the first three of every list, so that a page of it is made in no time."""
    if isinstance(document, dict):
        return {key: _thinned(value) for key, value in document.items()}
    return [_thinned(value) for value in document[:3]] if isinstance(document, list) else document


THIN = {workload: _thinned(EVALUATIONS[workload]()) for workload in WORKLOADS}
PLACES = [(workload, path) for workload in WORKLOADS for path in _paths(THIN[workload])]
STRANGE = [None, [], {}, "text", 0, -1, 1e300, float("nan"), float("inf"), True, [None], [[]], {"a": {}}, "0001-01-01"]
NO_STEPS = samples.execution(steps=(), definition={}, parameters={})


@settings(max_examples=80)
@given(place=st.sampled_from(PLACES), value=st.sampled_from(STRANGE))
def test_whatever_an_evaluation_lacks_or_has_in_another_shape_the_page_is_whole(
    place: tuple[str, tuple[Any, ...]], value: Any
) -> None:
    workload, path = place
    evaluation = json.loads(json.dumps(THIN[workload]))
    inner = evaluation
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    page = checked(render(inputs(workload, execution=NO_STEPS, evaluation=evaluation, jobs={})))
    assert {"pipeline", "lineage"} <= set(page.sections())
    missing = set(SECTIONS[workload]) - {"gate"} - set(page.sections())
    assert len(missing) <= (1 if len(path) > 1 else 3), missing  # the rest does not go with what is strange


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(
    "evaluation", [{}, {"metrics": {}}, {"by_k": [], "clusters": {}, "windows": [], "forecasts": [{}], "training": {}}]
)
def test_an_empty_evaluation_leaves_its_sections_out(workload: str, evaluation: dict[str, Any]) -> None:
    page = checked(render(inputs(workload, execution=NO_STEPS, evaluation=evaluation, jobs={})))
    assert page.sections() == ["pipeline", "serving", "lineage"]
