"""Whether the gradients of an update are cleared before they are used again.

They may be cleared at any time after a step and before the next one of the same optimizer, also
after passes for other optimizers, as those of a generator are only before its own pass. So who
finds gradients of the update before is looked at when the first pass of an update begins, and
again, of those, before each other one.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence

import torch
from torch import Tensor

from ultraslow.probes.distributed import local

KEPT = (
    "gradients were not cleared before the first backward pass of the update, so they hold those "
    "of updates before: call optimizer.zero_grad() after each step"
)
ADDED_UP = (
    "an optimizer that steps more rarely keeps gradients of updates before, to which those of the "
    "update were added, so that it has no one gradient: attach a recorder to the module and the "
    "optimizer of each alone"
)
# Times that gradients are looked at, which waits for the device, and are found to be zero.
_LOOKS = 16


class Clearing:
    """What becomes of gradients between a step and the backward passes after it.

    Attributes:
        owners: positions of the tensors of each optimizer; all tensors are one's at first.
        step: numbers of the optimizers whose steps end the update at hand.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Before the first update, whose gradients should not be there either."""
        self.owners: Sequence[Collection[int]] = (range(len(parameters)),)
        self.step: Collection[int] = (0,)
        self._parameters = parameters
        self._stepped: set[int] | None = None  # at the end of the update before; all at first
        self._kept: dict[int, Hashable] = {}  # whose gradients are still those of before
        self._used: dict[int, Hashable] = {}  # the first gradient of each after its step
        self._looks = {True: _LOOKS, False: _LOOKS}  # at what was left alone since then, or not
        self._left = _LOOKS  # at what was left alone and is not zero

    def look(self, *, first: bool) -> None:
        """See who has gradients of the update before, when a pass begins.

        Arguments:
            first: whether it is the first of an update.
        """
        if first:
            marks = ((one, self._mark(one)) for one in range(len(self.owners)))
            self._kept = {one: mark for one, mark in marks if self._keeps(one, mark)}
        elif self._kept:
            kept = self._kept.items()
            self._kept = {one: at for one, at in kept if self._keeps(one, self._mark(one))}

    def take(self, *, seen: bool) -> tuple[str, list[int]]:
        """What the update that is over has found uncleared.

        Arguments:
            seen: whether passes are looked at.

        Returns:
            Why its gradient is unknown, empty where it is known; and the tensors whose gradients
            are of earlier updates and were not used in it, as their optimizer has not stepped.
        """
        fault = ""
        unused: list[int] = []
        for one, mark in self._kept.items():
            if one in self.step and (self._stepped is None or one in self._stepped):
                fault = KEPT
            elif one in self.step or self._mark(one) != mark:
                fault = fault or ADDED_UP
            else:
                unused += self.owners[one]
        self._kept = {}
        self._stepped = set(self.step)
        if seen:
            self._used.update((one, self._mark(one)) for one in self.step)
        return fault, unused

    def _keeps(self, one: int, mark: Hashable) -> bool:
        """Whether an optimizer's gradients, the first of which is such, are not cleared."""
        if mark is None:
            return False
        alike = mark == self._used.get(one)
        if not self._looks[alike]:
            return False
        if alike and not self._left:
            return True
        if zeroed(self._parameters[i].grad for i in self.owners[one]):
            self._looks[alike] -= 1
            return False
        self._left -= alike
        return True

    def _mark(self, one: int) -> Hashable:
        """Which an optimizer's first gradient is, and how often it was changed."""
        for index in self.owners[one]:
            if (gradient := self._parameters[index].grad) is not None:
                return index, id(gradient), local(gradient)._version
        return None


def zeroed(gradients: Iterable[Tensor | None]) -> bool:
    """Whether all gradients that there are here are zero; it waits for the device."""
    parts = (local(gradient) for gradient in gradients if gradient is not None)
    dense = (part if part.layout is torch.strided else part.to_dense() for part in parts)
    return not any(bool(part.any()) for part in dense)
