"""Our distance and noise beside Cockpit's Distance and NormTest: one CNN, one process, steps in
turn.

Cockpit 1.0.2 needs an older setuptools and pulls torchvision along, so it lives in an environment
of its own:

    python tests/benchmarks/bench_cockpit.py          # makes .venv-cockpit, then measures in it
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-cockpit"
BATCH = 128
STEPS = 30


def environment():
    """The Python of an environment that holds Cockpit and this package; made once."""
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / "done"
    if not done.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
        ours = ["setuptools<81", "json_tricks", "seaborn", "einops", "-e", str(ROOT)]
        subprocess.run([*install, *ours], check=True, timeout=1800)
        peers = ["cockpit-for-pytorch==1.0.2", "backpack-for-pytorch==1.7.1", "unfoldNd"]
        # without torchvision
        subprocess.run([*install, "--no-deps", *peers], check=True, timeout=1800)
        done.touch()
    return python


def network():
    """A plain CNN without batch normalization, whose per-sample gradients Cockpit can form."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(64 * 64, 10),
    )


def timed(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare():
    """Overheads in ms and their ratio, from medians over steps of four arms in turn."""
    import torch
    from backpack import extend
    from cockpit import Cockpit
    from cockpit.quantities import Distance, NormTest
    from cockpit.utils.schedules import linear

    from ultraslow import probes

    torch.set_num_threads(1)
    inputs, targets = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    halves = list(zip(inputs.chunk(2), targets.chunk(2), strict=True))
    loss_function = torch.nn.CrossEntropyLoss()

    def plain(parts, recorder=None, model=None, optimizer=None):
        model = model or network()
        optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01)

        def step():
            for x, y in parts:
                (loss_function(model(x), y) / len(parts)).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    watched = extend(network())
    extended, each = (
        extend(torch.nn.CrossEntropyLoss()),
        torch.nn.CrossEntropyLoss(reduction="none"),
    )
    watched_optimizer = torch.optim.SGD(watched.parameters(), lr=0.01)
    quantities = [Distance(track_schedule=linear(1)), NormTest(track_schedule=linear(1))]
    cockpit = Cockpit(watched.parameters(), quantities=quantities)
    count = iter(range(10**9))

    def cockpit_step():
        at = next(count)
        outputs = watched(inputs)
        loss = extended(outputs, targets)
        info = {
            "batch_size": BATCH,
            "individual_losses": each(outputs, targets),
            "loss": loss,
            "optimizer": watched_optimizer,
        }
        with cockpit(at, info=info):
            loss.backward(create_graph=cockpit.create_graph(at))
        watched_optimizer.step()
        watched_optimizer.zero_grad()

    probed = network()
    probed_optimizer = torch.optim.SGD(probed.parameters(), lr=0.01)
    with tempfile.TemporaryDirectory() as folder:
        recorder = probes.attach(
            probed,
            probed_optimizer,
            Path(folder) / "run",
            batch_size=BATCH,
            schedule=range(STEPS + 5),
        )
        arms = {
            "bare": plain([(inputs, targets)]),
            "cockpit": cockpit_step,
            "accumulated": plain(halves),
            "ours": plain(halves, model=probed, optimizer=probed_optimizer),
        }
        rounds = [{name: timed(step) for name, step in arms.items()} for _ in range(STEPS + 5)][5:]
        recorder.close()
    theirs = statistics.median(r["cockpit"] - r["bare"] for r in rounds)
    ours = statistics.median(r["ours"] - r["accumulated"] for r in rounds)
    bare = statistics.median(r["bare"] for r in rounds)
    return {"bare_ms": 1e3 * bare, "cockpit_ms": 1e3 * theirs, "ours_ms": 1e3 * ours}


def measure():
    """Figures by name."""
    done = subprocess.run(
        [environment(), __file__, "compare"],
        capture_output=True,
        text=True,
        check=True,
        timeout=1800,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "bare step of the CNN, ms": found["bare_ms"],
        "Cockpit Distance + NormTest adds, ms": found["cockpit_ms"],
        "distance and noise add, ms": found["ours_ms"],
        "our overhead ÷ Cockpit's (≤ 0.03)": found["ours_ms"] / found["cockpit_ms"],
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["compare"]:
        print(json.dumps(compare()))
    else:
        for name, figure in measure().items():
            print(f"{name:40} {figure:.4g}")
