"""What probes cost against parameters and processes, and by which power that grows.

    python tests/benchmarks/bench_big.py          # 10⁴ … 10⁸ parameters on 1, 2 and 4 processes

Each size is trained with and without probes in the same process: a few updates without, then as
many with a record at each. The processor time of the fastest of each counts, since whatever else
the machine does only adds. Several processes shard the weights by `fully_shard`.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RUN = Path(__file__).parents[1] / "probes" / "big_run.py"
PARAMETERS = (1e4, 1e5, 1e6, 1e7, 1e8)
RANKS = (1, 2, 4)
PATIENCE = 1800  # seconds
LARGE = 1e6  # parameters from which on the power counts: below, the calls do
LEAST = 1e-6  # seconds


def measured(parameters, processes, *, place="device", updates=8):
    """What `big_run.py` prints of each size, in one start of the processes."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [
            {"weights": size, "place": place, "path": f"{folder}/{number}"}
            | {"updates": updates, "before": updates}
            for number, size in enumerate(parameters)
        ]
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        several = [*torchrun, f"--nproc-per-node={processes}"] if processes > 1 else []
        done = subprocess.run(
            [sys.executable, *several, str(RUN), *map(json.dumps, settings)],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def power(sizes, costs):
    """Slope of ln cost against ln size by least squares."""
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


def measure(parameters=PARAMETERS, ranks=RANKS, updates=8, large=LARGE):
    """Figures by name: seconds of an update with a record, bytes of a flush, and the powers."""
    figures, seconds, sent = {}, {}, {}
    for processes in ranks:
        told = measured(parameters, processes, updates=updates)
        for size, found in zip(parameters, told, strict=True):
            pairs = zip(found["seconds"], found["bare_seconds"], strict=True)
            cost = sum(max(min(with_) - min(bare), LEAST) for with_, bare in pairs) / processes
            seconds[processes, size] = cost
            figures[
                f"probe ms an update and record, 10^{math.log10(size):g}, {processes} ranks"
            ] = 1e3 * cost
            if processes > 1:
                sent[processes, size] = min(found["given"][0])
    for processes in ranks:
        sizes = [size for size in parameters if size >= large]
        costs = [seconds[processes, size] for size in sizes]
        figures[f"power of the cost in parameters, {processes} ranks (≤ 1)"] = power(sizes, costs)
    for processes in {processes for processes, _ in sent}:
        bytes_ = {sent[processes, size] for size in parameters}
        figures[f"bytes a rank gives to a flush, {processes} ranks"] = max(bytes_)
        figures[f"largest ÷ smallest flush over all sizes, {processes} ranks (1)"] = max(
            bytes_
        ) / min(bytes_)
    return figures


if __name__ == "__main__":
    for name, figure in measure().items():
        print(f"{name:64} {figure:.4g}", flush=True)
