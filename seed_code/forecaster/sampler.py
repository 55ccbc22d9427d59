"""Forecasts without PyTorch: the trained network, unrolled in NumPy over all sample paths of many series at once.

The network is GluonTS's `DeepARModel.forward`, and tests hold its samples' means and quantiles to this module's. The
import costs a fraction of PyTorch's second and 200 MB, which is what lets a server start in under a second.

Arrays are (feature, path), so that each gate of all paths is contiguous. Two things make a step cheap. What an input
contributes that is the same for all paths of a series (calendar, age, dynamic features, lags that reach before the
forecast) is computed once per series. And a gate's logistic function is a hyperbolic tangent of half its argument, so
that all four gates take one pass; the halving is done to the weights, once.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from seed_code.forecaster.artifact import Artifact
from seed_code.forecaster.records import LARGEST, Series
from seed_code.forecaster.windows import Batch, Layout, Panel

Values = NDArray[np.float32]

# Paths per block: a block's gates should stay in a core's own cache.
_PATHS_PER_BLOCK = 2000
# Poisson draws beyond this overflow NumPy's integers; a forecast this large is nonsense already.
_LARGEST_RATE = 1e15
_SMALLEST_POSITIVE = float(np.finfo(np.float32).tiny)
_EPSILON = float(np.finfo(np.float32).eps)


class NotFinite(ArithmeticError):
    """What the network makes of a series is no number: its values are too far apart for 32-bit floats.

    Attributes:
        series: which of those that were given.
    """

    def __init__(self, series: int) -> None:
        super().__init__(f"what the network makes of series {series} is not finite")
        self.series = series


class Sampler:
    """Draws sample paths from a trained network.

    Thread-safe: nothing of it changes after construction.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._history = Layout.of(artifact.context_length, 1, artifact.lags)
        self._future = Layout.of(1, artifact.prediction_length, artifact.lags)
        weights = artifact.weights
        cells, lags = artifact.num_cells, len(artifact.lags)
        self._embedders = [weights[f"embedder._embedders.{i}.weight"] for i in range(max(1, len(artifact.cardinality)))]
        embedding = sum(table.shape[1] for table in self._embedders)
        # PyTorch's gates are input, forget, cell, output; the first, second and last are logistic.
        halved = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), cells)[:, None]

        def gates(name: str) -> Values:
            return np.ascontiguousarray(halved * weights[name].reshape(4 * cells, -1))

        first = gates("rnn.weight_ih_l0")
        self._lag_weight = np.ascontiguousarray(first[:, :lags])
        self._static_weight = np.ascontiguousarray(first[:, lags : lags + embedding + 2])
        self._step_weight = np.ascontiguousarray(
            np.concatenate([first[:, :lags], first[:, lags + embedding + 2 :]], axis=1)
        )
        layers = range(artifact.num_layers)
        self._hidden_weight = [gates(f"rnn.weight_hh_l{layer}") for layer in layers]
        self._bias = [gates(f"rnn.bias_ih_l{layer}") + gates(f"rnn.bias_hh_l{layer}") for layer in layers]
        # A layer's two products are one: its input and its own state lie one below the other.
        self._stacked = [
            np.ascontiguousarray(np.concatenate([gates(f"rnn.weight_ih_l{layer}"), self._hidden_weight[layer]], axis=1))
            for layer in layers
            if layer
        ]
        count = sum(name.startswith("param_proj.proj") and name.endswith("weight") for name in weights)
        self._projection = np.concatenate([weights[f"param_proj.proj.{i}.weight"] for i in range(count)])
        self._projection_bias = np.concatenate([weights[f"param_proj.proj.{i}.bias"] for i in range(count)])[:, None]
        self._draw = _DRAWS[artifact.likelihood]

    def sample(self, series: Sequence[Series], num_samples: int, rng: np.random.Generator) -> Values:
        """Sample paths of the steps after each series' target.

        Args:
            series: whose dynamic features, if the network uses any, reach over the horizon.
            num_samples: paths per series.

        Returns:
            (series, num_samples, prediction_length), finite; what would lie beyond 32-bit floats is their largest.

        Raises:
            NotFinite: when there is no forecast of a series.
        """
        paths = np.empty((len(series), num_samples, self._artifact.prediction_length), np.float32)
        # Infinities are looked for where they end up, and told as what they are.
        with np.errstate(over="ignore", invalid="ignore"):
            for at, block in self._blocks(series, num_samples):
                try:
                    paths[at : at + len(block)] = self._sample_block(block, num_samples, rng)
                except NotFinite as error:
                    raise NotFinite(at + error.series) from None
        return paths

    @staticmethod
    def _blocks(series: Sequence[Series], num_samples: int) -> Iterator[tuple[int, Sequence[Series]]]:
        size = max(1, _PATHS_PER_BLOCK // num_samples)
        for at in range(0, len(series), size):
            yield at, series[at : at + size]

    def _sample_block(self, series: Sequence[Series], num_samples: int, rng: np.random.Generator) -> Values:
        artifact = self._artifact
        if artifact.likelihood == "deterministic-L1":  # every path is the same one
            return np.repeat(self._unroll(series, 1, rng), num_samples, axis=1)
        return self._unroll(series, num_samples, rng)

    def _unroll(self, series: Sequence[Series], num_samples: int, rng: np.random.Generator) -> Values:
        artifact = self._artifact
        history, future = self._windows(series)
        cells, horizon, lags = artifact.num_cells, artifact.prediction_length, artifact.lags
        count, paths = len(series), len(series) * num_samples
        static = self._static_weight @ self._static(history) + self._bias[0]
        hidden, cell = self._warm_up(history.inputs, static)

        # From here on, one column per path. `state` holds the lagged samples, then each layer's output: the operand
        # of the first layer's product is its first rows, that of any other layer the rows of its input and its own.
        recent = sum(lag < horizon for lag in lags)
        state = np.empty((recent + cells * artifact.num_layers, paths), np.float32)
        state[:recent] = 0
        state[recent:] = np.repeat(np.concatenate(hidden), num_samples, axis=1)
        cell = [np.repeat(one, num_samples, axis=1) for one in cell]
        first = np.concatenate([self._lag_weight[:, :recent], self._hidden_weight[0]], axis=1)
        # What each step's inputs contribute that all paths of a series share. The first step's is in `hidden` already.
        known = np.matmul(self._step_weight, future.inputs[1:]) + static
        scale = np.repeat(history.scale, num_samples)
        drawn = np.empty((horizon, paths), np.float32)
        gates = np.empty((4 * cells, paths), np.float32)
        for step in range(horizon):
            if step:
                for row, lag in enumerate(lags[:recent]):
                    if lag <= step:
                        state[row] = drawn[step - lag]
                np.matmul(first, state[: recent + cells], out=gates)
                by_series = gates.reshape(4 * cells, count, num_samples)
                by_series += known[step - 1][:, :, None]
                _advance(gates, state[recent : recent + cells], cell[0])
                for layer in range(1, artifact.num_layers):
                    rows = recent + (layer - 1) * cells
                    np.matmul(self._stacked[layer - 1], state[rows : rows + 2 * cells], out=gates)
                    gates += self._bias[layer]
                    _advance(gates, state[rows + cells : rows + 2 * cells], cell[layer])
            raw = self._projection @ state[-cells:]
            raw += self._projection_bias
            if not (finite := np.isfinite(raw)).all():
                raise NotFinite(int(np.argmin(finite.all(axis=0))) // num_samples)
            drawn[step] = self._draw(raw, scale, rng)
        drawn *= scale
        if artifact.likelihood == "negative-binomial":
            np.rint(drawn, out=drawn)  # a count again, after division and multiplication
        np.clip(drawn, -LARGEST, LARGEST, out=drawn)
        return drawn.reshape(horizon, count, num_samples).transpose(1, 2, 0)

    def _windows(self, series: Sequence[Series]) -> tuple[Batch, Batch]:
        """The windows that end with the first step of the forecast, and those that begin with it.

        In the latter, lags that point into the forecast are zero: the samples' contribution is added path by path.
        """
        artifact = self._artifact
        panel = Panel(
            series, artifact.frequency, artifact.prediction_length, filling=artifact.filling,
            default_scale=artifact.default_scale if artifact.scaling else None,
            categories=len(artifact.cardinality), dynamic=artifact.num_dynamic_feat,
        )  # fmt: skip
        which = np.arange(len(series))
        history = panel.batch(self._history, which, panel.lengths)
        return history, panel.batch(self._future, which, panel.lengths, history.scale)

    def _static(self, windows: Batch) -> Values:
        """(embeddings + 2, series): what is the same in every step, in the order of the input weights."""
        cat = windows.cat if windows.cat.shape[1] else np.zeros((len(windows.scale), 1), np.int64)
        rows = [table[column] for table, column in zip(self._embedders, cat.T, strict=True)]
        unused = np.zeros((len(windows.scale), 1), np.float32)
        return np.concatenate([*rows, unused, np.log(windows.scale)[:, None]], axis=1).T

    def _warm_up(self, inputs: Values, static: Values) -> tuple[list[Values], list[Values]]:
        """Each layer's output and state, (cells, series), after the context."""
        cells, windows = self._artifact.num_cells, inputs.shape[2]
        contributions = np.matmul(self._step_weight, inputs) + static
        hidden, states = [], []
        for layer in range(self._artifact.num_layers):
            outputs = np.empty((len(inputs), cells, windows), np.float32)
            state = np.zeros((cells, windows), np.float32)
            for step, gates in enumerate(contributions):
                if step:
                    gates += self._hidden_weight[layer] @ outputs[step - 1]
                _advance(gates, outputs[step], state)
            hidden.append(outputs[-1])
            states.append(state)
            if layer + 1 < self._artifact.num_layers:
                contributions = np.matmul(self._stacked[layer][:, :cells], outputs) + self._bias[layer + 1]
        return hidden, states


def _advance(gates: Values, hidden: Values, cell: Values) -> None:
    """One LSTM step, in place: `gates` (4 * cells, paths), logistic ones halved; `hidden`, `cell` (cells, paths)."""
    cells = len(hidden)
    np.tanh(gates, out=gates)
    for logistic in (gates[: 2 * cells], gates[3 * cells :]):
        logistic *= 0.5
        logistic += 0.5
    entrance, forget, candidate, exit_ = gates.reshape(4, cells, -1)
    cell *= forget
    entrance *= candidate
    cell += entrance
    np.tanh(cell, out=hidden)
    hidden *= exit_


# Each draws one value per path, divided by its scale, from the network's raw outputs, (parameters, paths). The maps
# from raw outputs to parameters are GluonTS's `domain_map`s.


def _softplus(values: Values) -> Values:
    return np.maximum(values, 0) + np.log1p(np.exp(-np.abs(values)))


def _student_t(raw: Values, scale: Values, rng: np.random.Generator) -> Values:
    freedom = 2.0 + _softplus(raw[0])
    width = np.maximum(_softplus(raw[2]), _EPSILON)
    normal = rng.standard_normal(raw.shape[1], dtype=np.float32)
    squares = rng.standard_gamma(freedom / 2, dtype=np.float32)  # half a chi-square
    return raw[1] + width * normal * np.sqrt(freedom / 2 / np.maximum(squares, _SMALLEST_POSITIVE))


def _gaussian(raw: Values, scale: Values, rng: np.random.Generator) -> Values:
    return raw[0] + _softplus(raw[1]) * rng.standard_normal(raw.shape[1], dtype=np.float32)


def _beta(raw: Values, scale: Values, rng: np.random.Generator) -> Values:
    ones = rng.standard_gamma(_softplus(raw[0]) + _EPSILON, dtype=np.float32)
    zeros = rng.standard_gamma(_softplus(raw[1]) + _EPSILON, dtype=np.float32)
    return ones / np.maximum(ones + zeros, _SMALLEST_POSITIVE)


def _negative_binomial(raw: Values, scale: Values, rng: np.random.Generator) -> Values:
    rate = rng.standard_gamma(_softplus(raw[0])) * np.exp(np.minimum(raw[1].astype(np.float64) + np.log(scale), 700))
    return (rng.poisson(np.minimum(rate, _LARGEST_RATE)) / scale).astype(np.float32)


def _point(raw: Values, scale: Values, rng: np.random.Generator) -> Values:
    return raw[0]


_Draw = Callable[[Values, Values, np.random.Generator], Values]
_DRAWS: dict[str, _Draw] = {
    "student-T": _student_t,
    "gaussian": _gaussian,
    "beta": _beta,
    "negative-binomial": _negative_binomial,
    "deterministic-L1": _point,
}
