"""The sub-commands that read recordings, plan or simulate them."""

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraslow.diffusion.cli import CommandError, Run, main
from ultraslow.diffusion.recording import escaped

if TYPE_CHECKING:
    import xarray as xr

    from ultraslow.analysis.planning import Pilot
    from ultraslow.analysis.report.table import Table

# Progress bars stand on standard error, show up after a second and only in a terminal.
_BAR: dict[str, Any] = {"delay": 1, "leave": False, "disable": None}


def info(parser: argparse.ArgumentParser) -> Run:
    """Say what is in recordings: records, iterations, what was measured, faults, what they lack.

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


def compare(parser: argparse.ArgumentParser) -> Run:
    """Compare laws of growth by what they forecast: which survive, and how far each is off.

    Each law is fitted to the beginning of the runs and says how far the weights will be half a
    decade and a decade of iterations later. Laws are told apart by arms of three seeds or more
    with two decades of iterations at a constant learning rate.

    Example: ultraslow compare runs/
    """
    _add_paths(parser)
    _add_level(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the laws as NetCDF")
    _add_json(parser)
    return _compare


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
    text = "recordings, folders that hold some, folders of live runs, or globs"
    parser.add_argument("paths", nargs="+", metavar="PATH", help=text)


def _add_level(parser: argparse.ArgumentParser, of: str = "the intervals") -> None:
    parser.add_argument(
        "--level",
        type=_level,
        default=0.95,
        metavar="L",
        help=f"confidence level of {of}, from 0.8 to 0.99 (default: 0.95)",
    )


def _level(text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not 0.8 <= level <= 0.99:
        raise argparse.ArgumentTypeError(f"found {text}, expected a number from 0.8 to 0.99")
    return level


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def _info(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import recording_tables

    # Repairing is the recorder's business, reached through the command and not by an import.
    if arguments.repair and (status := main(["repair", *arguments.paths])):
        return status
    used, bad, lacks = recording_tables(_load(arguments.paths, report_unusable=False))
    found = {"recordings": used.json(), "unusable": bad.json(), "lacking": list(lacks.notes)}
    _say(arguments, found, used, bad, lacks)
    return 0


def _fit(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.growth import fit_tensors
    from ultraslow.analysis.report import exponent_table
    from ultraslow.analysis.report.absent import lost_distances
    from ultraslow.analysis.report.table import Table
    from ultraslow.analysis.runs import runs_of
    from ultraslow.analysis.study import Study

    if arguments.output is not None:
        _check_output(arguments.output)
    runs = runs_of(_load(arguments.paths))
    level = arguments.level
    found = [Study(runs, level, _advance("fitting")).fits]
    if arguments.tensors:
        found += [fit_tensors(runs, level=level, progress=_advance("fitting tensors"))]
    if arguments.output is not None:
        _save(found, arguments.output)
    fits, *tensors = map(exponent_table, found)
    content = {"fits": fits.json(), "tensors": tensors[0].json() if tensors else []}
    _say(arguments, content, fits, *tensors, Table(notes=lost_distances(runs)))
    return _tell_unfit(runs, fits.json(), judged=False)


def _test(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.predictions import verdicts_on
    from ultraslow.analysis.report import fit_rows, verdict_rows, verdict_tables
    from ultraslow.analysis.runs import runs_of
    from ultraslow.analysis.study import Study

    runs = runs_of(_load(arguments.paths))
    if arguments.ladder:
        return _compare_rungs(runs, arguments)
    study = Study(runs, arguments.level, _advance("fitting"))
    verdicts = verdicts_on(study)
    _say(arguments, {"verdicts": verdict_rows(verdicts)}, *verdict_tables(verdicts))
    return _tell_unfit(runs, fit_rows(study.fits))


def _compare(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.comparison import arms_compared, as_dataset
    from ultraslow.analysis.report import law_rows, law_tables
    from ultraslow.analysis.runs import runs_of
    from ultraslow.analysis.study import Study

    if arguments.output is not None:
        _check_output(arguments.output)
    study = Study(runs_of(_load(arguments.paths)), arguments.level)
    found = arms_compared(study, progress=_advance("comparing laws"))
    if arguments.output is not None:
        _save(
            [as_dataset(found, level=study.level).assign_attrs(note=study.note)], arguments.output
        )
    content = {"arms": law_rows(found), "level": study.level, "note": study.note}
    _say(arguments, content, *law_tables(found, study.note, level=study.level))
    untold = [arm for arm in found if not arm.laws]
    for arm in untold:
        print(escaped(f"not compared: {arm.arm}: {arm.reason}"), file=sys.stderr)
    return 2 if len(untold) == len(found) else 0


def _compare_rungs(runs: "dict[str, xr.Dataset]", arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import ladder_rows, ladder_table
    from ultraslow.analysis.scores import ladders

    found = ladders(runs, level=arguments.level)
    if not found:
        raise CommandError(
            "--ladder: found no run with the metadata `rung` and a held-out accuracy or loss"
        )
    _say(arguments, {"ladders": ladder_rows(found)}, *map(ladder_table, found))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import printed, verdict_tables
    from ultraslow.analysis.report.report import report as write_report
    from ultraslow.analysis.runs import runs_of

    _check_output(arguments.output)
    if arguments.output.suffix in (".json", ".nc"):
        raise CommandError(
            f"--output: found {arguments.output}, expected a page's name: its numbers get the "
            "same name ending in .json"
        )
    runs = _load(arguments.paths)
    progress = _advance("fitting")
    page = write_report(runs, arguments.output, level=arguments.level, progress=progress)
    print(printed(verdict_tables(page.verdicts)))
    print(f"\nreport: {page.path}\nnumbers: {page.numbers}")
    return _tell_unfit(runs_of(runs), json.loads(page.numbers.read_text())["fits"])


def _tell_unfit(
    runs: "Mapping[str, xr.Dataset]", fits: Sequence[Mapping[str, Any]], *, judged: bool = True
) -> int:
    """Name recordings without a fit, but for rungs no verdict counts; status 2 with no other."""
    from ultraslow.analysis.runs.arms import upper_rungs
    from ultraslow.analysis.text import first_of, plural

    rungs = {node for above in upper_rungs(runs).values() for node in above if judged}
    fits = [row for row in fits if row["node"] not in rungs]
    unfit: dict[str, list[str]] = {}
    for row in (row for row in fits if row["exponent"] is None):
        source = str(runs[row["node"]].attrs.get("path", row["node"]))
        unfit.setdefault(row["reason"], []).append(source)
    for reason, sources in unfit.items():
        count = f"{plural(len(sources), 'recording')}, " if len(sources) > 1 else ""
        print(escaped(f"not fitted: {count}{first_of(sources)}: {reason}"), file=sys.stderr)
    return 2 if sum(map(len, unfit.values())) == len(fits) else 0


def _load(paths: list[str], *, report_unusable: bool = True) -> "xr.DataTree":
    from tqdm import tqdm

    from ultraslow.analysis.runs import unusable
    from ultraslow.analysis.runs.load import load

    runs = load(paths, progress=partial(tqdm, desc="reading", **_BAR))
    for item in unusable(runs) if report_unusable else ():
        said = f"not used: {item.source}: {'; '.join(item.faults)}"
        print(escaped(said), file=sys.stderr)
    return runs


def _advance(title: str) -> Callable[[int, int], None]:
    """A progress bar, moved on by numbers of series."""
    from tqdm import tqdm

    bar = tqdm(desc=title, unit="series", **_BAR)

    def move(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)
        if bar.n >= total:
            bar.close()

    return move


def _check_output(path: Path) -> None:
    """Refuse a name that cannot be written, and above all one that a recording has."""
    from ultraslow.analysis.runs.load import load
    from ultraslow.diffusion.recording import RecordError

    if path.is_file():
        try:
            load(path)
        except (RecordError, OSError):
            return  # what is there is no recording, and may be replaced
        raise CommandError(f"--output: {path} is a recording, expected another name")
    if path.is_dir():
        raise CommandError(f"--output: found the folder {path}, expected a file name")
    if not path.absolute().parent.is_dir():
        raise CommandError(f"--output: the folder {path.absolute().parent} does not exist")


def _save(found: "Sequence[xr.Dataset]", path: Path) -> None:
    """Fits of whole runs, and of tensors where there are some, as groups of a file."""
    from ultraslow.diffusion.recording import write_groups

    try:
        write_groups(dict(zip(("/", "/tensors"), found, strict=False)), path)
    except OSError as error:
        raise CommandError(f"--output: {path} cannot be written: {error.strerror}") from error


def _say(arguments: argparse.Namespace, content: object, *tables: "Table") -> None:
    """Print JSON for programs, or tables for people."""
    from ultraslow.analysis.report import printed

    if arguments.json:
        print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(printed(tables))


def noise(parser: argparse.ArgumentParser) -> Run:
    """Tell the gradient noise scale of each batch size, with its interval.

    With three seeds or more it is averaged over the iterations that they have in common, and the
    interval is that across them; with fewer it comes from the windows of the runs.

    Example: ultraslow noise runs/
    """
    _add_paths(parser)
    _add_level(parser)
    _add_json(parser)
    return _noise


def _noise(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.noise import arm_scales
    from ultraslow.analysis.report import comparison_rows, noise_table
    from ultraslow.analysis.runs import runs_of

    found = arm_scales(runs_of(_load(arguments.paths)), level=arguments.level)
    if not found:
        raise CommandError(
            "found no recording with gradient noise, expected one made with the probe `noise`, in "
            "which updates have several units"
        )
    _say(arguments, {"noise": comparison_rows(found)}, noise_table(found))
    return 0 if any(one.place != "unknown" for one in found) else 2


def batch(parser: argparse.ArgumentParser) -> Run:
    """Find the batch size beyond which larger ones stop saving iterations.

    It is measured on runs at three batch sizes or more, four seeds each, that all train to the
    same loss; several learning rates a batch size let each be taken at its best. Runs that cannot
    answer are told with what is missing, and status 2.

    Example: ultraslow batch runs/ --target 0.5
    """
    _add_paths(parser)
    parser.add_argument(
        "--target",
        type=float,
        metavar="L",
        help="training loss to reach (default: the lowest that all rates that train reach)",
    )
    _add_level(parser, "the interval")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    _add_json(parser)
    return _batch


def _batch(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.report import critical_numbers, critical_table
    from ultraslow.analysis.runs import some_runs
    from ultraslow.analysis.scores.critical_batch import critical_batch

    _check_batch(arguments)
    tree = _load(arguments.paths)
    try:
        runs = some_runs(tree)
    except ValueError as error:
        raise CommandError(str(error)) from error
    chosen = {"level": arguments.level, "seed": arguments.seed}
    found = critical_batch(runs, target=arguments.target, **chosen)
    if found.status == "missing":
        raise CommandError(str(found))
    _say(arguments, critical_numbers(found), critical_table(found))
    return 0


def _check_batch(arguments: argparse.Namespace) -> None:
    if arguments.target is not None and not math.isfinite(arguments.target):
        raise CommandError(f"--target: found {arguments.target}, expected a finite loss")
    _check_seed(arguments)


def _check_seed(arguments: argparse.Namespace) -> None:
    if arguments.seed < 0:
        raise CommandError(f"--seed: found {arguments.seed}, expected 0 or more")


def plan(parser: argparse.ArgumentParser) -> Run:
    """Plan runs that tell a power of t from a logarithm, from pilot runs or from numbers.

    With PATH, the noise, the onset and the noise scale are those of the recordings, and the plan
    is what decides P1 where they leave it open; without, they are the numbers given. Numbers
    beside a PATH are refused. The power is how often the verdict on P1 will say `contradicted`,
    simulated through the fit and the rule that `ultraslow test` uses.

    Example: ultraslow plan runs/pilot.nc --exponent 0.1
    """
    parser.add_argument("paths", nargs="*", metavar="PATH", help="pilot recordings; none: numbers")
    says = "of the power law (default: the pilot's, or 0.1)"
    parser.add_argument("--exponent", type=float, default=math.nan, metavar="P", help=says)
    parser.add_argument(
        "--power", type=float, default=0.8, help="to be reached, from 0.5 to 1 (default: 0.8)"
    )
    _add_level(parser, "the test")
    parser.add_argument(
        "--draws",
        type=int,
        default=400,
        help="simulated series a law and length, from 100 to 10000 (default: 400)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the simulations (default: 0)")
    _add_numbers(parser)
    _add_json(parser)
    return _plan


# In place of pilot recordings: type, placeholder and meaning of each.
_NUMBERS: dict[str, tuple[type, str | None, str]] = {
    "noise": (float, "S", "noise over the growth of the first 1000 updates"),
    "correlation": (float, None, "length of the noise in ln t (default: 0.5)"),
    "onset": (float, None, "of growth, iterations (default: 0)"),
    "seed_spread": (float, None, "standard deviation of p between seeds (default: 0)"),
    "batch_size": (int, None, "samples in an update"),
    "noise_scale": (float, None, "B, samples"),
}


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("numbers in place of pilot recordings, never beside them")
    for name, (kind, placeholder, text) in _NUMBERS.items():
        group.add_argument(_flag(name), type=kind, metavar=placeholder, help=text)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _plan(arguments: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from ultraslow.analysis.planning import Question
    from ultraslow.analysis.planning.plan import plan_runs
    from ultraslow.analysis.report import plan_numbers, plan_tables

    _check_seed(arguments)
    asked = Question(arguments.exponent, arguments.power, arguments.level, arguments.draws)
    try:
        of, arms = _recorded(arguments) if arguments.paths else (_stated(arguments), 1)
        rng = np.random.default_rng(arguments.seed)
        with tqdm(desc="simulating", unit="length", **_BAR) as bar:
            found = plan_runs(asked, of, rng=rng, arms=arms, advance=bar.update)
    except ValueError as error:
        raise CommandError(_by_option(str(error), arguments)) from error
    _say(arguments, plan_numbers(found), *plan_tables(found))
    return 0


def _by_option(message: str, arguments: argparse.Namespace) -> str:
    """A message on an argument of a function, on the option that it came from.

    >>> _by_option("noise_share: found -1", argparse.Namespace(noise=-1))
    '--noise: found -1'
    """
    name, colon, rest = message.partition(":")
    option = {"noise_share": "noise"}.get(name, name)
    return f"{_flag(option)}{colon}{rest}" if option in vars(arguments) else message


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The numbers that were given, by name."""
    found = {name: getattr(arguments, name) for name in _NUMBERS}
    return {name: value for name, value in found.items() if value is not None}


