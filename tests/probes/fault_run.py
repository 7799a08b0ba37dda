"""Kill small trainings at random moments and tell what their recordings hold.

    python fault_run.py FOLDER TRIALS PROCESSES VICTIM SEED

One process imports everything and forks each training, so that a trial takes a fraction of a
second. Prints, for each trial, the last iteration the training told of and the last one recorded.
"""

import json
import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.diffusion.recording import join_segments, read_file
from ultraslow.probes.storage.segments import SegmentStore


def train(path, told, *, rank, processes):
    """Train without end, flush at every update, tell each iteration that is done."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    if processes > 1:
        meeting = f"file://{path}-meeting"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with probes.attach(
        model, optimizer, path, batch_size=8, schedule=range(100_000), flush_seconds=0.0
    ) as recorder:
        iteration = 0
        while True:
            loss = model(torch.randn(8 // processes, 4)).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            recorder.observe(loss=loss)
            iteration += 1
            if rank == 0:
                told[:8] = struct.pack("q", iteration)


def warm_up(folder):
    """Let every library import what it puts off, so that the children need not."""
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder = probes.attach(model, optimizer, Path(folder, "warm"), batch_size=8)
    read_file(recorder.close())[0]


def start(path, told, *, rank, processes):
    # A lock that another thread holds at that moment would never be given back in the child.
    tasks = os.listdir("/proc/self/task")
    assert len(tasks) == 1, f"found {len(tasks)} threads, expected one where processes are forked"
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            train(path, told, rank=rank, processes=processes)
        finally:
            os._exit(1)
    return child


def started(told):
    return struct.unpack("q", told[:8])[0] > 0


def trial(path, *, processes, victim, delay):
    """Start, wait, kill one process; the others must end by themselves."""
    told = mmap.mmap(-1, 8)
    children = [start(path, told, rank=k, processes=processes) for k in range(processes)]
    patience = time.monotonic() + 60
    # Processes that have not met yet would wait for a dead one until their patience ends.
    while (delay > 0 or processes > 1) and not started(told) and time.monotonic() < patience:
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(children[victim], signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    (iteration,) = struct.unpack("q", told[:8])
    return iteration, recorded(path)


def recorded(path):
    """The last iteration on disk, after everything there was opened and checked; −1 for none."""
    segments = SegmentStore(path).segments()
    if not segments:
        return -1
    records = join_segments([read_file(segment)[0] for segment in segments])
    iterations = records["iteration"].values
    assert np.array_equal(iterations, np.arange(len(iterations)))
    return int(iterations[-1])


if __name__ == "__main__":
    folder, trials, processes, victim, seed = sys.argv[1:]
    folder = Path(folder, f"{processes}-{victim}")
    rng = np.random.default_rng(int(seed))
    torch.set_num_threads(1)
    warm_up(folder)
    outcomes = []
    for index in range(int(trials)):
        path = folder / f"run-{index}"
        # From before the recording exists to some dozens of updates.
        delay = float(rng.uniform(0.0, 1.0)) if index else 0.0
        outcomes.append(trial(path, processes=int(processes), victim=int(victim), delay=delay))
    print(json.dumps(outcomes))
