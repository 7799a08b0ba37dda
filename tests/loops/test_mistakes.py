"""What users forget in the programs of the gallery: numbers stay right, or somebody is told."""

import numpy as np
import pytest
from independent import Independent
from programs import heard, recording, source

# What is forgotten: the program, what its recorder is not told, or told instead.
MISTAKES = {
    "the scaler": ("mixed_precision", {"forgotten": ["scaler"]}),
    "that two passes are one unit": ("gan", {"forgotten": ["one_unit"]}),
    "that the generator's pass is none": ("gan", {"forgotten": ["unmeasured"]}),
    "that the first pass is none": ("sam", {"forgotten": ["unmeasured"]}),
    "that units grow": ("curriculum", {"forgotten": ["unit"]}),
    "the size of an update": ("lora", {"told": {"batch_size": 8}}),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_what_is_forgotten_makes_no_number_wrong_in_silence(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, forgotten = MISTAKES[what]
    truth = Independent(**forgotten)
    _, told = heard(source(f"alone/{name}"), f"alone/{name}", truth)
    errors = truth.compare(recording(truth.path), largest=np.nanmax)
    off = {key for key, error in errors.items() if error > 1e-5}
    assert not off or told, errors


def test_gradients_that_are_never_cleared_are_told_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = source("alone/ema")
    cleared = "    optimizer.zero_grad()\n"
    assert text.count(cleared) == 1
    truth = Independent()
    _, told = heard(text.replace(cleared, ""), "alone/ema", truth)
    assert any("not cleared" in one for one in told), told
