"""Rows of one run in the order of its updates: resumed logs stitched, rows of one step joined.

A log whose steps go back is that of a run that was resumed from a checkpoint: what it wrote after
the checkpoint, before it ended, never happened to the weights that went on, so the later part
counts. Where steps begin anew, or stand twice with different values, two runs may be mixed; that
is never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ultraslow.analysis.text import is_grouped

from .sheet import Array, Numbers, Rows, Sheet, column_numbers, is_absent, shown

# Steps that fall this often are in no order at all, as many workers write them, and are sorted.
_DISORDER = 10
_DISORDER_SHARE = 0.05
_LARGEST = 2.0**53  # above, floats pass over whole numbers
_JUMP = 1.25  # by which a distance that is resumed may differ from those around
_FEW = 3  # losses on either side, of which a batch more or less would decide
# Rows of two runs by turns: so many, so often up and down, by so much.
_TURNS, _BY_TURNS, _APART = 8, 0.9, 1.2
_SUGGESTED = 3  # columns that a message names
_MOSTLY = 0.2  # of the rows, that one value has to have to be suggested


@dataclass(frozen=True, eq=False)
class Stitched:
    """The rows of a run, one for each step.

    Attributes:
        iteration: steps, shape (step,), increasing.
        columns: numbers of each column at them.
        used: rows of the file that they come from.
        left_out: how many rows are not used, by reason.
        events: what happened, with the step it happened at.
    """

    iteration: Rows
    columns: Mapping[str, Numbers]
    used: int
    left_out: Mapping[str, int]
    events: tuple[tuple[int, str], ...]


def stitched(
    sheet: Sheet,
    rows: Rows,
    columns: Sequence[str],
    *,
    iteration: str,
    restarted: bool = False,
    shift: int = 0,
    followed: str = "",
    noisy: bool = False,
) -> Stitched:
    """The rows of one run, one for each step, in their order.

    Arguments:
        sheet: the file.
        rows: places of the rows of this run, in the order of the file.
        columns: names of the columns of numbers that are used.
        iteration: name of the column of steps.
        restarted: whether a log whose steps begin anew is one of a run that was started again,
            of which the last start counts.
        shift: what to add to steps, as 1 where 0 stands for the first update.
        followed: column of a quantity that goes on where a run is resumed, as distances do.
        noisy: whether that is so on average only, as of losses.

    Raises:
        RecordError: for steps that are no whole numbers, for rows of one step that contradict
            each other, for steps that begin anew, and where two runs are mixed.
    """
    left_out: dict[str, int] = {}
    rows, steps = _with_steps(sheet, rows, iteration, left_out)
    steps = steps + shift
    if steps.min() < 0:
        raise sheet.fault(f"--shift: found {shift}, which makes a step {steps.min()}")
    held = {name: column_numbers(sheet, name, rows=rows) for name in columns}
    goes_on = _GoesOn(held[followed].values if followed else None, shown(followed), noisy)
    kept, events = _in_order(sheet, rows, steps, held, goes_on, restarted=restarted)
    if kept.size < rows.size:
        left_out["of a part that a later one takes the place of"] = int(rows.size - kept.size)
    order = kept[np.argsort(steps[kept], kind="stable")]
    merged = _joined(
        sheet,
        rows[order],
        steps[order],
        {name: Numbers(one.values[order], one.logged[order]) for name, one in held.items()},
    )
    found = np.unique(steps[order])
    if followed and not noisy:
        _check_one_curve(sheet, found, merged[followed].values, followed)
    return Stitched(found, merged, int(order.size), left_out, events)


def _with_steps(
    sheet: Sheet, rows: Rows, iteration: str, left_out: dict[str, int]
) -> tuple[Rows, Rows]:
    """The rows that have a step, and their steps."""
    found = column_numbers(sheet, iteration, "--iteration", rows)
    if not found.logged.all():
        left_out[f"without a number in {shown(iteration)}"] = int((~found.logged).sum())
    rows, steps = rows[found.logged], found.values[found.logged]
    bad = ~((steps >= 0) & (steps < _LARGEST) & (steps == np.floor(steps)))
    if bad.any():
        at = int(np.argmax(bad))
        cell = sheet.columns[iteration][int(rows[at])]
        raise sheet.fault(
            f"{sheet.at(int(rows[at]), iteration)}: found {shown(cell)}, expected a number of "
            f"updates: a whole number of 0 or more{_without_points(cell)}"
        )
    if not rows.size:
        raise sheet.fault(f"no row has a number in {shown(iteration)}")
    return rows, steps.astype(np.int64)


def _without_points(cell: object) -> str:
    """What to write for 1.000, if that is a thousand; nothing for others."""
    text = str(cell).strip()
    if not isinstance(cell, str) or not is_grouped(text):
        return ""
    plain = text.replace(".", "").replace(",", ".")
    return f"; if its points stand between thousands, write {plain}, and no comma in any number"


def _in_order(
    sheet: Sheet,
    rows: Rows,
    steps: Rows,
    held: Mapping[str, Numbers],
    goes_on: "_GoesOn",
    *,
    restarted: bool,
) -> tuple[Rows, tuple[tuple[int, str], ...]]:
    """Places of the rows that count, and what happened to the run."""
    falls = np.flatnonzero(np.diff(steps) < 0) + 1
    every = np.arange(steps.size)
    if not falls.size:
        return every, ()
    if falls.size > max(_DISORDER, _DISORDER_SHARE * steps.size):
        return every, (
            (int(steps.min()), "the rows of its log were in no order, and were sorted"),
        )
    alive = np.ones(steps.size, dtype=bool)
    events = []
    for at, end in zip(falls.tolist(), [*falls[1:].tolist(), steps.size], strict=True):
        start, before = int(steps[at:end].min()), int(steps[at - 1])
        earlier = alive[:at] & (steps[:at] >= start)
        if not restarted and (how := goes_on.mixed(steps, alive, at, end)):
            raise sheet.fault(
                f"{how} at {sheet.at(int(rows[at]))}: "
                + _remedy(sheet, rows, steps, held, "one run started again: --restarted")
            )
        untold = "" if restarted else goes_on.untold(steps, alive, at, end)
        alive[:at] &= ~earlier
        last = int(steps[at:].max())
        short = f", which end at {last}" if last < before else ""
        events.append(
            (
                start,
                f"its log goes back here from {before} ({sheet.at(int(rows[at]))}), as of a "
                f"resumed run; the later rows count{short}{untold}",
            )
        )
    return every[alive], tuple(events)


@dataclass(frozen=True, eq=False)
class _GoesOn:
    """A quantity by which the parts of a log are known to be of one run.

    Attributes:
        values: of each row; None without any.
        name: of its column, as messages show it.
        noisy: whether single values say little, and those of many steps are compared.
    """

    values: Array | None
    name: str
    noisy: bool

    def mixed(self, steps: Rows, alive: NDArray[np.bool_], at: int, end: int) -> str:
        """Why rows `at` to `end` are not those of a run that was resumed; empty if they may be."""
        start, before = int(steps[at:end].min()), int(steps[at - 1])
        kept = alive[:at] & (steps[:at] < start)
        if self.values is not None and not self.noisy:
            kept &= steps[:at] > 0  # where all runs are alike
        if not kept.any():
            return f"steps begin anew, with {start} after {before}"
        if self.values is None:
            return ""
        known, jumps = np.flatnonzero(alive[:at]), _shift if self.noisy else _jump
        jump = jumps(steps[known], self.values[known], steps[at:end], self.values[at:end])
        told = f"steps go back from {before} to {start}, where {self.name} jumps {jump}"
        return told if jump else ""

    def untold(self, steps: Rows, alive: NDArray[np.bool_], at: int, end: int) -> str:
        """That nothing tells whether the parts are of one run; empty where something does."""
        if self.values is None:
            return "; nothing in it tells whether they are of one run"
        if not self.noisy:
            return ""
        known = np.flatnonzero(alive[:at])
        sides = _overlap(steps[known], self.values[known], steps[at:end], self.values[at:end])
        if min(map(len, sides)) >= _FEW:
            return ""
        return f"; too few of {self.name} stand on both sides to tell whether they are of one run"


def _jump(steps: Rows, values: Array, later: Rows, after: Array) -> str:
    """How a curve jumps where a log goes back, from what to what; empty where it goes on.

    A resumed run has the weights of its checkpoint, so that the first value after it is about
    that of the same step before: within a part of it, and of what is around.
    """
    order = np.argsort(steps, kind="stable")
    known = order[np.isfinite(values[order])]
    new = np.flatnonzero(np.isfinite(after))
    if not known.size or not new.size:
        return ""
    first, found = int(later[new[0]]), float(after[new[0]])
    if first > steps[known[-1]] or first == 0:
        return ""
    place = int(np.searchsorted(steps[known], first))
    around = values[known[max(place - 2, 0) : place + 2]]
    expected = float(np.interp(first, steps[known], values[known]))
    low, high = around.min() / _JUMP, around.max() * _JUMP
    return "" if low <= found <= high else f"from {expected:.6g} to {found:.6g}"


def _overlap(steps: Rows, values: Array, later: Rows, after: Array) -> tuple[Array, Array]:
    """The values of both parts of a log at the steps that both have passed."""
    old, new = np.isfinite(values), np.isfinite(after)
    if not old.any() or not new.any():
        return np.empty(0), np.empty(0)
    begin = max(steps[old].min(), later[new].min())
    stop = min(steps[old].max(), later[new].max())
    return (
        values[old & (steps >= begin) & (steps <= stop)],
        after[new & (later >= begin) & (later <= stop)],
    )


def _shift(steps: Rows, values: Array, later: Rows, after: Array) -> str:
    """As `_jump`, of a loss: its median where both parts were logged, against all values there."""
    there, found = _overlap(steps, values, later, after)
    if min(there.size, found.size) < _FEW:
        return ""
    slack = (_JUMP - 1) * np.abs(there).max()
    middle = float(np.median(found))
    if there.min() - slack <= middle <= there.max() + slack:
        return ""
    return f"from {float(np.median(there)):.6g} to {middle:.6g} (medians where both have it)"


def _check_one_curve(sheet: Sheet, steps: Rows, values: Array, name: str) -> None:
    """Refuse values that go up and down by turns, as of two runs whose rows take turns.

    Rows of even and odd places each lie near the line between their own neighbours, and far from
    the line between those of the others, always on the same side.
    """
    known = np.flatnonzero(np.isfinite(values) & (values > 0) & (steps > 0))
    if known.size < _TURNS:
        return
    y = np.log(values[known])
    across = np.diff(y)
    turns = np.mean(across[1:] * across[:-1] < 0)
    own = np.abs(y[2:] - y[:-2])
    if turns >= _BY_TURNS and np.median(np.abs(across)) > max(2 * np.median(own), np.log(_APART)):
        raise sheet.fault(
            f"column {shown(name)}: goes up and down by turns, as {values[known[-3]]:.6g}, "
            f"{values[known[-2]]:.6g} and {values[known[-1]]:.6g} at steps {steps[known[-3]]}, "
            f"{steps[known[-2]]} and {steps[known[-1]]}: rows of two runs? --by COLUMN or --where "
            "CONDITION tells them apart"
        )


def _joined(
    sheet: Sheet, rows: Rows, steps: Rows, held: Mapping[str, Numbers]
) -> dict[str, Numbers]:
    """Columns with one value a step.

    Raises:
        RecordError: when two rows of a step have different ones.
    """
    unique, first = np.unique(steps, return_index=True)
    place = np.searchsorted(unique, steps)
    merged = {}
    for name, column in held.items():
        values, logged = np.full(unique.size, np.nan), np.zeros(unique.size, dtype=bool)
        given = np.flatnonzero(column.logged)
        values[place[given]] = column.values[given]
        logged[place[given]] = True
        other = given[~_same(values[place[given]], column.values[given])]
        if other.size:
            early = int(other[0])
            late = int(given[place[given] == place[early]][-1])
            raise sheet.fault(
                f"{sheet.at(int(rows[early]))} and {sheet.at(int(rows[late]))} are both of step "
                f"{int(steps[early])}, with {column.values[early]:.6g} and "
                f"{column.values[late]:.6g} in {shown(name)}: "
                + _remedy(sheet, rows, steps, held, "")
            )
        merged[name] = Numbers(values, logged)
    return merged


def _same(one: Array, other: Array) -> NDArray[np.bool_]:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


def _remedy(
    sheet: Sheet, rows: Rows, steps: Rows, held: Mapping[str, Numbers], otherwise: str
) -> str:
    """How runs that are mixed are told apart: columns that do it, or the options that could."""
    apart, parts = [], []
    for name, cells in sheet.columns.items():
        if name in held:
            continue
        texts = np.array([str(cells[row]) for row in rows])
        if any(is_absent(cells[row]) for row in rows) or np.array_equal(texts, steps.astype(str)):
            continue
        values, counts = np.unique(texts, return_counts=True)
        increasing = {
            value: bool(np.all(np.diff(steps[texts == value]) > 0))
            for value in values[np.argsort(-counts)][:_DISORDER]
        }
        if 1 < values.size <= min(_DISORDER, rows.size // 2) and all(increasing.values()):
            apart.append(f"--by {shown(name)}")
        most = str(values[np.argmax(counts)])
        others = np.sort(counts)[-2] if counts.size > 1 else 0
        alone = counts.max() > max(_MOSTLY * rows.size, others)
        if alone and counts.size > 1 and increasing[most]:
            plain = name if name.isidentifier() else f"`{name}`"
            quoted = most if _is_number(most) else f'"{most}"'
            parts.append(f"--where '{plain} == {quoted}'")
    found = [*apart[:_SUGGESTED], *parts[:_SUGGESTED]] or ["--by COLUMN", "--where CONDITION"]
    return (
        f"two runs, or rows of another kind? {' or '.join([*found, *filter(None, [otherwise])])}"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
