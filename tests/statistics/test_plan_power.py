"""The planner's claimed power against the fit as users run it."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from analysis.growth import fit_growth
from analysis.noise_models import simulate
from analysis.pilot import continued, curve, stated
from analysis.plan import Question, plan, record_times

PILOTS = {
    "persistent": stated(0.02, correlation=0.5, onset=5.0, seed_spread=0.02),
    "independent": stated(0.05, correlation=0.0, onset=2.0, seed_spread=0.03),
}
EXPONENTS = {"persistent": 0.1, "independent": 0.15}


def fits(of, times, exponent, count, *, rng):
    later = continued(of, times)
    noise = later.noise_share * simulate(later.noise, times, count, rng=rng)
    table = 10.0 + curve(of, exponent, times) + noise
    distance = xr.DataArray(table, {"iteration": times}, ["series", "iteration"])
    return fit_growth(distance, calibrate=False)


@pytest.fixture(scope="module", params=PILOTS)
def planned(request):
    of, exponent = PILOTS[request.param], EXPONENTS[request.param]
    question = Question(exponent, draws=1000)
    return plan(question, of, rng=np.random.default_rng(request.param == "persistent"))


@pytest.mark.slow
def test_seeds_tell_the_law_as_often_as_claimed(planned):
    option = next(item for item in planned.options if item.seeds == 4)
    rng = np.random.default_rng(2018)
    times, exponent, sets = record_times(option.last), planned.question.exponent, 500
    count = sets * option.seeds
    # Exponents differ between seeds by the pilot's spread: each series has one of its own.
    own = exponent + planned.pilot.seed_spread * rng.standard_normal(count)
    found = fits(planned.pilot, times, exponent, count, rng=rng)
    fitted = (found["exponent"].values + own - exponent).reshape(sets, option.seeds)
    power = float(np.mean(stats.ttest_1samp(fitted, 0.0, axis=1).pvalue < 0.05))
    print(f"claimed {option.power:.3f}, found {power:.3f}, until {option.last}")
    assert abs(power - option.power) < 0.05 + 2 * 0.018
