"""Step caching: a key over the resolved arguments that decide what a step computes, and the run that it leads to.

The attributes are those of AWS's page "Default cache key attributes by pipeline step type"; names and output locations
are not among them, so a step that writes to a folder of its execution's own is still found again. As on AWS the cache
is one pipeline's and one step's own, and knows successful runs only, the latest of those with the same key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from localcloud.sagemaker.pipelines.duration import before
from localcloud.store import Store

_KIND = "sagemaker/step-cache"
_ATTRIBUTES = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
    "Transform": ("Environment", "ModelName", "TransformInput"),
    # Not on that page, though the SDK's LambdaStep and CallbackStep take a cache_config: what is called, and with what.
    "Lambda": ("Arguments", "FunctionArn"),
    "Callback": ("Arguments", "SqsQueueUrl"),
}


def key(step_type: str, arguments: Mapping[str, Any]) -> str:
    """The key of a step with these resolved arguments (64 hexadecimal digits)."""
    # An attribute that is not given and one that is empty ask for the same thing.
    attributes = {name: arguments[name] for name in _ATTRIBUTES[step_type] if arguments.get(name)}
    content = json.dumps([step_type, attributes], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


class Cache:
    """The successful runs of every pipeline's steps."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(
        self, pipeline: str, step: str, cache_key: str, expiry: str | None, now: datetime
    ) -> dict[str, Any] | None:
        """The latest run with this key, as `remember` got it, unless it is older than `expiry` (ISO 8601) allows."""
        entry = self._store.get(_KIND, f"{pipeline}/{step}/{cache_key}")
        if entry is None or (expiry is not None and entry["EndTime"] < before(now, expiry)):
            return None
        return entry

    def remember(
        self, pipeline: str, step: str, cache_key: str, execution_arn: str, output: Mapping[str, Any], now: datetime
    ) -> None:
        """Note a run that has succeeded."""
        entry = {"ExecutionArn": execution_arn, "Output": dict(output), "EndTime": now}
        self._store.put(_KIND, f"{pipeline}/{step}/{cache_key}", entry)

    def forget(self, pipeline: str) -> None:
        """Drop all of a pipeline's runs, when it is deleted."""
        for name, _ in self._store.list(_KIND, f"{pipeline}/"):
            self._store.delete(_KIND, name)
