"""Putting back what a rehearsal of the training changes: nothing of it may be seen afterwards.

Every module, optimizer, scheduler and gradient scaler of the process is kept, whether it was named
or not: a discriminator's weights and an average of weights move too. Copies lie on the host, and
what is put back lies where it was, so that references to it stay true. Random number generators of
Python, numpy, torch and of data loaders are set back as well.

Out of reach are an iterator that has been moved on, and values of the user's own program.
"""

import gc
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Sampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from ultraslow.probes.distributed import local

Restore = Callable[[], Any]

_KINDS = (nn.Module, torch.optim.Optimizer, LRScheduler, torch.amp.GradScaler)
_SOURCES = (DataLoader, Sampler)  # of data, which have generators


class Consumed:
    """What was taken from outside and cannot be put back.

    Arguments:
        batches: that data loaders gave.
        tensors: written to, which belong to no module or optimizer.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.batches = self.tensors = 0


@contextmanager
def without_trace() -> Iterator[Consumed]:
    """Whatever is trained within, all is as before afterwards, also after an exception."""
    consumed, memo = Consumed(), _Memo()
    living = gc.get_objects()
    sharded = [one for one in living if issubclass(type(one), FSDPModule)]
    for module in sharded:  # what a forward pass leaves gathered is no place to put weights back
        module.reshard()
    restores = [memo.keep_object(one) for one in living if issubclass(type(one), _KINDS)]
    restores += [_kept_generator(one) for one in living if issubclass(type(one), _SOURCES)]
    tensors = [one for one in living if issubclass(type(one), Tensor) and id(one) not in memo]
    del living
    versions = _versions(tensors)
    numbers = _random_numbers()
    try:
        with _counting(consumed):
            yield consumed
    finally:
        for module in sharded:
            module.reshard()
        with torch.no_grad():
            for restore in restores:
                restore()
        numbers()
        now = _versions(tensors)
        written = [t for t, a, b in zip(tensors, versions, now, strict=True) if a != b]
        consumed.tensors = sum(_place(one) not in memo.places for one in written)


def _versions(tensors: Sequence[Tensor]) -> list[int]:
    """How often tensors were written to; those of inference do not count it.

    Integers are nobody's average of weights, but counters that end with what other threads do.
    """
    with torch._C.DisableTorchFunctionSubclass():  # classes of the user's may forbid the question
        return [
            one._version if one.is_floating_point() and not one.is_inference() else 0
            for one in tensors
        ]


def _place(tensor: Tensor) -> int:
    """Where the memory begins that a tensor is a view of; 0 where it has none of its own."""
    try:
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
            return local(tensor).untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


class _Memo:
    """Copies, one for each object, however many refer to it.

    Attributes:
        places: of tensors that are put back, and their views and detached ones with them, which
            count what is written to them together.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.places: set[int] = set()
        self._restores: dict[int, Restore] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._restores

    def keep_object(self, one: Any) -> Restore:
        """What puts a module, optimizer, scheduler or scaler back.

        Of torch's own modules only weights, buffers and modes are touched: wrappers remember in
        other attributes what they have set up, and that stays so.
        """
        foreign = isinstance(one, nn.Module) and type(one).__module__.startswith("torch.")
        attributes = vars(one)
        wanted = ("_parameters", "_buffers", "training") if foreign else tuple(attributes)
        kept = {
            name: self.keep(attributes[name])
            for name in wanted
            if name in attributes and "hook" not in name and name != "_modules"
        }

        def restore() -> None:
            for name, value in kept.items():
                attributes[name] = value()
            if not foreign:  # what it did not have
                for name in set(attributes) - known:
                    del attributes[name]

        known = set(attributes)
        return restore

    def keep(self, value: Any) -> Restore:
        """What gives a value back as it is now; objects that are no containers are not copied."""
        if id(value) in self._restores:
            return self._restores[id(value)]
        if isinstance(value, Tensor):
            return self._remember(value, self._kept_tensor(value))
        if isinstance(value, dict):
            self._remember(value, lambda: value)  # one that holds itself
            return self._remember(value, self._kept_items(value))
        if isinstance(value, list | deque | set):
            self._remember(value, lambda: value)
            return self._remember(value, self._kept_elements(value))
        if type(value) is tuple:
            parts = [self.keep(part) for part in value]
            return lambda: tuple(part() for part in parts) if parts else value
        return lambda: value

    def _remember(self, value: object, restore: Restore) -> Restore:
        self._restores[id(value)] = restore
        return restore

    def _kept_tensor(self, tensor: Tensor) -> Restore:
        if tensor.is_meta or tensor.is_inference() or tensor.layout != torch.strided:
            return lambda: tensor
        part = local(tensor.detach())
        copy = part.to("cpu", copy=True)
        self.places.add(_place(part) or -1)
        own = None if isinstance(tensor, DTensor) else tensor.data
        gradient = self.keep(tensor.grad) if tensor.is_leaf else None

        def restore() -> Tensor:
            if own is not None and tensor.data_ptr() != own.data_ptr():
                tensor.data = own  # another was put in its place
            part.copy_(copy)
            if gradient is not None:
                tensor.grad = gradient()
            return tensor

        return restore

    def _kept_items(self, value: dict[Any, Any]) -> Restore:
        kept = {key: self.keep(one) for key, one in value.items()}

        def restore() -> dict[Any, Any]:
            items = {key: one() for key, one in kept.items()}
            value.clear()
            value.update(items)
            return value

        return restore

    def _kept_elements(self, value: Any) -> Restore:
        kept = [self.keep(one) for one in value]

        def restore() -> Any:
            elements = [one() for one in kept]
            value.clear()
            (value.update if isinstance(value, set) else value.extend)(elements)
            return value

        return restore


def _kept_generator(source: Any) -> Restore:
    generator = getattr(source, "generator", None)
    if not isinstance(generator, torch.Generator):
        return lambda: None
    state = generator.get_state()
    return lambda: generator.set_state(state)


def _random_numbers() -> Restore:
    """What sets the global generators back."""
    python, arrays, host = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
        torch.set_rng_state(host)
        if devices:
            torch.cuda.set_rng_state_all(devices)

    return restore


@contextmanager
def _counting(consumed: Consumed) -> Iterator[None]:
    """Count the batches that iterators of data loaders give."""
    ordinary = _BaseDataLoaderIter.__next__

    def counted(iterator: Any) -> Any:
        batch = ordinary(iterator)
        consumed.batches += 1
        return batch

    with patch.object(_BaseDataLoaderIter, "__next__", counted):
        yield
