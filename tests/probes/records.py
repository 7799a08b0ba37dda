"""Small records: of two tensors, and of updates that are about to become some."""

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording.contract import pack
from ultraslow.probes.buffer.units import UnitShares
from ultraslow.probes.buffer.window import Updates


def records(*iterations):
    count = len(iterations)
    ones = np.ones((count, 2))
    return xr.Dataset.from_dict(
        pack(
            {
                "iteration": iterations,
                "tensor": ["a", "b"],
                "tensor_size": [1, 2],
                "distance_sq": ones * np.array(iterations)[:, None],
                "weight_sq": ones,
                "overlap": ones,
                "samples": np.array(iterations, float),
                "run": "x",
                "batch_size": 8,
            }
        )
    )


def window_updates(count):
    ones = np.ones(count)
    return Updates(
        unit_sq=np.ones((count, 1)),
        total_sq=np.ones((count, 1)),
        units=2 * ones,
        sums=np.array([UnitShares(2.0, 2.0, 2.0).columns()] * count),
        share=ones,
        u=ones / 2,
        v=ones / 4,
        samples=4 * ones,
        left_out=np.zeros(count, dtype=bool),
        loss=ones,
        nonfinite_losses=0 * ones,
        learning_rate=0.1 * ones,
        clip_factor=ones,
        uneven_clipping=np.zeros(count, dtype=bool),
        loss_scale=np.nan * ones,
        skipped=np.zeros(count, dtype=int),
    )
