"""Which arms say what P1's verdict says, and which by themselves say something else."""

from collections.abc import Sequence

from ultraslow.analysis.growth import Judgement
from ultraslow.analysis.intervals import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDABLE,
    VERDICTS,
    joint_level,
)
from ultraslow.analysis.text import percent, sentence

from .speaking import SpeakingArm

_NAMED = 4  # arms that a sentence names; of more their number is told


def arms_say(arms: Sequence[SpeakingArm], found: Judgement, *, level: float) -> list[str]:
    """Which arms carry the word, and which by themselves say something else."""
    if len(arms) == 1:
        return []
    alone, decided = _alone(arms, found), otherwise(arms, found)
    if found.together:
        if alone[CONTRADICTED]:
            nearly = f"{_sizes(alone[CONTRADICTED])} alone would be {CONTRADICTED}"
            few = f"which is not enough among {len(arms)} arms; all together show it"
            return [sentence(f"{nearly}, {few}")]
        return [f"None of {len(arms)} arms shows this by itself, all together do."]
    if found.word == UNDECIDABLE:
        return [sentence(decided) if decided else f"None of {len(arms)} arms decides."]
    carrying = [arm.short for arm in _ordered(arms) if arm.name in found.carrying]
    less = len([name for name in alone[found.word] if name not in carrying])
    if len(carrying) == len(arms):
        return [f"All {len(arms)} arms show this, each by itself."]
    show = "shows this by itself" if len(carrying) == 1 else "show this, each by itself"
    told = [f"{_sizes(carrying)} {show}"]
    told += [_less_surely(less, len(arms), level)] if less else []
    open_ones = alone[UNDECIDABLE]
    verb = "decides" if len(open_ones) == 1 else "decide"
    # Support needs that none leans beyond the margin.
    against = ", and none speaks against it" if found.word == SUPPORTED else ""
    told += [f"{_sizes(open_ones)} alone {verb} nothing{against}"] if open_ones else []
    return [sentence("; ".join(filter(None, [*told, decided])))]


def _ordered(arms: Sequence[SpeakingArm]) -> list[SpeakingArm]:
    return sorted(arms, key=lambda arm: arm.batch_size)


def _alone(arms: Sequence[SpeakingArm], found: Judgement) -> dict[str, list[str]]:
    """The arms that say each word by themselves."""
    words = {arm.short: found.arms[arm.name].word for arm in _ordered(arms)}
    return {word: [name for name, own in words.items() if own == word] for word in VERDICTS}


def otherwise(arms: Sequence[SpeakingArm], found: Judgement) -> str:
    """Which arms by themselves would be decided in another way; empty for none."""
    alone = _alone(arms, found) if len(arms) > 1 else {}
    return "; ".join(
        f"{_sizes(alone[word])} alone would be {word}"
        for word in (SUPPORTED, CONTRADICTED)
        if word != found.word and alone.get(word)
    )


def about(arms: Sequence[SpeakingArm], found: Judgement, every: int) -> str:
    """Where the word holds, with the preposition; empty where that is at all arms of the set.

    Arguments:
        arms: those that speak.
        found: what they say.
        every: number of arms of the set, those that do not speak included.
    """
    if found.word == UNDECIDABLE:
        return ""
    own = [
        arm.short
        for arm in _ordered(arms)
        if found.together or arm.name in found.carrying or found.arms[arm.name].word == found.word
    ]
    if len(own) == every:
        return ""
    return f"at {_sizes(own)}" if len(own) <= _NAMED else f"in {len(own)} of {every} arms"


def _less_surely(less: int, arms: int, level: float) -> str:
    """That so many arms would contradict alone, and not with the error shared among all."""
    alone, shared = (percent(joint_level(level, count), 1) for count in (1, arms))
    say = "says" if less == 1 else "say"
    return f"{less} more {say} so at {alone}, not at the {shared} that each of {arms} arms needs"


def _sizes(names: Sequence[str]) -> str:
    """Batch sizes in a row."""
    more = len(names) - _NAMED
    listed = [*names[:_NAMED], *([f"{more} more"] if more > 0 else [])]
    joined = " and ".join(filter(None, [", ".join(listed[:-1]), listed[-1]]))
    return f"batch size{'' if len(names) == 1 else 's'} {joined}"
