"""What the network sees: windows cut from flat arrays, the same in training and in serving.

A window is a forecast start `s` in one series. The network reads `context_length` steps before `s` and predicts every
step from the second of these to the last of the horizon; for the step `t` its input is the lagged values at `t - lag`,
the calendar features of `t`, the logarithm of the series' age at `t`, and the dynamic features of `t` (GluonTS's
order). Values before a series' start count as missing.

GluonTS recomputes features over the whole history of a series for every window, which is most of its training time.
Here all series lie one behind the other in one array, and a batch is one indexed read of the steps that any lag of any
window touches: its cost, and its memory, do not depend on how long the series are.

Arrays are laid out (time, feature, window): a lag of all windows is then one contiguous copy, and the sampler's matrix
products find their operands as they need them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seed_code.forecaster.frequency import Calendar, Frequency
from seed_code.forecaster.records import Series

Values = NDArray[np.float32]
Indices = NDArray[np.int64]

SMALLEST_SCALE = 1e-10  # GluonTS's MeanScaler


@dataclass(frozen=True)
class Layout:
    """Which steps, relative to a window's forecast start, a window reads.

    Attributes:
        steps: (steps,), ascending: every relative step that some lag of some predicted step touches.
        first_of_lag: where in `steps` each lag's run of `predicted` steps begins.
        first_of_target: where in `steps` the predicted steps themselves begin.
        first_of_context: where in `steps` the `context_length` steps begin that give the scale.
        predicted: steps that the network predicts: the context but its first, and the horizon.
    """

    context_length: int
    horizon: int
    lags: tuple[int, ...]
    steps: Indices
    first_of_lag: tuple[int, ...]
    first_of_target: int
    first_of_context: int

    @classmethod
    def of(cls, context_length: int, prediction_length: int, lags: Sequence[int]) -> "Layout":
        """The layout for the settings of a network; `lags` start with 1, the step before."""
        predicted = np.arange(1 - context_length, prediction_length)
        steps = np.unique(np.concatenate([predicted - lag for lag in (0, *lags)]))

        def first(step: int) -> int:
            return int(np.searchsorted(steps, step))

        return cls(
            context_length, prediction_length, tuple(lags), steps.astype(np.int64),
            tuple(first(1 - context_length - lag) for lag in lags), first(1 - context_length), first(-context_length),
        )  # fmt: skip

    @property
    def predicted(self) -> int:
        return self.context_length + self.horizon - 1


@dataclass(frozen=True)
class Batch:
    """Windows, ready for the network. `T` steps, `B` windows.

    Attributes:
        inputs: (T, lags + features, B), values scaled.
        scale: (B,), by which the values were divided.
        cat: (B, categorical features).
        target: (T, B), not scaled; missing values are the panel's filling.
        observed: (T, B), 1 where the target is known, else 0.
    """

    inputs: Values
    scale: Values
    cat: Indices
    target: Values
    observed: Values


class Panel:
    """All series of a data set, one behind the other.

    Args:
        series: in any order; dynamic features may reach beyond the target.
        frequency: that of all series.
        horizon: steps beyond the end of a series that windows may read features of.
        filling: stands for a missing value; one that the likelihood can have.
        default_scale: of a window without any observation in its context; None when values are not to be scaled.
        categories: how many categorical features to use (the first, in order); 0 leaves `cat` unused.
        dynamic: how many dynamic features to use; 0 leaves them unused.
    """

    def __init__(
        self, series: Sequence[Series], frequency: Frequency, horizon: int, *,
        filling: float = 0.0, default_scale: float | None = 1.0, categories: int = 0, dynamic: int = 0,
    ) -> None:  # fmt: skip
        self._frequency = frequency
        self._default_scale = default_scale
        self.lengths = np.array([len(one) for one in series], np.int64)
        self._starts = np.array([one.start for one in series], np.int64)
        # Element 0 of every array stands for "before the series"; the series follow.
        self._first = np.concatenate([[0], np.cumsum(self.lengths)])[:-1] + 1
        target = np.concatenate([np.full(1, np.nan, np.float32), *(one.target for one in series)])
        missing = np.isnan(target)
        target[missing] = filling
        target[0] = 0.0
        self._target = target
        self._observed = ~missing
        self._cat = np.array([one.cat[:categories] for one in series], np.int64).reshape(len(series), categories)
        self._dynamic = np.zeros((dynamic, 1), np.float32)
        if dynamic:
            reach = np.array([one.dynamic_feat.shape[1] for one in series], np.int64)
            self._first_dynamic = np.concatenate([[0], np.cumsum(reach)])[:-1] + 1
            self._dynamic = np.concatenate([self._dynamic, *(one.dynamic_feat for one in series)], axis=1)
        last = self._starts + (self.lengths + horizon) * frequency.multiple
        self._calendar = Calendar(frequency, int(self._starts.min()), int(last.max()))
        self._features = len(frequency.feature_names) + 1 + dynamic

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def features(self) -> int:
        """Inputs per step besides the lags: calendar features, age, dynamic features."""
        return self._features

    def batch(self, layout: Layout, which: Indices, starts: Indices, scale: Values | None = None) -> Batch:
        """The windows of `layout` that forecast series `which` from step `starts` on.

        Steps outside a series, before it or after it, have the value 0.

        Args:
            which, starts: both (B,).
            scale: (B,), to divide by instead of the windows' own.
        """
        steps = starts + layout.steps[:, None]  # (steps, B)
        inside = (steps >= 0) & (steps < self.lengths[which])
        at = np.where(inside, steps + self._first[which], 0)
        values = self._target[at]
        context = slice(layout.first_of_context, layout.first_of_context + layout.context_length)
        predicted = slice(layout.first_of_target, layout.first_of_target + layout.predicted)
        if scale is None:
            scale = self._scale(values[context], self._observed[at[context]])
        target, observed = values[predicted].copy(), self._observed[at[predicted]].astype(np.float32)

        inputs = np.empty((layout.predicted, len(layout.lags) + self._features, len(which)), np.float32)
        values /= scale
        for row, first in enumerate(layout.first_of_lag):
            inputs[:, row] = values[first : first + layout.predicted]
        self._fill_features(inputs[:, len(layout.lags) :], which, steps[predicted])
        return Batch(inputs, scale, self._cat[which], target, observed)

    def _scale(self, context: Values, observed: NDArray[np.bool_]) -> Values:
        """(B,): the mean size of the observed values of the context, as GluonTS's MeanScaler has it."""
        if self._default_scale is None:
            return np.ones(context.shape[1], np.float32)
        count = observed.sum(axis=0)
        # The sum of large 32-bit floats is none any more; their mean is.
        size = (np.abs(context) * observed).sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
        return np.maximum(np.where(count, size, self._default_scale), SMALLEST_SCALE).astype(np.float32)

    def _fill_features(self, into: Values, which: Indices, steps: Indices) -> None:
        """Write calendar, age and dynamic features of `steps`, (T, B), into (T, features, B); zeros before a start."""
        after_start = steps >= 0
        since = np.maximum(steps, 0)
        calendar = self._calendar.features(self._starts[which] + since * self._frequency.multiple)
        for row, feature in enumerate(calendar):
            into[:, row] = feature
        into[:, len(calendar)] = np.log10(2.0 + since, dtype=np.float32)
        if len(self._dynamic):
            at = np.where(after_start, steps + self._first_dynamic[which], 0)
            into[:, len(calendar) + 1 :] = self._dynamic[:, at].swapaxes(0, 1)
        if not after_start.all():
            into *= after_start[:, None]


class Sampler:
    """Draws training windows, every forecast start of every series alike."""

    def __init__(self, panel: Panel, layout: Layout, rng: np.random.Generator) -> None:
        # Series shorter than the horizon have no window.
        counts = np.maximum(panel.lengths - layout.horizon + 1, 0)
        self._last_of = np.cumsum(counts)
        self._first_of = self._last_of - counts
        self._panel = panel
        self._layout = layout
        self._rng = rng

    @property
    def windows(self) -> int:
        """How many different windows there are."""
        return int(self._last_of[-1])

    def draw(self, size: int) -> Batch:
        """A batch of `size` windows."""
        window = self._rng.integers(self.windows, size=size)
        which = np.searchsorted(self._last_of, window, side="right")
        return self._panel.batch(self._layout, which, window - self._first_of[which])
