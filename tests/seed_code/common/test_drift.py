"""The detectors: they fire when a stream changes, only for what is new, and cost no import of what they do not need."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seed_code.common import drift
from seed_code.common.drift import Adwin, PageHinkley, detect
from seed_code.common.errors import ClientError

SETTINGS = PageHinkley(delta=0.1, threshold=3.0, min_instances=10)
QUIET = np.random.default_rng(1).normal(0.0, 0.3, 400).tolist()


def fired(values, settings):
    """The numbers of values, from 1, at which a detector fires when it is asked after each."""
    return [n for n in range(1, len(values) + 1) if detect("s", values[:n], settings).detected]


def test_a_rise_is_found_by_both():
    values = [*QUIET, *(value + 1.5 for value in QUIET[:20])]
    first = fired(values, SETTINGS)[0]
    assert 400 < first <= 404
    found = detect("loss", values[:first], SETTINGS)
    assert found.document() == {
        "stream": "loss", "detector": "page-hinkley", "statistic": found.statistic, "threshold": 3.0, "detected": True,
    }  # fmt: skip
    assert found.statistic > 3.0
    window = fired(values, Adwin(1e-4))
    assert 400 < window[0] <= 420
    found = detect("loss", values[: window[0]], Adwin(1e-4))
    assert found.threshold is None
    assert found.statistic < window[0]


def test_a_fall_is_no_drift():
    values = [*QUIET, *(value - 1.5 for value in QUIET[:20])]
    assert fired(values, SETTINGS) == []
    assert fired(values, Adwin(1e-4)) == []


def test_only_what_is_new_is_found():
    values = [*QUIET, *(value + 1.5 for value in QUIET[:20])]
    first = fired(values, SETTINGS)[0]
    assert not detect("s", values[:first], SETTINGS, new=0).detected
    assert detect("s", values[: first + 2], SETTINGS, new=3).detected
    assert not detect("s", values[: first + 2], SETTINGS, new=2).detected
    assert drift.firings(values, SETTINGS) == [number - 1 for number in fired(values, SETTINGS)]


@pytest.mark.parametrize("settings", [SETTINGS, Adwin(0.01)])
def test_a_stream_without_values_says_nothing(settings):
    found = detect("s", [], settings)
    assert (found.statistic, found.detected) == (0.0, False)


def test_nothing_is_found_before_there_are_enough_values():
    values = [0.0] * 5 + [9.0] * 4
    assert detect("s", values, SETTINGS).detected is False
    assert detect("s", [*values, 9.0], SETTINGS).detected is True


@given(st.lists(st.floats(-1e6, 1e6), max_size=30), st.integers(0, 30))
def test_what_is_found_since_a_value_is_what_is_found_at_one_since(values, new):
    for settings in (SETTINGS, Adwin(0.01)):
        one_by_one = [n for n in fired(values, settings) if n > len(values) - new]
        assert detect("s", values, settings, new=new).detected == bool(one_by_one)


def test_a_state_keeps_the_newest():
    assert drift.kept(range(drift.MOST_VALUES + 3)) == list(range(3, drift.MOST_VALUES + 3))


def test_a_settings_range_is_checked():
    given_ = {"page_hinkley_delta": 0.1, "page_hinkley_threshold": 1.0, "page_hinkley_min_instances": 5}
    assert drift.page_hinkley_of(Namespace(**given_)) == PageHinkley(0.1, 1.0, 5)
    for wrong in ({"page_hinkley_delta": -1.0}, {"page_hinkley_threshold": 0.0}, {"page_hinkley_threshold": np.nan}):
        with pytest.raises(ClientError, match="expected delta from 0, threshold above 0 and min_instances from 1"):
            drift.page_hinkley_of(Namespace(**{**given_, **wrong}))
    with pytest.raises(ClientError, match=r"--adwin-delta is 1\.0; expected a number between 0 and 1"):
        drift.adwin_of(Namespace(adwin_delta=1.0))


def test_its_import_brings_the_detectors_and_leaves_river_whole():
    program = (
        "import sys; from seed_code.common import drift\n"
        "print(*{'scipy', 'sklearn', 'pandas', 'narwhals', 'river.drift', 'river.stats'} & set(sys.modules))\n"
        "import river.drift, river.stats\n"
        "print(river.drift.KSWIN.__name__, river.drift.PageHinkley is drift._page_hinkley.PageHinkley)\n"
        "print(river.stats.Var.__name__, isinstance(drift._page_hinkley.PageHinkley()._x_mean, river.stats.Mean))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "KSWIN True", "Var True"]
