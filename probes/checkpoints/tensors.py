"""Which tensors of a checkpoint are weights of the model, and under which names.

A checkpoint holds more than weights: optimizers, averages of weights, statistics of
normalizations. What is left out is decided by names alone, the same in all checkpoints, and told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np

from ultraslow.diffusion.recording import NAME_LENGTH, RecordError

from .formats import Tree
from .stored import Bytes, OpenFiles, Stored, read_values

# Where state dictionaries are, the likelier first.
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
# How parts of keys begin that hold no weights.
_OPTIMIZERS = ("optim", "sched", "scaler", "rng", "callback", "loop", "extra", "hyper")
_AVERAGES = ("ema", "swa", "averaged", "average", "shadow")
# Parts of names that wrappers add.
_WRAPPED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
# Of tensors that no optimizer moves: statistics and tables.
BUFFERS = (
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "inv_freq",
    "masked_bias",
    "total_ops",
    "total_params",
    "n_averaged",
)
_HEAD = 4096  # values by which copies are found
_STRETCH = 1 << 20  # values that are compared at once


@dataclass(frozen=True)
class Choice:
    """What to take of a checkpoint.

    Arguments:
        key: where its weights are, keys with dots between; found when empty.
        include: patterns of names to take, also of buffers; all others but these are left out.
        exclude: patterns of names to leave out.
    """

    key: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Weights:
    """The weights of a checkpoint.

    Arguments:
        tensors: by name.
        left_out: why tensors are not among them, and their names.
    """

    tensors: dict[str, Stored]
    left_out: dict[str, list[str]] = field(default_factory=dict)


def weights_in(tree: Tree, choice: Choice, source: str) -> Weights:
    """The weights in what a checkpoint holds.

    Arguments:
        tree: mappings and tensors by name.
        choice: what to take.
        source: the checkpoint, for messages.

    Raises:
        RecordError: when there are none, or several sets of them.
    """
    left: dict[str, list[str]] = {}
    found = _at(tree, choice.key, source) if choice.key else _located(tree, source, left)
    named = {_plain(name): tensor for name, tensor in flat(found).items()}
    if named and all(name.startswith("module.") for name in named):
        named = {name.removeprefix("module."): tensor for name, tensor in named.items()}
    kept: dict[str, Stored] = {}
    places: dict[object, str] = {}
    for name, tensor in named.items():
        why = _why_not(name, tensor, choice)
        twin = places.get(tensor) if tensor.pieces else None
        if not why and twin is not None:
            why = "tied"
            name = f"{name} (is {twin})"
        if why:
            left.setdefault(why, []).append(name)
            continue
        if len(name) > NAME_LENGTH:
            raise RecordError(
                source, [f"a name has {len(name)} characters, at most {NAME_LENGTH}"]
            )
        kept[name], places[tensor] = tensor, name
    if not kept:
        counted = ", ".join(f"{len(names)} {why}" for why, names in left.items())
        raise RecordError(source, [f"found no weights{f' ({counted})' * bool(counted)}"])
    return Weights(kept, {why: names for why, names in left.items() if names})


def flat(tree: Tree, prefix: str = "") -> dict[str, Stored]:
    """All tensors of mappings in mappings, by names with dots."""
    found: dict[str, Stored] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _why_not(name: str, tensor: Stored, choice: Choice) -> str:
    """Why a tensor is no weight that counts; nothing where it is one."""
    if not tensor.numel:
        return "empty"
    if any(fnmatchcase(name, pattern) for pattern in choice.exclude):
        return "excluded"
    if choice.include:
        taken = any(fnmatchcase(name, pattern) for pattern in choice.include)
        return "" if taken else "not included"
    parts = name.split(".")
    if parts[-1] in BUFFERS:
        return "buffers"
    if any(_is_average(part) for part in parts):
        return "averages"
    return ""


def _is_average(word: str) -> bool:
    return bool(set(word.lower().split("_")) & set(_AVERAGES))


def _plain(name: str) -> str:
    for part in _WRAPPED:
        name = name.replace(part, "")
    return name


def _at(tree: Tree, key: str, source: str) -> Tree:
    """The mapping at a key, which may have dots in it itself.

    Raises:
        RecordError: when there is none.
    """
    if isinstance(tree.get(key), dict):
        return dict(tree[key])
    for name, value in tree.items():
        if isinstance(value, dict) and key.startswith(f"{name}."):
            return _at(value, key.removeprefix(f"{name}."), source)
    known = ", ".join(sorted(name for name, value in tree.items() if isinstance(value, dict)))
    raise RecordError(source, [f"found no {key!r}, expected one of {known or 'no keys at all'}"])


def _located(tree: Tree, source: str, left: dict[str, list[str]], path: str = "") -> Tree:
    """The mapping that is the state dictionary.

    Raises:
        RecordError: when several may be it.
    """
    own = {name: value for name, value in tree.items() if not isinstance(value, dict)}
    inner = {name: value for name, value in tree.items() if isinstance(value, dict)}
    chosen, averages = {}, {}
    for name, value in ((name, value) for name, value in inner.items() if flat(value)):
        if _is_bookkeeping(name):
            left.setdefault("states of optimizers", []).extend(flat(value, f"{path}{name}."))
        elif _is_average(name):
            averages[name] = value
        else:
            chosen[name] = value
    own_ones = any(value.shape for value in own.values())
    if not (chosen or own_ones):  # averages alone are the weights
        chosen, averages = averages, {}
    for name, value in averages.items():
        left.setdefault("averages", []).extend(flat(value, f"{path}{name}."))
    wrapper = next(iter(chosen), "") if len(chosen) == 1 else ""
    if wrapper in _WRAPPERS or (wrapper and not own_ones):
        left.setdefault("beside the weights", []).extend(f"{path}{name}" for name in own)
        inside = f"{path}{wrapper}."
        return _located(chosen[wrapper], source, left, inside)
    if own_ones or path:
        return {**own, **chosen}
    listed = ", ".join(f"{name} ({len(flat(one))} tensors)" for name, one in chosen.items())
    if chosen:
        told = f"found several sets of weights: {listed}; choose one with --key"
        raise RecordError(source, [told])
    return {}


def _is_bookkeeping(name: str) -> bool:
    words = name.lower().split("_")
    return any(word.startswith(_OPTIMIZERS) or word in ("amp", "opt") for word in words)


def model_differences(
    first: Mapping[str, Stored], other: Mapping[str, Stored], *, start: str
) -> list[str]:
    """What tensors of a checkpoint are not as those of the first one.

    Arguments:
        first: its tensors, by name.
        other: those of another one.
        start: the first one's name.

    Returns:
        One sentence a fault.
    """
    faults = [f"{name}: is missing, {start} has it" for name in first if name not in other]
    faults += [f"{name}: is not in {start}" for name in other if name not in first]
    for name, tensor in first.items():
        found = other.get(name)
        if found is not None and found.shape != tensor.shape:
            shapes = ["×".join(map(str, one.shape)) or "one value" for one in (found, tensor)]
            faults.append(f"{name}: found {shapes[0]}, expected {shapes[1]} as in {start}")
        elif found is not None and found.order != tensor.order:
            faults.append(
                f"{name}: its values are stored in another order than in {start}, expected the "
                "same; save tensor.contiguous()"
            )
    return faults


def same_names(sources: Sequence[str], found: Sequence[Weights], shown: int = 5) -> None:
    """Refuse checkpoints of different models.

    Arguments:
        sources: the checkpoints' names.
        found: their weights, the first one's counting.
        shown: faults that are told.

    Raises:
        RecordError: for the first one that differs, with every difference.
    """
    for source, weights in zip(sources[1:], found[1:], strict=True):
        faults = model_differences(found[0].tensors, weights.tensors, start=sources[0])
        if faults:
            more = [f"and {len(faults) - shown} more"] if len(faults) > shown else []
            raise RecordError(source, [*faults[:shown], *more])


def without_copies(found: Sequence[Weights], files: OpenFiles) -> list[Weights]:
    """The weights without tied ones that were stored twice.

    Files of torch tell that two names share their values. In others they are copies: matrices that
    are equal in the first and in the last checkpoint, and hold more than one value.

    Arguments:
        found: weights of the checkpoints, with the same names.
        files: that are read.

    Raises:
        RecordError, OSError: as `OpenFiles.read`.
    """
    last = found[-1].tensors
    seen: dict[tuple[object, ...], str] = {}
    twice: dict[str, str] = {}
    for name, tensor in last.items():
        if len(tensor.shape) < 2:
            continue
        head = _values(files, tensor, 0, min(tensor.numel, _HEAD))
        items = head.reshape(-1, tensor.dtype.itemsize)
        if (items == items[0]).all():
            continue
        key = (tensor.shape, tensor.order, tensor.dtype, head.tobytes())
        twin = seen.setdefault(key, name)
        ends = [found[0].tensors, last]
        if twin != name and all(_equal(files, one[twin], one[name]) for one in ends):
            twice[name] = twin
    if not twice:
        return list(found)
    listed = [f"{name} (is {twin})" for name, twin in twice.items()]
    return [
        replace(
            one,
            tensors={name: t for name, t in one.tensors.items() if name not in twice},
            left_out={**one.left_out, "tied": [*one.left_out.get("tied", []), *listed]},
        )
        for one in found
    ]


def _values(files: OpenFiles, tensor: Stored, start: int, stop: int) -> Bytes:
    held = np.empty((stop - start) * tensor.dtype.itemsize, dtype=np.uint8)
    read_values(files, tensor, start, held)
    return held


def _equal(files: OpenFiles, one: Stored, other: Stored) -> bool:
    """Whether all values of two tensors of one shape are the same."""
    if (one.dtype, one.order) != (other.dtype, other.order):
        return False
    for start in range(0, one.numel, _STRETCH):
        stop = min(start + _STRETCH, one.numel)
        first, second = (_values(files, tensor, start, stop) for tensor in (one, other))
        if not np.array_equal(first, second):
            return False
    return True
