"""How often a misfit is said of laws of the growth family, and of others; writes windows_table.md.

Sets of seeds on the schedules and noises that P1's rule is tested on.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from test_p1_rule import DESIGNS, SETS, noises, power, tanh, with_local_exponent

from ultraslow.analysis.growth import DISQUALIFYING, fit_growth, misfit
from ultraslow.analysis.growth.grids import thinned
from ultraslow.analysis.growth.windows import law_exponents, local_exponents

pytestmark = pytest.mark.slow

LEVEL = 0.95
SIZES = (0.0005, 0.002, 0.005, 0.02)  # of the noise, shares of the growth
SPREAD = 0.03  # of exponents between seeds
CHOSEN = tuple(DESIGNS[k] for k in (0, 2, 3, 5))
MOST_WRONG = 0.05
FOUND = 0.40  # of bent curves at the smallest noise, in every design
TABLE = Path(__file__).with_name("windows_table.md")

FAMILY = {f"p = {p:g}": (p, 0.0) for p in (0.0, 0.2, 0.5, 0.7, -0.3)}
FAMILY |= {f"p = {p:g}, onset T/{n}": (p, 1 / n) for p, n in ((0.0, 100), (0.3, 30))}
FAMILY |= {f"p = {p:g}, onset T/10": (p, 0.1) for p in (0.0, 0.5)}


def through(decades, exponents):
    """A local exponent with these values so many decades before the end, linear in between."""
    return lambda x: np.interp(np.log10(x), decades, exponents)


BENT = {
    "local exponent .3 → .7 → .4": through([-2, -1, 0], [0.3, 0.7, 0.4]),
    "local exponent .3 → .7": through([-3, -1], [0.3, 0.7]),
    "local exponent .5 ± .2, period a decade": lambda x: (
        0.5 + 0.2 * np.cos(2 * np.pi * np.log10(x))
    ),
    "√t → log at T/8": tanh(0.5, 1 / 8, 1.6),
    "√t → log at T/30": tanh(0.5, 1 / 30, 0.5),
}
# The family has nearly their shape, with an onset.
NEARLY = {"local exponent .5 → .2": through([-3, -1], [0.5, 0.2])}


def curves(times, seeds, rng):
    """Name of the law and curves (set, seed, time), one by one."""
    shape = (SETS, seeds, times.size)
    for name, (exponent, onset) in FAMILY.items():
        own = rng.normal(exponent, SPREAD, SETS * seeds)
        yield name, power(times, own, onset * times[-1]).reshape(shape)
    for name, law in (BENT | NEARLY).items():
        yield name, np.broadcast_to(with_local_exponent(times, law), shape)


def said(times, values):
    """Whether a misfit is said of each set, of curves (set, seed, time)."""
    flat = values.reshape(-1, times.size)
    flat = flat - min(flat.min(), 0.0)  # a distance is not negative
    fits = fit_growth(
        xr.DataArray(flat, {"iteration": times}, ["run", "iteration"]), calibrate=False
    )
    exponent, onset = fits["exponent"].values, fits["onset"].values
    usable = np.isfinite(exponent) & ~fits["status"].isin(DISQUALIFYING).values
    kept = thinned(times)
    local = local_exponents(times[kept], flat[:, kept])
    law = law_exponents(times[kept], exponent, onset)
    sets = np.arange(len(flat)).reshape(values.shape[:2])
    chosen = [own[usable[own]] for own in sets]
    return np.array([misfit(local[own], law[own], level=LEVEL) is not None for own in chosen])


@pytest.fixture(scope="module")
def shares():
    """Share of sets that a misfit is said of, by design, law, noise and its size."""
    found = {}
    for number, design in enumerate(CHOSEN):
        rng = np.random.default_rng([2031, number])
        for noise, draw in noises(design.times).items():
            for size in SIZES:
                for law, grown in curves(design.times, design.seeds, rng):
                    slopes = 1 + 0.05 * rng.standard_normal((*grown.shape[:2], 1))
                    drawn = draw(grown.shape[0] * grown.shape[1], rng).reshape(grown.shape)
                    values = 3 + 10 * grown * slopes + 10 * size * drawn
                    found[design.name, law, noise, size] = said(design.times, values).mean()
    return found


def mean(shares, law, *, design=None, size=None, noise=None):
    wanted = (design, law, noise, size)
    chosen = [
        share
        for key, share in shares.items()
        if all(want in (None, got) for want, got in zip(wanted, key, strict=True))
    ]
    return float(np.mean(chosen))


def test_a_misfit_is_rarely_said_of_the_family(shares):
    for design in CHOSEN:
        for law in FAMILY:
            for size in SIZES:
                wrong = mean(shares, law, design=design.name, size=size)
                assert wrong <= MOST_WRONG, (design.name, law, size, wrong)
    for noise in noises(CHOSEN[0].times):
        wrong = np.mean([mean(shares, law, noise=noise) for law in FAMILY])
        assert wrong <= MOST_WRONG, (noise, wrong)


def test_a_misfit_is_said_of_bent_curves(shares):
    for design in CHOSEN:
        for law in BENT:
            share = mean(shares, law, design=design.name, size=SIZES[0])
            assert share >= FOUND, (design.name, law, share)


def test_the_table_is_written(shares):
    sets = len(noises(CHOSEN[0].times)) * SETS
    lines = [
        "# How often a misfit is said",
        "",
        "Per cent of simulated sets of seeds of which `growth.misfit` says that they leave the "
        "growth family, at level 95 %.",
        f"{sets} sets a law, schedule and size of the noise (a share of the growth), over the "
        f"noises {', '.join(noises(CHOSEN[0].times))};",
        f"counting error at most {50 / math.sqrt(sets):.1f}. Exponents of the family differ "
        f"between seeds by {SPREAD:g}.",
    ]
    for design in CHOSEN:
        heads = " | ".join(f"{100 * size:g} %" for size in SIZES)
        lines += ["", f"## {design.name}", "", f"| law | {heads} |", "|---|" + "--:|" * len(SIZES)]
        for law in [*FAMILY, *BENT, *NEARLY]:
            cells = [mean(shares, law, design=design.name, size=size) for size in SIZES]
            lines.append(f"| {law} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |")
    TABLE.write_text("\n".join(lines) + "\n")
    assert TABLE.read_text().count("\n| √t → log at T/8 |") == len(CHOSEN)
