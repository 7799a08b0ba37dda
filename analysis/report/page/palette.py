"""Colours of the page and of its figures: by role, in the light and in the dark.

Batch sizes take steps of hue by rank, the smallest with most contrast in both. Every text has a
contrast of 4.5 or more with what lies behind it, every mark 3 or more.
"""

from ultraslow.analysis import plot

# Role: light and dark. Those of figures, and what the page alone has.
COLOURS = {
    **plot.COLOURS,
    "zone-ink": ("#1f5d4c", "#9fd8c4"),
    "tint-contradicted": ("#fbeee8", "#33211a"),
    "tint-supported": ("#e6f3ee", "#182c26"),
}


def colour_rules() -> str:
    """The colours as style: properties, the classes of figures, and the reader's choice.

    The page follows the reader's system, unless the buttons say otherwise; it is printed light.
    Browsers that cannot tell light from dark keep to the light.
    """
    light = "".join(f"--{role}:{colours[0]};" for role, colours in COLOURS.items())
    both = "".join(f"--{role}:light-dark({a},{b});" for role, (a, b) in COLOURS.items())
    classes = "".join(
        f".f-{role}{{fill:var(--{role})}}.s-{role}{{stroke:var(--{role})}}" for role in COLOURS
    )
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@supports (color:light-dark(#000,#fff)){{:root{{color-scheme:light dark;{both}}}}}\n"
        "@media screen{:root:has(#dark:checked){color-scheme:dark}"
        ":root:has(#light:checked){color-scheme:light}}\n"
        f"{classes}\n"
    )
