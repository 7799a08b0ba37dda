import numpy as np

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
