import importlib
import sys
from pathlib import Path

import pytest
import torch
import xarray as xr
from launches import torchrun

pytest.importorskip("accelerate")

import accelerated  # noqa: E402
import loops  # noqa: E402
from accelerate.state import AcceleratorState, GradientState  # noqa: E402
from accelerated import prepared, recorder  # noqa: E402

from ultraslow.probes.hosts.accelerate import AccelerateRecorder  # noqa: E402


@pytest.fixture(autouse=True)
def own_state():
    """Accelerate keeps what an Accelerator is told for the next one."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def recorded(path, *, dropout=0.1, loads=None, late=None, updates=loops.UPDATES, **more):
    """A network that was trained, recorded, and loaded before or after the recorder was made."""
    parts = prepared(loops.network(dropout))
    if late:
        parts[0].load_state(str(late))
    resume = {"resume": late} if late else {}
    with recorder(*parts[:3], path, updates=updates, **resume):
        if loads:
            parts[0].load_state(str(loads))
        return accelerated.train(*parts, **more)


def test_a_training_by_accelerate_is_recorded_as_a_plain_one(tmp_path):
    model = recorded(tmp_path / "host", dropout=0.0)
    plain = loops.train(loops.network(0.0), tmp_path / "plain", deals=loops.batches)
    loops.assert_same(tmp_path / "host", tmp_path / "plain")
    assert all(map(torch.equal, model.parameters(), plain.parameters()))


def test_a_training_is_bit_for_bit_what_it_is_without_probes(tmp_path):
    bare = accelerated.train(*prepared(loops.network()))
    model = recorded(tmp_path / "host")
    assert all(map(torch.equal, bare.parameters(), model.parameters()))


@pytest.mark.parametrize("when", ["loads", "late"])
def test_it_goes_on_from_the_checkpoint_of_accelerate_bit_for_bit(tmp_path, when):
    saved = tmp_path / "saved"
    whole = recorded(tmp_path / "whole", dropout=0.0)
    with pytest.raises(OSError, match="gone"):
        recorded(tmp_path / "broken", dropout=0.0, saves=saved, fails_at=(1, 11))
    assert not (tmp_path / "broken.nc").exists()
    resumed = recorded(tmp_path / "broken", dropout=0.0, skip=1, **{when: saved})
    assert all(map(torch.equal, whole.parameters(), resumed.parameters()))
    loops.assert_same(tmp_path / "broken", tmp_path / "whole", tolerance=0.0)


def test_a_training_that_goes_back_to_its_checkpoint_is_recorded_from_there(tmp_path):
    saved = tmp_path / "saved"
    recorded(tmp_path / "whole", dropout=0.0)
    parts = prepared(loops.network(0.0))
    with recorder(*parts[:3], tmp_path / "back"):
        accelerated.train(*parts, saves=saved)
        parts[0].load_state(str(saved))
        accelerated.train(*parts, skip=1)
    loops.assert_same(tmp_path / "back", tmp_path / "whole", tolerance=0.0)


def test_nothing_stays_on_the_accelerator_but_what_checkpoints_need(tmp_path):
    parts = prepared(loops.network())
    accelerator, model, optimizer, _ = parts
    with recorder(accelerator, model, optimizer, tmp_path / "run") as one:
        accelerated.train(*parts)
        assert one.recorder.iteration == loops.UPDATES
    assert "backward" not in vars(accelerator)
    inner = optimizer.optimizer
    assert not {**inner._optimizer_step_pre_hooks, **inner._optimizer_step_post_hooks}
    accelerator.save_state(str(tmp_path / "end"))
    assert (tmp_path / "end" / "ultraslow.pt").exists()
    loops.loss_of(model, loops.data()[:8]).backward()


def test_losses_that_do_not_pass_the_accelerator_are_asked_for(tmp_path):
    accelerator, model, optimizer, _ = prepared(loops.network())
    with recorder(accelerator, model, optimizer, tmp_path / "run"):
        loops.loss_of(model, loops.data()[:8]).backward()
        with pytest.warns(RuntimeWarning, match="before any loss was given to accelerator"):
            optimizer.step()
    assert not list(tmp_path.iterdir())


def test_a_loader_of_ones_own_needs_the_batch_size(tmp_path):
    loader = list(loops.loader())[:6]
    accelerator, model, optimizer, _ = prepared(loops.network())
    with (
        pytest.raises(ValueError, match="batch_size: the loader was not prepared"),
        recorder(accelerator, model, optimizer, tmp_path / "run"),
    ):
        accelerated.train(accelerator, model, optimizer, loader, epochs=1)
    accelerator, model, optimizer, _ = prepared(loops.network())
    with recorder(accelerator, model, optimizer, tmp_path / "run", updates=2, batch_size=24):
        accelerated.train(accelerator, model, optimizer, loader, epochs=1)
    assert xr.load_dataset(tmp_path / "run.nc")["samples"].values.tolist() == [0, 24, 48]


def test_options_are_refused_before_the_training(tmp_path):
    parts = prepared(loops.network())
    with pytest.raises(TypeError, match="sede: not an option of us.attach here"):
        AccelerateRecorder(*parts[:3], tmp_path / "run", sede=3)
    with pytest.raises(FileNotFoundError, match="resume: found no ultraslow.pt in the checkpoint"):
        AccelerateRecorder(*parts[:3], tmp_path / "run", resume=tmp_path)


def test_a_checkpoint_without_a_recording_begins_one_and_says_so(tmp_path):
    accelerated.train(*prepared(loops.network()), saves=tmp_path / "saved")
    with pytest.warns(RuntimeWarning, match="holds no state of it"):
        recorded(tmp_path / "run", loads=tmp_path / "saved", skip=1, updates=7)
    assert xr.load_dataset(tmp_path / "run.nc")["iteration"][-1] == 7


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "ultraslow.probes.hosts.accelerate")
    monkeypatch.setitem(sys.modules, "accelerate.data_loader", None)
    with pytest.raises(ImportError, match=r"pip install 'ultraslow\[accelerate\]'"):
        importlib.import_module("ultraslow.probes.hosts.accelerate")


def test_the_page_on_hosts_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    accelerator, model, optimizer, loader = prepared(loops.network())
    names = {"accelerator": accelerator, "model": model, "optimizer": optimizer, "loader": loader}
    exec(loops.example("accelerate"), {**names, "criterion": torch.nn.CrossEntropyLoss()})
    run = xr.load_dataset("runs/vit-b24-s0.nc")
    assert (run["batch_size"], run["samples"][-1]) == (24, loops.SAMPLES)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accelerate")
    torchrun(Path(__file__).with_name("accelerate_run.py"), folder)
    return folder


def test_two_processes_are_recorded_as_by_plain_loops(two):
    for kind in ("ddp", "sharded"):
        loops.assert_same(two / kind, two / f"{kind}-plain", tolerance=1e-5)
    assert xr.load_dataset(two / "ddp.nc")["batch_size"] == 2 * loops.EACH * loops.ACCUMULATED
    assert xr.load_dataset(two / "sharded.nc")["clip_factor"][1:].min() < 1


def test_two_processes_go_on_bit_for_bit(two):
    loops.assert_same(two / "broken", two / "ddp", tolerance=0.0)
