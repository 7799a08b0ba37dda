"""What cannot be used is refused with file, place, what was found and what was expected."""

import argparse
import json
import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file

from ultraslow import load
from ultraslow.diffusion.cli import _run
from ultraslow.probes.checkpoints.cli import checkpoints


def refused(capsys, folder, *words, output=None):
    """The message, of a command that has to fail and to leave nothing behind."""
    output = output or folder.parent / "out" / "run"
    arguments = [folder, "--output", output, "--batch-size", 8, *words]
    capsys.readouterr()
    assert _run("checkpoints", checkpoints, [str(word) for word in arguments]) == 2
    assert not output.parent.exists()
    return capsys.readouterr().err.removeprefix("ultraslow checkpoints: ")


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "saved"
    found.mkdir()
    for step in range(3):
        torch.save({"a.weight": torch.randn(4, 5), "b": torch.randn(3)}, found / f"step{step}.pt")
    return found


def change(folder, state, step=2):
    torch.save(state, folder / f"step{step}.pt")


def test_a_pickle_that_is_more_than_weights(folder, capsys):
    change(folder, {"state_dict": {"w": torch.ones(3)}, "args": argparse.Namespace(lr=0.1)})
    said = refused(capsys, folder)
    assert "step2.pt: holds more than weights: an object of argparse.Namespace" in said
    assert "which could run a program when it is loaded, so that it was not" in said
    assert "torch.save(model.state_dict()" in said and "torch.load" not in said


def test_a_pickle_of_another_program_is_not_run(folder, capsys, tmp_path):
    class Harmful:
        def __reduce__(self):
            return open, (str(tmp_path / "harmed"), "w")

    (folder / "step2.pt").write_bytes(pickle.dumps(Harmful()))
    assert "is a pickle that torch.save did not write" in refused(capsys, folder)
    change(folder, {"w": Harmful()})
    assert "holds more than weights" in refused(capsys, folder)
    assert not (tmp_path / "harmed").exists()


def test_a_list_of_shards_that_would_run_something(tmp_path, capsys):
    class Harmful:
        def __reduce__(self):
            return open, (str(tmp_path / "harmed"), "w")

    inner = tmp_path / "saved" / "step-1"
    inner.mkdir(parents=True)
    (inner / ".metadata").write_bytes(pickle.dumps(Harmful()))
    (tmp_path / "saved" / "step-0").mkdir()
    (tmp_path / "saved" / "step-0" / ".metadata").write_bytes(pickle.dumps(Harmful()))
    said = refused(capsys, tmp_path / "saved")
    assert "is no list of shards: it asks for" in said and ".open, which was not loaded" in said
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_files_that_are_cut_off(folder, share, capsys):
    for name, save in (("step2.pt", torch.save), ("step2.safetensors", save_file)):
        for old in folder.glob("step2.*"):
            old.unlink()
        save({"a.weight": torch.randn(4, 5), "b": torch.randn(3)}, folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])
        said = refused(capsys, folder)
        assert f"{name}: " in said
        assert any(word in said for word in ("cut off", "zero bytes", "it has no header"))


def test_the_format_of_old_versions_is_named(folder, capsys):
    old = {"a.weight": torch.ones(4, 5), "b": torch.ones(3)}
    torch.save(old, folder / "step2.pt", _use_new_zipfile_serialization=False)
    said = refused(capsys, folder)
    assert "format of torch before 1.6" in said
    exec(said.split("save it anew: ")[1], {"torch": torch})  # the remedy works as it is printed
    output = folder.parent / "out" / "run"
    words = ["checkpoints", checkpoints, [str(folder), "--output", str(output)]]
    assert _run(*words) == 0


def test_checkpoints_of_different_models(folder, capsys):
    change(folder, {"a.weight": torch.ones(4, 6), "c": torch.ones(3)})
    said = refused(capsys, folder)
    assert "step2.pt: b: is missing" in said and "c: is not in" in said
    assert "a.weight: found 4×6, expected 4×5 as in" in said


def test_missing_shards(tmp_path, capsys):
    for step in range(2):
        inner = tmp_path / "saved" / f"checkpoint-{step}"
        inner.mkdir(parents=True)
        save_file({"a": torch.ones(3)}, inner / "model-1.safetensors")
        places = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
        told = json.dumps({"weight_map": places})
        (inner / "model.safetensors.index.json").write_text(told)
    said = refused(capsys, tmp_path / "saved")
    assert "found 1 of 2 files, missing ['model-2.safetensors']" in said


@pytest.mark.filterwarnings("ignore:torch.distributed")
def test_missing_and_shortened_files_of_shards(tmp_path, capsys):
    for step in range(2):
        told = {"model": {"w": torch.ones(50, 3)}}
        dcp.save(told, checkpoint_id=tmp_path / "saved" / f"step-{step}", no_dist=True)
    shard = next((tmp_path / "saved" / "step-1").glob("*.distcp"))
    content = shard.read_bytes()
    shard.write_bytes(content[:300])
    assert "it is cut off" in refused(capsys, tmp_path / "saved")
    shard.unlink()
    assert "found 0 of 1 files" in refused(capsys, tmp_path / "saved")
    shard.write_bytes(content)
    metadata = shard.with_name(".metadata")
    metadata.write_bytes(metadata.read_bytes()[:100])
    assert "expected a list of shards" in refused(capsys, tmp_path / "saved")


