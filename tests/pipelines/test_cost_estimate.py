"""The monthly estimate: what follows from a configuration, what is assumed, and what a change does."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from pipelines.config import Configuration, load
from pipelines.cost import catalogue, markdown, price_list
from pipelines.cost.assumptions import Assumptions, with_given
from pipelines.cost.catalogue import Item
from pipelines.cost.difference import at, changes
from pipelines.cost.estimate import Estimate, estimate, machines
from pipelines.cost.measured import measured
from pipelines.cost.price_list import Price, PriceList
from pipelines.cost.refresh import refresh
from pipelines.errors import ServiceError, UsageError

ROOT = Path(__file__).resolve().parents[2]
IRELAND = price_list.read("eu-west-1")
Mlops = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tree(copy: Path) -> Path:
    """A working copy with its templates."""
    shutil.copytree(ROOT / "template", copy / "template")
    return copy


def edit(tree: Path, file: str, old: str, new: str) -> None:
    path = tree / "configs" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def bill(tree: Path, assumed: Assumptions | None = None, **members: Any) -> Estimate:
    return estimate(load(tree, environ={}), tree, members.pop("prices", IRELAND), assumed or Assumptions(), **members)


def dollars(found: Estimate, part: str, stage: str, resource: str) -> tuple[float, float]:
    [line] = [
        each
        for each in found.priced
        if (each.line.part, each.line.stage, each.line.resource) == (part, stage, resource)
    ]
    return line.dollars, line.at_most


# --- the lines --------------------------------------------------------------------------------------------------------


def test_an_endpoint_costs_its_machines_by_the_hour_and_scaling_gives_a_range(tree: Path) -> None:
    found = bill(tree)
    hour = IRELAND.dollars("sagemaker/hosting/ml.m5.large")
    low, high = dollars(found, "forecaster", "prod", "endpoint, 2 to 4 x ml.m5.large")
    assert (low, high) == (pytest.approx(2 * 730 * hour), pytest.approx(4 * 730 * hour))
    fixed = dollars(found, "cardholders", "staging", "endpoint, 1 x ml.t2.medium")
    assert fixed == (pytest.approx(730 * IRELAND.dollars("sagemaker/hosting/ml.t2.medium")),) * 2
    assert found.at_most > found.dollars > 0


def test_the_parts_add_up_to_the_whole(tree: Path) -> None:
    found = bill(tree)
    subtotals = found.subtotals()
    workloads = [
        (workload, stage)
        for workload in ("cardholders", "forecaster")
        for stage in ("build", "monitor", "staging", "prod")
    ]
    assert list(subtotals) == [*workloads, ("stream", ""), ("api", ""), ("project", "")]
    assert sum(low for low, _ in subtotals.values()) == pytest.approx(found.dollars)
    assert sum(high for _, high in subtotals.values()) == pytest.approx(found.at_most)


def test_jobs_cost_their_runs_and_minutes(tree: Path) -> None:
    assumed = with_given(["builds=30", "train_minutes=60", "monitor_minutes=6"])
    found = bill(tree, assumed)
    train, _ = dollars(found, "forecaster", "build", "Train, ml.m5.large")
    assert train == pytest.approx(30 * IRELAND.dollars("sagemaker/training/ml.m5.large"))
    hourly, _ = dollars(found, "forecaster", "monitor", "Evaluate, ml.t3.medium")
    assert hourly == pytest.approx(2 * 730 / 10 * IRELAND.dollars("sagemaker/processing/ml.t3.medium"))  # two stages


def test_minutes_that_were_measured_go_before_assumptions_and_given_ones_before_both(tree: Path) -> None:
    times = {("forecaster", "train"): 15.0}
    hour = IRELAND.dollars("sagemaker/training/ml.m5.large")
    line = ("forecaster", "build", "Train, ml.m5.large")
    assert dollars(bill(tree, measured=times), *line)[0] == pytest.approx(8 * hour / 4)
    assert dollars(bill(tree, with_given(["train_minutes=60"]), measured=times), *line)[0] == pytest.approx(8 * hour)


def test_a_stream_that_is_not_at_work_costs_nothing(tree: Path) -> None:
    edit(tree, "ingestion.yml", "running: true", "running: false")
    found = bill(tree)
    assert all(each.line.part != "stream" for each in found.priced)


def test_flink_is_paid_in_place_of_the_operator(tree: Path) -> None:
    edit(tree, "ingestion.yml", "by: operator", "by: flink")
    resources = [each.line.resource for each in bill(tree).priced]
    assert "Flink, one unit and its manager" in resources
    assert not [name for name in resources if "operator" in name]
    assert "Fargate, poller, Spot, CPU" in resources


def test_no_cache_is_no_line(tree: Path) -> None:
    edit(tree, "project.yml", 'cache_gb: "0.5"', 'cache_gb: "0"')
    assert not [each for each in bill(tree).priced if "cache" in each.line.resource]


def test_what_has_no_price_is_named_and_never_free(tree: Path) -> None:
    (tree / "configs" / "stages" / "staging.yml").write_text(
        "endpoint: {mode: serverless, memory_mb: 2048, max_concurrency: 5}\ncapture: {percent: 0}\n"
        "deployment: {traffic: ALL_AT_ONCE, wait_seconds: 0, termination_wait_seconds: 0, timeout_seconds: 600}\n"
    )
    found = bill(tree)
    assert {line.price for line in found.unpriced} == {"sagemaker/serverless/2048", "sagemaker/mlflow"}
    assert "endpoint, serverless, 2048 MB (`sagemaker/serverless/2048`)" in "\n".join(markdown.unsure(found))
    known = {**IRELAND.prices, "sagemaker/serverless/2048": Price(0.00004, "second", "s", "u", confirmed=True)}
    priced = bill(tree, prices=replace(IRELAND, prices=known))
    seconds = Assumptions().staging_requests * Assumptions().request_seconds
    assert dollars(priced, "forecaster", "staging", "endpoint, serverless, 2048 MB")[0] == pytest.approx(
        seconds * 0.00004
    )


def test_every_line_has_a_price_in_the_catalogue(tree: Path) -> None:
    configuration: Configuration = load(tree, environ={})
    known = {item.key for item in catalogue.items(machines(configuration))}
    found = bill(tree)
    assert {each.line.price for each in found.priced} | {line.price for line in found.unpriced} <= known
    assert [key for key in IRELAND.prices if not key.startswith("sagemaker/") and key not in known] == []


def test_prices_that_nobody_has_confirmed_are_said(tree: Path) -> None:
    found = bill(tree)
    assert found.unconfirmed
    confirmed = {key: replace(price, confirmed=True) for key, price in IRELAND.prices.items()}
    assert bill(tree, prices=replace(IRELAND, prices=confirmed)).unconfirmed == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("build=3", "there is no assumption `build`; did you mean `builds`?"),
        ("builds", "expected a number, as in builds=8"),
        ("builds=many", "expected a number"),
        ("builds=-1", "expected a number of at least 0"),
        ("builds=nan", "expected a number of at least 0"),
        ("given=1", "there is no assumption `given`"),
    ],
)
def test_an_assumption_that_is_none_is_refused(given: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        with_given([given])
    assert said in str(refused.value)


# --- what was measured ------------------------------------------------------------------------------------------------


class Account:
    """SageMaker of an account in which the forecaster was built once, with its Prepare from the cache."""

    class exceptions:
        class ResourceNotFound(Exception):
            pass

    def list_pipeline_executions(self, *, PipelineName: str, **_: Any) -> dict[str, Any]:
        if not PipelineName.endswith("forecaster-build"):
            raise self.exceptions.ResourceNotFound
        return {"PipelineExecutionSummaries": [{"PipelineExecutionArn": "arn:1", "StartTime": _at(0)}]}

    def describe_pipeline_execution(self, **_: Any) -> dict[str, Any]:
        return {
            "PipelineArn": "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/x-forecaster-build",
            "PipelineExecutionArn": "arn:1",
            "PipelineExecutionStatus": "Succeeded",
            "CreationTime": _at(0),
            "LastModifiedTime": _at(90),
        }

    def describe_pipeline_definition_for_execution(self, **_: Any) -> dict[str, Any]:
        steps = [
            {"Name": name, "Type": kind, "Arguments": {}}
            for name, kind in (("Prepare", "Processing"), ("Train", "Training"))
        ]
        return {"PipelineDefinition": json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": steps})}

    def list_pipeline_parameters_for_execution(self, **_: Any) -> dict[str, Any]:
        return {"PipelineParameters": []}

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [self.list_pipeline_execution_steps()]

    def list_pipeline_execution_steps(self, **_: Any) -> dict[str, Any]:
        step = {"StepStatus": "Succeeded", "StartTime": _at(0), "EndTime": _at(12)}
        return {
            "PipelineExecutionSteps": [
                {"StepName": "Train", **step, "Metadata": {"TrainingJob": {"Arn": "arn:x/t"}}},
                {
                    "StepName": "Prepare",
                    **step,
                    "Metadata": {"ProcessingJob": {"Arn": "arn:x/p"}},
                    "CacheHitResult": {"SourcePipelineExecutionArn": "arn:0"},
                },
            ]
        }


def _at(minutes: int) -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(minutes=minutes)


def test_the_last_executions_tell_how_long_steps_take(tree: Path) -> None:
    assert measured(Account(), load(tree, environ={})) == {("forecaster", "train"): 12.0}


# --- another commit ---------------------------------------------------------------------------------------------------


def test_a_change_is_shown_by_what_differs(tree: Path) -> None:
    before = bill(tree)
    edit(tree, "stages/staging.yml", "ml.t2.medium", "ml.m5.xlarge")
    edit(tree, "project.yml", 'cache_gb: "0.5"', 'cache_gb: "1.6"')
    after = bill(tree)
    found = changes(before, after)
    assert {(change.part, change.before is None, change.after is None) for change in found} == {
        ("cardholders", True, False),
        ("cardholders", False, True),
        ("forecaster", True, False),
        ("forecaster", False, True),
        ("api", True, False),
        ("api", False, True),
    }
    assert sum(change.dollars for change in found) == pytest.approx(after.dollars - before.dollars)
    page = markdown.difference(before, after, found, "main")
    assert page.startswith(f"**Cost a month: +${after.dollars - before.dollars:,.2f}** (")
    assert "| forecaster staging | endpoint, 1 x ml.m5.xlarge | - | $187.61 | +$187.61 |" in page
    assert changes(after, after) == []
    assert "|" not in markdown.difference(after, after, [], "main")


def test_a_commit_is_read_without_touching_the_working_copy(tree: Path, mlops: Mlops) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        subprocess.run(["git", "-C", str(tree), *identity, *words], check=True, capture_output=True)

    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "first")
    edit(tree, "stages/prod.yml", "max_instances: 4", "max_instances: 8")
    edit(
        tree,
        "workloads/forecaster.yml",
        "monitor: {instance_type: ml.t3.medium",
        "monitor: {instance_type: ml.m5.large",
    )
    status, out, _ = mlops(tree, "cost", "--diff", "main")
    assert status == 0
    assert out.startswith("**Cost a month: +$")
    assert "| forecaster monitor | Evaluate, ml.m5.large | - | " in out
    status, out, _ = mlops(tree, "cost", "--diff", "main", "--json")
    assert (status, json.loads(out)["ref"]) == (0, "main")
    status, _, err = mlops(tree, "cost", "--diff", "nowhere")
    assert status == 2
    assert "`--diff nowhere`: " in err
    (tree / "configs" / "stages" / "prod.yml").write_text("endpoint: {}\n")
    git("commit", "-a", "-m", "broken")
    git("checkout", "main~1", "--", "configs")
    status, _, err = mlops(tree, "cost", "--diff", "main")
    assert status == 2
    assert "the configuration at `main` is none that this version reads" in err


def test_without_git_that_is_said(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"`--diff main`: .*expected a commit, branch or tag"), at(tree, "main"):
        pass


# --- the verb ---------------------------------------------------------------------------------------------------------


def test_the_verb_shows_lines_subtotals_assumptions_and_how_sure_it_is(tree: Path, mlops: Mlops) -> None:
    edit(tree, "project.yml", "monthly_dollars: 0", "monthly_dollars: 100")
    status, out, err = mlops(tree, "cost", "--assume", "mlflow_hours=0", "--assume", "builds=4")
    assert (status, err) == (0, "")
    assert "endpoint, 2 to 4 x ml.m5.large" in out
    assert "more of less than a cent each" in out
    assert "executions of a workload's build pipeline, for pushes and retrainings, given" in out
    assert "Prices of eu-west-1 as of 2026-11-22, without free tiers, discounts and tax." in out
    assert "prices are not confirmed by the AWS Pricing API" in out
    assert "That is above the budget of $100.00" in out
    assert "no price" not in out


def test_the_verb_gives_json_and_markdown(tree: Path, mlops: Mlops) -> None:
    status, out, _ = mlops(tree, "cost", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["dollars"] == pytest.approx(sum(line["dollars"] for line in document["lines"]), abs=0.02)
    assert [line["price"] for line in document["unpriced"]] == ["sagemaker/mlflow"]
    status, out, _ = mlops(tree, "cost", "--markdown")
    assert status == 0
    assert "| cardholders prod | $" in out
    assert mlops(tree, "cost", "--markdown", "--json")[0] == 2


def test_a_region_without_prices_names_the_way_to_them(tree: Path, mlops: Mlops) -> None:
    status, _, err = mlops(tree, "cost", "--region", "us-west-2")
    assert status == 2
    assert "only of eu-west-1; `mlops cost --refresh --region us-west-2` asks" in err


# --- the Pricing API --------------------------------------------------------------------------------------------------


ITEM = Item("lambda/requests", "AWSLambda", "Request", "million requests", 1_000_000)


def product(usage_type: str, *amounts: str) -> str:
    tiers = {
        str(number): {"beginRange": str(number * 1000), "pricePerUnit": {"USD": amount}}
        for number, amount in enumerate(amounts)
    }
    terms = {"OnDemand": {"term": {"priceDimensions": tiers}}}
    return json.dumps({"product": {"attributes": {"usagetype": usage_type}}, "terms": terms})


def answered(*pages: list[str], item: Item = ITEM) -> tuple[Any, Stubber]:
    pricing = boto3.Session(region_name="us-east-1").client(
        "pricing", aws_access_key_id="x", aws_secret_access_key="x", endpoint_url="https://pricing.invalid"
    )
    stub = Stubber(pricing)
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"},
        {"Type": "CONTAINS", "Field": "usagetype", "Value": item.usage_type},
        *({"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in item.also.items()),
    ]
    for number, page in enumerate(pages):
        last = number == len(pages) - 1
        expected: dict[str, Any] = {"ServiceCode": item.service, "Filters": filters}
        if number:
            expected["NextToken"] = f"page{number}"
        answer: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": page}
        stub.add_response("get_products", answer if last else {**answer, "NextToken": f"page{number + 1}"}, expected)
    stub.activate()
    return pricing, stub


def test_a_price_is_the_first_tier_that_costs_of_exactly_that_usage() -> None:
    pages = (
        [product("EU-Request-ARM", "0.0000001"), product("EU-EdgeRequest", "1")],
        [product("EU-Request", "0", "0.0000002", "0.0000001")],
    )
    pricing, stub = answered(*pages)
    done = refresh(pricing, "eu-west-1", [ITEM], None, "2026-12-01")
    stub.assert_no_pending_responses()
    assert done.problems == ()
    assert done.prices == PriceList(
        "eu-west-1",
        "2026-12-01",
        {"lambda/requests": Price(0.2, "million requests", "AWSLambda", "EU-Request", confirmed=True)},
    )


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ([], "knows no price of `Request` (AWSLambda)"),
        ([product("EU-Request", "0")], "knows no price of"),
        ([product("EU-Request", "0.1"), product("EUW1-Request", "0.2")], "knows 2 prices of"),
    ],
)
def test_what_the_api_does_not_tell_stays_as_it_was_and_is_named(page: list[str], said: str) -> None:
    old = replace(IRELAND["lambda/requests"], confirmed=True)
    pricing, _ = answered(page)
    done = refresh(pricing, "eu-west-1", [ITEM], replace(IRELAND, prices={"lambda/requests": old}), "2026-12-01")
    assert done.prices.prices == {"lambda/requests": replace(old, confirmed=False)}
    assert said in done.problems[0]
    assert "; 0.2 stays, unconfirmed" in done.problems[0]
    pricing, _ = answered(page)
    assert refresh(pricing, "eu-west-1", [ITEM], None, "2026-12-01").prices.prices == {}


def test_an_api_that_cannot_be_asked_is_said() -> None:
    pricing, stub = answered()
    stub.add_client_error("get_products", "AccessDeniedException", "no")
    with pytest.raises(ServiceError, match=r"cannot be asked for `lambda/requests`.*AWS_ENDPOINT_URL= mlops cost"):
        refresh(pricing, "eu-west-1", [ITEM], None, "2026-12-01")


def test_attributes_tell_apart_what_one_usage_type_means() -> None:
    [item] = [each for each in catalogue.CATALOGUE if each.key == "events/custom"]
    pricing, stub = answered([product("EU-Event-64K-Chunks", "0.000001")], item=item)
    done = refresh(pricing, "eu-west-1", [item], None, "2026-12-01")
    stub.assert_no_pending_responses()
    assert done.prices.dollars("events/custom") == 1.0
