"""A catalog says of recordings what is said of them whole."""

import json
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from ultraslow.analysis.report import absences, input_row
from ultraslow.analysis.runs import (
    ConditionError,
    arm_names,
    catalog as catalog_module,
    constant_rate,
    equal_sets,
    fitted_at,
    injected_noise,
    measured_until,
    place_of,
    runs_of,
    unusable,
)
from ultraslow.analysis.runs.catalog import catalog
from ultraslow.analysis.runs.gaps import gaps
from ultraslow.analysis.runs.load import load
from ultraslow.diffusion.recording import segment_file, to_bytes


@pytest.fixture
def folder(save, make, tmp_path):
    """Sound runs of two arms, one lost, one of another program, one live, one damaged."""
    folder = tmp_path / "runs"
    for size in (64, 256):
        for seed in range(3):
            save(f"b{size}-s{seed}", folder, batch_size=size, seed=seed, last=200)
    lost = make(run="lost", seed=3, last=200)
    lost["distance_sq"][-2:] = np.nan
    (folder / "lost.nc").write_bytes(to_bytes(lost.assign_attrs(config='{"rung": 2}')))
    make(run="other", seed=4, last=200, added_noise=0.1).to_netcdf(folder / "other.nc")
    (folder / "live").mkdir()
    (segment_file(folder / "live", 0)).write_bytes(to_bytes(make(run="live", seed=5, last=200)))
    damaged = bytearray((folder / "b64-s0.nc").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / "damaged.nc").write_bytes(damaged)
    negative = make(run="negative", seed=6, last=200)
    negative["distance_sq"][3, 1] = -1.0
    (folder / "negative.nc").write_bytes(to_bytes(negative))
    return folder


@pytest.mark.filterwarnings("ignore:not used")
def test_it_is_that_of_whole_recordings(folder):
    found, tree = catalog(folder), load(folder)
    runs = runs_of(tree)
    assert list(found.headings) == list(runs)
    assert found.unusable == unusable(tree)
    assert {item.source.rpartition("/")[2] for item in found.unusable} == {
        "damaged.nc",
        "negative.nc",
    }
    for name, run in runs.items():
        heading = found.headings[name]
        assert input_row(name, heading) == input_row(name, run)
        assert json.dumps(input_row(name, heading)) == json.dumps(input_row(name, run))
        for asked in (fitted_at, measured_until, injected_noise, place_of):
            assert asked(heading) == asked(run)
        assert constant_rate(heading).decades == constant_rate(run).decades
    for told in (gaps, absences, arm_names, equal_sets):
        assert told(found.headings) == told(runs)


@pytest.mark.filterwarnings("ignore:not used")
@pytest.mark.parametrize("lost", [False, True])
def test_many_are_read_by_processes_of_which_one_may_be_lost(folder, monkeypatch, lost):
    alone = catalog(folder)
    monkeypatch.setattr(catalog_module, "_MANY", 1)
    monkeypatch.setattr(catalog_module, "_PORTION", 2)
    if lost:
        monkeypatch.setattr(catalog_module, "ProcessPoolExecutor", Lost)
    found = catalog(folder, processes=2)
    assert list(found.headings) == list(alone.headings)
    assert found.unusable == alone.unusable
    for name, heading in found.headings.items():
        assert json.dumps(input_row(name, heading)) == json.dumps(
            input_row(name, alone.headings[name])
        )
        assert heading.attrs == alone.headings[name].attrs
    for told in (gaps, absences, arm_names, equal_sets):
        assert told(found.headings) == told(alone.headings)
    first, second = (found.headings[name] for name in ("b64-s0", "b64-s1"))
    assert first.variables["distance_sq"] is second.variables["distance_sq"]  # kept once


class Lost(ThreadPoolExecutor):
    """Processes of which one is ended after the first portion."""

    def __init__(self, processes, mp_context):
        super().__init__(processes)

    def map(self, function, portions):
        yield function(portions[0])
        raise BrokenProcessPool


def test_series_are_let_go(folder):
    heading = catalog(folder / "b64-s0.nc").headings["b64-s0"]
    with pytest.raises(LookupError, match="not read with the header"):
        _ = heading.variables["distance_sq"].values


@pytest.mark.filterwarnings("ignore:not used")
def test_conditions_choose_as_among_whole_recordings(folder):
    for where in ("batch_size == 256", "diverged", "state != 'closed'", "learning_rate < 0.015"):
        found, tree = catalog(folder, where=where), load(folder, where=where)
        assert list(found.headings) == list(runs_of(tree))
        assert (found.where, found.left_out) == (tree.attrs["where"], tree.attrs["left_out"])


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("bacth_size == 64", r"no name bacth_size \(batch_size\?\)"),
        ("__import__('os').system('true')", "found .*__import__.*expected names, numbers"),
        ("path.startswith('/')", "expected names, numbers"),
        ("seed == 99", "none of 9 recordings meets seed == 99; there seed is 0, 1, 2, 3"),
    ],
)
def test_a_condition_that_is_none_is_told(folder, where, said):
    with pytest.raises(ConditionError, match=said):
        catalog(folder, where=where)
