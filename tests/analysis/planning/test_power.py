import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.growth.late_logarithm import Advantage
from ultraslow.analysis.growth.noise_models import NoiseModel
from ultraslow.analysis.growth.rule import ArmCurves
from ultraslow.analysis.planning.pilot import Pilot, curve, stated
from ultraslow.analysis.planning.power import (
    Question,
    Simulations,
    check_question,
    exponent_error,
    fitted_runs,
    record_times,
    simulated,
    verdict_shares,
)


def rng():
    return np.random.default_rng(1)


def population(exponents, *, faster=4.0, spread=0.3):
    """Series with these exponents; A is about ±4, on the side of faster powers or of neither."""
    size = exponents.size
    better = Advantage(
        faster + spread * rng().standard_normal(size), -4 + spread * rng().standard_normal(size)
    )
    return ArmCurves(exponents, better)


def test_shares_are_those_of_the_rule_applied_by_hand():
    """A normal population: the mean of S exponents against ±0.05, by the noncentral t."""
    seeds, sd, mean = 6, 0.03, 0.12
    fitted = population(mean + sd * rng().standard_normal(200_000))
    found = verdict_shares(fitted, seeds, level=0.95, rng=rng())
    # Contradicted: (mean − 0.05)/(s/√S) above the t quantile of level 0.975, as A always speaks.
    critical, shift = stats.t.ppf(0.9875, seeds - 1), (mean - 0.05) * math.sqrt(seeds) / sd
    assert found.contradicted == pytest.approx(stats.nct.sf(critical, seeds - 1, shift), abs=0.02)
    assert found.supported == 0


def test_without_an_advantage_nothing_is_contradicted():
    fitted = population(0.12 + 0.03 * rng().standard_normal(2000), faster=-4.0)
    found = verdict_shares(fitted, 6, level=0.95, rng=rng())
    assert found.contradicted == 0


@pytest.mark.parametrize("seeds", [3, 4, 10])
def test_each_set_is_judged_as_a_naive_loop_over_the_intervals_would(seeds):
    middle = 0.07 if seeds == 10 else 0.06
    exponents = middle + 0.02 * rng().standard_normal(500)
    exponents[::3] -= middle
    exponents[::7] = np.nan
    fitted = population(exponents, faster=0.8, spread=1.0)
    found = verdict_shares(fitted, seeds, level=0.8, rng=np.random.default_rng(5))
    same = np.random.default_rng(5)
    # Of a set of 40 seeds the first ones.
    drawn = same.integers(500, size=(40, 4000)).T[:, :seeds]
    table = exponents[drawn]
    sides = fitted.advantage.faster[drawn], fitted.advantage.slower[drawn]
    words = [_naive(*rows, seeds, level=0.8) for rows in zip(table, *sides, strict=True)]
    assert found.supported == words.count("supported") / 4000 > 0
    assert found.contradicted == words.count("contradicted") / 4000 > 0


def _p_above(values, bound):
    """One-sided p-value of a mean of `bound` or less, by Student's formula."""
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return stats.t.sf((mean - bound) / math.sqrt(variance / len(values)), len(values) - 1)


def _naive(exponents, faster, slower, seeds, *, level):
    kept = np.isfinite(exponents)
    if kept.sum() < 3 or kept.sum() < seeds / 2:
        return "undecidable"
    p = exponents[kept].tolist()
    better = [
        _p_above([math.copysign(math.sqrt(abs(a)), a) for a in side[kept].tolist()], 0)
        for side in (faster, slower)
    ]
    error = (1 - level) / 4
    for values, of in zip((p, [-v for v in p]), better, strict=True):
        if _p_above(values, 0.05) < error and of < 0.05:
            return "contradicted"
    within = max(_p_above([0.05 - v for v in p], 0), _p_above([0.05 + v for v in p], 0))
    return "supported" if within < 0.35 * (1 - level) / 2 and min(better) > 0.05 else "undecidable"


def test_sets_of_runs_that_cannot_be_used_decide_nothing():
    """Three of four runs are enough, two of four are not, nor are three of seven."""
    exponents = np.full(100, np.nan)
    exponents[:30] = 0.5 + 0.01 * rng().standard_normal(30)
    few = {s: stats.binom.pmf(np.arange(s + 1), s, 0.3) for s in (4, 7)}
    for seeds, least in ((4, 3), (7, 4)):
        fitted = population(exponents)
        found = verdict_shares(fitted, seeds, level=0.95, rng=rng())
        assert found.contradicted == pytest.approx(few[seeds][least:].sum(), abs=0.02)


def test_runs_that_are_all_equal_decide_nothing():
    found = verdict_shares(population(np.full(50, 0.5)), 4, level=0.95, rng=rng())
    assert (found.supported, found.contradicted) == (0, 0)


def test_spread_between_seeds_costs_power():
    of, times = stated(0.02, correlation=0.0), record_times(10_000)
    powers = []
    for spread in (0.0, 0.05, 0.2):
        fitted = fitted_runs(
            simulated(replace(of, seed_spread=spread), times, 0.15, draws=200, rng=rng())
        )
        powers.append(verdict_shares(fitted, 4, level=0.95, rng=rng()).contradicted)
    assert powers[0] > powers[1] > powers[2]


