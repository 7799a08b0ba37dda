"""What probes cost on an accelerator: ResNet-50 on images of 224², bf16, batches of 256.

    python tests/benchmarks/bench_accelerator.py [--device cpu --images 8 --pixels 64 --steps 4]

Blocks of steps with and without probes alternate in one process, and each is waited for. An update
has two units of half the batch each. Without a CUDA device there is nothing to measure.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from ultraslow import probes
from ultraslow.probes.norms import squared_distances
from ultraslow.probes.runs.models.names import architecture
from ultraslow.probes.runs.models.resnet import ResNet

BLOCKS = 12
UNITS = 2


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(device, work, repeats):
    """The shortest time of a call, waited for."""
    times = []
    for _ in range(repeats):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - start)
    return min(times)


def network(device, name):
    model = ResNet(architecture(name), channels=3, classes=1000)
    return model.to(device, memory_format=torch.channels_last)


def distance_kernel(device, name, repeats):
    """Time of one distance measurement over the time to read both vectors once."""
    weights = [p.detach() for p in network(device, name).parameters()]
    initial = [w + 1e-3 * torch.randn_like(w) for w in weights]
    one, other = (torch.cat([t.flatten() for t in side]) for side in (weights, initial))
    measured = seconds(device, lambda: squared_distances(weights, initial), repeats)
    return measured / seconds(device, lambda: torch.dot(one, other), repeats)


class Arm:
    """One network with its optimizer."""

    def __init__(self, device, name, images, pixels):
        torch.manual_seed(0)
        self.device, self.recorder = device, None
        self.model = network(device, name)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        inputs = torch.randn(images, 3, pixels, pixels, device=device)
        self.inputs = inputs.to(memory_format=torch.channels_last)
        self.targets = torch.randint(1000, (images,), device=device)

    def step(self):
        parts = zip(self.inputs.chunk(UNITS), self.targets.chunk(UNITS), strict=True)
        for inputs, targets in parts:
            with torch.autocast(self.device, torch.bfloat16):
                loss = cross_entropy(self.model(inputs), targets)
            (loss / UNITS).backward()
            if self.recorder:
                self.recorder.observe(loss=loss)
        self.optimizer.step()
        self.optimizer.zero_grad()


def steps(device, name, images, pixels, block, blocks):
    """Ratio of probed to bare steps, interquartile mean of blocks, and a bare step in ms."""
    bare, probed = (Arm(device, name, images, pixels) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with probes.attach(probed.model, probed.optimizer, path, batch_size=images) as recorder:
            probed.recorder = recorder
            times = [[block_seconds(arm, block) for arm in (bare, probed)] for _ in range(blocks)]
    ratios = sorted(b / a for a, b in times[2:])
    quarter = len(ratios) // 4
    ratio = statistics.fmean(ratios[quarter : len(ratios) - quarter])
    return ratio, 1e3 * statistics.median(a for a, _ in times) / block


def block_seconds(arm, block):
    def work():
        for _ in range(block):
            arm.step()

    return seconds(arm.device, work, 1)


def measure(
    device="cuda", images=256, pixels=224, block=10, *, blocks=BLOCKS, repeats=50, name="resnet50"
):
    """Figures by name; none without the device."""
    if device == "cuda" and not torch.cuda.is_available():
        print("  no CUDA device")
        return {}
    ratio, bare_ms = steps(device, name, images, pixels, block, blocks)
    kernel = distance_kernel(device, name, repeats)
    return {
        f"probed / bare step, {name}, bf16, batch {images}, {device} (at most 1.03)": ratio,
        f"bare step, ms, {device}": bare_ms,
        f"distance at {name} size / torch.dot, {device} (at most 1.3)": kernel,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--steps", type=int, default=10, help="in a block")
    asked = parser.parse_args()
    for name, figure in measure(asked.device, asked.images, asked.pixels, asked.steps).items():
        print(f"{name:72} {figure:10.4g}")
