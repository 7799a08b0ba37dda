"""Checkpoints in folders: which there are, of which step, and in which files each is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ultraslow.diffusion.recording import RecordError

from .formats import SAFETENSORS, TORCH, Tree, header_of, read_index
from .sharded import METADATA, read_sharded
from .steps import natural, steps_of
from .stored import OpenFiles

_INDEX = ".index.json"
# OpenFiles of a checkpoint's folder that hold no weights, as other programs name them.
_BESIDE = (
    "optim",
    "scheduler",
    "rng_state",
    "random_states",
    "training_args",
    "scaler",
    "trainer_state",
    "dataloader",
    "sampler",
    "custom_checkpoint",
)
_PREFERRED = ("model", "pytorch_model", "weights", "consolidated", "adapter_model")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Arguments:
        path: the file, or the folder.
        entry: what to read: a file of weights, an index of several, or a `.metadata`.
        step: number of updates before it.
    """

    path: Path
    entry: Path
    step: int


@dataclass(frozen=True)
class FoundCheckpoints:
    """What was found in folders.

    Arguments:
        places: checkpoints in the order of their steps.
        left_out: names without a step, such as `last`.
    """

    places: tuple[Checkpoint, ...]
    left_out: tuple[str, ...] = field(default=())


def find_checkpoints(
    paths: Sequence[Path],
    *,
    initial: Path | None = None,
    steps: str | None = None,
    updates: int | None = None,
    until: int | None = None,
) -> FoundCheckpoints:
    """The checkpoints of a run.

    Arguments:
        paths: folders with checkpoints in them, or checkpoints.
        initial: the initial weights, which are step 0.
        steps: how to read steps off the names, and
        updates: how many one count of them stands for, as `steps_of`.
        until: the last step to take.

    Raises:
        FileNotFoundError: when a path does not exist.
        RecordError: for a folder without checkpoints, one checkpoint alone, or two of one step.
        UnclearError: when names do not say which step.
    """
    entries = [pair for path in paths for pair in _entries(path)]
    names = [_stem(path) for path, _ in entries]
    numbers = _read_steps([path for path, _ in entries], names, steps, updates)
    places = [
        Checkpoint(path, entry, step)
        for (path, entry), step in zip(entries, numbers, strict=True)
        if step is not None and (until is None or step <= until)
    ]
    left_out = [
        path.name for (path, _), step in zip(entries, numbers, strict=True) if step is None
    ]
    if initial is not None:
        places.append(Checkpoint(initial, _entry(initial), 0))
    places.sort(key=lambda place: place.step)
    where = ", ".join(map(str, paths))
    for one, other in zip(places, places[1:], strict=False):
        if one.step == other.step:
            told = f"is of step {one.step}, and so is {other.path}; expected one of each step"
            raise RecordError(str(one.path), [told])
    if len(places) < 2:
        only = f", {places[0].path.name}" if places else ""
        missing = f"; without a step: {', '.join(left_out[:5])}" if left_out else ""
        told = f"found {len(places)} checkpoint{'s' * (len(places) != 1)}{only}{missing}"
        raise RecordError(where, [f"{told}, expected two or more: a distance is between two"])
    return FoundCheckpoints(tuple(places), tuple(left_out))


def _read_steps(
    paths: Sequence[Path], names: Sequence[str], steps: str | None, updates: int | None
) -> list[int | None]:
    """Steps by the names; by those of their folders where all have the same names."""
    if len(set(names)) < len(names) or not any(any(c.isdecimal() for c in n) for n in names):
        longer = [f"{path.parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
        names = longer if len(set(longer)) == len(longer) else names
    return steps_of(names, steps, updates=updates)


def read_tensors(place: Checkpoint, files: OpenFiles) -> Tree:
    """All tensors of a checkpoint, in the mappings that it holds them in.

    Raises:
        RecordError, OSError: for files that are missing, cut off or damaged.
    """
    if place.entry.name == METADATA:
        return read_sharded(place.entry.parent, files)
    if place.entry.name.endswith(_INDEX):
        return read_index(place.entry, files)
    return header_of(place.entry, files)


def _entries(path: Path) -> list[tuple[Path, Path]]:
    """The checkpoints at a path, each with what to read of it.

    Raises:
        FileNotFoundError: when there is nothing.
        RecordError: when there is no checkpoint.
    """
    if not path.exists():
        raise FileNotFoundError(2, "No such file or folder", str(path))
    if not path.is_dir():
        return [(path, path)]
    if (own := _folder_entry(path)) is not None:
        return [(path, own)]
    found = []
    for child in sorted(path.iterdir(), key=lambda child: natural(child.name)):
        if child.is_dir():
            entry = _folder_entry(child) or _only_one(child)
            if entry is not None:
                found.append((child, entry))
        elif _is_weights(child):
            found.append((child, child))
    if not found:
        kinds = ", ".join((*TORCH, SAFETENSORS))
        told = f"found no checkpoint, expected files that end in {kinds}, or folders of them"
        raise RecordError(str(path), [told])
    return found


def _entry(path: Path) -> Path:
    """What to read of one checkpoint."""
    found = _entries(path)
    if len(found) > 1:
        told = f"found {len(found)} checkpoints, expected the initial weights alone"
        raise RecordError(str(path), [told])
    return found[0][1]


def _folder_entry(folder: Path) -> Path | None:
    """What to read of a folder that is one checkpoint; None for another one."""
    if (folder / METADATA).is_file():
        return folder / METADATA
    indices = sorted(folder.glob(f"*{_INDEX}"))
    if indices:  # of the same weights in two formats, safetensors speak
        return next((one for one in indices if SAFETENSORS in one.name), indices[0])
    for name in _PREFERRED:
        for suffix in (SAFETENSORS, *TORCH):
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    return None


def _only_one(folder: Path) -> Path | None:
    """The one file of weights in a folder within.

    Raises:
        RecordError: when there are several.
    """
    found = [file for file in sorted(folder.iterdir()) if file.is_file() and _is_weights(file)]
    if len(found) > 1:
        listed = ", ".join(file.name for file in found[:4])
        told = f"found {len(found)} files of weights without an index ({listed}), expected one"
        raise RecordError(str(folder), [told])
    return found[0] if found else None


def _is_weights(file: Path) -> bool:
    name = file.name.lower()
    if name.startswith(".") or any(word in name for word in _BESIDE):
        return False
    return file.suffix.lower() in (*TORCH, SAFETENSORS)


def _stem(path: Path) -> str:
    """A name without the ending of its format, dots of numbers left as they are."""
    name = path.name
    while (suffix := Path(name).suffix.lower()) in (*TORCH, SAFETENSORS):
        name = name[: -len(suffix)]
    return name
