"""Checks of arguments at the public edge: each error names the argument, the value, the range."""

from reprlib import repr as shortened

import numpy as np
from numpy.typing import ArrayLike, NDArray


def numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Numbers of any shape as float64, or a `TypeError` that names the argument.

    >>> numbers([1, 2], "times")
    array([1., 2.])
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: found {shortened(values)}, expected numbers") from error


def increasing(
    values: ArrayLike, name: str, *, above: float = 0.0, least: int = 1
) -> NDArray[np.float64]:
    """Strictly increasing finite values, all greater than a bound.

    Arguments:
        values: what was passed `(*)`.
        name: the argument's name, for the message.
        above: the bound that the first value exceeds.
        least: smallest number of values.

    Returns:
        The values as float64 `(value,)`.

    Raises:
        ValueError: when they do not increase, start too low, are not finite or too few.

    >>> increasing([1, 2, 4], "times")
    array([1., 2., 4.])
    """
    array = numbers(values, name)
    if array.ndim != 1 or array.size < least:
        raise ValueError(f"{name}: found shape {array.shape}, expected {least} or more in a row")
    if not np.isfinite(array).all():
        broken = array[~np.isfinite(array)][0]
        raise ValueError(f"{name}: found {broken:g}, expected finite values")
    if array[0] <= above:
        raise ValueError(f"{name}: starts at {array[0]:g}, expected values above {above:g}")
    falls = np.flatnonzero(np.diff(array) <= 0)
    if falls.size:
        at = falls[0]
        raise ValueError(
            f"{name}: {array[at]:g} is followed by {array[at + 1]:g}, expected increasing values"
        )
    return array


def iterations(values: ArrayLike, name: str) -> NDArray[np.int64]:
    """Strictly increasing iterations from 0 on.

    Arguments:
        values: what was passed `(iteration,)`.
        name: the argument's name, for the message.

    Returns:
        The values as int64 `(iteration,)`.

    Raises:
        ValueError: when they are not whole, do not increase or start below 0.

    >>> iterations([0, 10, 20], "records")
    array([ 0, 10, 20])
    """
    array = increasing(values, name, above=-np.inf)
    broken = array[array != np.floor(array)]
    if broken.size or array[0] < 0:
        raise ValueError(
            f"{name}: found {broken[0] if broken.size else array[0]:g}, expected iterations >= 0"
        )
    return array.astype(np.int64)


def all_finite(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite numbers of any shape, or a `ValueError` that names the argument."""
    array = numbers(values, name)
    return _all(np.isfinite(array), array, name, "finite values")


def none_negative(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite numbers >= 0 of any shape, or a `ValueError` that names the argument."""
    array = numbers(values, name)
    return _all(np.isfinite(array) & (array >= 0), array, name, "finite values >= 0")


def all_positive(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite numbers > 0 of any shape, or a `ValueError` that names the argument."""
    array = numbers(values, name)
    return _all(np.isfinite(array) & (array > 0), array, name, "finite values > 0")


def indices(values: ArrayLike, name: str, *, length: int) -> NDArray[np.int64]:
    """Whole numbers from 0 up to a length, in a row.

    Arguments:
        values: what was passed `(*)`.
        name: the argument's name, for the message.
        length: number that they stay below.

    Returns:
        The values as int64 `(value,)`.

    Raises:
        ValueError: when one is not whole or lies outside.

    >>> indices([0, 2], "starts", length=3)
    array([0, 2])
    """
    array = np.atleast_1d(numbers(values, name)).ravel()
    inside = (array >= 0) & (array < length) & (array == np.floor(array))
    _all(inside, array, name, f"whole numbers in [0, {length})")
    return array.astype(np.int64)


def in_range(
    value: float,
    name: str,
    low: float,
    high: float = np.inf,
    *,
    closed: tuple[bool, bool] = (False, False),
) -> float:
    """A number inside an interval; text is no number, though Python could read it.

    Arguments:
        value: what was passed.
        name: the argument's name, for the message.
        low: lower end.
        high: upper end.
        closed: whether each end belongs to the interval.

    Returns:
        The value as a float.

    Raises:
        ValueError: when it lies outside or is NaN.
        TypeError: when it is no number.

    >>> in_range(0.5, "hurst", 0, 1)
    0.5
    """
    number = _number(value, name)
    above = number >= low if closed[0] else number > low
    below = number <= high if closed[1] else number < high
    if not (above and below):
        left, right = "[" if closed[0] else "(", "]" if closed[1] else ")"
        raise ValueError(
            f"{name}: found {number:g}, expected a value in {left}{low:g}, {high:g}{right}"
        )
    return number


def not_negative(value: float, name: str) -> float:
    """A finite number ≥ 0, or a `ValueError` that names the argument."""
    return in_range(value, name, 0.0, closed=(True, False))


def finite(value: float, name: str) -> float:
    """A finite number, or a `ValueError` that names the argument."""
    return in_range(value, name, -np.inf)


def positive(value: float, name: str) -> float:
    """A finite number > 0, or a `ValueError` that names the argument."""
    return in_range(value, name, 0.0)


def whole(value: int, name: str) -> int:
    """A whole number of either sign, or a `ValueError` that names the argument."""
    number = _number(value, name)
    if not (np.isfinite(number) and number == np.floor(number)):
        raise ValueError(f"{name}: found {value}, expected an integer")
    return int(value)


def count(value: int, name: str, *, least: int = 1) -> int:
    """A whole number of at least `least`, or a `ValueError` that names the argument."""
    number = _number(value, name)
    if not (least <= number < np.inf and number == np.floor(number)):
        raise ValueError(f"{name}: found {value}, expected an integer >= {least}")
    return int(value)


def _number(value: float, name: str) -> float:
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: found {shortened(value)}, expected one number") from error


def _all(
    inside: NDArray[np.bool_], array: NDArray[np.float64], name: str, expected: str
) -> NDArray[np.float64]:
    if not inside.all():
        raise ValueError(f"{name}: found {array[~inside].flat[0]:g}, expected {expected}")
    return array
