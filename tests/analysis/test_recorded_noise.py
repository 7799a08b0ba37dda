import numpy as np
import pytest

from analysis.noise import noise_interval
from analysis.recorded_noise import noise_over_time, run_noise_scale


def test_a_recording_gives_back_its_noise_scale(make):
    found = run_noise_scale(make(last=20_000))
    assert found.low < 200 < found.high  # conftest.B_SIMPLE
    assert found.high / found.low < 1.1
    assert found.updates == 20_000


def test_a_recording_without_noise_says_why(make):
    run = make(gradient_sq=None, noise_trace=None, noise_updates=None)
    assert run_noise_scale(run).reason == "no gradient noise was recorded"
    run.attrs["noise_absent"] = "every update had one unit"
    assert run_noise_scale(run).reason == "every update had one unit"
    assert noise_over_time([run]).sizes["iteration"] == 0


def test_noise_over_time_follows_a_growing_noise_scale(make):
    runs = [make(seed=seed, last=10_000) for seed in range(3)]
    growth = 1 + runs[0]["iteration"] / 1000
    grown = [run.assign(noise_trace=run["noise_trace"] * growth) for run in runs]
    found = noise_over_time(grown)
    expected = 200 * (1 + found["iteration"] / 1000)
    late = found["iteration"] > 100
    np.testing.assert_allclose(found["estimate"][late], expected[late], rtol=0.1)
    assert bool((found["low"] < found["high"])[late].all())


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_the_interval_is_that_of_the_windows_at_the_level_asked_for(make, level):
    run = make(last=2000)
    totals = [run[name].values.sum(axis=1) for name in ("gradient_sq", "noise_trace")]
    updates = run["noise_updates"].values.astype(float)
    assert run_noise_scale(run, level=level) == noise_interval(*totals, updates, level=level)
    # The fifth of a decade that begins at 1000 ends at 1584.9.
    at = run["iteration"].values
    inside = (at >= 1000) & (at <= 1584)
    expected = noise_interval(*(x[inside] for x in totals), updates[inside], level=level)
    found = noise_over_time([run], level=level).sel(iteration=slice(1000, 1584))
    assert (found["estimate"].item(), found["low"].item(), found["high"].item()) == (
        expected.estimate,
        expected.low,
        expected.high,
    )
    assert np.isfinite(expected.low)


def test_a_window_with_an_unknown_tensor_does_not_count(make):
    run = make(last=2000)
    updates = int(run["noise_updates"].values[-1])
    run["noise_trace"][-1, 0] = np.nan
    assert run_noise_scale(run).updates == 2000 - updates


def test_a_bin_lies_at_the_geometric_middle_of_its_records(make):
    # Fifths of a decade begin at 100, 158.5, 251.2, 398.1 and 631.
    run = make(records=[0, 100, 144, 200, 300, 450, 900])
    found = noise_over_time([run])["iteration"].values
    np.testing.assert_allclose(found, [120.0, 200.0, 300.0, 450.0, 900.0], rtol=1e-12)
