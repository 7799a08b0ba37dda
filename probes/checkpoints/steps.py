"""At which update a checkpoint was made, as its name says.

Names have numbers that are the same in all of them (`resnet50-…`), and one that counts. A word
before it says what: `step`, `iter` and `update` count updates, `epoch` counts something else.
"""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"(?P<word>[A-Za-z]*)[-_=.]?(?P<digits>\d+)(?P<unit>[kKmM]?(?![A-Za-z0-9]))?")
_UNITS = {"k": 1000, "m": 1_000_000}
_UPDATES = ("step", "steps", "iter", "iters", "iteration", "update", "updates", "it", "globalstep")
_OTHERS = {
    **dict.fromkeys(("epoch", "epochs", "ep", "e"), "epochs"),
    **dict.fromkeys(("tokens", "samples", "examples", "images", "kimg"), "samples"),
}


class UnclearError(ValueError):
    """Names that do not say at which update; the message says what is unclear and what to give."""


def steps_of(
    names: Sequence[str], pattern: str | None = None, *, updates: int | None = None
) -> list[int | None]:
    """The update that each name stands for.

    Arguments:
        names: of files or folders, without what they end in.
        pattern: a regular expression whose first group is the number; or the numbers themselves,
            one a name in their natural order, with commas between. Read off the names when None.
        updates: that one count of the names stands for, as the updates of an epoch; one when None.

    Returns:
        Numbers of updates; None for a name without one, as `last` or `best`.

    Raises:
        UnclearError: when names can be read in several ways, or count something else.

    >>> steps_of(["resnet50_step100", "resnet50_step2000", "resnet50_last"])
    [100, 2000, None]
    >>> steps_of(["epoch=0-step=390", "epoch=1-step=780"])
    [390, 780]
    >>> steps_of(["epoch_1", "epoch_2"], updates=391)
    [391, 782]
    """
    if pattern is not None and re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", pattern):
        found: list[int | None] = _listed(names, [int(one) for one in pattern.split(",")])
        return _scaled(found, updates)
    if pattern is not None:
        return _scaled(_matched(names, pattern), updates)
    numbers = [_numbers(name) for name in names]
    by_word = [_of_updates(one) for one in numbers]
    if any(found is not None for found in by_word) and not _missing(numbers, by_word):
        return _scaled(by_word, updates)
    counted = _that_differ(numbers)
    several = [name for name, one in zip(names, counted, strict=True) if len(one) > 1]
    if several:
        listed = " and ".join(str(number) for _, number in counted[names.index(several[0])])
        raise UnclearError(
            f"{several[0]!r} has several numbers, {listed}, expected one; say which with --steps, "
            r"as --steps 'step(\d+)' or a list of the updates"
        )
    other = next((_OTHERS[word] for one in counted for word, _ in one if word in _OTHERS), None)
    if updates is None and other:
        example = next(n for n, one in zip(names, counted, strict=True) if one)
        raise UnclearError(
            f"{example!r} counts {other}, expected updates; say how many updates one stands for "
            "with --updates-per-count, or give the updates with --steps"
        )
    return _scaled([one[0][1] if one else None for one in counted], updates)


def natural(name: str) -> list[tuple[int, int | str]]:
    """What sorts names by the numbers in them, so that 9 comes before 10."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _listed(names: Sequence[str], given: Sequence[int]) -> list[int | None]:
    if len(given) != len(names):
        raise UnclearError(
            f"--steps: found {len(given)} numbers for {len(names)} checkpoints, expected one each"
        )
    order = sorted(range(len(names)), key=lambda k: natural(names[k]))
    by_place = dict(zip(order, given, strict=True))
    return [by_place[k] for k in range(len(names))]


def _matched(names: Sequence[str], pattern: str) -> list[int | None]:
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UnclearError(f"--steps: {pattern!r} is no regular expression ({error})") from error
    if wanted.groups < 1:
        raise UnclearError(rf"--steps: found {pattern!r}, expected a group, as 'step(\d+)'")
    found: list[int | None] = []
    for name in names:
        match = wanted.search(name)
        number = match and match.group(1)
        if number and not number.isdecimal():
            raise UnclearError(f"--steps: found {number!r} in {name!r}, expected a whole number")
        found.append(int(number) if number else None)
    if not any(one is not None for one in found):
        raise UnclearError(f"--steps: {pattern!r} is in none of the names, as {names[0]!r}")
    return found


def _scaled(steps: Sequence[int | None], updates: int | None) -> list[int | None]:
    return [None if step is None else step * (updates or 1) for step in steps]


def _numbers(name: str) -> list[tuple[str, int]]:
    """The numbers of a name, each with the word before it; 50k is 50,000."""
    return [
        (m["word"].lower(), int(m["digits"]) * _UNITS.get((m["unit"] or "").lower(), 1))
        for m in _NUMBER.finditer(name)
    ]


def _of_updates(numbers: Sequence[tuple[str, int]]) -> int | None:
    found = [number for word, number in numbers if word in _UPDATES]
    return found[-1] if found else None


def _missing(numbers: Sequence[list[tuple[str, int]]], steps: Sequence[int | None]) -> bool:
    """Whether names without a number of updates have another that differs from name to name."""
    rest = [one for one, step in zip(numbers, steps, strict=True) if step is None]
    return any(_that_differ([*rest, *numbers])[: len(rest)])


def _that_differ(numbers: Sequence[list[tuple[str, int]]]) -> list[list[tuple[str, int]]]:
    """The numbers of each name without those that all names have."""
    numbered = [one for one in numbers if one]
    if len(numbered) < 2:
        return [list(one) for one in numbers]
    shared = set.intersection(*(set(one) for one in numbered))
    return [[pair for pair in one if pair not in shared] for one in numbers]
