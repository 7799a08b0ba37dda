import re

import pytest

from ultraslow.analysis.predictions.table import TESTS
from ultraslow.analysis.report.page.cards import (
    CLAIMS,
    card,
    emphasized,
    finding,
    groups,
    missing,
)
from ultraslow.analysis.report.page.laws import LAWS, laws
from ultraslow.diffusion.predictions import PREDICTIONS

ROW = {
    "set": "all runs",
    "prediction": "P2",
    "statement": "The whole claim.",
    "verdict": "contradicted",
    "effect": 2.947,
    "effect_low": 2.7976,
    "effect_high": 3.1044,
    "effect_meaning": "ratio of distances",
    "null_low": 1 / 1.1,
    "null_high": 1.1,
    "first": 50.0,
    "last": 500.0,
    "runs": 16,
    "seeds": 3,
    "batch_sizes": "64, 4096",
    "assumptions": "rates follow the rule; intervals are across seeds",
    "reason": "Over iterations 50 to 500 batch size 4096 has moved 2.947 [2.798, 3.104] times as "
    "far as batch size 64, where 0.91 to 1.10 counts as one curve. More follows.",
    "needed": "",
    "have": None,
    "need": None,
    "unit": "",
}
OPEN = ROW | {"verdict": "undecidable", "effect": None, "effect_low": None, "effect_high": None}


def test_every_prediction_has_a_claim_that_fits_a_card():
    assert set(CLAIMS) == set(PREDICTIONS) == set(TESTS)
    assert all(len(claim) <= 66 for claim in CLAIMS.values())


def test_every_claim_about_motion_leads_to_its_law():
    assert set(PREDICTIONS) - set(LAWS) == {"P3", "H-a", "H-c"}  # those are about scores
    whole = laws(None, {"verdicts": [{"prediction": key} for key in PREDICTIONS]})[2]
    anchors = set(re.findall(r'id="(law-[\w-]+)"', "".join(whole)))
    for key in LAWS:
        one = card(ROW | {"prediction": key})
        assert one.law.removeprefix("#") in anchors
        assert f'href="{one.law}"' in dict(one.evidence)["Law"]
    assert card(ROW | {"prediction": "H-a"}).law == ""
    assert "Law" not in dict(card(ROW | {"prediction": "H-a"}).evidence)


def test_a_card_tells_the_effect_in_three_digits_and_draws_it():
    found = card(ROW)
    assert (found.effect, found.ends) == ("2.95", "[2.80, 3.10]")
    assert found.finding == (
        "Over iterations 50 to 500 batch size 4096 has moved 2.95 [2.80, 3.10] times as far as "
        "batch size 64, where 0.91 to 1.10 counts as one curve."
    )
    assert "one curve: 0.91 to 1.1" in found.picture
    evidence = dict(found.evidence)
    assert evidence["Finding"] == ROW["reason"]
    assert evidence["Conditions"] == ("rates follow the rule", "intervals are across seeds")
    assert evidence["Claim"] == ROW["statement"]
    assert evidence["Sample"].endswith("iterations 50 to 500")


def test_a_gauge_stands_where_there_is_no_estimate():
    picture = card(OPEN | {"have": 2.0, "need": 4.0, "unit": "seeds"}).picture
    assert "2 seeds, needs 4." in picture
    assert "1 seed, needs 4." in card(OPEN | {"have": 1.0, "need": 4.0, "unit": "seeds"}).picture
    assert card(OPEN).picture == ""


def test_a_share_is_told_and_drawn_in_percent():
    share = ROW | {"prediction": "P4", "effect": 0.0, "effect_low": 0.0, "effect_high": 0.019}
    share |= {"effect_meaning": "share of steps outward", "null_low": 0.05, "null_high": "inf"}
    found = card(share)
    assert (found.effect, found.ends) == ("0 %", "[0 %, 1.90 %]")
    assert "5 % or more" in found.picture


@pytest.mark.parametrize(
    ("effect", "words"),
    [(12097.0, "four powers of ten above 1"), (2e-5, "five powers of ten below 1"), (30.0, "")],
)
def test_a_ratio_far_from_1_is_told_in_words_as_well(effect, words):
    row = ROW | {"prediction": "P10", "effect": effect, "effect_low": effect, "null_low": 1 / 3}
    meaning = card(row | {"effect_high": effect, "null_high": 3.0}).meaning
    assert meaning == "; ".join(filter(None, ["ratio of distances", words]))


def test_a_long_finding_ends_with_its_first_clause():
    clause = "The distance " + "moved and " * 23 + "moved"
    assert finding(ROW | {"reason": f"{clause}; then other things. And more."}) == f"{clause}."
    assert finding(ROW, "In short, 1.2345 of it.") == "In short, 1.23 of it."


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        (
            "10 seeds at batch size 10,000 (now 2), and more",
            "10 seeds at batch size 10\u202f000, and more.",
        ),
        (
            "the full batch: an arm at batch size 50000",
            "The full batch: an arm at batch size 50\u202f000.",
        ),
        (
            "perhaps training on until iteration 15,000: it may change",
            "Perhaps training on until iteration 15\u202f000.",
        ),
        ("", ""),
    ],
)
def test_what_would_decide_is_an_instruction_without_its_reasons(needed, told):
    assert card(OPEN | {"needed": needed}).needed == told


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"unit": "seeds", "have": 2.0}, "More seeds"),
        ({"unit": "iterations", "have": 40.0}, "Longer runs"),
        ({"needed": "training on at the same rate until iteration 400"}, "Longer runs"),
        ({"unit": "checkpoints", "have": 3.0}, "A measurement that was not recorded"),
        ({"reason": "No run recorded line_loss."}, "A measurement that was not recorded"),
        ({"prediction": "H-a", "needed": "the full batch"}, "An arm that was not run"),
        ({"needed": "nothing up to 12 seeds"}, "No design within reach"),
        ({"verdict": "not applicable"}, "Does not arise here"),
    ],
)
def test_open_verdicts_stand_by_what_is_missing(more, name):
    assert missing(OPEN | more) == name


def test_decided_verdicts_come_first_and_contradicted_ones_before_all():
    rows = [ROW | {"verdict": word} for word in ("supported", "undecidable", "contradicted")]
    decided, still = groups(rows)
    assert [name for name, _ in decided] == ["Contradicted", "Supported"]
    assert sum(len(own) for _, own in still) == 1


def test_nothing_in_a_sentence_becomes_an_element():
    text = emphasized("<b>x</b> 1.5 [<i>1</i>, 2] and 2.5 [2, 3]")
    assert re.sub(r'</?(b|span)( class="ci")?>', "", str(text)).count("<") == 0
    assert "&lt;b&gt;x" in text
