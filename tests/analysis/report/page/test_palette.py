"""Contrast of every pair of colours that the page sets against each other, by calculation."""

import re
from itertools import product

import pytest

from ultraslow.analysis.report.page.palette import COLOURS, colour_rules

BATCHES = [role for role in COLOURS if re.fullmatch(r"b\d", role)]
WORDS = ("contradicted", "supported", "undecidable")
# Texts with what lies behind them; then marks.
TEXTS = [
    *product(("ink", "quiet", "link", *WORDS), ("paper",)),
    *product(("ink", "quiet", "link"), ("raised", "wash")),
    ("zone-ink", "paper"),
    ("zone-ink", "zone"),
    ("ink", "zone"),
    ("ink", "tint-contradicted"),
    ("contradicted", "tint-contradicted"),
    ("ink", "tint-supported"),
    ("supported", "tint-supported"),
]
MARKS = [*product([*BATCHES, "axis", *WORDS], ("paper",))]


def luminance(colour):
    """Relative luminance of sRGB, WCAG 2.2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_the_most_that_there_is():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", [0, 1])
def test_every_text_and_mark_can_be_read(theme):
    for pairs, least in ((TEXTS, 4.5), (MARKS, 3.0)):
        for front, back in pairs:
            found = contrast(COLOURS[front][theme], COLOURS[back][theme])
            assert found >= least, (front, back, theme, round(found, 2))


@pytest.mark.parametrize("theme", [0, 1])
def test_the_smallest_batch_size_has_most_contrast(theme):
    paper = COLOURS["paper"][theme]
    found = [contrast(COLOURS[role][theme], paper) for role in BATCHES]
    assert found[0] == max(found)


def test_every_role_has_a_property_in_both_themes_and_two_classes():
    rules = colour_rules()
    for role, (light, dark) in COLOURS.items():
        assert f"--{role}:{light};" in rules
        assert f"--{role}:light-dark({light},{dark});" in rules
        assert f".f-{role}{{fill:var(--{role})}}.s-{role}{{stroke:var(--{role})}}" in rules
