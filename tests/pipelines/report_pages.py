"""What the tests of the report share: inputs of either workload and of deployments, what the stages serve, and a reader
that checks a page as it reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pipelines import stages as live
from pipelines.executions import Execution, StepRun
from pipelines.registry import APPROVED, WAITING, Package
from pipelines.report.deployment import Attempt
from pipelines.report.page import Inputs, JobDetail
from pipelines.report.serving import Deployment, Stage
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
    "cardholders": ["pipeline", "gate", "metrics", "horizons", "calibration", "clusters", "data", "serving", "lineage"],
    "forecaster": ["pipeline", "gate", "metrics", "forecasts", "windows", "training", "data", "serving", "lineage"],
}
DEPLOY_SECTIONS = ["pipeline", "tests", "settings", "serving", "lineage"]
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
        "package": described(),
        "jobs": jobs,
        "mlflow_url": "http://127.0.0.1:4611",
        "mlflow_experiment_id": "1",
        "file_values": FILE_VALUES[workload],
        "stages": stages(),
        "packages": packages(),
    }
    return Inputs(**{**given, **changes})


def failed_in_training() -> Inputs:
    steps = samples.execution().steps
    failed = samples.step("TrainPurchase", "Training", 5.4, 2.0, "Failed", failure_reason="ClientError: no column `k`")
    later = tuple(StepRun(step.name, step.type, "Skipped") for step in steps[3:])
    execution = samples.execution(status="Failed", failure_reason="a step failed", steps=(*steps[:2], failed, *later))
    jobs = {"TrainPurchase": JobDetail("job-1", "image", {}, ["first line", "last <line>"])}
    return inputs(execution=execution, evaluation=None, package=None, jobs=jobs)


# --- stages and deployments -------------------------------------------------------------------------------------------

_PACKAGES = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/demo-cardholders"
_PIPELINES = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/demo-cardholders"
_GOLDEN = Path(__file__).parent / "golden"


def before(hours: float) -> datetime:
    """So long before the sample execution begins."""
    return samples.BEGIN - timedelta(hours=hours)


def packages() -> list[Package]:
    """Version 3, of the sample execution, waits; 2 is in staging; 1 came to staging, then to production."""
    cycle = {
        3: {},
        2: {"staging_since": before(3).isoformat(), "staging_test_report_uri": "s3://demo/2/tests.json"},
        1: {"staging_since": before(30).isoformat(), "prod_since": before(28).isoformat()},
    }
    return [
        Package(
            arn=f"{_PACKAGES}/{version}",
            version=version,
            status="Completed",
            approval=WAITING if version == 3 else APPROVED,
            created=before(32 - version),
            why=None,
            metadata={
                "roc_auc": str(0.81 + 0.005 * version),
                "log_loss": str(0.5 - 0.01 * version),
                "git_commit": f"{version}f2c1ab0d9e8",
                "input_data_uri": f"s3://demo-123456789012-eu-west-1/cardholders/data/sha256-{version}/",
                "mlflow_purchase_model": "demo-cardholders-purchase",
                "mlflow_purchase_version": str(version),
                **cycle[version],
            },
            model_uri=f"s3://demo/models/{version}/model.tar.gz",
        )
        for version in (3, 2, 1)
    ]


def described(version: int = 3, **changes: Any) -> dict[str, Any]:
    """DescribeModelPackage's answer for one of the packages."""
    package = next(package for package in packages() if package.version == version)
    return samples.package(
        **{
            "ModelPackageVersion": version,
            "ModelPackageArn": package.arn,
            "ModelApprovalStatus": package.approval,
            "CustomerMetadataProperties": dict(package.metadata),
            **changes,
        }
    )


def golden_report(wrong: int = 0) -> dict[str, Any]:
    """The report of the golden requests."""
    verdicts = [
        {
            "name": f"request {index}",
            "status": 200,
            "milliseconds": 8.5 + index,
            "problem": "answer.probability is 0.4, expected 0.6 within 1e-06" if index < wrong else "",
        }
        for index in range(12)
    ]
    return {
        "endpoint": "demo-cardholders-staging",
        "passed": wrong == 0,
        "requests": len(verdicts),
        "median_milliseconds": 14.5,
        "slowest_milliseconds": 19.5,
        "verdicts": verdicts,
    }


def stage(name: str, version: int, since: datetime, **changes: Any) -> Stage:
    """A stage that serves a version well."""
    endpoint = f"demo-cardholders-{name}"
    given: dict[str, Any] = {
        "name": name,
        "serving": live.Serving(
            model_package_arn=f"{_PACKAGES}/{version}",
            version=version,
            endpoint=endpoint,
            endpoint_config=f"{endpoint}-0a1b",
            since=since,
            execution_arn=f"{_PIPELINES}-deploy-{name}/execution/deploy{version}",
            test_report_uri=f"s3://demo/{name}/{version}/tests.json",
        ),
        "endpoint": live.Endpoint(endpoint, "InService", f"{endpoint}-0a1b", 1.0, 2, 2, since, None),
        "traffic": live.Traffic(12_345, 4, 0, 6.14, 44.5),
        "package": next((package for package in packages() if package.version == version), None),
        "tests": golden_report(),
    }
    return Stage(**{**given, **changes})


