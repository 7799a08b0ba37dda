import matplotlib as mpl
import pytest

from analysis.figure_style import INK, METADATA, QUIET, RULE, STYLE

PAPER = (253, 253, 252)


def luminance(colour):
    """Relative luminance as the Web Content Accessibility Guidelines 2.1 define it."""
    parts = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour):
    found = tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))
    bright, dark = sorted([luminance(found), luminance(PAPER)], reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_every_setting_is_known_to_matplotlib():
    assert set(STYLE) <= set(mpl.rcParams)
    with mpl.rc_context(STYLE):
        assert mpl.rcParams["svg.fonttype"] == "none"


@pytest.mark.parametrize("colour", [INK, QUIET])
def test_text_can_be_read_on_the_page(colour):
    assert contrast(colour) >= 4.5  # the guidelines' level AA


def test_rules_stay_behind_the_text():
    assert contrast(RULE) < contrast(QUIET) < contrast(INK)


def test_no_date_is_written():
    assert METADATA["Date"] is None
