"""Adam over all parameters as one vector: gradient clipping, a falling learning rate, and an average of the weights.

The same numbers as `torch.nn.utils.clip_grad_norm_`, `torch.optim.Adam` and `ReduceLROnPlateau`, to which a test holds
them. Two reasons not to use those: a network of sixteen small tensors is one of 30,000 numbers, on which a step is ten
operations instead of a few hundred; and the first optimizer of a process imports PyTorch's compiler, three seconds
that a short training feels.

The average is Polyak's, over the last fifth or so of the steps taken (Shamir and Zhang, 2013: polynomial-decay
averaging). Single steps of a likelihood's training swing between over- and underconfidence; their average does not.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter

# PyTorch's defaults.
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_CLIP_EPSILON = 1e-6
_PLATEAU_THRESHOLD = 1e-4

_AVERAGED = 4  # the average reaches back over about 1 / (1 + this) of the steps


class Adam:
    """Adam; parameters and their gradients become views of one vector each.

    Args:
        parameters: those to train; their storage is replaced.
        rate: the learning rate.
        weight_decay: added to the gradients, times the weights.
        gradient_norm: to which gradients are scaled down when their norm is larger.
    """

    def __init__(self, parameters: Iterable[Parameter], rate: float, weight_decay: float, gradient_norm: float) -> None:
        listed = list(parameters)
        self.rate = rate
        self._weight_decay = weight_decay
        self._gradient_norm = gradient_norm
        self._weights = torch.cat([parameter.detach().reshape(-1) for parameter in listed])
        self._gradients = torch.zeros_like(self._weights)
        self._mean, self._square = torch.zeros_like(self._weights), torch.zeros_like(self._weights)
        self._average = self._weights.clone()
        self._steps = 0
        at = 0
        for parameter in listed:
            part = slice(at, at + parameter.numel())
            parameter.data = self._weights[part].view_as(parameter)
            parameter.grad = self._gradients[part].view_as(parameter)
            at += parameter.numel()

    @torch.no_grad()
    def step(self, loss: Tensor) -> None:
        """Change the weights along the loss's gradient."""
        gradients = self._gradients.zero_()
        with torch.enable_grad():
            loss.backward()
        norm = torch.linalg.vector_norm(gradients).item()
        if norm > self._gradient_norm:
            gradients.mul_(self._gradient_norm / (norm + _CLIP_EPSILON))
        gradients.add_(self._weights, alpha=self._weight_decay)
        self._steps += 1
        self._mean.lerp_(gradients, 1 - _BETAS[0])
        self._square.mul_(_BETAS[1]).addcmul_(gradients, gradients, value=1 - _BETAS[1])
        correction = math.sqrt(1 - _BETAS[1] ** self._steps)
        spread = self._square.sqrt().div_(correction).add_(_EPSILON)
        self._weights.addcdiv_(self._mean, spread, value=-self.rate / (1 - _BETAS[0] ** self._steps))
        self._average.lerp_(self._weights, (_AVERAGED + 1) / (_AVERAGED + self._steps))

    def average(self) -> Tensor:
        """A copy of the weights' average so far, all in one vector."""
        return self._average.clone()

    @torch.no_grad()
    def assign(self, weights: Tensor) -> None:
        """Set all parameters to what `average` gave."""
        self._weights.copy_(weights)


class Plateau:
    """Halves the learning rate when the loss has not fallen, by a ten-thousandth, in `patience` epochs."""

    def __init__(self, optimizer: Adam, patience: int) -> None:
        self._optimizer = optimizer
        self._patience = patience
        self._best = math.inf
        self._waited = 0

    def epoch(self, loss: float) -> None:
        """Take note of an epoch's loss."""
        # As PyTorch's relative threshold: of a negative loss, too, a fraction of its size.
        enough = math.inf if math.isinf(self._best) else self._best - _PLATEAU_THRESHOLD * self._best
        self._waited += 1
        if loss < enough:
            self._best, self._waited = loss, 0
        elif self._waited > self._patience:
            self._optimizer.rate *= 0.5
            self._waited = 0
