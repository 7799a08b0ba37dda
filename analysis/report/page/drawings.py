"""How figures stand on the page: panels with headings, captions, drawings of an older kind."""

import re
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from ultraslow.analysis import plot
from ultraslow.analysis.report.markup import piece, without_style

# Colours of drawings that name no roles, and the roles that they stand for.
_ROLES = {"#1f2328": "ink", "#6b7280": "quiet", "#c9ced6": "axis", "#e5e8ec": "grid"}


def panel(
    one: plot.Shown | None,
    note: str,
    drawn: Sequence[Markup],
    *,
    title: str = "",
    figure: str = "",
    best: bool = False,
) -> Markup:
    """Drawings under a heading: the mark and name of an arm, or a title, and a note.

    Arguments:
        one: the arm; None for none.
        note: what tells it from other panels.
        drawn: SVG elements, one below the other.
        title: in place of the arm's name.
        figure: a number that the panel is about; empty for none.
        best: whether that number is the best of all panels.
    """
    mark = None if one is None else (one.rank, one.sizes)
    name = title or ("" if one is None else one.title)
    return piece("panel", mark, name, note, drawn, figure, best)


def halves(left: Markup, right: Markup) -> Markup:
    """Two figures side by side."""
    return piece("halves", [one for one in (left, right) if one])


def captioned(finding: str, how: str) -> Markup:
    """A caption: what is to be seen first, then how to read it."""
    return Markup("<b>{}</b> {}").format(finding, how)


def older(drawn: Markup, colours: Mapping[int, str]) -> Markup:
    """A drawing in fixed colours with those of the page in their place.

    Arguments:
        drawn: an SVG element in the colours of `figures.palette`.
        colours: of the batch sizes, from there.
    """
    roles = dict(_ROLES)
    for rank, size in enumerate(sorted(colours)):
        roles.setdefault(colours[size], plot.role_of_size(rank, len(colours)))

    def role(found: re.Match[str]) -> str:
        named = roles.get(found[2])
        return f'{found[1]}="var(--{named})"' if named else found[0]

    return Markup(re.sub(r'(fill|stroke)="(#[0-9a-f]{6})"', role, without_style(drawn)))
