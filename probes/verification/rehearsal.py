"""Verification in the user's own run: a few updates, recorded and computed a second time.

The user's step trains the user's model with a recorder attached, while `Reference` and the
difference of weights in float64 say what the recording has to hold. Then everything is put back.
"""

import inspect
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ultraslow.diffusion._validation import count
from ultraslow.diffusion.recording import closed_file, read_file
from ultraslow.probes.distributed import Processes, local, parameter_names
from ultraslow.probes.recorder.attach import attach
from ultraslow.probes.recorder.recorder import Recorder

from .agreement import Found, Rehearsal, judged
from .kept import without_trace
from .reference import Reference

# Calls of the step for an update: one may be a pass of several, or skipped by mixed precision.
_EARLY = "goes beyond the last iteration"  # what recorders say at the end of so short a training
_PATIENCE = 30


def rehearse(
    step: Callable[..., object],
    model: nn.Module,
    optimizer: Any,
    *,
    batch_size: int,
    updates: int = 3,
    quiet: bool = False,
    **options: Any,
) -> Rehearsal:
    """Train a few updates of a run, and compare what is recorded with a slow computation.

    See `verify`, which hands on its arguments.
    """
    count(updates, "updates", least=1)
    with without_trace() as consumed:
        found = _trained(step, model, optimizer, batch_size, updates, options)
    result = judged(found, consumed)
    if found.processes.writes and not quiet:
        print(result)
    return result


def _trained(
    step: Callable[..., object],
    model: nn.Module,
    optimizer: Any,
    batch_size: int,
    updates: int,
    options: Mapping[str, Any],
) -> Found:
    named = parameter_names(model)
    parameters = list(named.values())
    initial = [_exact(p) for p in parameters]
    fixed: dict[str, Any] = {"quiet": True, "close_on_sigterm": False, "flush_seconds": math.inf}
    fixed |= {"schedule": range(updates + 1)}
    distances, truths = [], []
    rows, seen, parts = list[int](), list[float](), tuple[int, ...]()
    with tempfile.TemporaryDirectory() as folder, _hearing() as said:
        path = Path(folder) / "verification"
        with attach(model, optimizer, path, batch_size=batch_size, **options, **fixed) as recorder:
            processes = recorder._processes
            reference = Reference(parameters, processes, batch_size, lambda: recorder.iteration)
            call = _called(step, _Told(recorder, reference, list(named)))
            with reference.watching(), _counting_rows(model, rows):
                for _ in range((updates + 1) * _PATIENCE):
                    made = -recorder.iteration
                    call()
                    made += recorder.iteration
                    if made == 1:
                        truths.append(reference.end_update())
                        distances.append(_distance_sq(parameters, initial, processes))
                        seen.append(math.nan if reference.merged else float(sum(rows)))
                        parts = tuple(rows)
                        rows.clear()
                    if made > 1 or len(truths) == updates:
                        break
        recorded = _read(path, len(truths), parameters, processes)
    everywhere = torch.tensor(seen, dtype=torch.float64, device=parameters[0].device)
    return Found(
        processes=processes,
        recorded=recorded,
        distances=distances,
        truths=truths,
        made=made,
        rows=processes.add(everywhere).tolist(),
        parts=parts,
        reference=reference,
        rounded=_is_rounded(model, parameters),
        said=tuple(said),
    )


class _Told:
    """The recorder as the step sees it: what it is told of units is heard by the reference too."""

    def __init__(self, recorder: Recorder, reference: Reference, names: Sequence[str]) -> None:
        self._names = names
        self._recorder = recorder
        self._reference = reference

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)

    def unit(self, *, size: float, weight: float | None = None) -> None:
        self._reference.declare(size, weight)
        self._recorder.unit(size=size, weight=weight)

    def gradients(self, gradients: Mapping[str, Tensor] | Sequence[Tensor | None]) -> None:
        if isinstance(gradients, Mapping):
            self._reference.give([gradients.get(name) for name in self._names])
        else:
            self._reference.give(gradients)
        self._recorder.gradients(gradients)

    @contextmanager
    def one_unit(self) -> Iterator[None]:
        with self._reference.one_unit(), self._recorder.one_unit():
            yield

    @contextmanager
    def unmeasured(self) -> Iterator[None]:
        with self._reference.unmeasured(), self._recorder.unmeasured():
            yield


def _called(step: Callable[..., object], told: _Told) -> Callable[[], object]:
    """The step, given the recorder where it takes an argument."""
    needed = [
        one
        for one in inspect.signature(step).parameters.values()
        if one.default is one.empty
        and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return (lambda: step(told)) if needed else step


@contextmanager
def _hearing() -> Iterator[list[str]]:
    """Collect what recorders warn of; other warnings go on."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield said
        finally:
            heard = list(caught)
    for warning in heard:
        text = str(warning.message)
        if text.startswith("recording "):
            said += [text.partition(": ")[2]] * (_EARLY not in text)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


@contextmanager
def _counting_rows(model: nn.Module, rows: list[int]) -> Iterator[None]:
    """Collect the first length of what the model is called with, where gradients are wanted."""

    def count_rows(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        tensors = [one for one in (*arguments, *named.values()) if isinstance(one, Tensor)]
        if tensors and tensors[0].ndim and torch.is_grad_enabled():
            rows.append(len(tensors[0]))

    handle = model.register_forward_pre_hook(count_rows, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _is_rounded(model: nn.Module, parameters: Sequence[Tensor]) -> bool:
    """Whether gradients have 16 bits, or a communication hook that may round them."""
    wrapper = getattr(model, "_orig_mod", model)  # what torch.compile was given
    halves = any(p.dtype in (torch.float16, torch.bfloat16) for p in parameters)
    return halves or bool(getattr(wrapper, "_comm_hooks", ()))


def _exact(parameter: Tensor) -> Tensor:
    return local(parameter.detach()).to("cpu", torch.float64, copy=True)


def _distance_sq(
    parameters: Sequence[Tensor], initial: Sequence[Tensor], processes: Processes
) -> Tensor:
    """‖w − w0‖² `(tensor,)`, over the processes that hold parts."""
    moved = [(_exact(p) - w0).square().sum() for p, w0 in zip(parameters, initial, strict=True)]
    return processes.add_parts(torch.stack(moved).to(parameters[0].device)).cpu()


def _read(path: Path, updates: int, parameters: Sequence[Tensor], processes: Processes) -> Tensor:
    """What rank 0 recorded, on every process."""
    tensors = len(parameters)
    found = torch.zeros(updates, 4 * tensors + 2, dtype=torch.float64)
    if processes.writes and updates:
        recording, _ = read_file(closed_file(path))
        names = ("distance_sq", "mean_sq", "gradient_sq", "noise_trace")
        rows = slice(1, updates + 1)
        parts = [
            torch.from_numpy(recording[name].values[rows].copy())
            if name in recording
            else torch.full((updates, tensors), torch.nan)
            for name in names
        ]
        units = torch.from_numpy(recording["units"].values[rows].copy())
        samples = torch.from_numpy(recording["samples"].values[: updates + 1].copy()).diff()
        found += torch.cat([*parts, units[:, None], samples[:, None]], dim=1)
    return processes.add(found.to(parameters[0].device)).cpu()
