import math
from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.growth import Advantage, ArmCurves, NoiseModel
from ultraslow.analysis.intervals import seeds_at_most
from ultraslow.analysis.planning.advice import PROMISED, Advice, advise, advised_by, state_of
from ultraslow.analysis.planning.outlook import Outlook
from ultraslow.analysis.planning.pilot import Pilot
from ultraslow.analysis.planning.power import record_times

SEEDS = np.array([-1.2, -0.2, 0.3, 1.1])


def arm(mean, spread, *, faster=4.0, slower=-4.0, last=1000, share=0.01, ratio=1.0):
    better = Advantage(faster + 0.1 * SEEDS, slower + 0.1 * SEEDS)
    found = ArmCurves(mean + spread * SEEDS, better)
    times = record_times(last)
    return Pilot(times, NoiseModel("white"), share, batch_size=64, found=found, ratio=ratio)


def ahead(decided):
    return Outlook((4, 1000), (4, 5, 6), (1000, 2000), np.array(decided), "all is noise")


def cheapest(way):
    """The design by a loop over the whole table."""
    there = way.outlook
    count, last = there.present
    costs = [
        (seeds * until - count * last, seeds, until)
        for row, seeds in enumerate(there.seeds)
        for column, until in enumerate(there.lasts)
        if there.decided[row, column] >= PROMISED
    ]
    return min(costs)[1:] if costs else (0, 0)


@pytest.mark.parametrize("of", [arm(0.4, 0.22), arm(0.4, 0.01, faster=-4.0, ratio=4.6)])
def test_what_is_advised_takes_the_fewest_updates_of_what_decides(of):
    way = advise(of, level=0.95)
    assert (way.seeds, way.last) == cheapest(way)
    table = way.outlook
    place = table.seeds.index(way.seeds), table.lasts.index(way.last)
    assert way.chance == table.decided[place] >= PROMISED


def test_a_wide_arm_of_a_clear_power_needs_few_more_seeds():
    way = advise(arm(0.4, 0.22), level=0.95)
    assert 5 <= way.seeds <= 9 and way.last == 1000
    assert way.in_words("batch size 64") == f"{way.seeds} seeds at batch size 64 (now 4)"


def test_noise_that_hides_all_decides_nowhere_and_says_why():
    way = advise(arm(0.06, 0.5, faster=0.0, share=3.0), level=0.95)
    assert (way.seeds, way.last) == (0, 0)
    assert way.in_words("batch size 64").startswith(
        f"nothing up to {seeds_at_most(4)} seeds at batch size 64 until iteration 10,000 ("
    )


@pytest.mark.parametrize(
    ("decided", "design"),
    [
        ([[0.0, 0.5], [0.3, 0.81], [0.7, 0.95]], (5, 2000, 0.81)),
        # None decides four of five: the cheapest of the likeliest.
        ([[0.0, 0.5], [0.3, 0.76], [0.7, 0.77]], (5, 2000, 0.76)),
        ([[0.0, 0.5], [0.3, 0.6], [0.7, 0.6]], (6, 1000, 0.7)),
        # 0.8 is kept where the best exceeds it by chance.
        ([[0.0, 0.5], [0.3, 0.795], [0.7, 0.805]], (6, 2000, 0.805)),
        ([[0.0, 0.1], [0.3, 0.3], [0.2, 0.49]], (6, 2000, 0.49)),
        # What there is costs nothing and decides nothing.
        ([[0.9, 0.1], [0.3, 0.3], [0.2, 0.4]], (6, 2000, 0.4)),
        ([[0.9, 0.05], [0.02, 0.08], [0.03, 0.09]], (0, 0, 0.09)),
    ],
)
def test_without_a_sure_design_the_likeliest_is_named(decided, design):
    way = advised_by(ahead(decided))
    assert (way.seeds, way.last, way.chance) == design
    assert (way.promised, way.likely) == (way.chance >= PROMISED, way.chance >= 0.5)


def test_an_instruction_is_one_sentence_with_its_numbers():
    both = Advice(ahead(np.eye(3, 2)), 5, 2000, 1.0)
    assert both.in_words("x") == (
        "5 seeds at x (now 4), and training on at the same rate until iteration 2000 in all "
        "of them"
    )
    assert replace(both, seeds=4).in_words("x") == (
        "training on at the same rate until iteration 2000"
    )
    assert replace(both, seeds=4).in_words("x", "longer runs") == "longer runs"
    assert replace(both, last=1000).in_words("x") == "5 seeds at x (now 4)"
    assert replace(both, last=1000, chance=0.771).in_words("x") == (
        "5 seeds at x (now 4), which decides 77% of studies"
    )
    assert replace(both, last=1000, chance=0.31).in_words("x") == (
        "perhaps 5 seeds at x (now 4), which decides 31% of studies, as all is noise"
    )
    assert replace(both, seeds=0, last=0, chance=0.03).in_words("x") == (
        "nothing up to 6 seeds at x until iteration 2000 (3% of such studies would be decided), "
        "as all is noise"
    )


def test_an_arm_is_told_what_it_decides_by_itself():
    assert state_of(arm(0.4, 0.01), level=0.95) == "contradicted"
    assert state_of(arm(0.4, 0.22), level=0.95) == "undecidable"
    assert state_of(replace(arm(0.4, 0.1), found=None), level=0.95) == ""
    few = ArmCurves(np.array([0.1, 0.2]), Advantage(np.zeros(2), np.zeros(2)))
    assert state_of(replace(arm(0.0, 1.0), found=few), level=0.95) == ""
    assert state_of(arm(0.4, 0.01, last=300), level=0.95) == ""
    with pytest.raises(ValueError, match="expected an arm of one run or more"):
        advise(replace(arm(0.0, 1.0), found=None), level=math.sqrt(0.9))