def _recorded(arguments: argparse.Namespace) -> tuple["Pilot", int]:
    """The arm of the largest set of equal runs that P1's verdict is about."""
    from ultraslow.analysis.predictions.growth import pilot_of
    from ultraslow.analysis.runs import some_runs
    from ultraslow.analysis.runs.load import load
    from ultraslow.analysis.study import Study

    given = list(map(_flag, _given(arguments)))
    if given:  # a pilot has these numbers itself; which of the two is meant cannot be known
        raise CommandError(
            f"{', '.join(given)}: found beside PATH, expected either recordings or numbers"
        )
    study = Study(some_runs(load(arguments.paths)), arguments.level)
    return pilot_of(next(iter(study.sets.values())))


def _stated(arguments: argparse.Namespace) -> "Pilot":
    from ultraslow.analysis.planning import stated

    if arguments.noise is None:
        raise CommandError("PATH, --noise: found neither, expected pilot recordings or a number")
    numbers = _given(arguments)
    return stated(numbers.pop("noise"), **numbers)


def simulate(parser: argparse.ArgumentParser) -> Run:
    """Record simulated runs whose truth is known, to try fits and tests on.

    KIND is a walker in a random field (field, line), a noisy quadratic (quadratic), weights before
    a normalization (scale-invariant), separable logistic regression (separable), drift and
    diffusion (drift) or a growth law with noise (law). The truth is in the attribute `truth`.

    Example: ultraslow simulate law --folder simulated --seeds 4 --iterations 10000
    """
    parser.add_argument("kind", metavar="KIND", help="what to simulate")
    parser.add_argument("--folder", type=Path, default=Path("simulated"), help="where to record")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[64, 256, 1024], help="one arm each"
    )
    parser.add_argument("--seeds", type=int, default=2, help="runs an arm")
    parser.add_argument("--iterations", type=int, default=1000, help="updates a run")
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate of the first arm")
    parser.add_argument("--scaling", default="sqrt", help="rule from batch size to learning rate")
    parser.add_argument(
        "--data-size",
        type=int,
        default=0,
        help="samples to draw batches from without replacement; 0 draws with it",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the simulator; a wrong name lists them",
    )
    return _simulate


