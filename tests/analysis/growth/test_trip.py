"""How far a distance travels through a growth fit.

A reader who follows one curve has to open every module it enters, and to know what every function
of another module gives back. Both are counted while a fit runs: the modules entered, and the
functions, methods and properties included, that return something to a function of another module.
The fit is the second of its times, when all that follows from the times alone (factorizations,
simulated critical values) is there already and what is left is made from the distance.
"""

import sys
import threading
from pathlib import Path

import numpy as np
import xarray as xr

import ultraslow
from ultraslow.analysis.growth.fit import fit_growth

TIMES = np.geomspace(10, 1e5, 60)
HOUSE = Path(ultraslow.__file__).parent


def curves():
    """Noisy growth of several shapes, one of them without noise, one with records missing."""
    rng = np.random.default_rng(0)
    noise = 0.02 * rng.standard_normal((20, 60)).cumsum(axis=1) + 0.05 * rng.standard_normal(60)
    values = np.log(TIMES) + noise
    values[3], values[4] = np.log(TIMES), TIMES**0.3 + noise[4]
    values[5] = noise[5]
    values[6, 30] = np.nan
    return xr.DataArray(2 + values, {"iteration": TIMES}, ["series", "iteration"])


def traced(call):
    """Modules entered, and functions that gave something back to another module."""
    entered, returned = set(), set()

    def trace(frame, event, value):
        name = frame.f_code.co_filename
        if event != "return" or not name.startswith(str(HOUSE)):
            return
        entered.add(name)
        above = frame.f_back.f_code.co_filename if frame.f_back else name
        if value is not None and above != name and above.startswith(str(HOUSE)):
            returned.add((Path(name).stem, frame.f_code.co_name))

    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return entered, returned


def test_a_distance_passes_few_modules_and_few_hands():
    distance = curves()
    fit_growth(distance, draws=200)
    entered, returned = traced(lambda: fit_growth(distance, draws=200))
    assert ("surface", "surface") in returned  # that the trace sees what happens
    # Eight modules and twelve hands fit and judge; clocks, grids, blocks of records, departures
    # from the family and the law that lies beside records are five more, with what they say.
    assert len(entered) <= 13, sorted(entered)
    assert len(returned) <= 24, sorted(returned)
