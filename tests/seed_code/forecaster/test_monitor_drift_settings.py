"""The shipped settings of alarms and detectors, held to what benchmarks/drift_detection.py claims of them, on less."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipelines.config import ForecasterMonitoring, load

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drift_detection", ROOT / "benchmarks/drift_detection.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["drift_detection"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def settings() -> ForecasterMonitoring:
    return load(ROOT, environ={}).workloads.forecaster.monitoring


def test_a_month_without_drift_has_no_alarm(benchmark, settings):
    assert benchmark.stationary_year(101, settings, 30).together() == []


def test_another_market_is_found_within_three_hours(benchmark, settings):
    found = list(benchmark.delays(7, "market", settings, trials=2, days=20))
    assert [one["quality"] for one in found] == [3, 3]
    assert all(one["any"] <= 3 for one in found)


def test_a_doubling_of_fees_alone_is_found_within_hours(benchmark, settings):
    found = sorted(one["any"] for one in benchmark.delays(7, "doubling", settings, trials=5, days=20))
    assert found[2] <= 4
    assert found[-1] <= 12


def test_a_fee_stream_is_that_of_the_monitor(benchmark):
    fees = np.concatenate([np.full(60, 100.0)] * 24 * 9 + [np.full(60, 200.0)])
    assert benchmark.fee_changes(fees, 60 * 24 * 9, 1) == [pytest.approx(np.log(2))]
