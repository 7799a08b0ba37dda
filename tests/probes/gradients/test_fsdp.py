from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from launches import torchrun

from ultraslow.diffusion.recording.contract import check
from ultraslow.probes.gradients.fsdp import _predivisor

UNITS = {
    "fsdp": 4,
    "one-group": 4,
    "reduce-each": 8,
    "reduce-last": 4,
    "bfloat16": 4,
    "float16": 4,
    "hsdp": 4,
}


@pytest.fixture(scope="module")
def four_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fsdp")
    torchrun(Path(__file__).parents[1] / "fsdp_run.py", folder, processes=4)
    return folder


@pytest.mark.parametrize("mode", UNITS)
def test_toy_of_known_noise_scale(four_processes, mode):
    recording = xr.load_dataset(four_processes / f"{mode}.nc")
    check(recording)
    updates = recording["noise_updates"]
    gradient_sq, noise_trace = (
        float((recording[name].sum("tensor") * updates).sum() / updates.sum())
        for name in ("gradient_sq", "noise_trace")
    )
    assert int(updates.sum()) == 30
    assert np.all(recording["units"].values[1:] == UNITS[mode])
    # 30 updates of effective dimension 4096: standard errors of about 0.6 %.
    assert gradient_sq == pytest.approx(4, rel=0.03)
    assert noise_trace == pytest.approx(64, rel=0.03)


@pytest.mark.parametrize("mode", UNITS)
def test_distance_equals_an_unsharded_float64_reference(four_processes, mode):
    recording = xr.load_dataset(four_processes / f"{mode}.nc").isel(iteration=-1)
    final = torch.load(four_processes / "final.pt")[mode]["weights"]
    reference = [float(weights.double().square().sum()) for weights in final]  # w0 = 0
    np.testing.assert_allclose(recording["distance_sq"], reference, rtol=2e-6)
    np.testing.assert_allclose(recording["weight_sq"], reference, rtol=2e-6)


def test_training_is_bit_identical_with_and_without_probes(four_processes):
    final = torch.load(four_processes / "final.pt")
    for bare, probed in zip(final["bare"]["weights"], final["fsdp"]["weights"], strict=True):
        assert torch.equal(bare, probed)
    assert torch.equal(final["bare"]["rng"], final["fsdp"]["rng"])


def test_clipping_is_measured_on_shards(four_processes):
    recording = xr.load_dataset(four_processes / "fsdp.nc").isel(iteration=-1)
    norm = float(recording["mean_sq"].sum()) ** 0.5
    assert float(recording["clip_factor"]) == pytest.approx(0.1 / norm, rel=0.05)


@pytest.mark.parametrize(
    ("processes", "divisor"), [(2, 2), (3, 1), (4, 2), (6, 2), (8, 4), (16, 4)]
)
def test_the_predivisor_is_that_of_torch(processes, divisor):
    """Twin: torch's own rule, for one group and no replicas."""
    from torch.distributed.fsdp._fully_shard import _fsdp_collectives

    class Group:
        def size(self):
            return processes

    factors = _fsdp_collectives._get_gradient_divide_factors(Group(), None, torch.float16)
    assert _predivisor(torch.float16, float(processes)) == factors[0]
    assert _predivisor(torch.bfloat16, float(processes)) == 1


@pytest.mark.parametrize("mode", UNITS)
def test_a_loss_belongs_to_the_update_it_was_computed_for(four_processes, mode):
    recording = xr.load_dataset(four_processes / f"{mode}.nc")
    assert recording["loss"].values[1:4].tolist() == [0, 1, 2]
