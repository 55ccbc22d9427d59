"""DeepAR's network: GluonTS's `DeepARModel`, its parameters and its loss, computed in a faster order.

The module that is trained, and whose state is exported, is `DeepARModel`; a test holds the loss and every gradient
here to those of its own `loss`. What changes is how the same numbers are come by: the lagged inputs arrive ready made
(`windows`), inputs that are the same for every window are a part of the bias, and dropout masks are drawn by NumPy.
"""

import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from seed_code.forecaster.channels import Shape
from seed_code.forecaster.hyperparameters import Hyperparameters
from seed_code.forecaster.windows import Batch


def _import_gluonts() -> tuple[Any, Any]:
    """GluonTS's DeepAR module and distributions, without PyTorch Lightning.

    `gluonts.torch` imports every estimator of GluonTS and, with them, Lightning: five seconds and 250 MB for a trainer
    that we do not use. Its packages are entered by their paths alone while the two modules are imported, and forgotten
    afterwards, so that whoever wants the whole of GluonTS in the same process still gets it.
    """
    packages = ("gluonts.torch", "gluonts.torch.model", "gluonts.torch.model.deepar")
    entered = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside GluonTS are for its authors
        import gluonts

        for name in packages:
            if name not in sys.modules:
                package = types.ModuleType(name)
                package.__path__ = [str(Path(gluonts.__path__[0], *name.split(".")[1:]))]
                sys.modules[name] = package
                entered.append(name)
        try:
            from gluonts.torch import distributions
            from gluonts.torch.model.deepar import module
        finally:
            for name in entered:
                del sys.modules[name]
    return module, distributions


_module, _distributions = _import_gluonts()
DeepARModel = _module.DeepARModel


