import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth.noise_models import NoiseModel, noise_covariance
from ultraslow.analysis.growth.runs import fit_totals
from ultraslow.analysis.planning.pilot import Pilot, continued, curve, pilot, stated

TIMES = np.geomspace(1, 1000, 40)
FEW = [0, *range(1, 10), *np.unique(np.geomspace(10, 2000, 20).astype(int))]


def test_every_law_grows_by_one_over_the_pilots_records():
    of = Pilot(TIMES, NoiseModel("white"), 0.01, onset=7.0)
    for exponent in (-0.5, 0.0, 0.1, 0.5, 1.0):
        grown = curve(of, exponent, TIMES)
        assert grown[0] == pytest.approx(0.0, abs=1e-12)
        assert grown[-1] == pytest.approx(1.0)
    # By hand, τ = 0: ln 10⁴/ln 10³ and (10² − 1)/(10^1.5 − 1).
    plain = Pilot(TIMES, NoiseModel("white"), 0.01)
    later = np.array([1.0, 10_000.0])
    assert curve(plain, 0.0, later)[1] == pytest.approx(4 / 3)
    assert curve(plain, 0.5, later)[1] == pytest.approx(99 / (10**1.5 - 1))


@pytest.mark.parametrize(
    "noise",
    [
        NoiseModel("white"),
        NoiseModel("ar_log_t", length=0.5, nugget=0.25),
        NoiseModel("ou_t", length=50.0),
        NoiseModel("white", power=0.3),
        NoiseModel("ar_log_t", length=0.5, power=-0.2),
        NoiseModel("walk_log_t", nugget=0.02),
        NoiseModel("walk_t", nugget=0.03),
    ],
)
def test_continued_noise_is_the_same_on_the_pilots_own_records(noise):
    """The records they share have the same covariance; walks, up to the free offset."""
    of = Pilot(TIMES, noise, 0.02)
    longer = np.concatenate([TIMES, np.geomspace(1200, 100_000, 30)])
    later = continued(of, longer)
    old = of.noise_share**2 * noise_covariance(of.noise, TIMES)
    new = later.noise_share**2 * noise_covariance(later.noise, longer)[:40, :40]
    differ = np.eye(40)[1:] - np.eye(40)[:-1]  # of neighbours: no offset in them
    both = (old, new) if not noise.wanders else (differ @ x @ differ.T for x in (old, new))
    np.testing.assert_allclose(*both, rtol=1e-9, atol=1e-15)


def test_a_pilot_is_read_from_recordings(make):
    runs = {f"r{k}": make(seed=k, noise=0.004, last=2000) for k in range(3)}
    runs = {name: run.assign_coords(data_size=5000) for name, run in runs.items()}
    found = pilot(runs, fit_totals(runs))
    distance = np.sqrt(runs["r0"]["distance_sq"].sum("tensor").values[1:])
    # Noise of 0.4 % of distances between 1 and 8.6, over a growth of 7.6.
    expected = 0.004 * np.sqrt(np.mean(distance**2)) / np.ptp(distance)
    assert found.noise_share == pytest.approx(expected, rel=0.5)
    assert (found.batch_size, found.times[-1]) == (64, 2000)
    assert found.noise_scale == pytest.approx(200, rel=0.1)  # the simulated B_simple
    assert found.data_size == 5000
    assert found.seed_spread < 0.02
    assert "one of 3" in found.source


def test_copies_do_not_narrow_the_spread_between_seeds(make):
    runs = {f"r{k}": make(seed=k, exponent=0.3 * k, records=FEW) for k in range(2)}
    fits = fit_totals(runs)
    copies = {f"copy{k}": runs["r0"] for k in range(3)}
    again = [fits.sel(node=["r0"]).assign_coords(node=[name]) for name in copies]
    found = pilot(runs | copies, xr.concat([fits, *again], "node"))
    assert found.seed_spread == pilot(runs, fits).seed_spread > 0.1
    assert "one of 2" in found.source


def test_a_pilot_that_cannot_be_fitted_says_why(make):
    runs = {"a": make(records=[0, 1, 2, 4])}
    with pytest.raises(ValueError, match="no run that could be fitted.*records"):
        pilot(runs, fit_totals(runs))


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ({"noise_share": 0.0}, "noise_share"),
        ({"noise_share": 0.1, "onset": -1.0}, "onset"),
        ({"noise_share": 0.1, "correlation": float("nan")}, "correlation"),
        ({"noise_share": 0.1, "seed_spread": -0.1}, "seed_spread"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers, name):
    with pytest.raises(ValueError, match=f"{name}: found"):
        stated(**numbers)
