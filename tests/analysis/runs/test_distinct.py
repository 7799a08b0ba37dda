"""Copies, repeated seeds, and seeds that ended, began or ceased to be finite elsewhere."""

import numpy as np
import pytest

from ultraslow.analysis.runs import counted_in_words, draws, relabelled_in_words
from ultraslow.analysis.runs.arms import one_per_seed
from ultraslow.analysis.runs.distinct import (
    copies,
    copies_elsewhere,
    diverged,
    stopped_early,
    traits,
)

FEW = [0, 1, 2, 4, 8]


def read(runs):
    return {name: traits(run) for name, run in runs.items()}


def test_a_copy_under_another_name_and_seed_is_no_seed(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k) for k in range(3)}
    fakes = {
        "relabelled": runs["s0"].assign_coords(seed=7, run="relabelled"),
        "shortened": runs["s1"].isel(iteration=slice(0, 40)).assign_coords(seed=8, run="short"),
        "thinned": runs["s2"].isel(iteration=slice(0, None, 3)).assign_coords(seed=9, run="thin"),
        "rounded": runs["s0"]
        .assign(distance_sq=runs["s0"]["distance_sq"].astype(np.float32))
        .assign_coords(seed=6, run="rounded"),
    }
    for order in (runs | fakes, fakes | runs):
        found = copies(read(order))
        assert set(found) | set(found.values()) <= set(order)
        assert len(draws(order)) == 3
    assert copies(read(runs | fakes)) == {
        "relabelled": "s0",
        "rounded": "s0",
        "shortened": "s1",
        "thinned": "s2",
    }
    assert counted_in_words(runs | fakes) == (
        "4 recordings are copies of others, with the same distance at every record: relabelled "
        "of s0, rounded of s0, thin of s2, …. Each curve counts once."
    )


def test_other_seeds_are_no_copies(make):
    runs = {f"s{k}": make(seed=k, noise=1e-4) for k in range(5)}
    assert copies(read(runs)) == {} and list(draws(runs)) == list(runs)
    assert counted_in_words(runs) == ""
    # Nor runs of which too little is known to tell them apart.
    one = make(records=[0, 1])
    assert copies(read({"a": one, "b": one.assign_coords(seed=5)})) == {}


def test_repeated_seeds_are_named_and_counted(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, records=FEW) for k in range(5)}
    # Run again elsewhere: other digits, and no other draw.
    again = make(run="again", seed=0, records=FEW, noise=0.003)
    assert counted_in_words(runs | {"again": again}) == (
        "1 recording repeats the seed of another at the same batch size, rule and rate: again. "
        "Verdicts count one of each, the longest that recorded what they need."
    )


def test_seeds_that_stopped_early_are_left_out_and_named(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, last=3000) for k in range(4)}
    runs["short"] = make(run="short", seed=8, last=900)
    diverged = make(run="nan", seed=9, last=3000)
    late = diverged["iteration"].values > 1000
    diverged["distance_sq"].values[late] = np.nan
    runs["nan"] = diverged
    last = int(diverged["iteration"].values[~late][-1])
    assert stopped_early(read(runs)) == {"short": 900, "nan": last}
    assert list(draws(runs)) == ["s0", "s1", "s2", "s3"]
    assert counted_in_words(runs) == (
        "2 recordings are left out of comparisons between distances, as others have finite "
        f"distances farther on: short to iteration 900, nan to iteration {last}."
    )


def lost_after(run, iteration):
    """The run with no finite distance after an iteration; its last one with."""
    late = run["iteration"].values > iteration
    run["distance_sq"].values[late] = np.nan
    return run, int(run["iteration"].values[~late][-1])


@pytest.mark.parametrize(("seeds", "enough"), [(3, 3), (4, 4), (6, 4)])
def test_a_late_loss_does_not_shorten_those_that_go_on(make, seeds, enough):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, last=3000) for k in range(seeds)}
    lost, last = lost_after(make(run="nan", seed=9, last=3000), 2000)
    cut = make(run="cut", seed=10, last=2100)
    for order in (runs | {"nan": lost, "cut": cut}, {"cut": cut, "nan": lost} | runs):
        assert stopped_early(read(order), enough=enough) == {"nan": last, "cut": 2100}
        assert set(draws(order, enough=enough)) == set(runs)
    # What is lost within the last tenth is too little to lose a seed for.
    almost, _ = lost_after(make(run="almost", seed=11, last=3000), 2800)
    assert stopped_early(read(runs | {"almost": almost}), enough=enough) == {}


