import json

import pytest
import xarray as xr

from analysis.rungs import Place, place_of

TOLD = {"ladder": "limit", "rung": 3, "rung_name": "step 3"}


def run(config, **attributes):
    return xr.Dataset(attrs={"config": config, **attributes})


def test_a_runs_place_is_read_from_metadata_or_attributes():
    assert place_of(run(json.dumps(TOLD))) == Place("limit", 3, "step 3")
    plain = run("{}", rung="2", rung_name="warm-up", ladder="other")
    assert place_of(plain) == Place("other", 2, "warm-up")
    assert place_of(run(json.dumps(TOLD), rung=5)) == Place("limit", 5, "step 3")
    assert place_of(run(json.dumps({"rung": 0}))) == Place("", 0, "")


@pytest.mark.parametrize(
    "config",
    [
        "not JSON",
        "[1]",
        "{}",
        '{"rung": Infinity}',
        '{"rung": "top"}',
        '{"rung": null}',
        "[" * 10**5,
    ],
)
def test_a_run_that_says_nothing_of_use_stands_on_no_rung(config):
    assert place_of(run(config)) is None
    assert place_of(xr.Dataset()) is None