class Point(Distribution):
    """All weight on one value; its "density" is that of the absolute error, so that training minimises that."""

    arg_constraints = {"value": constraints.real}  # noqa: RUF012 (torch's own declaration)
    support = constraints.real

    def __init__(self, value: Tensor, validate_args: bool | None = None) -> None:
        self.value = value
        super().__init__(value.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.value

    def log_prob(self, value: Tensor) -> Tensor:
        return -(value - self.value).abs()

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (torch's own signature)
        return self.value.expand(*sample_shape, *self.value.shape).detach()


class PointOutput(_distributions.DistributionOutput):  # type: ignore[misc]
    """The likelihood `deterministic-L1`, which GluonTS does not have."""

    args_dim = {"value": 1}  # noqa: RUF012 (GluonTS's own declaration)
    distr_cls = Point

    @classmethod
    def domain_map(cls, value: Tensor) -> tuple[Tensor]:
        return (value.squeeze(-1),)

    @property
    def event_shape(self) -> tuple[()]:
        return ()


@dataclass(frozen=True)
class Likelihood:
    """How one of the contract's likelihoods is trained.

    Attributes:
        output: makes GluonTS's distribution output.
        scaling: whether values are divided by their mean size. Not with `beta`, whose values may not leave (0, 1).
        filling: stands for a missing value.
    """

    output: Callable[[], Any]
    scaling: bool = True
    filling: float = 0.0


LIKELIHOODS = {
    "student-T": Likelihood(_distributions.StudentTOutput),
    "gaussian": Likelihood(_distributions.NormalOutput),
    "beta": Likelihood(_distributions.BetaOutput, scaling=False, filling=0.5),
    "negative-binomial": Likelihood(_distributions.NegativeBinomialOutput),
    "deterministic-L1": Likelihood(PointOutput),
}
_INSIDE = 1e-3  # a beta density is infinite at 0 and 1, which the contract allows as values


def build(settings: Hyperparameters, shape: Shape, lags: list[int], features: int, default_scale: float) -> Any:
    """An untrained `DeepARModel`.

    Args:
        features: calendar features, age and dynamic features per step.
        default_scale: of a window without any observation in its context.
    """
    likelihood = LIKELIHOODS[settings.likelihood]
    cardinality = list(shape.cardinality) or [1]
    return DeepARModel(
        freq=str(settings.time_freq),
        context_length=settings.context_length,
        prediction_length=settings.prediction_length,
        num_feat_dynamic_real=features,
        num_feat_static_real=1,
        num_feat_static_cat=len(cardinality),
        cardinality=cardinality,
        embedding_dimension=[settings.embedding_dimension] * len(cardinality),
        num_layers=settings.num_layers,
        hidden_size=settings.num_cells,
        # nn.LSTM warns of dropout after a single layer, where it has no effect.
        dropout_rate=settings.dropout_rate if settings.num_layers > 1 else 0.0,
        distr_output=likelihood.output(),
        lags_seq=lags,
        scaling=likelihood.scaling,
        default_scale=default_scale,
    )


class Loss:
    """The mean negative log-likelihood of a batch under a `DeepARModel`, as the model's own `loss(...).mean()`.

    Args:
        model: whose parameters are used; gradients reach them.
        rng: draws the dropout masks. `torch`'s own draw takes a seventh of the training time.
        dropout: between layers; 0 leaves it out.
    """

    def __init__(self, model: Any, rng: np.random.Generator, dropout: float = 0.0) -> None:
        self._model = model
        self._rng = rng
        self._dropout = dropout if model.rnn.num_layers > 1 else 0.0
        self._beta = isinstance(model.distr_output, _distributions.BetaOutput)
        # Columns of the first layer's input weights: lags, embeddings, GluonTS's static real feature (always 0 here,
        # so left out), the logarithm of the scale, features.
        self._lags = len(model.lags_seq)
        self._static = self._lags + sum(model.embedding_dimension)

    def __call__(self, batch: Batch) -> Tensor:
        """The loss, a scalar with gradient."""
        model = self._model
        scale = torch.from_numpy(batch.scale)
        hidden = self._unroll(torch.from_numpy(batch.inputs), scale, torch.from_numpy(batch.cat))
        projections = model.param_proj.proj
        weight = torch.cat([projection.weight for projection in projections])
        bias = torch.cat([projection.bias for projection in projections])
        raw = torch.nn.functional.linear(hidden, weight, bias)
        # Copies, because GluonTS's negative binomial changes its parameters in place.
        parameters = model.param_proj.domain_map(*(raw[..., i : i + 1].clone() for i in range(raw.shape[-1])))
        target = torch.from_numpy(batch.target)
        if self._beta:
            target = target.clamp(_INSIDE, 1 - _INSIDE)
        values = model.distr_output.loss(target=target, distr_args=parameters, scale=scale)
        return (values * torch.from_numpy(batch.observed)).mean()

    def _unroll(self, inputs: Tensor, scale: Tensor, cat: Tensor) -> Tensor:
        """The last layer's output, (T, B, cells), of `inputs`, (T, lags + features, B)."""
        rnn, embedder = self._model.rnn, self._model.embedder
        steps, _, windows = inputs.shape
        first, offset = rnn.weight_ih_l0, rnn.bias_ih_l0
        columns = [inputs.transpose(1, 2), scale.log()[:, None].expand(steps, windows, 1)]
        weights = [first[:, : self._lags], first[:, self._static + 2 :], first[:, self._static + 1, None]]
        embedding = first[:, self._lags : self._static]
        if cat.shape[1]:
            columns.append(embedder(cat).expand(steps, windows, -1))
            weights.append(embedding)
        else:  # one category for all: what it contributes is a part of the bias
            offset = offset + embedding @ embedder(cat.new_zeros(1, 1))[0]
        hidden = self._layer(torch.cat(columns, dim=2), torch.cat(weights, dim=1), offset, 0)
        for layer in range(1, rnn.num_layers):
            if self._dropout:
                hidden = hidden * self._mask(hidden.shape)
            hidden = self._layer(hidden, getattr(rnn, f"weight_ih_l{layer}"), getattr(rnn, f"bias_ih_l{layer}"), layer)
        return hidden

    def _layer(self, inputs: Tensor, weight: Tensor, offset: Tensor, layer: int) -> Tensor:
        """One of the LSTM's layers, from a zero state; separate, for the dropout between them to be ours."""
        rnn = self._model.rnn
        zero = inputs.new_zeros(1, inputs.shape[1], rnn.hidden_size)
        weights = [weight, getattr(rnn, f"weight_hh_l{layer}"), offset, getattr(rnn, f"bias_hh_l{layer}")]
        output: Tensor = torch.lstm(inputs, [zero, zero], weights, True, 1, 0.0, True, False, False)[0]
        return output

    def _mask(self, shape: torch.Size) -> Tensor:
        """Zeros with the dropout's probability (to 1/65,536), and what keeps the mean elsewhere."""
        bound = round(self._dropout * 65536)
        kept = self._rng.integers(65536, size=tuple(shape), dtype=np.uint16) >= bound
        return torch.from_numpy(np.multiply(kept, np.float32(65536 / (65536 - bound)), dtype=np.float32))
