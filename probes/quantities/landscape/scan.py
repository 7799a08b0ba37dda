"""Landscape: loss differences ΔL(r·v) around the present weights, along directions v of a kind.

The directions are those of `directions`, of Euclidean length 1, so a radius is a distance.
`scan` moves the weights, evaluates, and puts everything back bit for bit; the statistics over
directions are those of `diffusion.walks.roughness`.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ultraslow.diffusion._validation import count
from ultraslow.probes.distributed import Processes, local, processes_of
from ultraslow.probes.norms import squared_distances
from ultraslow.probes.quantities.evaluation import ModelState, undisturbed

from .directions import Ensemble, unit_direction

Array = NDArray[np.float64]
Evaluate = Callable[[], float | Tensor]
Mode = Literal["train", "eval"]


@dataclass(frozen=True)
class DirectionScan:
    """Loss differences along the directions of one ensemble.

    Arguments:
        ensemble: name of the ensemble.
        mode: of the model while it was evaluated; decides which statistics batch normalization
            uses, and whether dropout acts.
        radius: r asked for `(radius,)`.
        distance: how far the weights were moved `(radius, direction)`; differs from r where
            weights of low precision round the step away.
        difference: signed ΔL, mean over processes `(radius, direction)`.
        loss: L at the present weights.
        noise_floor: standard deviation of a difference at r = 0, from repeated evaluations; at
            least one unit of rounding of L in the precision of the weights.
    """

    ensemble: str
    mode: Mode
    radius: Array
    distance: Array
    difference: Array
    loss: float
    noise_floor: float


@torch.no_grad()
def scan(
    model: nn.Module,
    evaluate: Evaluate,
    ensemble: Ensemble,
    *,
    radii: Sequence[float],
    directions: int,
    generator: torch.Generator,
    mode: Mode,
    repeats: int = 3,
    processes: Processes | None = None,
) -> DirectionScan:
    """Loss differences at the given radii along some directions of an ensemble.

    Every evaluation meets the same buffers and random numbers, so that differences come from the
    weights alone. Weights, buffers, gradients, training flags and random states are as before
    afterwards, also when `evaluate` raises.

    Arguments:
        model: the model that `evaluate` uses.
        evaluate: gives the loss of a fixed batch, one value. It must not communicate with other
            processes, other than sharded weights do by themselves: under DistributedDataParallel
            it calls the unwrapped module. With sharded weights it fails on all processes or none.
        ensemble: the kind of directions.
        radii: r, Euclidean distances, not 0; negative ones go the opposite way.
        directions: number of directions.
        generator: draws them; with several processes, in the same state on each.
        mode: in which the model is evaluated. In `train`, batch normalization uses the batch, and
            its running statistics are put back.
        repeats: evaluations at r = 0.
        processes: whose losses are averaged, each on its own batch; all of them call this. Those
            of the model when None.

    Returns:
        Signed differences at every radius and direction.

    Raises:
        ValueError: when an argument is out of range, a direction has no length, or processes drew
            different directions.
        RuntimeError: when `evaluate` failed on another process.
    """
    plan = _Plan(np.asarray(radii, dtype=np.float64), directions, generator, mode, repeats)
    _check(plan, ensemble)
    group = processes or processes_of(model)
    failure = None
    try:
        measured = _measure(model, evaluate, ensemble, plan, group)
    except Exception as error:  # the other processes wait in the collective
        if group.size == 1:
            raise
        failure, measured = error, _nothing(plan, ensemble.parameters[0].device)
    losses, distance = _averaged(measured, failure, group)
    base, moved = losses[:repeats], losses[repeats:].reshape(directions, -1).T
    with np.errstate(invalid="ignore"):  # an infinite loss at r = 0 leaves no difference
        return DirectionScan(
            ensemble=ensemble.name,
            mode=mode,
            radius=plan.radius,
            distance=distance.reshape(directions, -1).T,
            difference=moved - base.mean(),
            loss=float(base.mean()),
            noise_floor=_noise_floor(base, ensemble.parameters),
        )


@dataclass(frozen=True)
class _Plan:
    radius: Array
    directions: int
    generator: torch.Generator
    mode: Mode
    repeats: int


@dataclass(frozen=True)
class _Measured:
    """What one process finds: losses at r = 0 and then by direction and radius, on the device.

    `distance_sq` is of this process's weights. `marks` has one number a direction, from which it
    shows whether processes drew the same.
    """

    losses: Tensor
    distance_sq: Tensor
    marks: Tensor


def _measure(
    model: nn.Module,
    evaluate: Evaluate,
    ensemble: Ensemble,
    plan: _Plan,
    processes: Processes,
) -> _Measured:
    # Through `data`, which leaves alone the version that a pending backward pass checks.
    parameters = [local(p.data) for p in ensemble.parameters]
    saved = [p.clone() for p in parameters]
    squares, marks = [], []
    with undisturbed(model) as state:
        try:
            losses = [_loss(model, evaluate, state, plan.mode)]
            for index in range(plan.directions):
                direction = unit_direction(ensemble, index, plan.generator, processes=processes)
                marks.append(_mark(direction, plan.generator, processes))
                for r in plan.radius.tolist():
                    _move(parameters, saved, direction, r)
                    squares.append(squared_distances(parameters, saved)[0].sum())
                    losses.append(_loss(model, evaluate, state, plan.mode))
                _put_back(parameters, saved)  # the next direction may look at the weights
            again = [_loss(model, evaluate, state, plan.mode) for _ in range(plan.repeats - 1)]
        finally:
            _put_back(parameters, saved)
    return _Measured(
        losses=torch.stack(
            [loss.to(parameters[0].device) for loss in losses[:1] + again + losses[1:]]
        ),
        distance_sq=torch.stack(squares),
        marks=torch.stack(marks),
    )


def _loss(model: nn.Module, evaluate: Evaluate, state: ModelState, mode: Mode) -> Tensor:
    """The loss in the stated mode, from the buffers and random numbers that there were."""
    state.rewind()
    model.train(mode == "train")
    # Inside autocast, weights cast before they were moved would be used again.
    torch.clear_autocast_cache()
    value = torch.as_tensor(evaluate()).detach()
    if value.numel() != 1:
        raise ValueError(f"evaluate: returned shape {tuple(value.shape)}, expected one value")
    if model.training != (mode == "train"):
        raise ValueError(f"evaluate: changed the mode of the model, expected it to stay {mode!r}")
    return value.double().reshape(())


def _move(
    parameters: Sequence[Tensor], saved: Sequence[Tensor], direction: Sequence[Tensor], r: float
) -> None:
    """Set the parameters to w + r·v."""
    for p, w, v in zip(parameters, saved, direction, strict=True):
        p.copy_(torch.add(w.to(v.dtype), v, alpha=r))


def _mark(direction: Sequence[Tensor], generator: torch.Generator, processes: Processes) -> Tensor:
    """A number that two different directions hardly share; of parts, what drew them."""
    if processes.sharded:
        state = zlib.crc32(generator.get_state().numpy().tobytes()) / 2**32
        return direction[0].new_tensor(state, dtype=torch.float64)
    return torch.stack([part.sum(dtype=torch.float64) for part in direction]).sum()


def _put_back(parameters: Sequence[Tensor], saved: Sequence[Tensor]) -> None:
    for p, w in zip(parameters, saved, strict=True):
        p.copy_(w)
    torch.clear_autocast_cache()


def _nothing(plan: _Plan, device: torch.device) -> _Measured:
    moved = plan.radius.size * plan.directions
    sizes = (plan.repeats + moved, moved, plan.directions)
    return _Measured(*(torch.zeros(n, dtype=torch.float64, device=device) for n in sizes))


def _averaged(
    measured: _Measured, failure: Exception | None, processes: Processes
) -> tuple[Array, Array]:
    """Losses, averaged over processes in one collective, and distances; all fail together."""
    marks, squares = measured.marks, measured.distance_sq
    failed = marks.new_tensor([float(failure is not None)])
    sent = torch.cat([squares, failed, measured.losses, marks, marks**2])
    distance_sq, rest = np.split(processes.add(sent).cpu().numpy(), [len(squares)])
    mean = rest / processes.size
    if failure is not None:
        raise failure
    if mean[0] > 0:
        raise RuntimeError("evaluate: failed on another process")
    losses, marks_mean, marks_sq = np.split(mean[1:], [len(measured.losses), -len(marks)])
    if np.any(marks_sq - marks_mean**2 > 1e-9 * (1 + marks_sq)):
        raise ValueError("generator: processes drew different directions, expected the same")
    return losses, np.sqrt(distance_sq / processes.copies)


def _noise_floor(base: Array, parameters: Sequence[Tensor]) -> float:
    """The standard deviation of L − mean(L) at r = 0, at least a unit of rounding of L."""
    spread = np.std(base, ddof=1) * np.sqrt(1 + 1 / len(base))
    rounding = max(torch.finfo(p.dtype).eps for p in parameters) * abs(base.mean())
    return float(max(spread, rounding))


def _check(plan: _Plan, ensemble: Ensemble) -> None:
    radius = plan.radius
    if radius.ndim != 1 or not radius.size or not np.all(np.isfinite(radius) & (radius != 0)):
        raise ValueError(f"radii: found {radius}, expected finite distances other than 0")
    most = np.inf if ensemble.limit is None else ensemble.limit
    if count(plan.directions, "directions") > most:
        raise ValueError(f"directions: found {plan.directions}, expected at most {ensemble.limit}")
    count(plan.repeats, "repeats", least=2)
    if plan.mode not in ("train", "eval"):
        raise ValueError(f"mode: found {plan.mode!r}, expected 'train' or 'eval'")
    if plan.generator in (torch.default_generator, *torch.cuda.default_generators):
        # Its state is put back before every evaluation: all directions would be the same.
        raise ValueError("generator: found torch's default generator, expected one of its own")
