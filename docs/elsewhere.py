"""Write docs/elsewhere.json: how distances grew in trainings that others measured and published.

    python docs/elsewhere.py w2v2/

The folder holds `plot/ckpt_dist` of github.com/nikvaessen/w2v2-batch-size: wav2vec 2.0 base,
trained by AdamW for 400,000 updates at seven batch sizes, a run each. The curves stay where they
are; what comes with the project are their fits, beside the checksums of the files.
"""

import argparse
import hashlib
import json
from pathlib import Path

import ultraslow as us
from ultraslow.analysis.growth import fit_on

DOCS = Path(__file__).parent
HERTZ = 16_000
SOURCE = "github.com/nikvaessen/w2v2-batch-size, plot/ckpt_dist"
CLOCKS = ("iteration", "learning_rate_sum")
# Seconds of sound in a batch, and the peak of the learning rate. The peaks are those of the best
# checkpoints that the authors name; that these files are of those runs is inferred.
RUNS = {
    "dist_0gpu.csv": (87.5, 7.29e-6),
    "dist_1gpu.csv": (150, 7.91e-5),
    "dist_2gpu.csv": (300, 1.12e-4),
    "dist_4gpu.csv": (600, 1.58e-4),
    "dist_8gpu.csv": (1200, 2.24e-4),
    "dist_16gpu.csv": (2400, 5e-4),
    "dist_32gpu.csv": (4800, 5e-4),
}


def fits(folder):
    """Exponents of each run over iterations and over the summed rate, and its last distance."""
    rows = []
    for name, (seconds, peak) in RUNS.items():
        file = folder / name
        runs = us.import_runs(
            file,
            where="it1 == 0",
            batch_size=str(round(seconds * HERTZ)),
            learning_rate=f"cyclic:{peak / 100},{peak},25000,25000",
            labels={"optimizer": "adamw"},
        )
        (run,) = (node.to_dataset() for node in runs.values())
        rows.append(
            {
                "file": name,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "seconds": seconds,
                "peak_rate": peak,
                "last_iteration": int(run["iteration"][-1]),
                "last_distance": float(run["distance_sq"].sum("tensor")[-1] ** 0.5),
                "exponents": {clock: exponent(run, clock) for clock in CLOCKS},
            }
        )
    return rows


def exponent(run, clock):
    """The exponent p with its interval, and the status of its fit."""
    fit = fit_on({"run": run}, clock).isel(node=0)
    keys = ("exponent", "exponent_low", "exponent_high")
    return {**{key: float(fit[key]) for key in keys}, "status": str(fit["status"].values)}


def main():
    """Write the fits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the curves")
    rows = fits(parser.parse_args().folder)
    (DOCS / "elsewhere.json").write_text(
        json.dumps({"source": SOURCE, "runs": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
