"""Recipes: studies as TOML files, each a list of runs that differ in some settings.

    about = "what the study shows, in a line"

    [settings]                  # of every run
    data = "digits"
    iterations = 400

    [[arms]]
    arm = "sqrt"                # name of the arm, with which those of its runs begin
    scaling = "sqrt"
    batch_size = [160, 480]     # a list is a grid: one run for each of its values
    seed = [0, 1]

Instead of arms, or after them, a recipe may have `[[rungs]]` that make a *ladder*: each has the
settings of the one before as well, so that it adds its own ingredient to them. `images_sha256` is
the digest of the images that its author trained on; a sweep says where it finds others.

Runs are ordered by seed first: a study that is stopped early has all arms once before it has one
of them twice.

A smaller version of a run: network, data and length shrink together.

The study that `ultraslow demo` trains: small enough for two cores and two minutes; and the
recordings that come with the package, which it shows before.
"""

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from ultraslow.diffusion.recording import nearest
from ultraslow.probes.runs.images import Facts
from ultraslow.probes.runs.models import architecture, wide_architecture

from .config import Config, ConfigError, checked, facts_of, from_mapping, parsed, refuse_values

_KEYS = ("about", "settings", "arms", "rungs", "images_sha256")
# Where a sweep records is for it to say, and names follow from the arms.
_RESERVED = ("folder", "name")
_ABBREVIATIONS = {"batch_size": "b", "seed": "s", "base_learning_rate": "lr"}
_SUFFIX = ".toml"
_LINK = 256  # bytes, fewer than any recording has


@dataclass(frozen=True)
class Recipe:
    """A study.

    Attributes:
        name: of the recipe, that of its file.
        text: of the file.
        runs: in the order in which they shall be trained.
        study: by name of a run what its recording says of its place in the study: `recipe`,
            `recipe_text`, `scale` and `arm`, or `ladder`, `rung` (its number) and `rung_name`.
    """

    name: str
    text: str
    runs: tuple[Config, ...]
    study: Mapping[str, Mapping[str, Any]]

    @property
    def arms(self) -> dict[str, str]:
        """By name of a run the arm or rung that it belongs to, as the file names it."""
        places = self.study.items()
        return {run: str(place.get("arm", place.get("rung_name", ""))) for run, place in places}


@dataclass(frozen=True)
class _Arm:
    """A table of a recipe: what its runs share and the settings that its lists span."""

    name: str
    settings: Mapping[str, Any]
    place: Mapping[str, Any]


