"""Critical batch size: where a larger batch stops saving iterations, from runs at several sizes.

To a target loss a batch of M samples takes S = S_min·(1 + M_crit/M) iterations and E = M·S
samples, so that (S/S_min − 1)(E/E_min − 1) = 1 with M_crit = E_min/S_min. It is measured by
training at several batch sizes and is another quantity than the noise scale tr Σ/|G|², which is
read off the gradients of one run; whether the two agree is for data to say.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .curves import differences, label
from .held_out import rate_of
from .hyperbola import Hyperbola, fit_hyperbola
from .text import interval, number, plural

Array = NDArray[np.float64]

SIZES = 3  # two parameters, and one more to see whether they fit
SEEDS = 4
MISFIT = 0.01  # p-value below which the hyperbola is said not to fit
# The loss is averaged over this width of ln t, a tenth of a decade either way.
_WIDTH = 0.23


@dataclass(frozen=True)
class CriticalBatch:
    """A critical batch size with its interval, or why there is none.

    Attributes:
        estimate: M_crit, samples; NaN where there is none.
        low: lower end of the interval; 0 where nothing bounds it.
        high: upper end; infinite where nothing bounds it.
        fewest_steps: S_min, iterations.
        target: the loss that is reached.
        steps: mean iterations to the target by batch size.
        seeds: seeds that entered.
        status: `ok`, `unbounded`, `misfit` or `missing`.
        reason: why it is not `ok`; empty otherwise.
        notes: what to know of it, in sentences.
    """

    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    fewest_steps: float = math.nan
    target: float = math.nan
    steps: Mapping[int, float] | None = None
    seeds: int = 0
    status: str = "missing"
    reason: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.status == "missing":
            return f"no critical batch size: {self.reason}"
        ends = interval(self.low, self.high)
        return f"critical batch size {number(self.estimate)} {ends}, to loss {number(self.target)}"


def critical_batch(
    runs: Mapping[str, xr.Dataset],
    *,
    target: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> CriticalBatch:
    """The critical batch size of a set of runs.

    Each batch size is taken at the learning rate with the fewest iterations. For the interval see
    `hyperbola.fit_hyperbola`.

    References:
        McCandlish, Kaplan, Amodei et al. (2018), An Empirical Model of Large-Batch Training.

    Arguments:
        runs: recordings by node name that differ by batch size, learning rate and seed.
        target: training loss to reach; by default the lowest that every run reaches.
        level: confidence level.
        seed: of the bootstrap.

    Returns:
        The estimate, or the status `missing` with the reason.
    """
    measured = {name: run for name, run in runs.items() if "loss" in run}
    if not measured:
        return CriticalBatch(reason="no run recorded its loss")
    unlike = differences(measured.values())
    if unlike:
        return CriticalBatch(reason=f"the runs differ in {'; '.join(unlike)}")
    aim = common_target(measured) if target is None else target
    table, notes = _table(measured, aim)
    if len(table) < SIZES:
        reached = ", ".join(map(str, sorted(table))) or "none"
        reason = (
            f"{SIZES} batch sizes with {SEEDS} seeds must reach loss {number(aim)}, and those "
            f"that do are {reached}"
        )
        return CriticalBatch(target=aim, reason=reason, notes=notes)
    everyone = [set(seeds) for rates in table.values() for seeds in rates.values()]
    shared = sorted(set.intersection(*everyone), key=str)
    if len(shared) < SEEDS:
        reason = f"{len(shared)} seeds are shared by all batch sizes, {SEEDS} are needed"
        return CriticalBatch(target=aim, reason=reason, notes=notes)
    sizes = np.array(sorted(table), dtype=np.float64)
    logs = [
        np.log([[seeds[s] for s in shared] for seeds in table[int(size)].values()])
        for size in sizes
    ]
    fit = fit_hyperbola(sizes, logs, level=level, rng=np.random.default_rng(seed))
    fastest = [float(np.exp(rates.mean(axis=1).min())) for rates in logs]
    steps = dict(zip(sorted(table), fastest, strict=True))
    found = CriticalBatch(target=aim, notes=notes, steps=steps, seeds=len(shared))
    return _judged(fit, found)


def common_target(runs: Mapping[str, xr.Dataset]) -> float:
    """The lowest loss that every run reaches: the highest of their lowest smoothed losses."""
    lowest = [float(np.min(smoothed(run)[1], initial=math.inf)) for run in runs.values()]
    finite = [value for value in lowest if math.isfinite(value)]
    return max(finite, default=math.nan)


def smoothed(run: xr.Dataset) -> tuple[Array, Array]:
    """The training loss over time, averaged over a fifth of a decade.

    A record holds the mean loss of its window, which is taken to be the loss at the window's
    middle; windows are weighted by their updates.

    Arguments:
        run: a recording with a loss.

    Returns:
        Iterations and losses, shape (window,) each.
    """
    iteration, loss = run["iteration"].values.astype(np.float64), run["loss"].values
    middle = (iteration + np.concatenate([[0.0], iteration[:-1]]) + 1) / 2
    updates = np.diff(iteration, prepend=0.0)
    known = (iteration >= 1) & np.isfinite(loss)
    time, value, weight = np.log(middle[known]), loss[known], updates[known]
    near = np.abs(time[:, None] - time) <= _WIDTH
    means = (near * weight) @ value / np.maximum(near @ weight, 1e-300)
    # What is averaged lies at the mean ln t of its windows, not at the middle one.
    centres = (near * weight) @ time / np.maximum(near @ weight, 1e-300)
    return np.exp(centres), means


def steps_to(run: xr.Dataset, target: float) -> float:
    """Iterations until the smoothed loss first reaches a target, linear in ln t between windows.

    Arguments:
        run: a recording with a loss.
        target: the loss.

    Returns:
        Iterations; NaN when it is never reached.
    """
    time, loss = smoothed(run)
    below = np.flatnonzero(loss <= target)
    if not below.size:
        return math.nan
    k = int(below[0])
    if k == 0:
        return float(time[0])
    share = (loss[k - 1] - target) / (loss[k - 1] - loss[k])
    return float(math.exp((1 - share) * math.log(time[k - 1]) + share * math.log(time[k])))


# Iterations to the target by learning rate and seed.
_Steps = dict[float, dict[object, float]]


def _table(
    runs: Mapping[str, xr.Dataset], target: float
) -> tuple[dict[int, _Steps], tuple[str, ...]]:
    """Iterations to the target by batch size, and what was left out."""
    steps: dict[int, _Steps] = {}
    for name, run in runs.items():
        rates = steps.setdefault(int(run["batch_size"].values), {})
        seed, found = label(run, "seed", name), steps_to(run, target)
        rates.setdefault(rate_of(run), {}).setdefault(seed, found)
    reached = {size: _reached(rates) for size, rates in sorted(steps.items())}
    notes = [_left_out(size, steps[size]) for size, rates in reached.items() if not rates]
    notes += [
        f"batch size {size} was run at one learning rate and is not tuned"
        for size, rates in reached.items()
        if rates and len(steps[size]) == 1
    ]
    return {size: rates for size, rates in reached.items() if rates}, tuple(notes)


def _reached(rates: _Steps) -> _Steps:
    """The rates at which every run, of seeds enough, reached the target."""
    return {
        rate: seeds
        for rate, seeds in rates.items()
        if len(seeds) >= SEEDS and all(map(math.isfinite, seeds.values()))
    }


def _left_out(size: int, rates: _Steps) -> str:
    missed = sum(math.isnan(steps) for seeds in rates.values() for steps in seeds.values())
    if missed:
        return f"batch size {size} left out: {plural(missed, 'run')} did not reach the target"
    return f"batch size {size} left out: fewer than {SEEDS} seeds"


def _judged(fit: Hyperbola, found: CriticalBatch) -> CriticalBatch:
    """The result with its status: whether the curve fits and its size is bounded."""
    found = replace(
        found,
        estimate=fit.critical,
        low=fit.low,
        high=fit.high,
        fewest_steps=fit.fewest_steps,
        status="ok",
    )
    if fit.misfit < MISFIT:
        reason = f"the iterations follow no hyperbola (lack of fit, p = {number(fit.misfit, 2)})"
        return replace(found, status="misfit", reason=reason)
    if not fit.low or math.isinf(fit.high):
        side = "below" if not fit.low else "above"
        reason = f"the batch sizes run do not bound it {side}"
        return replace(found, status="unbounded", reason=reason)
    return found
