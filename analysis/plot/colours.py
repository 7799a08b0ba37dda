"""Colours by role, in the light and in the dark, and which of them a batch size has.

Nothing is drawn with here, so that pages without a figure need no drawing library.
"""

# Light and dark colour of each role; those of batch sizes go by rank, smallest first.
COLOURS = {
    "paper": ("#fdfdfb", "#15181c"),
    "ink": ("#1d2126", "#e7e9ec"),
    "quiet": ("#59616b", "#a3abb5"),
    "link": ("#1d4f91", "#9cc1ff"),
    "contradicted": ("#a8390f", "#ff9f73"),
    "supported": ("#0b6e57", "#5fd0b0"),
    "undecidable": ("#59616b", "#a3abb5"),
    "zone": ("#d3e5dd", "#23443b"),
    "axis": ("#8a929c", "#6b747f"),
    "rule": ("#dcdcd5", "#343a42"),
    "grid": ("#e9e9e3", "#272c33"),
    "wash": ("#f0f0ea", "#20252b"),
    "raised": ("#f5f5f1", "#1d2126"),
    "b0": ("#35185f", "#dac6ff"),
    "b1": ("#2c5aa8", "#8db2fb"),
    "b2": ("#0a7470", "#27b3a6"),
    "b3": ("#b07500", "#cf952a"),
    "b4": ("#d0557b", "#cc5c86"),
    "b5": ("#667a17", "#a5b94c"),
    "b6": ("#8d3fa6", "#c286d8"),
    "b7": ("#7a4a2b", "#bd9070"),
}
HUES = 8  # of batch sizes


def role_of_size(rank: int, count: int) -> str:
    """The role of a batch size by its rank among so many; of more than eight some share one.

    >>> role_of_size(2, 3), role_of_size(35, 40), role_of_size(39, 40)
    ('b2', 'b7', 'b7')
    """
    return f"b{rank if count <= HUES else rank * HUES // count}"
