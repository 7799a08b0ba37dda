"""Which runs verdicts are about, where runs of several studies are given together.

Weight decay holds the distance back, so that curves with and without it are of different laws, and
another training set is another landscape, also when it is a part of the same images. The rungs of
a ladder differ in ingredients that no prediction is about; only its baseline is a plain run.
"""

from collections import Counter
from collections.abc import Mapping

import xarray as xr

from ultraslow.analysis.runs import ingredients_of, label

from .text import first_of, plural


def of_one_study(runs: Mapping[str, xr.Dataset]) -> tuple[dict[str, xr.Dataset], str]:
    """The plain runs of one weight decay and data size, and sentences that name the others.

    Arguments:
        runs: recordings by node name.

    Returns:
        The runs, and what was left out; empty where nothing was.
    """
    plain, above = _without_upper_rungs(runs)
    decay, decayed = of_one(plain, "weight_decay")
    kept, sized = of_one(decay, "data_size")
    return kept, " ".join(filter(None, [above, decayed, sized]))


def _without_upper_rungs(
    runs: Mapping[str, xr.Dataset],
) -> tuple[dict[str, xr.Dataset], str]:
    """The runs that stand on no ladder or at its foot; where there are none, those lowest."""
    places = {name: found for name, run in runs.items() if (found := ingredients_of(run))}
    if not places:
        return dict(runs), ""
    lowest = min(places.values(), key=lambda place: (place.number, place.ladder))
    bare = len(places) == len(runs)
    above = [name for name, place in places.items() if not (bare and place == lowest)]
    what = f"rung {lowest.number}, the lowest here" if bare else "the baseline"
    kept = {name: run for name, run in runs.items() if name not in above}
    if not above:
        return kept, ""
    names = [str(label(runs[name], "run"))[:40] for name in above]
    return kept, (
        f"Of a ladder verdicts count {what}; {plural(len(above), 'recording')} of higher "
        f"rungs {'is' if len(above) == 1 else 'are'} left out: {first_of(names)}."
    )


def of_one(runs: Mapping[str, xr.Dataset], setting: str) -> tuple[dict[str, xr.Dataset], str]:
    """The runs with the value of a setting that most of them have, and which were left out.

    Of equally many the smaller value is taken: the theory is about no weight decay.

    Arguments:
        runs: recordings by node name.
        setting: `weight_decay` or `data_size`.

    Returns:
        The runs, and a sentence that names the others; empty where there are none.
    """
    values = {name: str(label(run, setting)) for name, run in runs.items()}
    counts = Counter(values.values())
    most = min(counts, key=lambda value: (-counts[value], len(value) == 0, _size(value)))
    kept = {name: run for name, run in runs.items() if values[name] == most}
    others = {name: values[name] for name in runs if name not in kept}
    return kept, _left_out(others, runs, most, setting.replace("_", " "))


def _size(value: str) -> float:
    return float(value) if value else 0.0


def _left_out(
    others: Mapping[str, str], runs: Mapping[str, xr.Dataset], most: str, setting: str
) -> str:
    if not others:
        return ""
    names = [str(label(runs[name], "run"))[:40] for name in others]
    found = ", ".join(sorted({value or "unknown" for value in others.values()}))
    verb = "is" if len(names) == 1 else "are"
    return (
        f"Verdicts are about the runs of {setting} {most or 'unknown'}; "
        f"{plural(len(names), 'recording')} of {setting} {found} {verb} left out: "
        f"{first_of(names)}."
    )
