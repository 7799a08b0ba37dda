"""What a file says and a person said otherwise: it is not used, and told with what it says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ultraslow.analysis.text import first_of, printable

from .columns import ColumnMap
from .rates import Rate, RateSchedule
from .sheet import Cell, Rows, Sheet, as_number, is_absent

# Settings that name a learning rate, which may have changed since.
BASE_RATES = ("lr", "learning_rate", "base_learning_rate")

_SHOWN = 40  # characters of a value
_LISTED = 3  # values that are no numbers


@dataclass(frozen=True)
class Said:
    """What a person says of runs, beside which columns are what.

    Attributes:
        rate: the learning rate; None where a column has it, or nobody knows.
        batch_size: samples in an update; 0 where nobody knows.
        weights: how many there are; 0 where nobody knows.
        initial_norm: norm of the initial weights; NaN where the log has it, or nobody knows.
        labels: further labels by name.
        options: how it was said, as `--batch-size 64`, by role of a column or name of a label.
    """

    rate: Rate | None = None
    batch_size: int = 0
    weights: int = 0
    initial_norm: float = float("nan")
    labels: Mapping[str, str | int | float] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> set[str]:
        """Roles and labels whose value was said, so that no column is asked for it."""
        values = {"learning_rate": self.rate, "batch_size": self.batch_size}
        known = {role for role, value in {**values, "weights": self.weights}.items() if value}
        return known | set(self.labels) | ({"by"} if "run" in self.labels else set())


def other_settings(sheet: Sheet, said: Said) -> dict[str, str]:
    """Settings of a file that differ from what was said of the same: by key, how that was said.

    A learning rate is compared with a constant one alone, as a schedule may begin with it.
    """
    told = {name: (value, said.options[name]) for name, value in said.labels.items()}
    if said.batch_size:
        told["batch_size"] = (said.batch_size, said.options["batch_size"])
    if isinstance(said.rate, RateSchedule) and said.rate.constant:
        rate = (said.rate.text, said.options["learning_rate"])
        told = {**dict.fromkeys(BASE_RATES, rate), **told}
    if "base_learning_rate" in told:
        told["lr"] = told["base_learning_rate"]
    return {
        key: told[key][1]
        for key, value in sheet.settings.items()
        if key in told and not is_absent(value) and not _same(value, told[key][0])
    }


def overruled(sheet: Sheet, rows: Rows, columns: ColumnMap, said: Said) -> tuple[str, ...]:
    """Columns and settings that are not used as a person said otherwise, a line each.

    Arguments:
        sheet: the file.
        rows: places of the rows of a run.
        columns: which column is what.
        said: what a person says of it.
    """
    lines = [
        f"{printable(name, _SHOWN)} ({values}), as {said.options[role]} was said"
        for role, names in columns.passed.items()
        for name in names
        if (values := _values(sheet.columns[name][row] for row in rows))
    ]
    lines += [
        f"{key} ({_values([sheet.settings[key]])}) of the file's settings, as {option} was said"
        for key, option in other_settings(sheet, said).items()
    ]
    return tuple(lines)


def _values(cells: Iterable[Cell]) -> str:
    """What cells hold: the one value, the lowest and highest number, or some texts."""
    texts = {printable(str(cell).strip(), _SHOWN): cell for cell in cells if not is_absent(cell)}
    numbers = {text: as_number(cell) for text, cell in texts.items()}
    known = {text: value for text, value in numbers.items() if value is not None}
    if len(texts) < 2 or len(known) < len(texts):
        return first_of(list(texts), _LISTED)
    return f"{min(known, key=lambda one: known[one])} to {max(known, key=lambda one: known[one])}"


def _same(one: object, other: object) -> bool:
    try:
        return float(str(one)) == float(str(other))
    except ValueError:
        return str(one).strip() == str(other).strip()
