"""Conditions on rows, as `it1 == 0 and run != "old"`: parsed and compared, never run as code.

A condition has names of columns, numbers, texts, comparisons, `in`, `and`, `or`, `not` and
brackets, in Python's notation. A name that is no word, such as `train/loss`, stands in backticks.
Nothing compares with a cell that is empty: the row does not fulfil the condition.
"""

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sheet import Sheet, as_number, is_absent, shown

Mask = NDArray[np.bool_]

_LONGEST = 1000
_QUOTED = re.compile(r"`([^`]+)`")
_PLACEHOLDER = "quoted_column_"
_COMPARED: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, several: any(value == one for one in several),
    ast.NotIn: lambda value, several: all(value != one for one in several),
}
_EXPECTED = (
    "expected comparisons of columns with numbers or texts, as in "
    "'it1 == 0 and optimizer != \"sgd\"'"
)


def fulfilled(sheet: Sheet, condition: str) -> Mask:
    """Which rows fulfil a condition.

    Arguments:
        sheet: the file.
        condition: as a person wrote it.

    Returns:
        Truth values, shape (row,).

    Raises:
        ValueError: when it is no condition.
        RecordError: for a column that is not there, or text compared with a number.
    """
    if len(condition) > _LONGEST:
        raise ValueError(
            f"--where: found {len(condition)} characters, expected {_LONGEST} at most"
        )
    quoted: list[str] = []

    def stand_in(found: re.Match[str]) -> str:
        quoted.append(found.group(1))
        return f"{_PLACEHOLDER}{len(quoted) - 1}"

    text = _QUOTED.sub(stand_in, condition)
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _Reader(sheet, condition, quoted).truth(tree.body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        one = re.search(r"(?<![=!<>])=(?!=)", condition)
        hint = "; equality is written ==" if one else ""
        raise ValueError(f"--where: found {shown(condition)}, {_EXPECTED}{hint}") from error


class _Reader:
    """A condition being read on a sheet."""

    def __init__(self, sheet: Sheet, condition: str, quoted: Sequence[str]) -> None:
        self._sheet = sheet
        self._condition = condition
        self._quoted = quoted

    def truth(self, node: ast.expr) -> Mask:
        """Which rows a part of the condition holds of."""
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [self.truth(value) for value in values]
                every = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return np.asarray(every.reduce(parts))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self.truth(operand)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                sides = [left, *comparators]
                pairs = [self._compared(sides[k], op, sides[k + 1]) for k, op in enumerate(ops)]
                return np.asarray(np.logical_and.reduce(pairs))
        raise self._fault(node)

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Mask:
        if type(op) not in _COMPARED:
            raise self._fault(left)
        compare = _COMPARED[type(op)]
        if isinstance(right, ast.Name) and not isinstance(left, ast.Name):
            if isinstance(op, ast.In | ast.NotIn):
                raise self._fault(right)
            mirrored = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
            turned = mirrored.get(type(op), type(op))()
            return self._compared(right, turned, left)
        if not isinstance(left, ast.Name):
            raise self._fault(left)
        if isinstance(right, ast.Name):
            return self._columns(left, compare, right)
        wanted = self._constant(right)
        several = isinstance(wanted, tuple)
        if several != isinstance(op, ast.In | ast.NotIn):
            raise self._fault(right)
        return self._cells(self._name(left), compare, wanted)

    def _cells(self, name: str, compare: Callable[[Any, Any], Any], wanted: Any) -> Mask:
        """A column against a number, a text, or several of them."""
        kinds = {
            isinstance(one, str) for one in (wanted if isinstance(wanted, tuple) else [wanted])
        }
        if len(kinds) > 1:
            raise ValueError(f"--where: found numbers beside texts in {shown(self._condition)}")
        as_text = kinds == {True}
        cells = self._sheet.column(name, "--where")
        found = np.zeros(len(cells), dtype=bool)
        for row, cell in enumerate(cells):
            if is_absent(cell):
                continue
            value = str(cell).strip() if as_text else as_number(cell)
            if value is None:
                raise self._sheet.fault(
                    f"--where: {self._sheet.at(row, name)}: found {shown(cell)}, which cannot be "
                    "compared with a number; texts stand in quotation marks"
                )
            found[row] = compare(value, wanted)
        return found

    def _columns(
        self, left: ast.Name, compare: Callable[[Any, Any], Any], right: ast.Name
    ) -> Mask:
        pairs = [self._sheet.column(self._name(one), "--where") for one in (left, right)]
        found = np.zeros(len(pairs[0]), dtype=bool)
        for row, (first, second) in enumerate(zip(*pairs, strict=True)):
            if is_absent(first) or is_absent(second):
                continue
            numbers = as_number(first), as_number(second)
            found[row] = compare(str(first), str(second)) if None in numbers else compare(*numbers)
        return found

    def _name(self, node: ast.Name) -> str:
        place = node.id.removeprefix(_PLACEHOLDER)
        return self._quoted[int(place)] if place != node.id else node.id

    def _constant(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.Tuple(elts=parts) | ast.List(elts=parts) if parts:
                return tuple(self._constant(part) for part in parts)
        raise self._fault(node)

    def _fault(self, node: ast.AST) -> ValueError:
        part = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        for place, name in enumerate(self._quoted):
            part = part.replace(f"{_PLACEHOLDER}{place}", f"`{name}`")
        return ValueError(f"--where: found {shown(part)} in {shown(self._condition)}, {_EXPECTED}")
