"""Simulated runs at four batch sizes, with losses of a known critical batch size: `losses.py
PRODUCT FOLDER`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import xarray as xr

CRITICAL = 600.0


def with_loss(run):
    """The loss 2/√(1 + t/(20·(1 + M_crit/M))) with noise of 1 %, as a mean since the record
    before."""
    ends, size = run["iteration"].values, int(run["batch_size"])
    time = (ends + np.concatenate([[0], ends[:-1]]) + 1) / 2
    rng = np.random.default_rng([int(run["seed"]), size])
    slow = 20 * (1 + CRITICAL / size)
    noise = np.exp(0.01 * rng.standard_normal(time.size))
    return run.assign(loss=("iteration", 2 * noise / np.sqrt(1 + time / slow)))


if __name__ == "__main__":
    product, folder = sys.argv[1], Path(sys.argv[2])
    bare = folder / "bare"
    sizes = ["--batch-sizes", "64", "256", "1024", "4096", "--seeds", "4"]
    subprocess.run([product, "simulate", "law", "--folder", bare, *sizes], check=True)
    for path in sorted(bare.glob("*.nc")):
        with_loss(xr.load_dataset(path)).to_netcdf(folder / path.name)
        path.unlink()
    bare.rmdir()
