"""The pipelines of the project, and their definitions as JSON text.

A definition is a pure function of the configuration, the image's URI, the sources of this package and the SDK's
version, so that rendering it, which takes seconds (the SDK's import alone 3), is done once: the result lies in
`.mlops/cache/definitions` under the SHA-256 of all of these. The cache may be deleted at any time; an entry that is
damaged is rendered again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines import images
from pipelines import names as n
from pipelines.config import Configuration, Workloads
from pipelines.definition_cache import DefinitionCache
from pipelines.errors import UsageError, suggestion
from pipelines.names import LocalPaths
from pipelines.session import sdk_environment

PIPELINES: Mapping[tuple[str, str], str] = {
    ("cardholders", "build"): "pipelines.build.cardholders",
    ("forecaster", "build"): "pipelines.build.forecaster",
    ("cardholders", "monitor"): "pipelines.monitor.cardholders",
    ("forecaster", "monitor"): "pipelines.monitor.forecaster",
    **{
        (workload, kind): "pipelines.deploy.pipeline"
        for workload in Workloads.model_fields
        for kind in n.DEPLOY_KINDS.values()
    },
}
"""(workload, kind): the module whose `definition` renders the pipeline."""


def check(workload: str, kind: str) -> None:
    """Raises UsageError when there is no such pipeline."""
    if (workload, kind) not in PIPELINES:
        known = [" ".join(pair) for pair in PIPELINES]
        raise UsageError(
            f"there is no pipeline `{workload} {kind}`"
            f"{suggestion(f'{workload} {kind}', known) or '; expected one of ' + ', '.join(known)}"
        )


def render(workload: str, kind: str, configuration: Configuration, root: Path) -> str:
    """The definition of a pipeline, for the configuration and, of a build, the image of the working copy at `root`.
    Calls nothing.

    Raises UsageError for an unknown pipeline, and as `images.read` does.
    """
    check(workload, kind)
    # A deployment runs whatever image its package has.
    deploys = kind in n.DEPLOY_KINDS.values()
    image_uri = "" if deploys else configuration.names.image_uri(workload, images.read(root, workload).digest)
    key = _key(workload, kind, configuration, image_uri)
    cache = DefinitionCache(LocalPaths(root).definitions_cache)
    definition = cache.get(key)
    if definition is None:
        definition = render_for_image(workload, kind, configuration, image_uri)
        cache.put(key, definition)
    return definition


def request(workload: str, kind: str, configuration: Configuration, root: Path) -> dict[str, Any]:
    """The arguments of CreatePipeline, and of UpdatePipeline, which takes the same."""
    return {
        "PipelineName": configuration.names.pipeline(workload, kind),
        "PipelineDefinition": render(workload, kind, configuration, root),
        "RoleArn": configuration.names.role_arn,
        "ParallelismConfiguration": {
            "MaxParallelExecutionSteps": getattr(configuration.workloads, workload).execution.parallel_steps
        },
    }


def render_for_image(workload: str, kind: str, configuration: Configuration, image_uri: str) -> str:
    """The definition of a pipeline, rendered anew. image_uri: what a build pipeline's steps run."""
    check(workload, kind)
    with sdk_environment(configuration.names.region), _quiet():
        render = importlib.import_module(PIPELINES[workload, kind]).definition
        for stage, deploying in n.DEPLOY_KINDS.items():
            if kind == deploying:
                return str(render(configuration, workload, stage))
        return str(render(configuration, image_uri))


@contextmanager
def _quiet() -> Iterator[None]:
    """The SDK warns of its own deprecated modules, logs each look-up in its configuration, and adds a handler to the
    root logger.
    """
    root = logging.getLogger()
    handlers, disabled = list(root.handlers), root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for handler in root.handlers[:]:
            if handler not in handlers:
                root.removeHandler(handler)


def _key(workload: str, kind: str, configuration: Configuration, image_uri: str) -> str:
    sources = Path(__file__).parent
    parts = [
        workload,
        kind,
        configuration.model_dump_json(),
        image_uri,
        version("sagemaker"),
        version("sagemaker-core"),
    ]
    for file in sorted(sources.rglob("*.py")):
        parts += [file.relative_to(sources).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()]
    return f"{workload}-{kind}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"
