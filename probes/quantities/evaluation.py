"""Evaluation: a user's function on a schedule, and how it leaves no trace in the training.

What a function on the model may change besides its result is saved and put back: buffers, such as
the running statistics of batch normalization, training flags, gradients, and the states of the
random generators that training draws from.
"""

import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from ultraslow.probes.buffer import schedule_of, sparse

Function = Callable[[nn.Module], Mapping[str, float | Tensor]]


@dataclass(frozen=True)
class RandomStates:
    """States of the generators that training draws from: torch's, Python's and numpy's own."""

    cpu: Tensor
    cuda: Mapping[torch.device, Tensor]
    python: Any
    numpy: Any

    def restore(self) -> None:
        """Put all of them back."""
        torch.set_rng_state(self.cpu)
        for device, state in self.cuda.items():
            torch.cuda.set_rng_state(state, device)
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002 (the user's code may draw from it)


@dataclass(frozen=True)
class ModelState:
    """A model's buffers, training flags, gradients and shards, and the random states around it."""

    flags: tuple[tuple[nn.Module, bool], ...]
    buffers: tuple[tuple[nn.Module, str, Tensor, Tensor], ...]
    gradients: tuple[tuple[nn.Parameter, Tensor | None], ...]
    random: RandomStates
    sharded: tuple[FSDPModule, ...] = ()

    def rewind(self) -> None:
        """Put buffers, shards and random states back: a function meets the same once more."""
        for module, name, buffer, values in self.buffers:
            setattr(module, name, buffer)
            # Through `data`, which leaves alone the version that a pending backward pass checks.
            buffer.data.copy_(values)
        for shards in self.sharded:  # a forward pass alone leaves the outermost weights whole
            shards.reshard()
        self.random.restore()

    def restore(self) -> None:
        """Put everything back, bit for bit."""
        self.rewind()
        for module, training in self.flags:
            module.training = training
        for parameter, gradient in self.gradients:
            parameter.grad = gradient


class Evaluation:
    """A user's function that gives named numbers, such as held-out loss and accuracy.

    The first exception in it switches it off with one warning; `failed` then says why.
    """

    def __init__(
        self,
        function: Function,
        schedule: Sequence[int] | NDArray[np.integer] | None = None,
        *,
        metrics: Sequence[str] = ("loss", "accuracy"),
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Declare the function, what it gives and when it is due.

        Arguments:
            function: from the model to numbers by name. It runs without gradients, with the
                model in evaluation mode, and may change everything but the weights. With several
                processes each calls it, on the module within DistributedDataParallel; rank 0's
                numbers are recorded, so it averages over processes itself where that is wanted.
            schedule: iterations at which it is due, five a decade when None. A recorder calls it
                at its close as well.
            metrics: names of the numbers that are recorded.
            warn: is told why the evaluation was switched off; a `RuntimeWarning` when None.
        """
        if not callable(function):
            raise TypeError(f"function: found {type(function).__name__}, expected a function")
        if isinstance(metrics, str) or len(set(metrics)) < len(metrics) or not metrics:
            raise ValueError(f"metrics: found {metrics!r}, expected different names")
        self.metrics = tuple(map(str, metrics))
        self.failed = ""
        self.nonfinite: Counter[str] = Counter()
        self._schedule = sparse() if schedule is None else schedule_of(schedule)
        self._function = function
        self._warn = warn or _warn
        self._strangers = False

    def due(self, iteration: int) -> bool:
        """Whether the function is to be called at this iteration."""
        return not self.failed and self._schedule.due(iteration)

    def beyond(self, iteration: int) -> bool:
        """Whether it was asked for after this iteration."""
        return self._schedule.beyond(iteration)

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Call the function, and leave the model and the random states as they were.

        Arguments:
            model: the model, as the function takes it.

        Returns:
            Finite numbers by name. Those that are not finite are left out and counted in
            `nonfinite`; after a failure there are none.
        """
        if self.failed:
            return {}
        try:
            with undisturbed(model), torch.no_grad():
                model.eval()
                values = _numbers(self._function(model))
        except Exception as error:
            self.failed = repr(error)
            self._warn(f"the evaluation failed and was switched off: {error!r}")
            return {}
        finite = {name: value for name, value in values.items() if np.isfinite(value)}
        self.nonfinite.update(values.keys() - finite.keys())
        return finite

    def row(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """Numbers in the order of `metrics`; NaN for those that are not there.

        Others are left out, with one warning.
        """
        strangers = sorted(values.keys() - set(self.metrics))
        if strangers and not self._strangers:
            self._strangers = True
            self._warn(
                f"the evaluation returned {strangers}, which are not recorded: metrics are "
                f"{list(self.metrics)}"
            )
        return np.array([values.get(name, np.nan) for name in self.metrics])


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[ModelState]:
    """What happens inside leaves no trace in the model, its weights aside, nor in random states.

    Gradients are taken away meanwhile, so that none is added to. `rewind` of the state that comes
    with it gives each of several evaluations the same buffers and random numbers.
    """
    state = model_state(model)
    for parameter in model.parameters():
        parameter.grad = None
    try:
        yield state
    finally:
        state.restore()


def model_state(model: nn.Module) -> ModelState:
    """Copies of the buffers and random states, and the flags and gradients themselves."""
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    return ModelState(
        flags=tuple((module, module.training) for module in model.modules()),
        buffers=tuple(
            (module, name, buffer, buffer.detach().clone())
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ),
        gradients=tuple((parameter, parameter.grad) for parameter in model.parameters()),
        random=random_states(devices),
        sharded=tuple(module for module in model.modules() if _holds_shards(module)),
    )


def _holds_shards(module: nn.Module) -> TypeGuard[FSDPModule]:
    return isinstance(module, FSDPModule) and any(
        isinstance(parameter, DTensor) for parameter in module.parameters()
    )


def random_states(devices: Iterable[torch.device]) -> RandomStates:
    """The present random states; of CUDA those of the given devices and of the current one."""
    cuda = {device for device in devices if device.type == "cuda"}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        cuda.add(torch.device("cuda", torch.cuda.current_device()))
    return RandomStates(
        cpu=torch.get_rng_state(),
        cuda={device: torch.cuda.get_rng_state(device) for device in cuda},
        python=random.getstate(),
        numpy=np.random.get_state(),  # noqa: NPY002 (the user's code may draw from it)
    )


def _numbers(values: Mapping[str, float | Tensor]) -> dict[str, float]:
    if not isinstance(values, Mapping):
        raise TypeError(f"function: returned {type(values).__name__}, expected numbers by name")
    return {str(name): _number(name, value) for name, value in values.items()}


def _number(name: str, value: float | Tensor) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"function: returned {value!r} as {name!r}, expected one number")


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)
