"""What recordings lack, why, and how they come to hold it, and what happened to their runs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ultraslow.analysis.runs import measured_until
from ultraslow.analysis.text import first_of, plural, printable
from ultraslow.diffusion.predictions import lacking
from ultraslow.diffusion.recording import (
    ASKED_WITH,
    EVENTS,
    EVENTS_SCHEMA,
    LABELS,
    DatasetLike,
    events_of,
    events_version,
)

# Reasons that a recording gives itself, by attribute, and the fields they are about.
_REASONS = {
    "noise_absent": ("gradient_sq", "noise_trace"),
    "line_loss_absent": ("line_loss",),
}
_REASON_LENGTH = 400
_ORIGIN_LENGTH = 1000


def absences(runs: Mapping[str, DatasetLike]) -> tuple[str, ...]:
    """One sentence for each field that predictions need and some recording lacks.

    Arguments:
        runs: recordings by node name.

    Returns:
        For how many recordings, which predictions they take no part in, and why, as far as a
        recording says; otherwise how it is asked for. Then reasons that are about a part of a run.
    """
    keys: dict[str, dict[str, None]] = {}
    nodes: dict[str, dict[str, None]] = {}
    for node, run in runs.items():
        held = set(map(str, run.variables))
        if not int(run.variables["batch_size"].values):  # it is there, and nobody knows it
            held -= {"batch_size"}
        for key, absent in lacking(held).items():
            for name in absent:
                keys.setdefault(name, {})[key] = None
                nodes.setdefault(name, {})[node] = None
    lines = [
        f"no {name} in {_which(nodes[name], runs)} (for {', '.join(keys[name])}): {how}"
        for name in ASKED_WITH
        if name in keys
        for how in [_why(name, [runs[node] for node in nodes[name]])]
    ]
    return (*lines, *in_part(runs))


def happened(runs: Mapping[str, DatasetLike]) -> tuple[str, ...]:
    """What happened to runs and to their recordings, a sentence each.

    Arguments:
        runs: recordings by node name.
    """
    return (*_events(runs), *_holes(runs), *lost_distances(runs), *_origins(runs))


def _events(runs: Mapping[str, DatasetLike]) -> Iterator[str]:
    for run in runs.values():
        if (found := events_version(run.attrs)) > EVENTS_SCHEMA:
            yield (
                f"{_name(run)}: found events of version {found}, which a later version of this "
                f"program wrote, expected {EVENTS_SCHEMA} or less; they are not shown"
            )
        for iteration, text in events_of(run.attrs):
            yield f"{_name(run)}, iteration {iteration}: {printable(text, _REASON_LENGTH)}"


def _holes(runs: Mapping[str, DatasetLike]) -> Iterator[str]:
    """Stretches whose records were lost, as a repair or a resumed run has found."""
    for run in runs.values():
        try:
            listed = json.loads(str(run.attrs.get("gaps", "[]")))
        except (ValueError, RecursionError):
            continue
        for hole in listed[:EVENTS] if isinstance(listed, list) else []:
            match hole:
                case [int(before), int(after)] if before < 0:
                    where = f"before iteration {after}"
                case [int(before), int(after)]:
                    where = f"after iteration {before} and before {after}"
                case [int(before), None]:
                    where = f"after iteration {before}"
                case _:
                    continue
            yield f"{_name(run)}: no records {printable(where)}, they were lost"


def _origins(runs: Mapping[str, DatasetLike]) -> Iterator[str]:
    """Of runs that another program logged: the file, its columns, and what is taken for granted.

    What is the same for several of them is said once.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    lost: dict[str, list[str]] = {}
    for run in runs.values():
        origin = origin_of(run)
        if not origin:
            continue
        columns = origin.get("columns")
        taken = columns.items() if isinstance(columns, dict) else ()
        told = ", ".join(f"{role} from {name}" for role, name in taken)
        listed = [
            f"{how} there: {one}"
            for key, how in (("not_used", "not used"), ("assumptions", "assumed"))
            for one in (origin[key] if isinstance(origin.get(key), list) else [])
        ]
        left_out = origin.get("left_out")
        for reason, count in left_out.items() if isinstance(left_out, dict) else ():
            lost.setdefault(f"{plural(count, 'row')} left out {reason}", []).append(_name(run))
        alike.setdefault((told, *listed), []).append(
            f"{_name(run)} from {origin.get('file')} ({origin.get('used')} of "
            f"{origin.get('rows')} rows, sha256 {str(origin.get('sha256'))[:12]})"
        )
    for (told, *others), files in alike.items():
        yield printable(f"imported: {first_of(files)}: {told}", _ORIGIN_LENGTH)
        yield from (printable(one, _ORIGIN_LENGTH) for one in others)
    yield from (
        printable(f"{first_of(names)}: {one}", _ORIGIN_LENGTH) for one, names in lost.items()
    )


