"""Results as tables: laws, noise scales, ladders, plans."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ultraslow.analysis.comparison import ArmLaws, in_words, off_ends
from ultraslow.analysis.noise import ArmScale, Breakdown, NoiseScale
from ultraslow.analysis.planning import Advice, Pilot, Plan
from ultraslow.analysis.planning.advice import PROMISED
from ultraslow.analysis.scores import Gain, Ladder
from ultraslow.analysis.text import (
    first_of,
    fixed,
    interval,
    number,
    of_batch_size,
    p_value,
    percent,
    plural,
    rounded,
    sentence,
    signed_percent,
)

from .markup import piece
from .numbers import loss_rows
from .table import NONE, Column, Table, entry

_HASH_LENGTH = 12


def origin_table(rows: Sequence[Mapping[str, Any]], ranks: Mapping[int, int]) -> Table:
    """The runs that a page is about, each with the beginning of its SHA-256.

    Arguments:
        rows: as the JSON file holds them.
        ranks: of the batch sizes, the smallest 0.
    """
    return Table(
        columns=(
            entry("run", "run", left=True),
            entry("batch size", "batch_size", lambda m: piece("key", ranks[m], number(m))),
            entry("seed", "seed"),
            entry("rate", "learning_rate", number),
            Column("scaling", lambda row: row["scaling"] or NONE, left=True),
            entry("iterations", "last_iteration"),
            entry("records", "records"),
            entry("decades", "constant_rate_decades", fixed),
            entry("state", "state", left=True),
            entry("hash", "sha256", _hash, left=True),
        ),
        rows=rows,
    )


def _hash(sha256: str) -> str:
    return piece("code", sha256[:_HASH_LENGTH])


_CROSSOVER = (
    "B = tr Σ/|G|², both averaged over the iterations named. Below B an update is mostly noise, "
    "above it mostly gradient. t*: the iteration after which drift outruns diffusion, while the "
    "gradient and its noise stay what they are."
)
_WINDOWS = (
    "From windows: with fewer than three seeds the interval is about these runs alone; by how "
    "much other seeds differ is not in it."
)
_DRIFT = (
    "Drifting: the windows follow a slow trend or slow noise, of which a run holds too little to "
    "tell; the interval may be too short."
)


def noise_table(found: Sequence[ArmScale]) -> Table:
    """The noise scale of each batch size over the runs' iterations, against the batch size."""
    columns = (
        Column("batch size M", lambda one: sized(one.batch_size, one.arm), left=True),
        Column("runs", lambda one: str(one.runs), spare=True),
        Column("iterations", lambda one: _iterations(one.scale), spare=True),
        Column("noise scale B", lambda one: number(one.scale.interval.value)),
        Column("interval", lambda one: one.scale.interval.ends(number), tied=True),
        Column("from", lambda one: _method(one.scale), left=True, spare=True),
        Column("M is", lambda one: NONE if one.place == "unknown" else one.place, left=True),
        Column("t* = B/M", lambda one: number(one.crossover.value)),
        Column("interval", lambda one: one.crossover.ends(number), tied=True),
    )
    return Table(columns=columns, rows=found, notes=_noise_notes(found))


def _noise_notes(found: Sequence[ArmScale]) -> tuple[str, ...]:
    """What B is, what its intervals do not hold, and which runs were left out."""
    left_out = [
        f"Left out at batch size {sized(one.batch_size, one.arm)}: {'; '.join(one.left_out)}."
        for one in found
        if one.left_out
    ]
    by_windows = any(one.scale.method == "windows" for one in found)
    drift = any(one.scale.correlated for one in found)
    notes = [_CROSSOVER, _WINDOWS if by_windows else "", _DRIFT if drift else "", *left_out]
    return tuple(filter(None, notes))


def _iterations(scale: NoiseScale) -> str:
    return f"{scale.first}–{scale.last}" if scale.last else NONE


def sized(size: int, arm: str) -> str:
    """A batch size with what tells its arm from others."""
    return f"{number(size)}, {arm}" if arm else number(size)


def part_tables(found: Breakdown) -> dict[str, Table]:
    """Noise scales by groups of tensors, by part of the network and by loss, where they differ."""
    by_loss = (
        entry("mean training loss", "loss", number, left=True),
        entry("noise scale B", "estimate", number),
        Column("interval", lambda row: interval(row["low"], row["high"]), tied=True),
    )
    tables = {
        "tensors": _parts("tensors", found.groups),
        "part of the network": _parts("part of the network", found.parts),
        "loss": Table(columns=by_loss, rows=loss_rows(found)),
    }
    return {name: table for name, table in tables.items() if len(table.rows) > 1}


def _parts(title: str, found: Mapping[str, NoiseScale]) -> Table:
    columns = (
        Column(title, lambda item: item[0], left=True),
        Column("noise scale B", lambda item: number(item[1].interval.value)),
        Column("interval", lambda item: item[1].interval.ends(number), tied=True),
        Column("from", lambda item: _method(item[1]), left=True),
        Column("updates", lambda item: str(item[1].updates)),
    )
    return Table(columns=columns, rows=list(found.items()))


