"""Whether following the advice of an undecided verdict on P1 decides it.

Arms of known law are fitted and judged at a first length; those that the rule leaves undecided are
advised, and the same seeds train on, or further seeds are trained, as the advice says. The noise
goes on as it began. What is advised is simulated under what was found, and what is followed under
the truth: nothing here is the planner's own but the numbers it names. What was found
stands in advice_table.md.
"""

from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth import DISQUALIFYING, Advantage, ArmCurves, advantage, fit_growth
from ultraslow.analysis.growth.decade_ratio import ratios
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise
from ultraslow.analysis.intervals import seeds_at_most
from ultraslow.analysis.planning.advice import PROMISED, advise
from ultraslow.analysis.planning.outlook import MOST_TIMES
from ultraslow.analysis.planning.pilot import measured
from ultraslow.analysis.planning.power import record_times, set_words
from ultraslow.diffusion.laws import growth_regressor

pytestmark = pytest.mark.slow

SEEDS = seeds_at_most(5)
SETS = 30  # of each case, of which the undecided are advised
MOST = 12  # of them
CASES = {  # seeds, last iteration, exponent, onset over the last iteration, noise, its size
    "t^.3, AR": (4, 800, 0.3, 0.0, NoiseModel("ar_log_t", 0.6), 0.02),
    "t^.2, white": (3, 2000, 0.2, 0.0, NoiseModel("white"), 0.01),
    "t^.45, walk": (3, 800, 0.45, 0.01, NoiseModel("walk_log_t"), 0.04),
    "log, early onset, AR": (4, 2000, 0.0, 0.005, NoiseModel("ar_log_t", 0.6), 0.015),
    "log, onset T/4, white": (4, 2000, 0.0, 0.25, NoiseModel("white"), 0.01),
    "t^-.2, AR": (5, 800, -0.2, 0.01, NoiseModel("ar_log_t", 0.6), 0.02),
}


class Arm(NamedTuple):
    """Curves of one arm, shape (seed, time), of which only some seeds and times are recorded."""

    times: np.ndarray
    values: np.ndarray
    seeds: int
    last: int

    def until(self, last, seeds):
        """What is recorded by an iteration, of so many seeds."""
        kept = self.times <= last * 1.001
        return self.times[kept], self.values[:seeds, kept]


def simulated(case, rng):
    """An arm with more seeds and iterations than it begins with."""
    seeds, last, exponent, onset, noise, size = CASES[case]
    times = record_times(MOST_TIMES * last)
    log_time = np.log(times + onset * last)
    start, end = (np.interp(np.log(x), np.log(times), log_time) for x in (1.0, last))
    law = growth_regressor(np.array([start, end]), np.array(exponent))
    curve = (growth_regressor(log_time, np.array(exponent)) - law[0]) / (law[1] - law[0])
    # A walk gathers its size by the first length.
    scale = size * (np.log(times[-1]) / np.log(last)) ** (0.5 if noise.wanders else 0.0)
    drawn = scale * simulate_noise(noise, times, SEEDS, rng=rng)
    own = 1 + 0.05 * rng.standard_normal((SEEDS, 1))
    return Arm(times, 10 * (0.3 + curve * own + drawn), seeds, last)


def fitted(times, values):
    """Fits of runs, and what P1 reads off them."""
    table = xr.DataArray(values, {"iteration": times}, ["node", "iteration"])
    fits = fit_growth(table.assign_coords(node=np.arange(len(values))), calibrate=False)
    usable = ~fits["status"].isin(DISQUALIFYING).values & np.isfinite(fits["exponent"].values)
    return fits, ArmCurves(
        np.where(usable, fits["exponent"].values, np.nan), advantage(times, values)
    )


def word(found):
    rows = Advantage(found.advantage.faster[None], found.advantage.slower[None])
    return str(set_words(ArmCurves(found.exponents[None], rows), level=0.95)[0])


