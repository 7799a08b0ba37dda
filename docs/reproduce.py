"""Compare recordings of a study made anew with those that came with the project.

    ultraslow sweep cifar10-small --data-folder cifar10 --folder again
    python docs/reproduce.py again data/cifar10-small

With the same versions on the same kind of machine a run is the same to the last bit, but for its
clocks; where the shipped one was rounded (docs/compact.py), the new one is rounded alike.
Elsewhere sums are taken in another order, runs part ways after some hundred updates, and what can
be asked is whether the new run could be another seed of the shipped arm: the logarithms of its
distance at the middle of the run (in ln t) and at its end, and its last loss, have to lie within
prediction intervals of the arm's seeds, at 99 % for all of them together. Ends with status 1 where
a run is missing or lies outside.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from compact import compact, is_rounded
from scipy import stats

from ultraslow.diffusion.recording import read_file

# What depends on the machine's clock, or on where a run was interrupted.
CLOCKS = ("wall_time", "probe_seconds")
# Attributes that have to agree for runs to be equal to the bit.
VERSIONS = ("python", "torch", "numpy")
LEVEL = 0.99
FEWEST = 3


@dataclass(frozen=True)
class Row:
    """What came of one run.

    Attributes:
        run: its name.
        word: `equal`, `within`, `outside` or `missing`.
        told: the largest departure, in words.
    """

    run: str
    word: str
    told: str


def numbers(recording):
    """ln d in the middle of the run (in ln t) and at its end, and ln of the last known loss."""
    iterations = recording["iteration"].values
    squares = recording["distance_sq"].sum("tensor", skipna=False).values
    middle = int(np.searchsorted(iterations, math.sqrt(iterations[-1])))
    loss = recording["loss"].values
    loss = loss[np.isfinite(loss)]
    with np.errstate(divide="ignore"):
        return np.array(
            [
                np.log(squares[middle]) / 2,
                np.log(squares[-1]) / 2,
                np.log(loss[-1]) if loss.size else math.nan,
            ]
        )


NAMES = ("distance in the middle", "distance at the end", "last loss")


def arm(recording):
    """What runs that differ by seed only have in common."""
    settings = json.loads(recording.attrs["config"]).get("settings", {})
    own = {key: value for key, value in settings.items() if key not in ("seed", "name")}
    return json.dumps(own, sort_keys=True)


def same_versions(one, other):
    """Whether two recordings were made by the same versions, as far as both tell."""
    here, there = (json.loads(found.attrs["versions"]) for found in (one, other))
    return all(here.get(name) == there.get(name) for name in VERSIONS)


def differing(one, other):
    """Names of the fields that are not equal to the bit, clocks left out."""
    shared = [name for name in other.variables if name not in CLOCKS]
    return [
        name
        for name in shared
        if name not in one or not one[name].variable.equals(other[name].variable)
    ]


def compared(again, shipped):
    """A row for each shipped run.

    Arguments:
        again: recordings made anew, by name of the run.
        shipped: those to compare with, likewise.
    """
    known = {name: numbers(recording) for name, recording in shipped.items()}
    arms = {}
    for name, recording in shipped.items():
        arms.setdefault(arm(recording), []).append(name)
    arm_of = {name: names for names in arms.values() for name in names}
    # Arms of few seeds take the spread of all arms that have some.
    centred = [np.array([known[n] for n in names]) for names in arms.values() if len(names) > 1]
    pooled = np.concatenate(
        [values - values.mean(axis=0) for values in centred] or [np.zeros((0, 3))]
    )
    freedom = len(pooled) - len(centred)
    spread = np.sqrt((pooled**2).sum(axis=0) / freedom) if freedom > 0 else np.full(3, math.nan)
    tail = (1 - LEVEL) / 2 / (len(NAMES) * max(1, len(shipped)))
    rows = []
    for name, recording in shipped.items():
        if name not in again:
            rows.append(Row(name, "missing", ""))
            continue
        made = compact(again[name]) if is_rounded(recording) else again[name]
        changed = differing(made, recording)
        if not changed:
            rows.append(Row(name, "equal", "to the last bit"))
            continue
        values = np.array([known[n] for n in arm_of[name]])
        count = len(values)
        deviation, degrees = spread, freedom
        if count >= FEWEST:
            deviation, degrees = values.std(axis=0, ddof=1), count - 1
        width = stats.t.isf(tail, max(degrees, 1)) * deviation * math.sqrt(1 + 1 / count)
        away = numbers(again[name]) - values.mean(axis=0)
        share = np.abs(away) / width
        worst = int(np.nanargmax(np.where(np.isfinite(share), share, -1.0)))
        inside = bool(np.isfinite(share).any() and np.nanmax(share) <= 1)
        note = f"{NAMES[worst]} {math.expm1(away[worst]):+.1%} of the seeds' mean"
        note += f", ±{math.expm1(width[worst]):.1%} is their spread"
        if same_versions(again[name], recording):
            note += f"; of the same versions, yet {', '.join(changed[:3])} differ"
        rows.append(Row(name, "within" if inside else "outside", note))
    return rows


def recordings(folder):
    """Closed recordings of a folder by name of the run."""
    found = {}
    for path in sorted(Path(folder).glob("*.nc")):
        recording, _ = read_file(path)
        found[str(recording["run"].values)] = recording
    return found


def main():
    """Print a line a run; the status of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("again", help="folder of recordings made anew")
    parser.add_argument("shipped", help="folder of those to compare with")
    parsed = parser.parse_args()
    rows = compared(recordings(parsed.again), recordings(parsed.shipped))
    width = max((len(row.run) for row in rows), default=0)
    for row in rows:
        print(f"{row.run:<{width}}  {row.word:<8} {row.told}")
    counts = {word: sum(row.word == word for row in rows) for word in ("equal", "within")}
    bad = len(rows) - sum(counts.values())
    print(f"{counts['equal']} equal, {counts['within']} within the spread of seeds, {bad} not")
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
