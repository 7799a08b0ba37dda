"""Interrupted runs go on exactly, each started by torchrun."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.jobs.launch import Training, TrainingError
from ultraslow.probes.runs.jobs.sweep import make_ready
from ultraslow.probes.runs.training.checkpoints import checkpoint_of, last_checkpoint_of

# Momentum, injected noise, augmentation and batch statistics: all that a run has to remember.
CONFIG = Config(
    model="resnet8",
    width=2,
    batch_size=80,
    microbatch=20,
    iterations=120,
    base_learning_rate=0.1,
    gradient_noise=0.01,
    evaluations=5,
    landscape_checkpoints=2,
    landscape_images=80,
    landscape_directions=1,
    device="cpu",
    name="run",
)
# What the wall clock decides.
TIMES = ["wall_time", "probe_seconds"]


def interrupted(config):
    """Train until the first sign of life, then stop; the events told."""
    training = Training([config], 2)
    told = []
    for event in training.events():
        told.append(event)
        if event["event"] == "at":
            training.stop()
    return told


def finished(config):
    return list(Training([config], 2).events())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    config = replace(CONFIG, folder=str(tmp_path_factory.mktemp("whole")))
    finished(config)
    return xr.load_dataset(f"{config.path}.nc")


@pytest.mark.slow
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, whole):
    config = replace(CONFIG, folder=str(tmp_path))
    first = interrupted(config)
    assert first[-1]["event"] == "kept"
    assert 0 < first[-1]["iteration"] < config.iterations
    earlier = tmp_path / "earlier"
    shutil.copy(checkpoint_of(config.path), earlier)

    second = interrupted(config)
    assert [e for e in second if e["event"] == "resumed"][0]["iteration"] == first[-1]["iteration"]
    # A killed run is further than its checkpoint: what it recorded since is dropped.
    earlier.replace(checkpoint_of(config.path))

    third = finished(config)
    assert third[-1]["event"] == "end"
    assert third[-1]["iterations"] == config.iterations - first[-1]["iteration"]
    assert not checkpoint_of(config.path).exists()
    recording = xr.load_dataset(f"{config.path}.nc")
    assert recording["iteration"].equals(whole["iteration"])
    for name in ("distance_sq", "weight_sq", "sketch", "held_out", "loss_difference"):
        np.testing.assert_array_equal(recording[name], whole[name], err_msg=name)
    # The checkpoint that a line starts from is lost when the run is cut after it.
    lines, expected = recording["line_loss"].values, whole["line_loss"].values
    known = np.isfinite(lines)
    np.testing.assert_array_equal(lines[known], expected[known])
    # Window means add up in another order where the window was cut.
    for name in set(whole.data_vars) - {*TIMES, "line_loss"}:
        np.testing.assert_allclose(recording[name], whole[name], rtol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_run_that_is_lengthened_is_what_it_were_had_it_been_long_at_once(tmp_path):
    """All but what is timed, where nothing is scheduled by the length of the run."""
    plain = replace(CONFIG, evaluations=0, landscape_checkpoints=0)
    whole = replace(plain, folder=str(tmp_path / "whole"), iterations=90)
    long = replace(plain, folder=str(tmp_path / "long"), iterations=50)
    for config in (whole, long):
        config.path.parent.mkdir()
        finished(config)
    longer = replace(long, iterations=90)
    make_ready(longer)
    told = finished(longer)
    assert [e["iteration"] for e in told if e["event"] == "resumed"] == [49]
    found, expected = (xr.load_dataset(f"{config.path}.nc") for config in (longer, whole))
    assert found["iteration"].equals(expected["iteration"])
    for name in set(expected.data_vars) - {*TIMES}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-14, err_msg=name)
    for name in ("distance_sq", "weight_sq", "overlap", "sketch", "noise_trace", "loss"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert last_checkpoint_of(longer.path).exists()
    assert not checkpoint_of(longer.path).exists()


def test_another_number_of_processes_is_refused(tmp_path):
    config = replace(CONFIG, folder=str(tmp_path))
    config.path.mkdir()
    torch.save({"processes": [{}, {}, {}]}, checkpoint_of(config.path))
    with pytest.raises(RuntimeError, match=r"processes: found 2, expected 3 as in .*\.checkpoint"):
        finished(config)


def test_processes_whose_torchrun_is_gone_keep_what_they_have_and_end(tmp_path):
    config = replace(CONFIG, folder=str(tmp_path), iterations=100_000, evaluations=0)
    config = replace(config, landscape_checkpoints=0)
    training = Training([config], 2)
    told = []
    with pytest.raises(TrainingError, match="training of run failed"):
        for event in training.events():
            told.append(event)
            if event["event"] == "at":
                training.kill()
    # The pipe closes when the last process has ended.
    assert told[-1]["event"] == "kept"
