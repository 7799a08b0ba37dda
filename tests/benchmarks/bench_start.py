"""The start: how long the command, the import and a recorder take until they are there.

    python tests/benchmarks/run.py start

Wall times of fresh processes whose files the system has in memory; the best of some repetitions
counts. The time to the first record begins when torch, which any training imports, is there with
a model and an optimizer, and holds the first four updates of a small model.
"""

import subprocess
import sys
import time

HELP = [sys.executable, "-m", "ultraslow", "--help"]
IMPORT = """
import time
start = time.perf_counter()
import ultraslow
print(time.perf_counter() - start)
"""
FIRST_RECORD = """
import tempfile, time
from pathlib import Path
import torch

model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 2))
optimizer = torch.optim.SGD(model.parameters(), 0.1)

def update():
    model(torch.randn(8, 20)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()

update()
with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    import ultraslow as us
    with us.attach(model, optimizer, Path(folder, "run"), batch_size=8):
        attached = time.perf_counter() - start
        while not list(Path(folder, "run").glob("*.nc")):
            update()
        print(attached, time.perf_counter() - start)
"""


def measure(repeats: int = 5) -> dict[str, float]:
    """All figures by name."""
    shown = min(_seconds(HELP) for _ in range(repeats))
    imported = min(_printed(IMPORT)[0] for _ in range(repeats))
    times = [_printed(FIRST_RECORD) for _ in range(repeats)]
    return {
        "ultraslow --help, seconds": shown,
        "import ultraslow, seconds": imported,
        "attach, from its import on, seconds": min(attached for attached, _ in times),
        "attach to the first record, seconds": min(recorded for _, recorded in times),
    }


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def _printed(program: str) -> list[float]:
    """Numbers that a program prints."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:72} {value:>12.4g}")
