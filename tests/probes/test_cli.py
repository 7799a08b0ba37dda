import json

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import analysis, probes
from ultraslow.diffusion.cli import main
from ultraslow.diffusion.recording.errors import RecordError


def test_modes_of_one_and_two_processes(capsys):
    assert main(["verify", "--updates", "50", "--processes", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    modes = {mode["mode"]: mode for mode in answer["modes"]}
    assert answer["passed"]
    assert len(modes) == 12
    assert modes["DDP, no_sync"]["units"] == 4
    assert all(len(mode["checks"]) == 3 for mode in modes.values())


def test_too_little_is_refused(capsys):
    assert main(["verify", "--updates", "10"]) == 2
    assert "found 10, 4, expected at least 50 and 2" in capsys.readouterr().err


@pytest.fixture
def cut(tmp_path):
    """A live recording of a run that ended without closing, its last segment cut off."""
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run"
    with pytest.raises(KeyError), probes.attach(model, optimizer, path, batch_size=4) as recorder:
        recorder._flushes._pace._limit = 2
        for _ in range(12):
            model(torch.randn(4, 3)).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        raise KeyError("the end")
    last = sorted(path.glob("segment-*.nc"))[-1]
    last.write_bytes(last.read_bytes()[:-100])
    return path


@pytest.mark.parametrize("command", [["repair"], ["info", "--repair"]])
def test_sound_parts_are_kept_and_the_loss_is_told(cut, capsys, command):
    assert main([*command, str(cut)]) == 0
    told = capsys.readouterr().out
    assert "repaired" in told
    assert "set aside" in told
    kept = xr.load_dataset(cut.with_suffix(".nc"))["iteration"].values
    assert np.all(np.diff(kept) == 1)
    assert main(["repair", str(cut)]) == 0
    assert "sound" in capsys.readouterr().out


def test_sound_records_are_not_called_repaired(cut, capsys):
    """Missing initial weights are told of, and nothing is done."""
    assert main(["repair", str(cut)]) == 0
    capsys.readouterr()
    for file in cut.glob("initial-*"):
        file.unlink()
    assert main(["repair", str(cut)]) == 0
    told = capsys.readouterr().out
    assert "records, sound\n" in told
    assert "no initial weights" in told


def test_nothing_to_repair_is_a_fault(tmp_path, capsys):
    assert main(["repair", str(tmp_path / "none")]) == 2
    assert "found no recording" in capsys.readouterr().err


def test_a_flipped_bit_never_reads_as_another_number(cut):
    segment = sorted(cut.glob("segment-*.nc"))[0]
    whole = segment.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place) % 8
        single = cut.parent / "single.nc"
        single.write_bytes(damaged)
        try:
            runs = analysis.load(single)
        except RecordError:
            continue
        original = xr.load_dataset(segment)
        (found,) = runs.children.values()
        for name in original.variables:
            floating = original[name].dtype.kind == "f"
            assert np.array_equal(original[name], found[name], equal_nan=floating), name
