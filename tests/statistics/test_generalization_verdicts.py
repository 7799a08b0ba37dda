"""Verdicts on held-out scores on simulated sets: right as often as promised, rarely wrong."""

import re
from collections import Counter
from itertools import product

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth.fit import fit_growth
from ultraslow.analysis.growth.runs import late_growth
from ultraslow.analysis.intervals import seeds_at_most
from ultraslow.analysis.predictions.batch_size.huge_batch import huge_batch
from ultraslow.analysis.predictions.generalization.equal_updates import generalization
from ultraslow.analysis.predictions.generalization.full_batch import full_batch
from ultraslow.analysis.predictions.generalization.less_distance import less_distance
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording import contract
from ultraslow.diffusion.recording.schedule import log_spaced

SETS = 100
UPDATES = 4096
SIZES = (64, 256, 1024)


def run(*, size, seed, value, factor=1.0, updates=UPDATES, distance=10.0):
    """The recording of one training: what it scored at its end, and how far it moved."""
    rate = 0.1 * np.sqrt(size / 64) * factor
    records = np.array([0, 1, updates])
    table = np.full((3, 1), np.nan)
    table[-1] = value
    values = {
        "iteration": records,
        "tensor": ["w"],
        "tensor_size": [100],
        "distance_sq": np.array([[0.0], [1.0], [distance**2]]),
        "weight_sq": np.full((3, 1), 100.0),
        "overlap": np.full((3, 1), 100.0),
        "learning_rate": np.full(3, rate),
        "base_learning_rate": rate,
        "metric": ["accuracy"],
        "held_out": table,
        "run": f"b{size}-{factor}-{updates}-s{seed}",
        "batch_size": size,
        "data_size": 1024,
        "seed": seed,
        "scaling": "sqrt",
    }
    return xr.Dataset.from_dict(contract.pack(values))


def accuracies(gap, factor, *, sd, seeds, rng):
    """Accuracies of an arm: a parabola in the logarithm of the rate, and noise between seeds."""
    return 0.9 - gap - 0.01 * np.log2(factor) ** 2 + sd * rng.standard_normal(seeds)


def trainings(lengths, *, seeds, factors=(0.25, 0.5, 1.0, 2.0)):
    """Runs of all rates, lengths and batch sizes, with their arms; `lengths` as in `redraw`."""
    return [
        (size, updates, factor, run(size=size, seed=s, value=0.0, factor=factor, updates=updates))
        for size, updates in lengths
        for factor in factors
        for s in range(seeds)
    ]


def redraw(runs, lengths, *, sd, rng):
    """The same runs with fresh accuracies; `lengths` is (batch size, updates): gap."""
    for size, updates, factor, one in runs:
        value = accuracies(lengths[size, updates], factor, sd=sd, seeds=1, rng=rng)
        one["held_out"].values[-1] = value
    return {f"r{k}": one for k, (*_, one) in enumerate(runs)}


