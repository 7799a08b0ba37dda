"""Size, coverage and power of the growth fits on simulated runs; writes calibration_table.md.

The curve grows by 1 in all and the noise has a standard deviation of a percent of that (for a
random walk: gathered over the window). The eight noise types are those that ordinary regression
gets wrong most often, and a ninth, a walk under independent noise, is the one that this procedure
got wrong most often. Three designs served to settle constants of the procedure, with other seeds;
the others did not.
"""

import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ultraslow.analysis.growth.fit import fit_grid
from ultraslow.analysis.growth.grids import time_grid
from ultraslow.analysis.growth.noise_models import NoiseModel, noise_covariance, simulate_noise
from ultraslow.analysis.growth.status import Settings

pytestmark = pytest.mark.slow

COUNT = 1000
TRUTHS = {"log": 0.0, "p = 0.1": 0.1, "p = 0.5": 0.5, "saturation, p = -0.5": -0.5}
TABLE = Path(__file__).with_name("calibration_table.md")
# Standard errors of a share of 1000 near 5 %.
BY_CHANCE = 3 * np.sqrt(0.05 * 0.95 / COUNT)


class Design(NamedTuple):
    records: int
    first: float
    decades: float
    onset: float
    scale: float
    settled: bool

    @property
    def times(self):
        return np.geomspace(self.first, self.first * 10.0**self.decades, self.records)

    def __str__(self):
        note = "*" if self.settled else ""
        return f"{self.decades:g} decades, {self.records} records, τ = {self.onset:g}{note}"


DESIGNS = (
    Design(60, 10, 3, 0, 0.011, True),
    Design(60, 10, 4, 0, 0.011, True),
    Design(60, 10, 4, 100, 0.011, True),
    Design(60, 10, 5, 0, 0.011, False),
    Design(40, 3, 3.5, 60, 0.02, False),
    Design(90, 1, 4.5, 0, 0.006, False),
)
USUAL = DESIGNS[1]


def noise_types(times):
    """Noise types by name; ρ is the correlation of neighbouring records."""
    log_range = np.log(times[-1] / times[0])

    def length(rho):
        return -log_range / (times.size - 1) / np.log(rho)

    growing = np.log(5) / log_range
    return {
        "white": NoiseModel("white"),
        "AR 0.7": NoiseModel("ar_log_t", length(0.7)),
        "AR 0.9": NoiseModel("ar_log_t", length(0.9)),
        "AR 0.9 + white": NoiseModel("ar_log_t", length(0.9), 0.5),
        "OU in t": NoiseModel("ou_t", 0.003 * times[-1]),
        "AR 0.7, sd x5": NoiseModel("ar_log_t", length(0.7), power=growing),
        "walk in ln t": NoiseModel("walk_log_t"),
        "walk in t": NoiseModel("walk_t"),
        "walk in ln t + white": NoiseModel("walk_log_t", nugget=0.05),
    }


def growth(times, exponent, onset=0.0):
    """Member of the family that grows from 0 to 1 over the window."""
    clock = times + onset
    curve = np.log(clock) if exponent == 0 else (clock**exponent - 1) / exponent
    return (curve - curve[0]) / (curve[-1] - curve[0])


def evaluate(noise, curve, grid, *, rng, scale=USUAL.scale):
    """Series with this curve and noise, fitted."""
    values = curve + scale * simulate_noise(noise, grid.frame.basis.times, COUNT, rng=rng)
    return fit_grid(grid, values)


def coverage(fit, exponent):
    return np.mean((fit.low <= exponent) & (exponent <= fit.high))


def measure():
    """Rows (design, noise, truth, coverage, share that rejects the log law)."""
    rows = []
    for place, design in enumerate(DESIGNS):
        grid = time_grid(design.times, Settings())
        for index, (name, noise) in enumerate(noise_types(design.times).items()):
            for truth, exponent in TRUTHS.items():
                rng = np.random.default_rng([7, place, index, int(100 * exponent) + 100])
                curve = growth(design.times, exponent, design.onset)
                fit = evaluate(noise, curve, grid, rng=rng, scale=design.scale)
                rejected = np.mean(fit.log_p_value < 0.05)
                rows.append((design, name, truth, coverage(fit, exponent), rejected))
    return rows


@pytest.fixture(scope="module")
def rows():
    found = measure()
    TABLE.write_text(table(found))
    return found


