"""What the reference loop costs beside a plain one: updates of both alternate in one process.

    python tests/benchmarks/bench_train.py

Both have the same network, optimizer and source of batches. The reference loop also records with
all default probes, tells its progress and asks whether to stop. The first updates, of which every
one is recorded, are left out.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ultraslow.probes.distributed.processes import leave
from ultraslow.probes.runs.config import Config
from ultraslow.probes.runs.images.batches import Share, on_device
from ultraslow.probes.runs.images.datasets import Arrays, Facts
from ultraslow.probes.runs.training import session as sessions, train as loop
from ultraslow.probes.runs.training.checkpoints import Keeper, Stop
from ultraslow.probes.runs.training.evaluation import HeldOut
from ultraslow.probes.runs.training.events import Progress, silent
from ultraslow.probes.runs.training.optimizers import optimizer_of
from ultraslow.probes.runs.training.sources import InMemory

UPDATES = 140
LEFT_OUT = 40
PATIENCE = 1800  # seconds
IMAGES = 2048
FACTS = Facts("random", IMAGES, 16, 10, 3, 32, 32, 4, True)


def session(config, place):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, IMAGES)
    arrays = Arrays(images, labels, images[:16], labels[:16])
    share = Share(place.rank, place.processes, config.microbatches(place.processes))
    model = sessions.distributed(config, FACTS, place)
    source = InMemory(*on_device(arrays, place.device), FACTS, config)
    return sessions.Session(
        config,
        place,
        FACTS,
        source,
        held_out=HeldOut(source, share, config.precision),
        model=model,
        optimizer=optimizer_of(model, config, learning_rate=0.05),
        noise=torch.Generator(),
        share=share,
    )


def plain_step(model, optimizer, criterion, batches):
    [(inputs, targets)] = next(batches)
    loss = criterion(model(inputs), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def now():
    """Wall time, and computing time of this process, which other programs disturb less."""
    return np.array([time.perf_counter(), time.process_time()])


def timed(step, iteration):
    """Both times of a step."""
    start = now()
    step(iteration)
    return now() - start


def times(folder, model, count):
    """Both times of each update of the reference loop and of the plain one, on this process."""
    place = sessions.join("cpu")
    config = Config(
        folder=folder, model=model, batch_size=128, iterations=count, name="r", evaluations=0
    )
    ours, other = session(config, place), session(config, place)
    criterion = nn.CrossEntropyLoss()
    batches = other.source.updates(other.share, skip=0)
    keeper = Keeper(Stop(), place.device, first=1)
    progress = Progress("r", silent)
    spent = []
    with sessions.attached(ours, {}, None) as recorder:
        parts = loop.updates(ours, 0)

        def update(iteration):
            loss = loop.update(ours, iteration, next(parts))
            recorder.observe(loss=loss)
            progress.at(iteration, loss)
            keeper.decide(iteration)

        def plain(_):
            plain_step(other.model, other.optimizer, criterion, batches)

        for iteration in range(1, count + 1):
            # Which is first alternates: the first of two takes up to a hundredth longer.
            order = (update, plain) if iteration % 2 else (plain, update)
            took = {step: timed(step, iteration) for step in order}
            spent.append([*took[update], *took[plain]])
    return place, spent[min(LEFT_OUT, count // 2) :]


def measure(models=("resnet8", "resnet20"), count=UPDATES):
    """Figures by name."""
    figures = {}
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            command += ["--nproc-per-node", "2", __file__, folder, model, str(count)]
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=PATIENCE
            )
            ours, own, plain, its = json.loads(done.stdout.splitlines()[-1])
        name = f"{model}, 2 processes of 64 images"
        figures[f"reference loop / plain loop, {name}"] = ours / plain
        figures[f"the same in computing time of a process, {model}"] = own / its
        figures[f"images a second in the reference loop, {name}"] = 128 / ours
    return figures


if __name__ == "__main__":
    if len(sys.argv) > 2:
        where, found = times(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        if where.rank == 0:
            # Other programs only ever add time: the lower quartile.
            columns = zip(*found, strict=True)
            print(json.dumps([statistics.quantiles(c, n=4)[0] for c in columns]), flush=True)
        leave()
    else:
        sys.path.insert(0, str(Path(__file__).parent))
        for figure, value in measure().items():
            print(f"{figure:72} {value:10.4g}")
