"""What a sweep lacks: seeds and arms that others have, and runs that end before their like."""

from collections.abc import Iterator, Mapping, Sequence

from ultraslow.analysis.text import first_of, number, of_batch_size, plural
from ultraslow.diffusion.recording import DatasetLike

from .arms import arm, called, equal_sets, place_of
from .names import arm_names
from .readings import label

_NEAR = 1.25  # largest over smallest rate that nobody would compare as rates
_FIRST = 4  # arms that a sentence names


def gaps(runs: Mapping[str, DatasetLike]) -> tuple[str, ...]:
    """What is missing where recordings are taken for the runs of a sweep, a sentence each.

    Arms are compared within sets of equal runs, and rungs within their ladder. At the smallest
    batch size of a set all rules of the learning rate are one, so that no rule is missing there.

    Arguments:
        runs: recordings by node name.
    """
    arms = arms_in_words(runs)
    told: list[str] = []
    for nodes in (*(one.nodes for one in equal_sets(runs)), *_ladders(runs)):
        members: dict[str, list[str]] = {}
        for node in nodes:
            members.setdefault(arms[node], []).append(node)
        split = _split(runs, members)
        told += _split_told(split)
        whole = {name for name in members} - {name for names in split.values() for name in names}
        told += _seeds_missing(
            {name: _seeds(runs, members[name]) for name in members if name in whole}
        )
        told += _rules_missing([runs[node] for node in nodes])
        told += _rungs_missing([runs[node] for node in nodes])
    groups: dict[str, list[str]] = {}
    for node, name in arms.items():
        groups.setdefault(name, []).append(node)
    for own in groups.values():
        told += _shorter(
            {called(runs[node]): int(runs[node].variables["iteration"].values[-1]) for node in own}
        )
    return tuple(dict.fromkeys(told))


def arms_in_words(runs: Mapping[str, DatasetLike]) -> dict[str, str]:
    """The arm of each run: its batch size, and what tells it from others of that size.

    Arguments:
        runs: recordings by node name.

    Returns:
        Names by node name; runs of one name differ in their seeds only.
    """
    names = arm_names(runs)
    sizes = {node: int(run.variables["batch_size"].values) for node, run in runs.items()}
    return {
        node: ", ".join(filter(None, (number(size) if size else "unknown", names[node])))
        for node, size in sizes.items()
    }


def _split(
    runs: Mapping[str, DatasetLike], members: Mapping[str, Sequence[str]]
) -> dict[int, dict[str, float]]:
    """Arms of one run each whose rates hardly differ: names and rates by batch size."""
    found: dict[int, dict[str, float]] = {}
    for name, nodes in members.items():
        own = arm(runs[nodes[0]])
        if len(nodes) == 1 and own.rate > 0:
            found.setdefault(own.batch_size, {})[name] = own.rate
    return {
        size: rates
        for size, rates in found.items()
        if len(rates) > 1 and max(rates.values()) <= _NEAR * min(rates.values())
    }


def _split_told(split: Mapping[int, Mapping[str, float]]) -> Iterator[str]:
    """That nearly equal rates make an arm of each run."""
    for size, rates in split.items():
        low, high = min(rates.values()), max(rates.values())
        yield (
            f"{of_batch_size(size)} is split into {len(rates)} arms of one run each by learning "
            f"rates from {number(low, 4)} to {number(high, 4)}; only runs of one rate are an arm"
        )


def listed_seeds(seeds: Sequence[int]) -> str:
    """Seeds in a row, those that follow one another as a range.

    >>> listed_seeds([0, 1, 2, 5, 7, 8])
    '0–2, 5, 7, 8'
    """
    parts: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(
        f"{part[0]}–{part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts
    )


def _ladders(runs: Mapping[str, DatasetLike]) -> Iterator[list[str]]:
    members: dict[str, list[str]] = {}
    for node, run in runs.items():
        place = place_of(run)
        if place is not None and place.ladder:
            members.setdefault(place.ladder, []).append(node)
    yield from members.values()


def _seeds(runs: Mapping[str, DatasetLike], nodes: Sequence[str]) -> set[int]:
    found = [label(runs[node], "seed", None) for node in nodes]
    return {int(str(seed)) for seed in found if seed is not None}


