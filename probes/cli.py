"""`ultraslow verify`: known noise scale through every way of training this machine can do.

`ultraslow repair`: rebuild recordings from their sound parts.

`ultraslow label`: say of a recording what was forgotten when it was made.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ultraslow.diffusion.cli import CommandError, Run
from ultraslow.diffusion.terminal import Head, grid_rows, has_colour, screen_width, tell
from ultraslow.probes.distributed import SilenceError, lines, torchrun


def verify(parser: argparse.ArgumentParser) -> Run:
    """Check the noise probe on a toy of known noise scale, in every way of training.

    Trains a toy with |G|² = 4, tr Σ = 64 and noise scale 16 alone and on several processes, plain,
    accumulated, with unequal units, mixed precision, torch.compile, DDP, FSDP2 and HSDP, and ends
    with status 1 when an estimate is off. Your own wrapping is checked by us.verify(wrap).

    Example: ultraslow verify --updates 4000
    """
    parser.add_argument(
        "--updates", type=int, default=400, help="optimizer steps a mode; 400 reach about 1 %%"
    )
    parser.add_argument(
        "--processes", type=int, default=4, help="of distributed modes; 4 are needed for HSDP"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return _verify


def _verify(parsed: argparse.Namespace) -> int:
    if parsed.updates < 50 or parsed.processes < 2:
        raise CommandError(
            f"--updates, --processes: found {parsed.updates}, {parsed.processes}, "
            "expected at least 50 and 2"
        )
    width, colour = screen_width(), has_colour()
    if not parsed.json:
        tell("\n".join(grid_rows(_HEADS, [_WIDEST], width)[0]), lines=True, stream=sys.stdout)
    found = []
    for count in (1, parsed.processes):
        for mode in _modes(count, parsed.updates):
            found.append(mode)
            if not parsed.json:
                lines = grid_rows(_HEADS, [_WIDEST, _cells(mode)], width, colour=colour)[1][1]
                print("\n".join(lines), flush=True)
    passed = all(mode["passed"] for mode in found)
    if parsed.json:
        print(json.dumps({"passed": passed, "modes": found}, indent=1))
    else:
        off = [mode["mode"] for mode in found if not mode["passed"]]
        told = f"OFF: {', '.join(off)}" if off else "all as it should be"
        tell(f"estimate ± half its 99.9 % interval; {told}", stream=sys.stdout)
    return 0 if passed else 1


def _modes(count: int, updates: int) -> Iterator[dict[str, Any]]:
    """Results of the modes that take so many processes, as they come.

    Raises:
        CommandError: when a process failed, with the end of what it said.
    """
    arguments = [
        f"--nproc-per-node={count}",
        "-m",
        "ultraslow.probes.verification.modes",
        str(updates),
    ]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    said: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as kept:
        try:
            with torchrun(arguments, environment=environment, stderr=kept) as process:
                for line in lines(process):
                    if line.startswith("{"):
                        yield json.loads(line)
                    else:
                        said.append(line)
        except SilenceError as error:
            said.append(f"{error}\n")
        kept.seek(0)
        said = [*kept, *said]
    if process.returncode:
        raise CommandError(f"training on {count} processes failed:\n" + "".join(said[-20:]))


# Results come one by one; the widest there may be keeps their columns in line.
_HEADS = (
    Head("trained", left=True),
    Head("", left=True),
    Head("|G|² (4)"),
    Head("tr Σ (64)"),
    Head("noise scale (16)"),
)
_WIDEST = ("x" * 26, "off", *["64.01 ± 1.234"] * 3)


def _cells(mode: dict[str, Any]) -> list[str]:
    checks = [_cell(check) for check in mode["checks"]]
    return [mode["mode"], "" if mode["passed"] else "OFF", *checks]


def _cell(check: dict[str, float]) -> str:
    return f"{check['estimate']:.4g} ± {(check['high'] - check['low']) / 2:.3g}"


def repair(parser: argparse.ArgumentParser) -> Run:
    """Rebuild damaged recordings from their sound parts and say what was lost.

    Broken files are renamed to end in .broken; nothing is deleted, and sound recordings stay as
    they are.

    Example: ultraslow repair runs/r50-b8192-s0
    """
    parser.add_argument("paths", nargs="+", metavar="PATH", help="live folders or closed files")
    return _repair


def _repair(parsed: argparse.Namespace) -> int:
    from ultraslow.probes.storage.repair import repair_recording

    for path in parsed.paths:
        done = repair_recording(path)
        found = "repaired" if done.rebuilt else "sound"
        left = ", not closed: resume the run, or read it as it is" if done.path.is_dir() else ""
        tell(f"{done.path}: {done.records} records, {found}{left}", stream=sys.stdout)
        for line in [*done.faults, *(f"set aside: {aside}" for aside in done.aside)]:
            tell(f"    {line}", stream=sys.stdout)
    return 0


def label(parser: argparse.ArgumentParser) -> Run:
    """Add labels that analysis groups runs by to closed recordings, or correct them.

    Labels are seed, scaling (fixed, sqrt, exact_sqrt or linear), model, data, data_size,
    optimizer, momentum, weight_decay, base_learning_rate, ghost_size, added_noise and
    gradient_difference. What was measured stays; the recording's history says what was changed.

    Example: ultraslow label runs/r50-b8192-s3 seed=3 scaling=sqrt data_size=1281167
    """
    parser.add_argument("words", nargs="+", metavar="RUN NAME=VALUE", help="recordings and labels")
    return _label


def _label(parsed: argparse.Namespace) -> int:
    from ultraslow.diffusion.recording import parsed_label
    from ultraslow.probes.storage.label import label_recording, refuse_unknown

    runs, typed = _runs_and_labels(parsed.words)
    try:
        for name in typed:
            refuse_unknown(name)
        labels = {name: parsed_label(name, text) for name, text in typed.items()}
    except ValueError as error:
        raise CommandError(str(error)) from error
    for run in runs:
        done = label_recording(run, labels)
        closed = "; it had been left live and is closed" * done.closed
        tell(f"{done.path}: {done}{closed}", stream=sys.stdout)
    return 0


def _runs_and_labels(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Recordings, and the texts of labels by name; a path may have an equals sign in it.

    Raises:
        CommandError: where one of them is missing or given twice.
    """
    runs: list[str] = []
    typed: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or "/" in name or Path(word).exists():
            runs.append(word)
        elif name in typed:
            raise CommandError(f"{name}: found {typed[name]!r} and {text!r}, expected one of them")
        else:
            typed[name] = text
    if not runs:
        raise CommandError("found no recording to label, expected RUN NAME=VALUE")
    if not typed:
        raise CommandError(f"found no label for {runs[0]}, expected NAME=VALUE as in seed=3")
    if "seed" in typed and len(runs) > 1:
        raise CommandError(f"seed: found one for {len(runs)} recordings, expected one for each")
    return runs, typed
