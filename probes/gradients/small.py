"""Small gradients of a backward pass, which are squared together when it has ended.

In the midst of a pass a call takes five times as long, as its needs are not cached, so a hook does
no more than to hold what passes through. That is the gradient only while nobody writes to its
memory, as a function of one's own may do that uses memory again. So the first one of each tensor
is copied at once and compared in the end; where its memory was written to, all are copied. What
is seen to be written to only later is unknown.

Holding a gradient costs a copy all the same: autograd cannot make it the tensor's `.grad` then. So
where a pass begins without gradients, on a process that trains alone, nothing is held once it has
been seen that `.grad` is in the end what has passed through.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ultraslow.probes.steps import current

_NEVER = -2  # the number of no pass
# Passes in succession after which `.grad` was what had passed through, before it is relied on.
_ALIKE = 2
_NEVER_ALIKE = -(10**18)

Hook = Callable[[Tensor | None], None]


class SmallGradients:
    """Holds or copies the gradients of the pass at hand."""

    def __init__(self, parameters: Sequence[Tensor], *, most: int) -> None:
        """Begin without a pass.

        Arguments:
            parameters: all of them; those on the host may have small gradients.
            most: bytes of a small one.
        """
        small = (i for i, p in enumerate(parameters) if p.is_cpu and p.nbytes <= most)
        self.places = frozenset(small)
        self._pass = _NEVER  # in which gradients are held
        self.left = False  # in `.grad`, where they are looked for: it is marked that they came
        # What is held, with the version it had; None is version 0, which `.grad` has as well.
        self._came: dict[int, tuple[Tensor | None, int]] = {}
        self._copies: dict[int, Tensor] = {}
        self._firsts: dict[int, tuple[Tensor, int]] = {}  # what was copied for the first time
        self._safe: set[int] = set()  # whose memory nobody writes to
        self._written: set[int] = set()  # and those with whose somebody does
        self._alike = 0

    def hook(self, index: int, otherwise: Hook) -> Hook:
        """A hook of a tensor, which no compiler takes for a part of the program.

        Arguments:
            index: of the tensor.
            otherwise: called with what this pass does not hold.
        """
        from torch._dynamo.decorators import skip  # it takes a second

        safe = self._safe

        def came(gradient: Tensor | None) -> None:
            if current() == self._pass and index in safe and gradient is not None:
                version = gradient._version
                self._came[index] = (None if self.left and not version else gradient, version)
            else:  # the first of a pass among them, by which it is seen to begin
                otherwise(gradient)

        return skip(came) if index in self.places else otherwise

    def begin(self, task: int, *, alone: bool) -> None:
        """A pass begins, and whatever one that raised has left is forgotten.

        Arguments:
            task: its number.
            alone: whether `.grad` will be what passes through, if nobody changes it.
        """
        self.forget()
        self._pass = task
        self.left = alone and self._alike >= _ALIKE

    def forget(self) -> None:
        """No pass is at hand."""
        self._pass = _NEVER
        self._came, self._copies, self._firsts = {}, {}, {}

    def add(self, index: int, gradient: Tensor) -> None:
        """Hold a gradient, or copy it at once."""
        if index in self._safe:
            version = gradient._version
            self._came[index] = (None if self.left and not version else gradient, version)
            return
        self._copies[index] = gradient.clone()
        if index not in self._written:
            self._firsts[index] = (gradient, gradient._version)

    def end(self, parameters: Sequence[Tensor], *, alone: bool) -> dict[int, Tensor] | None:
        """The gradients that came, by position; None where one of them is not known.

        Arguments:
            parameters: all of them, by position.
            alone: as for `begin`.
        """
        found, known = self._copies, True
        for index, (held, version) in self._came.items():
            now = parameters[index].grad if held is None else held
            if now is not None and now._version == version:
                found[index] = now
                continue
            known = False
            if held is None:
                self._alike = _NEVER_ALIKE
            else:
                self._safe.discard(index)
                self._written.add(index)
        if self._firsts:
            self._learn()
        if alone and not self.left and self._alike < _ALIKE:
            same = all(_equal(parameters[i].grad, gradient) for i, gradient in found.items())
            self._alike = self._alike + 1 if same else min(self._alike, 0)
        self.forget()
        return found if known else None

    def _learn(self) -> None:
        """Which of the gradients that were copied for the first time are still what they were."""
        for index, (gradient, version) in self._firsts.items():
            same = gradient._version == version and _equal(gradient, self._copies[index])
            (self._safe if same else self._written).add(index)


def _equal(gradient: Tensor | None, other: Tensor) -> bool:
    """Whether both are dense and of the same values; others are not looked at."""
    if gradient is None or gradient.dtype is not other.dtype:
        return False
    plain = all(type(g) is Tensor and g.layout is torch.strided for g in (gradient, other))
    return plain and torch.equal(gradient, other)
