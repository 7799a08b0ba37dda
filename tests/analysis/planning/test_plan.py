import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth import Advantage, ArmCurves
from ultraslow.analysis.growth.fit import fit_growth
from ultraslow.analysis.growth.runs import late_growth
from ultraslow.analysis.planning.pilot import stated
from ultraslow.analysis.planning.plan import (
    PLANNED_SEEDS,
    Option,
    _alarms,
    _batch_sizes,
    _falling,
    _log_laws,
    _of_pilot,
    plan_runs,
)
from ultraslow.analysis.planning.power import (
    Question,
    Shares,
    fitted_runs,
    record_times,
    set_words,
    simulated,
    training_lengths,
)
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.report import plan_tables, printed
from ultraslow.analysis.study import Study

PILOT = stated(0.02, onset=3.0, batch_size=64, noise_scale=400.0, seed_spread=0.05)


@pytest.fixture(scope="module")
def found():
    """A plan for a question that is easy, so that few lengths are simulated."""
    return plan_runs(Question(0.4, draws=400), PILOT, rng=np.random.default_rng(0))


def test_each_number_of_seeds_has_an_option_with_the_power_asked_for(found):
    assert [option.seeds for option in found.options] == list(PLANNED_SEEDS)
    for option in found.options:
        assert option.power >= 0.8
        assert option.updates == option.seeds * option.last
        assert option.samples == 64 * option.updates
        assert option.last in training_lengths()


def test_no_option_is_longer_with_more_seeds(found):
    lasts = [option.last for option in found.options]
    assert lasts == sorted(lasts, reverse=True)


def test_lengths_start_where_verdicts_do():
    # 2.5 decades from iteration 1: 10^2.5 = 316.2.
    assert training_lengths()[0] == 317
    assert training_lengths()[-1] <= 1e8


def test_an_onset_that_no_training_outlasts_is_named():
    with pytest.raises(ValueError, match="onset: found 1e\\+09, expected at most 1e\\+08"):
        plan_runs(Question(0.4), replace(PILOT, onset=1e9), rng=np.random.default_rng(0))


def test_the_default_schedule_is_what_ways_of_recording_stand_beside(found):
    assert found.records[0].name == "25 a decade"
    assert found.records[0].count == record_times(found.cheapest.last).size


def test_records_even_in_t_tell_less_than_the_default(found):
    errors = {one.name: one.error for one in found.records}
    assert errors["even in t"] > errors["25 a decade"]
    assert errors["50 a decade"] <= errors["25 a decade"] <= errors["6 a decade"]


def test_batch_sizes_span_the_noise_scale(found):
    # 40, 126, 400, 1265, 4000 as powers of two.
    assert found.batch_sizes == (32, 128, 512, 1024, 4096)
    for data_size, largest in ((1280, 1024), (512, 512), (20, 0)):
        few = _batch_sizes(replace(PILOT, data_size=data_size))
        assert few == tuple(size for size in found.batch_sizes if size <= largest)
    unknown = replace(PILOT, noise_scale=math.nan)
    assert "batch sizes" in " ".join(_of_pilot(unknown))


def test_the_legend_tells_the_whole_rule(found):
    legend = " ".join(found.notes)
    assert "lies beyond ±0.05, and powers of t fit better than late logarithms" in legend
    assert "with τ up to 50% of the iterations" in legend and "log t by 20% of them" in legend
    # A third of the error: 1 − 0.35·0.05.
    assert "within ±0.05 at level 0.9825, and no power fits better" in legend


def test_a_question_beyond_any_training_has_no_option():
    hopeless = replace(PILOT, seed_spread=10.0)
    found = plan_runs(Question(0.06, draws=100), hopeless, rng=np.random.default_rng(0))
    assert all(option.last == 0 for option in found.options)
    assert found.cheapest is None and found.records == ()
    assert "an exponent further from 0" in printed(plan_tables(found))


def option(seeds, updates, *, alarms=0.0, at_once=0.0):
    shares = {
        "power": 0.9,
        "log_supported": 0.5,
        "false_alarms": alarms,
        "alarms_at_once": at_once,
    }
    last = updates // seeds
    return Option(seeds=seeds, last=last, records=50, updates=updates, samples=0, **shares)


