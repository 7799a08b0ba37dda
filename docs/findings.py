"""Write docs/findings.md and its pictures: what the recordings in data/ say, question by question.

    python docs/findings.py

Every number is that of a report on the recordings, made anew, or of docs/elsewhere.json.
"""

import csv
import hashlib
import json
import math
import tempfile
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean

import numpy as np
import xarray as xr

import ultraslow as us
from ultraslow.analysis.growth.grids import ONSET_SHARE
from ultraslow.analysis.growth.shape import bend
from ultraslow.analysis.growth.status import LATEST
from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.text import number, p_value, plural, real, rounded
from ultraslow.diffusion.predictions import PREDICTIONS

DOCS = Path(__file__).parent
DATA = DOCS.parent / "data"
PICTURES = DOCS / "findings"
DPI = 130
OPEN = ("undecidable", "not applicable")

HEAD = """# What the recordings say

Does the distance of the weights from where they began grow like the logarithm of time, as Hoffer,
Hubara and Soudry (2017) have it? Do batch sizes share a curve? What is left of that at the limit
of the batch size? These are the answers of the recordings in [data](../data/README.md). They
speak of these networks and these images, and of no others.

{studies}

This page is written by `docs/findings.py`, every number by `ultraslow report`. The checksum of the
recordings' checksums is `{digest}`. Intervals are at {level:.0%}, in contradictions by one of
several arms at the level at which those of all hold together; numbers after ± are half the range
over seeds. Nothing here was run on a GPU: ResNet-44 on all 50,000 images waits for one.
"""
LAW = """The distance of all weights from their first values is fitted with
d = a + b·[(t+τ)^p − 1]/p over iterations t: p = 0 is growth like log t, ½ is diffusion. Where
most seeds have the latest onset allowed, a tenth of the iterations, a later one would lower p."""
ELSEWHERE = """Beside them, what others measured: the curves of Hoffer et al.'s Fig. 2a, digitized
(how: `data/hoffer2017-fig2a/README.md`), where the distance bends against log t above or below
a straight line; and wav2vec 2.0 trained by AdamW under a cyclic rate
({source}; the files stay there), on the clock Ση. Each is one run over less than two decades, so
that the intervals are wide."""
RUNGS = """{network}, all {data_size} images a batch, {iterations} iterations, {seeds} seeds a
rung: first with a small learning rate, then with one ingredient more on each rung, which those
above keep ([recipe](../probes/runs/recipes/{recipe}.toml)). Gains are differences of held-out
accuracy; the intervals of a column hold together at {level:.0%}. The rates of the rungs "tuned
rate" and "lars" were chosen by that accuracy with one of the seeds, which flatters them a
little."""


@dataclass(frozen=True)
class Question:
    """What is asked, the predictions that answer it, and the pictures to look at.

    Attributes:
        text: the question.
        keys: of predictions.
        pictures: by name how each is drawn from recordings, with what it shows.
    """

    text: str
    keys: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...] = ()


QUESTIONS = (
    Question(
        "Does the distance grow like log t?",
        ("P1", "P9"),
        (("hero", "Distances, and what a logarithm through their beginnings would have done"),),
    ),
    Question(
        "Do batch sizes share a curve, and over which clock?",
        ("P2", "P2'"),
        (
            ("over_iterations", "Distances against iterations"),
            ("over_rates", "The same against the summed learning rate Ση"),
        ),
    ),
    Question(
        "Is it activation over barriers of a random landscape?",
        ("P5", "P6", "P7", "P8", "P4", "P10", "P1'"),
        (("landscape", "Standard deviation of loss differences against the distance"),),
    ),
    Question("What happens at the full batch?", ("H-b", "P3", "H-a")),
    Question(
        "Does better accuracy need more distance?",
        ("H-c",),
        (("generalization", "Held-out accuracy against the distance at the end"),),
    ),
)
DRAWN = {
    "hero": us.plot.hero,
    "over_iterations": us.plot.collapse,
    "over_rates": lambda runs: us.plot.collapse(runs, clock="Ση"),
    "landscape": us.plot.landscape,
    "generalization": us.plot.generalization,
}


def folders():
    """Where recordings of trained networks lie, those of the largest study first."""
    found = {path.parent for path in DATA.glob("*/*.nc")}
    return sorted(found, key=lambda folder: (-len(list(folder.glob("*.nc"))), folder.name))


def reported(folder):
    """The numbers of a report on the recordings, as in `report.json`."""
    runs = us.load(str(folder))
    with tempfile.TemporaryDirectory() as place:
        page_of_it = Path(place) / "report.html"
        us.report(runs, page_of_it)
        return json.loads(page_of_it.with_suffix(".json").read_text())


