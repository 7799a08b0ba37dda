"""The store: cost and size of a record, of initial weights and of reading many recordings.

    python tests/benchmarks/run.py store

A record has 60 tensors and the fields of the default probes. Wall times, as disks are waited for;
the best of some repetitions counts.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from ultraslow import analysis
from ultraslow.diffusion.recording.contract import pack
from ultraslow.diffusion.recording.fields import FIELDS
from ultraslow.diffusion.recording.netcdf import read_file, seal
from ultraslow.probes.storage import initial
from ultraslow.probes.storage.segments import SegmentStore

TENSORS = 60
RECORDS = 300
RECORDINGS = 1000
VALUES = 25_000_000  # of initial weights: 100 MB
# Fields of records that the default probes do not make.
ABSENT = ("step_sq", "sketch", "loss_scale", "skipped", "epoch")


def measure(recordings: int = RECORDINGS, values: int = VALUES) -> dict[str, float]:
    """All figures by name."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            **append(Path(folder)),
            **checksum(Path(folder)),
            **weights(Path(folder), values),
            **many(Path(folder, "many"), recordings),
        }


def recording(first: int, count: int, name: str = "run") -> xr.Dataset:
    """Records of random values."""
    rng = np.random.default_rng(first)
    sizes = {"iteration": count, "tensor": TENSORS}
    values = {
        field.name: np.abs(rng.standard_normal([sizes[dim] for dim in field.dims]))
        for field in FIELDS.values()
        if field.dims and set(field.dims) <= set(sizes) and field.name not in ABSENT
    }
    values |= {
        "iteration": np.arange(first, first + count),
        "tensor": [f"layer{index // 10}.{index % 10}.weight" for index in range(TENSORS)],
        "tensor_size": np.full(TENSORS, 10_000),
        "tensor_group": np.zeros(TENSORS),
        "scale_invariant": np.zeros(TENSORS),
    }
    return xr.Dataset.from_dict(pack({**values, "run": name, "batch_size": 64}))


def best(action, repetitions=5):
    """Shortest time of some calls, in seconds."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def append(folder: Path) -> dict[str, float]:
    store = SegmentStore(folder / "run")
    store.open()
    firsts = iter(range(0, 10_000, 10))
    one = best(lambda: store.write(recording(next(firsts), 1)))
    ten = best(lambda: store.write(recording(next(firsts), 10)))
    size = {count: _size(store.write(recording(next(firsts), count))) for count in (1, 10)}
    segments = len(store.segments())
    start = time.perf_counter()
    store.compact()
    closing = time.perf_counter() - start
    long = SegmentStore(folder / "long")
    long.open()
    long.write(recording(0, RECORDS))
    return {
        "a segment of 1 record, milliseconds": 1e3 * one,
        "a segment of 10 records, milliseconds per record": 1e2 * ten,
        "a live record in a segment of 1, bytes": size[1],
        "a live record in a segment of 10, bytes": size[10] / 10,
        f"a closed record of {RECORDS}, bytes": _size(long.compact()) / RECORDS,
        f"closing {segments} segments, milliseconds": 1e3 * closing,
    }


def checksum(folder: Path) -> dict[str, float]:
    """What seals cost beside HDF5's own checksums, which leave names and scalars out."""
    path = folder / "checked.nc"
    records = recording(0, RECORDS)
    numeric = [name for name, v in records.variables.items() if v.ndim and v.dtype.kind in "iuf"]
    plain = best(lambda: records.to_netcdf(path))
    content = path.read_bytes()
    checked = dict.fromkeys(numeric, {"fletcher32": True})
    return {
        "seal of a recording ÷ writing it": best(lambda: seal(content)) / plain,
        "writing with fletcher32 ÷ without": best(
            lambda: records.to_netcdf(path, encoding=checked)
        )
        / plain,
    }


def weights(folder: Path, values: int) -> dict[str, float]:
    """Initial weights of so many values."""
    parameters = {"w": torch.randn(values)}
    into = [torch.empty(values)]
    a_gigabyte = 1e9 / (4 * values)
    part = initial.Part(0, 1, True)
    return {
        "saving initial weights, seconds per GB": a_gigabyte
        * best(lambda: initial.save_part(folder / "w0", part, parameters), 2),
        "reading initial weights, seconds per GB": a_gigabyte
        * best(lambda: initial.load_weights(folder / "w0", parameters, into), 2),
    }


def many(folder: Path, recordings: int) -> dict[str, float]:
    store = SegmentStore(folder / "first")
    store.open()
    store.write(recording(0, RECORDS))
    content = store.compact().read_bytes()
    for index in range(recordings):
        (folder / f"run{index}.nc").write_bytes(content)
    store.file.unlink()
    start, processor = time.perf_counter(), time.process_time()
    runs = analysis.load(str(folder / "*.nc"))
    elapsed, processor = time.perf_counter() - start, time.process_time() - processor
    assert len(runs.children) == recordings
    return {
        f"{recordings} recordings of {RECORDS} × {TENSORS} by analysis.load, seconds": elapsed,
        "the same, processor seconds": processor,
        "one of them by the store, milliseconds": 1e3
        * best(lambda: read_file(folder / "run0.nc")),
    }


def _size(path: Path) -> int:
    return path.stat().st_size


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:72} {value:>12.4g}")
