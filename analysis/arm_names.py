"""What tells runs of one batch size apart beside their seeds, in words.

Figures and tables go by batch size. Where several arms were run at one, as under several rules for
the learning rate, a mean over all of them would be of nothing, and its interval a wrong one.
"""

from collections.abc import Hashable, Mapping

import xarray as xr

from .curves import SETTING, arm, label, seeds, setting_key
from .rungs import place_of
from .text import number

_WORDS = {"weight_decay": "weight decay", "ghost_size": "ghost size"}


def arm_names(runs: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """The arm of each run in words; empty where it is the only one of its batch size.

    Arguments:
        runs: recordings by node name.

    Returns:
        Names by node name. Equal ones mean equal arms.
    """
    named: dict[str, str] = {}
    for nodes in _by_size(runs).values():
        keys = {node: setting_key(runs[node]) for node in nodes}
        words = {node: _words(runs[node], [runs[other] for other in nodes]) for node in nodes}
        named |= _told_apart(keys, words)
    return named


def main_arms(runs: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Of each batch size the runs of the arm with most seeds, of equals the first.

    Arguments:
        runs: recordings by node name.

    Returns:
        The runs, in their order.
    """
    kept: set[str] = set()
    for nodes in _by_size(runs).values():
        members: dict[Hashable, list[str]] = {}
        for node in nodes:
            members.setdefault(setting_key(runs[node]), []).append(node)
        kept |= set(max(members.values(), key=lambda own: seeds([runs[n] for n in own])))
    return {node: run for node, run in runs.items() if node in kept}


def _by_size(runs: Mapping[str, xr.Dataset]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for node, run in runs.items():
        found.setdefault(int(run["batch_size"].values), []).append(node)
    return found


def _words(run: xr.Dataset, others: list[xr.Dataset]) -> str:
    """A run's rung; or its rule, and its rate, noise and settings where others have other ones."""
    place = place_of(run)
    if place is not None:
        return place.name or f"rung {place.number}"
    own = arm(run)
    plain = [other for other in others if place_of(other) is None]
    parts = [own.scaling]
    if len({arm(other).rate for other in plain if arm(other).scaling == own.scaling}) > 1:
        parts.append(f"rate {number(own.rate)}")
    if own.noise:
        parts.append(f"added noise {number(own.noise)}")
    for name in SETTING:
        # What a run does not know, or does without, is no part of its name.
        known = label(run, name) not in (0, "")
        if known and len({str(label(other, name)) for other in plain}) > 1:
            parts.append(f"{_WORDS.get(name, name)} {label(run, name)}")
    return ", ".join(filter(None, parts))


def _told_apart(keys: Mapping[str, Hashable], words: Mapping[str, str]) -> dict[str, str]:
    """The words, numbered where they are the same for different arms."""
    if len(set(keys.values())) == 1:
        return dict.fromkeys(keys, "")
    numbers: dict[str, dict[Hashable, int]] = {}
    named = {}
    for node, key in keys.items():
        same = numbers.setdefault(words[node], {})
        count = same.setdefault(key, len(same) + 1)
        named[node] = words[node] if count == 1 else f"{words[node]} ({count})"
    return named
