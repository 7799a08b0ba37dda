"""A critical batch size as people and programs read it in the terminal."""

import math
import textwrap
from typing import Any

from ultraslow.analysis.scores import CriticalBatch
from ultraslow.analysis.text import number, plural, printable

from .numbers import plain
from .tables import WIDTH, table

_HEADER = ("batch size", "iterations", "over fewest", "samples", "over fewest")


def terminal(found: CriticalBatch) -> str:
    """What each batch size took to the target, and the size where more stops saving iterations."""
    sentences = [
        _answer(found),
        *([found.reason] if found.reason else []),
        _meaning(),
        *found.notes,
    ]
    lines = "\n".join(map(_wrapped, sentences))
    return f"{table(_HEADER, _rows(found))}\n\n{lines}"


def _rows(found: CriticalBatch) -> list[tuple[str, ...]]:
    """Iterations S and samples E by batch size, and over S_min and E_min = M_crit·S_min."""
    least = found.fewest_steps, found.fewest_steps * found.estimate
    steps = found.steps or {}
    return [
        (
            str(size),
            number(steps[size]),
            number(steps[size] / least[0]),
            number(size * steps[size]),
            number(size * steps[size] / least[1]),
        )
        for size in sorted(steps)
    ]


def _answer(found: CriticalBatch) -> str:
    least = found.fewest_steps
    fewest = "" if math.isnan(least) else f"; fewest iterations {number(least)}"
    return f"{found}, {plural(found.seeds, 'seed')}{fewest}"


def _meaning() -> str:
    return (
        "at the critical batch size both iterations and samples are twice the fewest; it comes "
        "from trainings at several batch sizes and is another quantity than the noise scale"
    )


def _wrapped(sentence: str) -> str:
    text = printable(f"{sentence[:1].upper()}{sentence[1:]}.", 600)
    return textwrap.fill(text, WIDTH, subsequent_indent="  ")


def content(found: CriticalBatch) -> dict[str, Any]:
    """A critical batch size as JSON holds it."""
    return plain({**vars(found), "steps": dict(found.steps or {}), "notes": list(found.notes)})
