"""Several threads read and write recordings at once.

python thread_run.py FOLDER
"""

import sys
import threading
from pathlib import Path

import numpy as np
import xarray as xr

from ultraslow.diffusion.recording.contract import pack
from ultraslow.diffusion.recording.netcdf import from_bytes, read_file, to_bytes, write_file


def recording(count):
    names = [f"a{k}" for k in range(40)]
    values = {
        "iteration": np.arange(count),
        "tensor": names,
        "tensor_size": np.ones(40, dtype=int),
        "distance_sq": np.ones((count, 40)),
        "weight_sq": np.ones((count, 40)),
        "overlap": np.ones((count, 40)),
        "samples": np.arange(count, dtype=float),
        "run": "x",
        "batch_size": 8,
    }
    return xr.Dataset.from_dict(pack(values))


def go_on(action, faults):
    try:
        for _ in range(40):
            action()
    except BaseException as error:
        faults.append(repr(error))


if __name__ == "__main__":
    folder, records, faults = Path(sys.argv[1]), recording(50), []
    write_file(records, folder / "here.nc")
    whole = to_bytes(records)
    actions = [
        lambda: to_bytes(records),
        lambda: from_bytes(whole, "whole"),
        lambda: read_file(folder / "here.nc"),
        lambda: write_file(records, folder / "there.nc"),
    ]
    threads = [threading.Thread(target=go_on, args=(a, faults)) for a in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(faults)