def equal_length(gaps, epoch_gaps):
    """Gaps by batch size at equal updates and at equal epochs."""
    updates = {(size, UPDATES): gap for size, gap in gaps.items()}
    epochs = {(size, UPDATES * 64 // size): gap for size, gap in epoch_gaps.items()}
    return {(64, UPDATES): 0.0, **updates, **epochs}


# gaps at equal updates and equal epochs, spread between seeds, seeds, share asked of a verdict;
# the spread of accuracies between seeds of ResNet-44 on CIFAR-10 is near 0.003.
NEEDLESS = {256: 0.0, 1024: 0.0}
P3 = {
    "closed": ({256: 0.0, 1024: 0.0}, {256: 0.01, 1024: 0.04}, 0.003, 5, "supported"),
    "stays": ({256: 0.0, 1024: 0.03}, {256: 0.02, 1024: 0.05}, 0.003, 5, "contradicted"),
    "stays, more seeds": ({256: 0.01, 1024: 0.03}, {}, 0.006, 10, "contradicted"),
    "beyond the power": ({256: 0.0, 1024: 0.005}, {1024: 0.05}, 0.02, 5, "undecidable"),
    "no gap": (NEEDLESS, {256: 0.0}, 0.003, 5, "undecidable"),
    "at the margin": ({1024: 0.01}, {1024: 0.05}, 0.003, 5, "undecidable"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", P3)
def test_verdicts_on_generalization(case):
    gaps, epoch_gaps, sd, seeds, word = P3[case]
    rng = np.random.default_rng(2017)
    lengths = equal_length(gaps, epoch_gaps)
    runs = trainings(lengths, seeds=seeds)
    found = Counter(
        generalization(Study(redraw(runs, lengths, sd=sd, rng=rng))).verdict for _ in range(SETS)
    )
    right_and_rarely_wrong(found, word)


def right_and_rarely_wrong(found, word):
    print(dict(found))
    wrong = {"supported": "contradicted", "contradicted": "supported"}
    assert found[word] >= 0.9 * SETS, found
    if word in wrong:
        assert found[wrong[word]] <= 0.01 * SETS, found


# gap of the full batch, spread between seeds, share asked of a verdict
H_A = {
    "gap": (0.03, 0.003, "supported"),
    "no gap": (0.0, 0.003, "contradicted"),
    "beyond the power": (0.005, 0.02, "undecidable"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", H_A)
def test_verdicts_on_the_full_batch(case):
    gap, sd, word = H_A[case]
    rng = np.random.default_rng(2020)
    lengths = {(64, UPDATES): 0.0, (1024, UPDATES): gap}
    runs = trainings(lengths, seeds=5)
    found = Counter(
        full_batch(Study(redraw(runs, lengths, sd=sd, rng=rng))).verdict for _ in range(SETS)
    )
    right_and_rarely_wrong(found, word)


# prediction, gaps at equal updates and equal epochs, spread between seeds
ADVISED = {
    "P3, no gap": (generalization, {1024: 0.0}, {1024: 0.05}, 0.012),
    "P3, a gap": (generalization, {1024: 0.025}, {1024: 0.05}, 0.012),
    "H-a, no gap": (full_batch, {1024: 0.0}, {}, 0.012),
    "H-a, a gap": (full_batch, {1024: 0.025}, {}, 0.012),
    "H-a, no gap and less noise": (full_batch, {1024: 0.0}, {}, 0.009),
    "H-a, near the margin": (full_batch, {1024: 0.016}, {}, 0.006),
}
MOST_ADVISED, PROMISED = seeds_at_most(5), 0.8


@pytest.mark.slow
@pytest.mark.parametrize("case", ADVISED)
def test_seeds_that_are_advised_decide(case):
    """Four times of five where they are promised to, else as often as is told."""
    decide, gaps, epoch_gaps, sd = ADVISED[case]
    lengths = equal_length(gaps, epoch_gaps)
    rng = np.random.default_rng(20)
    runs = trainings(lengths, seeds=MOST_ADVISED)

    def sets():
        for _ in range(MOST_SETS):
            everything = redraw(runs, lengths, sd=sd, rng=rng)
            yield everything, decide(Study(of_seeds(everything, 5)))

    decided_as_often_as_told(sets(), decide)


MOST_SETS, MOST_COUNTED = 500, 40
_SHARE = re.compile(r"decides (\d+)% of studies")


def decided_as_often_as_told(sets, decide):
    """Follow the advice to each set: all its runs, and the verdict on the first five seeds."""
    promised, likely = [], []
    for everything, few in sets:
        share = _SHARE.search(few.needed)
        kind = likely if share else promised
        if few.unit != "seeds" or len(kind) >= MOST_COUNTED:
            continue
        assert few.need <= MOST_ADVISED
        word = decide(Study(of_seeds(everything, few.need))).verdict
        kind.append((word != "undecidable", int(share[1]) / 100 if share else PROMISED))
        if min(len(promised), len(likely)) >= MOST_COUNTED:
            break
    for name, kind in (("promised", promised), ("likely", likely)):
        decided, told = np.array(kind, dtype=float).reshape(-1, 2).T
        print(f"{name}: told {told.mean():.2f}, decided {decided.sum():.0f} of {decided.size}")
        error = np.sqrt((told * (1 - told)).sum()) / decided.size
        assert decided.size >= 10
        assert decided.mean() >= told.mean() - 2 * error


def of_seeds(runs, count):
    """The runs of the first seeds."""
    return {name: one for name, one in runs.items() if int(one["seed"]) < count}


# gaps and final distances by batch size, spread of both between seeds, share asked of a verdict
H_C = {
    "less distance": ({256: 0.02, 1024: 0.05}, {64: 8.0, 256: 9.0, 1024: 10.0}, 0.003, 0.02),
    "more distance": ({256: 0.03, 1024: 0.06}, {64: 10.0, 256: 8.0, 1024: 6.0}, 0.003, 0.02),
    "equal scores": ({256: 0.0, 1024: 0.0}, {64: 8.0, 256: 9.0, 1024: 10.0}, 0.003, 0.02),
    "beyond the power": ({256: 0.02, 1024: 0.05}, {64: 10.0, 256: 8.0, 1024: 6.0}, 0.05, 0.3),
}
WORDS = ("supported", "contradicted", "undecidable", "undecidable")


@pytest.mark.slow
@pytest.mark.parametrize(("case", "word"), list(zip(H_C, WORDS, strict=True)))
def test_verdicts_on_less_distance(case, word):
    gaps, distances, sd, spread = H_C[case]
    rng = np.random.default_rng(1)
    sets = (moved(gaps, distances, sd=sd, spread=spread, rng=rng) for _ in range(SETS))
    right_and_rarely_wrong(Counter(less_distance(Study(runs)).verdict for runs in sets), word)


def moved(gaps, distances, *, sd, spread, rng, seeds=5):
    """Runs of each batch size at three rates, with their scores and final distances ∝ rate."""
    runs = {}
    for size, factor in product(SIZES, (0.25, 1.0, 4.0)):
        values = accuracies(gaps.get(size, 0.0), factor, sd=sd, seeds=seeds, rng=rng)
        for seed, value in enumerate(values):
            distance = factor * distances[size] * np.exp(spread * rng.standard_normal())
            one = run(size=size, seed=seed, value=value, factor=factor, distance=distance)
            runs[str(one["run"].values)] = one
    return runs


# gaps and final distances by batch size, spread of scores and of distances between seeds
ADVISED_H_C = {
    "less distance": ({256: 0.02, 1024: 0.03}, {64: 8.0, 256: 9.0, 1024: 10.0}, 0.008, 0.1),
    "more distance": ({256: 0.03, 1024: 0.06}, {64: 10.0, 256: 7.5, 1024: 5.5}, 0.01, 0.1),
    "wide scores": ({256: 0.03, 1024: 0.05}, {64: 8.0, 256: 9.0, 1024: 10.0}, 0.02, 0.05),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ADVISED_H_C)
def test_seeds_that_are_advised_decide_on_less_distance(case):
    gaps, distances, sd, spread = ADVISED_H_C[case]
    rng = np.random.default_rng([2042, list(ADVISED_H_C).index(case)])

    def sets():
        for _ in range(MOST_SETS):
            runs = moved(gaps, distances, sd=sd, spread=spread, rng=rng, seeds=MOST_ADVISED)
            yield runs, less_distance(Study(of_seeds(runs, 5)))

    decided_as_often_as_told(sets(), less_distance)


TIMES = log_spaced(10_000, per_decade=15)[1:]


def trajectories(exponent, count, *, noise, rng):
    """Distances 2 + (t^p − 1)/p with independent noise, and a slope that seeds differ in."""
    log_time = np.log(TIMES)
    growth = log_time if exponent == 0 else np.expm1(exponent * log_time) / exponent
    slope = 1 + 0.02 * rng.standard_normal((count, 1))
    return 2 + slope * growth + noise * growth[-1] * rng.standard_normal((count, TIMES.size))


def curve(distance, *, size, seed):
    """The recording of one trajectory."""
    rate = 0.01 * np.sqrt(size / 64)
    values = {
        "iteration": TIMES,
        "tensor": ["w"],
        "tensor_size": [100],
        "distance_sq": distance[:, None] ** 2,
        "weight_sq": np.full((TIMES.size, 1), 100.0),
        "overlap": np.full((TIMES.size, 1), 100.0),
        "learning_rate": np.full(TIMES.size, rate),
        "run": f"b{size}-s{seed}",
        "batch_size": size,
        "data_size": 1024,
        "seed": seed,
        "scaling": "sqrt",
    }
    return xr.Dataset.from_dict(contract.pack(values))


def fitted(runs):
    """Fits as `fit_totals` gives them; across seeds, no interval within a run is needed."""
    distances = np.stack([np.sqrt(one["distance_sq"].values[:, 0]) for one in runs.values()])
    table = xr.DataArray(distances, {"iteration": TIMES}, ["node", "iteration"])
    fits = fit_growth(table, calibrate=False)
    names, last = list(runs), int(TIMES[-1])
    onset = fits["onset"].fillna(0.0)
    fits = fits.assign_coords(node=names, run=("node", names), arm=("node", [""] * len(names)))
    curves = {name: table[k].drop_vars("node", errors="ignore") for k, name in enumerate(names)}
    fits = fits.assign(late_growth(curves, fits, level=0.95))
    whole = {"first": 1, "last": last, "decades": np.log10(last)}
    fits = fits.assign({k: ("node", np.full(len(names), v)) for k, v in whole.items()})
    return fits.assign(grown_decades=np.log10((last + onset) / (1 + onset)))


# exponent and factor on the distance at the full batch, noise, spread of factors between seeds
H_B = {
    "on the curve": (0.0, 1.0, 0.002, 0.005, "contradicted"),
    "off the curve": (0.0, 1.4, 0.002, 0.01, "supported"),
    "another law": (0.3, 0.3, 0.002, 0.01, "supported"),
    "beyond the power": (0.0, 1.0, 0.1, 0.2, "undecidable"),
    "on the trend": (0.0, 1.3**2, 0.002, 0.005, "contradicted"),
    "off the trend": (0.0, 3.0, 0.002, 0.01, "supported"),
}
TREND = 1.3  # by which each batch size moves farther than the one before, where there is a trend


@pytest.mark.slow
@pytest.mark.parametrize("case", H_B)
def test_verdicts_on_huge_batches(case):
    exponent, factor, noise, spread, word = H_B[case]
    rng = np.random.default_rng(3)
    found = Counter()
    for _ in range(SETS):
        runs = {}
        for size in SIZES:
            drift = TREND if "trend" in case and size == 256 else 1.0
            law, scale = (exponent, factor) if size == 1024 else (0.0, drift)
            for seed, track in enumerate(trajectories(law, 5, noise=noise, rng=rng)):
                moved = scale * np.exp(spread * rng.standard_normal()) * track
                runs[f"b{size}-s{seed}"] = curve(moved, size=size, seed=seed)
        found[huge_batch(Study(runs, fitted=fitted(runs))).verdict] += 1
    right_and_rarely_wrong(found, word)