def test_a_recording_that_begins_late_does_not_take_the_beginning_from_the_others(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, last=3000) for k in range(4)}
    late = make(run="late", seed=9, last=3000).isel(iteration=slice(30, None))
    first = int(late["iteration"].values[0])
    assert list(draws(runs | {"late": late})) == list(runs)
    assert f"farther on: late from iteration {first} to 3000." in counted_in_words(
        runs | {"late": late}
    )


def test_where_seeds_are_few_all_are_read_up_to_the_first_end_and_this_is_said(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k, last=3000) for k in range(3)}
    runs["nan"], last = lost_after(make(run="nan", seed=9, last=3000), 2000)
    # Three speak alone where three are enough; where four are needed the fourth stays.
    assert list(draws(runs, enough=3)) == ["s0", "s1", "s2"]
    assert list(draws(runs)) == ["s0", "s1", "s2", "nan"]
    assert counted_in_words(runs) == (
        "1 recording has finite distances not as far as 3 others, which speak alone where 3 "
        f"seeds are enough: nan to iteration {last}."
    )
    del runs["s0"]
    assert list(draws(runs, enough=3)) == list(draws(runs)) == ["s1", "s2", "nan"]
    assert counted_in_words(runs) == (
        f"Batch size 64 is read up to iteration {last}, as too few seeds go on like the longest, "
        "to 3000: nan has no finite distance there."
    )


def test_of_a_seed_that_was_run_twice_the_one_with_finite_distances_counts(make):
    lost, _ = lost_after(make(run="first", seed=0), 500)
    again = make(run="again", seed=0, noise=0.003)
    assert list(one_per_seed({"first": lost, "again": again})) == ["again"]


def test_one_long_seed_does_not_make_the_others_short(make):
    runs = {f"s{k}": make(seed=k, last=1000) for k in range(4)}
    assert stopped_early(read(runs | {"long": make(seed=8, last=10_000)})) == {}
    # Nor is an arm short because another one is long.
    other = {"o": make(batch_size=256, seed=0, last=10_000)}
    assert stopped_early(read(runs | other)) == {}


def test_copies_are_named_by_their_files(make):
    run = make(run="s0").assign_attrs(path="runs/s0.nc")
    copy = run.assign_attrs(path="elsewhere/another.nc")
    said = counted_in_words({"s0": run, "s0-2": copy})
    assert "1 recording is a copy of another" in said and "another.nc of s0.nc" in said


def test_a_run_that_learns_nothing_is_left_out_and_named(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k) for k in range(4)}
    lost = make(run="lost", seed=9)
    late = lost["iteration"].values > 100
    lost["distance_sq"].values[late] *= 25.0**2
    lost["loss"].values[late] = 2.303
    assert diverged(read(runs)) == () and diverged(read(runs | {"lost": lost})) == ("lost",)
    assert list(draws(runs | {"lost": lost})) == list(runs)
    assert counted_in_words(runs | {"lost": lost}) == (
        "1 recording is left out of comparisons between distances, as the training loss ends "
        "where it began while that of the arm fell: lost."
    )
    # Where no run of an arm learns, or too few say so, nothing is told from that.
    still = {name: run.assign(loss=2.3 + 0 * run["loss"]) for name, run in runs.items()}
    assert diverged(read(still | {"lost": lost})) == ()
    assert diverged(read({"s0": runs["s0"], "lost": lost})) == ()


def test_a_curve_under_other_labels_is_named_with_what_they_differ_in(make):
    runs = {f"s{k}": make(run=f"s{k}", seed=k) for k in range(3)}
    fakes = {
        "adam": runs["s0"].assign_coords(run="adam", optimizer="adamw"),
        "large": runs["s2"].assign_coords(run="large", batch_size=128),
    }
    every = fakes | runs
    known = read(every)
    assert copies_elsewhere(known) == {"s0": "adam", "s2": "large"}
    assert copies(known) == {}
    assert relabelled_in_words(every, known) == (
        "2 recordings have the same distance at every record as another whose labels differ "
        "(batch size, optimizer): s0 and adam, s2 and large. Either labels are wrong, or what "
        "differs changed nothing; both are counted."
    )
    # Copies within an arm are another matter, and other trainings of other arms are none.
    apart = runs | {"other": make(run="other", seed=0, batch_size=256)}
    assert copies_elsewhere(read(apart | {"copy": runs["s0"]})) == {}
    assert relabelled_in_words(apart, read(apart)) == ""
