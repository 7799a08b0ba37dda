"""Corrections of critical values for fitted noise."""

import numpy as np

from analysis.corrections import corrections
from analysis.likelihood import frame
from analysis.noise_models import NoiseModel

TIMES = np.geomspace(10, 1e5, 40)


def test_corrections_fade_with_the_records_of_persistent_noise():
    models = (NoiseModel("white"), NoiseModel("ar_log_t", 2.0, 0.5), NoiseModel("walk_t"))
    few, many = (
        corrections(frame(np.geomspace(10, 1e5, count), models, onsets=(0.0, 1e3)))
        for count in (30, 120)
    )
    assert np.all(few[:, 1:] > many[:, 1:])
    assert np.all(many[:, 1:] > 1)
    assert np.all(few[1, 1:] > few[0, 1:])  # an onset can pass for part of the noise
    assert np.all(few[:, 0] < 1)


def test_noise_that_is_known_needs_no_correction():
    assert np.array_equal(
        corrections(frame(TIMES, (NoiseModel("white"),), onsets=(0.0, 0.0))), np.ones((2, 1))
    )
