"""What the tests of the report share: inputs of either workload, and a reader that checks a page as it reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

from pipelines.executions import Execution, StepRun
from pipelines.report.page import Inputs, JobDetail
from tests.pipelines import samples

EXECUTIONS: dict[str, Callable[..., Execution]] = {
    "cardholders": samples.execution,
    "forecaster": samples.forecaster_execution,
}
EVALUATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "cardholders": samples.evaluation,
    "forecaster": samples.forecaster_evaluation,
}
FILE_VALUES = {
    "cardholders": {"MinRocAuc": "0.7", "MinSilhouette": "0.3"},
    "forecaster": {"Epochs": "253", "MaxWql": "0.25", "Confidence": "90.0"},
}
SECTIONS = {
    "cardholders": ["pipeline", "gate", "metrics", "horizons", "calibration", "clusters", "data", "lineage"],
    "forecaster": ["pipeline", "gate", "metrics", "forecasts", "windows", "training", "data", "lineage"],
}
# A coordinate that is no number, in any drawing.
NOT_A_PLACE = re.compile(r' (?:d|x|y|[xy][12]|c[xy]|r|width|height|viewBox)="[^"]*(?:nan|inf)', re.IGNORECASE)


def inputs(workload: str = "cardholders", /, **changes: Any) -> Inputs:
    """What is told of an execution that went well; changes replace fields."""
    execution = EXECUTIONS[workload]()
    image = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/demo/{workload}:sha-01"
    jobs = {step.name: JobDetail(step.job[1], image, {"o": "s3://b/o"}) for step in execution.steps if step.job}
    given: dict[str, Any] = {
        "project": "demo",
        "workload": workload,
        "kind": "build",
        "execution": execution,
        "made_at": samples.BEGIN + timedelta(minutes=1),
        "evaluation": None if "evaluation" in changes else EVALUATIONS[workload](),
        "package": samples.package(),
        "jobs": jobs,
        "mlflow_url": "http://127.0.0.1:4611",
        "mlflow_experiment_id": "1",
        "file_values": FILE_VALUES[workload],
    }
    return Inputs(**{**given, **changes})


def failed_in_training() -> Inputs:
    steps = samples.execution().steps
    failed = samples.step("TrainPurchase", "Training", 5.4, 2.0, "Failed", failure_reason="ClientError: no column `k`")
    later = tuple(StepRun(step.name, step.type, "Skipped") for step in steps[3:])
    execution = samples.execution(status="Failed", failure_reason="a step failed", steps=(*steps[:2], failed, *later))
    jobs = {"TrainPurchase": JobDetail("job-1", "image", {}, ["first line", "last <line>"])}
    return inputs(execution=execution, evaluation=None, package=None, jobs=jobs)


class Page(HTMLParser):
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

    def drawings(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == "svg" and attributes.get("role") == "img"]


def checked(html: str) -> Page:
    """The page, once it is sure that it is well formed, has nothing from elsewhere, and nothing that runs."""
    page = Page(html)
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form", "use", "image"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert "src" not in attributes
        href = attributes.get("href")
        assert href is None or href.startswith(("#", "http://", "https://"))
    assert not NOT_A_PLACE.search(html)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for tag, a in page.elements if tag == "a" and (a.get("href") or "").startswith("#")]
    assert {f"#{name}" for name in ids} >= set(targets)
    return page
