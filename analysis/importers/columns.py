"""Which column is what: as a person said, or by the names that programs give.

Names are compared in small letters, with one underscore for whatever is no letter or digit. Of
names on one line of the table any may be meant, so that two columns of them are ambiguous; of
lines the first that a file has counts.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ultraslow.diffusion.recording import FIELDS, SCALARS

from .sheet import Cell, Sheet, as_number, is_absent, shown

Names = tuple[tuple[str, ...], ...]

# What a column may be, and what it is called by programs.
KNOWN: Mapping[str, Names] = {
    "iteration": (
        ("iteration", "iterations"),
        ("global_step", "trainer_global_step", "train_global_step"),
        ("update", "updates", "num_updates", "optimizer_step", "optimizer_steps"),
        ("step", "steps", "iter", "iters", "train_step", "training_step"),
        ("it0", "it", "t"),
        ("_step",),
    ),
    "distance": (
        (
            "distance",
            "weight_distance",
            "weights_distance",
            "parameter_distance",
            "distance_to_init",
            "distance_from_init",
            "distance_to_initialization",
            "distance_from_initialization",
            "dist",
            "dist_to_init",
            "dist_from_init",
            "init_distance",
            "l2_to_init",
            "l2_from_init",
            "l2_distance",
            "l2_dist",
            "euclidean_distance",
            "euclidian_distance",
            "w_dist",
        ),
        ("distance_sq", "squared_distance", "distance_squared", "l2_to_init_sq"),
    ),
    "norm": (
        (
            "norm",
            "weight_norm",
            "weights_norm",
            "w_norm",
            "param_norm",
            "params_norm",
            "parameter_norm",
            "l2_norm",
            "wn",
            "wn_total",
            "wn_hidden",
            "wn_embed",
        ),
    ),
    "cosine": (
        (
            "cosine",
            "cos",
            "cos_sim",
            "cosine_similarity",
            "cos_init",
            "cos_to_init",
            "cosine_init",
            "cosine_to_init",
        ),
    ),
    "learning_rate": (
        ("learning_rate", "lr"),
        ("train_lr", "train_learning_rate", "optimizer_lr"),
        (r"lr_(sgd|adam|adamw|rmsprop|lion|muon|lamb|lars|adafactor|adagrad)(_pg1)?",),
    ),
    "loss": (
        ("loss",),
        ("train_loss", "training_loss", "loss_train", "train_train_loss"),
        ("train_loss_step", "loss_step", "training_loss_step"),
    ),
    "batch_size": (("batch_size",), ("global_batch_size", "total_batch_size")),
    "samples": (("samples", "samples_seen", "examples_seen", "consumed_samples"),),
    "epoch": (("epoch", "epochs"), ("train_epoch",)),
    "lagged": (("it1", "since"),),
    "by": (("run", "run_name", "run_id"),),
    "weights": (("weights", "num_parameters", "num_params", "n_params"),),
}
HELD_OUT: Mapping[str, Names] = {
    "accuracy": (
        ("held_out_accuracy",),
        ("val_acc", "val_accuracy", "valid_acc", "valid_accuracy", "validation_accuracy"),
        ("eval_acc", "eval_accuracy"),
        ("test_acc", "test_accuracy"),
    ),
    "loss": (
        ("held_out_loss",),
        ("val_loss", "valid_loss", "validation_loss"),
        ("eval_loss",),
        ("test_loss",),
    ),
}
_SIZES = 3  # columns called by numbers, as batch sizes are
BATCH_SIZES = {name for line in KNOWN["batch_size"] for name in line}
SQUARED = {"distance_sq", "squared_distance", "distance_squared", "l2_to_init_sq"}
# Without these a run has no motion or no time: what is meant by them has to be sure.
_SURE = ("iteration", "distance")
# Totals of a recording as columns, by which a file that this program wrote is known.
_OWN = {"iteration", "distance_sq", "weight_sq", "overlap"}
_RATES = ("learning_rate", "learning_rate_sum")  # what a rate that is said replaces of them
_DISTANCE = re.compile(r"(?<![a-z])dist(ance)?(?![a-z])")
_GRADIENT = re.compile(r"(?<![a-z])grad(s|ients?)?(?![a-z])|(?<![a-z])variance(?![a-z])")
_SCOPE = "ultraslow/"  # of mirrors that share a run with the logs of the training
_SCOPES = re.compile(r"^(ultraslow|scalars?)_(?=.)")


@dataclass(frozen=True)
class ColumnMap:
    """What each column of a file is taken for.

    Attributes:
        of: from role, one of `KNOWN`, to the name of the column.
        held_out: from quantity, `accuracy` or `loss`, to the name of the column.
        copied: columns that are fields of a recording, by the name of the field.
        labels: columns that say of the whole run what their name says.
        said: roles that a person named the column of.
        passed: from role or label to columns that would be taken for it, had a person not said it.
        notes: what could have been taken otherwise, in sentences.
    """

    of: Mapping[str, str] = field(default_factory=dict)
    held_out: Mapping[str, str] = field(default_factory=dict)
    copied: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    passed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def used(self) -> set[str]:
        """All columns that something is taken from."""
        return {*self.of.values(), *self.held_out.values(), *self.copied, *self.labels}

    @property
    def motion(self) -> tuple[str, ...]:
        """The columns that tell where the weights are."""
        roles = [self.of[role] for role in ("distance", "norm", "cosine") if role in self.of]
        return (*roles, *(name for name in self.copied if name in _OWN and name != "iteration"))


def plain_name(name: str) -> str:
    """A name in small letters with underscores.

    >>> [plain_name(one) for one in ("train/Loss", "lr-AdamW", "_step", "ultraslow/distance")]
    ['train_loss', 'lr_adamw', '_step', 'distance']
    """
    lowered = re.sub(r"[^0-9a-z]+", "_", name.strip().lower())
    return _SCOPES.sub("", lowered.rstrip("_") or lowered)


def mapped(
    sheet: Sheet, said: Mapping[str, str], settled: Collection[str] = frozenset()
) -> ColumnMap:
    """What the columns of a file are: as said, the others by their names.

    Arguments:
        sheet: the file.
        said: from role to the column that a person named.
        settled: roles and labels that no column is taken for, as a person said their value.

    Raises:
        RecordError: when a named column is missing, or iterations and distances are ambiguous or
            not found.
    """
    for role, name in said.items():
        sheet.column(name, option_of(role))
    if set(sheet.columns) >= _OWN and not set(said) & {"distance", "norm", "cosine"}:
        return _own(sheet, said, settled)
    taken = set(said.values())
    of, notes = dict(said), list[str]()
    passed = _passed_labels(sheet, settled)
    for role, names in KNOWN.items():
        if role in said or _is_answered(role, of):
            continue
        free = [name for name in sheet.columns if name not in taken and _may_be(sheet, name)]
        found, others = _candidates(names, free)
        if role in settled:
            passed[role] = [*found, *others]
        elif len(found) > 1:
            notes.append(_ambiguous(sheet, role, found, of))
        elif found:
            of[role] = found[0]
            taken.add(found[0])
            if others:
                notes.append(f"{role}: {shown(found[0])} is taken, and not {_listed(others)}")
            if role == "learning_rate":
                notes += _other_groups(sheet, found[0])
    held_out = _held_out(sheet, taken, notes)
    beside = {"run", "batch_size", *settled}
    labels = tuple(name for name in sheet.columns if name in SCALARS and name not in beside)
    _check_enough(sheet, of, held_out)
    _check_distances(sheet, of, said)
    return ColumnMap(of, held_out, (), labels, tuple(said), passed, tuple(notes))


def _passed_labels(sheet: Sheet, settled: Collection[str]) -> dict[str, Sequence[str]]:
    """Columns of labels whose value was said."""
    own = set(settled) - set(KNOWN)
    return {name: [name] for name in sheet.columns if name in SCALARS and name in own - {"run"}}


def _check_enough(sheet: Sheet, of: Mapping[str, str], held_out: Mapping[str, str]) -> None:
    """Refuse a file without iterations, or without anything that was measured at them."""
    there = _listed(list(sheet.columns))
    if "iteration" not in of:
        sizes = sum(name.isdigit() for name in sheet.columns) >= _SIZES
        hint = "; `ultraslow batch` reads tables of steps to a target" if sizes else ""
        raise sheet.lacks(
            f"found no column of iterations among {there}; --iteration names it{hint}"
        )
    if not {"distance", "norm", "loss", "learning_rate"} & set(of) and not held_out:
        told = f"found no distance, norm, loss, learning rate or held-out score among {there}"
        gradients = [name for name in sheet.columns if _GRADIENT.search(plain_name(name))]
        if gradients:
            raise sheet.lacks(
                f"holds no curve of a run, but numbers on gradients ({_listed(gradients)}): "
                f"{told}; import the log of the same run that has one of these, or name its "
                "column with --distance, --norm and --cosine, or --loss"
            )
        raise sheet.lacks(f"{told}; --distance, --norm, --cosine and --loss name columns")


def _check_distances(sheet: Sheet, of: Mapping[str, str], said: Mapping[str, str]) -> None:
    """Refuse a file with a distance of another kind alone, unless the loss is asked for."""
    if {"distance", "cosine"} & set(of) or "loss" in said:
        return
    others = [name for name in sheet.columns if _DISTANCE.search(plain_name(name))]
    if others:
        raise sheet.fault(
            f"found {_listed(others)}, which is not known to be the distance from the initial "
            "weights; --distance names it if it is that one, and --loss the loss if that is all "
            "that is wanted"
        )


def option_of(role: str) -> str:
    """The option that names the column of a role.

    >>> option_of("learning_rate")
    '--learning-rate'
    """
    return f"--{role.replace('_', '-')}"


def _own(sheet: Sheet, said: Mapping[str, str], settled: Collection[str]) -> ColumnMap:
    """The columns of a file that holds the totals of recordings, by the names of their fields."""
    fields = [
        name
        for name in sheet.columns
        if name in FIELDS and "iteration" in FIELDS[name].dims and name not in said.values()
    ]
    passed = _passed_labels(sheet, settled)
    of = {"iteration": "iteration", **{role: name for role, name in said.items()}}
    for name, role in (("run", "by"), ("weights", "weights"), ("batch_size", "batch_size")):
        if name in sheet.columns and role in settled:
            passed[role] = [name]
        elif name in sheet.columns and role not in of:
            of[role] = name
    for role, names in (("learning_rate", _RATES), ("loss", ("loss",))):
        if role in said or role in settled:
            passed[role] = [name for name in fields if name in names]
    held_out = {
        quantity: f"held_out_{quantity}"
        for quantity in HELD_OUT
        if f"held_out_{quantity}" in sheet.columns
    }
    others = {*of.values(), *(name for names in passed.values() for name in names)}
    labels = tuple(name for name in sheet.columns if name in SCALARS and name not in others)
    copied = tuple(name for name in fields if name not in others)
    return ColumnMap(of, held_out, copied, labels, tuple(said), passed)


def _may_be(sheet: Sheet, name: str) -> bool:
    """Whether a column has anything in it."""
    return any(not is_absent(cell) for cell in sheet.columns[name])


def _candidates(names: Names, columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Columns of the first line of names that has any, and those of later lines."""
    matches = [
        [
            column
            for column in columns
            if any(re.fullmatch(one, plain_name(column)) for one in line)
        ]
        for line in names
    ]
    kept = [found for found in matches if found]
    return (kept[0], [one for found in kept[1:] for one in found]) if kept else ([], [])


