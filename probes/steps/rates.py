"""The learning rates that optimizers use, which may not be those that their groups show.

An optimizer that finds its rate by itself shows a factor of it, mostly 1: Prodigy and D-Adaptation
step at d·γ, d being their estimate of the distance to the solution. Schedule-free ones keep their
warm-up to themselves. Of some no number says how far they step; there the rate is unknown.

References:
    Mishchenko and Defazio (2024), Prodigy, https://arxiv.org/abs/2306.06101, algorithm 4.
    Defazio et al. (2024), The road less scheduled, https://arxiv.org/abs/2405.15682, eq. (3)-(5).
    Shazeer and Stern (2018), Adafactor, https://arxiv.org/abs/1804.04235, section 8.
"""

import math
import re
from collections.abc import Mapping
from functools import cache
from numbers import Real
from typing import Any

import torch
from torch import Tensor

_ESTIMATES = re.compile("prodigy|d_?adapt", re.IGNORECASE)
# At every update the same is asked of the same name.
_is_named = cache(lambda name: _ESTIMATES.search(name) is not None)
_UNKNOWN: dict[type[torch.optim.Optimizer], str] = {
    torch.optim.LBFGS: "LBFGS goes several steps of lengths of its own along each direction",
    torch.optim.Rprop: "Rprop has a rate of its own for each weight",
}

_OTHERWISE = {*_UNKNOWN, torch.optim.Adafactor}


def rate_of(
    optimizer: torch.optim.Optimizer,
    group: Mapping[str, Any],
    estimate: float | Tensor | None = None,
) -> float | Tensor:
    """The rate of a group in the step just made; NaN where no number tells it.

    Of schedule-free optimizers it is that at which the base sequence z moves, with the warm-up.

    Arguments:
        optimizer: that has stepped.
        group: one of its parameter groups.
        estimate: d before the step, of one that estimates its rate.
    """
    rate: Any = group.get("lr")
    if type(rate) is float and shows(type(optimizer)):
        return rate
    if unknown(optimizer) or not _is_number(rate):
        return math.nan
    if estimates(optimizer, group):
        distance = group["d"] if estimate is None else estimate
        # That of D-Adaptation for SGD is in units of the first gradient.
        rate = distance * rate / (group.get("g0_norm") or 1.0)
    elif _is_number(group.get("scheduled_lr")):
        rate = group["scheduled_lr"]
    elif "weight_lr_power" in group and group.get("warmup_steps"):
        rate = rate * min(group.get("step", 0) / group["warmup_steps"], 1.0)
    elif isinstance(optimizer, torch.optim.Adafactor):
        rate = _relative(optimizer, group, rate)
    return rate


def shows(kind: type[torch.optim.Optimizer]) -> bool:
    """Whether the `lr` of a group is the rate it steps with, as of most of torch's optimizers."""
    return kind.__module__.startswith("torch.optim.") and kind not in _OTHERWISE


def unknown(optimizer: torch.optim.Optimizer) -> str:
    """Why no number is the rate of an optimizer; empty where one is."""
    for kind, reason in _UNKNOWN.items():
        if isinstance(optimizer, kind):
            return reason
    for group in optimizer.param_groups:
        if not _is_number(group.get("lr")):
            return f"{type(optimizer).__name__} has groups without a number as lr"
    return ""


def estimates(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
    """Whether the optimizer estimates its rate, and the group's `lr` is a factor of that."""
    return (_is_named(type(optimizer).__name__) or "d0" in group) and _is_number(group.get("d"))


def described(optimizer: torch.optim.Optimizer) -> str:
    """What the recorded rate of an optimizer is, where it is not the `lr` of its groups."""
    name, group = type(optimizer).__name__, optimizer.param_groups[0]
    if estimates(optimizer, group):
        return f"{name}: its estimate d, times lr"
    if "weight_lr_power" in group or "scheduled_lr" in group:
        return f"{name}: that of the base sequence z, lr times the warm-up"
    if isinstance(optimizer, torch.optim.Adafactor):
        return f"{name}: relative to the size of each tensor, min(lr, step^-1/2)"
    return ""


def _relative(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], rate: float | Tensor
) -> float | Tensor:
    """ρ = min(γ, t^−½), by which Adafactor moves weights relative to their root mean square."""
    for parameter in group["params"]:
        if parameter in optimizer.state:
            step = optimizer.state[parameter]["step"]
            return min(rate, float(step) ** -0.5)
    return rate


def _is_number(value: object) -> bool:
    if value is None or type(value) is float:
        return value is not None
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, Real) and not isinstance(value, bool)
