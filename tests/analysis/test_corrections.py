"""Corrections of critical values for fitted noise."""

import numpy as np
import pytest

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


# By hand at n = 41 records over ln 10⁴ = 9.21, whose spacing is 0.2303: correlations over more
# than eight spacings, 1.842, are persistent.
CASES = [
    (NoiseModel("white"), 0.8, 0.8),
    (NoiseModel("ar_log_t", 1.83), 0.8, 0.8),
    (NoiseModel("ar_log_t", 1.85), 1.0, 1 + 11 / 41),
    (NoiseModel("ar_log_t", 0.1, 0.5), 1 + 6 / 41, (1 + 6 / 41) * (1 + 11 / 41)),
    (NoiseModel("walk_t"), 1 + 3 / 41, (1 + 3 / 41) * (1 + 11 / 41)),
    (NoiseModel("walk_log_t", nugget=0.1), 1 + 6 / 41, (1 + 6 / 41) * (1 + 11 / 41)),
    (NoiseModel("ou_t", 100.0), 1.0, 1.0),
    (NoiseModel("ou_t", 100.0, 0.4), 1 + 6 / 41, (1 + 6 / 41) * (1 + 11 / 41)),
    (NoiseModel("white", power=0.3), 1.0, 1.0),
]


@pytest.mark.parametrize("row", range(len(CASES)))
def test_factors_worked_by_hand(row):
    times = np.geomspace(10, 1e5, 41)
    found = corrections(frame(times, tuple(case[0] for case in CASES), onsets=(0.0, 1e3)))
    np.testing.assert_allclose(found[:, row], CASES[row][1:], rtol=1e-12)
