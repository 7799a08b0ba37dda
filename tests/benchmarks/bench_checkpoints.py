"""Checkpoints: how fast a pass over them reads, beside reading their files alone, and its memory.

    python tests/benchmarks/run.py checkpoints

Files leave the page cache before they are read. On a machine that does other work beside, the
processor seconds are the figure to look at: a pass has as many of them in a second as cores.
"""

import os
import tempfile
import threading
import time
from pathlib import Path

import torch

from ultraslow.probes.checkpoints import CheckpointRequest, prepare
from ultraslow.probes.checkpoints.record import pass_over
from ultraslow.probes.checkpoints.stored import OpenFiles

CHECKPOINTS = 8
VALUES = 50_000_000  # of the largest tensor: 200 MB
_BLOCK = 4 << 20


def measure(checkpoints: int = CHECKPOINTS, values: int = VALUES) -> dict[str, float]:
    """All figures by name; the best of three passes counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved(folder, checkpoints, values)
        alone, passes = [], []
        for _ in range(3):
            alone.append(read_alone(folder))
            passes.append(read_all(folder))
        size = sum(file.stat().st_size for file in folder.glob("*.pt")) / 1e9
    return {
        "reading the files alone, GB a second": size / min(alone),
        "a pass over checkpoints, GB a second": size / min(wall for wall, _, _ in passes),
        "the same ÷ reading the files alone": min(alone) / min(wall for wall, _, _ in passes),
        "a pass, processor seconds per GB": min(spent for _, spent, _ in passes) / size,
        "memory of a pass ÷ the largest tensor": max(most for _, _, most in passes) / (4 * values),
    }


def saved(folder: Path, checkpoints: int, values: int) -> None:
    weights = {"large": torch.randn(values), "small": torch.randn(values // 2)}
    for step in range(checkpoints):
        for tensor in weights.values():
            tensor.add_(0.01)
        torch.save(weights, folder / f"step{step}.pt")


def read_alone(folder: Path) -> float:
    """Seconds to read the files from their beginning to their end."""
    room = bytearray(_BLOCK)
    forget(folder)
    start = time.perf_counter()
    for file in sorted(folder.glob("*.pt")):
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(room):
                pass
    return time.perf_counter() - start


def read_all(folder: Path) -> tuple[float, float, float]:
    """Seconds of a pass, those of its threads, and bytes of memory that it takes."""
    forget(folder)
    with OpenFiles() as files:
        prepared = prepare(CheckpointRequest((folder,), folder / "run"), files)
        one_pass = pass_over(prepared, files)
        done, most, before = threading.Event(), [0], anonymous()

        def watch() -> None:
            while not done.wait(0.01):
                most.append(anonymous() - before)

        watcher = threading.Thread(target=watch)
        watcher.start()
        wall, spent = time.perf_counter(), time.process_time()
        one_pass.run()
        wall, spent = time.perf_counter() - wall, time.process_time() - spent
        done.set()
        watcher.join()
        one_pass.forget()
    return wall, spent, max(max(most), 1)


def forget(folder: Path) -> None:
    """Bring the files to disk and out of the page cache."""
    for file in folder.glob("*.pt"):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def anonymous() -> int:
    """Bytes of memory of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:72} {value:>12.4g}")
