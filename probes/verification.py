r"""Verification: a toy of known noise scale through the user's own way of training.

The loss of a sample x is ⟨w, x⟩, so its gradient is x itself, drawn from N(μ, σ²·1) with |μ|² = 4
and d·σ² = 64. Whatever wraps the model, reduces, scales, accumulates or clips its gradients, the
probes must find |G|² = 4, tr Σ = 64 and a noise scale of 16.

The ways of training that `ultraslow verify` goes through, started under torchrun.

    python -m torch.distributed.run --standalone --nproc-per-node 4 \
        -m ultraslow.probes.verification 400

prints one JSON object a mode.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from ultraslow.diffusion._validation import count
from ultraslow.diffusion.recording import closed_file, read_file
from ultraslow.probes.distributed import Processes, end_with_torchrun, leave, processes_of
from ultraslow.probes.recorder.attach import attach

GRADIENT_SQ = 4.0
NOISE_TRACE = 64.0
# Standard normal quantile of a two-sided 99.9 % interval: one false alarm in a thousand.
_Z = 3.2905
_FEWEST = 20  # updates
# Low precision rounds gradients; what it shifts the estimates by is not what is looked for.
_TOLERANCE = 0.01


class Toy(nn.Module):
    """⟨w, x⟩ over two layers of unlike sizes; its gradient is the mean of its inputs."""

    def __init__(self, width: int = 1024) -> None:
        """Start at w = 0."""
        super().__init__()
        self.first = nn.Linear(width // 3, 1, bias=False)
        self.second = nn.Linear(width - width // 3, 1, bias=False)
        nn.init.zeros_(self.first.weight)
        nn.init.zeros_(self.second.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """⟨w, x⟩ of inputs `(sample, width)`, `(sample, 1)`."""
        cut = self.first.in_features
        return self.first(inputs[:, :cut]) + self.second(inputs[:, cut:])


@dataclass(frozen=True)
class Check:
    """One quantity: its truth, its estimate, and the 99.9 % interval of the estimate."""

    quantity: str
    truth: float
    estimate: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Whether the truth lies in the interval, widened by 1 % for rounding in low precision."""
        slack = _TOLERANCE * self.truth
        return bool(self.low - slack <= self.truth <= self.high + slack)


@dataclass(frozen=True)
class Verification:
    """What the probes found on the toy.

    Arguments:
        checks: |G|², tr Σ and the noise scale.
        units: units in an update.
        updates: updates with an estimate.
    """

    checks: tuple[Check, ...]
    units: int
    updates: int

    @property
    def passed(self) -> bool:
        """Whether every quantity was found."""
        return all(check.passed for check in self.checks)


