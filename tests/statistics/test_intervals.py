"""How often intervals of the exponent miss, on either side; writes intervals_table.md.

Noises that wander smoothly, walks whose steps grow, schedules even in t, few and many records, and
onsets up to half of the iterations, beside the eight noises of test_growth_calibration. The seeds
are other ones than those that the factors of critical values were chosen with.
"""

import subprocess
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from test_p1_rule import spaced

from ultraslow.analysis.growth.fit import GridFit, fit_grid
from ultraslow.analysis.growth.grids import gapped_grid, thinned, time_grid
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise
from ultraslow.analysis.growth.status import WEAK_SIGNAL, Settings
from ultraslow.diffusion.laws import growth_regressor

pytestmark = pytest.mark.slow

COUNT = 24  # a design, noise and truth
DRAWS = 400
SCALES = (0.003, 0.015)  # of the noise, shares of the growth
TABLE = Path(__file__).with_name("intervals_table.md")


DESIGNS = {
    "60 records to 30,000": spaced(3e4, 60),
    "25 records to 20,000": spaced(2e4, 25),
    "400 records to 60,000": spaced(6e4, 400),
    "500 records even in t": np.arange(1.0, 501.0) * 40,
}
# Exponent, and onset over the last iteration.
TRUTHS = {"log": (0.0, 0.0), "√t": (0.5, 0.0), "log, T/30": (0.0, 1 / 30)}
TRUTHS |= {"log, T/5": (0.0, 0.2), "log, T/2": (0.0, 0.5), "√t, T/5": (0.5, 0.2)}
EARLY = ("log", "√t", "log, T/30")


def fractional(times, count, rng, hurst):
    """A fractional walk in ln t that begins at the first record."""
    clock = np.log(times / times[0])
    clock = (clock + clock[-1] / times.size) / clock[-1]
    lag = np.abs(clock[:, None] - clock)
    ends = clock[:, None] ** (2 * hurst) + clock ** (2 * hurst)
    covariance = (ends - lag ** (2 * hurst)) / 2 + 1e-12 * np.eye(times.size)
    return rng.standard_normal((count, times.size)) @ np.linalg.cholesky(covariance).T


def growing_steps(times, count, rng):
    """A walk in ln t whose steps become four times as large."""
    clock = np.log(times / times[0]) / np.log(times[-1] / times[0])
    size = np.sqrt(np.diff(clock)) * 4 ** ((clock[1:] + clock[:-1]) / 2)
    walk = np.cumsum(rng.standard_normal((count, size.size)) * size, axis=1)
    return np.pad(walk, ((0, 0), (1, 0))) / np.sqrt(np.sum(size**2))


def noises(times):
    """Functions of times, a count and a source of random numbers."""
    log_range = np.log(times[-1] / times[0])

    def length(rho):
        return -log_range / (times.size - 1) / np.log(rho)

    models = {
        "white": NoiseModel("white"),
        "AR 0.7": NoiseModel("ar_log_t", length(0.7)),
        "AR 0.9": NoiseModel("ar_log_t", length(0.9)),
        "AR 0.9 + white": NoiseModel("ar_log_t", length(0.9), 0.5),
        "OU in t": NoiseModel("ou_t", 0.003 * times[-1]),
        "AR 0.7, sd x5": NoiseModel("ar_log_t", length(0.7), power=np.log(5) / log_range),
        "walk in ln t": NoiseModel("walk_log_t"),
        "walk in t": NoiseModel("walk_t"),
        "walk in ln t + white": NoiseModel("walk_log_t", nugget=0.05),
    }
    found = {
        name: lambda times, count, rng, model=model: simulate_noise(model, times, count, rng=rng)
        for name, model in models.items()
    }
    for hurst in (0.55, 0.65, 0.75, 0.85):
        found[f"fractional, H = {hurst}"] = partial(fractional, hurst=hurst)
    return found | {"walk, steps x4": growing_steps}


def unit_growth(times, exponent, onset):
    log_time = np.log((times + onset * times[-1]) / (times[-1] * (1 + onset)))
    curve = growth_regressor(log_time, np.array(exponent))
    return (curve - curve[0]) / (curve[-1] - curve[0])


class Cell(NamedTuple):
    """What became of the intervals of one cell, each of shape (series,)."""

    below: np.ndarray  # the interval lies below the exponent
    above: np.ndarray
    bounded: np.ndarray
    plain: np.ndarray  # bounded, and nothing in the fit asks for care
    dual: np.ndarray  # 0 is held where its p-value says so


def cell(fit: GridFit, exponent, last, walks):
    below, above = fit.high < exponent, fit.low > exponent
    bounded = np.isfinite(fit.high - fit.low)
    careful = walks[fit.model] | (fit.onset >= 0.098 * last) | (fit.signal < WEAK_SIGNAL)
    held = (fit.low <= 0) & (fit.high >= 0)
    return Cell(below, above, bounded, bounded & ~careful, held == (fit.log_p_value > 0.05))


