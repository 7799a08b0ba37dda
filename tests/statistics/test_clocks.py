"""Intervals of the exponent on the clock Ση, under schedules of the rate; writes clocks_table.md.

The truth is a law of Ση. The noise is what weights gather that the gradients' noise drives, update
by update and in proportion to the rate, with and without a force that draws them back; what is
measured anew at each record, or wanders in iterations; and the correlated noises of the other
tables, on the clock. The factor of critical values on other clocks was chosen with other seeds, on
these schedules but the last.
"""

import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ultraslow.analysis.growth.fit import fit_grid
from ultraslow.analysis.growth.grids import thinned, time_grid
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise
from ultraslow.analysis.growth.status import Settings
from ultraslow.diffusion.laws import growth_regressor

pytestmark = pytest.mark.slow

COUNT = 120  # a schedule, noise and truth
DRAWS = 300
SCALE = 0.011
LAST = 20_000
TRUTHS = {"log": 0.0, "√": 0.5, "saturation, p = −½": -0.5}
TABLE = Path(__file__).with_name("clocks_table.md")

_T = np.arange(1, LAST + 1)
_CYCLE = (_T - 0.5) % 2500 / 1250
RATES = {
    "warm-up": np.minimum(_T / 2000, 1.0),
    "warm-up, cosine to 0": np.minimum(_T / 1000, 1.0)
    * (0.5 + 1e-6 + 0.5 * np.cos(np.pi * np.maximum(_T - 1000, 0) / (LAST - 1000))),
    "cosine to a tenth": 0.55 + 0.45 * np.cos(np.pi * _T / LAST),
    "triangular": 0.01 + 0.99 * (1 - np.abs(1 - _CYCLE)),
    "steps by ten": np.where(_T <= LAST / 2, 1, np.where(_T <= 0.75 * LAST, 0.1, 0.01)),
    "warm-up, 1/√t": np.minimum(_T / 1000, np.sqrt(1000 / _T)),
}
RECORDS = {
    "even in ln t": np.unique(np.geomspace(1, LAST, 70).round().astype(int)),
    "even in t": np.arange(1, 81) * LAST // 80,
}


def driven(rates, at, rng, length=np.inf):
    """x' = −x/ℓ + ξ over Ση with ξ in proportion to the rate, update by update, at records."""
    weights, found = np.zeros(COUNT), np.empty((COUNT, at.size))
    for update, rate in enumerate(rates, start=1):
        weights = weights * (1 - rate / length) + rate * rng.standard_normal(COUNT)
        if update in at:
            found[:, np.searchsorted(at, update)] = weights
    return found


def noises(rates, at, clock, rng):
    """Noises by name, of a standard deviation of about 1 over the window."""
    log_range = np.log(clock[-1] / clock[0])

    def length(rho):
        return -log_range / (clock.size - 1) / np.log(rho)

    def drawn(model, times):
        return simulate_noise(model, np.asarray(times, dtype=float), COUNT, rng=rng)

    heat = np.sqrt(np.maximum(rates[at - 1] / rates.max(), 0.01))
    walk = driven(rates, at, rng) / np.sqrt(np.sum(rates**2))
    held = driven(rates, at, rng, length=0.01 * rates.sum())
    return {
        "white": drawn(NoiseModel("white"), clock),
        "walk, driven": walk,
        "drawn back, driven": held / held.std(),
        "walk, driven + white": walk + 0.2 * drawn(NoiseModel("white"), clock),
        "walk in t": driven(np.ones(LAST), at, rng) / np.sqrt(LAST),
        "OU in t": drawn(NoiseModel("ou_t", 0.003 * LAST), at),
        "AR 0.9": drawn(NoiseModel("ar_log_t", length(0.9)), clock),
        "AR 0.7, sd ~ √η": heat * drawn(NoiseModel("ar_log_t", length(0.7)), clock),
        "walk in ln Ση": drawn(NoiseModel("walk_log_t"), clock),
    }


class Cell(NamedTuple):
    """Shares of series, in %."""

    covered: float
    rejected: float  # that the law is a logarithm
    open: float


