"""Recordings that a disk has damaged: none hangs, takes the memory or is wrong silently."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ultraslow.diffusion.recording import RecordError, netcdf

SCRIPT = Path(__file__).with_name("damage_run.py")
SOURCE = Path(__file__).parents[3] / "src"


def read_damaged(trials, *, seed, timeout):
    """What `damage_run.py` tells of so many files."""
    done = subprocess.run(
        [sys.executable, SCRIPT, str(trials), str(seed)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def assert_harmless(told, *, trials):
    counts = told["counts"]
    assert told["faulty"] == {}
    assert sum(counts.values()) == trials
    assert counts["sealed refused"] > 0.8 * trials / 2
    assert counts["unsealed refused"] > 0.5 * trials / 2


def test_sixty_damaged_files():
    assert_harmless(read_damaged(60, seed=1, timeout=100), trials=60)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_five_thousand_damaged_files():
    assert_harmless(read_damaged(5000, seed=7, timeout=1400), trials=5000)


@pytest.mark.parametrize("lost", [1, 20, netcdf.LENGTH, netcdf.LENGTH + 9])
def test_a_lost_end_may_take_the_seal_and_is_seen(single, lost):
    """As a block of zeros does: the values are wrong then and the mark of the seal is gone."""
    content = netcdf.to_bytes(single([0.0, 1.0], [1, 2]))
    with pytest.raises(RecordError, match="do not fit its checksum"):
        netcdf.from_bytes(content[:-lost] + bytes(lost), "run.nc")


def test_a_seal_that_was_cut_off_half_is_seen(single):
    content = netcdf.to_bytes(single([0.0, 1.0], [1, 2]))
    with pytest.raises(RecordError, match="do not fit its checksum"):
        netcdf.from_bytes(content[:-5], "run.nc")
