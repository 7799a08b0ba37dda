"""Folders that several processes wrote together."""

from pathlib import Path

import numpy as np
import pytest
import torch
from launches import torchrun

from ultraslow import load
from ultraslow.diffusion.cli import _run
from ultraslow.probes.checkpoints.cli import checkpoints


@pytest.mark.filterwarnings("ignore:torch.distributed")
def test_shards_of_two_processes_are_put_together(tmp_path):
    torchrun(Path(__file__).with_name("fsdp_save.py"), tmp_path)
    words = [str(tmp_path / "saved"), "--output", str(tmp_path / "run"), "--batch-size", "4"]
    assert _run("checkpoints", checkpoints, words) == 0
    found = load(tmp_path / "run.nc")["run"].to_dataset()
    whole = torch.load(tmp_path / "whole.pt")
    assert sorted(found["tensor"].values) == sorted(whole[0])
    for name in whole[0]:
        values = [whole[step][name].double() for step in range(3)]
        at = found.sel(tensor=name)
        expected = [float((value - values[0]).square().sum()) for value in values]
        np.testing.assert_allclose(at["distance_sq"], expected, rtol=1e-12)
        np.testing.assert_allclose(
            at["overlap"], [float((value * values[0]).sum()) for value in values], rtol=1e-12
        )
