import math

import numpy as np
import pytest

from ultraslow.analysis.intervals.contrast import Interval
from ultraslow.analysis.predictions.generalization.equal_updates import Gaps, generalization
from ultraslow.analysis.predictions.generalization.full_batch import full_batch
from ultraslow.analysis.predictions.generalization.gaps import Gap
from ultraslow.analysis.scores.tuning import Tuned
from ultraslow.analysis.study import Study

UPDATES = 4096
FACTORS = (0.5, 1.0, 2.0)


def study(train, *, gaps, epoch_gaps, sizes=(64, 1024), seeds=5, factors=FACTORS, **options):
    """Trainings of equal updates and equal epochs, at rates around the best."""
    rng = np.random.default_rng(2017)
    runs = {}
    budgets = {size: {UPDATES: gaps.get(size, 0.0)} for size in sizes}
    for size, gap in epoch_gaps.items():
        budgets[size][UPDATES * 64 // size] = gap
    for size, lengths in budgets.items():
        for updates, gap in lengths.items():
            for factor in factors:
                for seed in range(seeds):
                    more = {"batch_size": size, "seed": seed, "updates": updates, **options}
                    run = train(gap=gap, factor=factor, rng=rng, **more)
                    runs[f"r{len(runs)}"] = run
    return runs


def test_a_gap_that_closes_at_equal_updates_supports_the_claim(train):
    found = generalization(Study(study(train, gaps={1024: 0.0}, epoch_gaps={1024: 0.05})))
    assert found.verdict == "supported"
    assert found.effect_low < 0.0 < found.effect_high < 0.01
    assert (found.sample.seeds, found.sample.batch_sizes) == (5, (64, 1024))
    assert "batch size 1024: best of 3 learning rates 0.4" in found.assumptions


def test_a_run_of_another_network_is_refused_and_not_taken_for_a_copy(train):
    runs = study(train, gaps={1024: 0.0}, epoch_gaps={1024: 0.05})
    other = runs["r0"].assign_coords(model="resnet20")
    assert "model: resnet20, resnet8" in generalization(Study(runs | {"other": other})).reason


def test_copies_and_runs_with_added_noise_enter_no_count(train):
    runs = study(train, gaps={1024: 0.0}, epoch_gaps={1024: 0.05})
    copies = {f"{name}-again": run for name, run in runs.items()}
    heated = {
        f"a-{name}": run.assign_attrs(config='{"gradient_noise": 0.1}')
        for name, run in study(train, gaps={1024: 0.3}, epoch_gaps={1024: 0.3}).items()
    }
    found, alone = generalization(Study(heated | runs | copies)), generalization(Study(runs))
    assert alone.sample.runs == len(runs) == 45
    assert found.sample == alone.sample
    assert (found.effect, found.effect_low) == (alone.effect, alone.effect_low)
    bare = {name: run.drop_vars("held_out") for name, run in (runs | copies).items()}
    assert generalization(Study(bare)).sample.runs == 45


def test_a_gap_that_remains_contradicts_it_even_without_equal_epochs(train):
    found = generalization(Study(study(train, gaps={1024: 0.04}, epoch_gaps={})))
    assert found.verdict == "contradicted"
    assert found.effect == pytest.approx(0.04, abs=0.006)
    assert "equal updates" in found.effect_meaning


def test_a_gap_that_tuning_alone_closes_contradicts_it(train):
    # Batch size 1024 at the rate 0.1 of the small batch, two doublings below its best, loses
    # 0.02·2² = 0.08; at its best rate it loses nothing, at equal epochs.
    factors = (0.25, 0.5, 1.0, 2.0)
    runs = study(train, gaps={1024: 0.0}, epoch_gaps={1024: 0.0}, factors=factors)
    found = generalization(Study(runs))
    assert found.verdict == "contradicted"
    assert "closes without more updates" in found.reason
    assert "equal epochs" in found.effect_meaning


def test_without_any_gap_there_is_nothing_to_close(train):
    found = generalization(Study(study(train, gaps={1024: 0.0}, epoch_gaps={1024: 0.0})))
    assert found.verdict == "undecidable"
    assert "no gap to close" in found.reason
    # 1024 are all the samples there are.
    assert found.needed == "runs of 40,960 iterations at every batch size"


def test_noise_beyond_the_margin_asks_for_seeds(train):
    found = generalization(
        Study(study(train, gaps={1024: 0.005}, epoch_gaps={1024: 0.05}, sd=0.02))
    )
    assert found.verdict == "undecidable"
    assert "seeds" in found.needed
    assert math.isfinite(found.effect)


def test_the_loss_stands_in_for_the_accuracy(train):
    # A gap of 0.04 in 1 − accuracy is ln(0.14/0.1) = 0.336 on the logarithm of the loss.
    found = generalization(Study(study(train, gaps={1024: 0.04}, epoch_gaps={}, metric="loss")))
    assert found.verdict == "contradicted"
    assert found.effect == pytest.approx(0.336, abs=0.05)
    assert "loss" in found.effect_meaning


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factors": (1.0,)}, "not tuned"),
        ({"factors": (1.0, 2.0)}, "best at the lowest learning rate"),
        ({"seeds": 3}, "has 5 seeds"),
        ({"sizes": (64,), "epoch_gaps": {}}, "Only batch size 64"),
        ({"epoch_gaps": {}}, "as many samples"),
    ],
)
def test_a_missing_arm_is_named_and_decides_nothing(train, options, words):
    given = {"gaps": {1024: 0.0}, "epoch_gaps": {1024: 0.05}, **options}
    found = generalization(Study(study(train, **given)))
    assert found.verdict == "undecidable"
    assert words in found.reason
    assert found.needed