def _method(scale: NoiseScale) -> str:
    return f"{scale.method or scale.interval.reason}{', drifting' if scale.correlated else ''}"


_UNITS = {
    "accuracy": "gains are differences of held-out accuracy",
    "loss": "gains are −ln of the ratio of held-out losses: 0.05 is a loss lower by 5 %",
}


def ladder_table(ladder: Ladder) -> Table:
    """Each rung of a ladder with its gains."""
    explained = (
        f"{_UNITS[ladder.metric]}; {percent(ladder.level)} t intervals over seeds that hold "
        "together, p after Holm"
    )
    columns = (
        Column("rung", lambda rung: str(rung.place.number), left=True),
        Column("name", lambda rung: rung.place.name, left=True),
        Column("runs", lambda rung: _runs(rung.runs, rung.failed)),
        Column("value", lambda rung: rounded(rung.mean)),
        Column("over the one before", lambda rung: _gain(rung.over_before)),
        Column("p", lambda rung: _p_value(rung.over_before), tied=True),
        Column("over the baseline", lambda rung: _gain(rung.over_baseline)),
        Column("p", lambda rung: _p_value(rung.over_baseline), tied=True),
    )
    return Table(
        title=f"ladder {ladder.name or '(without a name)'}, held-out {ladder.metric}",
        lead=(explained,),
        columns=columns,
        rows=ladder.rungs,
        notes=(*(f"note: {note}" for note in ladder.notes), whole_gain(ladder)),
    )


def _runs(count: int, failed: int) -> str:
    return f"{count} of {count + failed}" if failed else str(count)


def _gain(gain: Gain | None) -> str:
    return NONE if gain is None else str(gain.interval)


def _p_value(gain: Gain | None) -> str:
    return NONE if gain is None else p_value(gain.p_value)


def whole_gain(ladder: Ladder) -> str:
    """The gain of the last rung over the first, in a sentence."""
    gain = ladder.rungs[-1].over_baseline
    if gain is None:
        return "The whole ladder: no gain can be given, as seeds or rungs are missing."
    word = "gains" if gain.contrast.value > 0 else "loses"
    if gain.p_value > 1 - ladder.level:
        word = "neither gains nor loses for sure"
    chance = f"p = {_p_value(gain)}".replace("= <", "<")
    return f"The whole ladder {word}: {gain.interval}, {chance}."


def law_tables(found: Sequence[ArmLaws], note: str, *, level: float) -> list[Table]:
    """Which laws survive in each arm, and how far each is off, the best first.

    Arguments:
        found: the laws of each arm.
        note: which recordings do not enter; empty for none.
        level: of the intervals.
    """
    lead = (
        "a decade ahead, half a decade: forecast over actual distance, less 1, of laws fitted to "
        "each seed up to a tenth or a third of its iterations; below 0 the forecast is too short",
        "survives: not refuted, as some constants of the law (its onset, its exponent) forecast "
        "the distance from up to three origins as well as seeds differ, or, where no law does, to "
        "within the part of the distance that the column names. The true law survives in "
        f"{percent(level)} of studies or more. One whose constants the beginning does not tell "
        "survives as well, and can be far off when it is fitted to the beginning alone",
    )
    told = [arm for arm in found if arm.laws]
    tables = [
        Table(
            title=f"{arm.arm}: iterations {arm.first} to {arm.last}, "
            f"{plural(len(arm.runs), 'seed')}",
            columns=_law_columns(arm.tolerance),
            rows=arm.laws,
            notes=(sentence(in_words(arm)), *_with_gaps(arm)),
        )
        for arm in told
    ]
    return [Table(lead=lead if told else ()), *tables, Table(notes=(note,) if note else ())]


def _with_gaps(arm: ArmLaws) -> tuple[str, ...]:
    if not arm.left_out:
        return ()
    count = plural(len(arm.left_out), "run")
    return (f"{count} left out, as distances have gaps or diverge: {first_of(arm.left_out)}.",)


_SURVIVES = {True: "yes", False: "no", None: NONE}


def _law_columns(tolerance: float) -> tuple[Column, ...]:
    within = f" to within {percent(tolerance)}" if tolerance else ""
    return (
        Column("law", lambda own: own.law, left=True),
        Column(f"survives{within}", lambda own: _SURVIVES[own.survives], left=True),
        Column("a decade ahead", lambda own: signed_percent(own.decade.value)),
        Column("interval", lambda own: off_ends(own.decade) or NONE, tied=True),
        Column("half a decade", lambda own: signed_percent(own.half_decade.value), spare=True),
        Column("interval", lambda own: off_ends(own.half_decade) or NONE, tied=True),
    )


