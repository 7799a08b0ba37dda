"""The command that follows runs while they record."""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ultraslow.diffusion.cli import CommandError, Run
from ultraslow.diffusion.recording import escaped

from .shared import add_level, add_paths, bounded, check_output

if TYPE_CHECKING:
    from .live.condition import Condition, Readings
    from .live.follow import Sight
    from .live.page import LivePage

# Of one core, what may be spent on fits and on the page in the mean: a watcher often stands on a
# machine that trains.
FITS, PAGE = 0.05, 0.15
_PROMPT = 10.0  # seconds of the processor that fits of a last look may take
_TICK = 0.1  # seconds


def watch(parser: argparse.ArgumentParser) -> Run:
    """Follow runs while they record: newest numbers, growth, the next record, signs of life.

    What is not there yet is waited for. It ends when no run records any more: with status 0 where
    all were closed, 1 where one was killed, left or has vanished. Where the output is no terminal,
    a line is printed for each change.

    Example: ultraslow watch runs/ --output live.html
    """
    add_paths(parser)
    add_level(parser)
    parser.add_argument(
        "--interval",
        type=bounded(0.2, 86400, "seconds"),
        default=2.0,
        metavar="SECONDS",
        help="time between two looks (default: 2)",
    )
    parser.add_argument("--once", action="store_true", help="print one state and end")
    parser.add_argument(
        "--wait", action="store_true", help="go on when no run records, for those that follow"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="keep the report of the runs in a page that an open browser loads again by itself",
    )
    return _watch


def _watch(arguments: argparse.Namespace) -> int:
    from ultraslow.analysis.runs import ConditionError

    from .live.condition import Readings
    from .live.follow import Watched

    try:
        watched = Watched(arguments.paths, arguments.where)
    except ConditionError as error:
        raise CommandError(f"--{error}") from error
    readings = Readings(arguments.level)
    keeper = _Keeper(readings, _page(arguments))
    with _Screen(arguments.paths) as screen, keeper.page_to_the_end():
        over = False
        while True:
            found = [readings.read(sight, time.time()) for sight in watched.look()]
            if arguments.once and not found:
                raise CommandError(f"{arguments.paths[0]}: {_absent(arguments.paths)}")
            # Seen twice: a run that begins anew gives its folder back for a moment.
            before, over = over, bool(found) and all(one.sight.ended for one in found)
            closed = over and all(one.sight.state == "closed" for one in found)
            if arguments.once or ((before or closed) and over and not arguments.wait):
                keeper.found = _refined(readings, found)
                screen.show(keeper.found, last=True)
                break
            screen.show(found)
            keeper.found = found
            for refined in keeper.work(time.monotonic() + arguments.interval):
                screen.show(refined, keeper.failed)
    if not arguments.once:
        print(_ending(keeper.found))
    return int(any(_has_failed(one.sight) for one in keeper.found))


def _has_failed(sight: "Sight") -> bool:
    """Whether a run ended and was not closed, or its closed file cannot be read."""
    return sight.ended and (sight.state != "closed" or bool(sight.fault))


def _page(arguments: argparse.Namespace) -> "LivePage | None":
    """The page that was asked for, written once to see that it can be."""
    if arguments.output is None:
        return None
    from .live.page import LivePage

    check_output(arguments.output)
    if arguments.output.suffix in (".json", ".nc"):
        raise CommandError(
            f"--output: found {arguments.output}, expected a page's name: its numbers get the "
            "same name ending in .json"
        )
    page = LivePage(
        arguments.output, arguments.paths, arguments.level, share=PAGE, where=arguments.where
    )
    try:
        page.work([], time.time())
    except OSError as error:
        raise CommandError(
            f"--output: {arguments.output} cannot be written: {error.strerror}"
        ) from error
    return page


def _absent(paths: Sequence[str]) -> str:
    """Why nothing is at some paths."""
    from ultraslow.analysis.runs.load import absence

    return absence(paths[0]) if len(paths) == 1 else "and the others hold no recording"


def _refined(readings: "Readings", found: "Sequence[Condition]") -> "list[Condition]":
    """Conditions with estimates from all records, as far as there is time for them."""
    until = time.process_time() + _PROMPT
    return [
        readings.refine(one) if one.stale and time.process_time() < until else one for one in found
    ]


