import math
from itertools import pairwise

from hypothesis import assume, given, strategies as st

from ultraslow.analysis.intervals.decision import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDABLE,
    VERDICTS,
    decide,
)
from ultraslow.analysis.predictions.verdict import Verdict

ENDS = st.floats(-10, 10)
MARGINS = st.floats(0.001, 5)


@given(ENDS, ENDS, MARGINS)
def test_the_word_is_that_of_the_definition(one, other, margin):
    low, high = sorted((one, other))
    word = decide(low, high, margin)
    assert (word == SUPPORTED) == (max(abs(low), abs(high)) < margin)
    assert (word == CONTRADICTED) == (min(abs(low), abs(high)) > margin and low * high > 0)
    assert word in VERDICTS


@given(ENDS, ENDS, MARGINS)
def test_the_sign_of_the_effect_does_not_matter(one, other, margin):
    low, high = sorted((one, other))
    assert decide(low, high, margin) == decide(-high, -low, margin)


@given(ENDS, ENDS, MARGINS, st.floats(0, 5), st.floats(0, 5))
def test_a_wider_interval_never_turns_one_decision_into_the_other(one, other, margin, left, right):
    low, high = sorted((one, other))
    narrow, wide = decide(low, high, margin), decide(low - left, high + right, margin)
    assert wide in (narrow, UNDECIDABLE)


@given(ENDS, ENDS, st.lists(MARGINS, min_size=2, max_size=6))
def test_a_wider_margin_moves_from_contradicted_to_supported(one, other, margins):
    low, high = sorted((one, other))
    order = [CONTRADICTED, UNDECIDABLE, SUPPORTED]
    ranks = [order.index(decide(low, high, margin)) for margin in sorted(margins)]
    assert all(before <= after for before, after in pairwise(ranks))


@given(ENDS, MARGINS)
def test_an_end_at_the_margin_decides_nothing(other, margin):
    assume(abs(other) != margin)
    for end in (margin, -margin):
        assert decide(*sorted((end, other)), margin) == UNDECIDABLE


@given(st.sampled_from([math.nan, math.inf]), ENDS, MARGINS)
def test_an_open_or_unknown_end_never_supports(missing, known, margin):
    assert decide(known, missing, margin) != SUPPORTED
    assert decide(-missing, known, margin) != SUPPORTED
    assert decide(math.nan, math.nan, margin) == UNDECIDABLE
    assert decide(-math.inf, math.inf, margin) == UNDECIDABLE


def test_a_verdict_without_an_effect_says_so_with_nan():
    bare = Verdict("P1", "claim", UNDECIDABLE, "reason", "effect")
    assert math.isnan(bare.effect)
    assert (bare.sample.runs, bare.assumptions, bare.needed) == (0, (), "")