def unit_growth(clock, exponent):
    curve = growth_regressor(np.log(clock / clock[-1]), np.array(exponent))
    return (curve - curve[0]) / (curve[-1] - curve[0])


def measured(schedule, records, place):
    """Cells by noise and truth."""
    rates, at = RATES[schedule], RECORDS[records]
    clock = np.cumsum(rates)[at - 1]
    kept = thinned(clock)
    grid = time_grid(clock[kept], Settings(draws=DRAWS), at[kept].astype(float))
    found = {}
    for noise, drawn in noises(rates, at, clock, np.random.default_rng([43, place])).items():
        for truth, exponent in TRUTHS.items():
            values = unit_growth(clock, exponent) + SCALE * drawn
            fit = fit_grid(grid, values[:, kept])
            shares = (
                (fit.low <= exponent) & (exponent <= fit.high),
                fit.log_p_value < 0.05,
                ~np.isfinite(fit.high - fit.low),
            )
            found[schedule, records, noise, truth] = Cell(*(100 * np.mean(s) for s in shares))
    return found


def measure():
    places = [(schedule, records) for schedule in RATES for records in RECORDS]
    cells = {}
    for place, pair in enumerate(places):
        cells |= measured(*pair, place)
    TABLE.write_text(table(cells))
    return cells


@pytest.fixture(scope="module")
def cells():
    return measure()


def table(cells):
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, cwd=TABLE.parent).stdout
    names = list(dict.fromkeys(key[2] for key in cells))
    sizes = [cell.rejected for key, cell in cells.items() if key[3] == "log"]
    covered = [cell.covered for cell in cells.values()]
    lines = [
        "# Intervals of the exponent on the clock Ση, at 95 %",
        "",
        f"{COUNT} simulated series a cell, noise of {100 * SCALE:g} % of the growth, "
        f"{LAST} updates.",
        "Each cell: coverage / share whose test rejects the logarithm / open on a side, in %.",
        f"Written by `pytest tests/statistics -m slow` at commit {commit.strip() or 'unknown'}.",
        "",
        f"All cells together: coverage {np.mean(covered):.1f} %, size {np.mean(sizes):.1f} %.",
        *(
            f"- {schedule}: coverage {one[0]:.1f} %, size {one[1]:.1f} %"
            for schedule, one in by_schedule(cells).items()
        ),
        *(f"- noise {noise}: coverage {share:.1f} %" for noise, share in by_noise(cells).items()),
        "",
        "| rate | records | truth | " + " | ".join(names) + " |",
        "|---" * (3 + len(names)) + "|",
    ]
    for schedule, records, truth in dict.fromkeys((k[0], k[1], k[3]) for k in cells):
        row = [cells[schedule, records, noise, truth] for noise in names]
        text = " | ".join(" / ".join(f"{x:.1f}" for x in cell) for cell in row)
        lines.append(f"| {schedule} | {records} | {truth} | {text} |")
    return "\n".join(lines) + "\n"


def by_schedule(cells):
    """Coverage and size of each schedule, over records, noises and truths."""
    found = {}
    for schedule in dict.fromkeys(key[0] for key in cells):
        own = {key: cell for key, cell in cells.items() if key[0] == schedule}
        sizes = [cell.rejected for key, cell in own.items() if key[3] == "log"]
        found[schedule] = np.mean([cell.covered for cell in own.values()]), np.mean(sizes)
    return found


def by_noise(cells):
    """Coverage under each noise, over schedules, records and truths."""
    return {
        noise: np.mean([cell.covered for key, cell in cells.items() if key[2] == noise])
        for noise in dict.fromkeys(key[2] for key in cells)
    }


def test_size_and_coverage_under_each_schedule(cells):
    for schedule, (covered, size) in by_schedule(cells).items():
        assert 93 < covered < 97, schedule
        assert 3 < size < 7, schedule


def test_coverage_under_each_noise(cells):
    for noise, covered in by_noise(cells).items():
        assert 93 < covered < 97.5, noise