def _ending(found: "Sequence[Condition]") -> str:
    """How the runs ended, in a line."""
    from ultraslow.analysis.text import number, plural

    if len(found) == 1:
        (one,) = found
        path = escaped(one.sight.path)
        after = f" after iteration {number(one.iteration)}" if one.iteration >= 0 else ""
        words = {"vanished": "vanished", "foreign": "is no recording"}
        how = words.get(one.sight.state, f"was {one.sight.state}")
        return f"ended: {one.name} {how}{after}: {path}"
    states = [one.sight.state for one in found]
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"ended: {plural(len(found), 'run')}, {told}"


class _Keeper:
    """Does between two looks what takes long, within a share of one core.

    Attributes:
        found: conditions of the runs, the last there are.
        failed: why the page could not be written; empty where it was.
    """

    def __init__(self, readings: "Readings", page: "LivePage | None") -> None:
        self.found: list[Condition] = []
        self.failed = ""
        self._readings, self._page = readings, page
        self._free = 0.0  # when there is time again
        self._fitted: dict[Path, float] = {}  # when each run was

    def work(self, until: float) -> "Iterator[list[Condition]]":
        """Pass the time, and give what has become better known."""
        while (left := until - time.monotonic()) > 0:
            self._keep_page()
            place = self._stalest()
            if place is not None and time.monotonic() >= self._free:
                began, spent = time.monotonic(), time.process_time()
                self.found[place] = self._readings.refine(self.found[place])
                self._fitted[self.found[place].sight.path] = time.monotonic()
                self._free = began + (time.process_time() - spent) / FITS
                yield self.found
            else:
                time.sleep(min(left, _TICK))

    def _stalest(self) -> int | None:
        """The run whose last fit is the longest ago, of those that have new records."""
        stale = [place for place, one in enumerate(self.found) if one.stale]
        return min(
            stale,
            key=lambda place: self._fitted.get(self.found[place].sight.path, 0.0),
            default=None,
        )

    def _keep_page(self, *, last: bool = False) -> None:
        if self._page is None:
            return
        try:
            (self._page.finish if last else self._page.work)(self.found, time.time())
            self.failed = self._page.failed
        except OSError as error:
            self.failed = f"{self._page.path} cannot be written: {error.strerror}"

    @contextmanager
    def page_to_the_end(self) -> Iterator[None]:
        """At the end the page is written once more, and does not load itself again."""
        try:
            yield
        finally:
            self._keep_page(last=True)


class _Screen(AbstractContextManager["_Screen"]):
    """A terminal that is drawn anew, or lines where the output is none."""

    def __init__(self, paths: Sequence[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._paths = paths
        self._console = Console(highlight=False, markup=False, emoji=False)
        drawn = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = Live(console=self._console, auto_refresh=False) if drawn else None
        self._said: set[str] = set()
        self._waiting: set[tuple[Path, int]] = set()

    def __enter__(self) -> "_Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, found: "Sequence[Condition]", failed: str = "", *, last: bool = False) -> None:
        """Show what there is, or that nothing is there yet."""
        from rich.console import Group
        from rich.text import Text

        from .live.screen import drawn, lines

        waiting = "" if found else f"waiting for {', '.join(self._paths)}: {_absent(self._paths)}"
        notes = [escaped(text) for text in (waiting, failed) if text]
        if self._live is None:
            ready = [one for one in found if last or not self._may_wait(one)]
            for text in [*(line for one in ready for line in lines(one)), *notes]:
                self._say(text)
            return
        size = self._console.size
        parts = [drawn(found, time.time(), height=size.height, width=size.width)] if found else []
        self._live.update(Group(*parts, *map(Text, notes)), refresh=True)

    def _may_wait(self, one: "Condition") -> bool:
        """Whether a line would soon be told better, with estimates of its own."""
        key = one.sight.path, one.iteration
        waits = one.stale and key not in self._waiting
        self._waiting.add(key)
        return waits

    def _say(self, text: str) -> None:
        """A line of a log, once."""
        if text not in self._said:
            self._said.add(text)
            print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
