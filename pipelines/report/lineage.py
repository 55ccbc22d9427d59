"""Where a model comes from, in the words and links of the page: its commit, and its run and versions in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.names import RUN_ID_KEY
from pipelines.report.documents import mapping
from pipelines.report.format import web_address

__all__ = ["Link", "Mlflow", "mlflow", "mlflow_models", "short_commit"]

Link = tuple[str, str | None]
"""A text, and the address that it leads to when there is one."""


@dataclass(frozen=True)
class Mlflow:
    """The run that a model was logged to, and the versions that MLflow's registry has of its parts."""

    run_id: str
    experiment: str
    run_link: str | None
    models: Sequence[Link]


def short_commit(commit: str) -> str:
    """A commit as people write it: its first twelve characters, and that the tree differed from it."""
    return commit[:12] + ("-dirty" if len(commit) > 12 and commit.endswith("-dirty") else "")


def mlflow(
    evaluation: Mapping[str, Any], metadata: Mapping[str, Any], base: str | None, experiment_id: str | None
) -> Mlflow | None:
    """The run that an evaluation was logged to, else the one that a package's metadata names; None without either.

    base: the address of the tracking server's pages, if it has any.
    """
    told = mapping(evaluation.get("mlflow"))
    run_id = str(told.get("run_id") or metadata.get(RUN_ID_KEY) or "")
    if not run_id:
        return None
    run_link = f"{base}/#/experiments/{experiment_id}/runs/{run_id}" if base and experiment_id else None
    experiment = str(told.get("experiment") or "")
    return Mlflow(run_id, experiment, web_address(run_link), mlflow_models(metadata, base))


def mlflow_models(metadata: Mapping[str, Any], base: str | None) -> list[Link]:
    """The registered versions that a package's metadata names, each with its page."""
    models: list[Link] = []
    for key, version in metadata.items():
        part = key.removeprefix("mlflow_").removesuffix("_version")
        if key == f"mlflow_{part}_version":
            name = metadata.get(f"mlflow_{part}_model", part)
            models.append(
                (f"{name} version {version}", web_address(base and f"{base}/#/models/{name}/versions/{version}"))
            )
    return models