def origin_of(run: DatasetLike) -> dict[str, Any]:
    """Where an imported recording comes from, as its attribute has it; empty for others."""
    try:
        found = json.loads(str(run.attrs.get("origin", "{}")))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def lost_distances(runs: Mapping[str, DatasetLike]) -> tuple[str, ...]:
    """Runs whose distance ceases to be finite, and where, a sentence each.

    Arguments:
        runs: recordings by node name.
    """
    ends = {name: int(run.variables["iteration"].values[-1]) for name, run in runs.items()}
    return tuple(
        f"{_name(run)}: no finite distance after iteration {measured_until(run):.0f} of {end}"
        for (run, end) in ((runs[name], end) for name, end in ends.items())
        if measured_until(run) < end
    )


def _which(nodes: Mapping[str, None], runs: Mapping[str, DatasetLike]) -> str:
    if len(nodes) == len(runs):
        return "this recording" if len(runs) == 1 else f"all {len(runs)}"
    return f"{plural(len(nodes), 'recording')}, {first_of([_name(runs[node]) for node in nodes])}"


def _why(name: str, runs: list[DatasetLike]) -> str:
    """Why recordings lack a field, where all say the same; otherwise how it is asked for."""
    if name == "batch_size":  # `us.attach` always has it
        return "ultraslow import and ultraslow checkpoints take it as --batch-size"
    said = {_reason(run, name) for run in runs}
    if len(said) == 1 and (only := said.pop()):
        return only
    if name in LABELS:
        return f"ultraslow label RUN {name}=…"
    return f"us.attach records it with {ASKED_WITH[name]}"


def _reason(run: DatasetLike, name: str) -> str:
    found = [attribute for attribute, fields in _REASONS.items() if name in fields]
    told = [str(run.attrs[attribute]) for attribute in found if attribute in run.attrs]
    if not told and name not in LABELS and origin_of(run):
        return "what was imported does not hold it"
    return printable(told[0], _REASON_LENGTH) if told else ""


def in_part(runs: Mapping[str, DatasetLike]) -> list[str]:
    """Reasons of recordings that hold the field nevertheless: of a part of the run.

    Arguments:
        runs: recordings by node name.
    """
    lines = []
    for attribute, fields in _REASONS.items():
        for run in runs.values():
            if attribute in run.attrs and fields[-1] in run.variables:
                reason = printable(str(run.attrs[attribute]), _REASON_LENGTH)
                lines.append(f"{_name(run)}: {fields[-1]} is missing {reason}")
    for run in runs.values():
        if count := _left_out(run):
            last = int(run.variables["iteration"].values[-1])
            lines.append(
                f"{_name(run)}: the noise leaves out {count} of {last} updates, as what their "
                "units hold is not known; Recorder.unit declares it"
            )
    return lines


def _left_out(run: DatasetLike) -> int:
    """Updates that the noise leaves out."""
    found = run.variables.get("noise_left_out")
    return 0 if found is None else int(found.values.sum())


def _name(run: DatasetLike) -> str:
    return printable(str(run.variables["run"].values))