@pytest.mark.parametrize("column", ["alarms", "at_once"])
def test_seeds_that_contradict_a_true_log_law_too_often_are_not_the_cheapest(found, column):
    sound, alarming = option(4, 8000), option(10, 1000, **{column: 0.06})
    chosen = replace(found, options=(sound, alarming, Option(6, 0, 0, *[math.nan] * 4, 0, 0)))
    assert chosen.cheapest is sound
    assert replace(found, options=(alarming,)).cheapest is alarming
    (note,) = _alarms(chosen.options, found.question)
    assert note.startswith("with 10 (6%) seeds a true log law would be contradicted")
    assert _alarms((sound,), found.question) == ()


class Simulated:
    """Lengths simulated, with shares by length: of t^p contradicted, and of log t supported."""

    def __init__(self, shares):
        self.known = shares

    def lengths(self):
        return sorted(self.known)

    def shares(self, seeds, last):
        power, kept = self.known[last]
        return [Shares(0.0, power), Shares(kept, 0.01), Shares(kept, 0.01)]


def test_options_that_would_leave_a_log_law_undecided_are_named():
    question, short = Question(0.4), option(4, 4000)
    (note,) = _log_laws((short,), question, Simulated({1000: (0.9, 0.5), 2000: (0.9, 0.7)}))
    assert "undecided: with 4 seeds until iteration 1000 in about 5; no longer training" in note
    known = {500: (1, 1), 1000: (0.9, 0.5), 2000: (0.7, 0.9), 3000: (0.9, 0.85), 4000: (1, 1)}
    (note,) = _log_laws((short,), question, Simulated(known))
    assert note.endswith("both laws are decided with 80% power by 4 seeds until iteration 3000")
    kept = replace(short, log_supported=0.8)
    assert _log_laws((kept,), question, Simulated(known)) == ()
    assert _log_laws((replace(short, last=0),), question, Simulated(known)) == ()


def test_a_power_that_falls_with_the_length_is_told():
    class Powers(Simulated):
        def power(self, seeds, last):
            return self.known[last]

    assert _falling(Powers({1000: 0.5, 2000: 0.88, 4000: 0.85, 8000: 0.97})) == ()
    (note,) = _falling(Powers({1000: 0.5, 2000: 0.9, 4000: 0.4, 8000: 0.95}))
    assert "with 4 seeds from 90% until iteration 2000 to 40% until 4000" in note


def test_what_a_plan_promises_is_what_the_verdict_does(found, single):
    """Sets of runs drawn and judged one by one by the verdict itself."""
    best = next(item for item in found.options if item.seeds == 4)
    rng = np.random.default_rng(7)
    times = record_times(best.last)
    for exponent, never in ((0.4, "supported"), (0.0, "contradicted")):
        series = simulated(PILOT, times, exponent, draws=24, rng=rng)
        found_of = fitted_runs(series)
        sides = (
            side.reshape(-1, 4) for side in (found_of.advantage.faster, found_of.advantage.slower)
        )
        planned = set_words(
            ArmCurves(found_of.exponents.reshape(-1, 4), Advantage(*sides)), level=0.95
        )
        said = verdicts(series, single)
        assert said == planned.tolist()
        assert never not in said


def verdicts(table, single):
    """Verdicts on series, four at a time."""
    names = [f"s{k}" for k in range(table.sizes["series"])]
    plain = {"run": ("node", names), "arm": ("node", [""] * len(names))}
    distances = table.rename(series="node").assign_coords(node=names, **plain)
    first, last = table["iteration"].values[[0, -1]]
    fits = fit_growth(distances, calibrate=False)
    same = xr.ones_like(fits["exponent"])
    fits = fits.assign(first=first * same, last=last * same, decades=np.log10(last / first) * same)
    curves = {name: distances.sel(node=name) for name in names}
    fits = fits.assign(late_growth(curves, fits, level=0.95))
    times = distances["iteration"].values
    runs = {
        name: single(distances.sel(node=name).values, times, seed=k)
        for k, name in enumerate(names)
    }
    sets = [names[k : k + 4] for k in range(0, len(names), 4)]
    return [log_growth(Study({n: runs[n] for n in s}, fitted=fits)).verdict for s in sets]