def stages() -> list[Stage]:
    """Version 2 in staging; version 1 in production, where version 2 was rolled back."""
    failed = Deployment(f"{_PIPELINES}-deploy-prod/execution/f1", 2, "Failed", before(2), before(1.9))
    return [stage("staging", 2, before(3)), stage("prod", 1, before(28), deployments=[failed])]


def called(name: str, start: float, seconds: float, **outputs: str) -> StepRun:
    """A Lambda or Callback step that gave these outputs."""
    given = [{"Name": key, "Value": value} for key, value in {"Status": "Ok", "Reason": "", **outputs}.items()]
    if name.startswith("Wait"):
        queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/demo-callbacks"
        metadata = {"Callback": {"CallbackToken": "t", "SqsQueueUrl": queue, "OutputParameters": given}}
        return samples.step(name, "Callback", start, seconds, metadata=metadata)
    function = "arn:aws:lambda:eu-west-1:123456789012:function:demo-deploy-steps"
    return samples.step(
        name, "Lambda", start, seconds, metadata={"Lambda": {"Arn": function, "OutputParameters": given}}
    )


def _decided(name: str, start: float, outcome: bool) -> StepRun:
    return samples.step(name, "Condition", start, 0.1, metadata={"Condition": {"Outcome": str(outcome)}})


def _deployment(status: str, steps: tuple[StepRun, ...], version: int, **changes: Any) -> Inputs:
    """A deployment to production; the steps of the definition that are not given were skipped."""
    definition = json.loads((_GOLDEN / "cardholders-deploy-prod.json").read_text(encoding="utf-8"))
    defaults = {one["Name"]: str(one["DefaultValue"]) for one in definition["Parameters"] if "DefaultValue" in one}
    execution = samples.execution(
        arn=f"{_PIPELINES}-deploy-prod/execution/deploy{version}",
        pipeline="demo-cardholders-deploy-prod",
        status=status,
        definition=definition,
        parameters={**defaults, "ModelPackageArn": f"{_PACKAGES}/{version}", "MlflowTrackingUri": "http://m"},
        modified=samples.BEGIN + timedelta(seconds=14),
        steps=(),
    )
    run = {step.name: step for step in steps}
    ordered = tuple(run.get(node.name) or StepRun(node.name, node.type, "Skipped") for node in execution.graph.nodes)
    given: dict[str, Any] = {
        "kind": "deploy-prod",
        "execution": replace(execution, steps=ordered),
        "evaluation": None,
        "package": described(version),
        "jobs": {},
        "file_values": {},
    }
    return inputs(**{**given, **changes})


def _begun() -> tuple[StepRun, ...]:
    return (
        called("VerifyPackage", 0, 0.4, ImageUri="123.dkr.ecr/demo:sha-01", ModelDataUrl="s3://demo/model.tar.gz"),
        _decided("PackageVerified", 0.5, True),
        samples.step("CreateModel", "Model", 0.6, 0.1),
        called("UpdateEndpoint", 0.8, 0.3, EndpointConfigName="demo-new", PreviousConfigName="demo-old"),
    )


def deployed(**changes: Any) -> Inputs:
    """Version 1 went to production, which serves it."""
    steps = (
        *_begun(),
        called("WaitForEndpoint", 1.2, 9.0, Reason="the endpoint serves demo-new"),
        called("TestEndpoint", 10.3, 0.5, ReportUri="s3://demo/tests.json"),
        called("SetScaling", 10.9, 0.2),
        _decided("Deployed", 11.2, True),
        called("MarkServing", 11.4, 0.6),
    )
    why = f"{_PACKAGES}/1 was approved for prod at 2026-11-20T08:29:58Z"
    return _deployment("Succeeded", steps, 1, **{"attempt": Attempt(why, golden_report()), **changes})


ALARM = "SageMaker rolled the endpoint back: the alarm <errors> is in the ALARM state"


def rolled_back(**changes: Any) -> Inputs:
    """Version 2 failed as a canary in production, which went back to version 1."""
    reason = {"Status": "Failed", "Reason": ALARM}
    steps = (
        *_begun(),
        called("WaitForEndpoint", 1.2, 9.0, **reason),
        called("TestEndpoint", 10.3, 0.1, **reason),
        called("SetScaling", 10.5, 0.1, **reason),
        _decided("Deployed", 10.7, False),
        called("RollBack", 10.9, 0.2, EndpointConfigName="demo-old"),
        called("WaitForRollBack", 11.2, 2.0, Reason="the endpoint serves demo-old"),
        samples.step(
            "DeploymentFailed", "Fail", 13.3, 0.1, "Failed", failure_reason=f"The deployment to prod: {ALARM}"
        ),
    )
    return _deployment("Failed", steps, 2, **{"attempt": Attempt("mlops deploy", None, 1), **changes})


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
        # A file beside the page may be led to: it is not fetched.
        assert href is None or href.startswith(("#", "http://", "https://")) or re.fullmatch(r"[\w-]+\.html", href)
    assert not NOT_A_PLACE.search(html)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for tag, a in page.elements if tag == "a" and (a.get("href") or "").startswith("#")]
    assert {f"#{name}" for name in ids} >= set(targets)
    return page
