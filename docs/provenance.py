"""Write data/README.md: what each recording is, how it was made and its checksum.

    python docs/provenance.py --machine "2 cores of an AMD EPYC 9R14"

The command and the commit are read from the recordings themselves; `--commit` tells that of
recordings which hold none, as they were made outside of a checkout.
"""

import argparse
import json
import shlex
from itertools import groupby
from pathlib import Path

from ultraslow.diffusion.recording import read_file

DATA = Path(__file__).parent.parent / "data"
HEAD = """# Data

Recordings of real runs, made with the reference loop of this package, and figures digitized from
publications (`hoffer2017-fig2a`, with a README of its own). `ultraslow report data/` tells what
the recordings say, and [findings](../docs/findings.md) has it in words. Each holds its recipe and
settings; `ultraslow info --json FILE` shows them.

Those of `cifar10-small` that were begun on 2026-11-22 were compressed after they were made, their
values unchanged to the bit. Their landscape scans have a fault that later ones do not: of the
filter-normalized directions all but the first were scaled to weights that the direction before
had moved, and not to those at the checkpoint. What P4 says of them along filter directions rests
on these lengths; its other directions do not.

`limit-study` is in compact form: values have 21 significant bits, those of sketches 12, which
moves no verdict (`docs/compact.py`). All runs of the recipe are there.

This page is written by `docs/provenance.py`.
"""


def facts(path, untold):
    """What a recording tells of itself, and the commit that it may not tell."""
    recording, digest = read_file(path)
    config = json.loads(recording.attrs["config"])
    held_out = recording["held_out"].sel(metric="accuracy").dropna("iteration")
    return {
        "folder": path.parent.name,
        "run": str(recording["run"].values),
        "batch_size": int(recording["batch_size"]),
        "iterations": int(recording["iteration"][-1]),
        "accuracy": float(held_out[-1]),
        "created": recording.attrs["created"][:10],
        "commit": commit(recording.attrs["commit"]) or f"{untold} (not in the recordings)",
        "versions": json.loads(recording.attrs["versions"]),
        "recipe": config["recipe"],
        "scale": config["scale"],
        "data": str(recording["data"].values),
        "sha256": digest,
        "bytes": path.stat().st_size,
    }


def commit(recorded):
    """A commit in short, and whether files differed from it."""
    changed = " with changes (each recording holds its recipe)"
    return recorded[:12] + (changed if recorded.endswith("-dirty") else "")


def command(fact):
    """The command that trained a run, with the folder of images by name."""
    words = ["ultraslow", "sweep", fact["recipe"], "--data-folder", fact["data"]]
    words += ["--scale", str(fact["scale"])] if fact["scale"] != 1 else []
    return shlex.join(words)


def section(folder, found, machine):
    """One folder of recordings as Markdown."""
    first = found[0]
    versions = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
    commits = sorted({fact["commit"] for fact in found})
    rows = [
        f"| `{fact['run']}` | {fact['batch_size']:,} | {fact['iterations']:,} |"
        f" {fact['accuracy']:.1%} | {fact['created']} | `{fact['sha256']}` |"
        for fact in found
    ]
    size = sum(fact["bytes"] for fact in found) / 1e6
    return "\n".join(
        [
            f"\n## {folder}\n",
            f"- command: `{command(first)}`",
            f"- commit: {', '.join(commits)}",
            f"- machine: {machine}",
            f"- versions: {versions}",
            f"- {len(found)} recordings, {size:.1f} MB\n",
            "| run | batch size | iterations | held-out accuracy | begun | SHA-256 |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def page(machine, untold):
    """The whole page."""
    found = [facts(path, untold) for path in sorted(DATA.glob("*/*.nc"))]
    by_folder = groupby(found, key=lambda fact: fact["folder"])
    sections = [section(folder, list(own), machine) for folder, own in by_folder]
    return HEAD + "\n".join(sections) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--machine", required=True, help="what the recordings were made on")
    parser.add_argument("--commit", default="unknown", help="of recordings that hold none")
    asked = parser.parse_args()
    (DATA / "README.md").write_text(page(asked.machine, asked.commit), encoding="utf-8")
