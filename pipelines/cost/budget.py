"""`budget` of configs/project.yml as parameters of template/project.yml."""

from __future__ import annotations

from decimal import Decimal

from pipelines.config import Configuration, Job
from pipelines.cost import price_list

__all__ = ["template_parameters"]


def template_parameters(configuration: Configuration) -> dict[str, str]:
    """The monthly budget and the cap on an execution, in US dollars; 0 is none.

    Raises PriceMissing when there is a cap and a job runs on a machine whose price is not known: the cap could not be
    kept.
    """
    budget = configuration.project.budget
    if budget.execution_dollars:
        prices = price_list.read(configuration.project.region)
        for key in _job_prices(configuration):
            prices.dollars(key)
    return {
        "MonthlyBudgetDollars": _plain(budget.monthly_dollars),
        "ExecutionDollars": _plain(budget.execution_dollars),
    }


def _job_prices(configuration: Configuration) -> list[str]:
    """The prices that the cap is reckoned with."""
    keys: set[str] = set()
    for workload in (configuration.workloads.cardholders, configuration.workloads.forecaster):
        for field in type(workload.steps).model_fields:
            job = getattr(workload.steps, field)
            use = use_of(field)
            keys.add(price_list.instance(use, job.instance_type))
            if isinstance(job, Job):
                keys.add(price_list.volume(use))
    return sorted(keys)


def use_of(step: str) -> str:
    """What a step of `steps` in configs/workloads asks SageMaker for: `processing`, `training` or `transform`."""
    kind = step.partition("_")[0]
    return {"train": "training", "transform": "transform"}.get(kind, "processing")


def _plain(dollars: float) -> str:
    """As CloudFormation reads numbers: 2000, 0.5."""
    value = Decimal(str(dollars)).normalize()
    return f"{value:f}"
