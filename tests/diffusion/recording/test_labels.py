import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ultraslow.diffusion.recording import FIELDS, LABELS, SCALARS, as_label, parsed_label
from ultraslow.diffusion.recording.contract import pack
from ultraslow.diffusion.recording.errors import nearest
from ultraslow.diffusion.scaling import RULES

ENDS = (2**63 - 1, -(2**63) + 1, 0, -1)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_what_is_let_through_is_what_a_recording_holds(number):
    """Of every integer that a seed may be: what is packed is what was given."""
    label = as_label("seed", number)
    packed = pack({"seed": label})["coords"]["seed"]["data"]
    assert (label, int(packed)) == (number, number)


@pytest.mark.parametrize("number", ENDS)
def test_integers_of_every_make(number):
    for kind in (int, np.int64):
        found = as_label("seed", kind(number))
        assert (found, type(found)) == (number, int)


@pytest.mark.parametrize("seed", [np.uint64(2**63), 2**63, -(2**63) - 1, 10**400, 1e19, math.inf])
def test_integers_beyond_63_bits_are_refused_and_not_wrapped(seed):
    with pytest.raises(ValueError, match="seed: found .*, expected an integer"):
        as_label("seed", seed)


def test_the_contract_neither_wraps_nor_drops_an_imaginary_part():
    with pytest.raises(ValueError, match=f"seed: found {2**63}, expected at most {2**63 - 1}"):
        pack({"seed": np.uint64(2**63)})
    assert int(pack({"seed": np.uint64(2**63 - 1)})["coords"]["seed"]["data"]) == 2**63 - 1
    with pytest.raises(ValueError, match="loss: found complex values, expected real ones"):
        pack({"loss": [1.0, 2j]})


@pytest.mark.parametrize("value", [1j, np.complex128(1), "3", None, True, np.bool_(1), [1], {}])
def test_what_is_no_number_is_none(value):
    for name in ("seed", "momentum"):
        with pytest.raises(TypeError, match=f"{name}: found .*, expected a"):
            as_label(name, value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data_size", -50_000, "data_size: found -50000, expected a number of samples, >= 1"),
        ("data_size", 0, "data_size: found 0"),
        ("data_size", 2.5, "data_size: found 2.5, expected an integer"),
        ("ghost_size", -1, "ghost_size: found -1"),
        ("momentum", 1.0, r"momentum: found 1.0, expected a number in \[0, 1\)"),
        ("momentum", math.nan, "momentum: found nan, expected a finite number"),
        ("weight_decay", -1e-4, "weight_decay: found -0.0001, expected a number >= 0"),
        ("added_noise", 10**400, "added_noise: found 10+…, expected a finite number"),
        ("model", "", "model: found '', expected a name on one line"),
        ("model", "a\nb", r"model: found 'a\\nb', expected a name on one line"),
        ("data", "x" * 513, "data: found 'x+…, expected a name on one line, of at most 512"),
        ("data", "\ud800", "data: found .*, expected a name on one line"),
        ("scaling", "sqroot", r"expected fixed, sqrt, exact_sqrt or linear \(sqrt\?\)"),
        ("scaling", "Linear", r"linear \(linear\?\)"),
        ("scaling", "none of all", r"or linear$"),
    ],
)
def test_bad_values_are_named_with_what_is_expected(name, value, message):
    with pytest.raises(ValueError, match=message):
        as_label(name, value)


def test_good_values_are_let_through():
    assert [as_label("scaling", rule) for rule in RULES] == list(RULES)
    assert as_label("data_size", 5e4) == 50_000
    assert isinstance(as_label("data_size", 5e4), int)
    assert as_label("momentum", np.float32(0.5)) == 0.5
    assert as_label("model", np.str_("ResNet-50 (v1.5)")) == "ResNet-50 (v1.5)"
    assert set(LABELS) == set(SCALARS) - {"run", "batch_size", "world_size"}
    assert set(SCALARS) == {name for name, field in FIELDS.items() if not field.dims}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "-3", -3),
        ("seed", str(2**63 - 1), 2**63 - 1),
        ("data_size", "50_000", 50_000),
        ("data_size", "5e4", 50_000),
        ("momentum", "0", 0.0),
        ("scaling", "sqrt", "sqrt"),
        ("model", "12", "12"),
    ],
)
def test_labels_as_they_are_typed(name, text, value):
    found = parsed_label(name, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["three", "", "3.5", str(2**63), "0x3", "3,", "nan", "[1]"])
def test_typed_labels_that_are_none(text):
    with pytest.raises(ValueError, match="seed: found .*, expected an integer"):
        parsed_label("seed", text)


def test_near_misses():
    assert nearest("datasize", ["data", "data_size", "seed"]) == " (data_size?)"
    assert nearest("model_name", LABELS) == " (model?)"
    assert nearest("x" * 10_000, LABELS) == nearest("", LABELS) == ""
