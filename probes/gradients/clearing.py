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
        self._kept: set[int] = set()  # those whose gradients are still those of before
        self._used: dict[int, Hashable] = {}  # the first gradient of each after its step
        self._looks = {True: _LOOKS, False: _LOOKS}  # at what was left alone since then, or not

    def look(self, *, first: bool) -> None:
        """See who has gradients of the update before, when a pass begins.

        Arguments:
            first: whether it is the first of an update.
        """
        if first:
            stepped = set(range(len(self.owners))) if self._stepped is None else self._stepped
            self._kept = {one for one in stepped | self._kept if self._keeps(one)}
        elif self._kept:
            self._kept = {one for one in self._kept if self._keeps(one)}

    def take(self, *, seen: bool) -> str:
        """Why the gradient of the update that is over is unknown; empty where it is known.

        Arguments:
            seen: whether passes are looked at.
        """
        fault = KEPT if not self._kept.isdisjoint(self.step) else ""
        self._kept -= set(self.step)
        self._stepped = set(self.step)
        if seen:
            self._used.update((one, self._mark(one)) for one in self.step)
        return fault

    def _keeps(self, one: int) -> bool:
        mark = self._mark(one)
        if mark is None:
            return False
        alike = mark == self._used.get(one)
        if not self._looks[alike]:
            return False
        if zeroed(self._parameters[i].grad for i in self.owners[one]):
            self._looks[alike] -= 1
            return False
        return True

    def _mark(self, one: int) -> Hashable:
        """Which an optimizer's first gradient is, and how often it was changed."""
        for index in self.owners[one]:
            if (gradient := self._parameters[index].grad) is not None:
                return index, id(gradient), local(gradient)._version
        return None


def zeroed(gradients: Iterable[Tensor | None]) -> bool:
    """Whether all gradients that there are, or their parts here, are zero; waits for the device."""
    parts = (local(gradient) for gradient in gradients if gradient is not None)
    dense = (part if part.layout is torch.strided else part.to_dense() for part in parts)
    return not any(bool(part.any()) for part in dense)
