"""Optimizers by name, from torch and from the package pytorch-optimizer.

Conventions differ and are kept as they are: torch's adam adds the weight decay to the gradient
while adamw shrinks the weights; lars scales and decays tensors of two or more dimensions only;
lamb does not correct the bias of its moments, which is a factor that cancels in the trust ratio
unless weights decay.

References:
    You, Gitman and Ginsburg (2017), Large batch training of convolutional networks, for lars.
    You et al. (2020), Large batch optimization for deep learning, algorithm 2, for lamb.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ultraslow.probes.runs.config import OPTIMIZERS, Config

# Decay rate of the second moment; the value of Kingma and Ba (2015), and torch's default.
_SECOND_MOMENT = 0.999


def optimizer_of(model: nn.Module, config: Config, *, learning_rate: float) -> Optimizer:
    """The optimizer of a run.

    Arguments:
        model: owns the parameters.
        config: names the optimizer, its momentum m (for adam, adamw and lamb the decay rate of the
            first moment; adagrad has none), its weight decay λ and whether vectors decay.
        learning_rate: η of the first update.

    Raises:
        ModuleNotFoundError: for lars and lamb where pytorch-optimizer is not installed.
    """
    groups = parameter_groups(
        model, weight_decay=config.weight_decay, decay_vectors=config.decay_vectors
    )
    return _kind(config.optimizer, config.momentum)(groups, lr=learning_rate)


def parameter_groups(
    model: nn.Module, *, weight_decay: float, decay_vectors: bool
) -> list[dict[str, Any]]:
    """Groups of parameters that decay and that do not; empty ones are left out.

    Arguments:
        model: owns the parameters.
        weight_decay: λ of those that decay.
        decay_vectors: whether parameters of fewer than two dimensions (biases, and the scales and
            shifts of normalization) are among them.
    """
    parameters = list(model.parameters())
    decays = [decay_vectors or parameter.ndim > 1 for parameter in parameters]
    decayed = [p for p, yes in zip(parameters, decays, strict=True) if yes]
    spared = [p for p, yes in zip(parameters, decays, strict=True) if not yes]
    parts = [(decayed, weight_decay), (spared, 0.0)]
    return [{"params": part, "weight_decay": decay} for part, decay in parts if part]


def _kind(name: str, momentum: float) -> Callable[..., Optimizer]:
    betas = (momentum, _SECOND_MOMENT)
    match name:
        case "sgd":
            return partial(torch.optim.SGD, momentum=momentum)
        case "nesterov":
            return partial(torch.optim.SGD, momentum=momentum, nesterov=True)
        case "adam":
            return partial(torch.optim.Adam, betas=betas)
        case "adamw":
            return partial(torch.optim.AdamW, betas=betas)
        case "adagrad":
            return torch.optim.Adagrad
        case "rmsprop":
            return partial(torch.optim.RMSprop, momentum=momentum)
        case "lars":
            return partial(import_module("pytorch_optimizer").LARS, momentum=momentum)
        case "lamb":
            # As published: decay inside the trust ratio. `adam_debias` leaves out a division of
            # the step by 1 − β₁^t, which made the first step ten times as long as η·‖w‖.
            lamb = import_module("pytorch_optimizer").Lamb
            return partial(lamb, betas=betas, weight_decouple=False, adam_debias=True)
    raise ValueError(f"optimizer: found {name!r}, expected one of {', '.join(OPTIMIZERS)}")