def commit():
    """Short name of the commit the figures belong to, "unknown" outside a repository."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=TABLE.parent)
    return found.stdout.strip() or "unknown"


def table(rows):
    names = list(dict.fromkeys(row[1] for row in rows))
    cells = {row[:3]: row[3:] for row in rows}
    lines = [
        "# Coverage of 95 % intervals of p, and share of series whose test rejects the log law",
        "",
        f"{COUNT} simulated series a cell, noise of 0.6 to 2 % of the total growth, onset fitted.",
        "Each cell: coverage, rejections. For the log law the rejections are the size of the 5 %",
        "test, elsewhere its power. Designs with * also served to settle the constants of the",
        "critical values, with other seeds.",
        f"Written by `pytest tests/statistics -m slow` at commit {commit()}.",
        "",
        *spread(rows),
        "",
        "| design | truth | " + " | ".join(names) + " |",
        "|" + "---|" * (2 + len(names)),
    ]
    for design in DESIGNS:
        for truth in TRUTHS:
            found = [cells[design, name, truth] for name in names]
            text = " | ".join(f"{100 * c:.1f} / {100 * r:.1f}" for c, r in found)
            lines.append(f"| {design} | {truth} | {text} |")
    return "\n".join(lines) + "\n"


def spread(rows):
    """How far the shares of wrong answers lie apart, and how much of that is counting."""
    chance = np.sqrt(0.05 * 0.95 / COUNT)
    lines = []
    for kind, settled in (("settled", True), ("other", False)):
        wrong = np.array([1 - row[3] for row in rows if row[0].settled is settled])
        outside = int(np.sum((wrong < 0.03) | (wrong > 0.07)))
        true = np.sqrt(max(wrong.var() - chance**2, 0.0))
        lines.append(
            f"- {kind} designs: intervals that miss, {100 * wrong.mean():.1f} % on average, "
            f"{100 * wrong.min():.1f} to {100 * wrong.max():.1f}; standard deviation over cells "
            f"{100 * wrong.std():.2f}, of which counting explains {100 * chance:.2f} and "
            f"{100 * true:.2f} remain; {outside} of {wrong.size} cells outside 3 to 7 %"
        )
    return lines


def test_size_of_the_test_of_a_true_log_law(rows):
    sizes = {(str(row[0]), row[1]): row[4] for row in rows if row[2] == "log"}
    # 3–7 % is wanted; counting adds three standard errors.
    assert all(0.03 - BY_CHANCE < size < 0.07 + BY_CHANCE for size in sizes.values()), sizes
    assert 0.04 < np.mean(list(sizes.values())) < 0.06


def test_coverage_of_the_interval(rows):
    found = {(str(row[0]), *row[1:3]): row[3] for row in rows}
    short = [cell for cell, value in found.items() if value <= 0.93 - BY_CHANCE]
    # 93–97 % is wanted. An exponent of 0.5 under a random walk in ln t with an onset within the
    # records is covered in 91 %: the walk is then taken for part of the law.
    assert all("walk in ln t" in noise and truth != "log" for _, noise, truth in short), short
    assert min(found.values()) > 0.89
    assert 0.94 < np.mean(list(found.values())) < 0.965


def test_power_against_a_square_root_of_time(rows):
    # One percent of noise: √t over three decades and more is never taken for a logarithm, unless
    # an onset within 40 records of twice the noise hides it.
    powers = [row[4] for row in rows if row[2] == "p = 0.5" and row[0].onset == 0]
    assert min(powers) > 0.95


def heavy_tailed(noise, times, *, rng):
    """Student noise of 4 degrees of freedom, correlated as the model says, unit variance."""
    root = np.linalg.cholesky(noise_covariance(noise, times))
    return rng.standard_t(4, (COUNT, times.size)) / np.sqrt(2) @ root.T


@pytest.mark.parametrize("name", ["white", "AR 0.7", "AR 0.9"])
def test_heavy_tails_do_not_upset_the_size(name):
    times = USUAL.times
    noise = noise_types(times)[name]
    values = growth(times, 0.0) + USUAL.scale * heavy_tailed(
        noise, times, rng=np.random.default_rng(len(name))
    )
    fit = fit_grid(time_grid(times, Settings()), values)
    assert 0.015 < np.mean(fit.log_p_value < 0.05) < 0.09


def test_asymptotic_critical_values_are_too_small_for_a_random_walk():
    # What calibration is for: with χ² a true log law is rejected about three times too often.
    times = USUAL.times
    grid = time_grid(times, Settings(calibrate=False))
    rng = np.random.default_rng(3)
    fit = evaluate(NoiseModel("walk_log_t"), growth(times, 0.0), grid, rng=rng)
    assert np.mean(fit.log_p_value < 0.05) > 0.10
