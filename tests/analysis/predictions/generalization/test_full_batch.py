import numpy as np
import pytest

from ultraslow.analysis.predictions.generalization.full_batch import (
    common_length,
    full_batch,
    huge_sizes,
)
from ultraslow.analysis.predictions.generalization.gaps import setting
from ultraslow.analysis.study import Study


def sweep(train, gap, *, sizes=(64, 1024), seeds=5, sd=0.003, **options):
    rng = np.random.default_rng(7)
    return {
        f"{size}-{factor}-{seed}": train(
            gap=gap if size == 1024 else 0.0,
            batch_size=size,
            factor=factor,
            seed=seed,
            sd=sd,
            rng=rng,
            **options,
        )
        for size in sizes
        for factor in (0.5, 1.0, 2.0)
        for seed in range(seeds)
    }


@pytest.mark.parametrize(("gap", "word"), [(0.04, "supported"), (0.0, "contradicted")])
def test_the_full_batch_decides(train, gap, word):
    found = full_batch(Study(sweep(train, gap, sizes=(64, 256, 1024))))
    assert found.verdict == word
    assert found.effect == pytest.approx(gap, abs=0.006)
    assert "batch size 64 less batch size 1024" in found.effect_meaning
    assert any(note.startswith("gaps by batch size: 256: ") for note in found.assumptions)


def test_noise_beyond_the_margin_decides_nothing(train):
    found = full_batch(Study(sweep(train, 0.005, sd=0.02)))
    assert found.verdict == "undecidable" and "seeds" in found.needed


def test_sizes_far_below_the_data_are_not_huge(train):
    runs = sweep(train, 0.04, data_size=50_000)
    assert huge_sizes(runs) == set()
    found = full_batch(Study(runs))
    assert found.verdict == "undecidable"
    assert "half of the training set of 50,000" in found.reason
    assert "batch size 50,000" in found.needed


@pytest.mark.parametrize(("data", "huge"), [(2048, {1024}), (2049, set()), (100, {64, 1024})])
def test_huge_is_half_of_the_data_or_more(make, data, huge):
    runs = {f"b{size}": make(batch_size=size, data_size=data, last=9) for size in (64, 1024)}
    assert huge_sizes(runs) == huge


def test_a_gap_within_the_margin_does_not_support(train):
    """0.006 ± 0.002 is told from 0 and from the margin 0.01, and counts as none."""
    found = full_batch(Study(sweep(train, 0.006, sd=0.0005)))
    assert 0 < found.effect_low < found.effect_high < 0.01
    assert found.verdict == "contradicted"


def test_only_the_huge_batch_speaks(train):
    """A batch size below half of the data has a gap, but says nothing of the full batch."""
    runs = sweep(train, 0.04, sizes=(64, 1024)) | sweep(train, 0.04, sizes=(4096,), updates=9)
    runs = {name: run.assign_coords(data_size=4096) for name, run in runs.items()}
    found = full_batch(Study(runs))
    assert found.verdict == "undecidable"
    assert found.reason.startswith("Batch size 4096 was not trained for as many updates")


def test_unknown_data_size_is_said(train):
    found = full_batch(Study(sweep(train, 0.04, data_size=None)))
    assert found.verdict == "undecidable" and "not recorded" in found.reason


def test_another_length_is_no_equal_number_of_updates(train):
    runs = sweep(train, 0.04, sizes=(64,)) | sweep(train, 0.04, sizes=(1024,), updates=100)
    found = full_batch(Study(runs))
    assert found.verdict == "undecidable" and "as many updates" in found.reason


def halfway(train, at=100):
    """Runs of 400 updates of a small batch, evaluated after some of them with the same score."""
    found = {}
    for name, run in sweep(train, 0.0, sizes=(64,), records=[0, 1, at, 400]).items():
        scores = run["held_out"].copy()
        scores[2] = scores[3]
        found[name] = run.assign(held_out=scores)
    return found


@pytest.mark.parametrize(("gap", "word"), [(0.04, "supported"), (0.0, "contradicted")])
@pytest.mark.parametrize("factors", [(0.5, 1.0, 2.0), (1.0,)])
def test_a_shorter_full_batch_is_compared_after_as_many_updates(train, gap, word, factors):
    """The small batch goes on at its constant rate; what it scored on the way is what counts."""
    small = halfway(train)
    large = sweep(train, gap, sizes=(1024,), updates=100)
    large = {name: run for name, run in large.items() if float(name.split("-")[1]) in factors}
    found = full_batch(Study(small | large))
    assert found.reason.startswith("After as many updates (100) batch size 1024 scores")
    # More rates could still help the full batch.
    assert found.verdict == (word if len(factors) == 3 or gap == 0 else "undecidable")


def test_lengths_with_rates_on_both_sides_come_first(train):
    """At 200 updates the full batch was run at one rate alone, at 100 at three."""
    small = halfway(train)
    same = sweep(train, 0.0, sizes=(64,), updates=200)
    small |= {f"{name}x": run for name, run in same.items()}
    large = sweep(train, 0.04, sizes=(1024,), updates=100)
    one = sweep(train, 0.04, sizes=(1024,), updates=200)
    large |= {f"{name}x": run for name, run in one.items() if "-1.0-" in name}
    given = setting(Study(small | large))
    assert (given.iterations, common_length(given, 1024).iterations) == (400, 100)


def test_what_holds_at_the_very_beginning_is_no_comparison(train):
    small = halfway(train, at=30)
    large = sweep(train, 0.04, sizes=(1024,), updates=30)
    found = full_batch(Study(small | large))
    assert found.verdict == "undecidable" and "as many updates" in found.reason


def test_copies_add_no_runs(train):
    runs = sweep(train, 0.04)
    found = full_batch(Study(runs | {f"{name}-again": run for name, run in runs.items()}))
    assert found == full_batch(Study(runs))
    assert found.sample.runs == 30
