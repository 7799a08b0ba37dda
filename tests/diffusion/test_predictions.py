import math
import re

from ultraslow.analysis.growth import DECADES
from ultraslow.analysis.predictions.batch_size import scaled_sets
from ultraslow.analysis.predictions.growth import aging
from ultraslow.diffusion.predictions import PREDICTIONS, lacking
from ultraslow.diffusion.recording.fields import ASKED_WITH, FIELDS
from ultraslow.diffusion.scaling import RULES


def test_all_claims_are_there_under_their_own_key():
    expected = {f"P{i}" for i in range(1, 11)} | {"P1'", "P2'", "H-a", "H-b", "H-c"}
    assert set(PREDICTIONS) == expected
    assert all(prediction.key == key for key, prediction in PREDICTIONS.items())


def test_every_claim_is_falsifiable_and_sourced():
    for prediction in PREDICTIONS.values():
        texts = (prediction.statement, prediction.measurement, prediction.contradicted_by)
        assert all(len(text) > 20 for text in texts), prediction.key
        assert re.search(r"\(20\d\d\).*arXiv", prediction.source), prediction.key
        assert prediction.needs, prediction.key
        assert prediction.arms, prediction.key


def test_needed_fields_are_fields_of_a_recording_and_can_be_asked_for():
    always = {name for name, field in FIELDS.items() if field.required}
    always |= {"learning_rate", "learning_rate_sum"}
    for prediction in PREDICTIONS.values():
        assert set(prediction.needs) <= set(FIELDS), prediction.key
        assert set(prediction.needs) <= always | set(ASKED_WITH), prediction.key
        assert set(prediction.scalings) <= set(RULES)
        assert bool(prediction.scalings) == ("scaling" in prediction.needs), prediction.key


def test_what_a_run_lacks():
    plain = {name for name, field in FIELDS.items() if field.required}
    plain |= {"learning_rate", "learning_rate_sum"}
    found = lacking(plain)
    assert found["P1"] == ()
    assert found["P6"] == ("data_size", "seed")
    assert found["H-b"] == ("data_size", "scaling")
    everything = lacking(FIELDS)
    assert not any(everything.values())
    under = {rule: lacking(FIELDS, rule) for rule in RULES}
    told = {rule: {key for key, absent in of.items() if absent} for rule, of in under.items()}
    assert told == {
        "fixed": {"P2", "P2'", "H-b"},
        "sqrt": {"P2'"},
        "exact_sqrt": {"P2", "P2'"},
        "linear": {"P2", "H-b"},
    }


def test_nothing_is_attributed_to_the_limit_paper_as_its_own_statement():
    for key in ("H-a", "H-b", "H-c"):
        assert PREDICTIONS[key].derived, key


def test_lengths_are_those_that_the_verdicts_ask_for():
    """Aging waits from the tenth iteration on; curves over √M are compared over two decades."""
    growth, scaled = 10**aging.DECADES, 10**scaled_sets.DECADES
    expected = {key: growth for key in ("P1", "P1'", "P5", "P6", "P9", "P10")}
    expected |= {key: scaled for key in ("P2", "P2'", "H-b")}
    expected["P8"] = aging.FIRST * 10**aging.DECADES
    assert DECADES == aging.DECADES
    for key, prediction in PREDICTIONS.items():
        assert prediction.iterations == math.ceil(expected.get(key, 0) - 1e-9), key
