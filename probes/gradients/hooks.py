"""Taps: reading the gradient of each unit before it is reduced.

A *unit* is one backward pass on one process: a microbatch. Its gradient passes through a hook on
every parameter before it is accumulated or reduced over processes, so the hooks see h_i·W, where W
is the number of processes that average. The update's own gradient Σ h_i is read when a backward
pass has ended, before anything clips it.

An optimizer that steps within the pass leaves no gradient to be read. One process that accumulates
nothing has seen it already: it is its unit's. Otherwise it is read when the optimizer begins to
step; where something else than an optimizer of torch's took it away, it is unknown.

"Ended" needs care under DistributedDataParallel (DDP), which reduces gradients in a callback of
its own at the end of the backward pass. Callbacks run in the order in which they were queued; ours
is queued by the first hook, before DDP's, and only queues another, which therefore runs after
DDP's. The slot for DDP's communication hook stays free.

Hooks also run in `torch.autograd.grad`, which adds to no gradient and makes no unit. Where noise
is not measured a tap only sees that backward passes are made, to which losses belong.

Several passes may be made one unit: their gradients are added up beside the model's own, and
squared when the unit has ended. What passes that are no units add to the model's gradients is
subtracted before those are read.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from math import nan

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from ultraslow.probes.distributed import local
from ultraslow.probes.norms import SquaresAgain, square
from ultraslow.probes.steps import Handle, before_steps, current, uncompiled

from .autograd import (
    Inputs,
    Seen,
    adds_up,
    after_pass,
    hear_forward,
    inputs_of,
    keeps_graph,
    rows_of,
)
from .clearing import Clearing, zeroed
from .small import SmallGradients

# The position of a gradient, which it is, and how often it was changed.
Mark = tuple[int, int, int]
# Bytes at most of a gradient on the host that is squared with others when its pass has ended.
SMALL = 1 << 18

_WRITTEN = (
    "gradients were changed in the backward pass in which they came, in place or in `.grad`, and "
    "had not been in those before"
)
_TAKEN_AWAY = (
    "gradients were taken away in the backward pass, and not by an optimizer, so the gradient of "
    "the update cannot be seen"
)


class GradientTap:
    """Squared gradient norms per tensor, of the units of an update and of the update.

    While it is `paused` backward passes are none of the training's. For plain and DDP modules;
    `ShardedTap` inherits the bookkeeping and differs in how a unit is seen.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        model: torch.nn.Module | None = None,
        processes: int,
        failed: Callable[[Exception], None],
        scale: Callable[[], Tensor | None] = lambda: None,
        turn: Callable[[], object] = lambda: None,
        measure: bool = True,
    ) -> None:
        """Hook the parameters.

        Arguments:
            parameters: trainable parameters; their order is the order of all results.
            model: whose inputs are looked at; None to know nothing of them.
            processes: W, how many processes average their gradients.
            failed: told of the first exception, after which the tap is silent.
            scale: loss scale in force during a backward pass; None where there is none.
            turn: another object after every step that mixed precision tried.
            measure: whether to measure what is seen; else every update has one unit, of which
                nothing is known.
        """
        self.units = 0
        self.passes = 0  # those that have ended, of all updates
        self.cleared = 0  # times that gradients were, without a step and in succession
        self.paused = self.making = False
        self.clearing = Clearing(parameters)
        self.protection: AbstractContextManager[None] = nullcontext()  # of what ends a pass
        self.ended: Callable[[], None] = lambda: None  # called when a unit has
        self.begins: Callable[[], None] = lambda: None  # told of each pass of the training
        self._parameters = list(parameters)
        self._model = model
        self.processes, self._failed, self._scale = processes, failed, scale
        nothing = torch.zeros((), dtype=torch.float64, device=self._parameters[0].device)
        self._zero = nothing if measure else nothing + nan
        self._nothing = self._zero.expand(len(self._parameters))
        self._task = -1  # identifies a backward pass; a pass that raised leaves no trace behind
        self._passed = -1  # the last one that was none of the training's
        self._measures = measure
        self._silent = not measure
        self._alone = True  # whether the gradient, when this pass has ended, is that of the pass
        self._whole = not any(isinstance(parameter, DTensor) for parameter in parameters)
        self._mark: Mark | None = None  # of one gradient after the last pass
        self._places = {id(parameter): index for index, parameter in enumerate(parameters)}
        self._stepped: dict[int, Tensor] = {}  # squares of gradients that were used in this pass
        self._turn, self._now = turn, turn()
        self._small = SmallGradients(parameters, most=SMALL)
        self._squares: dict[int, Tensor] = {}
        parts = [local(p) for p in parameters]
        self._squares_again, self._both_again = SquaresAgain(parts), SquaresAgain(2 * parts)
        self._unit_sq = self._total_sq = self._pass_sq = self._nothing  # the last of the last pass
        self._took: set[int] = set()  # the tensors that took part in it
        self._discarded, self._lost, self._seconds = 0, 0, 0.0
        self._joined: dict[int, Tensor] | None = None  # gradients of several passes, one unit
        self._fresh_inputs: list[tuple[float, float]] = []  # since the last pass began
        self._at_end = uncompiled(self._ends)
        self._behind = uncompiled(partial(self._guarded, self._end_unit))
        self._reset()
        self._handles: list[Handle] = [before_steps(self._before_step)]
        self._hook()

    @property
    def measures(self) -> bool:
        """Whether what it sees is measured; not where it was not asked for, or has failed."""
        return self._measures and not self._silent

    def take(self) -> Seen:
        """What was seen since the last call."""
        if self._missing:
            self._fail(RuntimeError(_TAKEN_AWAY))
        units = (nan if self._silent else self.units) if self._measures else 1
        kept, unused = self.clearing.take(seen=self.measures)
        if unused and self._measures:
            places = torch.tensor(unused, device=self._total_sq.device)
            self._total_sq = self._total_sq.index_fill(0, places, 0.0)
        seen = Seen(
            units,
            self._unit_sq,
            self._total_sq,
            self._discarded,
            self._seconds,
            self._lost,
            self._seen_inputs(),
            bool(self._aside),
            self._fault or kept,
        )
        self._discarded, self._seconds, self._lost = 0, 0.0, 0
        self.cleared = 0
        self.making = False
        self._fresh_inputs = []
        self._reset()
        return seen

    def changes(self) -> float:
        """How often the first gradient that there is was changed since the last pass has ended.

        Dividing is one change, and clipping another; a new tensor in its place is one as well.
        What is written to `.data` is not seen.
        """
        before, now = self._mark, self._first_gradient()
        if not self.units or before is None or now is None or before[0] != now[0]:
            return nan
        same = before[1] == now[1]
        return float(now[2] - before[2] if same else 1 + now[2])

    def adopt(self, scale: Callable[[], Tensor | None], turn: Callable[[], object]) -> None:
        """Take note of a loss scale that was in force in this update."""
        self._scale, self._turn, self._now = scale, turn, turn()
        self._unit_sq, self._total_sq = map(self._unscaled, (self._unit_sq, self._total_sq))

    def rescale(self, scale_sq: Tensor | float) -> None:
        """Divide what was seen of this update by a squared loss scale."""
        self._unit_sq = self._unit_sq / scale_sq
        self._total_sq = self._total_sq / scale_sq

    def give(self, gradients: Mapping[int, Tensor]) -> None:
        """Count a unit whose gradients no backward pass has shown, and which are added up here.

        Arguments:
            gradients: by position; those of other parameters are 0.
        """
        if self._silent:
            self.making = True
        elif not self.paused:
            self._guarded(partial(self._add_given, gradients))

    def _add_given(self, gradients: Mapping[int, Tensor]) -> None:
        self.making = True
        self.begins()
        self._count_inputs()
        mixed = self.units > 0 and not self._given
        for index, gradient in gradients.items():
            add_to(self._given, index, gradient)
        self._took, self._pass_sq = set(), self._squares_of(gradients, {})
        self._count_unit(self._contribution())
        # Beside those of backward passes they cannot be added up.
        total_sq = self._zero + nan if mixed else self._squares_of(self._given, {})
        self._total_sq = self._unscaled(total_sq).expand(len(self._parameters))
        self.ended()

    @contextmanager
    def one_unit(self) -> Iterator[None]:
        """Backward passes within are one unit."""
        if self._joined is not None or self._silent or not self._measures:
            yield
            return
        self._joined = {}
        try:
            yield
        except BaseException:
            self._joined = None
            self._joint += 1  # there may be gradients of which nothing was counted
            raise
        self._guarded(self._end_joined)

    @contextmanager
    def unmeasured(self) -> Iterator[None]:
        """Backward passes within are no units, whatever they leave in the gradients."""
        if self.paused:
            yield
            return
        if not self._silent:
            self._guarded(self._forget_cleared)
        found = self._gradients()
        versions = {i: (id(g), g._version) for i, g in found.items()}
        before = {i: local(g).clone() for i, g in found.items()} if self._measures else {}
        self.paused = True
        try:
            yield
        finally:
            self.paused = False
            self._guarded(partial(self._set_aside, versions, before))

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self) -> None:
        # On the tensors, not on the nodes that accumulate: those are others whenever a tensor's
        # data is swapped or given another type, and a hook on them would be lost.
        # A backward pass in a step that is compiled as a whole would compile the hooks, too.
        see = uncompiled(self._see)
        self._handles += [
            parameter.register_hook(self._small.hook(index, partial(see, index)))
            for index, parameter in enumerate(self._parameters)
        ]
        self._hear_model()

    def _hear_model(self) -> None:
        if self._model is not None and not isinstance(self._model, torch.jit.ScriptModule):
            self._handles.append(hear_forward(self._model, self._hear_inputs))

    def _hear_inputs(self, arguments: Sequence[object]) -> None:
        """The model is about to be called with gradients."""
        if not self.paused:
            self._fresh_inputs.append(rows_of(arguments))

    def _seen_inputs(self) -> Inputs:
        """What forward passes were given, where there was one a unit."""
        if not self._measures:
            return inputs_of(self._fresh_inputs)
        heard = self._inputs if self._matches(len(self._inputs)) else []
        return inputs_of(heard, joint=self._joint)

    def _matches(self, forwards: int) -> bool:
        """Whether so many forward passes are those of the units."""
        return forwards == self.units

    def _reset(self) -> None:
        self.units = 0
        self._unit_sq = self._total_sq = self._nothing
        self._read: Tensor | None = None  # squares of the gradients after this pass, if read yet
        self._fault = ""  # why the gradient is unknown
        self._missing = False  # whether some of it is gone
        self._is_total = False  # whether the last pass has brought all that gradients are
        self._inputs: list[tuple[float, float]] = []  # of forward passes
        self._joint = 0  # passes without a forward pass of their own
        self._reach: set[int] = set()  # the tensors that took part in the first
        self._keeps = self._kept = False  # whether this pass keeps its graph, and the one before
        self._aside: dict[int, Tensor] = {}  # gradients of passes that are no units
        self._given: dict[int, Tensor] = {}  # sums of those that no pass has shown
        self._left: dict[int, tuple[int, int]] = {}  # the gradients that these had left

    def _see(self, index: int, gradient: Tensor | None) -> None:
        if self.paused or self._silent:
            self._stir()
            return
        start = time.perf_counter()
        try:
            if current() == self._task or self._opens(self._parameters[index]):
                if gradient is not None and self._joined is not None:
                    add_to(self._joined, index, gradient)
                elif gradient is not None and index in self._small.places:
                    self._small.add(index, gradient)
                elif gradient is not None:
                    self._squares[index] = square(gradient)
        except Exception as error:
            self._fail(error)
        self._seconds += time.perf_counter() - start

    def _stir(self, *_: object) -> None:
        """Something of the next update was seen."""
        if not self.paused:
            self.making = True
            if self._silent and current() != self._task:
                self._task = current()
                self.begins()

    def _opens(self, parameter: Tensor) -> bool:
        """Whether this parameter is the first of a unit; looked at until it is one.

        Raises:
            RuntimeError: for a pass within another, whose end does not end the unit.
        """
        if current() == self._passed:
            return False
        if not adds_up(parameter):
            self._passed = current()
            return False
        self._begins()
        after_pass(self._at_end)
        return True

    def _begins(self) -> bool:
        """Whether a backward pass begins; what was cleared before it is then forgotten."""
        task = current()
        if task == self._task:
            return False
        self._task, self._squares, self._stepped = task, {}, {}
        self.making = True
        self.begins()
        self._forget_cleared()
        self.clearing.look(first=not (self.units or self._joined or self._aside))
        self._count_inputs()
        self._keeps = keeps_graph()
        if self._joined is None:
            self._small.begin(task, alone=self._alone)
        return True

    def _forget_cleared(self) -> None:
        """Forget units, and passes that were none, whose gradients were cleared without a step."""
        if self._left:
            self._forget_aside()
        now = self._first_gradient()
        self._alone = now is None and self.processes == 1
        before, self._now = self._now, self._turn()
        tried = before is not self._now  # and not taken, or the units would have been
        if self.units and (
            tried or now is None or (now != self._mark and zeroed(self._gradients().values()))
        ):
            self._discarded += 1
            self.cleared = 0 if tried else self.cleared + 1
            self._lost += self.units
            self._reset()

    def _forget_aside(self) -> None:
        left, self._left = self._left, {}
        for index, mark in left.items():
            gradient = self._parameters[index].grad
            if gradient is None:
                del self._aside[index]
            elif mark != (id(gradient), gradient._version):  # set to zero, or divided or the like
                self._aside[index] *= local(gradient).any()

    def _count_inputs(self) -> None:
        """The pass that begins is that of the forward pass before it, if there was one."""
        first = self._joined is None or not self._joined
        self._inputs += self._fresh_inputs if first else []
        self._fresh_inputs = []
        if first and self._inputs and self.units >= len(self._inputs):
            self._joint += 1

    def _first_gradient(self) -> Mark | None:
        """Which the first gradient is that there is, and how often it was changed."""
        for index, parameter in enumerate(self._parameters):
            if (gradient := parameter.grad) is not None:
                part = gradient if self._whole else local(gradient)
                return index, id(gradient), part._version
        return None

    def _gradients(self) -> dict[int, Tensor]:
        """Those that there are, by position."""
        found = enumerate(self._parameters)
        return {i: gradient for i, p in found if (gradient := p.grad) is not None}

    def _ends(self) -> None:
        """Square what is small, where there are other processes while gradients are reduced."""
        if self.processes > 1:
            self._guarded(self._square_small)
            after_pass(self._behind)
        else:
            self._guarded(self._end)

    def _end(self) -> None:
        self._square_small()
        self._end_unit()

    def _guarded(self, action: Callable[[], object]) -> None:
        """Do a part of the work after a pass, unless the tap has failed."""
        if self._silent:
            return
        with self.protection:
            start = time.perf_counter()
            try:
                action()
            except Exception as error:
                self._fail(error)
            self._seconds += time.perf_counter() - start

    def _square_small(self) -> None:
        if self._joined is not None:
            return
        self._is_total = self._small.left and not self._squares
        small = self._small.end(self._parameters, alone=self._alone)
        if small is None:
            self._fault, self._took = _WRITTEN, set()
            self._pass_sq = torch.full_like(self._unit_sq, nan)
            return
        self._took = {*self._squares, *small}
        if self.processes > 1 or self._is_total or not self._square_both(small):
            self._pass_sq = self._squares_of(small, self._squares)

    def _square_both(self, small: Mapping[int, Tensor]) -> bool:
        """Square what came and what the gradients now are in one go, where that is all of them."""
        count = len(self._parameters)
        if not (self._both_again.fits and self._whole and len(small) == count) or self._aside:
            return False
        now = self._gradients()
        if len(now) < count:
            return False
        both = self._both_again([*map(small.__getitem__, range(count)), *now.values()])
        self._pass_sq, self._read = both[:count], both[count:]
        return True

    def _end_unit(self) -> None:
        self.passes += 1
        if self._joined is not None:
            self._mark = self._first_gradient()
            return
        self._add_unit()

    def _add_unit(self) -> None:
        self._compare_reach()
        self._count_unit(self._contribution())
        self._read_total()
        self.ended()

    def _compare_reach(self) -> None:
        """Passes that reach other tensors than the first may be losses of the same samples.

        As those of an actor and a critic, or of two heads; so may one after a pass that has kept
        its graph. Where each follows a forward pass of the model they are units none the less, as
        where a router chooses.
        """
        if not self.units:
            self._reach = self._took
        elif not self._inputs and self._kept:
            self._joint += 1
        elif self._took != self._reach:
            self._joint += not self._inputs or self._took.isdisjoint(self._reach)
        self._kept = self._keeps

    def _contribution(self) -> Tensor:
        """Squared norms of a unit's part in the reduced gradient."""
        return self._pass_sq / self.processes**2 if self.processes > 1 else self._pass_sq

    def _end_joined(self) -> None:
        """End a unit of several passes."""
        held, self._joined = self._joined, None
        if held:
            self._took, self._pass_sq = set(held), self._squares_of(held, {})
            self._is_total = False
            self._add_unit()

    def _set_aside(
        self, versions: Mapping[int, tuple[int, int]], before: Mapping[int, Tensor]
    ) -> None:
        """Remember by how much gradients have changed."""
        for index, gradient in self._gradients().items() if self._measures else ():
            if versions.get(index) == (id(gradient), gradient._version):
                continue
            change = local(gradient).clone()
            if index in before:
                change -= before[index]
            add_to(self._aside, index, change)
            self._left[index] = (id(gradient), gradient._version)

    def _count_unit(self, pass_sq: Tensor) -> None:
        unit_sq = self._unscaled(pass_sq)
        self._unit_sq = self._unit_sq + unit_sq if self.units else unit_sq.to(self._nothing)
        self.units += 1

    def _read_total(self) -> None:
        total_sq, self._read = self._read, None
        if total_sq is not None:
            self._missing = False
        else:
            gradients = self._gradients()
            same = self._is_total and len(gradients) == len(self._took)
            total_sq = self._pass_sq if same else self._square_total(gradients)
        self._total_sq = self._unscaled(total_sq)
        self._mark = self._first_gradient()

    def _square_total(self, gradients: Mapping[int, Tensor]) -> Tensor:
        parts = dict(gradients) if self._whole else {i: local(g) for i, g in gradients.items()}
        for index in self._aside.keys() & parts.keys() if self._aside else ():
            parts[index] = parts[index] - self._aside[index]
        self._missing = False
        if parts.keys() >= self._took:
            return self._squares_of(parts, {})
        gone = {i: self._gone(i) for i in self._took if i not in parts}
        self._missing = any(found is None for found in gone.values())
        known = {i: found for i, found in gone.items() if found is not None}
        return self._squares_of(parts, known)

    def _gone(self, index: int) -> Tensor | None:
        """The squared norm of a gradient that nothing is left of when the pass has ended."""
        return self._pass_sq[index] if self._alone else self._stepped.get(index)

    def _before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """See the gradients of an optimizer that steps in the pass at hand."""
        if self.paused or self._silent or current() != self._task or current() < 0:
            return
        try:
            stepping = (p for group in optimizer.param_groups for p in group["params"])
            for parameter in stepping:
                index = self._places.get(id(parameter))
                if index is not None and parameter.grad is not None:
                    self._stepped[index] = square(local(parameter.grad))
        except Exception as error:
            self._fail(error)

    def _unscaled(self, squares: Tensor) -> Tensor:
        scale = self._scale()
        return squares if scale is None else squares / scale.double().square()

    def _squares_of(self, gradients: Mapping[int, Tensor], known: Mapping[int, Tensor]) -> Tensor:
        """`(tensor,)`: squared norms of gradients, then those that are known, 0 of all others."""
        if len(gradients) == len(self._parameters):
            return self._squares_again([gradients[i] for i in range(len(gradients))])
        values = self._squares_again(list(gradients.values()))
        return self._stack({**known, **dict(zip(gradients, values.unbind(), strict=True))})

    def _stack(self, found: Mapping[int, Tensor]) -> Tensor:
        """One vector `(tensor,)`; a parameter that took no part has gradient zero."""
        rows = [found.get(i, self._zero) for i in range(len(self._parameters))]
        return torch.stack([row.to(self._zero.device, non_blocking=True) for row in rows])

    def _fail(self, error: Exception) -> None:
        """Go silent; S of this process is NaN from here on, so no sum is silently short."""
        if not self._silent:
            self._silent = True
            self._zero = self._zero.new_full((), torch.nan)
            self._nothing = self._zero.expand(len(self._parameters))
            self._small.forget()
            self._reset()
            self._failed(error)


def add_to(sums: dict[int, Tensor], index: int, gradient: Tensor) -> None:
    """Add a gradient to those of its tensor, in single precision at least."""
    gradient = gradient.detach()
    if index in sums:
        sums[index] += gradient
    else:
        wide = torch.promote_types(gradient.dtype, torch.float32)
        sums[index] = gradient.to(wide, copy=True)