def digest(inputs):
    """One checksum of all recordings."""
    text = "\n".join(sorted(run["sha256"] for run in inputs))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def table(head, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def folded(title, text):
    """What an expert wants, behind a line."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def settings(run):
    """The settings that a run was trained with."""
    return run["attributes"]["config"]["settings"]


def network(report):
    """Network and images in words."""
    first = report["inputs"][0]
    own = settings(first)
    pixels = own.get("resize") or 32
    name = own["model"].replace("resnet", "ResNet-")
    images = f"{number(own.get('samples') or 50_000)} CIFAR-10 images of {pixels}² pixels"
    return f"{name} of {number(first['weights'])} weights on {images}"


def ranged(values):
    """Smallest to largest."""
    low, high = min(values), max(values)
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def studies(reports):
    """What was trained, a row a folder."""
    rows = [
        [
            f"[{name}](../probes/runs/recipes/{name}.toml)",
            network(report),
            str(len(report["inputs"])),
            ranged([run["batch_size"] for run in report["inputs"]]),
            ranged([run["last_iteration"] for run in report["inputs"]]),
        ]
        for name, report in reports.items()
    ]
    return table(["study", "network", "runs", "batch sizes", "iterations"], rows)


def within(estimate, low, high):
    """An estimate with its interval, from what JSON holds."""
    return Interval(real(estimate), real(low), real(high))


def overturned(found):
    """What would overturn a verdict, or decide it."""
    word = found["verdict"]
    if word == "undecidable":
        return f"Would decide it: {found['needed']}."
    if word == "not applicable":
        return "No longer run would change that."
    if word == "supported":
        return f"Would overturn it: {PREDICTIONS[found['prediction']].contradicted_by}."
    low, high = real(found["null_low"]), real(found["null_high"])
    if math.isfinite(low) and math.isfinite(high):
        return f"Would overturn it: an interval within {rounded(low)} to {rounded(high)}."
    if math.isfinite(low) or math.isfinite(high):
        side = f"above {rounded(low)}" if math.isfinite(low) else f"below {rounded(high)}"
        return f"Would overturn it: an interval {side}."
    return "Would overturn it: runs in which that is not found."


def verdict(found, name):
    """One verdict of one study as a paragraph."""
    told = [f"**{name}: {found['verdict']}.** {found['reason']} {overturned(found)}"]
    if found["verdict"] not in OPEN:
        effect = within(found["effect"], found["effect_low"], found["effect_high"])
        seeds = f"{plural(found['seeds'], 'seed')} an arm or more"
        sample = f"Batch sizes {found['batch_sizes']}, {found['runs']} runs, {seeds}."
        checked = (
            f"Effect: {effect}, {found['effect_meaning']}. {sample}\n\n{found['assumptions']}."
        )
        told.append(folded("What was checked", checked))
    return "\n\n".join(told)


def of_prediction(key, reports):
    """All that the studies say of one prediction; those that decide come first."""
    claim = PREDICTIONS[key]
    said = []
    for name, report in reports.items():
        own = [one for one in report["verdicts"] if one["prediction"] == key]
        main = own[0]["set"] if own else ""
        for one in own:
            if one["set"] == main or one["verdict"] not in OPEN:
                place = name if one["set"] == main else f"{name}, {one['set']}"
                said.append((one["verdict"] in OPEN, verdict(one, place)))
    said.sort(key=lambda one: one[0])
    paragraphs = [f"### {key}: {claim.title}", f"> {claim.statement}", *(one[1] for one in said)]
    return "\n\n".join(paragraphs)


def arm_of(run):
    """By what runs are grouped."""
    own = settings(run)
    named = run["attributes"].get("config", {}).get("arm", "")
    keys = ("optimizer", "scaling", "weight_decay", "gradient_noise")
    return (
        run["batch_size"],
        run["learning_rate"],
        *(str(own.get(key, "")) for key in keys),
        named,
    )


# Of exponents whose onset is the latest allowed, a tenth of the iterations.
OR_LOWER = ", or lower"


def spread(values):
    """Mean and half the range over seeds."""
    found = [value for value in values if math.isfinite(value)]
    if not found:
        return "–"
    half = (max(found) - min(found)) / 2
    return rounded(fmean(found)) + (f" ± {rounded(half)}" if len(found) > 1 else "")


def arms(report):
    """How the distance grew, arm by arm, where the rate was constant."""
    fits = {fit["node"]: fit for fit in report["fits"]}
    rows = []
    steady = [run for run in report["inputs"] if settings(run)["decay"] == "constant"]
    steady = [run for run in steady if "rung" not in run["attributes"]["config"]]
    for _, members in groupby(sorted(steady, key=arm_of), key=arm_of):
        own = list(members)
        asked = settings(own[0])
        rule = {"sqrt": "√M", "linear": "M", "fixed": "1"}.get(asked["scaling"], "?")
        beside = [asked["optimizer"].upper()] if asked["optimizer"] != "sgd" else []
        beside += [f"weight decay {asked['weight_decay']}"] if asked["weight_decay"] else []
        noise = asked.get("gradient_noise")
        beside += [f"noise σ {number(noise)} added"] if noise else []
        of_arm = [fits[run["node"]] for run in own]
        ends = [LATEST * ONSET_SHARE * fit["last"] for fit in of_arm]
        at_end = [real(fit["onset"]) >= end for fit, end in zip(of_arm, ends, strict=True)]
        late = 2 * sum(at_end) > len(own)
        rows.append(
            [
                number(own[0]["batch_size"]),
                f"{number(own[0]['learning_rate'])} (∝ {rule})",
                ", ".join(beside) or "–",
                ranged([run["last_iteration"] for run in own]),
                str(len(own)),
                spread(real(fit["exponent"]) for fit in of_arm) + (OR_LOWER if late else ""),
                spread(real(fit["decade_ratio"]) for fit in of_arm),
                ", ".join(sorted({fit["status"] for fit in of_arm})),
            ]
        )
    head = ["batch size", "learning rate", "beside", "iterations", "seeds"]
    return table([*head, "exponent p", "decade ratio", "status of the fits"], rows)


def noise(report):
    """The gradient noise scale by batch size."""
    rows = []
    for entry in report["noise_by_batch_size"]:
        scale = entry["scale"]
        found = within(scale["estimate"], scale["low"], scale["high"])
        value = f"{number(found.value)} {found.ends(number)}"
        size, arm = number(entry["batch_size"]), entry["arm"]
        rows.append([size, arm, str(entry["runs"]), value, entry["place"]])
    return table(["batch size", "arm", "runs", "noise scale", "where the batch size lies"], rows)


def size_of(path):
    """Batch size of a digitized curve, from the name of its file."""
    return int(path.stem.removeprefix("fig2a_b"))


def hoffer():
    """How the digitized curves bend against log t, a row a batch size."""
    rows = []
    for path in sorted(DATA.glob("hoffer2017-fig2a/*.csv"), key=size_of):
        with path.open() as file:
            read = [line for line in csv.reader(file) if line and not line[0].startswith("#")]
        values = np.array(read, dtype=float)
        curve = xr.DataArray(values[:, 2], {"iteration": values[:, 1]}, ["iteration"])
        fit = us.fit_growth(curve)
        found = within(*(float(fit[f"exponent{end}"]) for end in ("", "_low", "_high")))
        way = bend(values[:, 1], values[:, 2]).side
        rows.append(["ResNet-44, Hoffer et al.", number(size_of(path)), str(found), way])
    return rows


def elsewhere():
    """Exponents of curves that others measured: table and words."""
    cited = json.loads((DOCS / "elsewhere.json").read_text())
    rows = hoffer()
    for run in cited["runs"]:
        fit = run["exponents"]["learning_rate_sum"]
        found = within(*(fit[f"exponent{end}"] for end in ("", "_low", "_high")))
        rows.append(
            ["wav2vec 2.0, on Ση", f"{number(run['seconds'])} s of sound", str(found), "–"]
        )
    words = ELSEWHERE.format(source=cited["source"])
    return (
        f"{words}\n\n{table(['training', 'batch size', 'exponent p', 'bend against log t'], rows)}"
    )


def optimizers(reports):
    """Whether the optimizer changes how distance goes with rate and batch size."""
    rows = []
    for name, report in reports.items():
        for found in report["optimizer_exponents"]:
            if found["of"] != "distance" or found["reason"]:
                continue
            ends = found["span"]
            rows.append(
                [
                    name,
                    found["optimizer"],
                    found["clock"],
                    f"{number(ends[0])} to {number(ends[1])}",
                    str(within(*found["rate"])),
                    str(within(*found["size"])),
                    found["better"],
                ]
            )
    head = ["study", "optimizer", "clock", "span", "x of η^x", "y of M^(−y)", "rule for the rate"]
    if not rows:
        return "No study has optimizers at several rates or batch sizes."
    law = "Over the last decade that runs have in common, d ∝ η^x·M^(−y):"
    return f"{by_set(reports)}{law}\n\n{table(head, rows)}"


def by_set(reports):
    """Verdicts on how distances grow, of studies with several sets, as optimizers are."""
    rows = []
    keys = ("P1", "P2", "P9")
    for name, report in reports.items():
        sets = dict.fromkeys(one["set"] for one in report["verdicts"])
        if len(sets) > 1:
            rows += [[name, one, *(brief(report, key, one) for key in keys)] for one in sets]
    if not rows:
        return ""
    head = ["study", "runs of", *(f"{key}: {PREDICTIONS[key].title}" for key in keys)]
    return f"How distances grow, set by set of equal runs:\n\n{table(head, rows)}\n\n"


def gain(found):
    """A gain with its interval and p-value."""
    if found is None:
        return "–", "–"
    contrast = found["contrast"]
    value = within(contrast["estimate"], contrast["low"], contrast["high"])
    return str(value), p_value(found["p_value"])


def rungs(report, recipe):
    """What each ingredient gains at the full batch, and all of them together."""
    found = [one for one in report["ladders"] if one["metric"] == "accuracy"]
    if not found:
        return ""
    inputs = [run for run in report["inputs"] if "rung" in run["attributes"]["config"]]
    rows = [
        [
            rung["place"]["name"],
            str(rung["runs"]),
            rounded(real(rung["mean"])),
            *gain(rung["over_before"]),
            *gain(rung["over_baseline"]),
        ]
        for rung in found[0]["rungs"]
    ]
    text = RUNGS.format(
        network=network(report),
        recipe=recipe,
        data_size=number(settings(inputs[0])["samples"]),
        iterations=ranged([run["last_iteration"] for run in inputs]),
        seeds=min(rung["runs"] for rung in found[0]["rungs"]),
        level=found[0]["level"],
    )
    head = ["rung", "runs", "accuracy", "over the one before", "p", "over the baseline", "p"]
    notes = "".join(f"\n\nNote: {note}." for note in found[0]["notes"])
    return f"{text}\n\n{table(head, rows)}{notes}"


def in_short(reports):
    """Verdicts of the studies at a glance."""
    rows = [
        ["" if place else question.text, f"{key}: {PREDICTIONS[key].title}"]
        + [brief(report, key) for report in reports.values()]
        for question in QUESTIONS
        for place, key in enumerate(question.keys)
    ]
    return table(["question", "prediction", *reports], rows)


def brief(report, key, of_set=None):
    """The verdict of a study, or a set of its runs, on one prediction, with its number."""
    own = [one for one in report["verdicts"] if of_set in (None, one["set"])]
    found = next((one for one in own if one["prediction"] == key), None)
    if found is None:
        return "–"
    effect = within(found["effect"], found["effect_low"], found["effect_high"])
    known = found["verdict"] not in OPEN and math.isfinite(effect.value)
    return f"{found['verdict']}, {effect}" if known else found["verdict"]


def decides(report):
    """Whether a study decides any prediction; a ladder answers one question of its own."""
    return any(one["verdict"] not in OPEN for one in report["verdicts"])


def page(reports):
    """The whole page, from the reports on the studies."""
    inputs = [run for report in reports.values() for run in report["inputs"]]
    deciding = {name: report for name, report in reports.items() if decides(report)}
    first, *_ = deciding.values()
    sections = [
        HEAD.format(
            studies=studies(reports), digest=digest(inputs), level=first["options"]["level"]
        ),
        "## In short",
        in_short(deciding),
    ]
    for question in QUESTIONS:
        pictures = [f"![{words}](findings/{name}.png)" for name, words in question.pictures]
        sections += [f"## {question.text}", *pictures]
        sections += [of_prediction(key, deciding) for key in question.keys]
        if question.keys[0] == "P1":
            tables = [f"{name}:\n\n{arms(report)}" for name, report in deciding.items()]
            sections += ["### Exponents", LAW, *tables, elsewhere()]
    sections += ["## Does the optimizer change the law?", optimizers(deciding)]
    sections.append("## What does each step of a recipe gain at the full batch?")
    sections += [text for name, report in reports.items() if (text := rungs(report, name))]
    sections.append("## Gradient noise")
    sections += [f"{name}:\n\n{noise(report)}" for name, report in reports.items()]
    return "\n\n".join(sections) + "\n"


def draw(folder):
    """The pictures, of the recordings of one folder."""
    runs = us.load(str(folder))
    PICTURES.mkdir(exist_ok=True)
    for name, paint in DRAWN.items():
        figure = paint(runs).figure
        figure.savefig(PICTURES / f"{name}.png", dpi=DPI, metadata={"Software": None})


def main():
    """Write the page and its pictures."""
    places = folders()
    draw(places[0])
    reports = {folder.name: reported(folder) for folder in places}
    (DOCS / "findings.md").write_text(page(reports), encoding="utf-8")


if __name__ == "__main__":
    main()
