"""What a law checks of its arguments, on a law made for the purpose: d = a·t^c + Σ m."""

import math

import numpy as np
import pytest

from ultraslow.diffusion.laws.law import Law, Parameter

MODES = tuple(
    Parameter(name, name, "weight of a mode", 0.0, closed=(True, False), modes=True)
    for name in ("m", "h")
)
LAW = Law(
    "power",
    "A power of time",
    "d = a·t^c + Σ m",
    (
        Parameter("a", "a", "scale", 0.0, 10.0, closed=(False, True)),
        Parameter("c", "c", "exponent", -1.0, 1.0, closed=(True, False)),
        *MODES,
    ),
    "made up",
    {"a": 2.0, "c": 0.5, "m": [0.25, 0.75], "h": [1.0, 2.0]},
    lambda t, a, c, m, h: a * t**c + m.sum(),
    lambda t, a, c, m, h: a * c * t ** (c - 1),
)


def test_distances_and_slopes_are_those_of_the_formula():
    # 2·√4 + 1 and 2·√9 + 1; 2·½/√4 and 2·½/√9.
    np.testing.assert_allclose(LAW.distance([4, 9], LAW.example), [5.0, 7.0])
    np.testing.assert_allclose(LAW.slope([4, 9], LAW.example), [0.5, 1 / 3])


def test_missing_parameters_are_those_of_the_example():
    assert LAW.completed({}) == LAW.example
    assert LAW.completed({"c": 0.1}) == {**LAW.example, "c": 0.1}
    assert LAW.example["c"] == 0.5
    with pytest.raises(ValueError, match=r"parameters: found \['b'\], expected some of \['a', "):
        LAW.completed({"b": 1.0, "c": 0.1})
    with pytest.raises(TypeError, match=r"parameters: found 0.5, expected a mapping from name"):
        LAW.completed(0.5)


def test_all_parameters_and_no_others_are_asked_for():
    some = {name: value for name, value in LAW.example.items() if name != "c"}
    listed = r"expected \['a', 'c', 'm', 'h'\]"
    with pytest.raises(ValueError, match=r"parameters: found \['a', 'h', 'm'\], " + listed):
        LAW.distance([1.0], some)
    with pytest.raises(ValueError, match=r"found \['a', 'b', 'c', 'h', 'm'\], " + listed):
        LAW.slope([1.0], {**LAW.example, "b": 1.0})


@pytest.mark.parametrize(
    ("name", "value", "interval"),
    [
        ("a", 0.0, r"(0, 10]"),
        ("a", 10.1, r"(0, 10]"),
        ("c", -1.1, r"[-1, 1)"),
        ("c", 1.0, r"[-1, 1)"),
        ("m", [0.5, -0.5], r"[0, inf)"),
        ("m", [math.inf, 1.0], ""),
        ("a", math.nan, ""),
    ],
)
def test_a_value_out_of_its_range_is_told_with_the_range(name, value, interval):
    with pytest.raises(ValueError, match=f"^{name}: found ") as told:
        LAW.checked({**LAW.example, name: value})
    assert str(told.value).endswith(f"expected a value in {interval}" if interval else "")


def test_the_first_value_out_of_range_is_the_one_told():
    with pytest.raises(ValueError, match=r"^h: found -3, expected a value in \[0, inf\)$"):
        LAW.checked({**LAW.example, "h": [2.0, -3.0]})


@pytest.mark.parametrize(("name", "value"), [("a", 10.0), ("c", -1.0), ("m", [0.0, 0.0])])
def test_closed_ends_belong_to_the_range(name, value):
    np.testing.assert_array_equal(LAW.checked({**LAW.example, name: value})[name], value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("a", [1.0, 2.0], r"a: found shape \(2,\), expected \(\)"),
        ("m", 0.5, r"m: found shape \(\), expected \(mode,\) of one or more"),
        ("m", [], r"m: found shape \(0,\), expected \(mode,\) of one or more"),
        ("m", [1.0], r"m, h: found shapes m \(1,\), h \(2,\), expected the same"),
    ],
)
def test_modes_are_arrays_of_one_length_and_others_numbers(name, value, words):
    with pytest.raises(ValueError, match=words):
        LAW.checked({**LAW.example, name: value})


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([2.0, 1.0], "^times: 2 is followed by 1, expected increasing values$"),
        ([0.0, 1.0], "^times: starts at 0, expected values above 0$"),
        ([[1.0, 2.0]], "^times: found"),
    ],
)
def test_times_increase_from_above_zero(times, words):
    for curve in (LAW.distance, LAW.slope):
        with pytest.raises(ValueError, match=words):
            curve(times, LAW.example)