def _is_answered(role: str, of: Mapping[str, str]) -> bool:
    """Whether a role is of no use beside those that are taken."""
    if role == "distance":
        return "norm" in of or "cosine" in of  # it is what a person wants them for
    return (role == "cosine" and "distance" in of) or (role == "lagged" and "distance" not in of)


def _ambiguous(sheet: Sheet, role: str, found: Sequence[str], of: Mapping[str, str]) -> str:
    """That a role is left open; an error for what nothing can be said without."""
    text = f"{_listed(found)} may each be the {role.replace('_', ' ')}"
    without = role in ("norm", "cosine") and "distance" not in of
    partner = {"norm": "cosine", "cosine": "norm"}.get(role, "")
    if role in _SURE or (
        without and (partner in of or _candidates(KNOWN[partner], list(sheet.columns))[0])
    ):
        raise sheet.fault(f"{text}; {option_of(role)} names one")
    return f"{text}, so none is taken; {option_of(role)} names one"


def _other_groups(sheet: Sheet, name: str) -> list[str]:
    """That the optimizer's other groups of weights have other rates, as Lightning logs them."""
    group = re.fullmatch(r"(.*_pg)1", plain_name(name))
    if group is None:
        return []
    beside = [
        other
        for other in sheet.columns
        if other != name and re.fullmatch(re.escape(group[1]) + r"\d+", plain_name(other))
    ]
    rates = [as_number(cell) for cell in sheet.columns[name]]
    apart = [one for one in beside if [as_number(cell) for cell in sheet.columns[one]] != rates]
    if not apart:
        return []
    return [
        f"learning rate: {shown(name)}, of the optimizer's first group of weights, is taken for "
        f"all, and not {_listed(apart)}, which differ; --learning-rate names another"
    ]


