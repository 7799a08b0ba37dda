"""Make the critical values that come with the package, or see whether they are still right.

    python docs/critical_values.py make
    python docs/critical_values.py check

`make` counts into which cells fits look, of the shipped recordings and of simulated curves under
every noise of the menu, and simulates each of them at one or all of four last iterations: half an
hour of a processor. What it has simulated is kept as in every fit, and a second call goes on from
there. Cells that resemble each other have signed roots that do: those at all four last iterations
are read off a smooth surface through what was simulated, by kriging, and err by a third more than
one simulation does. `check` simulates some cells anew between those iterations. Where they agree,
values of earlier code are marked as values of this code, since a comment changes the code and not
the values; until then they are not used.

References:
    Cressie (1993), Statistics for Spatial Data, §3.2: kriging.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

import ultraslow as us
from ultraslow.analysis.growth import Settings
from ultraslow.analysis.growth.critical_values import (
    DEVIATES,
    EXPONENT_NODES,
    NullRatios,
    cell_of,
    increasing,
    numbers_of,
    packed,
)
from ultraslow.analysis.growth.critical_values.shipped import FILE, held
from ultraslow.analysis.growth.fit import fit_grid
from ultraslow.analysis.growth.grids import TimeGrid, thinned, time_grid
from ultraslow.analysis.growth.interval import Calibrated, nodes
from ultraslow.analysis.growth.noise_models import menu, noise_covariance
from ultraslow.analysis.growth.surface import standing
from ultraslow.diffusion.laws import growth_regressor
from ultraslow.diffusion.recording import log_spaced

DATA = Path(__file__).parents[1] / "data"
STUDIES = "limit-study", "cifar10-small"
LASTS = 300, 3000, 30_000, 300_000
# Cells that are taken, and those of them that are simulated at all last iterations.
CELLS, AT_ALL = 3300, 500
# Random walks in t change too much over the last stretch to be read off their neighbours.
STEADY = {"walk_t": LASTS[:-1]}
# Simulated curves: last iterations, how many each, exponents and onsets, some more than others.
CURVES, COUNT = (1000, 10_000, 100_000), 1500
EXPONENTS = 0, 0, 0, 0.25, 0.5, 0.5, 1, -0.25, -0.5
ONSETS = 0.0, 0.0, 1e-3, 2e-2  # shares of the last iteration
WIDER = 1.25  # critical values over those of a normal deviate, as long as none are simulated
ALIKE = 1.3  # times that two simulations differ
# How far roots resemble each other, found by likelihood: of the decade of the last iteration, rank
# of a noise model's length and nugget, power times ln of the range, H, kind, exponent (as p^0.7),
# signal, onset, and whether there is one.
REACH = np.array([3.5, 7.2, 3.9, 5.4, 0.68, 2.5, 0.5, 1.7, 1.2, 3.0])
# Variances of what changes over this reach, of what does over four times as much, of a simulation.
NEAR, FAR, CHANCE = 0.9, 1.8, 0.016


def records(last):
    """Iterations of the default schedule that a fit uses."""
    times = log_spaced(last)[1:].astype(float)
    return times[thinned(times)]


MENU = menu(records(10_000))  # of all last iterations, but for its scales
RANGE = np.log(10_000)


@dataclass(frozen=True)
class Counting(Calibrated):
    """The test of an exponent, which counts the cells that are looked into."""

    visits: Counter

    def _read(self, at, read):
        found = nodes(at.frame.basis, at.held, standing(at, at.held))
        self.visits.update(numbers_of(found, at.held.model).tolist())
        return super()._read(at, read)


def visits(times, curves):
    """How often the fits of some curves look into each cell, as shares."""
    shared = time_grid(times, Settings(calibrate=False)).frame
    null = NullRatios(shared, known=lambda _: WIDER * DEVIATES)
    test = Counting(Settings().level, null, Counter())
    fit_grid(TimeGrid(shared, test), curves)
    return Counter({cell: count / test.visits.total() for cell, count in test.visits.items()})


def recorded(study):
    """Times and distances of all tensors of the recordings of a study, together."""
    for node in us.load(DATA / study).children.values():
        distance = node.to_dataset()["distance_sq"].transpose("tensor", "iteration")[:, 1:] ** 0.5
        kept = thinned(distance["iteration"].values.astype(float))
        curves = distance.values[:, kept]
        sound = np.isfinite(curves).all(axis=1) & (curves.std(axis=1) > 0)
        yield distance["iteration"].values[kept].astype(float), curves[sound]


def simulated(last, rng):
    """Times and curves of unit growth under noise of all kinds and sizes."""
    times, curves = records(last), []
    models = menu(times)
    for _ in range(COUNT):
        clock = np.log(times + last * rng.choice(ONSETS))
        law = growth_regressor(clock, np.array(float(rng.choice(EXPONENTS))))
        root = np.linalg.cholesky(noise_covariance(models[rng.integers(len(models))], times))
        noise = root @ rng.standard_normal(times.size)
        curves.append((law - law[0]) / (law[-1] - law[0]) + 10 ** rng.uniform(-3.5, -1) * noise)
    return times, np.array(curves)


def wanted_cells():
    """Numbers of the cells that are looked into most; each study and each T counts the same."""
    rng = np.random.default_rng(0)
    sets = [list(recorded(study)) for study in STUDIES] + [[simulated(t, rng)] for t in CURVES]
    found = Counter()
    for curves in sets:
        for each in curves:
            shares = visits(*each)
            found.update({cell: share / len(curves) for cell, share in shares.items()})
    return [cell for cell, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))]


def simulated_roots(last, numbers, seed=0):
    """Signed roots of cells by their numbers, simulated."""
    null = time_grid(records(last), Settings(shipped=False, seed=seed)).test.null
    # By noise models, so that the noise of one is drawn once and no more is held.
    for model in sorted({cell_of(number).model for number in numbers}):
        null.simulate_cells([cell for cell in map(cell_of, numbers) if cell.model == model])
        null.noises.clear()
    return {number: null.roots[cell_of(number)] for number in numbers}


def lasts_of(number):
    """The last iterations that a cell's roots are given at."""
    return STEADY.get(MENU[cell_of(number).model].kind, LASTS)


