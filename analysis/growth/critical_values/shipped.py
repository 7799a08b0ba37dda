"""Critical values that come with the package, for records that recorders make by default.

Simulating them is most of a first fit. On the default schedule they depend on the last iteration T
alone, and hardly on that; nor do they on a few more records, as at checkpoints. They are there at
four T, each ten times the one before, for the cells that fits look into, and between these T are
interpolated in ln T. They differ from a simulation by 0.104, root of the mean square, and two
simulations by 0.087: they err by a third more. Cells that are not there are simulated as ever, and
so are all at other records, at another number of draws, from another seed, and where the onset is
known.

`docs/critical_values.py` makes the file, which says what code its values were simulated by, and is
passed over by any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .disk import SOURCES, code_digest
from .simulation import DEVIATES, Cell, number_of

Array = NDArray[np.float64]

FILE = Path(__file__).with_name("shipped.npz")
STEP = 0.01  # of what is kept; one simulation errs by 0.03 to 0.08
_ABSENT = np.int16(-(2**15))  # of cells that are not there at one of the T
# What the values follow from: what simulates them, and the schedule that they are for.
MADE_BY = (*SOURCES, "diffusion/recording/schedule.py")


@dataclass(frozen=True)
class Shipped:
    """Signed roots at `DEVIATES` of some cells at some last iterations.

    Attributes:
        lasts: T, shape (last,), increasing.
        numbers: that the cells go by, shape (cell,), increasing.
        steps: signed roots in units of `STEP`, `_ABSENT` where there are none, shape
            (last, cell, deviate).
    """

    lasts: Array
    numbers: NDArray[np.int64]
    steps: NDArray[np.int16]

    def roots(self, cell: Cell, last: float) -> Array | None:
        """Signed roots of a cell, increasing, shape (deviate,); None where they are not there.

        Arguments:
            cell: which.
            last: T.
        """
        number = number_of(cell)
        row = int(np.searchsorted(self.numbers, number))
        inside = self.lasts[0] <= last <= self.lasts[-1]
        if not inside or row == self.numbers.size or self.numbers[row] != number:
            return None
        place = np.interp(np.log(last), np.log(self.lasts), np.arange(self.lasts.size))
        below = min(int(place), self.lasts.size - 2)
        share = place - below
        near = self.steps[below : below + 2, row]
        if (share < 1 and near[0, 0] == _ABSENT) or (share > 0 and near[1, 0] == _ABSENT):
            return None
        return np.asarray(((1 - share) * near[0] + share * near[1]) * STEP)


@cache
def shipped_values() -> Shipped | None:
    """What comes with the package; None where there is nothing, or it is of other code."""
    try:
        found, code = held()
    except (OSError, EOFError, ValueError, LookupError, BadZipFile):
        return None
    return found if code == code_digest(MADE_BY) else None


def held() -> tuple[Shipped, str]:
    """What the file holds, and the digest of the code that it is of."""
    with FILE.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        found = Shipped(file["lasts"], file["numbers"], file["steps"])
        return found, str(file["code"])


def packed(lasts: ArrayLike, roots: Mapping[tuple[int, float], Array]) -> dict[str, NDArray]:
    """What the file holds.

    Arguments:
        lasts: T, shape (last,), increasing.
        roots: of cells, by the number that each goes by and T, shape (deviate,).
    """
    numbers = np.unique([number for number, _ in roots])
    times = np.asarray(lasts, dtype=np.float64)
    steps = np.full((times.size, numbers.size, DEVIATES.size), _ABSENT)
    for (number, last), row in roots.items():
        place = np.searchsorted(times, last), np.searchsorted(numbers, number)
        steps[place] = np.rint(row / STEP)
    return {
        "code": np.array(code_digest(MADE_BY)),
        "lasts": times,
        "numbers": numbers,
        "steps": steps,
    }
