"""What a pixel shows of curves: paths thinned to its columns, and labels moved apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CROWDED = 4  # points a column that a line is told by: first, lowest, highest, last


def columns(points: Array, column: float = 1.0) -> Array:
    """A line thinned to what a column of pixels shows: its first, lowest, highest and last point.

    Arguments:
        points: pixels, shape (point, 2); where they go back to the left nothing is thinned.
        column: its width, pixels.

    Returns:
        The points that are kept, in their order.
    """
    if len(points) <= 2 * CROWDED or np.any(np.diff(points[:, 0]) < 0):
        return points
    column_of = np.floor(points[:, 0] / column).astype(np.int64)
    starts = np.flatnonzero(np.diff(column_of, prepend=column_of[0] - 1))
    if CROWDED * starts.size >= len(points):
        return points
    ends = np.append(starts[1:], len(points)) - 1
    order = np.lexsort((points[:, 1], column_of))  # within a column from the lowest up
    kept = np.unique(np.concatenate([starts, ends, order[starts], order[ends]]))
    return points[kept]


def straightened(points: Array, off: float = 0.15) -> Array:
    """A line without the points that lie on it anyway (Douglas and Peucker).

    Arguments:
        points: pixels, shape (point, 2).
        off: how far the line may move, pixels.

    Returns:
        The points that are kept, in their order.
    """
    kept = np.zeros(len(points), dtype=bool)
    kept[[0, -1]] = True
    open_parts = [(0, len(points) - 1)]
    while open_parts:
        first, last = open_parts.pop()
        if last - first < 2:
            continue
        chord = points[last] - points[first]
        away = points[first + 1 : last] - points[first]
        length = float(np.hypot(*chord))
        if length:
            distance = np.abs(chord[0] * away[:, 1] - chord[1] * away[:, 0]) / length
        else:
            distance = np.hypot(away[:, 0], away[:, 1])
        farthest = int(np.argmax(distance))
        if distance[farthest] > off:
            middle = first + 1 + farthest
            kept[middle] = True
            open_parts += [(first, middle), (middle, last)]
    return points[kept]


def spread_out(places: Sequence[float], gap: float) -> list[float]:
    """Increasing places moved apart to at least `gap`, as little as may be.

    >>> [round(x, 2) for x in spread_out([0.5, 0.5, 0.9], 0.1)]
    [0.45, 0.55, 0.9]
    """
    blocks: list[list[float]] = []  # of places less the room that those before them take
    for k, place in enumerate(places):
        blocks.append([place - k * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    flat = [float(np.mean(block)) for block in blocks for _ in block]
    return [place + k * gap for k, place in enumerate(flat)]


def within(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """As `spread_out`, and between two ends where there is room for all.

    >>> [round(x, 2) for x in within([0.9, 1.0, 1.0], 0.1, 0.0, 1.0)]
    [0.8, 0.9, 1.0]
    """
    found = spread_out(places, gap)
    for k in range(len(found)):  # down from the top, then up from the foot
        back = len(found) - 1 - k
        found[back] = min(found[back], high - k * gap)
    for k in range(len(found)):
        found[k] = max(found[k], low + k * gap)
    return found


def evenly(values: Array, count: int) -> NDArray[np.intp]:
    """Places of at most so many of increasing positive values, even in their logarithm.

    >>> evenly(np.array([1.0, 2, 3, 10, 20, 100]), 3).tolist()
    [0, 3, 5]
    """
    if values.size <= count:
        return np.arange(values.size)
    wanted = np.linspace(np.log(values[0]), np.log(values[-1]), count)
    return np.unique(np.abs(np.log(values) - wanted[:, None]).argmin(axis=1))
