"""Asks MLflow's server for what the address of a run's page needs."""

from __future__ import annotations

from urllib.parse import urlencode

from pipelines.stack import answering

__all__ = ["experiment_id", "run_page"]


def experiment_id(mlflow_url: str | None, run_id: str | None) -> str | None:
    """The experiment of a run, part of the address of its page; None when it cannot be asked."""
    if not mlflow_url or not run_id:
        return None
    answer = answering(f"{mlflow_url}/api/2.0/mlflow/runs/get?{urlencode({'run_id': run_id})}")
    try:
        return str(answer["run"]["info"]["experiment_id"])
    except (TypeError, KeyError):
        return None


def run_page(mlflow_url: str | None, run_id: str | None) -> str | None:
    """The address of a run's page; None when the server has no pages, or does not know the run."""
    experiment = experiment_id(mlflow_url, run_id)
    return f"{mlflow_url}/#/experiments/{experiment}/runs/{run_id}" if experiment else None
