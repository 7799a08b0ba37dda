"""Which steps are those of the run, and whose.

A step that is called within another is a part of it: as the `step` of a class that calls its
parent's, or the optimizer within Lookahead or SAM. An optimizer that was not given but owns the
same tensors steps in the place of one that was, as where a program makes a new one half-way; not
so in a backward pass, where parameters may have optimizers of their own.
"""

import sys
from collections.abc import Callable
from types import CodeType, FrameType

import torch

from .hearing import Handle, after_closures, after_steps, before_steps, current, listening
from .optimizers import Optimizers
from .turns import PATIENCE, Turns

# Of the function that torch wraps around every optimizer's step.
STEP: CodeType = torch.optim.Optimizer.profile_hook_step(lambda: None).__code__


class Followed:
    """Hears the steps of a run's optimizers and says when an iteration has ended."""

    def __init__(
        self,
        optimizers: Optimizers,
        turns: Turns,
        begins: Callable[[torch.optim.Optimizer, bool], None],
        ends: Callable[[bool], None],
        *,
        warn: Callable[[str], None],
    ) -> None:
        """Begin to listen.

        Arguments:
            optimizers: of the run.
            turns: counts their steps.
            begins: called with an optimizer that is about to step, and again when a closure
                within its step has ended, with whether it is that.
            ends: called after it has, with whether the iteration has ended.
            warn: is told of steps that end no iteration.
        """
        self.optimizers = optimizers
        self.turns = turns
        self._begins = begins
        self._ends = ends
        self._warn = warn
        self._open: torch.optim.Optimizer | None = None
        self._depth = 0
        self._inner: set[int] = set()
        self._handles: list[Handle] = [
            before_steps(self._before),
            after_closures(self._after_closure),
            after_steps(self._after),
        ]

    def close(self) -> None:
        """Listen no longer."""
        for handle in self._handles:
            handle.remove()

    def passes(self) -> None:
        """A backward pass begins."""
        stopped = self.turns.passes()
        if stopped:
            self._warn(
                f"{self._names(stopped)} has not stepped in {PATIENCE} updates of the other "
                "optimizers, which were counted as one iteration; iterations go on without it"
            )
        if self.turns.waiting and self.turns.waiting == self._patience():
            self._warn(
                f"{PATIENCE} updates have ended no iteration, as {self._names(self.turns.lacking)}"
                " has not stepped: an iteration ends when each optimizer has. To count the steps "
                "of one of them, attach with clock=, that optimizer"
            )

    def _patience(self) -> int:
        return PATIENCE if self.turns.clock is None else 100 * PATIENCE

    def _before(self, optimizer: torch.optim.Optimizer) -> None:
        given = self.optimizers.was_given(optimizer)
        if not given and not self.optimizers.owned(optimizer):
            self.optimizers.steps_elsewhere(optimizer)
            return
        if self._open is not None and self._is_within():
            self._depth += optimizer is self._open
            self._inner |= self.optimizers.numbers(optimizer) if given else set()
            return
        if not given and current() >= 0:
            self.optimizers.steps_within(optimizer)
            return
        self._open, self._depth, self._inner = optimizer, 0, set()
        self.optimizers.begins(optimizer)
        self._begins(optimizer, False)

    def _after_closure(self, optimizer: torch.optim.Optimizer) -> None:
        if optimizer is self._open:
            self._begins(optimizer, True)

    def _after(self, optimizer: torch.optim.Optimizer) -> None:
        if optimizer is not self._open:
            return
        if self._depth:
            self._depth -= 1
            return
        self._open = None
        self.optimizers.ends(optimizer)
        self.turns.steps(self._moved(optimizer))
        self._ends(self.turns.is_over)

    def _moved(self, optimizer: torch.optim.Optimizer) -> frozenset[int]:
        """Those that have stepped, or in whose place the optimizer has."""
        numbers = self.optimizers.numbers(optimizer)
        if self.optimizers.was_given(optimizer):
            self.optimizers.replace(numbers, optimizer)
            return numbers | self._inner
        if self._inner:  # a wrapper around one that was given
            return frozenset(self._inner)
        if numbers:
            self._warn(self.optimizers.replace(numbers, optimizer))
        else:
            self._warn(
                f"{type(optimizer).__name__}, which was not given to attach, moves "
                f"{len(self.optimizers.owned(optimizer))} of the recorded tensors, and its steps "
                "end no iteration: give all optimizers that there are, attach(model, [first, "
                "second], …); one that is made later ends iterations where it owns all tensors "
                "of an optimizer that was given, else close the recorder and attach anew"
            )
        return numbers

    def _is_within(self) -> bool:
        """Whether the step that has begun is still under way; it is not when it has failed."""
        frame: FrameType | None = sys._getframe(1)
        own = True  # the first is that of the step about to begin
        while frame is not None:
            if frame.f_code is STEP:
                if not own and frame.f_locals.get("self") is self._open:
                    return True
                own = False
            frame = frame.f_back
        return False

    def _names(self, numbers: frozenset[int]) -> str:
        return " and ".join(type(self.optimizers.given[k]).__name__ for k in sorted(numbers))


def is_recorded(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a recorder follows the steps of an optimizer that was given to it."""
    return any(
        optimizer in one.optimizers.given for one in listening() if isinstance(one, Followed)
    )
