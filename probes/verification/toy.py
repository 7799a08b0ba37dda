"""A toy of known noise scale through the user's own way of training.

The loss of a sample x is ⟨w, x⟩, so its gradient is x itself, drawn from N(μ, σ²·1) with |μ|² = 4
and d·σ² = 64. Whatever wraps the model, reduces, scales, accumulates or clips its gradients, the
probes must find |G|² = 4, tr Σ = 64 and a noise scale of 16.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ultraslow.diffusion._validation import count
from ultraslow.diffusion.recording import closed_file, read_file
from ultraslow.probes.distributed import Processes, processes_of
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


def verify_toy(
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
        recorder = attach(
            model, stepper, path, batch_size=size, scaler=scaler, processes=False, quiet=True
        )
        with recorder:
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
