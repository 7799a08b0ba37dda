"""Factors of critical values for noise that is fitted to the same records.

A critical value simulated under the fitted noise takes that noise for the true one. How often the
test then rejects a true exponent was simulated under many kinds of noise, and what it was off by
is made up for here.
"""

import numpy as np
from numpy.typing import NDArray

from .likelihood import Frame
from .noise_models import NoiseModel

Array = NDArray[np.float64]

_LONG = 8.0  # records a correlation must reach over to count as persistent
_SHORT_NOISE, _HIDDEN, _WALK, _ONSET = 0.8, 6.0, 3.0, 11.0  # see `corrections`


def corrections(frame: Frame) -> Array:
    """Factors of critical values that make up for the noise being fitted to the same records.

    The noise fitted to a curve under persistent noise is too tame more often than too wild, most
    of all where independent noise hides it or where an onset can pass for part of it, and the
    critical value simulated under the fitted noise is too small; under noise that fades within a
    few records the averaging over models makes it too large. The factors, which tend to 1 with the
    number n of records for persistent noise, were fitted to simulated rejections at 60 and 30
    records over 2.5 to 4 decades; tests/statistics judges them at others.

    Arguments:
        frame: shared quantities of the time grid.

    Returns:
        Factors, shape (2, model): for an onset at the start of its range and inside it. They are 1
        where the menu leaves no choice.
    """
    models, times = frame.models, frame.basis.times
    if len(models) == 1:
        return np.ones((2, 1))
    long = _LONG * np.log(times[-1] / times[0]) / (times.size - 1)
    rows = [
        [_correction(m, times.size, long=long, inside=inside) for m in models] for inside in (0, 1)
    ]
    return np.array(rows)


def _correction(model: NoiseModel, records: int, *, long: float, inside: int) -> float:
    plain = model.kind in ("white", "ar_log_t") and not model.nugget and not model.power
    if plain and model.length < long:
        return _SHORT_NOISE
    persistent = model.wanders or model.nugget > 0 or plain
    factor = 1 + _HIDDEN * (model.nugget > 0) / records
    factor *= 1 + _WALK * (model.wanders and not model.nugget) / records
    return factor * (1 + _ONSET * inside * persistent / records)
