"""Recordings from checkpoints are those that probes make of the same training."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import nn

from ultraslow import attach, load
from ultraslow.diffusion.cli import _run, main
from ultraslow.diffusion.displacement import between_all
from ultraslow.probes.checkpoints.cli import checkpoints
from ultraslow.probes.checkpoints.products import StepProducts, products_of_steps

STEPS = [0, 1, 2, 5, 10, 20]


def network():
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 20)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(20, 5))


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A recording, and the state dictionaries of the model and the optimizer at some updates."""
    torch.manual_seed(0)
    folder, model = tmp_path_factory.mktemp("training"), network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    states = {}

    def keep(step):
        if step in STEPS:
            copied = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            moments = {"state": {"0": {"exp_avg": torch.ones(7)}}}
            states[step] = copied, moments

    options = {"batch_size": 8, "schedule": STEPS, "quiet": True}
    with attach(model, optimizer, folder / "run", **options):
        keep(0)
        for step in range(1, 21):
            inputs = torch.randn(8, 3, 8, 8)
            nn.functional.cross_entropy(model(inputs), torch.arange(8) % 5).backward()
            optimizer.step()
            optimizer.zero_grad()
            keep(step)
    recorded = load(folder / "run.nc")["run"].to_dataset().sel(iteration=STEPS)
    return recorded, states


def plain(folder, step, state, moments):
    torch.save(state, folder / f"model_{step:06d}.pt")


