import re

from ultraslow.diffusion.predictions import PREDICTIONS
from ultraslow.diffusion.recording.fields import FIELDS


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


def test_needed_fields_are_fields_of_a_recording():
    # what is one word is a field name; what has a space is named in words, for it is optional
    for prediction in PREDICTIONS.values():
        names = [need for need in prediction.needs if " " not in need]
        assert set(names) <= set(FIELDS), prediction.key


def test_nothing_is_attributed_to_the_limit_paper_as_its_own_statement():
    for key in ("H-a", "H-b", "H-c"):
        assert PREDICTIONS[key].derived, key
