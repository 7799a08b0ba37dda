import numpy as np
import pytest
from numpy.testing import assert_allclose

from ultraslow.analysis.growth import fit_totals, misfit, misfits
from ultraslow.analysis.growth.windows import law_exponents, local_exponents

TIMES = np.geomspace(1, 1e4, 401)
RECORDS = np.append(0, np.unique(np.geomspace(1, 10_000, 60).astype(int)))


def bent(times):
    """A curve whose local exponent is .3 up to T/10 and .7 after that, of slope 1 there."""
    return np.where(times < 1e3, (times / 1e3) ** 0.3 / 0.3, (times / 1e3) ** 0.7 / 0.7 + 1.9048)


@pytest.mark.parametrize("exponent", [-0.4, 0.3, 1.0])
def test_a_power_has_its_exponent_in_every_window(exponent):
    found = local_exponents(TIMES, np.sign(exponent) * TIMES**exponent)
    assert found.size == 6
    # Means over a fifth of a decade, and records as far apart as they are, change nothing.
    kept = np.isfinite(found)
    assert_allclose(found[kept], exponent, atol=1e-3)
    assert kept[:4].all()


def test_a_bend_is_seen_where_it_is():
    found = local_exponents(TIMES, 5 + bent(TIMES))
    assert found[0] == pytest.approx(0.7, abs=0.06)
    assert_allclose(found[3:], 0.3, atol=0.01)
    assert (np.diff(found) < 0.01).all()


def test_windows_move_with_the_clock_and_ignore_offset_and_unit():
    expected = local_exponents(TIMES, bent(TIMES))
    assert_allclose(local_exponents(7 * TIMES, bent(TIMES)), expected)
    assert_allclose(local_exponents(TIMES, 0.1 * bent(TIMES) + 0.1), expected)


def test_what_is_too_short_or_at_rest_has_none():
    assert local_exponents(TIMES[TIMES < 15], TIMES[TIMES < 15]).size == 0
    assert local_exponents(TIMES[:1], TIMES[:1]).size == 0
    rest = np.minimum(TIMES, 100.0)
    assert np.isnan(local_exponents(TIMES, rest)[:3]).all()


def test_a_law_has_the_exponents_of_its_own_curve():
    exponents, onsets = np.array([0.0, 0.4]), np.array([50.0, 0.0])
    curves = np.stack([np.log(TIMES + 50), TIMES**0.4])
    found = law_exponents(TIMES, exponents, onsets)
    known = np.isfinite(local_exponents(TIMES, curves))
    assert_allclose(found[known], local_exponents(TIMES, curves)[known], atol=1e-8)
    assert np.isfinite(found).all()


def arm(*departures, spread=0.01):
    """Exponents of three seeds and of their laws, which differ by so much in each window."""
    law = np.full((3, len(departures)), 0.5)
    return law + departures + spread * np.array([[-1.0], [0.0], [1.0]]), law


def test_a_misfit_is_said_beyond_the_margin_alone():
    found = misfit(*arm(-0.2, 0.0, 0.3), level=0.95)
    assert found.local == (pytest.approx(0.3), pytest.approx(0.8))
    assert found.law == (0.5, 0.5)
    assert (found.window, found.departure.value) == (1.0, pytest.approx(0.3))
    assert str(found) == "local exponents run 0.30 to 0.80 where the fitted law says 0.50 to 0.50"
    assert misfit(*arm(-0.04, 0.04, spread=1e-4), level=0.95) is None
    # t of two degrees of freedom at level 1 − .05/4 is 8.9, and the error is spread/√3.
    assert misfit(*arm(0.0, 0.11), level=0.95) is not None
    assert misfit(*arm(0.0, 0.09), level=0.95) is None


def test_windows_that_a_seed_lacks_and_pairs_of_seeds_say_nothing():
    local, law = arm(0.0, 0.5)
    assert misfit(local[:2], law[:2], level=0.95) is None
    local[1, 1] = np.nan
    assert misfit(local, law, level=0.95) is None


def grown(make, seed, curve, **more):
    rng = np.random.default_rng(seed)
    times = RECORDS[1:]
    noise = 1e-3 * rng.standard_normal(times.size)
    distance = np.append(0.0, 1 + curve(times.astype(float)) + noise)
    squares = np.repeat(distance[:, None] ** 2 / 3, 3, axis=1)
    return make(records=RECORDS, distance_sq=squares, seed=seed, **more)


def test_columns_stand_beside_the_fits_and_copies_do_not_count(make):
    runs = {f"bent {k}": grown(make, k, bent) for k in range(3)}
    runs |= {f"power {k}": grown(make, k, lambda t: t**0.5 / 10, batch_size=256) for k in range(3)}
    fits = fit_totals(runs)
    assert fits["window"].values.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert fits["window_low"].sel(node="bent 0").item() == pytest.approx(0.3, abs=0.1)
    assert fits["window_high"].sel(node="bent 0").item() == pytest.approx(0.7, abs=0.1)
    assert_allclose(fits["law_exponent"].sel(node="power 0"), 0.5, atol=0.05)
    assert list(misfits(fits)) == ["batch size 64"]
    copies = {"bent 0": runs["bent 0"], "again": runs["bent 0"], "bent 1": runs["bent 1"]}
    assert misfits(fit_totals(copies)) == {}


def test_short_runs_have_no_windows(make):
    fits = fit_totals({"few": make(records=[0, 1, 2])})
    assert np.isnan(fits["window_low"].item()) and np.isnan(fits["local_exponent"]).all()
    assert misfits(fits) == {}
