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

from ultraslow.probes.buffer import Values, schedule_of, sparse

from .quantity import Quantity, Subject

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

    The first exception in it ends the evaluation, and no training; `failed` then says why.
    """

    def __init__(
        self,
        function: Function,
        schedule: Sequence[int] | NDArray[np.integer] | None = None,
        *,
        metrics: Sequence[str] = ("loss", "accuracy"),
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
        """
        if not callable(function):
            raise TypeError(f"function: found {type(function).__name__}, expected a function")
        if isinstance(metrics, str) or len(set(metrics)) < len(metrics) or not metrics:
            raise ValueError(f"metrics: found {metrics!r}, expected different names")
        self.metrics = tuple(map(str, metrics))
        self.schedule = sparse() if schedule is None else schedule_of(schedule)
        self.failed = ""
        self.nonfinite: Counter[str] = Counter()
        self._function = function
        self._strangers = False

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Call the function, and leave the model and the random states as they were.

        Arguments:
            model: the model, as the function takes it.

        Returns:
            Finite numbers by name. Those that are not finite are left out and counted in
            `nonfinite`.
        """
        try:
            with undisturbed(model), torch.no_grad():
                model.eval()
                values = _numbers(self._function(model))
        except Exception as error:
            self.failed = repr(error)
            raise
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
            warnings.warn(
                f"the evaluation returned {strangers}, which are not recorded: metrics are "
                f"{list(self.metrics)}",
                RuntimeWarning,
                stacklevel=2,
            )
        return np.array([values.get(name, np.nan) for name in self.metrics])


class EvaluationProbe(Quantity):
    """The numbers of the user's evaluation."""

    fields = ("held_out",)
    called = "evaluation"
    at_close = True

    def __init__(self, subject: Subject, settings: Evaluation) -> None:
        """Measure as the evaluation says; it may have failed in an earlier run."""
        super().__init__(subject, settings)
        self.schedule = settings.schedule
        self.failed = settings.failed
        self._evaluation = settings

    def axes(self) -> dict[str, Any]:
        """Names of the numbers."""
        return {"metric": list(self._evaluation.metrics)}

    def snapshot(self, iteration: int) -> Values:
        """The numbers `(metric,)`. Where the function fails on one process, it is the last time.

        The others would wait in a later call, where it communicates.
        """
        values: dict[str, float] = {}
        fault = None
        try:
            values = self._evaluation.measure(self.subject.module)
        except Exception as error:
            fault = error
        if self.subject.processes.size > 1:
            failed = torch.tensor(float(fault is not None), device=self.subject.device)
            if self.subject.processes.add(failed) > 0:
                self._evaluation.failed = self._evaluation.failed or "on another process"
                self.failed = self._evaluation.failed
        if fault is not None:
            raise fault
        return {"held_out": self._evaluation.row(values)}

    def nothing(self) -> Values:
        """NaN for every number."""
        return {"held_out": self._evaluation.row({})}


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