def plan_tables(found: Plan) -> list[Table]:
    """What decides, as options of seeds and lengths, when to record, and what to know of both."""
    asked, of = found.question, found.pilot
    lead = (
        *(
            (
                f"to tell t^{asked.exponent:g} from log t with {percent(asked.power)} power, "
                f"level {asked.level:g}",
            )
            if found.options
            else ()
        ),
        f"pilot: {of.source}; noise σ/D {number(of.noise_share)}, {of.noise}; "
        f"onset {number(of.onset)}; spread of p between seeds {number(of.seed_spread)}",
    )
    columns = _option_columns(found)
    options = [Table(columns=columns, rows=found.options)] if found.options else []
    records = [_record_table(found)] if found.records else []
    ahead = [] if found.advice is None else [_outlook_table(found.advice, found.pilot)]
    notes = Table(notes=tuple(map(sentence, (*_advice(found), *found.notes))))
    return [Table(lead=lead), *ahead, *options, *records, notes]


def _record_table(found: Plan) -> Table:
    best, way = found.cheapest, found.advice
    seeds, last = (best.seeds, best.last) if best else (way.seeds, way.last) if way else (0, 0)
    usual = found.records[0].error
    columns = (
        Column("records", lambda one: one.name, left=True),
        Column("count", lambda one: str(one.count)),
        Column("error of p", lambda one: number(one.error)),
        Column("relative", lambda one: fixed(one.error / usual), spare=True),
    )
    title = f"when to record each of {plural(seeds, 'run')} until iteration {number(last)}"
    return Table(title=title, columns=columns, rows=found.records)


_ROWS = 7  # numbers of seeds that are shown


def _outlook_table(way: Advice, of: Pilot) -> Table:
    """The share of studies that each design decides, with the advised one among them."""
    ahead = way.outlook
    step = max(round(len(ahead.seeds) / _ROWS), 1)
    shown = {*ahead.seeds[::step], ahead.seeds[-1], way.seeds}
    rows = [
        {"seeds": seeds, **{str(end): share for end, share in zip(ahead.lasts, row, strict=True)}}
        for seeds, row in zip(ahead.seeds, ahead.decided.tolist(), strict=True)
        if seeds in shown
    ]
    columns = (
        Column("seeds", lambda row: str(row["seeds"])),
        *(entry(f"until {number(end)}", str(end), percent) for end in ahead.lasts),
    )
    count, last = ahead.present
    there = f"{plural(count, 'seed')} until iteration {number(last)}"
    where = of_batch_size(of.batch_size)
    title = f"how many of 100 studies would decide P1 at {where}, where there are {there}"
    notes = [f"what decides it: {way.in_words(where)}"]
    notes += [f"advised is what decides in {percent(PROMISED)} or more"] if way.promised else []
    falls = (np.maximum.accumulate(ahead.decided, axis=1) - ahead.decided).max()
    notes += [_LATER_LESS] if falls > _CHANCE else []
    return Table(title=title, columns=columns, rows=rows, notes=tuple(map(sentence, notes)))


_CHANCE = 0.05  # of a share, by which designs differ for no other reason
_LATER_LESS = (
    "some longer designs decide less often: late logarithms and powers of a small exponent come "
    "to fit alike there"
)


def _option_columns(found: Plan) -> tuple[Column, ...]:
    def column(title: str, name: str, show: Callable[[Any], str] = number) -> Column:
        spare = name not in ("power", "updates")
        return Column(
            title, lambda one: show(getattr(one, name)) if one.last else NONE, spare=spare
        )

    cost = ("updates", "samples") if found.pilot.batch_size else ("updates",)
    return (
        Column("seeds", lambda one: str(one.seeds)),
        Column("iterations", lambda one: number(one.last) if one.last else "none suffices"),
        column("decades", "decades", fixed),
        column("records", "records", str),
        column("power", "power", percent),
        column("log kept", "log_supported", percent),
        column("alarms", "false_alarms", lambda share: percent(share, 1)),
        column("onset 0", "alarms_at_once", lambda share: percent(share, 1)),
        *(column(name, name) for name in cost),
    )


def _advice(found: Plan) -> list[str]:
    if not found.options:
        return []
    best = found.cheapest
    if best is None:
        return [
            "no training of up to eight decades has that power: an exponent further from 0, less "
            "noise or less spread between seeds may give it"
        ]
    text = (
        f"fewest updates across seeds: {best.seeds} seeds until iteration {number(best.last)} "
        f"({number(best.updates)} updates)"
    )
    if not found.batch_sizes:
        return [text]
    total = number(best.updates * len(found.batch_sizes))
    listed = ", ".join(map(number, found.batch_sizes))
    scale, most = found.pilot.noise_scale, found.pilot.data_size
    end = "the training set" if 0 < most < 10 * scale else "ten times it"
    sizes = (
        f"batch sizes from a tenth of the noise scale {number(scale)} to {end}, "
        f"where drift and noise change places: {listed} ({total} updates for all), "
        "and the full batch"
    )
    return [text, sizes]
