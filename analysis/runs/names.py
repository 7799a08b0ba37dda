"""What tells runs of one batch size apart beside their seeds, in words.

Figures and tables go by batch size. Where several arms were run at one, as under several rules for
the learning rate, a mean over all of them would be of nothing, and its interval a wrong one.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from ultraslow.analysis.text import number
from ultraslow.diffusion.recording import DatasetLike

from .arms import SETTING, Arm, arm, ingredients_of, place_of, setting_in_words, setting_key
from .readings import label


def arm_names(
    runs: Mapping[str, DatasetLike], keys: Mapping[str, Hashable] | None = None
) -> dict[str, str]:
    """The arm of each run in words; empty where it is the only one of its batch size.

    Arguments:
        runs: recordings by node name.
        keys: the `setting_key` of each, where they are at hand.

    Returns:
        Names by node name. Equal ones mean equal arms.
    """
    keys = keys or {name: setting_key(run) for name, run in runs.items()}
    named: dict[str, str] = {}
    for nodes in _by_size(runs).values():
        first: dict[Hashable, DatasetLike] = {}
        for node in nodes:
            first.setdefault(keys[node], runs[node])
        words = _told_apart(_words(first))
        named |= {node: words[keys[node]] for node in nodes}
    return named


def _by_size(runs: Mapping[str, DatasetLike]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for node, run in runs.items():
        found.setdefault(int(run.variables["batch_size"].values), []).append(node)
    return found


def _words(arms: Mapping[Hashable, DatasetLike]) -> dict[Hashable, str]:
    """By arm, of which a run is given: its rung; or its rule, and what others have otherwise.

    The rule is left out where all share it and the rest tells.
    """
    own = {key: arm(run) for key, run in arms.items()}
    plain = {key: run for key, run in arms.items() if ingredients_of(run) is None}
    rates: dict[str, set[float]] = {}
    for key in plain:
        rates.setdefault(own[key].scaling, set()).add(own[key].rate)
    several = [
        name for name in SETTING if len({str(label(run, name)) for run in plain.values()}) > 1
    ]
    rest = {key: _rest(run, own[key], rates, several) for key, run in arms.items()}
    if len(rates) == 1 and all(rest.values()):
        return rest
    rules = {key: own[key].scaling if _rung(run) is None else "" for key, run in arms.items()}
    return {key: ", ".join(filter(None, (rules[key], rest[key]))) for key in arms}


def _rung(run: DatasetLike) -> str | None:
    place = place_of(run)
    if place is None or not place.ladder:
        return None
    return place.name or f"rung {place.number}"


def _rest(
    run: DatasetLike, own: Arm, rates: Mapping[str, set[float]], several: Sequence[str]
) -> str:
    """The rung of a run; or its rate, noise and settings, where others have others."""
    rung = _rung(run)
    if rung is not None:
        return rung
    parts = []
    if len(rates[own.scaling]) > 1:
        parts.append(f"rate {number(own.rate)}")
    if own.noise:
        parts.append(f"added noise {number(own.noise)}")
    parts += [
        setting_in_words(name, str(found))
        for name in several
        if name != "weights" and (found := label(run, name)) not in (0, "")
    ]
    return ", ".join(parts)


def _told_apart(words: Mapping[Hashable, str]) -> dict[Hashable, str]:
    """The words, numbered where they are the same for different arms; none for a single arm."""
    if len(words) == 1:
        return dict.fromkeys(words, "")
    counts: Counter[str] = Counter()
    named = {}
    for key, text in words.items():
        counts[text] += 1
        named[key] = text if counts[text] == 1 else f"{text} ({counts[text]})".strip()
    return named
