"""Which files concern which CodePipeline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.delivery.paths import CHECKED, STARTED_BY_PUSH, concerning, first_match, matches

NAMES = st.text("abcdefghij_.", min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("path", "started"),
    [
        ("pipelines/build/forecaster.py", {"cardholders build", "forecaster build"}),
        ("pipelines/monitor/cardholders.py", {"cardholders monitor", "forecaster monitor"}),
        ("seed_code/forecaster/train.py", {"forecaster build"}),
        ("seed_code/forecaster/monitor.py", {"forecaster build", "forecaster monitor"}),
        ("seed_code/cardholders/Dockerfile", {"cardholders build"}),
        ("seed_code/ingestion/poller/pace.py", {"forecaster build"}),
        ("configs/ingestion.yml", {"forecaster build"}),
        ("configs/workloads/cardholders.yml", {"cardholders build", "cardholders monitor"}),
        ("configs/project.yml", {"cardholders build", "forecaster build"}),
        (
            "seed_code/common/drift.py",
            {f"{w} {k}" for w in ("cardholders", "forecaster") for k in ("build", "monitor")},
        ),
        ("README.md", set()),
        ("seed_code/forecaster_notes.md", set()),
        ("configs/stages/prod.yml", set()),
    ],
)
def test_a_change_starts_what_is_made_of_it(path: str, started: set[str]) -> None:
    found = {
        f"{workload} {kind}"
        for workload in ("cardholders", "forecaster")
        for kind in STARTED_BY_PUSH
        if first_match([path], concerning(workload, kind))
    }
    assert found == started


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_folders_glob_is_all_below_it_and_nothing_beside_it(parts: list[str]) -> None:
    below = "/".join(parts)
    assert matches(f"seed_code/{below}", "seed_code/**")
    assert not matches(f"seed_code_{below}", "seed_code/**")
    assert not matches("seed_code", "seed_code/**")


def test_the_first_path_that_matters_is_named() -> None:
    assert first_match(["README.md", "template/api.yml", "tests/x.py"], CHECKED) == "template/api.yml"
    assert first_match([], CHECKED) is None
