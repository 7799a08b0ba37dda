import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ultraslow.analysis.growth import late_logarithm as module
from ultraslow.analysis.growth.late_logarithm import advantage, candidates
from ultraslow.analysis.growth.noise_models import NoiseModel, noise_covariance
from ultraslow.diffusion.laws import growth_basis, late_logarithm

TIMES = np.geomspace(1, 1e4, 40)
LAST = TIMES[-1]


def one(curve, times=TIMES):
    found = advantage(times, np.asarray(curve)[None])
    return found.faster[0], found.slower[0]


@pytest.mark.parametrize("onset", [0.0, 1.0, 10.0, 100.0, 1000.0, 2500.0, 4000.0, 5000.0])
def test_no_power_beats_a_logarithm_that_has_set_in(onset):
    assert max(one(np.log(TIMES + onset))) < 0


def ending_within_the_margin(times, exponent, settled, width):
    """A curve whose slope grows like t^0.05 in the end, and less for a width below 1.

    The slope grows by the power q/(1 + (t/t_c)^k): k = ln(q/0.05 − 1)/ln(T/t_c) there.
    """
    power = math.log(exponent / 0.05 - 1) / -math.log(settled) / width
    return late_logarithm(
        times, exponent=exponent, settled=settled * times[-1], sharpness=power / exponent
    )


@pytest.mark.parametrize("settled", [0.003, 0.02, 0.1, 0.2])
@pytest.mark.parametrize(("exponent", "width"), [(0.35, 0.9), (0.55, 0.6), (0.9, 0.2)])
def test_no_power_beats_what_has_become_a_logarithm(settled, exponent, width):
    """None of these curves is one of those compared, but each lies between two of them."""
    assert max(one(ending_within_the_margin(TIMES, exponent, settled, width))) < 0


@pytest.mark.parametrize("start", [3.0, 60.0, 400.0])
@pytest.mark.parametrize("size", [0.8, 3.0, 7.0])
def test_no_power_beats_a_logarithm_with_a_start_that_saturates(start, size):
    assert max(one(np.log(TIMES) + size * -np.expm1(-TIMES / start))) < 0


@pytest.mark.parametrize("decades", [3, 4, 6])
@pytest.mark.parametrize("power", [0.6, 1.4, 1.5])
def test_no_power_beats_a_power_of_the_logarithm_that_ends_near_it(decades, power):
    """The slope of (ln(1 + t))^q grows like t^((q − 1)/ln t): like t^0.07 at most here."""
    times = np.geomspace(1, 10.0**decades, 20 * decades)
    assert max(one(np.log1p(times) ** power, times)) < 0


@pytest.mark.parametrize("exponent", [0.2, 0.4, 0.9])
@pytest.mark.parametrize("end", [0.05, 0.15, 0.25])
def test_growth_that_ends_beats_late_logarithms(exponent, end):
    """Slopes t^q e^(−t/t_e), integrated by trapezia."""
    fine = np.geomspace(1, LAST, 20_001)
    slope = fine**exponent * np.exp(-fine / (end * LAST))
    steps = (slope[1:] + slope[:-1]) / 2 * np.diff(np.log(fine))
    curve = np.interp(np.log(TIMES), np.log(fine), np.append(0.0, steps.cumsum()))
    faster, slower = one(curve)
    assert slower > 0 > faster


def test_what_turns_grows_no_faster_than_the_margin_in_the_end():
    times = np.geomspace(1, 1e5, 4001)
    curves = {name: curve for name, curve in module._late_logarithms(times) if "about" in name}
    assert curves
    for name, curve in curves.items():
        slope = np.gradient(curve, np.log(times))[-40:-2]
        assert np.polyfit(np.log(times[-40:-2]), np.log(slope), 1)[0] < 0.051, name


@pytest.mark.parametrize("exponent", [0.1, 0.12, 0.2])
def test_the_longer_a_small_power_lasts_the_farther_logarithms_miss_it(exponent):
    """Of the growth, over 3, 4.5 and 6 decades: noise of the same share hides it less and less."""
    misses = []
    for decades in (3, 4.5, 6):
        times = np.geomspace(1, 10**decades, round(20 * decades))
        misses.append(candidates(times, times**exponent, faster=True).misses[0])
    assert misses[0] > 0.003
    assert 1.1 * misses[0] < misses[1] and 1.1 * misses[1] < misses[2]


@pytest.mark.parametrize("exponent", [0.1, 0.2, 0.5, 0.8, 1.0])
def test_growing_powers_beat_late_logarithms_and_saturating_ones(exponent):
    faster, slower = one(TIMES**exponent)
    assert faster > max(slower, 0)


@pytest.mark.parametrize("exponent", [-0.2, -0.3, -1.0])
def test_saturating_powers_beat_late_logarithms_and_growing_ones_do_not(exponent):
    faster, slower = one(-((TIMES + 20.0) ** exponent))
    assert slower > 0
    assert faster < 0


@pytest.mark.parametrize("exponent", [-0.05, 0.05])
def test_the_margin_itself_is_among_the_logarithms(exponent):
    assert max(one(growth_basis(TIMES, exponent=exponent))) < 0


