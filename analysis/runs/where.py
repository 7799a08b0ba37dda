"""Conditions on recordings, as `batch_size >= 1024 and scaling == 'sqrt'`; nothing is evaluated.

    condition   = condition and condition | condition or condition | not condition | (condition)
                | diverged | value < value (also <=, >, >=, ==, !=, chained) | value in (value, …)
                | 'part' in name
    value       = a name below | a number | a text in quotes | None

The text is read by Python's own parser and walked node by node: calls, attributes, indices and
arithmetic are no part of the grammar, so that a condition cannot do anything but compare. What a
recording lacks equals None alone, and is in no order to anything.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ultraslow.analysis.text import printable
from ultraslow.diffusion.recording import FIELDS, SCALARS, DatasetLike, nearest

from .arms import place_of
from .readings import constant_rate, label, measured_until

Value = str | int | float | bool | None
_LONGEST = 1000  # characters of a condition
_SHOWN = 60  # characters of a part of it that a message repeats


class ConditionError(ValueError):
    """A condition that cannot be read, or that no recording meets."""


def _last(run: DatasetLike) -> int:
    return int(run.variables["iteration"].values[-1])


def _rate(run: DatasetLike) -> float:
    return float(f"{constant_rate(run).rate:.4g}")


# What can be asked of a recording beside its labels, and how it is read off.
_READ: dict[str, tuple[str, Callable[[DatasetLike], Value]]] = {
    "learning_rate": ("number", _rate),
    "iterations": ("number", _last),
    "records": ("number", lambda run: int(run.sizes["iteration"])),
    "weights": ("number", lambda run: int(run.variables["tensor_size"].values.sum()) or None),
    "ladder": ("text", lambda run: getattr(place_of(run), "ladder", None)),
    "rung": ("number", lambda run: getattr(place_of(run), "number", None)),
    "rung_name": ("text", lambda run: getattr(place_of(run), "name", None)),
    "state": ("text", lambda run: str(run.attrs.get("state", "")).partition(" ")[0]),
    "path": ("text", lambda run: str(run.attrs.get("path", ""))),
    "diverged": ("truth", lambda run: measured_until(run) < _last(run)),
}
_KINDS = {name: "text" if FIELDS[name].dtype == "str" else "number" for name in SCALARS} | {
    name: kind for name, (kind, _) in _READ.items()
}
NAMES = tuple(_KINDS)


def value_of(run: DatasetLike, name: str) -> Value:
    """What a condition compares: None where the recording does not hold it.

    Arguments:
        run: a recording.
        name: one of `NAMES`.
    """
    found = _READ[name][1](run) if name in _READ else label(run, name, None)
    if name == "batch_size" and found == 0:  # nobody knows it
        return None
    if isinstance(found, float) and math.isnan(found):
        return None
    return found if isinstance(found, str | int | float | None) else str(found)


@dataclass(frozen=True)
class Condition:
    """A condition that was understood.

    Attributes:
        text: as it was typed.
        names: that it is about.
        root: its tree.
    """

    text: str
    names: tuple[str, ...]
    root: ast.expr

    def met_by(self, values: Mapping[str, Value]) -> bool:
        """Whether it holds of a recording with these values.

        >>> condition("seed in (0, 1) and not scaling == 'sqrt'").met_by(
        ...     {"seed": 1, "scaling": "linear"}
        ... )
        True
        """
        return bool(_truth(self.root, values))

    def chosen(self, runs: Mapping[str, DatasetLike]) -> list[str]:
        """The nodes of the recordings of which it holds.

        Raises:
            ConditionError: where it holds of none; it tells what values there are.
        """
        values = {
            node: {name: value_of(run, name) for name in self.names} for node, run in runs.items()
        }
        found = [node for node, own in values.items() if self.met_by(own)]
        if runs and not found:
            listed = [
                f"{name} is {_listed({own[name] for own in values.values()})}"
                for name in self.names
            ]
            raise ConditionError(
                f"where: none of {len(runs)} recordings meets {printable(self.text, 200)}"
                f"{'; there ' * bool(listed)}{', '.join(listed)}"
            )
        return found


def _listed(values: set[Value]) -> str:
    """The values of recordings in a row, the first of them where there are many."""
    known = sorted(values, key=lambda one: (one is None, isinstance(one, str), one))
    told = ["absent" if one is None else printable(repr(one), _SHOWN) for one in known]
    return ", ".join([*told[:8], *["…"] * (len(told) > 8)])


def condition(text: str) -> Condition:
    """The condition that a text is.

    Arguments:
        text: as `batch_size >= 1024 and scaling == 'sqrt'`.

    Raises:
        ConditionError: where it is none; a misspelled name gets its nearest.
    """
    if len(text) > _LONGEST:
        raise ConditionError(f"where: found {len(text)} characters, expected at most {_LONGEST}")
    try:
        root = ast.parse(text.strip(), mode="eval").body
        names: dict[str, None] = {}
        _check_truth(root, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ConditionError):
            raise
        raise ConditionError(f"where: found {_quoted(text)}{_hint(text)}") from error
    return Condition(text.strip(), tuple(names), root)


def _hint(text: str) -> str:
    """What was probably meant where a text is no expression."""
    for wrong, right in (("&&", "and"), ("||", "or"), ("!", "not"), ("=", "==")):
        if wrong in text.replace("==", "").replace("!=", "").replace(">=", "").replace("<=", ""):
            return f", expected {right!r} in place of {wrong!r}"
    return ", expected a condition as batch_size >= 1024 and scaling == 'sqrt'"


def _quoted(text: str) -> str:
    return printable(repr(text), _SHOWN)


_ALLOWED = (
    "expected names, numbers and quoted texts compared by <, <=, ==, !=, >=, >, in, with and, or, "
    "not and brackets"
)
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.eq,
    ast.IsNot: operator.ne,
}


def _check_truth(node: ast.expr, names: dict[str, None]) -> None:
    """Refuse what does not hold or fail, and note the names in it."""
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                _check_truth(part, names)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            _check_truth(part, names)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            for one, op, other in zip([left, *rest], ops, rest, strict=False):
                _check_pair(one, op, other, names)
        case ast.Name() if _kind(node, names) == "truth":
            pass
        case ast.Name(id=name):
            raise ConditionError(f"where: found {name} alone, expected {name} == …")
        case _:
            raise ConditionError(f"where: found {_quoted(ast.unparse(node))}, {_ALLOWED}")


def _check_pair(left: ast.expr, op: ast.cmpop, right: ast.expr, names: dict[str, None]) -> None:
    """Refuse to compare texts with numbers, which would be false of all recordings."""
    own = _kind(left, names)
    if isinstance(op, ast.In | ast.NotIn):
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            others = [_kind(one, names) for one in right.elts]
        elif own == "text" and _kind(right, names) == "text":
            others = []
        else:
            found = printable(ast.unparse(right), _SHOWN)
            raise ConditionError(
                f"where: found in {found}, expected values in brackets, as seed in (0, 1)"
            )
    else:
        others = [_kind(right, names)]
    for kind in others:
        if own != kind and "none" not in (own, kind):
            told = f"{ast.unparse(left)} and {ast.unparse(right)}"
            raise ConditionError(
                f"where: found {printable(told, _SHOWN)}, a {own} and a {kind}: one is never the "
                "other; texts stand in quotes, numbers do not"
            )


def _kind(node: ast.expr, names: dict[str, None]) -> str:
    """What a value is: a text, a number, a truth or None; the name it has is noted."""
    match node:
        case ast.Name(id=name) if name in _KINDS:
            names[name] = None
            return _KINDS[name]
        case ast.Name(id=name):
            said = nearest(name, NAMES) or f"; there are: {', '.join(NAMES)}"
            raise ConditionError(f"where: no name {printable(name, _SHOWN)}{said}")
        case ast.Constant(value=None):
            return "none"
        case ast.Constant(value=bool()):
            return "truth"
        case ast.Constant(value=int() | float()):
            return "number"
        case ast.Constant(value=str()):
            return "text"
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
            return "number"
        case _:
            raise ConditionError(f"where: found {_quoted(ast.unparse(node))}, {_ALLOWED}")


def _truth(node: ast.expr, values: Mapping[str, Value]) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_truth(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_truth(part, values) for part in parts)
        case ast.UnaryOp(operand=part):
            return not _truth(part, values)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            pairs = zip([left, *rest], ops, rest, strict=False)
            return all(_holds(one, op, other, values) for one, op, other in pairs)
        case ast.Name(id=name):
            return bool(values[name])
    raise AssertionError(ast.dump(node))


def _holds(left: ast.expr, op: ast.cmpop, right: ast.expr, values: Mapping[str, Value]) -> bool:
    own = _worth(left, values)
    if isinstance(op, ast.In | ast.NotIn):
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            found = own in [_worth(one, values) for one in right.elts]
        else:
            text = _worth(right, values)
            found = own is not None and text is not None and str(own) in str(text)
        return found == isinstance(op, ast.In)
    other = _worth(right, values)
    if not isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot) and None in (own, other):
        return False
    return _COMPARE[type(op)](own, other)


def _worth(node: ast.expr, values: Mapping[str, Value]) -> Value:
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=op, operand=ast.Constant(value=int() | float() as size)):
            return -size if isinstance(op, ast.USub) else size
        case ast.Constant(value=None | int() | float() | str() as told):
            return told
    raise AssertionError(ast.dump(node))
