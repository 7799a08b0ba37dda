"""How time and memory grow: fits with series, loading and the report with runs.

    python tests/benchmarks/bench_scaling.py [--large] [--json FILE] [--figure FILE]

Processor seconds and the growth of the largest memory, of sizes even in their logarithm. The power
that each grows by is that of the package's own fit, a + b (n^p − 1)/p, whose offset is what a
single one costs already; 1 is linear. The smallest sizes are measured several times over, so that
each point stands for half a second or more. Series in chunks are made chunk by chunk, as they
would be read; critical values are kept before, as of a second call.

`--large` goes on to 10⁶ series in chunks, and to 10⁴ runs.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import ultraslow as us
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise
from ultraslow.diffusion.recording import pack, write_file

TIMES = np.unique(np.geomspace(10, 1e5, 60).round())
SERIES = tuple(int(n) for n in np.geomspace(100, 1e5, 9).round())
MILLION = 10**6
RUNS = tuple(int(n) for n in np.geomspace(10, 1000, 9).round())
MANY_RUNS = 10**4
REPORTED = (6, 9, 12, 18, 24, 36, 48, 60)
CHUNK = 5000  # series
LEAST = 0.5  # seconds that a point stands for

Point = tuple[int, float, float]


def curves(count: int, seed: int = 0) -> np.ndarray:
    """Noisy logarithms that grow by 1, shape (count, time)."""
    span = np.log(TIMES[-1] / TIMES[0])
    noise = NoiseModel("ar_log_t", -span / (TIMES.size - 1) / np.log(0.7))
    drawn = simulate_noise(noise, TIMES, count, rng=np.random.default_rng(seed))
    return 1 + np.log(TIMES / TIMES[0]) / span + 0.011 * drawn


def table(values: Any) -> xr.DataArray:
    """Series as the fit takes them."""
    return xr.DataArray(values, {"iteration": TIMES}, ["series", "iteration"])


def in_memory(count: int) -> Callable[[], Any]:
    """A fit of so many series at once."""
    series = table(curves(count))
    return lambda: us.fit_growth(series)


def in_chunks(count: int) -> Callable[[], Any]:
    """A fit of so many series that are made chunk by chunk, as if they were read."""
    import dask.array as da

    def block(block_info: Any = None) -> np.ndarray:
        (start, end), _ = block_info[None]["array-location"]
        return curves(end - start, seed=start)

    sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
    values = da.map_blocks(block, chunks=(tuple(sizes), (TIMES.size,)), dtype=np.float64)
    return lambda: us.fit_growth(table(values)).compute()


def recordings(folder: Path, count: int) -> None:
    """Small recordings in a folder: two batch sizes, several seeds, 20 tensors."""
    for place in range(len(list(folder.glob("*.nc"))), count):
        seed, size = divmod(place, 2)
        curve = curves(1, seed=place)[0] + 0.2
        values = {
            "iteration": TIMES.astype(np.int64),
            "tensor": [f"w{k}" for k in range(20)],
            "tensor_size": [100] * 20,
            "distance_sq": np.outer(curve, np.linspace(0.5, 1.5, 20)) ** 2,
            "weight_sq": np.full((TIMES.size, 20), 100.0),
            "overlap": np.full((TIMES.size, 20), 100.0),
            "learning_rate": np.full(TIMES.size, 0.1),
            "learning_rate_sum": 0.1 * TIMES,
            "run": f"b{64 * (1 + size)}-s{seed}",
            "batch_size": 64 * (1 + size),
            "seed": seed,
            "scaling": "sqrt",
        }
        write_file(xr.Dataset.from_dict(pack(values)), folder / f"run-{place:05d}.nc")


def loaded(folder: Path, count: int) -> Callable[[], Any]:
    """Loading of so many recordings."""
    paths = sorted(folder.glob("*.nc"))[:count]
    return lambda: us.load(paths)


def reported(folder: Path, count: int) -> Callable[[], Any]:
    """A report on so many recordings, from their files to the page."""
    paths, page = sorted(folder.glob("*.nc"))[:count], folder / "report.html"
    return lambda: us.report(us.load(paths), page)


def points(
    sizes: tuple[int, ...], prepare: Callable[[int], Callable[[], Any]], least: float
) -> Iterator[Point]:
    """Size, processor seconds of a call, and largest memory in MiB above that before all."""
    before = peak()
    for size in sizes:
        call, calls = prepare(size), 0
        began = time.process_time()
        while calls == 0 or time.process_time() - began < least:
            call()
            calls += 1
        seconds, more = (time.process_time() - began) / calls, peak() - before
        rate = size / seconds
        print(f"  {size:8d} {seconds:9.3f} s {rate:9.1f} a second {more:6.0f} MiB", flush=True)
        yield size, seconds, more


def peak() -> float:
    """Largest memory that this process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def power(sizes: list[int], values: list[float]) -> tuple[float, float, float]:
    """The power p of a + b (n^p − 1)/p, with its interval; of few sizes that of b n^p alone."""
    if len(sizes) < 2:
        return np.nan, np.nan, np.nan
    if len(sizes) >= 8 and max(sizes) >= 10 * min(sizes):
        grown = xr.DataArray(values, {"iteration": np.asarray(sizes, dtype=float)}, ["iteration"])
        fit = us.fit_growth(grown, onset=0.0)
        names = ("exponent", "exponent_low", "exponent_high")
        low, middle, high = (float(fit[name]) for name in (names[1], names[0], names[2]))
        return middle, low, high
    slope = float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
    return slope, np.nan, np.nan


