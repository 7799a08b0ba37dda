"""How often curves of the family are taken for what leaves it; writes departures_table.md.

Members of the family under all noises of test_intervals must not be called `two_phases` or
`saturated`; curves that jump, change their law or come to rest should be. `saturated` is asked of
exponents down to −1: what goes like t^(−3/2) comes to rest, and may be called so.
"""

import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_intervals import noises, unit_growth
from test_p1_rule import spaced

from ultraslow.analysis.growth.departures import find_breaks
from ultraslow.analysis.growth.fit import fit_series
from ultraslow.analysis.growth.grids import thinned, time_grid
from ultraslow.analysis.growth.status import Settings

pytestmark = pytest.mark.slow

TABLE = Path(__file__).with_name("departures_table.md")
DESIGNS = {
    "60 records to 30,000": spaced(3e4, 60),
    "30 records to 5,000": spaced(5e3, 30),
    "400 records to 60,000": spaced(6e4, 400),
    "480 records even in t": np.arange(1.0, 481.0) * 25,
}
# Exponent, and onset over the last iteration.
TRUTHS = {"log": (0.0, 0.0), "log, T/5": (0.0, 0.2), "√t": (0.5, 0.0), "√t, T/30": (0.5, 1 / 30)}
TRUTHS |= {"p = −½": (-0.5, 0.0), "p = −1, T/30": (-1.0, 1 / 30)}
SCALES = (0.003, 0.015, 0.05)  # of the noise, shares of the growth
COUNT = 40  # a design, truth, noise and scale, of breaks
FITTED = 3  # of statuses


def curves(design, noise, truth, scale, count, seed):
    times = DESIGNS[design]
    rng = np.random.default_rng([seed, len(design), len(noise), len(truth), int(1e4 * scale)])
    return unit_growth(times, *TRUTHS[truth]) + scale * noises(times)[noise](times, count, rng)


def false_breaks(design, scale):
    """Jumps, changes and rests that members of the family are taken for, and of how many."""
    times = DESIGNS[design]
    kept = thinned(times)
    frame = time_grid(times[kept], Settings(calibrate=False)).frame
    found = Counter()
    for noise in noises(times):
        for truth in TRUTHS:
            values = curves(design, noise, truth, scale, COUNT, 53)[:, kept]
            for one in find_breaks(frame, values):
                found["of"] += 1
                if one is not None:
                    found["jump" if one.jump else "rest" if one.rests else "change"] += 1
    return found


def statuses(design):
    """Statuses of fits with simulated critical values, at the two smaller scales."""
    times, found = DESIGNS[design], Counter()
    for noise in noises(times):
        values = [
            curves(design, noise, truth, scale, FITTED, 59)
            for truth in TRUTHS
            for scale in SCALES[:2]
        ]
        fits = fit_series(times, np.concatenate(values), Settings(draws=200))
        found.update(one.status for one in fits.assessments)
    return found


def departing(times, rng, count):
    """Curves that leave the family, by what they do, with a percent of noise."""
    middle = times[-1] / 6
    early, late = np.minimum(times, middle), np.maximum(times / middle, 1.0)
    jump = np.log(times) / np.log(times[-1]) + 0.15 * (times > middle)
    shapes = {
        "√t, a jump of 13 %": jump,
        "t, then at rest": early / middle,
        "log t, then t": np.log(early) + 2 * (late - 1),
        "t, then log t falls": early / middle - 0.6 * np.log(late),
        "exponential rest": 1 - np.exp(-times / (times[-1] / 50)),
    }
    return {
        name: shape / np.ptp(shape) + 0.01 * noises(times)["AR 0.7"](times, count, rng)
        for name, shape in shapes.items()
    }


def measure():
    breaks = {(d, s): false_breaks(d, s) for s in SCALES for d in DESIGNS}
    fitted = {design: statuses(design) for design in list(DESIGNS)[:3]}
    told = {}
    for design in ("60 records to 30,000", "480 records even in t"):
        times = DESIGNS[design]
        for name, values in departing(times, np.random.default_rng(61), 40).items():
            fits = fit_series(times, values, Settings(draws=200))
            told[design, name] = Counter(one.status for one in fits.assessments)
    TABLE.write_text(table(breaks, fitted, told))
    return breaks, fitted, told


@pytest.fixture(scope="module")
def found():
    return measure()


def table(breaks, fitted, told):
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, cwd=TABLE.parent).stdout
    lines = [
        "# Curves that leave the family, and those that are wrongly said to",
        "",
        f"Written by `pytest tests/statistics -m slow` at commit {commit.strip() or 'unknown'}.",
        "",
        "Members of the family (p from −1 to ½, onsets to T/5) under the fourteen noises of the "
        "intervals' table: taken for a jump / a change / rest, of how many.",
        "",
        "| noise, of the growth | " + " | ".join(DESIGNS) + " |",
        "|---" * (1 + len(DESIGNS)) + "|",
    ]
    for scale in SCALES:
        row = [breaks[design, scale] for design in DESIGNS]
        text = " | ".join(
            f"{one['jump']} / {one['change']} / {one['rest']} of {one['of']}" for one in row
        )
        lines.append(f"| {100 * scale:g} % | {text} |")
    for title, rows in (
        ("The same members, noise of 0.3 and 1.5 %: statuses of their fits", fitted),
        ("Curves that do leave it, 40 each, a percent of noise (AR 0.7): statuses", told),
    ):
        lines += ["", title, "", "| curves | statuses |", "|---|---|"]
        for key, one in rows.items():
            name = key if isinstance(key, str) else ", ".join(key)
            lines.append(f"| {name} | {', '.join(f'{n} {s}' for s, n in one.most_common())} |")
    return "\n".join(lines) + "\n"


def test_members_of_the_family_are_not_said_to_leave_it(found):
    breaks, fitted, _ = found
    for one in breaks.values():
        assert one["jump"] + one["change"] <= 0.01 * one["of"]
        assert one["rest"] <= 0.01 * one["of"]
    for one in fitted.values():
        assert one["two_phases"] <= 0.01 * one.total()
        assert one["saturated"] <= 0.01 * one.total()


def test_what_leaves_the_family_is_said_to(found):
    for (design, name), one in found[2].items():
        if "jump" in name:
            assert one["two_phases"] >= 0.9 * one.total(), design
        if "rest" in name:
            assert one["saturated"] + one["two_phases"] >= 0.75 * one.total(), (design, name)
