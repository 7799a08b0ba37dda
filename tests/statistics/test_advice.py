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
from ultraslow.analysis.planning.outlook import (
    _USUAL_FREEDOM,
    _USUAL_SPREAD,
    MOST_TIMES,
    outlook,
)
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


class Setting(NamedTuple):
    """Runs of an arm but for their law: seeds, iterations, and noise of a size."""

    seeds: int
    last: int
    noise: NoiseModel
    size: float


# Sets of which the truths are those that outlooks take for as likely.
SETTINGS = {
    "AR": Setting(4, 2000, NoiseModel("ar_log_t", 0.6), 0.015),
    "longer AR": Setting(5, 1000, NoiseModel("ar_log_t", 0.9), 0.02),
    "AR beside independent": Setting(3, 4000, NoiseModel("ar_log_t", 0.4, 0.25), 0.015),
    "smooth": Setting(4, 1500, NoiseModel("smooth_log_t", 0.35), 0.012),
    "walk": Setting(4, 2000, NoiseModel("walk_log_t"), 0.03),
    "white": Setting(3, 1000, NoiseModel("white"), 0.02),
}
ARMS = 24  # of each that are left undecided


def simulated(case, rng):
    """An arm with more seeds and iterations than it begins with."""
    seeds, last, exponent, onset, noise, size = CASES[case]
    return arm_of(Setting(seeds, last, noise, size), np.full(SEEDS, exponent), onset, rng)


def likely(setting, rng):
    """An arm of a logarithm or of a power, alike in likelihood, whose seeds differ as usual."""
    exponent, onset = 0.0, 10 ** rng.uniform(-3, -1.5)
    if rng.random() < 0.5:
        exponent, onset = rng.uniform(-0.3, 0.7), 0.0
    spread = _USUAL_SPREAD * np.sqrt(_USUAL_FREEDOM / rng.chisquare(_USUAL_FREEDOM))
    own = exponent + spread * rng.standard_normal(seeds_at_most(setting.seeds))
    return arm_of(setting, own, onset, rng)


def arm_of(setting, exponents, onset, rng):
    """An arm of these exponents, with an onset over its last iteration."""
    seeds, last, noise, size = setting
    times = record_times(MOST_TIMES * last)
    log_time = np.log(times + onset * last)
    ends = np.array([np.interp(np.log(x), np.log(times), log_time) for x in (1.0, last)])
    curves = []
    for exponent in exponents:
        start, end = growth_regressor(ends, np.array(exponent))
        grown = growth_regressor(log_time, np.array(exponent))
        curves.append((grown - start) / (end - start))
    # A walk gathers its size by the first length.
    scale = size * (np.log(times[-1]) / np.log(last)) ** (0.5 if noise.wanders else 0.0)
    drawn = scale * simulate_noise(noise, times, len(curves), rng=rng)
    own = 1 + 0.05 * rng.standard_normal((len(curves), 1))
    return Arm(times, 10 * (0.3 + np.stack(curves) * own + drawn), seeds, last)


def fitted(times, values):
    """Fits of runs, and what P1 reads off them."""
    above = values - min(values.min(), 0.0)  # a distance is not negative
    table = xr.DataArray(above, {"iteration": times}, ["node", "iteration"])
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
        likeliest: of those whose likeliest design is named with its share, the share and whether
            it decided.
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


def test_where_nothing_is_advised_most_stay_open(outcomes):
    """It is said of what less than one study in ten would decide."""
    open_ones = [one for case in outcomes.values() for one in case.none]
    assert sum(open_ones) <= 0.1 * len(open_ones) + 1.65 * np.sqrt(0.09 * len(open_ones))


def test_shares_that_are_told_are_true():
    """Of the largest design, where truths are as likely as outlooks take them for."""
    rows = []
    for place, setting in enumerate(SETTINGS.values()):
        rng = np.random.default_rng([4711, place])
        while len(rows) < ARMS * (place + 1):
            arm = likely(setting, rng)
            times, values = arm.until(arm.last, arm.seeds)
            fits, found = fitted(times, values)
            if word(found) != "undecidable" or not np.isfinite(found.exponents).all():
                continue
            ahead = outlook(as_pilot(times, values, fits, found), level=0.95)
            most = arm.until(ahead.lasts[-1], ahead.seeds[-1])
            rows.append((ahead.decided[-1, -1], word(fitted(*most)[1]) != "undecidable"))
    told, decided = np.array(rows).T
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.8), (0.8, 1.01)):
        part = (told >= low) & (told < high)
        if part.any():
            mean, count = told[part].mean(), decided[part].sum()
            print(f"\n| from {low:.0%} | {part.sum()} | {mean:.0%} | {count:.0f} |")
            error = np.sqrt((told[part] * (1 - told[part])).sum()) / part.sum()
            assert decided[part].mean() >= told[part].mean() - 2.5 * error
    error = np.sqrt((told * (1 - told)).sum()) / len(told)
    assert abs(decided.mean() - told.mean()) <= 0.05 + 1.65 * error
