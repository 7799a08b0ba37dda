import math

from analysis.replication import AcrossRuns
from analysis.slope_exponents import SlopeLaw

KNOWN = AcrossRuns(0.25, 0.2, 0.3, 0.02, 4, 0.001, "")


def test_a_combination_of_another_rule_is_not_held_against_the_claim():
    found = SlopeLaw(combined={0.5: KNOWN}, arms=3, reason="a", needed="b")
    assert "x/2 − y = 0.250 [0.200, 0.300] (mean of 4 seeds over 3 arms)" in found.text(1.0)
    assert "x/2 − y = 0.250 [0.200, 0.300], where coinciding curves need 0" in found.text(0.5)
    assert found.text(0.5).endswith("not identified apart, as a (would tell: b)")


def test_where_nothing_is_identified_the_reason_stands_alone():
    text = SlopeLaw(reason="a", needed="b").text(0.5)
    assert text == "log-slopes b ∝ η^x·M^−y: x and y not identified, as a (would tell: b)"


def test_three_arms_that_were_left_out_are_named_and_more_are_hinted_at():
    assert (
        SlopeLaw(reason="a", needed="b", left_out=("c", "d")).text(1.0).endswith("left out: c, d")
    )
    many = SlopeLaw(rate=KNOWN, arms=4, departure=math.nan, left_out=tuple("cdefg"))
    assert many.text(1.0).endswith("over 4 arms); left out: c, d, e, …")
