"""How far a recording travels to the verdict on P2.

A reader who follows a recording has to open every module that it enters. Counted are the modules
in which a function is called with a recording, a study, or an array of more than one record made
from them; numbers, one a run, and words are no recordings any more.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ultraslow
from ultraslow.analysis.predictions import table

HOUSE = Path(ultraslow.__file__).parent
SEEDS, SIZES = 4, (64, 256)
FEWEST = 10  # no array of one number a run has as many here


def holds_records(value, depth=0):
    if isinstance(value, xr.Dataset | xr.DataArray | xr.DataTree):
        return True
    if isinstance(value, np.ndarray):
        return value.size >= FEWEST
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return depth < 4 and any(holds_records(item, depth + 1) for item in value[:3])
    parts = vars(value) if type(value).__module__.startswith("ultraslow") else {}
    return depth < 4 and holds_records(list(parts.values()), depth + 1)


def entered(call):
    """Modules whose functions are called with records."""
    found = {}

    def trace(frame, event, _):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(HOUSE)):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if code.co_filename not in found and any(
            holds_records(frame.f_locals.get(name)) for name in names
        ):
            found[code.co_filename] = code.co_name

    sys.setprofile(trace)
    try:
        call()
    finally:
        sys.setprofile(None)
    return {str(Path(name).relative_to(HOUSE)) for name in found}


def test_a_recording_passes_few_modules_on_its_way_to_p2(save, tmp_path, monkeypatch):
    for size in SIZES:
        for seed in range(SEEDS):
            rate = 0.1 * (size / 64) ** 0.5
            save(f"b{size}-s{seed}", batch_size=size, seed=seed, rate=rate, data_size=4096)
    monkeypatch.setattr(table, "TESTS", {"P2": table.TESTS["P2"]})
    verdicts = []
    passed = entered(lambda: verdicts.append(table.test(ultraslow.load(tmp_path))))
    assert verdicts[0]["verdict"].values.tolist() == [["supported"]]
    assert "analysis/predictions/batch_size/collapse.py" in passed  # that the trace sees it
    # Five of them look for copies, odd runs and phases of constant rate, as for any verdict.
    assert len(passed) <= 15, sorted(passed)


@pytest.mark.parametrize(
    ("value", "truth"),
    [
        (xr.Dataset(), True),
        ({"a": [np.zeros(20)]}, True),
        (np.zeros(SEEDS), False),
        ([0.1] * 20, False),
        ("sqrt", False),
    ],
)
def test_numbers_one_a_run_are_no_recordings(value, truth):
    assert holds_records(value) == truth
