"""Gradients that the training loop averages over processes by itself, after the backward pass.

When the pass has ended each process has its own gradient g_r; when the optimizer steps all have
the same a = c·m, the mean m = Σ g_r/W, shrunk by clipping to c ≤ 1. Projections of a few tensors
on random signs tell c, and whether the gradients were averaged at all: they are linear, so those
of m are the mean of those of the g_r, which are added with everything else at the next flush.

Where gradients are added up, a = c·Σ g_r, an update that was clipped little tells by a factor
above 1; what losses were divided by it does not tell, so weights of all units must be declared. A
sum that was always clipped to below the mean is taken for a clipped mean.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

# Projections of each tensor.
DRAWS = 4
# Relative differences that rounding explains, of gradients in bfloat16 too, and in float32 alone.
_ROUNDING, _FINE = 0.02, 1e-4
# A change of the mean's length is rounding where it is no larger than so many times the change
# across it.
_ACROSS = 3.0


class Averages(NamedTuple):
    """What the projections tell of updates.

    Arguments:
        clip_factor: c `(update,)`; NaN where it is not known, as where the mean was changed a
            little by something else than a factor.
        multiple: what the mean was multiplied by, but for rounding `(update,)`.
        fault: why the gradient of an update is not known; empty where it is.
        known: where it is the mean, times c, or a sum whose weights were declared `(update,)`.
        added: whether gradients are added up over processes.
    """

    clip_factor: Array
    multiple: Array
    fault: str
    known: NDArray[np.bool_]
    added: bool


class Projections:
    """Reads projections of gradients; nothing waits for the device."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        """Draw the signs, the same on all processes and apart from the training's random numbers.

        Arguments:
            tensors: parameters whose gradients are read.
        """
        self._tensors = list(tensors)
        generator = torch.Generator().manual_seed(1)
        self._signs = [
            (torch.randint(2, (DRAWS, t.numel()), generator=generator) * 2 - 1).to(
                t.device, torch.float32
            )
            for t in tensors
        ]
        self._own = self._nothing()

    def pass_ended(self, scale: Tensor | float) -> None:
        """See this process's own gradient, which is not averaged yet.

        Arguments:
            scale: of the loss.
        """
        self._own = self._read() / scale

    def before_step(self, scale: Tensor | float) -> Tensor:
        """`(3, projection)`: this process's own, and the optimizer's and its square.

        Arguments:
            scale: by which the optimizer will divide.
        """
        used, own = self._read() / scale, self._own
        self._own = self._nothing()
        return torch.stack([own, used, used.square()])

    def _read(self) -> Tensor:
        pairs = zip(self._tensors, self._signs, strict=True)
        return torch.cat(
            [
                torch.full((DRAWS,), torch.nan, dtype=torch.float64, device=signs.device)
                if tensor.grad is None
                else (signs @ _dense(tensor.grad).reshape(-1).float()).double()
                for tensor, signs in pairs
            ]
        )

    def _nothing(self) -> Tensor:
        device = self._signs[0].device
        shape = (DRAWS * len(self._tensors),)
        return torch.full(shape, torch.nan, dtype=torch.float64, device=device)


def _dense(gradient: Tensor) -> Tensor:
    return gradient.detach().to_dense() if gradient.is_sparse else gradient.detach()


def averages(
    columns: Array,
    size: int,
    *,
    units: Array | None = None,
    weighted: NDArray[np.bool_] | None = None,
    added: bool = False,
) -> Averages:
    """What means over processes of the projections tell.

    Arguments:
        columns: m, a and a², each averaged over processes `(update, 3, projection)`.
        size: number of processes, W.
        units: of all processes `(update,)`; one on each when None.
        weighted: whether the weights of all were declared `(update,)`; of none when None.
        added: whether earlier updates have shown that gradients are added up.
    """
    factor, across, apart, turned = _factors(columns)
    with np.errstate(invalid="ignore"):
        alone = ~(apart | turned)
        above, within = factor > 1 + _ROUNDING, factor <= size * (1 + _ROUNDING)
    summed = alone & (added | (alone & above & within).any())
    more = alone & above & ~within
    weights = np.zeros(len(columns), dtype=bool) if weighted is None else weighted
    told = np.isfinite(factor)
    known = told & alone & ~more & (~summed | weights)
    undeclared = summed & told & ~more & ~weights
    fault = ""
    if apart.any():
        fault = "gradients differ between processes when the optimizer steps, and are not averaged"
    elif more.any():
        fault = (
            f"gradients are {float(factor[more][0]):.3g} times their mean over {size} processes "
            "when the optimizer steps, neither their mean nor their sum"
        )
    elif undeclared.any():
        count = size if units is None else units[undeclared][0]
        fault = (
            f"gradients are added up over the {size} processes: right if each loss was divided "
            f"by {count:g}; say so by Recorder.unit(size, weight=1/{count:g}) before each "
            "backward pass"
        )
    elif turned.any():
        fault = (
            "gradients are another vector than their mean over processes when the optimizer "
            "steps, as after clipping by value"
        )
    if fault:
        fault = f"processes: {fault}; the noise of such updates is not recorded"
    multiple = np.where(known, np.where(summed, factor / size, factor), np.nan)
    with np.errstate(invalid="ignore"):
        is_rounding = np.abs(multiple - 1) <= _ACROSS * across
        unclear = (across > _FINE) | (multiple > 1 + _FINE)
    clip_factor = np.where(unclear, np.nan, multiple)
    multiple = np.where(is_rounding, 1.0, multiple)
    return Averages(clip_factor, multiple, fault, known, added or bool(summed.any()))


def _factors(columns: Array) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """What the mean became by the step.

    Returns:
        By what it was multiplied; by how much of its length it was changed across, at most;
        whether processes differ; and whether it is no multiple. Each `(update,)`; the factor is
        NaN where no tensor took part.
    """
    mean, used, used_sq = (columns[:, i].reshape(len(columns), -1, DRAWS) for i in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        length, scale = (mean**2).sum(axis=2), (used_sq).sum(axis=2)
        factors = (mean * used).sum(axis=2) / length
        spread = np.abs(used_sq - used**2).sum(axis=2)
        rest = ((used - factors[:, :, None] * mean) ** 2).sum(axis=2)
        alike = spread <= _ROUNDING**2 * scale
        along = rest <= _ROUNDING**2 * scale
    told = np.isfinite(factors) & (length > 0)
    first = told.argmax(axis=1)[:, None]
    factor = np.take_along_axis(np.where(told, factors, np.nan), first, axis=1)
    with np.errstate(invalid="ignore"):
        uneven = (told & ~(np.abs(factors - factor) <= _ROUNDING * factor)).any(axis=1)
    apart = (told & ~alike).any(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        across = np.sqrt(np.where(told, rest / scale, 0.0).max(axis=1))
    turned = (told & alike & ~along).any(axis=1) | (uneven & ~apart)
    return factor[:, 0], across, apart, turned
