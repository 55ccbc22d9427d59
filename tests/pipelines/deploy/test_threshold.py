"""The monitoring threshold after a deployment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.deploy.functions.serving import lowered

_LOSS = st.floats(0.0001, 10.0)


@given(threshold=_LOSS, loss=_LOSS, rate=st.floats(0, 1), spread=st.floats(0, 1))
def test_it_is_never_below_the_models_own_bound_and_rises_for_that_alone(
    threshold: float, loss: float, rate: float, spread: float
) -> None:
    upper = loss + spread
    new = lowered(threshold, loss, rate, upper)
    assert new >= upper
    assert new <= max(threshold, upper)


@pytest.mark.parametrize(
    ("threshold", "loss", "rate", "upper", "new"),
    [
        (0.25, 0.15, 0.0, 0.16, 0.25),  # the rate leaves it
        (0.25, 0.15, 1.0, 0.15, 0.15),  # or takes the loss
        (0.25, 0.15, 0.8, 0.16, 0.17),
        (0.25, 0.15, 1.0, 0.20, 0.20),  # but not below the bound
        (0.25, 0.30, 0.8, 0.40, 0.40),  # which a worse model has higher up: it must not breach at once
        (0.25, 0.24, 0.8, 0.30, 0.30),
    ],
)
def test_it_moves_towards_the_loss(threshold: float, loss: float, rate: float, upper: float, new: float) -> None:
    assert lowered(threshold, loss, rate, upper) == pytest.approx(new)
