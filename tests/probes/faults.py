"""Recordings for faults that are really caused, and kills at random moments."""

import json
import os
import subprocess
import sys
from pathlib import Path

import resume_run as runs
import torch

from ultraslow import probes

SCRIPT = Path(__file__).parent / "fault_run.py"
CHAINS = SCRIPT.with_name("chain_run.py")
SOURCE = Path(__file__).parents[2] / "src"
# Before the first flush, which comes early, four updates wait.
FIRST_ROWS = 4


def kills(folder, *, trials, processes, victim, seed=1):
    """Trials of `fault_run.py`, each the last iteration told of and the last one recorded."""
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, *map(str, (trials, processes, victim, seed))],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def chains(folder, *, count, processes, seed):
    """What `chain_run.py` tells of so many chains of killed runs."""
    done = subprocess.run(
        [sys.executable, CHAINS, folder, *map(str, (count, processes, seed))],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def assert_at_most_one_flush_lost(outcomes, *, processes):
    """Every update is flushed when the next one is committed.

    Where another process dies within that flush the recording stops with a warning, and the
    training, which `observe` does not end, still tells of the next one.
    """
    flush = 1 if processes == 1 else 2
    for told, recorded in outcomes:
        assert told - recorded <= (FIRST_ROWS + flush if recorded < 0 else flush), (told, recorded)


def run(path, **options):
    model = runs.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = probes.attach(model, optimizer, path, batch_size=8, flush_seconds=0.0, **options)

    def train(first, stop):
        for iteration in range(first, stop):
            runs.update(model, optimizer, recorder, runs.microbatches(iteration))

    return recorder, train