def test_noise_about_a_logarithm_gives_powers_no_advantage_on_average():
    rng = np.random.default_rng(0)
    wander = rng.standard_normal((200, 40)).cumsum(axis=1)
    for noise in (0.1 * rng.standard_normal((200, 40)), 0.05 * wander):
        found = advantage(TIMES, np.log(TIMES + 30) + noise)
        for values in (found.faster, found.slower):
            assert values.mean() < 3 * values.std() / 200**0.5
            assert (values > 0).mean() < 0.5


def test_the_advantage_is_that_of_explicit_generalized_least_squares():
    """Each curve is fitted by itself, with an offset and a scale that is not negative."""
    rng = np.random.default_rng(1)
    table = [TIMES**0.4, np.log(TIMES), -((TIMES + 5) ** -0.5), -TIMES]
    table = np.stack([d / np.ptp(d) for d in table]) + 0.02 * rng.standard_normal((4, 40))
    noise = NoiseModel("ar_log_t", 0.1 * np.log(LAST), 0.2)
    inverse = np.linalg.inv(noise_covariance(noise, TIMES))

    def unexplained(values, curve):
        design = np.stack([np.ones(40), (curve - curve.mean()) / np.ptp(curve)], axis=1)
        found = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ values)
        if found[1] < 0:
            mean = (inverse @ values).sum() / inverse.sum()
            left = values - mean
        else:
            left = values - design @ found
        return left @ inverse @ left

    def power(exponent, onset):
        return growth_basis(TIMES / LAST, exponent=exponent, onset=onset)

    late = [curve for _, curve in module._late_logarithms(TIMES)]
    # Each 1.6 times the one before it or less.
    soon = (0.0, *np.geomspace(0.5 / LAST, 1 / 30, 15))
    faster = [power(p, onset) for p in module._FASTER for onset in soon]
    slower = [power(p, onset) for p in module._SLOWER for onset in (*soon, 0.1, 1 / 3)]
    slower += [curve for _, curve in module._ended(TIMES)]
    found = advantage(TIMES, table)
    for place, values in enumerate(table):
        least = [min(unexplained(values, c) for c in curves) for curves in (late, faster, slower)]
        assert_allclose(found.faster[place], np.log(least[0] / least[1]), atol=1e-6)
        assert_allclose(found.slower[place], np.log(least[0] / least[2]), atol=1e-6)


SEEN = np.stack([np.sqrt(TIMES), np.log(TIMES + 30), -(TIMES**-0.3)])
SEEN = SEEN + 0.03 * np.random.default_rng(2).standard_normal(SEEN.shape)


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1e-6), (100.0, 1.0), (-7.0, 1e4)])
def test_offset_and_unit_of_the_distance_change_nothing(offset, scale):
    plain, mapped = advantage(TIMES, SEEN), advantage(TIMES, offset + scale * SEEN)
    assert_allclose(mapped.faster, plain.faster, atol=1e-6)
    assert_allclose(mapped.slower, plain.slower, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-3, 7.0, 1e5])
def test_the_unit_of_time_changes_nothing(unit):
    plain, mapped = advantage(TIMES, SEEN), advantage(unit * TIMES, SEEN)
    assert_allclose(mapped.faster, plain.faster, atol=1e-6)
    assert_allclose(mapped.slower, plain.slower, atol=1e-6)


def test_each_series_is_judged_by_itself():
    together = advantage(TIMES, SEEN)
    for place, values in enumerate(SEEN):
        alone = one(values)
        assert_allclose(alone, (together.faster[place], together.slower[place]), atol=1e-10)


def test_a_curve_that_never_grows_gives_no_side_an_advantage():
    """Shapes may not be turned upside down: what falls is explained by neither."""
    assert_allclose(one(-TIMES), 0.0, atol=1e-9)


# The two curves of the picture.


@pytest.mark.parametrize("onset", [0.0, 30.0, 4000.0])
def test_a_late_logarithm_is_its_own_best_logarithm(onset):
    curve = 7.0 + 2.5 * np.log(TIMES + onset)
    found = candidates(TIMES, curve, faster=True)
    assert found.misses[0] < 0.004 < found.misses[1]
    assert onset or found.laws[0] == "log t"
    assert_allclose(found.logarithm, curve, atol=0.012 * np.ptp(curve))


@pytest.mark.parametrize(("exponent", "faster"), [(0.5, True), (-0.5, False)])
def test_a_power_is_its_own_best_power_whatever_its_offset_and_scale(exponent, faster):
    curve = 4.0 + 0.3 * TIMES**exponent * np.sign(exponent)
    found = candidates(TIMES, curve, faster=faster)
    assert_allclose(found.power, curve, atol=0.02 * np.ptp(curve))
    assert found.misses[1] < found.misses[0] / 3
    assert found.laws[1] == {0.5: "t^0.5"}.get(exponent, found.laws[1])


def test_the_better_candidate_is_the_one_with_the_advantage():
    """In the metric: the ratio of what both leave unexplained is the advantage."""
    noise = NoiseModel("ar_log_t", 0.1 * np.log(LAST), 0.2)
    inverse = np.linalg.inv(noise_covariance(noise, TIMES))
    found = advantage(TIMES, SEEN)
    for place, values in enumerate(SEEN):
        for side, faster in ((found.faster, True), (found.slower, False)):
            both = candidates(TIMES, values, faster=faster)
            left = [(values - c) @ inverse @ (values - c) for c in (both.logarithm, both.power)]
            assert_allclose(np.log(left[0] / left[1]), side[place], atol=1e-6)
