from dataclasses import replace

import numpy as np
import pytest

from diffusion.arms import Arm
from diffusion.simulators import FieldWalk, LineWalk, ScaleInvariant


def test_the_rate_follows_the_rule():
    arm = Arm(batch_size=256)
    assert arm.rate == pytest.approx(0.1)
    assert replace(arm, scaling="linear").rate == pytest.approx(0.2)


def test_heat_goes_with_the_rate_over_the_batch_size():
    hot, cold = Arm(), Arm(batch_size=1024)
    assert hot.heat == pytest.approx(1.0)
    assert cold.heat == pytest.approx(0.25)  # √16/16
    assert replace(cold, scaling="linear").heat == pytest.approx(1.0)
    assert replace(cold, scaling="fixed").heat == pytest.approx(1 / 16)
    assert replace(cold, scaling="linear", data_size=1024).heat == 0.0  # no noise at M = D


def test_seeds_and_batch_sizes_share_what_they_should():
    arm = Arm(seed=4)
    other = replace(arm, batch_size=128)
    assert arm.landscape_rng().random() == other.landscape_rng().random()
    assert arm.noise_rng().random() != other.noise_rng().random()
    assert arm.landscape_rng().random() != Arm(seed=5).landscape_rng().random()


def test_noise_is_not_compared_with_a_full_batch():
    for kind in (FieldWalk(dimension=2, modes=3), LineWalk(reach=9), ScaleInvariant(dimension=3)):
        with pytest.raises(ValueError, match="base_batch_size: found 64, .* below data_size 64"):
            kind.track(Arm(batch_size=8, scaling="linear", data_size=64), np.array([0, 1]))


def test_sizes_out_of_range_are_named():
    with pytest.raises(ValueError, match="batch_size: found 0, expected an integer >= 1"):
        _ = Arm(batch_size=0).rate