def test_two_of_one_step(folder, capsys):
    save_file({"a.weight": torch.ones(4, 5), "b": torch.ones(3)}, folder / "step2.safetensors")
    assert "is of step 2, and so is" in refused(capsys, folder)


def test_one_checkpoint_alone(folder, capsys):
    for step in (1, 2):
        (folder / f"step{step}.pt").unlink()
    (folder / "last.pt").write_bytes((folder / "step0.pt").read_bytes())
    said = refused(capsys, folder)
    assert "found 1 checkpoint, step0.pt; without a step: last.pt, expected two or more" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(folder, value, capsys):
    weights = torch.randn(4, 5)
    weights[2, 3] = value
    change(folder, {"a.weight": weights, "b": torch.randn(3)})
    said = refused(capsys, folder)
    assert f"step2.pt: a.weight[2, 3] is {value}, expected a finite weight" in said
    assert "--until 1" in said


def test_no_checkpoint_and_no_folder(tmp_path, capsys):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "training_args.bin").write_bytes(b"x")
    assert "found no checkpoint, expected files" in refused(capsys, tmp_path / "saved")
    assert "no such file or folder" in refused(capsys, tmp_path / "none")


def test_several_sets_of_weights(tmp_path, capsys):
    (tmp_path / "saved").mkdir()
    for step in range(2):
        told = {name: {"w": torch.randn(3, 2)} for name in ("generator", "critic")}
        torch.save(told, tmp_path / "saved" / f"step{step}.pt")
    said = refused(capsys, tmp_path / "saved")
    assert "several sets of weights: generator (1 tensors), critic (1 tensors)" in said
    assert "--key" in said
    assert "found no 'x', expected one of" in refused(capsys, tmp_path / "saved", "--key", "x")
    words = ["--output", tmp_path / "run", "--batch-size", 8, "--key", "critic"]
    told = [str(word) for word in (tmp_path / "saved", *words)]
    assert _run("checkpoints", checkpoints, told) == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"log_history": [\n{"step": 1, "lo', "is cut off at line 2, character 15"),
        ('{"log_history": 3}', "is no log of a trainer (TypeError"),
        ("[]", "is no log of a trainer (TypeError"),
    ],
)
def test_weights_are_read_without_a_log_that_is_cut_off(folder, tmp_path, capsys, text, told):
    (folder / "trainer_state.json").write_text(text)
    output = tmp_path / "run"
    assert _run("checkpoints", checkpoints, [str(folder), "--output", str(output)]) == 0
    file = folder / "trainer_state.json"
    said = f"left out, with the losses and learning rates that it may hold: {file}: {told}"
    assert " ".join(capsys.readouterr().out.split()).count(said) == 1
    found = load(f"{output}.nc")["run"].to_dataset()
    assert found["distance_sq"].sizes["iteration"] == 3 and "loss" not in found
    assert any(text.startswith(said[:40]) for _, text in json.loads(found.attrs["events"]))


def test_malformed_entries_of_a_log_are_counted(folder, tmp_path, capsys):
    logs = [
        {"step": 1, "loss": 2.0, "learning_rate": 0.1},
        {"step": 2, "loss": "x", "learning_rate": 0.1},
        {"step": 2, "loss": float("nan"), "eval_loss": 1.0},
        {"loss": 1.0},
        3,
        {"step": 2, "train_runtime": 3.0},
    ]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": logs}))
    output = tmp_path / "run"
    assert _run("checkpoints", checkpoints, [str(folder), "--output", str(output)]) == 0
    assert "left out of the trainer's log: 4, which are" in capsys.readouterr().out
    assert load(f"{output}.nc")["run"]["loss"].values[1] == 2.0


def test_labels_and_numbers_that_cannot_be_meant(folder, capsys):
    assert "expected NAME=VALUE" in refused(capsys, folder, "--set", "seed")
    assert "no label (seed?)" in refused(capsys, folder, "--set", "sead=3")
    assert "expected fixed" in refused(capsys, folder, "--set", "scaling=sqroot")
    assert "--workers: found 0" in refused(capsys, folder, "--workers", "0")
    assert "--batch-size: found 0" in refused(capsys, folder, "--batch-size", "0")


def test_a_file_that_changes_while_it_is_read(folder, monkeypatch, capsys):
    from ultraslow.probes.checkpoints.products import StepProducts

    original = StepProducts.run

    def run(self, progress):
        change(folder, {"a.weight": torch.ones(4, 5), "b": torch.ones(3), "c": torch.ones(99)})
        return original(self, progress)

    monkeypatch.setattr(StepProducts, "run", run)
    assert "step2.pt: was changed while it was read; begin again" in refused(capsys, folder)
