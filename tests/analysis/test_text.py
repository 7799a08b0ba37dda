import math
import re
import unicodedata

from hypothesis import given, strategies as st

from ultraslow.analysis.text import interval, number, plural, printable, real, rounded

SAFE = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])


def read(text):
    return float(text.replace("−", "-").replace(",", "").replace("∞", "inf"))


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_numbers_keep_three_digits(value):
    assert math.isclose(read(number(value)), value, rel_tol=0.0051, abs_tol=0)


@given(st.floats(min_value=-999.4, max_value=999.4))
def test_effects_keep_three_decimals_or_four_digits(value):
    assert math.isclose(read(rounded(value)), value, rel_tol=5.1e-4, abs_tol=5.1e-4)
    assert len(rounded(value)) <= 7


def test_a_negative_zero_has_no_sign():
    assert rounded(-1e-9) == rounded(0.0) == "0.000"


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_an_interval_shows_which_ends_are_open(low, high):
    text = interval(low, high)
    assert (text[0] == "(") == math.isinf(low)
    assert (text[-1] == ")") == math.isinf(high)


@given(st.text(), st.integers(3, 60))
def test_printable_text_is_one_line_that_hides_nothing(text, length):
    shown = printable(text, length)
    assert len(shown) <= length
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


@given(st.text(SAFE, max_size=40))
def test_printable_text_keeps_what_is_harmless(text):
    assert printable(text, 40) == text


@given(st.text(SAFE, min_size=41), st.integers(5, 40))
def test_a_cut_keeps_both_ends(text, length):
    shown = printable(text, length)
    assert len(shown) == length
    head, tail = shown[: length // 2], shown[length // 2 + 1 :]
    assert text.startswith(head)
    assert text.endswith(tail)


@given(st.floats(allow_nan=False))
def test_what_json_holds_is_read_back(value):
    held = value if math.isfinite(value) else str(value)
    assert real(held) == value


@given(st.integers(0, 1000))
def test_only_one_is_singular(count):
    assert bool(re.fullmatch(r"\d+ runs", plural(count, "run"))) == (count != 1)