@pytest.mark.parametrize(
    ("size", "data", "one", "full"),
    [
        (64, 50_000, "batch size 256 as", "the full batch of 50,000 samples as"),
        (64, 100, "batch size 100 as", "the full batch of 100 samples as"),
        (64, 64, "batch size 16 (none is larger", "batch size 16 (none is larger"),
    ],
)
def test_no_batch_larger_than_the_data_is_asked_for(train, size, data, one, full):
    runs = study(train, gaps={}, epoch_gaps={}, sizes=(size,))
    runs = {name: run.assign_coords(data_size=data) for name, run in runs.items()}
    assert generalization(Study(runs)).needed.startswith(one)
    assert full_batch(Study(runs)).needed.startswith(full)


def test_runs_that_were_not_evaluated_are_undecidable(make):
    found = generalization(Study({"a": make(records=[0, 1, 10])}))
    assert found.verdict == "undecidable"
    assert "held-out" in found.reason and "evaluation" in found.needed


def test_unlike_runs_are_refused(train):
    runs = study(train, gaps={1024: 0.0}, epoch_gaps={1024: 0.05})
    runs["r0"] = runs["r0"].assign_coords(momentum=0.5)
    found = generalization(Study(runs))
    assert found.verdict == "undecidable" and "momentum" in found.reason


def test_equal_epochs_may_lie_within_a_run_of_constant_rate(train):
    """The middle of a long run at a constant rate is a finished short one."""
    short = UPDATES * 64 // 1024
    runs = study(train, gaps={1024: 0.0}, epoch_gaps={})
    rng = np.random.default_rng(0)
    for name, run in runs.items():
        records = [0, 1, 2, short, UPDATES]
        end = run["held_out"].values[-1]
        table = np.full((5, 1), np.nan)
        table[-1], table[-2] = end, end - 0.05
        size, seed = int(run["batch_size"]), int(run["seed"])
        rate = float(run["base_learning_rate"])
        more = {"records": records, "held_out": table, "rate": rate, "base_learning_rate": rate}
        runs[name] = train(rng=rng, batch_size=size, seed=seed, **more)
    assert generalization(Study(runs)).verdict == "supported"


def fixed(train, gaps, *, spread, epoch_gaps=()):
    """Accuracies without chance: those of the smallest batch size differ by seed, others not."""
    sizes = (64, *gaps)
    runs = study(train, gaps=gaps, epoch_gaps=dict(epoch_gaps), sizes=sizes, sd=0.0)
    for run in runs.values():
        if int(run["batch_size"]) == 64:
            run["held_out"][-1] += spread * (int(run["seed"]) - 2)
    return runs


# Accuracies spread by 0.0045: the standard error over five seeds is 0.002012, and t of 4 degrees
# of freedom 2.776 at 95 % and 3.495 at 97.5 %: intervals reach 0.0056 and 0.0070.
SPREAD = 0.0045 / np.std(np.arange(5), ddof=1)


@pytest.mark.parametrize(
    ("gaps", "word"),
    [
        ({1024: 0.0163}, "contradicted"),
        ({256: 0.0, 1024: 0.0163}, "undecidable"),
        ({256: 0.0, 1024: 0.0175}, "contradicted"),
    ],
)
def test_several_batch_sizes_share_the_error_of_a_contradiction(train, gaps, word):
    found = generalization(Study(fixed(train, gaps, spread=SPREAD)))
    assert found.verdict == word, found.reason
    if word == "contradicted":
        assert found.effect == pytest.approx(gaps[1024])


def test_every_batch_size_has_to_close_its_gap(train):
    # 0.006 ± 0.0056 lies across the margin of 0.01 and not beyond it.
    epochs = {256: 0.05, 1024: 0.05}
    closed = fixed(train, {256: 0.0, 1024: 0.0}, spread=SPREAD, epoch_gaps=epochs)
    assert generalization(Study(closed)).verdict == "supported"
    open_ = fixed(train, {256: 0.0, 1024: 0.006}, spread=SPREAD, epoch_gaps=epochs)
    assert generalization(Study(open_)).verdict == "undecidable"


def test_a_gap_at_equal_epochs_counts_beyond_the_margin_only(train):
    small = fixed(train, {1024: 0.0}, spread=SPREAD / 10, epoch_gaps={1024: 0.008})
    assert generalization(Study(small)).verdict == "undecidable"
    large = fixed(train, {1024: 0.0}, spread=SPREAD / 10, epoch_gaps={1024: 0.012})
    assert generalization(Study(large)).verdict == "supported"


@pytest.mark.parametrize(
    ("closed", "base_rate", "needless"),
    [(0.005, 0.011, True), (0.005, 0.009, False), (0.02, 0.011, False), (0.005, None, False)],
)
def test_tuning_alone_has_to_close_a_gap_beyond_the_margin(closed, base_rate, needless):
    tuned = Tuned(np.zeros(5), (0.1, 0.2, 0.4), 0.2, {0.2: np.zeros(5)})
    epochs = Gap(1024, Interval(0.0, -0.01, closed, 5), tuned, tuned, margin=0.01, centre=0.0)
    rate = None if base_rate is None else Interval(0.05, base_rate, 0.09, 5)
    assert Gaps(None, epochs, rate).needless == needless
