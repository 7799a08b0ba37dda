"""The set of growth laws that the predictions leave standing.

A model confidence set holds the law that predicts best with a stated probability. It starts from
all laws and drops the worst one for as long as a test of equal errors rejects, with the null
distribution of the test from a bootstrap. Where there are several runs they are what is drawn
from; with one run only its origins can be, which overlap, and the set then describes that run.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.intervals import SEEDS

from .forecast import Forecasts

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ConfidenceSet:
    """Laws not shown to predict worse than the best.

    Attributes:
        surviving: their names.
        p_values: of every law: the smallest error at which it leaves the set.
        sample: what was drawn from, `runs` or `origins`.
        level: probability that the best law is in the set, for many draws from the sample.
        reason: how far to trust it, or empty.
    """

    surviving: tuple[str, ...]
    p_values: dict[str, float]
    sample: str
    level: float
    reason: str


def confidence_set(
    forecasts: Forecasts, *, horizon: float, level: float = 0.9, draws: int = 2000, seed: int = 0
) -> ConfidenceSet:
    """Model confidence set of the laws at one horizon.

    The loss is the squared error of prediction over the growth up to the origin, averaged over
    origins for each run. The bootstrap is only as good as the sample is large: with a handful of
    runs it drops the best law more often than 1 − level (tests/statistics measures how often), and
    `forecast.surviving_laws`, which rests on t tests, is the safer one.

    References:
        Hansen, Lunde and Nason (2011), Econometrica 79, 453; `arch.bootstrap.MCS`.

    Arguments:
        forecasts: as returned by `forecast.rolling_origin`.
        horizon: one of its horizons.
        level: probability that the best law is in the set.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The set.

    Raises:
        ModuleNotFoundError: without the package `arch`.
        ValueError: when the horizon was not forecast, or no record lay that far; with fewer than
            two laws, or two that predict the same; with fewer than 4 runs, when fewer than 8
            origins have records that far.
    """
    if find_spec("arch") is None:
        raise ModuleNotFoundError("confidence sets need the package `arch`: pip install arch")
    losses, sample, block = _sample(forecasts, horizon)
    _check_distinct(forecasts.laws, losses)
    bootstrap = import_module("arch.bootstrap")
    result = bootstrap.MCS(
        losses, 1 - level, reps=draws, block_size=block, bootstrap="circular", seed=seed
    )
    result.compute()
    numbers = result.pvalues["Pvalue"]
    p_values = {name: float(numbers[index]) for index, name in enumerate(forecasts.laws)}
    kept = tuple(name for name, p in p_values.items() if p > 1 - level)
    return ConfidenceSet(kept, p_values, sample, level, _reason(sample, losses.shape[0]))


def _check_distinct(laws: tuple[str, ...], losses: Array) -> None:
    """Two laws at least, no two of which predict the same, which no test could tell apart."""
    if len(laws) < 2:
        raise ValueError(f"forecasts: found {len(laws)} law, expected two or more")
    for first, second in combinations(range(len(laws)), 2):
        if np.array_equal(losses[:, first], losses[:, second]):
            raise ValueError(
                f"forecasts: {laws[first]!r} and {laws[second]!r} predict the same, expected laws "
                "that differ"
            )


def _sample(forecasts: Forecasts, horizon: float) -> tuple[Array, str, int]:
    """Losses (draw, law), what is drawn, and the block length."""
    errors = forecasts.at(horizon)
    if errors.shape[1] >= SEEDS:
        squares = forecasts.by_origin[..., forecasts.horizons.index(horizon)] ** 2
        return np.nanmean(squares, axis=2).T, "runs", 1
    losses = forecasts.by_origin[:, :, :, forecasts.horizons.index(horizon)] ** 2
    known = np.isfinite(losses).all(axis=(0, 1))
    if known.sum() < 8:
        raise ValueError(
            f"forecasts: found {errors.shape[1]} run(s) and {int(known.sum())} origins with "
            f"records {horizon:g} times further, expected {SEEDS} runs or 8 origins"
        )
    # Predictions from neighbouring origins share most of their records.
    return losses[:, :, known].mean(axis=1).T, "origins", max(2, round(known.sum() ** 0.5))


def _reason(sample: str, size: int) -> str:
    if sample == "origins":
        return f"drawn from {size} overlapping origins: it describes these runs, not their like"
    return f"drawn from {size} runs: the best law is dropped too often" if size < 10 else ""
