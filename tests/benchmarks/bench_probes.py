"""What probes cost: steps with and without them alternate in one process, so the machine's mood
cancels.

    python tests/benchmarks/bench_probes.py           # the distance kernel and, under torchrun,
    DDP steps
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ultraslow import probes
from ultraslow.probes.distributed.processes import leave
from ultraslow.probes.norms import squared_distances
from ultraslow.probes.runs.models.names import architecture
from ultraslow.probes.runs.models.resnet import ResNet

STEPS, RUNS = 200, 5  # pairs of steps in a run; the median of runs counts
PATIENCE = 1800  # seconds


def distance_kernel(repeats, network):
    """Time of one distance measurement of a network over the time to read both vectors once."""
    model = ResNet(architecture(network), channels=3, classes=1000)
    weights = [p.detach() for p in model.parameters()]
    initial = [w + 1e-3 * torch.randn_like(w) for w in weights]
    pairs = [(w.reshape(-1), w0.reshape(-1)) for w, w0 in zip(weights, initial, strict=True)]
    reads, measurements = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        for w, w0 in pairs:
            torch.dot(w, w0)
        middle = time.perf_counter()
        squared_distances(weights, initial)
        reads.append(middle - start)
        measurements.append(time.perf_counter() - middle)
    return min(measurements) / min(reads)  # other programs only ever add time


class Arm:
    """One network with its optimizer, trained a step at a time."""

    def __init__(self, model, inputs, *, passes=1):
        self.model, self.inputs, self.passes = model, inputs, passes
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        self.targets = torch.randint(10, (len(inputs),))
        self.recorder = None

    def step(self):
        start = time.perf_counter()
        for _ in range(self.passes):
            loss = torch.nn.functional.cross_entropy(self.model(self.inputs), self.targets)
            (loss / self.passes).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.recorder:
            self.recorder.observe(loss=loss)
        return time.perf_counter() - start


def in_turn(bare, probed, index):
    """Times of a bare and of a probed step; which is first alternates, as the first of two steps
    takes up to a hundredth longer."""
    arms = (bare, probed) if index % 2 else (probed, bare)
    times = {arm: arm.step() for arm in arms}
    return times[bare], times[probed]


def ratio_of(bare, probed, *, steps, batch_size):
    """Bare and probed steps in turn: the ratio of their times, and milliseconds of a bare one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with probes.attach(
            probed.model, probed.optimizer, path, batch_size=batch_size, quiet=True
        ) as recorder:
            probed.recorder = recorder
            for _ in range(5):
                bare.step(), probed.step()
            times = [in_turn(bare, probed, index) for index in range(steps)]
    ratios = sorted(p / b for b, p in times)
    quarter = steps // 4
    # Interquartile mean of paired ratios: a step that the machine interrupted tells nothing.
    ratio = statistics.fmean(ratios[quarter:-quarter])
    return ratio, 1e3 * statistics.median(b for b, _ in times)


def ddp_steps(steps, images):
    """Bare and probed ResNet-20 steps in turn; the ratio of their times, printed by rank 0."""
    dist.init_process_group("gloo")

    def arm():
        torch.manual_seed(0)
        model = ResNet(architecture("resnet20"), channels=3, classes=10)
        return Arm(DistributedDataParallel(model), torch.randn(images, 3, 32, 32))

    size = dist.get_world_size() * images
    ratio, bare_ms = ratio_of(arm(), arm(), steps=steps, batch_size=size)
    if dist.get_rank() == 0:
        print(json.dumps({"ratio": ratio, "bare_ms": bare_ms}))
    leave()


def small_steps(steps):
    """The same of 50,000 weights in steps of about a millisecond, two passes each."""

    def arm():
        torch.manual_seed(0)
        layers = [torch.nn.Linear(128, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64)]
        model = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(64, 10))
        return Arm(model, torch.randn(64, 128), passes=2)

    return ratio_of(arm(), arm(), steps=steps, batch_size=128)


def under_torchrun(steps, images, processes):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, __file__, "ddp", str(steps), str(images)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=PATIENCE,
    )
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def measure(steps=STEPS, images=64, repeats=40, *, runs=RUNS, processes=2, network="resnet50"):
    """Figures by name; ratios are medians over runs."""
    torch.set_num_threads(1)
    found = [under_torchrun(steps, images, processes) for _ in range(runs)]
    ratio = statistics.median(one["ratio"] for one in found)
    small = [small_steps(2 * steps) for _ in range(runs)]
    return {
        f"probed ÷ bare step, ResNet-20, DDP {processes} × {images} (≤ 1.02)": ratio,
        "bare step, ms": statistics.median(one["bare_ms"] for one in found),
        "probed ÷ bare step, 50,000 weights, 2 passes (≤ 1.3)": statistics.median(
            one for one, _ in small
        ),
        "bare step of 50,000 weights, ms": statistics.median(one for _, one in small),
        f"distance at the size of {network} ÷ torch.dot (≤ 1.6)": distance_kernel(
            repeats, network
        ),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["ddp"]:
        ddp_steps(*map(int, sys.argv[2:]))
    else:
        for name, figure in measure().items():
            print(f"{name:60} {figure:.3f}")