def _seeds_missing(arms: Mapping[str, set[int]]) -> Iterator[str]:
    """Seeds that some arms have and others lack; one sentence for seeds of the same arms.

    >>> list(_seeds_missing({"a": {0, 1}, "b": {0, 1}, "c": {0}}))
    ['seed 1 is missing at batch size c; 2 of 3 arms have it']
    >>> list(_seeds_missing({"a": {0, 1, 2}, "b": {0}, "c": {0}}))
    ['seeds 1, 2 are at batch size a alone, of 3 arms']
    """
    arms = {name: seeds for name, seeds in arms.items() if seeds}
    every = sorted(set().union(*arms.values()))
    lacking: dict[tuple[str, ...], list[int]] = {}
    for seed in every:
        without = tuple(name for name, own in arms.items() if seed not in own)
        if without:
            lacking.setdefault(without, []).append(seed)
    for without, seeds in lacking.items():
        which = f"seed{'s' * (len(seeds) > 1)} {listed_seeds(seeds)}"
        verb, them = ("are", "them") if len(seeds) > 1 else ("is", "it")
        having = [name for name in arms if name not in without]
        if len(without) <= len(having):
            there = f"{len(having)} of {len(arms)} arms have {them}"
            yield f"{which} {verb} missing at {at_sizes(without)}; {there}"
        else:
            yield f"{which} {verb} at {at_sizes(having)} alone, of {len(arms)} arms"
    holes = sorted(set(range(every[0], every[-1])) - set(every)) if every else []
    if holes and len(holes) <= len(every):
        which = f"seed{'s' * (len(holes) > 1)} {listed_seeds(holes)}"
        yield f"{which} missing at all arms, where seeds go to {every[-1]}"


def at_sizes(arms: Sequence[str]) -> str:
    """Arms in a sentence.

    >>> at_sizes(["64", "256, sqrt"])
    'batch sizes 64, 256 (sqrt)'
    """
    parts = [name.partition(", ") for name in arms]
    told = [f"{size} ({rest})" if rest else size for size, _, rest in parts]
    return f"batch size{'s' * (len(arms) > 1)} {first_of(told, _FIRST)}"


def _rules_missing(runs: Sequence[DatasetLike]) -> Iterator[str]:
    """Rules of the learning rate that a batch size lacks, where two or more are compared."""
    sizes: dict[str, set[int]] = {}
    for run in runs:
        own = arm(run)
        if own.scaling and own.batch_size:
            sizes.setdefault(own.scaling, set()).add(own.batch_size)
    every = sorted(set().union(*sizes.values()))
    if sum(len(set(every[1:]) & own) > 0 for own in sizes.values()) < 2:
        return
    for size in every[1:]:
        rules = [rule for rule, own in sorted(sizes.items()) if size not in own]
        if rules:
            listed = " and ".join([", ".join(rules[:-1]), rules[-1]] if rules[1:] else rules)
            which = f"rule{'s' * (len(rules) > 1)} {listed}"
            yield f"no run at {of_batch_size(size)} under the {which}, which other sizes have"


def _rungs_missing(runs: Sequence[DatasetLike]) -> Iterator[str]:
    places = [place for place in map(place_of, runs) if place is not None and place.ladder]
    if len(places) < len(runs) or not places:
        return
    numbers = {place.number for place in places}
    holes = [one for one in range(min(min(numbers), 0), max(numbers)) if one not in numbers]
    if 0 < len(holes) <= len(numbers):
        listed = f"rung{'s' * (len(holes) > 1)} {listed_seeds(holes)}"
        yield f"{listed} of the ladder {places[0].ladder} missing"


def _shorter(lasts: Mapping[str, int]) -> Iterator[str]:
    """Runs that end before others of their arm."""
    longest = max(lasts.values())
    early = {name: last for name, last in lasts.items() if last < longest}
    if early:
        name, last = min(early.items(), key=lambda item: item[1])
        more = f" and {plural(len(early) - 1, 'other run')} early as well" * (len(early) > 1)
        yield (
            f"{name} ends at iteration {number(last)}{more}, the longest of its arm at "
            f"{number(longest)}"
        )
