"""Whether processes that should hold the same weights do.

DistributedDataParallel sends rank 0's weights to all when it is made; a loop that averages
gradients itself has to. Where weights differ, distances that are averaged over processes are of no
network, so each process tells one number of its weights, in its own place of a vector that is
added up with everything else.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .processes import Processes

# What rounding explains, of numbers that add up over all tensors: of weights that were sent, and
# of distances of weights that different machines have moved alike.
_SENT, _MOVED = 1e-4, 1e-2
# A tensor that has moved by less than this part of itself tells nothing of how far.
_LEAST_SQ = 1e-6
# Values that are widened at a time.
_BLOCK = 1 << 18


def of_weights(weights: Sequence[Tensor]) -> Tensor:
    """One number of weights, on their device, in which each tensor counts alike.

        Σ ln ‖w‖² + Σᵢ wᵢ/(‖w‖·√n)

    The second term tells matrices apart that are drawn with the same norm.
    """
    device, found = weights[0].device, []
    for weight in weights:
        sums = [_sums(part) for part in weight.detach().reshape(-1).split(_BLOCK)]
        square, total = torch.stack(sums).sum(0)
        number = square.log() + total / (square * weight.numel()).sqrt()
        found.append(number.where(square > 0, torch.zeros_like(number)).to(device))
    return torch.stack(found).sum()


def _sums(values: Tensor) -> Tensor:
    """Σ w² and Σ w `(2,)` in float64."""
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    square, total = wide.square().sum(dtype=torch.float64), wide.sum(dtype=torch.float64)
    return torch.stack([square, total])


def of_distances(distance_sq: Tensor, weight_sq: Tensor) -> Tensor:
    """One number of how far weights have moved, `Σ ln(‖w − w₀‖² + 10⁻⁶·‖w‖²)`.

    Arguments:
        distance_sq: `(tensor,)`.
        weight_sq: `(tensor,)`.
    """
    moved = distance_sq + _LEAST_SQ * weight_sq
    return moved.log().where(moved > 0, torch.zeros_like(moved)).sum()


def in_place(number: Tensor, processes: Processes) -> Tensor:
    """This process's part of what all tell `(process,)`; nothing where weights are sharded."""
    told = number.new_zeros(0 if processes.size == 1 or processes.sharded else processes.size)
    if len(told):
        told[processes.rank] = number
    return told


def refuse_unlike(weights: Sequence[Tensor], processes: Processes) -> None:
    """Refuse weights that are not those of the other processes; all of them call this.

    Raises:
        ValueError: on all processes, naming the first that differs.
    """
    if processes.size == 1 or processes.sharded:
        return
    numbers = processes.add(in_place(of_weights(weights), processes)).cpu().numpy()
    if found := _strangers(numbers, processes, _SENT):
        raise ValueError(f"model: {found}, expected the same weights on all of them; {_REMEDY}")


def moved_apart(numbers: NDArray[np.float64], processes: Processes) -> str:
    """What to say of weights that have moved otherwise than rank 0's; empty for none.

    Arguments:
        numbers: of the distances of each process.
        processes: in their order.
    """
    found = _strangers(numbers, processes, _MOVED)
    return f"{found}; average the gradients of all parameters, and {_REMEDY}" if found else ""


def _strangers(numbers: NDArray[np.float64], processes: Processes, most: float) -> str:
    """Which processes differ from the first; NaN differs from nothing, as it is told elsewhere."""
    with np.errstate(invalid="ignore"):
        others = np.flatnonzero(np.abs(numbers - numbers[:1]) > most)
    if not len(others):
        return ""
    ranks = [processes.ranks[place] if processes.ranks else int(place) for place in others]
    listed = f"process {ranks[0]}" if len(ranks) == 1 else f"processes {str(ranks[:8])[1:-1]}"
    first = processes.ranks[0] if processes.ranks else 0
    holds = "holds" if len(ranks) == 1 else "hold"
    return f"{listed} of {len(numbers)} {holds} other weights than process {first}"


_REMEDY = (
    "send all of them from one process before us.attach, `for p in model.parameters(): "
    "torch.distributed.broadcast(p.data, 0)`; where each process trains a model of its own, give "
    "processes=False and a path for each"
)