def wrapped(folder, step, state, moments):
    """As a loop of DistributedDataParallel saves it, compiled, with an average of the weights."""
    named = {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
    average = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    told = {"model_state_dict": named, "optimizer": moments, "model_ema": average, "epoch": 3}
    torch.save(told, folder / f"ckpt-{step}.pth")


def lightning(folder, step, state, moments):
    told = {"state_dict": state, "optimizer_states": [moments], "hyper_parameters": {"lr": 0.1}}
    torch.save(told, folder / f"epoch={step // 5}-step={step}.ckpt")


def safetensors(folder, step, state, moments):
    save_file(state, folder / f"step{step}.safetensors")


def sharded_safetensors(folder, step, state, moments):
    inner = folder / f"checkpoint-{step}"
    inner.mkdir()
    names = list(state)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, chosen in parts.items():
        save_file({name: state[name] for name in chosen}, inner / file)
    places = {name: file for file, chosen in parts.items() for name in chosen}
    told = json.dumps({"metadata": {}, "weight_map": places})
    (inner / "model.safetensors.index.json").write_text(told)
    torch.save(moments, inner / "optimizer.pt")


def distributed(folder, step, state, moments):
    told = {"model": state, "optimizer": moments}
    dcp.save(told, checkpoint_id=folder / f"step-{step}", no_dist=True)


WAYS = [plain, wrapped, lightning, safetensors, sharded_safetensors, distributed]


def saved(folder, states, way):
    folder.mkdir()
    for step, (state, moments) in states.items():
        way(folder, step, state, moments)
    return folder


def command(*words):
    return _run("checkpoints", checkpoints, [str(word) for word in words])


def read(folder, output, *words):
    assert command(folder, "--output", output, "--batch-size", 8, *words) == 0
    name = output.name
    return load(f"{output}.nc")[name].to_dataset()


@pytest.mark.filterwarnings("ignore:torch.distributed")
@pytest.mark.parametrize("way", WAYS)
def test_every_format_gives_what_the_probes_recorded(training, way, tmp_path, capsys):
    recorded, states = training
    found = read(saved(tmp_path / "saved", states, way), tmp_path / "of-checkpoints")
    assert found["iteration"].values.tolist() == STEPS
    assert sorted(found["tensor"].values) == sorted(recorded["tensor"].values)
    found = found.sel(tensor=recorded["tensor"].values)
    for name in ("distance_sq", "weight_sq", "overlap"):
        np.testing.assert_allclose(
            found[name].values, recorded[name].values, rtol=2e-6, atol=1e-12
        )
    np.testing.assert_array_equal(found["tensor_size"], recorded["tensor_size"])
    assert "running_mean" in capsys.readouterr().out


def test_displacements_are_those_of_the_weights(training, tmp_path):
    _, states = training
    found = read(saved(tmp_path / "saved", states, plain), tmp_path / "run")
    weights = [
        torch.cat(
            [
                tensor.double().flatten()
                for name, tensor in state.items()
                if "running" not in name and "num_batches" not in name
            ]
        )
        for state, _ in states.values()
    ]
    expected = [[float((one - other).square().sum()) for one in weights] for other in weights]
    np.testing.assert_allclose(found["displacement_sq"], expected, rtol=1e-12)
    assert found["since"].values.tolist() == STEPS
    assert "step_sq" not in found  # updates between the checkpoints are not known
    assert found["samples"].values.tolist() == [8 * step for step in STEPS]


def test_where_every_update_is_there_so_is_the_path(training, tmp_path):
    _, states = training
    first = {step: states[step] for step in (0, 1, 2)}
    found = read(saved(tmp_path / "saved", first, plain), tmp_path / "run")
    total = found["step_sq"].sum("tensor")
    pairs = [found["displacement_sq"][k + 1, k] for k in range(2)]
    np.testing.assert_allclose(total, [0.0, *map(float, pairs)], rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_types_are_widened_before_anything_is_added(dtype, tmp_path, capsys):
    states = [torch.randn(50, 7, dtype=torch.float64).to(dtype) * 100 for _ in range(3)]
    for step, values in enumerate(states):
        torch.save({"w": values}, tmp_path / f"step{step}.pt")
    found = read(tmp_path, tmp_path / "run")
    expected = [float((values.double() - states[0].double()).square().sum()) for values in states]
    np.testing.assert_allclose(found["distance_sq"][:, 0], expected, rtol=1e-13)
    assert ("rounding" in capsys.readouterr().out) == (dtype is not torch.float64)


def test_what_rounding_adds_is_what_is_told(tmp_path, capsys):
    torch.manual_seed(1)
    values = torch.randn(100_000)
    for step in range(2):  # the same weights but for what bfloat16 cannot hold
        torch.save({"w": (values * (1 + 1e-3 * step)).bfloat16()}, tmp_path / f"step{step}.pt")
    found = read(tmp_path, tmp_path / "run")
    told = capsys.readouterr().out.split("distance of about ")[1].split()[0]
    moved = 1e-3 * float(values.norm())
    added = (float(found["distance_sq"][1, 0]) - moved**2) ** 0.5
    assert 0.7 < float(told) / added < 1.4


def test_tied_weights_count_once(tmp_path, capsys):
    for step in range(3):
        embedding = torch.randn(30, 4)
        told = {"wte.weight": embedding, "head.weight": embedding, "bias": torch.ones(4)}
        torch.save(told, tmp_path / f"step{step}.pt")
    found = read(tmp_path, tmp_path / "shared")
    assert found["tensor"].values.tolist() == ["wte.weight", "bias"]
    assert "tied: 1 (head.weight (is wte.weight))" in capsys.readouterr().out
    copied = tmp_path / "copied"
    copied.mkdir()
    for file in tmp_path.glob("step*.pt"):
        told = {name: tensor.clone() for name, tensor in torch.load(file).items()}
        save_file(told, copied / f"{file.stem}.safetensors")
    again = read(copied, tmp_path / "apart")
    np.testing.assert_array_equal(again["displacement_sq"].values, found["displacement_sq"].values)


def test_channels_last_and_transposed_tensors_are_read_where_they_lie(tmp_path):
    torch.manual_seed(0)
    states = [torch.randn(6, 3, 5, 5) for _ in range(3)]
    for step, values in enumerate(states):
        told = {"w": values.to(memory_format=torch.channels_last), "v": values[:, :, 0, 0].t()}
        torch.save({name: t.clone() for name, t in told.items()}, tmp_path / f"step{step}.pt")
    found = read(tmp_path, tmp_path / "run")
    expected = [float((values - states[0]).double().square().sum()) for values in states]
    np.testing.assert_allclose(found["distance_sq"].sel(tensor="w"), expected, rtol=1e-6)


def test_numbers_are_the_same_however_the_pass_was_cut(tmp_path, monkeypatch):
    """Broken off after some blocks and taken up again, with other threads."""
    torch.manual_seed(0)
    monkeypatch.setattr("ultraslow.probes.checkpoints.products._STRETCH", 1 << 12)
    monkeypatch.setattr("ultraslow.probes.checkpoints.products._LEAST", 1 << 14)
    for step in range(4):
        told = {"a": torch.randn(40_000), "b": torch.randn(10, 7), "c": torch.randn(9_000)}
        torch.save(told, tmp_path / f"step{step}.pt")
    whole = read(tmp_path, tmp_path / "whole", "--workers", 1)
    original, seen = StepProducts._of_block, []

    def broken(self, block):
        seen.append(block)
        if len(seen) == 9:
            raise KeyboardInterrupt
        return original(self, block)

    monkeypatch.setattr(StepProducts, "_of_block", broken)
    words = [tmp_path, "--output", tmp_path / "cut", "--batch-size", 8]
    assert main(["checkpoints", *map(str, words)]) == 130
    journal = tmp_path / "cut.nc.checkpoints-journal"
    assert journal.exists() and not (tmp_path / "cut.nc").exists()
    assert command(*words) == 0
    assert len(seen) < 2 * len({(block.tensor, block.start) for block in seen})
    assert not journal.exists()
    again = load(tmp_path / "cut.nc")["cut"].to_dataset()
    for name in ("distance_sq", "weight_sq", "overlap", "displacement_sq"):
        np.testing.assert_array_equal(again[name].values, whole[name].values)


def test_a_pass_that_was_killed_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    torch.manual_seed(0)
    for step in range(4):
        told = {"a": torch.randn(40_000), "b": torch.randn(10, 7), "c": torch.randn(9_000)}
        torch.save(told, tmp_path / f"step{step}.pt")
    script = Path(__file__).with_name("killed_pass.py")
    path = os.pathsep.join([str(script.parents[3] / "src"), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, script, tmp_path, tmp_path / "cut", 7]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(list(map(str, words)), env=environment, timeout=120, check=False)
    journal = tmp_path / "cut.nc.checkpoints-journal"
    assert done.returncode == -9 and journal.exists()
    monkeypatch.setattr("ultraslow.probes.checkpoints.products._STRETCH", 1 << 12)
    monkeypatch.setattr("ultraslow.probes.checkpoints.products._LEAST", 1 << 14)
    original, seen = StepProducts._of_block, []
    monkeypatch.setattr(
        StepProducts, "_of_block", lambda self, block: seen.append(block) or original(self, block)
    )
    again = read(tmp_path, tmp_path / "cut")
    rest = len(seen)
    assert not journal.exists()
    whole = read(tmp_path, tmp_path / "whole")
    assert len(seen) - rest == rest + 7
    for name in ("distance_sq", "weight_sq", "overlap", "displacement_sq"):
        np.testing.assert_array_equal(again[name].values, whole[name].values)


def test_a_journal_of_other_files_is_not_taken_up(tmp_path):
    for step in range(2):
        torch.save({"w": torch.full((10,), float(step))}, tmp_path / f"step{step}.pt")
    journal = tmp_path / "run.nc.checkpoints-journal"
    journal.write_bytes(b"nothing of use")
    found = read(tmp_path, tmp_path / "run")
    assert float(found["distance_sq"][1, 0]) == 10


@pytest.mark.parametrize("count", [1, 3, 8, 9])
def test_products_of_few_and_of_many_checkpoints_are_those_of_their_steps(count):
    """Also where the values are more than are worked on at once."""
    values = torch.randn(count, 300_000, generator=torch.Generator().manual_seed(0)).cumsum(0)
    steps = np.diff(values.double().numpy(), axis=0, prepend=0)
    found = products_of_steps(list(values))
    np.testing.assert_allclose(found, steps @ steps.T, rtol=1e-12, atol=1e-9)
    assert np.array_equal(found, found.T)


def test_small_steps_late_in_a_long_path_keep_their_digits():
    torch.manual_seed(0)
    path = [torch.zeros(1000, dtype=torch.float64), torch.randn(1000, dtype=torch.float64)]
    for _ in range(3):
        path.append(path[-1] + 1e-9 * torch.randn(1000, dtype=torch.float64))
    squares = between_all(products_of_steps(path))[1:, 1:]
    for (k, one), (m, other) in pairwise(enumerate(path)):
        exact = float((one - other).square().sum())
        assert squares[k, m] == pytest.approx(exact, rel=1e-12)


def test_losses_and_rates_of_a_trainer_come_along(training, tmp_path):
    _, states = training
    folder = saved(tmp_path / "saved", states, sharded_safetensors)
    logs = [
        {"step": step, "loss": 3.0 - step / 10, "learning_rate": 0.01, "epoch": step / 20}
        for step in range(1, 21)
    ]
    told = json.dumps({"log_history": logs, "train_batch_size": 4})
    (folder / "checkpoint-20" / "trainer_state.json").write_text(told)
    found = read(folder, tmp_path / "run", "--set", "data_size=80", "--set", "seed=3")
    np.testing.assert_allclose(found["loss"], [np.nan, 2.9, 2.8, 2.6, 2.2, 1.45])
    np.testing.assert_allclose(found["learning_rate"], 0.01)
    np.testing.assert_allclose(found["learning_rate_sum"], 0.01 * np.array(STEPS))
    np.testing.assert_allclose(found["epoch"], np.array(STEPS) / 10)
    assert int(found["seed"]) == 3


def test_a_batch_size_that_nobody_knows_stays_unknown(training, tmp_path, capsys):
    folder = saved(tmp_path / "saved", training[1], sharded_safetensors)
    told = json.dumps({"log_history": [], "train_batch_size": 4})
    (folder / "checkpoint-20" / "trainer_state.json").write_text(told)
    assert command(folder, "--output", tmp_path / "run") == 0
    assert "the trainer tells 4 on a device in a pass" in capsys.readouterr().out
    found = load(tmp_path / "run.nc")["run"].to_dataset()
    assert int(found["batch_size"]) == 0
    assert not {"samples", "epoch"} & set(found.variables)


def test_distances_from_a_later_step_are_asked_for_and_told(training, tmp_path, capsys):
    _, states = training
    late = {step: states[step] for step in (5, 10, 20)}
    folder = saved(tmp_path / "saved", late, plain)
    words = [folder, "--output", tmp_path / "run", "--batch-size", 8]
    assert command(*words) == 2
    assert "is of step 5, and none is earlier" in capsys.readouterr().err
    found = read(folder, tmp_path / "run", "--from-first")
    assert found["iteration"].values.tolist() == [0, 5, 15]
    assert json.loads(found.attrs["events"])[0][1].startswith("distances are from the weights")
    initial = tmp_path / "initial.pt"
    torch.save(states[0][0], initial)
    whole = read(folder, tmp_path / "whole", "--initial", initial)
    assert whole["iteration"].values.tolist() == [0, 5, 10, 20]


def test_a_dry_run_writes_nothing(training, tmp_path, capsys):
    _, states = training
    folder = saved(tmp_path / "saved", states, plain)
    words = [folder, "--output", tmp_path / "new" / "run", "--batch-size", 8, "--dry-run"]
    assert command(*words) == 0
    out = capsys.readouterr().out
    assert "model_000000.pt → 0, model_000001.pt → 1" in out
    assert "8 tensors, 3,125 values, float32" in out
    assert not (tmp_path / "new").exists()


def test_the_page_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[3] / "docs" / "record" / "checkpoints.md").read_text()
    (typed,) = re.findall(r"^```\n(.*?)^```", page, re.S | re.M)
    (shown,) = re.findall(r"^```text\n(.*?)^```", page, re.S | re.M)
    monkeypatch.chdir(tmp_path)
    for step in map(int, re.findall(r"checkpoint-(\d+)", shown)):
        folder = Path("runs", "gpt2-small", f"checkpoint-{step}")
        folder.mkdir(parents=True)
        embedding = torch.randn(30, 4)
        state = {"transformer.wte.weight": embedding, "lm_head.weight": embedding.clone()}
        save_file(state, folder / "model.safetensors")
    assert command(*shlex.split(typed)[2:]) == 0
    told = capsys.readouterr().out
    sizes = r"\d[\d,.e-]* (tensors|values|GB|MB|kB|bytes)"
    lines = [re.sub(sizes, "n", text).splitlines()[:5] for text in (told, shown)]
    assert lines[0] == lines[1]
    assert "gpt2-s0.nc: 6 records" in told


def test_an_existing_recording_stays(training, tmp_path, capsys):
    _, states = training
    folder = saved(tmp_path / "saved", states, plain)
    read(folder, tmp_path / "run")
    before = (tmp_path / "run.nc").read_bytes()
    assert command(folder, "--output", tmp_path / "run", "--batch-size", 8) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "run.nc").read_bytes() == before
    read(folder, tmp_path / "run", "--overwrite")


@pytest.mark.parametrize("strange", [1, 3, 4, 9])
def test_checkpoints_of_another_run_are_told_with_both_names(strange, tmp_path, capsys):
    folder = tmp_path / "saved"
    folder.mkdir()
    weights = [torch.randn(60, 50, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    for k in range(5):  # one run, and from a checkpoint on another of the same recipe
        own = weights[int(k >= strange)] + 0.1 * k**0.5 * weights[2]
        torch.save({"a.weight": own, "a.bias": torch.full((50,), 0.1 * k)}, folder / f"step{k}.pt")
    command = ["checkpoints", checkpoints, [str(folder), "--output", str(tmp_path / "run")]]
    assert _run(*command) == 0
    told = capsys.readouterr().out
    assert ("are at right angles" in told) == (strange < 5)
    if strange < 5:
        assert f"step{strange - 1}.pt and step{strange}.pt are at right angles" in told


def test_a_run_that_turns_its_weights_slowly_is_no_other_run(tmp_path, capsys):
    folder = tmp_path / "saved"
    folder.mkdir()
    first, other = (
        torch.randn(60, 50, generator=torch.Generator().manual_seed(k)) for k in range(2)
    )
    for k in range(6):  # a quarter turn in all
        angle = torch.tensor(k * torch.pi / 10)
        torch.save({"w": first * angle.cos() + other * angle.sin()}, folder / f"step{k}.pt")
    command = ["checkpoints", checkpoints, [str(folder), "--output", str(tmp_path / "run")]]
    assert _run(*command) == 0
    assert "right angles" not in capsys.readouterr().out
