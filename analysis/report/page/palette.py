"""Colours of the page and of its figures: by role, in the light and in the dark.

Batch sizes take steps of hue by rank, the smallest with most contrast in both. Every text has a
contrast of 4.5 or more with what lies behind it, every mark 3 or more.
"""

# Role: light and dark.
COLOURS = {
    "paper": ("#fdfdfb", "#15181c"),
    "raised": ("#f5f5f1", "#1d2126"),
    "wash": ("#f0f0ea", "#20252b"),
    "ink": ("#1d2126", "#e7e9ec"),
    "quiet": ("#59616b", "#a3abb5"),
    "link": ("#1d4f91", "#9cc1ff"),
    "rule": ("#dcdcd5", "#343a42"),
    "grid": ("#e9e9e3", "#272c33"),
    "axis": ("#8a929c", "#6b747f"),
    "zone": ("#d3e5dd", "#23443b"),
    "zone-ink": ("#1f5d4c", "#9fd8c4"),
    "contradicted": ("#a8390f", "#ff9f73"),
    "supported": ("#0b6e57", "#5fd0b0"),
    "undecidable": ("#59616b", "#a3abb5"),
    "tint-contradicted": ("#fbeee8", "#33211a"),
    "tint-supported": ("#e6f3ee", "#182c26"),
    "b0": ("#35185f", "#dac6ff"),
    "b1": ("#2c5aa8", "#8db2fb"),
    "b2": ("#0a7470", "#27b3a6"),
    "b3": ("#b07500", "#cf952a"),
    "b4": ("#d0557b", "#cc5c86"),
    "b5": ("#667a17", "#a5b94c"),
    "b6": ("#8d3fa6", "#c286d8"),
    "b7": ("#7a4a2b", "#bd9070"),
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