def _simulate(parsed: argparse.Namespace) -> int:
    import xarray as xr

    from ultraslow.diffusion.recording import write_file

    _check_simulation(parsed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        packed = _packed(parsed)
    for message in dict.fromkeys(str(warning.message) for warning in told):
        print(f"ultraslow simulate: warning: {message}", file=sys.stderr)
    targets = {name: parsed.folder / f"{name}.nc" for name in packed}
    existing = [str(target) for target in targets.values() if target.exists()]
    if existing:
        raise CommandError(f"--folder: {existing[0]} exists already; choose another folder")
    parsed.folder.mkdir(parents=True, exist_ok=True)
    for name, target in targets.items():
        write_file(xr.Dataset.from_dict(packed[name]), target)
        print(target)
    return 0


def _check_simulation(parsed: argparse.Namespace) -> None:
    odd = [text for text in parsed.set if "=" not in text]
    if odd:
        raise CommandError(f"--set: found {odd[0]!r}, expected NAME=VALUE")
    sizes = parsed.batch_sizes
    if min(sizes) < 1 or parsed.seeds < 1:
        found = f"found {sizes}, {parsed.seeds}"
        raise CommandError(f"--batch-sizes, --seeds: {found}, expected 1 or more")
    if len(set(sizes)) < len(sizes):
        raise CommandError(f"--batch-sizes: found {sizes}, expected different ones")


def _packed(parsed: argparse.Namespace) -> dict[str, dict]:
    """Recordings by name, in the form that `xarray.Dataset.from_dict` takes."""
    from ultraslow.diffusion.walks import Setup, simulated_recordings, simulator

    try:
        return simulated_recordings(
            simulator(parsed.kind, dict(text.split("=", 1) for text in parsed.set)),
            batch_sizes=parsed.batch_sizes,
            seeds=range(parsed.seeds),
            iterations=parsed.iterations,
            base=Setup(
                base_learning_rate=parsed.rate,
                base_batch_size=min(parsed.batch_sizes),
                scaling=parsed.scaling,
                data_size=parsed.data_size,
            ),
        )
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
