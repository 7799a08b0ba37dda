"""Several optimizers, whose parameter groups are counted as one list.

A *slot* is a parameter group of the beginning: those of the first optimizer, then those of the
second. What trains its tensors later may be another optimizer.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakSet, ref

import torch
from torch import Tensor

from .rates import described, estimates, rate_of, shows, unknown


@dataclass(frozen=True)
class _Slot:
    """A parameter group of the beginning.

    Arguments:
        number: of its optimizer.
        index: of the group in that.
        tensors: positions of the recorded tensors it trains.
    """

    number: int
    index: int
    tensors: frozenset[int]


@dataclass(frozen=True)
class _Owned:
    """What an optimizer owned when it was looked at.

    Arguments:
        whose: the optimizer, held weakly.
        count: parameters it owned.
        tensors: positions of the recorded ones.
    """

    whose: "ref[torch.optim.Optimizer]"
    count: int
    tensors: frozenset[int]


class Optimizers:
    """The optimizers of a run: what each owns, and at which rates they step."""

    def __init__(
        self,
        given: Sequence[torch.optim.Optimizer],
        parameters: Sequence[Tensor],
        *,
        clock: int | None = None,
        model: torch.nn.Module | None = None,
    ) -> None:
        """Take over optimizers that own all of the parameters together.

        Arguments:
            given: the optimizers, each of which owns some of the parameters.
            parameters: the recorded ones; their order is the order of all results.
            clock: number of the one whose steps end iterations; None where each is waited for.
            model: that they train, where others may train more of it; None to look at these.
        """
        self.given = list(given)
        self._model = model
        self._others: WeakSet[torch.optim.Optimizer] = WeakSet()  # that own none of the parameters
        self.clock = clock
        self._now = list(given)  # what steps in the place of each
        self._numbers = {
            id(one): frozenset(k for k, other in enumerate(given) if other is one) for one in given
        }
        self._parameters = list(parameters)
        self._places = {id(parameter): index for index, parameter in enumerate(parameters)}
        self._owned: dict[int, _Owned] = {}
        self._slots = list(self._find_slots())
        self._known = {id(p) for p in (*parameters, *self._trainable())}
        self._estimates: dict[int, float | Tensor] = {}
        self._within: dict[int, torch.optim.Optimizer] = {}  # that stepped in the pass, by tensor
        self._idle: set[int] = set()  # that found no gradient
        self.replaced = False  # whether others have moved the weights in the last update
        self.fault = ""  # why rates of the last update are unknown, where optimizers do not tell

    @property
    def tensor_slots(self) -> list[int]:
        """The number of the slot of each tensor, the first where several hold it."""
        found: dict[int, int] = {}
        for number, slot in enumerate(self._slots):
            for tensor in slot.tensors:
                found.setdefault(tensor, number)
        return [found[index] for index in range(len(self._parameters))]

    @property
    def slots(self) -> int:
        """How many there are."""
        return len(self._slots)

    def owned(self, optimizer: torch.optim.Optimizer) -> frozenset[int]:
        """Positions of the recorded tensors that an optimizer owns, whoever's it is."""
        count = sum([len(group["params"]) for group in optimizer.param_groups])
        known = self._owned.get(id(optimizer))
        if known is None or known.whose() is not optimizer or known.count != count:
            found = (self._places.get(id(p)) for p in _parameters(optimizer))
            tensors = frozenset(index for index in found if index is not None)
            known = self._owned[id(optimizer)] = _Owned(ref(optimizer), count, tensors)
        return known.tensors

    def numbers(self, optimizer: torch.optim.Optimizer) -> frozenset[int]:
        """Those in whose place an optimizer steps: itself, or all whose tensors it owns."""
        itself = self._numbers.get(id(optimizer))
        if itself is not None:
            return itself
        owned = self.owned(optimizer)
        return frozenset(k for k, one in enumerate(self.given) if self.owned(one) <= owned)

    def was_given(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether an optimizer is one of those that were given, which are kept alive."""
        return id(optimizer) in self._numbers

    def is_part(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether an optimizer is one that was given, or held by one, as SAM does."""
        return any(one is optimizer or _holds(one, optimizer) for one in self.given)

    def replace(self, numbers: Collection[int], optimizer: torch.optim.Optimizer) -> str:
        """Go on with an optimizer in the place of others.

        Returns:
            What is to be said of it; empty where nothing changes.
        """
        changed = [k for k in numbers if self._now[k] is not optimizer]
        if not changed or self.is_part(optimizer):
            for number in changed:
                self._now[number] = self.given[number]
            return ""
        before = " and ".join(type(self._now[k]).__name__ for k in changed)
        for number in changed:
            self._now[number] = optimizer
        return (
            f"{type(optimizer).__name__}, another optimizer, steps in the place of {before}, and "
            "the iterations go on with it"
        )

    def begins(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step."""
        for group in () if shows(type(optimizer)) else optimizer.param_groups:
            if estimates(optimizer, group):
                self._estimates[id(group)] = group["d"]
        if not self._finds(optimizer):
            self._idle |= self.numbers(optimizer)
        elif self._idle:
            self._idle -= self.numbers(optimizer)

    def ends(self, optimizer: torch.optim.Optimizer) -> None:
        """It has stepped, with gradients of a closure perhaps."""
        if self._idle and self._finds(optimizer):
            self._idle -= self.numbers(optimizer)

    def _finds(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether it finds a gradient; mostly the first is one."""
        return any(self._parameters[index].grad is not None for index in self.owned(optimizer))

    def steps_elsewhere(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer that owns none of the parameters steps, with more of the model perhaps."""
        self._others.add(optimizer)

    def steps_within(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer that was not given steps in a backward pass."""
        self._within.update(dict.fromkeys(self.owned(optimizer), optimizer))

    def skipped(self, numbers: Collection[int]) -> bool:
        """Whether all of them were called but skipped the step, which only the device knows.

        Reading it waits for the device; optimizers that are not fused are not called at all.
        """
        for number in numbers:
            found = getattr(self._now[number], "found_inf", None)
            if found is None or not float(found):
                return False
        return bool(numbers)

    def rates(self, *, seen: bool = False) -> list[float | Tensor]:
        """The learning rate of each slot; NaN where it is unknown.

        Arguments:
            seen: whether an update was just made of backward passes that were seen. Where no
                optimizer then found a gradient, others have moved the weights.
        """
        idle = seen and len(self._idle) == len(self.given)
        found = [self._rate(slot, idle=idle) for slot in self._slots]
        self.replaced = idle or bool(self._within)
        if idle and any(isinstance(rate, float) and math.isnan(rate) for rate in found):
            names = " and ".join(type(one).__name__ for one in self.given)
            self.fault = (
                f"learning rates of some updates are unknown: {names} found no gradients, so that "
                "others have moved the weights"
            )
        self._within = {}
        return found

    def _rate(self, slot: _Slot, *, idle: bool) -> float | Tensor:
        within = [self._within.get(tensor) for tensor in slot.tensors] if self._within else []
        if within and None not in within:
            pairs = zip(slot.tensors, within, strict=True)
            return _common([self._rate_in(one, tensor) for tensor, one in pairs if one])
        if idle:
            return math.nan
        now = self._now[slot.number]
        if now is not self.given[slot.number]:
            return _common([self._rate_in(now, tensor) for tensor in slot.tensors])
        if slot.index >= len(now.param_groups):
            return math.nan
        group = now.param_groups[slot.index]
        return rate_of(now, group, self._estimates.get(id(group)))

    def _rate_in(self, optimizer: torch.optim.Optimizer, tensor: int) -> float | Tensor:
        """The rate at which an optimizer trains a tensor."""
        wanted = self._parameters[tensor]
        for group in optimizer.param_groups:
            if any(parameter is wanted for parameter in group["params"]):
                return rate_of(optimizer, group, self._estimates.get(id(group)))
        return math.nan

    def told(self) -> list[str]:
        """What recorded rates are, where they are not the `lr` of groups."""
        return list(dict.fromkeys(text for one in self.given if (text := described(one))))

    def unknown(self) -> list[str]:
        """Why rates are not known, of those whose are not."""
        reasons = dict.fromkeys(text for one in self.given if (text := unknown(one)))
        return [f"the learning rate is not recorded: {text}" for text in reasons]

    def newcomers(self) -> int:
        """How many parameters have begun to train since this was asked last."""
        whole = set() if self._model is None else {id(p) for p in self._model.parameters()}
        others = (p for one in self._others for p in _parameters(one) if id(p) in whole)
        trained = (*self._trainable(), *(p for p in others if p.requires_grad))
        new = [p for p in trained if id(p) not in self._known]
        self._known |= {id(p) for p in new}
        return len({id(p) for p in new})

    def _trainable(self) -> Iterator[Tensor]:
        return (p for one in self._now for p in _parameters(one) if p.requires_grad)

    def _find_slots(self) -> Iterator[_Slot]:
        for number, optimizer in enumerate(self.given):
            for index, group in enumerate(optimizer.param_groups):
                found = (self._places.get(id(p)) for p in group["params"])
                yield _Slot(number, index, frozenset(i for i in found if i is not None))


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _holds(optimizer: torch.optim.Optimizer, other: torch.optim.Optimizer) -> bool:
    return any(value is other for value in vars(optimizer).values())


def _common(rates: Sequence[float | Tensor]) -> float | Tensor:
    """The rate that all are; NaN where they differ. Those on a device are not looked at."""
    first: float | Tensor = rates[0] if rates else math.nan
    for rate in rates:
        known = not isinstance(rate, Tensor) and not isinstance(first, Tensor)
        if rate is not first and not (known and rate == first):
            return math.nan
    return first
