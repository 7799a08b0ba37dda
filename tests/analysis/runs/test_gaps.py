"""What a sweep lacks, from small sweeps in which it is known."""

import pytest

from ultraslow.analysis.runs.gaps import arms_in_words, gaps, listed_seeds

FEW = [0, 1, 2, 4, 8]


@pytest.fixture
def sweep(make):
    """A function that makes runs of arms, as {(batch size, rule): seeds}."""

    def runs(arms, **more):
        return {
            f"{rule}-b{size}-s{seed}": make(
                run=f"{rule}-b{size}-s{seed}",
                batch_size=size,
                scaling=rule,
                seed=seed,
                records=FEW,
                rate=0.01 * (size / 64 if rule == "linear" else (size / 64) ** 0.5),
                **more,
            )
            for (size, rule), seeds in arms.items()
            for seed in seeds
        }

    return runs


def test_a_whole_sweep_lacks_nothing(sweep):
    arms = ((64, "sqrt"), (256, "sqrt"), (256, "linear"))
    assert gaps(sweep(dict.fromkeys(arms, (0, 1)))) == ()
    assert gaps({}) == ()


def test_a_seed_that_most_arms_have_is_missing(sweep):
    found = gaps(sweep({(64, "sqrt"): (0, 1), (256, "sqrt"): (0, 1), (1024, "sqrt"): (0,)}))
    assert found == ("seed 1 is missing at batch size 1024; 2 of 3 arms have it",)


def test_seeds_that_few_arms_have_are_told_of_those(sweep):
    found = gaps(sweep({(64, "sqrt"): (0, 1, 2), (256, "sqrt"): (0,), (1024, "sqrt"): (0,)}))
    assert found == ("seeds 1, 2 are at batch size 64 alone, of 3 arms",)


def test_a_seed_that_no_arm_has_is_a_hole(sweep):
    found = gaps(sweep({(64, "sqrt"): (0, 2), (256, "sqrt"): (0, 2)}))
    assert found == ("seed 1 missing at all arms, where seeds go to 2",)
    # Seeds that were drawn at random are no row with holes.
    assert gaps(sweep({(64, "sqrt"): (17, 4242)})) == ()


def test_a_rule_that_a_batch_size_lacks_is_missing_but_at_the_base(sweep):
    arms = {(64, "sqrt"): (0,), (256, "sqrt"): (0,), (256, "linear"): (0,), (1024, "sqrt"): (0,)}
    found = gaps(sweep(arms))
    assert found == ("no run at batch size 1024 under the rule linear, which other sizes have",)


def test_runs_that_end_early_are_named(make):
    runs = {
        str(seed): make(run=f"s{seed}", seed=seed, records=[*FEW, last])
        for seed, last in enumerate((100, 100, 50, 60))
    }
    assert gaps(runs) == (
        "s2 ends at iteration 50 and 1 other run early as well, the longest of its arm at 100",
    )


def test_the_rungs_of_a_ladder_are_compared_with_one_another(make):
    def rung(number, seed):
        run = make(run=f"r{number}-s{seed}", seed=seed, records=FEW)
        return run.assign_attrs(ladder="steps", rung=number, rung_name=f"step {number}")

    runs = {f"{k}-{s}": rung(k, s) for k, s in ((0, 0), (0, 1), (1, 0), (1, 1), (3, 0))}
    assert gaps(runs) == (
        "seed 1 is missing at batch size 64 (step 3); 2 of 3 arms have it",
        "rung 2 of the ladder steps missing",
    )


def test_sets_of_other_settings_are_no_gaps_of_one_another(sweep):
    plain = sweep({(64, "sqrt"): (0, 1, 2)}, weight_decay=0.0)
    decay = sweep({(64, "sqrt"): (0,)}, weight_decay=0.1)
    assert gaps(plain | {f"d{name}": run for name, run in decay.items()}) == ()


def test_arms_are_called_by_batch_size_and_what_tells_them_apart(sweep):
    runs = sweep({(64, "sqrt"): (0, 1), (256, "sqrt"): (0,), (256, "linear"): (0,)})
    assert sorted(set(arms_in_words(runs).values())) == ["256, linear", "256, sqrt", "64"]
    assert arms_in_words({"a": runs["sqrt-b64-s0"].assign_coords(batch_size=0)}) == {
        "a": "unknown"
    }


def test_seeds_in_a_row_are_a_range():
    assert [listed_seeds(seeds) for seeds in ([], [3], [0, 1], [2, 1, 0, 0])] == [
        "",
        "3",
        "0, 1",
        "0–2",
    ]


def test_nearly_equal_rates_that_split_an_arm_are_told_and_no_seed_is_missing(make):
    def runs(*rates):
        return {
            f"s{seed}": make(run=f"s{seed}", seed=seed, records=FEW, rate=rate)
            for seed, rate in enumerate(rates)
        }

    assert gaps(runs(0.1, 0.101, 0.102)) == (
        "batch size 64 is split into 3 arms of one run each by learning rates from 0.1 to 0.102; "
        "only runs of one rate are an arm",
    )
    # Rates that far apart are compared.
    assert not any("split" in one for one in gaps(runs(0.1, 0.2, 0.4)))