def as_pilot(times, values, fits, found):
    """What recordings of these runs would make of them."""
    nodes = fits["node"].values.tolist()
    columns = {
        "faster_advantage": found.advantage.faster,
        "slower_advantage": found.advantage.slower,
        "decade_ratio": ratios(times, values),
        "last": np.full(len(nodes), times[-1]),
        "decades": np.full(len(nodes), np.log10(times[-1] / times[0])),
        "run": [str(node) for node in nodes],
    }
    table = fits.assign({name: ("node", column) for name, column in columns.items()})
    curves = {
        node: xr.DataArray(row, {"iteration": times}, ["iteration"])
        for node, row in zip(nodes, values, strict=True)
    }
    return measured(curves, table)[0]


def followed(case):
    """Whether what was advised decided, one entry each arm that was advised."""
    rng = np.random.default_rng([2031, list(CASES).index(case)])
    outcome = Outcome([], [], [], [])
    for _ in range(SETS):
        arm = simulated(case, rng)
        times, values = arm.until(arm.last, arm.seeds)
        fits, found = fitted(times, values)
        if word(found) != "undecidable" or not np.isfinite(found.exponents).any():
            continue
        way = advise(as_pilot(times, values, fits, found), level=0.95)
        if not way.seeds:
            # The best of what could have been advised.
            most = arm.until(way.outlook.lasts[-1], way.outlook.seeds[-1])
            outcome.none.append(word(fitted(*most)[1]) != "undecidable")
            continue
        decides = word(fitted(*arm.until(way.last, way.seeds))[1]) != "undecidable"
        if not way.promised:
            outcome.likeliest.append((way.chance, decides))
            continue
        outcome.advised.append((way.seeds, way.last))
        outcome.decided.append(decides)
        if len(outcome.decided) >= MOST:
            break
    return outcome


class Outcome(NamedTuple):
    """What became of arms that were left undecided.

    Attributes:
        advised: seeds and last iteration of each that was given advice.
        decided: whether following it decided.
        likeliest: of those with a design that decides more often than not, its share as told and
            whether it decided.
        none: of the others, whether the largest design that is considered would have decided.
    """

    advised: list
    decided: list
    likeliest: list
    none: list


@pytest.fixture(scope="module")
def outcomes():
    found = {}
    for case in CASES:
        one = found[case] = followed(case)
        middle = np.median(one.advised, axis=0).astype(int) if one.advised else ("–", "–")
        print(
            f"\n| {case} | {CASES[case][0]} × {CASES[case][1]} | {sum(one.decided)} of "
            f"{len(one.decided)} | {middle[0]} × {middle[1]} | "
            f"{sum(decides for _, decides in one.likeliest)} of {len(one.likeliest)} | "
            f"{sum(one.none)} of {len(one.none)} |",
            flush=True,
        )
    return found


def test_followed_advice_decides(outcomes):
    decided = [one for case in outcomes.values() for one in case.decided]
    assert len(decided) >= 25
    error = (PROMISED * (1 - PROMISED) / len(decided)) ** 0.5
    assert np.mean(decided) >= PROMISED - 1.65 * error


def test_the_likeliest_design_decides_as_often_as_is_told(outcomes):
    told, decided = np.array([x for case in outcomes.values() for x in case.likeliest]).T
    error = np.sqrt((told * (1 - told)).sum()) / len(told)
    assert decided.mean() >= told.mean() - 1.65 * error


def test_a_true_logarithm_is_not_told_that_nothing_decides(outcomes):
    """Where runs this long show it: one in ten at most, as seeds may mislead."""
    early = outcomes["log, early onset, AR"]
    told = len(early.decided) + len(early.likeliest) + len(early.none)
    assert sum(early.none) <= 0.1 * told + 1.65 * np.sqrt(0.09 * told)


def test_where_nothing_is_advised_most_would_stay_open(outcomes):
    open_ones = [one for case in outcomes.values() for one in case.none]
    assert np.mean(open_ones) <= PROMISED
