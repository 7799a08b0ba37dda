"""The sub-commands that read recordings: info, fit, test and report."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion.commands import CommandError, Run, main

if TYPE_CHECKING:
    import xarray as xr


def info(parser: argparse.ArgumentParser) -> Run:
    """Say what is in recordings: records, iterations, tensors, what was measured, and faults.

    Example: ultraslow info runs/
    """
    _add_paths(parser)
    _add_json(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="first rebuild each PATH from its sound parts, as `ultraslow repair` does",
    )
    return _info


def fit(parser: argparse.ArgumentParser) -> Run:
    """Fit growth laws to the distance of each run and print the exponents.

    Example: ultraslow fit runs/*.nc --tensors --output fits.nc
    """
    _add_paths(parser)
    _add_level(parser)
    parser.add_argument("--tensors", action="store_true", help="fit each tensor as well")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the fits as NetCDF")
    _add_json(parser)
    return _fit


def test(parser: argparse.ArgumentParser) -> Run:
    """Test the predictions of ultra-slow diffusion on recorded runs.

    Example: ultraslow test runs/
    """
    _add_paths(parser)
    _add_level(parser)
    parser.add_argument(
        "--ladder",
        action="store_true",
        help="compare the rungs of a ladder of recipes instead: runs with metadata `rung`",
    )
    _add_json(parser)
    return _test


def report(parser: argparse.ArgumentParser) -> Run:
    """Write a diagnostic page about recorded runs, and its numbers as JSON beside it.

    Example: ultraslow report runs/ --output report.html
    """
    _add_paths(parser)
    _add_level(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="page to write (default: report.html); the JSON file takes its name",
    )
    return _report


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="recordings, folders that hold some, folders of live runs, or globs",
    )


def _add_level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--level",
        type=_level,
        default=0.95,
        metavar="L",
        help="confidence level of the intervals (default: 0.95)",
    )


def _level(text: str) -> float:
    level = float(text)
    if not 0.8 <= level <= 0.99:
        raise argparse.ArgumentTypeError(f"found {text}, expected a number from 0.8 to 0.99")
    return level


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def _info(arguments: argparse.Namespace) -> int:
    from . import tables
    from .provenance import inputs, plain
    from .reader import unusable

    # Repairing is the recorder's business, reached through the command and not by an import.
    if arguments.repair and (status := main(["repair", *arguments.paths])):
        return status
    runs = _load(arguments.paths, report_unusable=False)
    if arguments.json:
        faults = [{"source": item.source, "faults": item.faults} for item in unusable(runs)]
        _print_json({"recordings": inputs(runs), "unusable": plain(faults)})
        return 0
    print(tables.info(runs))
    return 0


def _fit(arguments: argparse.Namespace) -> int:
    from . import tables
    from .curves import recordings
    from .fits import fit_tensors, fit_totals
    from .provenance import fit_rows

    if arguments.output is not None:
        _refuse_folder(arguments.output)
    runs = recordings(_load(arguments.paths))
    fits = fit_totals(runs, level=arguments.level, progress=_advance("fitting"))
    tensors = None
    if arguments.tensors:
        tensors = fit_tensors(runs, level=arguments.level, progress=_advance("fitting tensors"))
    if arguments.output is not None:
        _save(fits, tensors, arguments.output)
    if arguments.json:
        both = {"fits": fit_rows(fits), "tensors": [] if tensors is None else fit_rows(tensors)}
        _print_json(both)
        return _tell_unfit(runs, fit_rows(fits))
    print(tables.fits(fits))
    if tensors is not None:
        print("\n" + tables.fits(tensors))
    return _tell_unfit(runs, fit_rows(fits))


def _test(arguments: argparse.Namespace) -> int:
    from . import tables
    from .curves import recordings
    from .fits import fit_totals
    from .hypotheses import test as test_predictions
    from .provenance import fit_rows, verdict_rows

    runs = _load(arguments.paths)
    kept = recordings(runs)
    if arguments.ladder:
        return _compare_rungs(kept, level=arguments.level, as_json=arguments.json)
    progress = _advance("fitting")
    fits = fit_totals(kept, level=arguments.level, progress=progress)
    verdicts = test_predictions(runs, level=arguments.level, fits=fits)
    if arguments.json:
        _print_json({"verdicts": verdict_rows(verdicts)})
    else:
        print(tables.verdicts(verdicts))
    return _tell_unfit(kept, fit_rows(fits))


def _compare_rungs(runs: "dict[str, xr.Dataset]", *, level: float, as_json: bool) -> int:
    from . import ladder_table
    from .ladder import ladders

    found = ladders(runs, level=level)
    if not found:
        raise CommandError(
            "--ladder: found no run with the metadata `rung` and a held-out accuracy or loss"
        )
    if as_json:
        _print_json({"ladders": ladder_table.rows(found)})
    else:
        print(ladder_table.terminal(found))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from . import tables
    from .curves import recordings
    from .page import report as write_report

    _refuse_folder(arguments.output)
    runs = _load(arguments.paths)
    progress = _advance("fitting")
    page = write_report(runs, arguments.output, level=arguments.level, progress=progress)
    print(tables.verdicts(page.verdicts))
    print(f"\nreport: {page.path}\nnumbers: {page.numbers}")
    return _tell_unfit(recordings(runs), json.loads(page.numbers.read_text())["fits"])


def _tell_unfit(runs: "Mapping[str, xr.Dataset]", fits: Sequence[Mapping[str, Any]]) -> int:
    """Name each recording that no law could be fitted to; status 2 when there is no other."""
    unfit = [row for row in fits if row["exponent"] is None]
    for row in unfit:
        source = runs[row["node"]].attrs.get("path", row["node"])
        print(f"not fitted: {source}: {row['reason']}", file=sys.stderr)
    return 2 if len(unfit) == len(fits) else 0


def _load(paths: list[str], *, report_unusable: bool = True) -> "xr.DataTree":
    from .reader import load, unusable

    runs = load(paths, progress=_progress("reading"))
    for item in unusable(runs) if report_unusable else ():
        print(f"not used: {item.source}: {'; '.join(item.faults)}", file=sys.stderr)
    return runs


def _progress(title: str) -> Callable[[Iterable], Iterable]:
    """A progress bar on standard error that shows up after a second and only in a terminal."""
    from tqdm import tqdm

    def wrap(items: Iterable) -> Iterable:
        return tqdm(items, desc=title, delay=1, leave=False, disable=None)

    return wrap


def _advance(title: str) -> Callable[[int, int], None]:
    """The same bar, moved on by numbers of series."""
    from tqdm import tqdm

    bar = tqdm(desc=title, delay=1, leave=False, disable=None, unit="series")

    def move(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)
        if bar.n >= total:
            bar.close()

    return move


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise CommandError(f"--output: found the folder {path}, expected a file name")
    if not path.absolute().parent.is_dir():
        raise CommandError(f"--output: the folder {path.absolute().parent} does not exist")


def _save(fits: "xr.Dataset", tensors: "xr.Dataset | None", path: Path) -> None:
    import xarray as xr

    groups = {"/": fits} if tensors is None else {"/": fits, "/tensors": tensors}
    try:
        xr.DataTree.from_dict(groups).to_netcdf(path, engine="netcdf4")
    except OSError as error:
        raise CommandError(f"--output: {path} cannot be written: {error.strerror}") from error


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
