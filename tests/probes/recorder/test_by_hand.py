"""Gradients that the training loop averages over processes itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from launches import torchrun

from ultraslow.diffusion.recording import read_file

MEASURED = ("distance_sq", "noise_trace", "gradient_sq", "mean_sq", "clip_factor", "units")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by-hand")
    torchrun(Path(__file__).parents[1] / "by_hand_run.py", folder)
    return folder


def read(folder, name):
    return read_file(folder / f"{name}.nc")[0]


@pytest.mark.parametrize(
    ("by_hand", "ddp", "tolerance"),
    [("hand", "ddp", 1e-5), ("summed", "ddp-lightly", 1e-5), ("hooked", "ddp-plain", 1e-13)],
)
def test_all_numbers_are_those_of_distributed_data_parallel(averaged, by_hand, ddp, tolerance):
    """Before clipping, over all processes, with the reduction after the pass and within it."""
    found, expected = read(averaged, by_hand), read(averaged, ddp)
    for name in (*MEASURED, "samples", "loss", "noise_updates", "world_size"):
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, err_msg=name)
    assert (found["noise_updates"][1:] == 1).all()
    factors = found["clip_factor"].values[1:]
    assert (factors < 0.9).all() if by_hand == "hand" else (factors <= 1.0001).all()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "added",
            "right if each loss was divided by 2; say so by Recorder.unit(size, weight=1/2)",
        ),
        ("value", "another vector than their mean"),
    ],
)
def test_what_is_no_mean_is_told_of_and_left_out(averaged, name, why):
    told = [json.loads((averaged / f"told-{rank}.json").read_text())[name] for rank in (0, 1)]
    assert len(told[0]) == 1
    assert why in told[0][0]
    assert told[1] == []  # the process that writes tells
    records = read(averaged, name)
    assert "noise_trace" not in records
    assert why in records.attrs["noise_absent"]
    assert np.isnan(records["mean_sq"]).all()


def test_gradients_that_nobody_averages_end_the_recording(averaged):
    """The weights part, and distances would be of no network."""
    told = [json.loads((averaged / f"told-{rank}.json").read_text())["apart"] for rank in (0, 1)]
    assert "differ between processes when the optimizer steps" in told[0][0]
    for said in (told[0][1], told[1][0]):
        assert "stopped, as what was measured could not be collected: process 1 of 2 holds" in said
    assert not (averaged / "apart.nc").exists()


def test_a_bare_model_among_several_processes_is_asked_about_once(averaged):
    told = json.loads((averaged / "told-1.json").read_text())
    assert "2 processes run and the model is not wrapped" in told["unsaid"][0]
    assert not any("not wrapped" in text for text in told["silent"])


def test_a_sum_of_undivided_losses_has_the_noise_of_their_mean_and_its_own_gradient(averaged):
    """Twice the mean: the trajectory is another, but the first update's gradients are the same."""
    found, mean = read(averaged, "undivided"), read(averaged, "ddp-plain")
    for name, factor in (("noise_trace", 1.0), ("gradient_sq", 1.0), ("mean_sq", 4.0)):
        np.testing.assert_allclose(found[name][1], factor * mean[name][1], rtol=1e-5, err_msg=name)
    assert (found["noise_updates"][1:] == 1).all()
