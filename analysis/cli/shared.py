"""What the commands share: arguments, recordings read, files written, answers printed."""

import argparse
import gc
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraslow.diffusion.cli import CommandError
from ultraslow.diffusion.terminal import tell

if TYPE_CHECKING:
    import xarray as xr

    from ultraslow.analysis.report.table import Table
    from ultraslow.analysis.runs.catalog import Catalog


# Progress bars stand on standard error, show up after a second and only in a terminal.
BAR: dict[str, Any] = {"delay": 1, "leave": False, "disable": None}


@contextmanager
def rare_collections() -> Iterator[None]:
    """Have Python look for circles of objects after 50,000 new ones, and not after 700.

    Tables and figures make millions of objects, hardly any in circles: looking takes 7 % of the
    time of a report.
    """
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def add_paths(parser: argparse.ArgumentParser) -> None:
    """The recordings that a command reads."""
    text = "recordings, folders that hold some or live runs, globs, or URLs of these (s3://…)"
    parser.add_argument("paths", nargs="+", metavar="PATH", help=text)
    add_where(parser)


def add_where(parser: argparse.ArgumentParser) -> None:
    """The option `--where`."""
    parser.add_argument(
        "--where",
        default="",
        metavar="CONDITION",
        help="take these alone, as \"batch_size >= 1024 and scaling == 'sqrt'\"",
    )


def add_level(parser: argparse.ArgumentParser, of: str = "the intervals") -> None:
    """The option `--level`."""
    parser.add_argument(
        "--level",
        type=bounded(0.8, 0.99, "a number"),
        default=0.95,
        metavar="L",
        help=f"confidence level of {of}, from 0.8 to 0.99 (default: 0.95)",
    )


def bounded(low: float, high: float, what: str) -> Callable[[str], float]:
    """The type of an option that takes numbers from `low` to `high`; `what` they are, in words."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"found {text}, expected {what} from {low:.12g} to {high:.12g}"
            )
        return value

    return number


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def catalog_of(arguments: argparse.Namespace) -> "Catalog":
    """The headings of the recordings that are asked for."""
    from tqdm import tqdm

    from ultraslow.analysis.runs import ConditionError
    from ultraslow.analysis.runs.catalog import catalog

    progress = partial(tqdm, desc="reading", **BAR)
    try:
        found = catalog(
            arguments.paths,
            where=arguments.where,
            progress=progress,
            processes=os.cpu_count() or 1,
        )
    except ConditionError as error:
        raise CommandError(f"--{error}") from error
    if found.where:
        _tell_chosen(len(found.headings), found.left_out, found.where)
    return found


def _tell_chosen(count: int, left_out: int, where: str) -> None:
    tell(f"{count} of {count + left_out} recordings: {where}")


def load_all(arguments: argparse.Namespace, *, report_unusable: bool = True) -> "xr.DataTree":
    """The recordings that are asked for; what is none is named on standard error if so asked."""
    from tqdm import tqdm

    from ultraslow.analysis.runs import ConditionError, unusable
    from ultraslow.analysis.runs.load import load_quietly

    progress = partial(tqdm, desc="reading", **BAR)
    try:
        runs = load_quietly(arguments.paths, where=arguments.where, progress=progress)
    except ConditionError as error:
        raise CommandError(f"--{error}") from error
    if arguments.where.strip():
        _tell_chosen(len(runs.children), runs.attrs["left_out"], runs.attrs["where"])
    for item in unusable(runs) if report_unusable else ():
        said = f"not used: {item.source}: {'; '.join(item.faults)}"
        tell(said)
    return runs


def advance(title: str) -> Callable[[int, int], None]:
    """A progress bar, moved on by numbers of series."""
    from tqdm import tqdm

    bar = tqdm(desc=title, unit="series", **BAR)

    def move(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)
        if bar.n >= total:
            bar.close()

    return move


def check_output(path: Path, *, netcdf: bool = False) -> None:
    """Refuse a name that cannot be written, and above all one that a recording has.

    Arguments:
        path: what is to be written.
        netcdf: whether that is NetCDF, which replaces what an earlier call wrote; text does not
            replace a NetCDF file, which may be a damaged recording.
    """
    from ultraslow.analysis.runs.load import load_quietly
    from ultraslow.diffusion.recording import RecordError

    check_on_disk(path)
    if path.is_file():
        try:
            load_quietly(path)
        except (RecordError, OSError):
            if not netcdf and _is_netcdf(path):
                raise CommandError(
                    f"--output: {path} is a NetCDF file, perhaps a damaged recording, expected"
                    " another name"
                ) from None
            return  # what is there is no recording, and may be replaced
        raise CommandError(f"--output: {path} is a recording, expected another name")
    if path.is_dir():
        raise CommandError(f"--output: found the folder {path}, expected a file name")
    if path.exists():
        raise CommandError(f"--output: {path} is no regular file, expected a file name")
    if not path.absolute().parent.is_dir():
        raise CommandError(f"--output: the folder {path.absolute().parent} does not exist")


def _is_netcdf(path: Path) -> bool:
    from ultraslow.diffusion.recording import SIGNATURE

    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def check_on_disk(path: Path, flag: str = "--output") -> None:
    """Refuse to write to a URL, which pathlib takes for a folder."""
    from ultraslow.diffusion.recording import is_cut, is_url

    if is_url(path) or is_cut(path):
        raise CommandError(
            f"{flag}: found the URL {path}, expected a name on a disk; `us.upload(path, url)`"
            " copies recordings to a store"
        )


def save(found: "Mapping[str, xr.Dataset]", path: Path) -> None:
    """Results as groups of a file, "/" among them."""
    from ultraslow.diffusion.recording import write_groups

    try:
        write_groups(dict(found), path)
    except OSError as error:
        raise CommandError(f"--output: {path} cannot be written: {error.strerror}") from error


def say(arguments: argparse.Namespace, content: object, *tables: "Table") -> None:
    """Print JSON for programs, or tables for people."""
    from ultraslow.analysis.report import printed

    if arguments.json:
        print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(printed(tables))


def check_seed(arguments: argparse.Namespace) -> None:
    """Refuse a seed below 0."""
    if arguments.seed < 0:
        raise CommandError(f"--seed: found {arguments.seed}, expected 0 or more")