def plan(numbers):
    """Which cells are simulated at each of the last iterations."""
    found = {last: [] for last in LASTS}
    for place, number in enumerate(numbers):
        order = np.random.default_rng([7, number]).permutation(LASTS).tolist()
        lasts = [last for last in order if last in lasts_of(number)]
        for last in lasts[: None if place < AT_ALL else 1]:
            found[last].append(number)
    return found


def positions(pairs):
    """Where cells lie at last iterations, so that their roots resemble each other over about 1."""
    kinds = list(dict.fromkeys(model.kind for model in MENU))
    rows = []
    for number, last in pairs:
        cell = cell_of(number)
        model, exponent = MENU[cell.model], EXPONENT_NODES[cell.exponent]
        alike = [one for one in MENU if one.kind == model.kind]
        rank = [
            sorted({getattr(one, part) for one in alike}).index(getattr(model, part))
            for part in ("length", "nugget")
        ]
        at = [np.log10(last), *rank, model.power * RANGE, model.hurst, 0.0]
        at += [np.sign(exponent) * abs(exponent) ** 0.7, cell.signal, cell.onset, cell.onset == 0]
        own = [(model.kind == kind) / REACH[5] for kind in kinds]
        rows.append([*(np.array(at, dtype=float) / REACH), *own])
    return np.array(rows)


def likeness(one, other):
    """Covariance of roots at some positions with those at others, Matérn's with ν = 5/2."""
    distance = np.sqrt(5) * cdist(one, other)
    near, far = ((1 + d + d**2 / 3) * np.exp(-d) for d in (distance, distance / 4))
    return NEAR * near + FAR * far


def smoothed(found, wanted):
    """Roots of cells at last iterations, read off those that were simulated, by kriging.

    Arguments:
        found: roots by pairs of a cell's number and a last iteration.
        wanted: such pairs.
    """
    at, values = positions(found), np.arcsinh(np.stack(list(found.values())))
    mean, spread = values.mean(axis=0), values.std(axis=0)
    covariance = likeness(at, at) + CHANCE * np.eye(len(at))
    weights = cho_solve(cho_factor(covariance, overwrite_a=True), (values - mean) / spread)
    parts = np.array_split(positions(wanted), 1 + len(wanted) // 2000)
    read = np.concatenate([likeness(part, at) @ weights for part in parts])
    return dict(zip(wanted, map(increasing, np.sinh(mean + spread * read)), strict=True))


def make():
    """Simulate, smooth and write."""
    numbers = wanted_cells()[:CELLS]
    found = {}
    for last, some in plan(numbers).items():
        roots = simulated_roots(last, some)
        found |= {(number, last): roots[number] for number in some}
        print(f"{len(some)} cells up to iteration {last}", flush=True)
    wanted = [(number, last) for number in numbers for last in lasts_of(number)]
    write(LASTS, smoothed(found, wanted))
    return 0


def write(lasts, roots):
    """Write the file."""
    np.savez_compressed(FILE, **packed(lasts, roots))
    print(f"{FILE}: {len(roots)} rows, {FILE.stat().st_size / 1000:.0f} kB")


def differences(table, last, numbers):
    """How far a table is from a simulation, and two simulations from each other."""
    one, other = (simulated_roots(last, numbers, seed) for seed in (1, 2))
    found = np.stack([table.roots(cell_of(number), last) for number in numbers])
    first, second = (np.stack([each[number] for number in numbers]) for each in (one, other))
    return found - first, second - first


def check(count=40, last=1000):
    """Compare, and mark the file as one of this code where its values are."""
    table, _ = held()
    numbers = np.random.default_rng(0).choice(table.numbers, count, replace=False).tolist()
    ours, theirs = (np.sqrt(np.mean(d**2)) for d in differences(table, last, numbers))
    print(f"shipped and simulated differ by {ours:.3f}, two simulations by {theirs:.3f}")
    if ours > ALIKE * theirs:
        print(f"they are of other code: python {sys.argv[0]} make")
        return 1
    pairs = [(number, last) for number in table.numbers.tolist() for last in table.lasts.tolist()]
    roots = {pair: table.roots(cell_of(pair[0]), pair[1]) for pair in pairs}
    write(table.lasts, {pair: row for pair, row in roots.items() if row is not None})
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("make", "check"))
    sys.exit({"make": make, "check": check}[parser.parse_args().what]())
