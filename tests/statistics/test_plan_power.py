"""What the planner promises against the verdict on P1 as users get it.

Runs are simulated with an exponent of their own each, fitted with simulated critical values, and
judged set by set by `log_growth`: nothing here is the planner's own but the runs it asks for.
"""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.growth.noise_models import simulate_noise
from ultraslow.analysis.growth.runs import fit_tensors, late_growth
from ultraslow.analysis.planning.pilot import continued, curve, stated
from ultraslow.analysis.planning.plan import plan_runs
from ultraslow.analysis.planning.power import Question, record_times
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.study import Study

PILOTS = {
    "persistent": stated(0.02, correlation=0.5, onset=5.0, seed_spread=0.02),
    "independent": stated(0.05, correlation=0.0, onset=2.0, seed_spread=0.03),
    "at once": stated(0.02, correlation=1.0, seed_spread=0.01),
}
EXPONENTS = {"persistent": 0.15, "independent": 0.2, "at once": 0.1}
SETS = 120


@pytest.fixture(scope="module", params=PILOTS)
def planned(request):
    of, exponent = PILOTS[request.param], EXPONENTS[request.param]
    return plan_runs(Question(exponent, draws=1000), of, rng=np.random.default_rng(2017))


def words(of, option, exponent, *, single, rng):
    """Verdicts on sets of runs of the design whose exponents lie around the one given."""
    times, count = record_times(option.last), SETS * option.seeds
    later = continued(of, times)
    own = exponent + of.seed_spread * rng.standard_normal(count)
    noise = later.noise_share * simulate_noise(later.noise, times, count, rng=rng)
    grown = np.stack([curve(of, p, times) for p in own])
    runs = {
        f"n{k}": single(distance, times, seed=k) for k, distance in enumerate(10.0 + grown + noise)
    }
    # Of a single tensor: the total distance, with fewer draws a critical value.
    fits = fit_tensors(runs, draws=200).isel(tensor=0, drop=True)
    curves = {
        name: (run["distance_sq"].isel(tensor=0, drop=True) ** 0.5).sel(iteration=times)
        for name, run in runs.items()
    }
    fits = fits.assign(late_growth(curves, fits, level=0.95))
    names = list(runs)
    found = Counter()
    for k in range(0, count, option.seeds):
        members = names[k : k + option.seeds]
        chosen = {name: runs[name] for name in members}
        found[log_growth(Study(chosen, fitted=fits)).verdict] += 1
    return found


def tightest(planned):
    """The option whose power is nearest to what was asked for: it tests the promise hardest."""
    return min((one for one in planned.options if one.last), key=lambda one: one.power)


def close(share, claimed):
    """Within three binomial errors, and what the error of the planner's own draws adds."""
    return abs(share - claimed) < 3 * math.sqrt(max(claimed * (1 - claimed), 0.01) / SETS) + 0.05


@pytest.mark.slow
def test_the_verdict_comes_out_as_often_as_promised(planned, single):
    option, rng = tightest(planned), np.random.default_rng(2018)
    found = words(planned.pilot, option, planned.question.exponent, single=single, rng=rng)
    print(f"\nt^p: claimed {option.power:.3f}, found {found}, {option.seeds} x {option.last}")
    # The promise is 80 %; two binomial errors of 120 sets are 7 %.
    assert found["contradicted"] / SETS >= planned.question.power - 0.07
    assert close(found["contradicted"] / SETS, option.power)
    assert found["supported"] <= 0.02 * SETS


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [False, True])
def test_a_true_log_law_is_contradicted_as_rarely_as_promised(planned, at_once, single):
    if at_once and not planned.pilot.onset:
        pytest.skip("the pilot has no onset: the other case is this one")
    option, rng = tightest(planned), np.random.default_rng(2019)
    of = replace(planned.pilot, onset=0.0) if at_once else planned.pilot
    found = words(of, option, 0.0, single=single, rng=rng)
    alarms = option.alarms_at_once if at_once else option.false_alarms
    claimed = f"supported {option.log_supported:.3f}, contradicted {alarms:.3f}"
    print(f"\nlog t, onset {of.onset}: claimed {claimed}, found {found}")
    assert found["contradicted"] / SETS <= alarms + 0.03
    if not at_once:
        assert close(found["supported"] / SETS, option.log_supported)
