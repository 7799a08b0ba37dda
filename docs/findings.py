"""Write docs/findings.md: what the recordings in data/ say, every number from their report.

    python docs/findings.py

The report is made anew, which takes half a minute of computing.
"""

import hashlib
import json
import math
import tempfile
from itertools import groupby
from pathlib import Path
from statistics import fmean

import ultraslow as us
from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.text import number, plural, real, rounded

DOCS = Path(__file__).parent
RECORDINGS = DOCS.parent / "data" / "cifar10-small"
LADDER = DOCS.parent / "data" / "limit-cifar10-small"
HEAD = """# What the recordings say

ResNet-8 ({weights} weights) was trained on CIFAR-10 images of 32² pixels, with momentum 0.9, a
constant learning rate, ghost batches of 32 and no warm-up: {count} runs of {iterations}
iterations. This page states what `ultraslow report` finds in them, prediction by prediction, and
what it leaves open. It speaks of this network and these images, and of no others.

It is written by `docs/findings.py`; [data](../data/README.md) has the recordings and how they were
made. The checksum of their checksums is `{digest}`. Intervals are at {level:.0%}, in
contradictions by one of several arms at the level at which those of all hold together; numbers
after ± are half the range over seeds.
"""
RUNGS = """The same network was trained on {data_size} of the images with all of them a batch, for
{iterations} iterations, {seeds} seeds a rung: first with a small learning rate, then with one
ingredient more on each rung, which those above keep
([recipe](../probes/runs/recipes/limit-cifar10-small.toml)). Gains are differences of held-out
accuracy; the intervals of a column hold together at {level:.0%}. The rates of the rungs "tuned
rate" and "lars" were chosen by that accuracy with one of the seeds, which flatters them a
little."""
LAW = """The distance of all weights from their first values is fitted with
d = a + b·[(t+τ)^p − 1]/p over iterations t: p = 0 is growth like log t, ½ is diffusion."""


def reported(folder=RECORDINGS):
    """The numbers of a report on the recordings, as in `report.json`."""
    runs = us.load(str(folder))
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "report.html"
        us.report(runs, page)
        return json.loads(page.with_suffix(".json").read_text())


def digest(inputs):
    """One checksum of all recordings."""
    text = "\n".join(sorted(run["sha256"] for run in inputs))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def arm_of(run):
    """By what runs are grouped: rule, batch size, learning rate and weight decay."""
    decay = run["attributes"]["config"]["settings"]["weight_decay"]
    return run["batch_size"], run["learning_rate"], decay, run["scaling"]


def spread(values):
    """Mean and half the range over seeds."""
    found = [value for value in values if math.isfinite(value)]
    if not found:
        return "–"
    half = (max(found) - min(found)) / 2
    return rounded(fmean(found)) + (f" ± {rounded(half)}" if len(found) > 1 else "")


def table(head, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def arms(report):
    """What was trained, and how its distance grew, arm by arm."""
    fits = {fit["node"]: fit for fit in report["fits"]}
    rows = []
    for arm, members in groupby(sorted(report["inputs"], key=arm_of), key=arm_of):
        size, rate, decay, scaling = arm
        own = list(members)
        rule = {"sqrt": "√M", "linear": "M", "fixed": "1"}[scaling]
        ended = sorted({number(run["last_iteration"]) for run in own})
        rows.append(
            [
                number(size),
                f"{number(rate)} (∝ {rule})",
                number(decay),
                " and ".join(ended),
                str(len(own)),
                spread(real(fits[run["node"]]["exponent"]) for run in own),
                spread(real(fits[run["node"]]["onset"]) for run in own),
                ", ".join(sorted({fits[run["node"]]["status"] for run in own})),
            ]
        )
    head = ["batch size", "learning rate", "weight decay", "iterations", "seeds"]
    return table([*head, "exponent p", "onset τ", "status of the fits"], rows)


def within(estimate, low, high):
    """An estimate with its interval, from what JSON holds."""
    return Interval(real(estimate), real(low), real(high))


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


def verdict(found):
    """One verdict as a paragraph."""
    effect = within(found["effect"], found["effect_low"], found["effect_high"])
    meaning = f"Effect: {effect}, {found['effect_meaning']}."
    word = found["verdict"]
    lines = [f"### {found['prediction']}: {word}", "", f"> {found['statement']}", ""]
    if word == "not applicable":
        return "\n".join([*lines, found["reason"]])
    if word == "undecidable":
        return "\n".join([*lines, f"{found['reason']} Would decide it: {found['needed']}."])
    seeds = f"{plural(found['seeds'], 'seed')} an arm or more"
    sizes = f"Batch sizes {found['batch_sizes']}, {found['runs']} runs, {seeds}."
    told = [found["reason"], f"{meaning} {sizes}", f"Checked: {found['assumptions']}."]
    return "\n".join(lines) + "\n" + "\n\n".join(told)


def gain(found):
    """A gain with its interval and p-value."""
    if found is None:
        return "–", "–"
    contrast = found["contrast"]
    value = within(contrast["estimate"], contrast["low"], contrast["high"])
    return str(value), number(found["p_value"], 2)


def rungs(report):
    """What each ingredient gains at the full batch, and all of them together."""
    (ladder,) = [one for one in report["ladders"] if one["metric"] == "accuracy"]
    inputs = report["inputs"]
    settings = inputs[0]["attributes"]["config"]["settings"]
    lengths = sorted({number(run["last_iteration"]) for run in inputs})
    rows = [
        [
            rung["place"]["name"],
            str(rung["runs"]),
            rounded(real(rung["mean"])),
            *gain(rung["over_before"]),
            *gain(rung["over_baseline"]),
        ]
        for rung in ladder["rungs"]
    ]
    text = RUNGS.format(
        data_size=number(settings["samples"]),
        iterations=" or ".join(lengths),
        seeds=min(rung["runs"] for rung in ladder["rungs"]),
        level=ladder["level"],
    )
    head = ["rung", "runs", "accuracy", "over the one before", "p", "over the baseline", "p"]
    notes = "".join(f"\n\nNote: {note}." for note in ladder["notes"])
    return f"{text}\n\n{table(head, rows)}{notes}"


def page(report, ladder):
    """The whole page, from the report on the study and that on the ladder."""
    inputs, found = report["inputs"], report["verdicts"]
    head = HEAD.format(
        weights=number(inputs[0]["weights"]),
        count=len(inputs),
        iterations=" or ".join(map(number, sorted({run["last_iteration"] for run in inputs}))),
        digest=digest([*inputs, *ladder["inputs"]]),
        level=report["options"]["level"],
    )
    # Of the other sets, of weight decay, there are too few seeds for a verdict on anything.
    of_study = [v for v in found if v["set"] == found[0]["set"]]
    assert all(v["verdict"] == "undecidable" for v in found if v not in of_study)
    open_words = ("undecidable", "not applicable")
    decided = [verdict(v) for v in of_study if v["verdict"] not in open_words]
    left = [verdict(v) for v in of_study if v["verdict"] in open_words]
    sections = [
        head,
        "## What was trained, and how far it moved",
        LAW,
        arms(report),
        "## Gradient noise",
        noise(report),
        "## Decided",
        *decided,
        "## Not decided by these runs",
        *left,
        "## Towards the limit of the batch size, ingredient by ingredient",
        rungs(ladder),
    ]
    return "\n\n".join(sections) + "\n"


def main():
    """Write the page."""
    (DOCS / "findings.md").write_text(page(reported(), reported(LADDER)), encoding="utf-8")


if __name__ == "__main__":
    main()