def measured(design):
    """Cells of a design by noise and truth."""
    times, found = DESIGNS[design], {}
    kept = thinned(times)
    grid = time_grid(times[kept], Settings(draws=DRAWS))
    walks = np.array([model.wanders for model in grid.frame.models])
    for place, (noise, draw) in enumerate(noises(times).items()):
        for column, (truth, (exponent, onset)) in enumerate(TRUTHS.items()):
            rng = np.random.default_rng([31, len(design), place, column])
            drawn = draw(times, COUNT, rng) * np.resize(SCALES, COUNT)[:, None]
            fit = fit_grid(grid, (unit_growth(times, exponent, onset) + drawn)[:, kept])
            found[design, noise, truth] = cell(fit, exponent, times[-1], walks)
    return found


@pytest.fixture(scope="module")
def cells():
    found = {key: one for design in DESIGNS for key, one in measured(design).items()}
    TABLE.write_text(table(found))
    return found


def joined(cells):
    return Cell(*(np.concatenate(column) for column in zip(*cells, strict=True)))


def shares(one):
    """Misses below and above, and the share of intervals that are open, in %."""
    return [100 * np.mean(part) for part in (one.below, one.above, ~one.bounded)]


def table(found):
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, cwd=TABLE.parent).stdout
    plain = joined([one for key, one in found.items() if key[2] in EARLY])
    sides = [100 * np.mean(part[plain.plain]) for part in (plain.below, plain.above)]
    lines = [
        "# Intervals of the exponent that miss, at 95 %",
        "",
        f"{COUNT} simulated series a design, noise and truth, noise of {100 * SCALES[0]:g} and "
        f"{100 * SCALES[1]:g} % of the growth.",
        "Each cell: intervals below the exponent / above it / open on a side, in %.",
        f"Written by `pytest tests/statistics -m slow` at commit {commit.strip() or 'unknown'}.",
        "",
        f"Bounded and without a word of care, onsets to T/30: {sides[0]:.1f} % below, "
        f"{sides[1]:.1f} % above.",
        disagreements(found),
        "",
    ]
    for axis, title in ((1, "noise, onsets to T/30"), (2, "truth, all noises")):
        rows = {key: one for key, one in found.items() if axis == 2 or key[2] in EARLY}
        lines += [f"| {title} | " + " | ".join(DESIGNS) + " | all |", "|---" * 6 + "|"]
        for name in dict.fromkeys(key[axis] for key in rows):
            own = {key[0]: [] for key in rows}
            for key, one in rows.items():
                if key[axis] == name:
                    own[key[0]].append(one)
            row = [*map(joined, own.values()), joined(sum(own.values(), []))]
            text = " | ".join(" / ".join(f"{x:.1f}" for x in shares(one)) for one in row)
            lines.append(f"| {name} | {text} |")
        lines.append("")
    return "\n".join(lines)


def disagreements(found):
    """Of how many curves the interval and the p-value of p = 0 say different things, in words."""
    dual = np.concatenate([one.dual for one in found.values()])
    wrong = f"{(~dual).sum()} of {dual.size}"
    return f"Intervals that hold 0 where its p-value is below 5 %, or not: {wrong}."


def test_misses_under_every_noise(cells):
    for noise in noises(DESIGNS["60 records to 30,000"]):
        one = joined([c for key, c in cells.items() if key[1] == noise and key[2] in EARLY])
        # 8 %, and three standard errors of their number.
        chance = 3 * np.sqrt(0.08 * 0.92 / one.below.size)
        assert np.mean(one.below | one.above) < 0.08 + chance, noise


def test_misses_with_every_onset(cells):
    for design in DESIGNS:
        for truth in TRUTHS:
            one = joined([c for key, c in cells.items() if (key[0], key[2]) == (design, truth)])
            assert np.mean(one.below | one.above) < 0.08 + 0.03, (design, truth)


def test_bounded_intervals_miss_on_both_sides(cells):
    one = joined([c for key, c in cells.items() if key[2] in EARLY])
    sides = [np.mean(part[one.plain]) for part in (one.below, one.above)]
    assert sum(sides) > 0.02
    assert min(sides) > 0.01 and max(sides) < 0.045


def test_intervals_hold_0_where_its_p_value_says_so(cells):
    assert all(one.dual.all() for one in cells.values())


def test_gaps_hardly_change_how_often_intervals_miss():
    times, rng = DESIGNS["60 records to 30,000"], np.random.default_rng(41)
    missed = []
    for noise in ("white", "AR 0.9", "walk in ln t"):
        for _ in range(60):
            kept = np.sort(rng.choice(np.arange(1, times.size - 1), times.size - 8, replace=False))
            kept = np.concatenate([[0], kept, [times.size - 1]])
            grid = gapped_grid(times[kept], times, Settings(draws=DRAWS))
            drawn = 0.01 * noises(times)[noise](times, 10, rng)
            fit = fit_grid(grid, (unit_growth(times, 0.0, 0.0) + drawn)[:, kept])
            missed.append(np.mean((fit.low > 0) | (fit.high < 0)))
    assert 0.02 < np.mean(missed) < 0.08
