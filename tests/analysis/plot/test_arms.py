import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.plot.arms import arms_of, chosen, curve, leading, mean
from ultraslow.analysis.study import Study


def test_arms_come_by_rule_and_batch_size_with_their_seeds(study, tree):
    found = arms_of(study)
    assert [(one.batch_size, one.rule) for one in found] == [
        (64, "sqrt"),
        (256, "sqrt"),
        (256, "fixed"),
    ]
    assert [one.title for one in found] == ["M = 64", "M = 256", "M = 256"]
    assert [one.rule_words for one in found] == ["η ∝ √M", "η ∝ √M", "η fixed"]
    assert {one.rate_words for one in found} == {"η = 0.01, 3 seeds", "η = 0.02, 3 seeds"}
    assert [one.role for one in found] == ["b0", "b1", "b1"]
    assert [one.nodes for one in arms_of(tree)] == [one.nodes for one in found]


@pytest.mark.parametrize(
    ("asked", "rule"),
    [("256, fixed", "fixed"), ("256, η ∝ √M", "sqrt"), ("fixed-b256-s1", "fixed")],
)
def test_an_arm_is_chosen_by_words_or_by_a_run(study, asked, rule):
    found = chosen(study, asked)
    assert (found.batch_size, found.rule) == (256, rule)
    assert chosen(study, found) is found
    assert chosen(study, 64).batch_size == 64


def test_an_arm_that_is_not_there_names_those_that_are(study):
    with pytest.raises(ValueError, match=r"^arm: found '512', expected one of: 64, .*256, fixed"):
        chosen(study, 512)


def test_of_each_batch_size_the_arm_of_the_root_rule_leads(study):
    assert [(one.batch_size, one.rule) for one in leading(arms_of(study))] == [
        (64, "sqrt"),
        (256, "sqrt"),
    ]


def test_rates_that_were_rounded_part_no_batch_size_from_the_others(make):
    """0.1/√64 and 1.976/√25000 lie on both sides of 0.0125, where two digits change."""
    rates = {64: 0.1, 256: 0.2, 25_000: 1.976, 50_000: 2.795}
    runs = {str(size): make(batch_size=size, rate=rate) for size, rate in rates.items()}
    runs["far"] = make(batch_size=64, rate=0.12)
    shown = leading(arms_of(Study(runs)))
    assert [(one.batch_size, one.rate) for one in shown] == list(rates.items())


def test_copies_of_a_seed_and_unknown_sizes(make):
    runs = {"a": make(seed=0), "b": make(seed=0), "c": make(seed=1, batch_size=0)}
    found = arms_of(Study(runs))
    assert sorted(len(one.nodes) for one in found) == [1, 1]
    assert found[0].title == "M unknown"


def test_a_curve_holds_what_is_known_after_the_start():
    values = xr.DataArray([0.0, 1, np.nan, 3, 4], {"iteration": [0, 1, 2, 4, 8]}, ["iteration"])
    found = curve(values)
    assert found.time.tolist() == [1, 4, 8]
    assert found.value.tolist() == [1, 3, 4]
    assert found.at(np.array([2.0, 16.0])) == pytest.approx([2.0, np.nan], nan_ok=True)
    still = curve(values, np.array([0.0, 0.0, 0.1, 0.1, 0.2]))  # a clock that stands still
    assert still.time.tolist() == [0.1, 0.2]


def test_the_mean_of_seeds_goes_as_far_as_all_of_them():
    times = np.array([1.0, 10, 100, 1000])
    line = xr.DataArray(np.log10(times) + 1, {"iteration": times}, ["iteration"])
    found = mean([curve(line), curve(3 * line[:3])], 5)
    assert found.time == pytest.approx(np.geomspace(1, 100, 5))
    assert found.value == pytest.approx(2 * (np.log10(found.time) + 1))
    geometric = mean([curve(line), curve(4 * line)], 5, log=True)
    assert geometric.value == pytest.approx(2 * (np.log10(geometric.time) + 1), rel=0.02)
    assert mean([], 5) is None


def test_arms_of_a_scan_of_rates_are_told_apart_and_the_one_on_the_rule_leads(make):
    rates = {32: (0.0125, 0.05, 0.2), 128: (0.1,), 512: (0.2,)}
    runs = {
        f"b{size}-r{rate}": make(batch_size=size, rate=rate, last=100)
        for size, own in rates.items()
        for rate in own
    }
    found = arms_of(Study(runs))
    assert [one.rule_words for one in found] == [
        "η ∝ √M, η = 0.0125",
        "η ∝ √M, η = 0.05",
        "η ∝ √M, η = 0.2",
        "η ∝ √M",
        "η ∝ √M",
    ]
    assert [one.rate for one in leading(found)] == [0.05, 0.1, 0.2]
