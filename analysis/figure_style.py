"""How the report's figures look: colours, sizes and settings, as plain values."""

from typing import Any

INK, QUIET, FAINT, RULE = "#1f2328", "#6b7280", "#c9ced6", "#e5e8ec"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.1,
    "lines.solid_capstyle": "round",
    # Text stays text: it can be selected, scales with the page and makes files small.
    "svg.fonttype": "none",
    # Names come from files; a dollar sign in one is no formula.
    "text.parse_math": False,
}
SMALL, WIDE, TALL = (3.5, 2.5), (4.7, 3.1), 6.0
# Nothing of the file's metadata, least of all its date: equal numbers give equal figures.
METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
ABOVE: dict[str, Any] = {
    "xycoords": ("data", "axes fraction"),
    "textcoords": "offset points",
    "fontsize": 7.5,
}
RIGHT: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"),
    "textcoords": "offset points",
    "fontsize": 7.5,
}
