"""The arithmetic of the cap on an execution, and the parameters of the stack that come of `budget`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import load
from pipelines.cost import budget, price_list
from pipelines.cost.price_list import Price, PriceList, PriceMissing
from pipelines.cost.spending import Job, dollars_of, sum_up

PRICES = PriceList(
    "eu-west-1",
    "2026-11-22",
    {
        key: Price(dollars, "hour", "AmazonSageMaker", key, confirmed=True)
        for key, dollars in {
            "sagemaker/processing/ml.m5.large": 0.1,
            "sagemaker/training/ml.m5.large": 0.2,
            "sagemaker/transform/ml.m5.large": 0.4,
            "sagemaker/processing/volume": 0.73,
            "sagemaker/training/volume": 1.46,
        }.items()
    },
)


@st.composite
def jobs(draw: st.DrawFn, *, endless: bool = True) -> Job:
    use = draw(st.sampled_from(["processing", "training", *(["transform"] if endless else [])]))
    limit = None if use == "transform" else draw(st.integers(60, 432_000))
    return Job(
        "Step",
        use,
        "ml.m5.large",
        draw(st.integers(1, 100)),
        0 if use == "transform" else draw(st.integers(1, 16_384)),
        draw(st.floats(0, limit or 1e6)),
        draw(st.booleans()),
        limit,
    )


def job(**members: object) -> Job:
    whole = {"step": "Train", "use": "training", "instance_type": "ml.m5.large", "instance_count": 1, "volume_gb": 0}
    return Job(**{**whole, "seconds": 0.0, "running": True, "limit_seconds": 3600, **members})  # type: ignore[arg-type]


def test_machines_and_their_disks_are_paid_for_by_the_second() -> None:
    assert dollars_of(job(instance_count=3), 1800, PRICES) == pytest.approx(3 * 0.2 / 2)
    assert dollars_of(job(volume_gb=50), 3600, PRICES) == pytest.approx(0.2 + 50 * 1.46 / 730)
    assert dollars_of(job(use="transform"), 7200, PRICES) == pytest.approx(0.8)


def test_what_runs_counts_to_its_limit_and_what_has_ended_as_it_was() -> None:
    found = sum_up([job(seconds=900.0), job(seconds=360.0, running=False)], PRICES)
    assert found.spent == pytest.approx(0.05 + 0.02)
    assert found.ahead == pytest.approx(0.15)
    assert found.at_most == pytest.approx(0.22)


def test_a_transform_counts_with_what_it_has_cost() -> None:
    found = sum_up([job(use="transform", seconds=1800.0, limit_seconds=None)], PRICES)
    assert (found.spent, found.ahead) == (pytest.approx(0.2), 0.0)


@given(st.lists(jobs(endless=False), max_size=6), st.data())
def test_however_its_jobs_go_on_an_execution_never_exceeds_what_was_reckoned(
    all_jobs: list[Job], data: st.DataObject
) -> None:
    before = sum_up(all_jobs, PRICES)
    ended = [
        job(**{**vars(each), "seconds": data.draw(st.floats(each.seconds, each.limit_seconds)), "running": False})
        if each.running
        else each
        for each in all_jobs
    ]
    after = sum_up(ended, PRICES)
    assert after.ahead == 0
    assert before.spent - 1e-6 <= after.spent <= before.at_most * (1 + 1e-9) + 1e-6


@given(st.lists(jobs(), max_size=6), jobs())
def test_another_job_never_makes_it_cheaper(all_jobs: list[Job], more: Job) -> None:
    before, after = sum_up(all_jobs, PRICES), sum_up([*all_jobs, more], PRICES)
    assert after.spent >= before.spent
    assert after.at_most >= before.at_most


def test_a_machine_without_a_price_is_named_and_never_free() -> None:
    with pytest.raises(PriceMissing, match=r"no price of `sagemaker/training/ml.p5.48xlarge`; `mlops cost --refresh"):
        sum_up([job(instance_type="ml.p5.48xlarge")], PRICES)


def test_a_job_that_ran_beyond_its_limit_owes_nothing_more() -> None:
    assert sum_up([job(seconds=4000.0)], PRICES).ahead == 0


# --- the stack's parameters -------------------------------------------------------------------------------------------


def test_without_a_budget_the_stack_has_none(copy: Path) -> None:
    assert budget.template_parameters(load(copy, environ={})) == {"MonthlyBudgetDollars": "0", "ExecutionDollars": "0"}


def test_the_stack_is_told_in_plain_numbers(copy: Path) -> None:
    file = copy / "configs" / "project.yml"
    text = file.read_text().replace("monthly_dollars: 0", "monthly_dollars: 90000")
    file.write_text(text.replace("execution_dollars: 0", "execution_dollars: 0.00005"))
    found = budget.template_parameters(load(copy, environ={}))
    assert found == {"MonthlyBudgetDollars": "90000", "ExecutionDollars": "0.00005"}


def test_a_cap_wants_the_prices_of_all_machines(copy: Path) -> None:
    file = copy / "configs" / "project.yml"
    file.write_text(file.read_text().replace("execution_dollars: 0", "execution_dollars: 5"))
    workload = copy / "configs" / "workloads" / "forecaster.yml"
    workload.write_text(
        workload.read_text().replace("train: {instance_type: ml.m5.large", "train: {instance_type: ml.p5.48xlarge")
    )
    with pytest.raises(PriceMissing, match=r"sagemaker/training/ml\.p5.48xlarge"):
        budget.template_parameters(load(copy, environ={}))
    with pytest.raises(PriceMissing, match="no prices of the region `us-west-2`, only of eu-west-1"):
        budget.template_parameters(load(copy, environ={"AWS_REGION": "us-west-2"}))


# --- the file of prices -----------------------------------------------------------------------------------------------


def test_a_list_of_prices_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = price_list.file_of("eu-west-1", tmp_path)
    file.write_text(price_list.text(PRICES))
    assert price_list.read("eu-west-1", tmp_path) == PRICES
    assert json.loads(file.read_text())["currency"] == "USD"
    assert price_list.regions(tmp_path) == ["eu-west-1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSONDecodeError"),
        ('{"region": "x", "date": "y", "currency": "EUR", "prices": {}}', "'EUR', expected USD"),
        (
            '{"region": "x", "date": "y", "currency": "USD", "prices": {"a": {"dollars": 0}}}',
            "'a' is 0, expected a number",
        ),
        ('{"region": "x", "date": "y", "currency": "USD", "prices": {"a": {}}}', "KeyError"),
    ],
)
def test_a_broken_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    price_list.file_of("x", tmp_path).write_text(text)
    with pytest.raises(PriceMissing, match=r"x\.json is no list of prices") as refused:
        price_list.read("x", tmp_path)
    assert said in str(refused.value)


def test_the_kept_prices_are_those_of_the_catalogue() -> None:
    from pipelines.cost.catalogue import CATALOGUE, machine

    known = {item.key: item for item in CATALOGUE}
    kept = price_list.read("eu-west-1")
    for key, price in kept.prices.items():
        item = known.get(key) or machine(*key.split("/")[1:])
        assert (price.unit, price.service, price.usage_type) == (item.unit, item.service, f"EU-{item.usage_type}")
