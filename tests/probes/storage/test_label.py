import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow import analysis, probes
from ultraslow.diffusion.recording import LABELS, RecordError, read_file
from ultraslow.diffusion.recording.netcdf import MARK, checksum
from ultraslow.probes.storage import segments
from ultraslow.probes.storage.label import label_recording

WHOLE = {"seed": 3, "scaling": "sqrt", "data_size": 40, "data": "digits", "ghost_size": 2}
TIMES = {"wall_time", "probe_seconds"}


def trained(path, *, close=True, updates=6, resume=None, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    checkpoint = getattr(resume, "checkpoint", None)
    if checkpoint:
        model.load_state_dict(checkpoint[0])
        optimizer.load_state_dict(checkpoint[1])
    generator = torch.Generator().manual_seed(1)
    batches = torch.randn(20, 4, 3, generator=generator)
    recorder = probes.attach(
        model, optimizer, path, batch_size=4, resume=checkpoint and checkpoint[2], **options
    )
    for batch in batches[recorder.iteration : recorder.iteration + updates]:
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    state = (model.state_dict(), optimizer.state_dict(), recorder.state_dict())
    recorder.close() if close else recorder._leave()
    return state


def test_a_labelled_recording_is_that_of_a_run_whose_labels_were_given(tmp_path):
    trained(tmp_path / "late")
    trained(tmp_path / "first", **WHOLE)
    done = label_recording(tmp_path / "late", WHOLE)
    assert dict(done.changes) == {name: (None, value) for name, value in WHOLE.items()}
    late, _ = read_file(tmp_path / "late.nc")
    first, _ = read_file(tmp_path / "first.nc")
    assert set(late.variables) == set(first.variables)
    assert set(late.coords) == set(first.coords)
    for name in set(late.variables) - TIMES - {"run"}:
        assert late[name].identical(first[name]) or np.array_equal(
            late[name].values, first[name].values, equal_nan=late[name].dtype.kind == "f"
        )
        assert late[name].attrs == first[name].attrs
        assert late[name].dtype == first[name].dtype
    assert late["epoch"].values.tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_corrections_are_noted_in_the_history_and_nothing_else_changes(tmp_path):
    trained(tmp_path / "run", seed=2, data_size=20, probes=["noise", "path"])
    before, _ = read_file(tmp_path / "run.nc")
    done = label_recording(tmp_path / "run.nc", {"seed": 3, "scaling": "linear", "data_size": 40})
    told = "seed 3 (was 2), scaling linear, data_size 40 (was 20)"
    assert str(done) == told
    after, _ = read_file(tmp_path / "run.nc")
    first, second = after.attrs["history"].split("\n")
    assert first == before.attrs["history"]
    assert second.endswith(f"labelled by ultraslow label: {told}")
    assert {k: v for k, v in after.attrs.items() if k != "history"} == {
        k: v for k, v in before.attrs.items() if k != "history"
    }
    np.testing.assert_array_equal(after["epoch"], before["epoch"] / 2)
    untouched = set(before.variables) - {"seed", "data_size", "epoch"}
    assert all(after.variables[name].identical(before.variables[name]) for name in untouched)
    loaded = analysis.load(tmp_path)["run"].to_dataset()
    assert loaded["seed"].item() == 3


def test_the_file_is_sealed_and_only_written_where_something_changes(tmp_path):
    trained(tmp_path / "run")
    label_recording(tmp_path / "run", {"seed": 3})
    content = (tmp_path / "run.nc").read_bytes()
    assert MARK in content[-100:]
    assert checksum(content) is not None
    assert str(label_recording(tmp_path / "run", {"seed": 3})) == "nothing to change"
    assert (tmp_path / "run.nc").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.nc"]
    assert [path.suffix for path in (tmp_path / "run").iterdir()] == [".safetensors"]


def test_a_recording_without_its_folder_is_labelled_and_gets_none(tmp_path):
    trained(tmp_path / "run")
    (tmp_path / "alone").mkdir()
    (tmp_path / "run.nc").rename(tmp_path / "alone" / "copy.nc")
    label_recording(tmp_path / "alone" / "copy.nc", {"seed": 3})
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["copy.nc"]
    assert read_file(tmp_path / "alone" / "copy.nc")[0]["seed"].item() == 3


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_old_file(tmp_path, monkeypatch, failing):
    trained(tmp_path / "run")
    content = (tmp_path / "run.nc").read_bytes()

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segments.os, failing, refuse)
        with pytest.raises(OSError, match="No space left"):
            label_recording(tmp_path / "run", {"seed": 3})
    assert (tmp_path / "run.nc").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.nc"]
    assert not (tmp_path / "run" / "lease.json").exists()


