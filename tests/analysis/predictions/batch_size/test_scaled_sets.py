import pytest

from ultraslow.analysis.predictions.batch_size.scaled_sets import (
    LINEAR,
    SQUARE_ROOT,
    missing_arm,
    scaled,
    set_aside,
    short_of_noise,
    sizes,
    unsound,
    with_enough_seeds,
)


def sweep(make, rule, *, seeds=2, **options):
    """Two batch sizes under a rule, rates as it says."""
    return {
        f"b{size}-s{seed}": make(
            batch_size=size,
            seed=seed,
            scaling=rule.scaling,
            **{"rate": 0.1 * (size / 64) ** rule.power, "last": 300} | options,
        )
        for size in (64, 256)
        for seed in range(seeds)
    }


@pytest.mark.parametrize("claim", [SQUARE_ROOT, LINEAR])
def test_runs_that_follow_their_rule_are_sound(make, claim):
    runs = sweep(make, claim)
    assert scaled(runs, claim) == runs
    assert sizes(with_enough_seeds(runs)) == (64, 256)
    assert missing_arm(runs, runs, claim) is None
    assert unsound(runs, claim) is None


@pytest.mark.parametrize(("claim", "other"), [(SQUARE_ROOT, LINEAR), (LINEAR, SQUARE_ROOT)])
def test_rates_of_another_rule_are_not(make, claim, other):
    wrong = {
        name: run.assign_coords(scaling=claim.scaling) for name, run in sweep(make, other).items()
    }
    found = unsound(wrong, claim)
    assert found.reason.startswith(f"The learning rates do not follow {claim.symbol} (rate/")
    assert scaled(sweep(make, other), claim) == {}


def test_two_rates_at_one_batch_size_are_no_sweep(make):
    runs = sweep(make, LINEAR) | {"odd": make(seed=5, scaling="linear", rate=0.3, last=300)}
    assert unsound(runs, LINEAR).reason == (
        "There are several learning rates at one batch size under the linear rule."
    )


def test_an_arm_of_one_seed_is_named(make):
    runs = sweep(make, LINEAR, seeds=1)
    found = missing_arm(runs, runs, LINEAR)
    assert found.needed == "another seed at batch size 64, batch size 256"


def test_batch_sizes_near_the_data_have_less_noise_than_the_rules_match(make):
    """Of 1000 samples, beside M₀ = 100: (1 − M/D)/0.9 is below 1/1.21 from M = 256.2 on."""
    runs = {
        str(size): make(batch_size=size, data_size=1000) for size in (100, 256, 257, 640, 1000)
    }
    found = short_of_noise(runs, margin=0.1)
    assert found == pytest.approx({257: 0.9086, 640: 0.6325, 1000: 0.0}, abs=1e-4)
    assert short_of_noise(runs, margin=0.0).keys() == {256, 257, 640, 1000}
    assert short_of_noise(runs, margin=0.6).keys() == {1000}
    # Only what smaller batches have more of is missing.
    largest = {name: runs[name] for name in ("640", "1000")}
    assert short_of_noise(largest, margin=0.1) == {1000: 0.0}
    assert short_of_noise({"1000": runs["1000"]}, margin=0.1) == {}
    assert short_of_noise({}, margin=0.1) == {}


def test_data_of_unknown_size_have_no_end(make):
    runs = {str(size): make(batch_size=size) for size in (64, 4096)}
    assert short_of_noise(runs, margin=0.1) == {}
    (note,) = set_aside({4096: 0.25}, LINEAR)
    assert note == (
        "batch size 4096 set aside: drawn without replacement, the noise of its updates is "
        "√((1 − M/D)/(1 − M₀/D)) = 0.250 of what rates ∝ M stand for"
    )