def sweep(
    series: tuple[int, ...],
    runs: tuple[int, ...],
    reports: tuple[int, ...],
    least: float = LEAST,
    large: bool = False,
) -> dict[str, list[Point]]:
    """Points of each bench by its name; of those that have sizes."""
    found: dict[str, list[Point]] = {}
    if series:
        us.fit_growth(table(curves(min(2000, series[-1]))))  # critical values are kept then
        found["series, in memory"] = list(points(series, in_memory, least))
        found["series, in chunks"] = list(points(series, in_chunks, least))
        if large:
            found["series, in chunks"] += list(points((MILLION,), in_chunks, 0.0))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        recordings(folder, max((0, *runs, *reports)))
        if runs:
            found["load, runs"] = list(points(runs, partial(loaded, folder), least))
        if reports:
            reported(folder, reports[0])()  # what a first one simulates is kept then
            found["report, runs"] = list(points(reports, partial(reported, folder), least))
    return found


def measure(
    series: tuple[int, ...] = SERIES,
    runs: tuple[int, ...] = RUNS,
    reports: tuple[int, ...] = REPORTED,
    least: float = LEAST,
) -> dict[str, float]:
    """Figures by name."""
    figures: dict[str, float] = {}
    for name, found in sweep(series, runs, reports, least).items():
        figures |= figures_of(name, found)
    return figures


def figures_of(name: str, found: list[Point]) -> dict[str, float]:
    """The power of one bench, and what the largest size costs."""
    sizes, seconds, memory = (list(column) for column in zip(*found, strict=True))
    return {
        f"{name}: power of time": power(sizes, seconds)[0],
        f"{name}: a processor second, at {sizes[-1]}": sizes[-1] / seconds[-1],
        f"{name}: MiB more, at {sizes[-1]}": max(memory[-1], 1.0),
    }


def draw(found: dict[str, list[Point]], path: str) -> None:
    """Processor seconds against size, each bench a line, with its power."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, ours in found.items():
        sizes, seconds, _ = (list(column) for column in zip(*ours, strict=True))
        words = f"{name}: $p$ = {power(sizes, seconds)[0]:.2f}"
        axes.loglog(sizes, seconds, "o-", label=words)
    axes.set(xlabel="number of series, or of runs", ylabel="processor seconds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="to 10⁶ series and 10⁴ runs")
    parser.add_argument("--series", type=int, default=SERIES[-1], help="at most; 0 for none")
    parser.add_argument("--runs", type=int, default=RUNS[-1], help="at most; 0 for none")
    parser.add_argument("--reports", type=int, default=REPORTED[-1], help="runs at most")
    parser.add_argument("--json", help="file to write the points to")
    parser.add_argument("--figure", help="file to draw them into")
    asked = parser.parse_args()
    series, runs, reports = (
        tuple(n for n in sizes if n <= most)
        for sizes, most in ((SERIES, asked.series), (RUNS, asked.runs), (REPORTED, asked.reports))
    )
    found = sweep(series, (*runs, MANY_RUNS) if asked.large else runs, reports, large=asked.large)
    for name, ours in found.items():
        sizes, seconds, _ = (list(column) for column in zip(*ours, strict=True))
        p, low, high = power(sizes, seconds)
        print(f"{name}: p = {p:.2f} [{low:.2f}, {high:.2f}]")
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=1) + "\n")
    if asked.figure:
        draw(found, asked.figure)


if __name__ == "__main__":
    main()
