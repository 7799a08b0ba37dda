from dataclasses import replace

import numpy as np
import pytest

from ultraslow.diffusion.recording.schedule import log_spaced
from ultraslow.diffusion.walks import line, potential, simulators
from ultraslow.diffusion.walks.simulators import FieldWalk, LineWalk, ScaleInvariant, Setup


def test_the_rate_follows_the_rule():
    arm = Setup(batch_size=256)
    assert arm.rate == pytest.approx(0.1)
    assert replace(arm, scaling="linear").rate == pytest.approx(0.2)


def test_heat_goes_with_the_rate_over_the_batch_size():
    hot, cold = Setup(), Setup(batch_size=1024)
    assert hot.heat == pytest.approx(1.0)
    assert cold.heat == pytest.approx(0.25)  # √16/16
    assert replace(cold, scaling="linear").heat == pytest.approx(1.0)
    assert replace(cold, scaling="fixed").heat == pytest.approx(1 / 16)
    assert replace(cold, scaling="linear", data_size=1024).heat == 0.0  # no noise at M = D


def test_seeds_and_batch_sizes_share_what_they_should():
    arm = Setup(seed=4)
    other = replace(arm, batch_size=128)
    assert arm.landscape_rng().random() == other.landscape_rng().random()
    assert arm.noise_rng().random() != other.noise_rng().random()
    assert arm.landscape_rng().random() != Setup(seed=5).landscape_rng().random()


def test_noise_is_not_compared_with_a_full_batch():
    for kind in (FieldWalk(dimension=2, modes=3), LineWalk(reach=9), ScaleInvariant(dimension=3)):
        with pytest.raises(ValueError, match="base_batch_size: found 64, .* below data_size 64"):
            kind.track(Setup(batch_size=8, scaling="linear", data_size=64), np.array([0, 1]))


def test_sizes_out_of_range_are_named():
    with pytest.raises(ValueError, match="batch_size: found 0, expected an integer >= 1"):
        _ = Setup(batch_size=0).rate


ARM = Setup(batch_size=128, seed=3)


def test_law_noise_has_its_size_and_correlation():
    t = log_spaced(1000, per_decade=5)
    noisy = simulators.LawCurve(noise=0.02, correlation=2.0)
    tracks = [noisy.track(replace(ARM, seed=seed), t) for seed in range(400)]
    exact = np.sqrt(simulators.LawCurve(noise=0.0).track(ARM, t).distance_sq)
    residual = np.sqrt([track.distance_sq for track in tracks]) - exact
    residual = residual[:, 1:] / (0.02 * exact[-1])
    assert residual.std() == pytest.approx(1.0, rel=0.05)
    found = np.corrcoef(residual[:, -1], residual[:, -4])[0, 1]
    expected = np.exp(-np.log(t[-1] / t[-4]) / 2.0)
    assert found == pytest.approx(expected, abs=4 * (1 - expected**2) / 20)


def test_the_full_batch_is_descent_without_noise():
    arm = Setup(batch_size=512, scaling="fixed", data_size=512)
    track = simulators.FieldWalk(dimension=3, modes=30).track(arm, np.arange(200))
    assert (np.diff(track.loss) <= 1e-12).all()


def test_line_walk_equals_the_occupation_of_its_potential():
    kind = simulators.LineWalk(hurst=0.4, reach=200, temperature=2.0)
    track = kind.track(Setup(seed=5), np.array([0, 10, 100]))
    v = potential.fractional_brownian(200, hurst=0.4, samples=1, rng=Setup(seed=5).landscape_rng())
    expected = line.occupation(v, [100.0], temperature=2.0).mean_sq[0, 0]
    assert track.distance_sq[-1] == pytest.approx(expected, rel=1e-3)


def test_a_line_walk_that_reaches_the_end_of_its_line_says_so():
    kind = simulators.LineWalk(reach=20)
    with pytest.warns(line.EdgeWarning, match="edge probability reaches"):
        kind.track(Setup(seed=5), np.array([0, 10, 100_000]))


def test_field_walk_knows_the_noise_that_heats_it():
    # T = η·σ²/(2M) with S = N·σ²
    kind = simulators.FieldWalk(dimension=4, temperature=0.7)
    arm = Setup()
    track = kind.track(arm, np.array([0, 1]))
    assert arm.rate * track.noise_trace / (2 * 64 * 4) == pytest.approx(0.7)


def test_law_names_are_checked():
    assert simulators.law_named("separable").name == "separable"
    with pytest.raises(ValueError, match="law: found 'cubic', expected one of"):
        simulators.law_named("cubic")
