"""Labels: what is said of a run, not measured, and what analysis groups runs by.

A label that is misspelled is worse than none: under the rule "sqroot" a run takes no part in what
is asked of √M, and says nothing. So each label has words or a range, and is held to them wherever
one comes from a person.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

from ultraslow.diffusion.scaling import RULES

from .contract import LARGEST_INTEGER, NAME_LENGTH
from .errors import nearest
from .fields import FIELDS


@dataclass(frozen=True)
class Range:
    """What numbers a label may have.

    Attributes:
        low: the least.
        below: a bound that it stays below.
        told: the range in words.
    """

    low: float
    below: float
    told: str


_NOT_NEGATIVE = Range(0, math.inf, "a number >= 0")
_SAMPLES = Range(1, math.inf, "a number of samples, >= 1")
_RANGES = {
    "batch_size": _SAMPLES,
    "data_size": _SAMPLES,
    "ghost_size": _SAMPLES,
    "world_size": Range(1, math.inf, "a number of processes, >= 1"),
    "momentum": Range(0, 1, "a number in [0, 1)"),
    "base_learning_rate": _NOT_NEGATIVE,  # 0 at the first update of a warm-up
    "weight_decay": _NOT_NEGATIVE,
    "added_noise": _NOT_NEGATIVE,
    "gradient_difference": _NOT_NEGATIVE,
}
_WORDS = {"scaling": RULES}
# Measured with, so that another value would make what was recorded wrong; and the file's own name.
MEASURED = ("run", "batch_size", "world_size")
SCALARS = tuple(field.name for field in FIELDS.values() if not field.dims)
# Those that are a person's to say, and to correct.
LABELS = tuple(name for name in SCALARS if name not in MEASURED)


def as_label(name: str, value: object, called: str = "") -> str | int | float:
    """The value of a label, as a recording holds it.

    Arguments:
        name: of the label, one of `SCALARS`.
        value: as it was given; whole numbers may be floats.
        called: what messages call it; its name when empty.

    Returns:
        A text, an integer of at most 63 bits and a sign, or a float.

    Raises:
        TypeError: for a value of another type.
        ValueError: for a value that is none of the label's.

    >>> as_label("data_size", 5e4)
    50000
    >>> as_label("scaling", "sqroot")
    Traceback (most recent call last):
    ...
    ValueError: scaling: found 'sqroot', expected fixed, sqrt, exact_sqrt or linear (sqrt?)
    """
    called = called or name
    kind = FIELDS[name].dtype
    if kind == "str":
        return _text(name, value, called)
    if not isinstance(value, Real) or isinstance(value, bool):
        wanted = "an integer" if kind == "i8" else "a real number"
        raise TypeError(f"{called}: found {value!r}, expected {wanted}")
    number = _integer(value, called) if kind == "i8" else _finite(value, called)
    allowed = _RANGES.get(name)
    if allowed is not None and not allowed.low <= number < allowed.below:
        raise ValueError(f"{called}: found {number}, expected {allowed.told}")
    return number


def parsed_label(name: str, text: str) -> str | int | float:
    """The value of a label that was typed.

    Arguments:
        name: of the label, one of `SCALARS`.
        text: as it was typed.

    Raises:
        ValueError: for a text that is none of the label's values.

    >>> parsed_label("data_size", "50_000")
    50000
    """
    if FIELDS[name].dtype == "str":
        return as_label(name, text)
    try:
        number: int | float = int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            wanted = "an integer" if FIELDS[name].dtype == "i8" else "a number"
            raise ValueError(f"{name}: found {_shown(text)}, expected {wanted}") from None
    return as_label(name, number)


def check_sizes(labels: Mapping[str, object]) -> None:
    """Refuse a training set that is smaller than a batch of it.

    Arguments:
        labels: values by name, each checked by itself; a batch size of 0 is one that nobody knows.

    Raises:
        ValueError: with both sizes.
    """
    data, batch = (int(str(labels.get(name) or 0)) for name in ("data_size", "batch_size"))
    if 0 < data < batch:
        raise ValueError(
            f"data_size: found {data} beside batches of {batch}, expected the samples in the "
            "training set, a batch or more"
        )


def _text(name: str, value: object, called: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{called}: found {_shown(value)}, expected text")
    text = str(value)
    words = _WORDS.get(name)
    if words is not None:
        if text not in words:
            *others, last = words
            raise ValueError(
                f"{called}: found {_shown(text)}, expected {', '.join(others)} or {last}"
                + nearest(text, words)
            )
        return text
    if not text.strip() or not text.isprintable() or len(text) > NAME_LENGTH:
        raise ValueError(
            f"{called}: found {_shown(text)}, expected a name on one line, of at most "
            f"{NAME_LENGTH} characters"
        )
    return text


def _integer(value: Real, called: str) -> int:
    if not isinstance(value, Integral) and not float(value).is_integer():
        raise ValueError(f"{called}: found {_shown(value)}, expected an integer")
    number = int(value) if isinstance(value, Integral) else int(float(value))
    if not -LARGEST_INTEGER <= number <= LARGEST_INTEGER:
        raise ValueError(
            f"{called}: found {_shown(number)}, expected an integer of at most 63 bits "
            f"(±{LARGEST_INTEGER})"
        )
    return number


def _finite(value: Real, called: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{called}: found {_shown(value)}, expected a finite number")
    return number


def _shown(value: object) -> str:
    """A value as messages show it, cut to a readable length."""
    text = str(value) if isinstance(value, Real) else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