def _held_out(sheet: Sheet, taken: set[str], notes: list[str]) -> dict[str, str]:
    found_of = {}
    for quantity, names in HELD_OUT.items():
        free = [name for name in sheet.columns if name not in taken and _may_be(sheet, name)]
        found, others = _candidates(names, free)
        if len(found) > 1:
            notes.append(f"{_listed(found)} may each be the held-out {quantity}; none is taken")
        elif found:
            found_of[quantity] = found[0]
            taken.add(found[0])
            if others:
                notes.append(
                    f"held-out {quantity}: {shown(found[0])} is taken, and not {_listed(others)}"
                )
    return found_of


def _listed(names: Sequence[str], most: int = 12) -> str:
    listed = ", ".join(map(shown, names[:most]))
    return listed + (", …" if len(names) > most else "")


def unscoped(sheet: Sheet) -> Sheet:
    """A mirror of a recording whose columns are called `ultraslow/…`, without that; others as is.

    Arguments:
        sheet: the file.
    """
    own = {
        name.removeprefix(_SCOPE): cells
        for name, cells in sheet.columns.items()
        if name.startswith(_SCOPE)
    }
    return replace(sheet, columns=own) if set(own) >= _OWN else sheet


def long_form(sheet: Sheet) -> Sheet:
    """A chart that Weights & Biases exported, with a column of runs; other sheets as they are.

    Its columns are called `RUN - METRIC`, beside each the lowest and highest value of the points
    that it was thinned out from, `RUN - METRIC__MIN` and `__MAX`; those are left out.
    """
    step, *others = sheet.columns
    wide = [name for name in others if " - " in name and not name.endswith(("__MIN", "__MAX"))]
    bounds = [name for name in others if name.endswith(("__MIN", "__MAX"))]
    if not wide or plain_name(step) not in ("step", "global_step", "trainer_global_step", "epoch"):
        return sheet
    if len(wide) + len(bounds) < len(others):
        return sheet
    runs: dict[str, dict[str, str]] = {}
    for name in wide:
        run, metric = name.rsplit(" - ", 1)
        runs.setdefault(run, {})[metric] = name
    metrics = list(dict.fromkeys(metric for own in runs.values() for metric in own))
    columns: dict[str, list[Cell]] = {step: [], "run": [], **{metric: [] for metric in metrics}}
    lines: list[int] = []
    for run, own in runs.items():
        cells = {metric: sheet.columns[name] for metric, name in own.items()}
        for row, line in enumerate(sheet.lines):
            here = {metric: values[row] for metric, values in cells.items()}
            if all(is_absent(cell) for cell in here.values()):
                continue
            columns[step].append(sheet.columns[step][row])
            columns["run"].append(run)
            for metric in metrics:
                columns[metric].append(here.get(metric))
            lines.append(line)
    if not lines:
        raise sheet.fault("the runs in it have no values")
    thinned = any(
        not is_absent(low) and low != value
        for name in wide
        if f"{name}__MIN" in sheet.columns
        for low, value in zip(sheet.columns[f"{name}__MIN"], sheet.columns[name], strict=True)
    )
    said = ("its points are means of several: the chart was smoothed or thinned out",)
    return replace(
        sheet,
        columns=columns,
        lines=lines,
        kind="a chart that Weights & Biases exported",
        notes=(*sheet.notes, *(said if thinned else ())),
    )