def test_seeds_differ_in_what_powers_explain_as_well_as_in_their_exponents():
    """A late logarithm describes a curve nearly as well whose exponent is nearer to 0."""
    of, times = stated(0.005, correlation=0.0, seed_spread=0.05), record_times(10_000)
    fitted = fitted_runs(simulated(of, times, 0.3, draws=200, rng=rng()))
    assert fitted.exponents.std() == pytest.approx(0.05, rel=0.2)
    assert np.corrcoef(fitted.exponents, fitted.advantage.faster)[0, 1] > 0.5


def test_series_that_a_verdict_leaves_out_have_no_exponent():
    """A walk's noise as large as its growth: the fits say that the signal is weak."""
    quiet, loud = stated(0.01), stated(3.0, correlation=0.0)
    times = record_times(1000)
    for of, least, most in ((quiet, 0.95, 1.0), (loud, 0.0, 0.3)):
        found = fitted_runs(simulated(of, times, 0.3, draws=60, rng=rng()))
        assert least <= np.isfinite(found.exponents).mean() <= most
        assert found.advantage.faster.shape == (60,)
        assert np.isfinite(found.advantage.faster).all()
    short = fitted_runs(simulated(quiet, record_times(300), 0.3, draws=20, rng=rng()))
    assert np.isnan(short.exponents).all()  # 2.48 decades, 2.5 needed


def test_powers_have_an_advantage_where_a_power_was_simulated():
    of, times = stated(0.01), record_times(10_000)
    power, log = (
        fitted_runs(simulated(of, times, exponent, draws=40, rng=rng())).advantage
        for exponent in (0.5, 0.0)
    )
    assert (power.faster > 0).mean() > 0.9
    assert log.faster.mean() < 0 and log.slower.mean() < 0


@pytest.mark.parametrize("draws", [8, 9])
def test_noise_comes_with_both_signs(draws):
    of = stated(0.1)
    table = simulated(of, of.times, 0.2, draws=draws, rng=rng()).values
    half = (draws + 1) // 2
    assert table.shape[0] == draws
    np.testing.assert_allclose(
        table[: draws - half] + table[half:],
        2 * (10 + curve(of, 0.2, of.times))[None].repeat(draws - half, axis=0),
    )


def test_the_error_agrees_with_the_formula_for_a_known_onset():
    """se(p̂) = √720·(σ/D)/(Λ·√n) for records even in ln t and white noise; an onset that is
    fitted as well about doubles it, more so where the records start at the onset."""
    of = Pilot(np.geomspace(1, 1e4, 60), NoiseModel("white"), 0.01)
    formula = math.sqrt(720) * 0.01 / (math.log(1e4) * math.sqrt(60))
    found = exponent_error(of, of.times, 0.0)
    assert formula < found < 4 * formula


def test_fitted_exponents_spread_as_the_error_says():
    of, times = stated(0.01, correlation=0.0, onset=20.0), record_times(10_000)
    fitted = fitted_runs(simulated(of, times, 0.2, draws=200, rng=rng())).exponents
    assert fitted.mean() == pytest.approx(0.2, abs=0.02)
    expected = exponent_error(of, times, 0.2)
    # Noise models that the fit has to choose among add to the asymptotic error.
    assert 0.8 * expected < fitted.std() < 1.6 * expected


def simulations(of, *, exponent=0.5, advance=None):
    return Simulations(Question(exponent, draws=100), of, np.random.default_rng(0), advance)


def test_each_length_is_simulated_once_and_counted():
    done = []
    found = simulations(stated(0.02), advance=lambda: done.append(1))
    powers = [found.power(seeds, 1000) for seeds in (4, 6, 4)]
    assert powers[0] == powers[2] <= powers[1]
    assert len(done) == 1


def test_a_pilot_without_an_onset_has_one_log_law():
    power, log, at_once = simulations(stated(0.02)).shares(6, 1000)
    assert log == at_once
    assert power.contradicted > 0.5 > log.contradicted
    assert log.supported > power.supported == 0


def test_an_onset_makes_the_log_law_of_onset_0_another():
    _, log, at_once = simulations(stated(0.05, onset=20.0)).shares(6, 10_000)
    assert log != at_once


def test_record_times_are_those_of_the_default_schedule():
    times = record_times(1000)
    assert times[0] == 1 and times[-1] == 1000 and np.all(np.diff(times) >= 1)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        (Question(0.0), "exponent"),
        (Question(-0.05), "exponent"),
        (Question(math.inf), "exponent"),
        (Question(1.5), "exponent"),
        (Question(-2.5), "exponent"),
        (Question(0.1, draws=1_000_000), "draws"),
        (Question(0.1, power=1.0), "power"),
        (Question(0.1, level=0.2), "level"),
        (Question(0.1, draws=10), "draws"),
    ],
)
def test_impossible_questions_are_refused(question, name):
    with pytest.raises(ValueError, match=f"{name}: found"):
        check_question(question)


def test_a_question_that_can_be_answered_passes():
    for exponent in (0.06, -0.3, 1.4, -1.9, math.nan):
        check_question(Question(exponent))
