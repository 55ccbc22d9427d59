"""The monitoring threshold after a deployment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.deploy.functions.serving import lowered

_LOSS = st.floats(0.0001, 10.0)


@given(threshold=_LOSS, wql=_LOSS, rate=st.floats(0, 1), spread=st.floats(0, 1))
def test_it_never_rises_and_never_falls_below_the_models_own_upper_bound(
    threshold: float, wql: float, rate: float, spread: float
) -> None:
    upper = wql + spread
    new = lowered(threshold, wql, rate, upper)
    assert new <= threshold
    assert new >= min(upper, threshold)


@pytest.mark.parametrize(
    ("threshold", "wql", "rate", "upper", "new"),
    [
        (0.25, 0.15, 0.0, 0.16, 0.25),  # the rate leaves it
        (0.25, 0.15, 1.0, 0.15, 0.15),  # or takes the loss
        (0.25, 0.15, 0.8, 0.16, 0.17),
        (0.25, 0.15, 1.0, 0.20, 0.20),  # but not below the bound
        (0.25, 0.30, 0.8, 0.40, 0.25),  # a worse model does not raise it
    ],
)
def test_it_moves_towards_the_loss(threshold: float, wql: float, rate: float, upper: float, new: float) -> None:
    assert lowered(threshold, wql, rate, upper) == pytest.approx(new)