def shipped() -> dict[str, Path]:
    """The files of the recipes that come with the package, by name."""
    folder = Path(str(files(__package__))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def find(recipe: str) -> Path:
    """The file of a recipe.

    Arguments:
        recipe: the name of a shipped recipe, or a path.

    Raises:
        FileNotFoundError: when there is neither; it lists the shipped ones.
    """
    known = shipped()
    path = Path(os.path.expanduser(recipe))
    if recipe in known and not path.is_file():
        return known[recipe]
    if not path.is_file():
        raise FileNotFoundError(
            f"recipe: found no file {recipe}, expected one or a recipe of the package:"
            f" {', '.join(known)}{nearest(recipe, known)}"
        )
    return path


def read_recipe(
    path: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    scale: float = 1.0,
    seeds: int = 0,
) -> Recipe:
    """The runs of a recipe, as far as the file tells; see `planned` for what it takes to run.

    Arguments:
        path: of the TOML file.
        overrides: settings of all runs that go before the file's.
        scale: stored with the runs; `planned` applies it.
        seeds: how many seeds of each arm, its own first; 0: its own.

    Raises:
        ConfigError: with every fault of the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"not a TOML file: {error}"]) from error
    tables = parsed(text, str(path))
    faults = list(_table_faults(tables))
    if faults:
        raise ConfigError(str(path), faults)
    arms = [*_arms(tables), *_rungs(tables, path.stem)]
    if seeds:
        if lone := [arm.name for arm in arms if not isinstance(arm.settings.get("seed"), list)]:
            wanted = "expected a list of seeds, by which runs are named, as in seed = [0]"
            raise ConfigError(
                str(path), [f"{name}: seed: found no list, {wanted}" for name in lone]
            )
        arms = [_with_seeds(arm, seeds) for arm in arms]
    common = {"recipe": path.stem, "recipe_text": text, "scale": scale}
    if "images_sha256" in tables:
        common["recipe_images_sha256"] = tables["images_sha256"]
    runs: list[tuple[int, Config]] = []
    study: dict[str, Mapping[str, Any]] = {}
    for arm in arms:
        for replicate, settings in _grid(arm):
            config, found = _config(arm, {**settings, **(overrides or {})})
            faults += [*found, *([_TWICE.format(arm.name, config.run)] * (config.run in study))]
            runs.append((replicate, config))
            study[config.run] = {**common, **arm.place}
    if faults:
        raise ConfigError(str(path), list(dict.fromkeys(faults)))
    runs.sort(key=lambda run: run[0])
    return Recipe(path.stem, text, tuple(config for _, config in runs), study)


def only(recipe: Recipe, arms: Collection[str]) -> Recipe:
    """The runs of some arms and rungs, by the names that the file gives them.

    Raises:
        ValueError: for a name that is none of them.
    """
    names = recipe.arms
    known = list(dict.fromkeys(names.values()))
    for name in arms:
        if name not in known:
            listed = f"{', '.join(known)}{nearest(name, known)}"
            raise ValueError(f"--arms: found {name!r}, expected some of {listed}")
    return replace(recipe, runs=tuple(run for run in recipe.runs if names[run.run] in arms))


def _with_seeds(arm: _Arm, count: int) -> _Arm:
    """An arm with so many seeds: the first of its own, then those that follow the largest."""
    own = list(arm.settings["seed"])
    if not all(type(seed) is int for seed in own):
        return arm  # which is refused for that
    further = range(max(own) + 1, max(own) + 1 + count)
    return replace(arm, settings={**arm.settings, "seed": [*own, *further][:count]})


_TWICE = "{}: found two runs named {}, expected names of arms and grids that tell runs apart"


def planned(
    recipe: Recipe,
    source: str,
    *,
    processes: int,
    scale: float = 1.0,
    least_iterations: int = 0,
) -> Recipe:
    """A recipe whose runs can be trained: scaled, with lengths in iterations, all of it checked.

    Arguments:
        recipe: as `read_recipe` gives it.
        source: its file, for messages.
        processes: that train each run.
        scale: see `scaled`.
        least_iterations: to which shorter runs are lengthened, after they were scaled.

    Raises:
        ConfigError: with the faults of all runs.
        ValueError: for a scale out of range.
    """
    known: dict[tuple[object, ...], Facts] = {}
    runs, faults = [], []
    for config in recipe.runs:
        try:
            there = _facts(config, known)
            refuse_values(config, processes)
            small = scaled(config, scale, available=there.train_size, processes=processes)
            whole = checked(small, processes, known=there)
            if whole.iterations < least_iterations:
                longer = replace(
                    whole, iterations=least_iterations, epochs=0.0, adapt_epochs=False
                )
                whole = checked(longer, processes, known=there)
            runs.append(whole)
        except ConfigError as error:
            faults += [f"{config.run}: {fault}" for fault in error.faults]
    if faults:
        raise ConfigError(source, faults)
    return replace(recipe, runs=tuple(runs))


def _facts(config: Config, known: dict[tuple[object, ...], Facts]) -> Facts:
    """What is known of a run's images, looked up once for each set."""
    key = config.image_set
    if key not in known:
        try:
            known[key] = facts_of(config)
        except (ValueError, OSError) as error:
            raise ConfigError(config.run, [str(error)]) from error
    return known[key]


def _arms(tables: Mapping[str, Any]) -> Iterator[_Arm]:
    for table in tables.get("arms", []):
        own = {key: value for key, value in table.items() if key != "arm"}
        yield _Arm(table["arm"], {**tables.get("settings", {}), **own}, {"arm": table["arm"]})


def _rungs(tables: Mapping[str, Any], ladder: str) -> Iterator[_Arm]:
    settings = tables.get("settings", {})
    for number, table in enumerate(tables.get("rungs", [])):
        settings = {**settings, **{key: value for key, value in table.items() if key != "rung"}}
        place = {"ladder": ladder, "rung": number, "rung_name": table["rung"]}
        yield _Arm(f"{number:02}-{table['rung']}", settings, place)


def _grid(arm: _Arm) -> Iterator[tuple[int, dict[str, Any]]]:
    """The settings of each run of an arm, with the position of its seed in the list of seeds."""
    lists = {key: value for key, value in arm.settings.items() if isinstance(value, list)}
    for chosen in product(*(enumerate(values) for values in lists.values())):
        point = {key: value for key, (_, value) in zip(lists, chosen, strict=True)}
        replicate = dict(zip(lists, chosen, strict=True)).get("seed", (0, 0))[0]
        yield replicate, {**arm.settings, **point, "name": _name(arm.name, point)}


def _name(arm: str, point: Mapping[str, Any]) -> str:
    """The name of a run: that of the arm, then what the lists chose, the seed last."""
    ordered = sorted(point, key="seed".__eq__)
    parts = [f"{_ABBREVIATIONS.get(key, key)}{point[key]}" for key in ordered]
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", "-".join([arm, *parts]))


def _config(arm: _Arm, settings: Mapping[str, Any]) -> tuple[Config, list[str]]:
    try:
        return from_mapping(settings, arm.name), []
    except ConfigError as error:
        return Config(name=str(settings["name"])), [f"{arm.name}: {f}" for f in error.faults]


def _table_faults(tables: Mapping[str, Any]) -> Iterator[str]:
    for key in tables:
        if key not in _KEYS:
            listed = f"{', '.join(_KEYS)}{nearest(key, _KEYS)}"
            yield f"{key}: unknown key, expected one of {listed}"
    if "arms" not in tables and "rungs" not in tables:
        yield "arms: found none, expected tables [[arms]], tables [[rungs]], or both"
    if not isinstance(tables.get("images_sha256", ""), str):
        yield f"images_sha256: found {tables['images_sha256']!r}, expected a digest in quotes"
    if not isinstance(tables.get("settings", {}), Mapping):
        yield f"settings: found {tables['settings']!r}, expected a table"
        return
    yield from _setting_faults("settings", tables.get("settings", {}), ())
    for kind in ("arms", "rungs"):
        if tables.get(kind) == []:
            yield f"{kind}: found none, expected one or more tables [[{kind}]]"
        yield from _list_faults(kind, tables.get(kind, []))


def _list_faults(kind: str, found: Any) -> Iterator[str]:
    if not isinstance(found, list) or not all(isinstance(table, Mapping) for table in found):
        yield f"{kind}: found {found!r}, expected tables [[{kind}]]"
        return
    label = kind.removesuffix("s")
    for number, table in enumerate(found, 1):
        name = table.get(label)
        if not isinstance(name, str) or not name:
            yield f"{kind} {number}: {label}: found {name!r}, expected its name"
        yield from _setting_faults(f"{kind} {number}", table, (label,))


def _setting_faults(place: str, table: Mapping[str, Any], own: Sequence[str]) -> Iterator[str]:
    known = [field.name for field in fields(Config) if field.name not in _RESERVED]
    for key, value in table.items():
        if key in own:
            continue
        if key in _RESERVED:
            yield f"{place}: {key}: found it, expected it on the command line or made by the sweep"
        elif key not in known:
            listed = f"{', '.join((*own, *known))}{nearest(key, (*own, *known))}"
            yield f"{place}: {key}: unknown key, expected one of {listed}"
        elif value == []:
            yield f"{place}: {key}: found an empty list, expected values of the setting"


def scaled(config: Config, scale: float, *, available: int, processes: int) -> Config:
    """The run with everything that makes it dear shrunk by one factor x.

        channels of the first stage   w·√x, so that an image costs x times as much
        training images D             ⌊D·x⌉
        batch sizes M and M₀          ⌊M·x⌉, so that M/D, M/M₀ and learning rates stay
        iterations, epochs, warm-up   T·x
        images of the landscape       as batch sizes

    with every number of images rounded to a multiple of 2·processes, two images a process being
    the least that batch statistics are made of. Computing falls as x³. Microbatches and ghost
    batches shrink with their batch: a process makes as many of them as before, or fewer where
    its share has no such divisor. Wide networks and those of a factory keep their size.

    Arguments:
        config: the run at full size.
        scale: x, above 0 and at most 1, where nothing changes.
        available: training images of the set.
        processes: that train the run.

    Raises:
        ValueError: for a scale out of range.

    >>> small = scaled(Config(batch_size=1440, width=16), 0.25, available=1440, processes=2)
    >>> small.batch_size, small.samples, small.width, small.iterations
    (360, 360, 8, 100)
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale: found {scale}, expected a number above 0 and at most 1")
    if scale == 1:
        return config
    unit = 2 * processes
    batch = _images(config.batch_size, scale, unit)
    microbatch, ghost = _parts(config, batch, processes)
    return replace(
        config,
        width=_width(config, scale),
        samples=_images(config.train_size(available), scale, unit),
        batch_size=batch,
        base_batch_size=_images(config.base_batch_size, scale, unit),
        microbatch=microbatch,
        ghost_size=ghost,
        iterations=_count(config.iterations, scale),
        epochs=config.epochs * scale,
        warm_up=_count(config.warm_up, scale),
        landscape_images=_images(config.landscape_images, scale, 2 * unit),
    )


def _images(number: int, scale: float, unit: int) -> int:
    return max(unit, unit * round(number * scale / unit)) if number else 0


def _count(number: int, scale: float) -> int:
    return max(1, round(number * scale)) if number else 0


def _parts(config: Config, batch: int, processes: int) -> tuple[int, int]:
    """The sizes of a microbatch and of a ghost batch in a smaller batch."""
    share = batch // processes
    parts = _divisor(share // 2, config.microbatches(processes))
    whole = config.microbatch or config.batch_size // processes
    ghosts = _divisor(share // parts // 2, whole // config.ghost_size) if config.ghost_size else 0
    return (
        share // parts if config.microbatch else 0,
        share // parts // ghosts if ghosts else 0,
    )


def _divisor(number: int, largest: int) -> int:
    """The largest divisor of a number up to a limit of 1 or more."""
    return max(d for d in range(1, min(number, largest) + 1) if number % d == 0)


def _width(config: Config, scale: float) -> int:
    if ":" in config.model or wide_architecture(config.model) is not None:
        return config.width
    full = architecture(config.model, width=config.width).width
    return max(1, round(full * math.sqrt(scale)))


_QUICK_ITERATIONS, _QUICK_SEEDS = 20, 2


def study(folder: str, *, quick: bool = False) -> Recipe:
    """The recipe `demo`: two batch sizes at two rates, with several seeds.

    Arguments:
        folder: where the recordings go.
        quick: few seeds and iterations, to try the path rather than the predictions. The names
            stay the same.
    """
    whole = read_recipe(find("demo"), overrides={"folder": folder})
    if not quick:
        return whole
    few = [run for run in whole.runs if run.seed < _QUICK_SEEDS]
    return replace(
        whole,
        runs=tuple(replace(run, iterations=_QUICK_ITERATIONS) for run in few),
        study={run.run: whole.study[run.run] for run in few},
    )


def recorded() -> list[Path]:
    """The recordings that come with the package, part of those in the repository's `data`.

    In a checkout they are links; where links are plain files, these say where they lead.
    """
    folder = Path(str(files("ultraslow"))) / "recorded"
    return [
        path.parent / path.read_text(encoding="utf-8") if path.stat().st_size < _LINK else path
        for path in sorted(folder.glob("*.nc"))
    ]
