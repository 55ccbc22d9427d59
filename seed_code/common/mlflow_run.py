"""What an evaluation leaves in MLflow: one run with parameters, figures, files and models.

Imports MLflow, which takes seconds: to be imported when there is something to log.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param
from mlflow.models import ModelSignature

import seed_code

_BATCH = 500  # a tracking server takes at most 1,000 entries in one call, and 100 parameters
_PARAMS = 90


@contextmanager
def run(experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[str]:
    """A new run of an experiment (made if there is none), active within the block; FAILED when the block raises.

    Gives its id.
    """
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=name, tags=dict(tags)) as active:
        yield active.info.run_id


def log_params(client: mlflow.MlflowClient, run_id: str, params: Mapping[str, object]) -> None:
    """Log parameters as texts."""
    entries = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entries), _PARAMS):
        client.log_batch(run_id, params=entries[start : start + _PARAMS])


def log_metrics(client: mlflow.MlflowClient, run_id: str, metrics: Iterable[tuple[str, float | None, int]]) -> None:
    """Log metrics, each a name, a value and a step; those without a value are left out."""
    now = int(time.time() * 1000)
    entries = [Metric(name, value, now, step) for name, value, step in metrics if value is not None]
    for start in range(0, len(entries), _BATCH):
        client.log_batch(run_id, metrics=entries[start : start + _BATCH])


def log_model(
    name: str,
    code: Path,
    artifacts: Mapping[str, Path],
    requirements: Sequence[str],
    signature: ModelSignature,
    example: Any,
) -> str:
    """Log a pyfunc model to the active run, and give its `models:/` URI.

    Args:
        code: the file that MLflow executes to make the model ("models from code": nothing is pickled).
        artifacts: folders or files that the model carries.
        requirements: the packages that the model's code imports, without versions: those installed here are stated.
        example: an input, which MLflow tries the model with; or None.
    """
    logged = mlflow.pyfunc.log_model(
        name=name,
        python_model=str(code),
        artifacts={key: str(path) for key, path in artifacts.items()},
        # The package of the workloads' code; of it, what this image carries.
        code_paths=[str(Path(seed_code.__file__).parent)],
        signature=signature,
        input_example=example,
        # Stated: otherwise MLflow would load the model in another process to see what it imports.
        pip_requirements=[f"{requirement}=={version(requirement)}" for requirement in requirements],
    )
    return str(logged.model_uri)


def log_files(client: mlflow.MlflowClient, run_id: str, files: Sequence[Path], plots: Sequence[Path]) -> None:
    """Log files to the run, the plots in a folder of their own."""
    for file in files:
        client.log_artifact(run_id, str(file))
    for plot in plots:
        client.log_artifact(run_id, str(plot), "plots")
