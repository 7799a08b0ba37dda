import json
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from records import records

from ultraslow import analysis, probes
from ultraslow.diffusion import cli
from ultraslow.diffusion.cli import main
from ultraslow.diffusion.recording import LABELS
from ultraslow.diffusion.recording.errors import RecordError
from ultraslow.diffusion.scaling import RULES
from ultraslow.probes.cli import label as cli_label
from ultraslow.probes.storage.segments import SegmentStore


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
    assert main(["repair", str(tmp_path)]) == 2
    told = f"found the folder {tmp_path}, expected a single recording, and none is in it"
    assert told in capsys.readouterr().err
    (tmp_path / "a.nc").write_bytes(b"")
    assert main(["repair", str(tmp_path)]) == 2
    told = f"expected a single recording, one of those in it: {tmp_path / 'a.nc'}\n"
    assert told in capsys.readouterr().err


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


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """Two closed recordings without labels, and the command as it is installed."""
    entry = EntryPoint("label", "ultraslow.probes.cli:label", cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry])
    for name in ("a", "b=1"):
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        probes.attach(model, optimizer, tmp_path / name, batch_size=4).close()
    return [str(tmp_path / "a"), str(tmp_path / "b=1.nc")]


def test_labels_are_added_and_told(two_runs, capsys, monkeypatch, tmp_path):
    assert main(["label", two_runs[0], "seed=3", "scaling=sqrt", "model=a=b"]) == 0
    assert capsys.readouterr().out == f"{two_runs[0]}.nc: seed 3, scaling sqrt, model a=b\n"
    assert main(["label", "data_size=5e4", *two_runs]) == 0
    assert main(["label", two_runs[0], "seed=4", "scaling=sqrt"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1:] == [f"{two_runs[1]}: data_size 50000", f"{two_runs[0]}.nc: seed 4 (was 3)"]
    monkeypatch.chdir(tmp_path)
    assert main(["label", "b=1.nc", "seed=7"]) == 0
    found = xr.load_dataset(tmp_path / "b=1.nc")
    assert (found["seed"].item(), found["data_size"].item()) == (7, 50_000)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{a}"], "found no label for {a}, expected NAME=VALUE as in seed=3"),
        (["seed=3"], "found no recording to label, expected RUN NAME=VALUE"),
        (["{a}", "{b}", "seed=3"], "seed: found one for 2 recordings, expected one for each"),
        (["{a}", "seed=3", "seed=4"], "seed: found '3' and '4', expected one of them"),
        (["{a}", "seed=three"], "seed: found 'three', expected an integer"),
        (["{a}", "seed="], "seed: found '', expected an integer"),
        (["{a}", "scaling=sqroot"], "scaling: found 'sqroot', expected fixed, sqrt, exact_sqrt"),
        (["{a}", "sed=3"], "sed: no label (seed?), expected one of"),
        (["{a}", "batch_size=8"], "batch_size: the recording was measured with it"),
        (["{a}", "data_size=-1"], "data_size: found -1, expected a number of samples, >= 1"),
        (["{a}-none", "seed=3"], "path: found no recording at {a}-none"),
        (["{near}", "seed=3"], "path: found no recording at {near} ({b}?)"),
        (
            ["{folder}", "seed=3"],
            "path: found the folder {folder}, expected a single recording, one of",
        ),
        (
            ["{here}", "seed=3"],
            "path: found {here}, expected a recording: a file ending in .nc, or",
        ),
    ],
)
def test_what_cannot_be_labelled_is_told_and_stays(two_runs, capsys, words, message):
    places = {"a": two_runs[0], "b": two_runs[1]}
    places["near"] = Path(two_runs[1]).with_name("b=1x")
    places |= {"folder": Path(two_runs[1]).parent, "here": Path(__file__)}
    files = [Path(f"{two_runs[0]}.nc"), Path(two_runs[1])]
    before = [file.read_bytes() for file in files]
    assert main(["label", *(word.format(**places) for word in words)]) == 2
    assert f"ultraslow label: {message.format(**places)}" in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == before


def test_the_help_names_all_labels():
    assert set(LABELS) <= set(re.findall(r"\w+", cli_label.__doc__))
    assert set(RULES) <= set(re.findall(r"\w+", cli_label.__doc__))


def test_names_of_files_do_nothing_to_the_terminal(tmp_path, capsys):
    name = "a\x1b[31mb\nc"
    store = SegmentStore(tmp_path / name)
    store.open()
    store.write(records(0))
    store.write(records(1))
    store.lease.release()
    store.segments()[1].write_bytes(b"no file")
    assert main(["repair", str(tmp_path / name)]) == 0
    assert main(["repair", str(tmp_path / f"{name}d")]) == 2
    said = capsys.readouterr()
    assert r"a\x1b[31mb\nc" in said.out
    assert r"a\x1b[31mb\ncd" in said.err
    assert "\x1b" not in said.out + said.err