def test_live_recordings_are_refused_with_the_remedy(tmp_path):
    """Of this process, and of another one that lives."""
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = probes.attach(model, optimizer, tmp_path / "run", batch_size=4)
    for _ in range(2):
        with pytest.raises(FileExistsError, match="is labelled when it is closed"):
            label_recording(tmp_path / "run", {"seed": 3})
        model(torch.ones(4, 3)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        recorder._flushes.now()
    program = (
        "import sys; from ultraslow.probes.storage.label import label_recording\n"
        "label_recording(sys.argv[1], {'seed': 3})"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "A recording is labelled when it is closed" in done.stderr
    assert f"process {os.getpid()} on" in done.stderr
    recorder.close()
    assert label_recording(tmp_path / "run", {"seed": 3}).closed is False
    assert read_file(tmp_path / "run.nc")[0]["iteration"].values.tolist() == [0, 1, 2]


def test_what_was_left_live_is_closed_and_labelled(tmp_path):
    trained(tmp_path / "run", close=False)
    done = label_recording(tmp_path / "run", {"seed": 3})
    assert done.closed
    assert done.path == tmp_path / "run.nc"
    records, _ = read_file(done.path)
    assert records["iteration"].values.tolist() == list(range(7))
    assert records.attrs["history"].endswith("seed 3; closed for it")


def test_a_labelled_run_goes_on_with_its_labels(tmp_path):
    """Its recording is that of a run that was never interrupted."""
    checkpoint = trained(tmp_path / "run", close=False)
    label_recording(tmp_path / "run", {"seed": 3, "data_size": 40})

    class Resume:
        pass

    Resume.checkpoint = checkpoint
    trained(tmp_path / "run", resume=Resume, updates=4)
    trained(tmp_path / "whole", updates=10, seed=3, data_size=40)
    run, whole = (read_file(tmp_path / f"{name}.nc")[0] for name in ("run", "whole"))
    assert set(run.variables) == set(whole.variables)
    for name in ("iteration", "distance_sq", "epoch", "seed", "mean_sq"):
        np.testing.assert_array_equal(run[name], whole[name])


def test_labels_that_come_too_late_are_told_with_the_command(tmp_path):
    class Resume:
        checkpoint = trained(tmp_path / "run", close=False)

    with pytest.warns(RuntimeWarning, match=r"begun without seed .*label .*/run seed=3`"):
        trained(tmp_path / "run", resume=Resume, seed=3)
    assert "seed" not in read_file(tmp_path / "run.nc")[0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"sead": 3}, r"sead: no label \(seed\?\), expected one of base_learning_rate, scaling"),
        ({"model_name": "mlp"}, r"no label \(model\?\)"),
        ({"batch_size": 8}, "batch_size: the recording was measured with it"),
        ({"run": "other"}, "run: the recording was measured with it"),
        ({"distance_sq": 0}, "distance_sq: no label"),
        ({"scaling": "sqroot"}, r"scaling: found 'sqroot', .* \(sqrt\?\)"),
        ({"seed": 2**63}, "seed: found .* 63 bits"),
        ({"seed": 3, "data_size": -1}, "data_size: found -1"),
        ({"data_size": 3}, "data_size: found 3 beside batches of 4, expected the samples in"),
    ],
)
def test_bad_labels_are_refused_and_change_nothing(tmp_path, labels, message):
    trained(tmp_path / "run", updates=1)
    content = (tmp_path / "run.nc").read_bytes()
    with pytest.raises(ValueError, match=message):
        label_recording(tmp_path / "run", labels)
    assert (tmp_path / "run.nc").read_bytes() == content


def test_what_is_no_sound_recording_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="found no recording at"):
        label_recording(tmp_path / "none", {"seed": 3})
    assert list(tmp_path.iterdir()) == []
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(RecordError, match="this is not a recording"):
        label_recording(tmp_path / "other.nc", {"seed": 3})
    trained(tmp_path / "run", updates=1)
    damaged = bytearray((tmp_path / "run.nc").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "run.nc").write_bytes(damaged)
    with pytest.raises(RecordError, match="damaged"):
        label_recording(tmp_path / "run", {"seed": 3})
    assert (tmp_path / "run.nc").read_bytes() == damaged
    assert not (tmp_path / "other").exists()


def test_every_label_can_be_given(tmp_path):
    values = {"scaling": "fixed", "model": "mlp", "data": "d", "optimizer": "muon"}
    values |= {name: 0.25 for name in ("momentum", "weight_decay", "base_learning_rate")}
    values |= {"added_noise": 0.5, "gradient_difference": 0.0}
    values |= {"seed": -1, "data_size": 9, "ghost_size": 2}
    assert set(values) == set(LABELS)
    trained(tmp_path / "run", updates=1)
    label_recording(tmp_path / "run", values)
    records, _ = read_file(tmp_path / "run.nc")
    assert {name: records[name].item() for name in values} == values
    assert json.loads(records.attrs["config"]) == {}
