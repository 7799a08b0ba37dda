"""One progress bar for any number of runs, fed with the events that their processes tell."""

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from tqdm import tqdm

from ultraslow.probes.runs.config import Config

# An update costs as much time as this many images, beside its own images.
_UPDATE = 128
_LAYOUT = "{percentage:3.0f}% |{bar}| {elapsed} < {remaining}  {desc}"


class Display:
    """The progress bar: its length is the computing that the runs need, in images."""

    def __init__(self, configs: Sequence[Config]) -> None:
        """Show an empty bar.

        Arguments:
            configs: the runs that will be trained.
        """
        self._price = {config.run: config.batch_size + _UPDATE for config in configs}
        self._length = {config.run: config.iterations for config in configs}
        self._at = dict.fromkeys(self._price, 0)
        self._over = 0
        self._pixels: set[str] = set()
        self._bar: tqdm[Any] = tqdm(
            total=sum(price * self._length[run] for run, price in self._price.items()),
            desc="starting",
            bar_format=_LAYOUT,
            # Where there is no terminal to redraw a line on, a line now and then is enough.
            mininterval=0.1 if sys.stderr.isatty() else 15.0,
            # 0: the time left is judged by the mean speed, as runs differ in theirs.
            smoothing=0,
        )

    def __enter__(self) -> "Display":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands."""
        self._bar.close()

    def heard(self, event: Mapping[str, Any]) -> None:
        """Move the bar to where an event says that a run is."""
        match event["event"]:
            case "start":
                if not any(self._at.values()):
                    self._bar.unpause()  # starting took time that is no measure of what is left
            case "resumed":  # what was made before is no measure of speed
                self._at[event["run"]] = event["iteration"]
                self._bar.total -= event["iteration"] * self._price[event["run"]]
            case "at":
                self._bar.set_description_str(self._text(event), refresh=False)
                self._move(event["run"], event["iteration"])
            case "seen":
                self._move(event["run"], event["iteration"])
            case "images" if event["sha256"] not in self._pixels:
                self._pixels.add(event["sha256"])
                self.say(
                    f"images: found pixels of digest {event['sha256'][:12]}, the recipe was made"
                    f" with {event['expected'][:12]}: other files, or decoded by another library."
                    " Runs of this sweep compare with each other, not digit for digit with those"
                    " made with the recipe's images."
                )
            case "requeued" | "ended":
                again = "queued again, to go on" if event["event"] == "requeued" else "ended, kept"
                self.say(f"{event['run']}: {again} from iteration {event['iteration']}")
            case "end" | "failed":
                self._over += 1
                self._move(event["run"], self._length[event["run"]])

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._bar.write(message, file=sys.stderr)

    def _move(self, run: str, iteration: int) -> None:
        self._bar.update((iteration - self._at[run]) * self._price[run])
        self._at[run] = iteration

    def _text(self, event: Mapping[str, Any]) -> str:
        several = f"{self._over}/{len(self._at)} runs  " if len(self._at) > 1 else ""
        place = f"iteration {event['iteration']}  loss {event['loss']:.3f}"
        return f"{several}{event['run']}  {place}"
