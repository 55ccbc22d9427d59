"""The report as HTML: what it tells of good, failed and unfinished executions, and that no text gets out of place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.executions import StepRun
from pipelines.report.page import Inputs, JobDetail, render
from tests.pipelines import samples

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}</title></style>"


def _inputs(**changes: Any) -> Inputs:
    execution = samples.execution()
    jobs = {
        step.name: JobDetail(
            step.job[1], "123456789012.dkr.ecr.eu-west-1.amazonaws.com/demo/cardholders:sha-01", {"o": "s3://b/o"}
        )
        for step in execution.steps
        if step.job
    }
    given: dict[str, Any] = {
        "project": "demo",
        "workload": "cardholders",
        "kind": "build",
        "execution": execution,
        "made_at": samples.BEGIN + timedelta(minutes=1),
        "evaluation": samples.evaluation(),
        "package": samples.package(),
        "jobs": jobs,
        "mlflow_url": "http://127.0.0.1:4611",
        "mlflow_experiment_id": "1",
    }
    return Inputs(**{**given, **changes})


class _Page(HTMLParser):
    """The page's elements in order, and the text that a reader sees."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "desc"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def sections(self) -> list[str]:
        return [attributes["id"] or "" for tag, attributes in self.elements if tag == "section" and "id" in attributes]


def _checked(html: str) -> _Page:
    """The page, once it is sure that it is well formed, has nothing from elsewhere, and nothing that runs."""
    page = _Page(html)
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form", "use", "image"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert "src" not in attributes
        href = attributes.get("href")
        assert href is None or href.startswith(("#", "http://", "https://"))
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for tag, a in page.elements if tag == "a" and (a.get("href") or "").startswith("#")]
    assert {f"#{name}" for name in ids} >= set(targets)
    return page


def test_a_good_execution_is_told_in_full() -> None:
    html = render(_inputs())
    page = _checked(html)
    assert page.sections() == ["pipeline", "gate", "metrics", "horizons", "calibration", "clusters", "data", "lineage"]
    assert "Version 3 waits for approval" in page.text
    assert "8 steps in 31 s, 1 of them from the cache" in page.text
    for said in (
        "0.8312",
        "Gap model",
        "0.7792",
        "Champion",
        "+0.0080",
        "Dormant",
        "442,458",
        "31/31/2014",
        "MinRocAuc",
    ):
        assert said in page.text, said
    links = [attributes.get("href") for tag, attributes in page.elements if tag == "a"]
    run_id = samples.evaluation()["mlflow"]["run_id"]
    assert f"http://127.0.0.1:4611/#/experiments/1/runs/{run_id}" in links
    assert len(html.encode()) < 1_000_000


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert render(_inputs()) == render(_inputs())


def test_every_drawing_has_a_name_and_a_description() -> None:
    page = _checked(render(_inputs()))
    drawings = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("role") == "img"]
    assert len(drawings) == 2 + 6 + 1 + 3 + 3  # both graphs, by horizon, calibration, profiles, numbers of clusters
    assert all(drawing["aria-label"] for drawing in drawings)
    assert sum(1 for tag, _ in page.elements if tag == "desc") == len(drawings)


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
    page = _checked(render(_inputs(package=package)))
    assert words in page.text
    assert "by Ada" in page.text
    assert "2026-11-20 09:00 UTC" in page.text
    assert "because of the holdout" in page.text


def _failed_in_training() -> Inputs:
    steps = samples.execution().steps
    failed = samples.step("TrainPurchase", "Training", 5.4, 2.0, "Failed", failure_reason="ClientError: no column `k`")
    later = tuple(StepRun(step.name, step.type, "Skipped") for step in steps[3:])
    execution = samples.execution(status="Failed", failure_reason="a step failed", steps=(*steps[:2], failed, *later))
    jobs = {"TrainPurchase": JobDetail("job-1", "image", {}, ["first line", "last <line>"])}
    return _inputs(execution=execution, evaluation=None, package=None, jobs=jobs)


def test_a_failed_step_is_told_first_with_its_log() -> None:
    page = _checked(render(_failed_in_training()))
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
    page = _checked(render(_inputs(execution=execution, evaluation=evaluation, package=None)))
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
    page = _checked(render(_inputs(execution=execution, evaluation=None, package=None, jobs={})))
    assert words in page.text


def _hostile(value: Any) -> Any:
    """The same document with every text replaced."""
    if isinstance(value, dict):
        return {key: _hostile(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hostile(inner) for inner in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_texts_are_shown_and_never_run() -> None:
    execution = samples.execution(
        arn=HOSTILE,
        pipeline=HOSTILE,
        failure_reason=HOSTILE,
        status="Failed",
        parameters={name: HOSTILE for name in samples.execution().parameters},
        steps=(samples.step(HOSTILE, HOSTILE, 0, 1, "Failed", failure_reason=HOSTILE), *samples.execution().steps),
    )
    inputs = _inputs(
        project=HOSTILE,
        workload=HOSTILE,
        execution=execution,
        evaluation=_hostile(samples.evaluation()),
        package=_hostile(samples.package()),
        jobs={HOSTILE: JobDetail(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, [HOSTILE])},
        mlflow_url="javascript:alert(1)",
    )
    html = render(inputs)
    page = _checked(html)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "49" not in re.findall(r"\{\{.*?\}\}|\b49\b", page.text)
    assert 'href="javascript' not in html


def test_the_page_forbids_scripts_and_anything_from_elsewhere() -> None:
    page = _checked(render(_inputs()))
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


_SMALL = samples.evaluation()
_SMALL["by_k"] = _SMALL["by_k"][:2]
PATHS = list(_paths(_SMALL))


@settings(max_examples=60)
@given(
    place=st.sampled_from(PATHS),
    value=st.sampled_from([None, [], {}, "text", 0, -1, 1e300, float("nan"), float("inf"), True, [None], [[]]]),
)
def test_whatever_an_evaluation_lacks_or_has_in_another_shape_the_page_is_whole(
    place: tuple[Any, ...], value: Any
) -> None:
    evaluation = json.loads(json.dumps(_SMALL))
    inner = evaluation
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    page = _checked(render(_inputs(evaluation=evaluation)))
    assert {"pipeline", "lineage"} <= set(page.sections())


@given(st.sampled_from([{}, {"metrics": {}}, {"by_k": [], "clusters": {}, "calibration": {"bins": []}}]))
def test_an_empty_evaluation_leaves_its_sections_out(evaluation: dict[str, Any]) -> None:
    page = _checked(render(_inputs(evaluation=evaluation)))
    assert not {"metrics", "horizons", "calibration", "clusters", "data"} & set(page.sections())