def verify(
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    *,
    sizes: Sequence[int] = (16, 16),
    updates: int = 400,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    accumulating: Callable[[nn.Module], AbstractContextManager] | None = None,
    scaler: torch.amp.GradScaler | None = None,
    autocast: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Verification:
    """Train a toy of known noise scale as you train your model, and compare what the probes find.

    Call it on every process, after the process group was made. Gradients are clipped hard, so that
    an estimate from clipped gradients would be far off.

    Arguments:
        wrap: what you do to a model: DistributedDataParallel, `fully_shard`, `torch.compile`, …
        sizes: samples in each microbatch of one process; unequal ones are weighted by their size.
        updates: optimizer steps; 400 determine the noise scale to about 1 %.
        optimizer: makes an optimizer from parameters and `lr`.
        accumulating: context of all microbatches but the last, such as `DDP.no_sync`.
        scaler: gradient scaler of mixed precision.
        autocast: type of automatic mixed precision.
        device: where to train.

    Returns:
        Truth, estimate and interval of |G|², tr Σ and the noise scale, the same on every process;
        NaN where no update gave an estimate, of which the recorder has warned.

    Raises:
        ValueError: for fewer than two units an update over all processes, or fewer updates than
            tell how far estimates scatter.
    """
    if isinstance(sizes, int) or not all(size > 0 for size in sizes):
        raise ValueError(f"sizes: found {sizes}, expected one number above 0 a microbatch")
    count(updates, "updates", least=_FEWEST)
    model = wrap(Toy().to(device))
    if not isinstance(model, nn.Module):
        raise TypeError(f"wrap: returned {type(model).__name__}, expected a module")
    processes = processes_of(model)
    if len(sizes) * processes.size < 2:
        raise ValueError(
            f"sizes: found {tuple(sizes)} on one process, which makes {len(sizes)} units an "
            "update, expected 2 or more: noise is the difference of units"
        )
    stepper = optimizer(model.parameters(), lr=1e-4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "verification"
        size = sum(sizes) * processes.size
        with attach(model, stepper, path, batch_size=size, scaler=scaler, quiet=True) as recorder:
            draw = _inputs(processes.rank, device)
            for _ in range(updates):
                for index, samples in enumerate(sizes):
                    waits = accumulating is not None and index + 1 < len(sizes)
                    with accumulating(model) if waits and accumulating else nullcontext():
                        if len(set(sizes)) > 1:
                            recorder.unit(size=samples, weight=samples / size)
                        with torch.autocast(
                            torch.device(device).type, autocast, enabled=autocast is not None
                        ):
                            loss = model(draw(samples)).float().mean() * samples / sum(sizes)
                        (scaler.scale(loss) if scaler else loss).backward()
                _step(model, stepper, scaler)
        return _shared(_read(path) if processes.writes else None, processes, device)


def _inputs(rank: int, device: torch.device | str) -> Callable[[int], torch.Tensor]:
    """Draws x ~ N(μ, σ²·1), another stream on each process, without the global generator."""
    generator = torch.Generator().manual_seed(rank)
    width = 1024

    def draw(samples: int) -> torch.Tensor:
        noise = torch.randn(samples, width, generator=generator)
        return ((GRADIENT_SQ / width) ** 0.5 + noise * (NOISE_TRACE / width) ** 0.5).to(device)

    return draw


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None
) -> None:
    if scaler is not None:
        scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    optimizer.zero_grad()


def _read(path: Path) -> np.ndarray:
    """Means of |G|² and tr Σ, their covariance, units, updates `(7,)`; NaN without noise."""
    recording, _ = read_file(closed_file(path))
    units = np.nan_to_num(recording["units"].values[-1])  # unknown is none
    if "noise_updates" not in recording or not recording["noise_updates"].any():
        return np.array([np.nan] * 5 + [units, 0.0])
    updates = recording["noise_updates"].values
    total = updates.sum()
    means = [
        np.nansum(recording[name].sum("tensor") * updates) / total
        for name in ("gradient_sq", "noise_trace")
    ]
    freedom = np.maximum(updates - 1, 0)
    spread = [
        np.nansum(recording[name] * freedom) / max(freedom.sum(), 1) / total
        for name in ("gradient_sq_var", "noise_trace_var", "gradient_noise_cov")
    ]
    return np.array([*means, *spread, units, total])


def _shared(
    found: np.ndarray | None, processes: Processes, device: torch.device | str
) -> Verification:
    numbers = torch.zeros(7, dtype=torch.float64, device=device)
    if found is not None:
        numbers += torch.from_numpy(found).to(device)
    g, s, var_g, var_s, cov, units, updates = processes.add(numbers).tolist()
    # Delta method for the ratio B = s/g of means; the updates of the toy are independent.
    ratio = s / g if g > 0 else float("nan")
    error = (var_s - 2 * ratio * cov + ratio**2 * var_g) ** 0.5 / g if g > 0 else 0.0
    checks = (
        _check("|G|²", GRADIENT_SQ, g, var_g**0.5),
        _check("tr Σ", NOISE_TRACE, s, var_s**0.5),
        _check("noise scale", NOISE_TRACE / GRADIENT_SQ, ratio, error),
    )
    return Verification(checks, round(units), round(updates))


def _check(quantity: str, truth: float, estimate: float, error: float) -> Check:
    return Check(quantity, truth, estimate, estimate - _Z * error, estimate + _Z * error)


Mode = Callable[..., Verification]


def modes_alone() -> dict[str, Mode]:
    """Ways of training with one process."""
    here = partial(verify, device=_device())
    compiled = partial(torch.compile, backend="aot_eager")
    return {
        "plain, 2 backward passes": partial(here, sizes=(16, 16)),
        "accumulated, 8 microbatches": partial(here, sizes=(4,) * 8),
        "unequal units": partial(here, sizes=(4, 28)),
        "float16 loss scaling": partial(
            here,
            scaler=torch.amp.GradScaler(_device().type, init_scale=2.0**12),
            autocast=torch.float16,
        ),
        "torch.compile": partial(here, compiled),
    }


def modes_together() -> dict[str, Mode]:
    """Ways of training with several processes; HSDP only where they make a square."""
    here = partial(verify, device=_device())
    mesh = init_device_mesh(_device().type, (dist.get_world_size(),))
    sharded = partial(_shard, mesh=mesh)
    bfloat = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    modes: dict[str, Mode] = {
        "DDP": partial(here, DistributedDataParallel, sizes=(16,)),
        "DDP, no_sync": partial(
            here, DistributedDataParallel, sizes=(8, 8), accumulating=lambda m: m.no_sync()
        ),
        "torch.compile of DDP": partial(here, _compiled, sizes=(16,)),
        "DDP, own comm hook (fp16)": partial(here, _compressed, sizes=(16,)),
        "FSDP2": partial(here, sharded, sizes=(16,)),
        "FSDP2, accumulated": partial(here, sharded, sizes=(8, 8), accumulating=_without_sync),
        "FSDP2, bfloat16": partial(here, partial(sharded, mp_policy=bfloat), sizes=(16,)),
    }
    if dist.get_world_size() == 4:
        names = ("replicate", "shard")
        square = init_device_mesh(_device().type, (2, 2), mesh_dim_names=names)
        modes["HSDP, 2×2"] = partial(here, partial(_shard, mesh=square), sizes=(16,))
    return modes


def _compiled(model: nn.Module) -> nn.Module:
    """A wrapped module, compiled."""
    compiled: Any = torch.compile(DistributedDataParallel(model), backend="aot_eager")
    return compiled


def _compressed(model: nn.Module) -> DistributedDataParallel:
    """A module whose own communication hook halves what is sent."""
    wrapped = DistributedDataParallel(model)
    wrapped.register_comm_hook(None, fp16_compress_hook)
    return wrapped


def _shard(model: nn.Module, **options: Any) -> nn.Module:
    """Shard a part of the model as a group of its own, then the rest."""
    fully_shard(model.first, **options)  # type: ignore[arg-type]
    fully_shard(model, **options)
    return model


@contextmanager
def _without_sync(model: nn.Module) -> Iterator[None]:
    assert isinstance(model, FSDPModule)
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def main(updates: int) -> None:
    """Run every mode that fits the number of processes; rank 0 prints."""
    end_with_torchrun()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    modes = modes_together() if dist.get_world_size() > 1 else modes_alone()
    for name, mode in modes.items():
        found = mode(updates=updates)
        if dist.get_rank() == 0:
            print(json.dumps({"mode": name, **asdict(found), "passed": found.passed}), flush=True)
    leave()


if __name__ == "__main__":
    main(int(sys.argv[1]))
