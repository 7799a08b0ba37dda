"""`ultraslow checkpoints`: a recording from the checkpoints that a run left."""

import argparse
import sys
from pathlib import Path

from ultraslow.diffusion.cli import CommandError, Run
from ultraslow.diffusion.recording import RecordError
from ultraslow.diffusion.terminal import tell


def checkpoints(parser: argparse.ArgumentParser) -> Run:
    """Measure how far weights went, from the checkpoints of a run.

    Reads files of torch (.pt, .pth, .bin, .ckpt), safetensors, their shards, folders of
    torch.distributed.checkpoint and of Hugging Face's Trainer, and writes a recording: distances
    from the initial weights, norms and angles of each tensor, and the distances between all
    checkpoints. Nothing in a file is run. Steps are read off the names and shown first.

    Example: ultraslow checkpoints runs/gpt2 --output gpt2-s0 --batch-size 512 --set seed=0
    """
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="of checkpoints")
    parser.add_argument("--output", required=True, type=Path, help="recording to write")
    parser.add_argument("--batch-size", type=int, metavar="M", help="samples in an update")
    parser.add_argument("--initial", type=Path, metavar="FILE", help="the weights of step 0")
    parser.add_argument(
        "--from-first", action="store_true", help="measure from the first step there is"
    )
    parser.add_argument(
        "--steps",
        metavar="PATTERN",
        help=r"where names say the step, as 'step(\d+)'; or all steps, as 0,100,200",
    )
    parser.add_argument(
        "--updates-per-count",
        type=int,
        metavar="N",
        help="updates that one count of the names stands for, as those of an epoch",
    )
    parser.add_argument("--until", type=int, metavar="STEP", help="last step to take")
    parser.add_argument("--key", default="", help="where the weights are in each checkpoint")
    for name, told in (("include", "take these alone"), ("exclude", "leave these out")):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="NAMES", help=f"{told}, as '*.bias'"
        )
    parser.add_argument("--learning-rate", type=float, metavar="RATE", help="where it is constant")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="labels, as seed=0"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads that read")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done")
    return _checkpoints


def _checkpoints(parsed: argparse.Namespace) -> int:
    from ultraslow.diffusion.recording import events_of

    from .record import CheckpointRequest, prepare, record_checkpoints
    from .stored import OpenFiles
    from .tensors import Choice

    for name in ("updates_per_count", "workers"):
        value = getattr(parsed, name)
        if value is not None and value < 1:
            option = f"--{name.replace('_', '-')}"
            raise CommandError(f"{option}: found {value}, expected 1 or more")
    request = CheckpointRequest(
        tuple(parsed.paths),
        parsed.output,
        parsed.batch_size,
        initial=parsed.initial,
        from_first=parsed.from_first,
        steps=parsed.steps,
        updates=parsed.updates_per_count,
        until=parsed.until,
        choice=Choice(parsed.key, tuple(parsed.include), tuple(parsed.exclude)),
        learning_rate=parsed.learning_rate,
        labels=_labels(parsed.set),
        workers=parsed.workers,
        overwrite=parsed.overwrite,
    )
    with OpenFiles() as files:
        try:
            prepared = prepare(request, files)
        except RecordError:
            raise
        except (ValueError, TypeError) as error:
            raise CommandError(str(error)) from error
        for line in prepared.told():
            tell(line, stream=sys.stdout)
        if parsed.dry_run:
            return 0
        with _Bar(prepared.nbytes) as bar:
            records = record_checkpoints(prepared, files, bar.read)
    for _, text in events_of(records.attrs):
        if text != prepared.left_out:  # which was told before
            tell(text, stream=sys.stdout)
    distance = float(records["distance_sq"][-1].sum()) ** 0.5
    last = int(records["iteration"][-1])
    told = f"{records.sizes['iteration']} records, distance {distance:.6g} at iteration {last}"
    tell(f"{prepared.store.file}: {told}", stream=sys.stdout)
    return 0


def _labels(words: list[str]) -> dict[str, object]:
    """Labels that were typed.

    Raises:
        CommandError: for one that there is not, or a value that is none of its own.
    """
    from ultraslow.diffusion.recording import parsed_label
    from ultraslow.probes.storage.label import refuse_unknown

    found: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise CommandError(f"--set: found {word!r}, expected NAME=VALUE, as seed=0")
        try:
            refuse_unknown(name)
            found[name] = parsed_label(name, text)
        except ValueError as error:
            raise CommandError(f"--set: {error}") from error
    return found


class _Bar:
    """How much was read, on a terminal."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._bar: tqdm = tqdm(
            total=total, unit="B", unit_scale=True, desc="reading", disable=not sys.stderr.isatty()
        )

    def read(self, count: int) -> None:
        """Move on."""
        self._bar.update(count)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
