"""The report of runs as a page that an open browser loads again by itself.

No server is asked: a file is replaced by another in one step, and the page loads itself anew every
few seconds, at the place where its reader was. On top it says what lives, and how old it is; a
page that nobody writes any more says that as well. The report, which takes seconds, is made again
when records have come; the lines on top are put into it as often as they change.
"""

import base64
import hashlib
import math
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from threading import Thread, get_native_id

from markupsafe import Markup

from ultraslow.analysis.report.report import report
from ultraslow.analysis.runs.load import load_quietly
from ultraslow.analysis.text import plural, printable
from ultraslow.diffusion.recording import brief, whole_file

from .condition import Condition
from .screen import lines

RELOAD = 10  # seconds between two loads of the page, and two writings without a new report
_STALE = 6  # loads without a writing, after which nobody seems to write it
_NICE = 10  # priority of the thread that makes reports: others go first
_RUNS = 12  # runs that have lines of their own on top
_POLICY = re.compile(r"(<meta http-equiv=\"Content-Security-Policy\" content=\")([^\"]*)(\")")

# Where the reader was, and what was open, is kept for the page's next load. A hidden page waits
# until it is looked at, and one in which text is selected until it is not.
_SCRIPT = """(() => {
const top = document.getElementById("live"), every = 1000 * top.dataset.reload;
const written = 1000 * top.dataset.written, key = "live " + location.pathname;
const drawers = () => [...document.querySelectorAll("details")];
addEventListener("DOMContentLoaded", () => {
  try {
    const kept = JSON.parse(sessionStorage.getItem(key) || "{}");
    sessionStorage.removeItem(key);
    (kept.open || []).forEach((open, k) => { if (drawers()[k]) drawers()[k].open = open; });
    if (kept.y) addEventListener("load", () => scrollTo(0, kept.y));
  } catch {}
});
const age = () => {
  const seconds = Math.max(0, (Date.now() - written) / 1000);
  const told = seconds < 90 ? Math.round(seconds) + " s" : Math.round(seconds / 60) + " min";
  document.getElementById("live-age").textContent = ", " + told + " ago";
  document.getElementById("live-stale").hidden = !every || seconds < top.dataset.stale;
};
age(); setInterval(age, 1000);
const again = () => {
  if (document.hidden || String(getSelection())) return setTimeout(again, 1000);
  try {
    const open = drawers().map(one => one.open);
    sessionStorage.setItem(key, JSON.stringify({ y: scrollY, open }));
  } catch {}
  location.reload();
};
if (every) setTimeout(again, every);
})()"""

_BANNER = Markup(
    '<aside id="live" aria-label="Live" data-reload="{reload}" data-written="{written}" '
    'data-stale="{stale}"><p><strong>{head}</strong> Written {when}<span id="live-age"></span>'
    ' on {host}.{again} <strong id="live-stale" hidden>It has not been written since: '
    "<code>ultraslow watch</code> has ended or stands still.</strong></p>{runs}</aside>"
    "<script>{script}</script>"
)
_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'">
<title>Waiting for the first records</title></head>
<body><main><h1>Waiting for the first records</h1></main></body></html>
"""
_STYLE = """#live{border-left:4px solid currentColor;margin:0 0 1.5em;padding:.2em 1em;
font:13.5px/1.5 "Helvetica Neue","Segoe UI",Roboto,"Liberation Sans",Arial,sans-serif}
#live p,#live ul{margin:.3em 0}#live ul{padding-left:1.2em}#live li{overflow-wrap:anywhere}
@media print{#live{display:none}}"""


class LivePage:
    """A page that is kept fresh.

    The report is made beside what else goes on, in a thread of low priority, within a share of one
    core.

    Attributes:
        path: of the page; its numbers have the same name ending in `.json`.
        failed: why the last report was none; empty where it was one.
    """

    def __init__(
        self, path: Path, paths: Sequence[str], level: float, *, share: float, where: str = ""
    ) -> None:
        """Name the page; nothing is written yet.

        Arguments:
            path: of the page.
            paths: of the recordings.
            where: which of them, as `load` takes it.
            level: confidence level of the report.
            share: of one core that reports may take in the mean.
        """
        self.path = path
        self.failed = ""
        self._paths, self._where = list(paths), where
        self._level, self._share = level, share
        self._report = _FRAME
        self._of: tuple[object, ...] = ()  # what the report is of
        self._put = _FRAME, ""  # the report that was written last, and what stood on top of it
        self._at = self._free = -math.inf  # when it was, and when a report may be made again
        self._maker: Thread | None = None

    def work(self, found: Sequence[Condition], now: float) -> None:
        """Begin a report where records have come, and write what is new; takes no time.

        Arguments:
            found: conditions of the runs.
            now: seconds since 1970.

        Raises:
            OSError: when the disk refuses.
        """
        busy = self._maker is not None and self._maker.is_alive()
        if not busy and self._of != _records(found) and time.monotonic() >= self._free:
            self._of = _records(found)
            self._maker = Thread(target=self._make, args=(True,), daemon=True)
            self._maker.start()
        told = "\n".join(text for one in found for text in lines(one))
        aged = now - self._at
        if self._put[0] is not self._report or aged > RELOAD * (1 if self._put[1] != told else 3):
            self._put, self._at = (self._report, told), now
            self._write(_banner(found, now, last=False))

    def finish(self, found: Sequence[Condition], now: float) -> None:
        """Write the page for the last time, of all records; it does not load itself again.

        Raises:
            OSError: when the disk refuses.
        """
        if self._maker is not None:
            self._maker.join()
        if self._of != _records(found):
            self._of = _records(found)
            self._make(False)
        self._write(_banner(found, now, last=True))

    def _write(self, banner: Markup) -> None:
        with whole_file(self.path.resolve()) as file:
            file.write(with_banner(self._report, banner).encode(errors="replace"))

    def _make(self, beside: bool) -> None:
        """The report of what there is now; where that cannot be, the page keeps the one it has."""
        if not self._of:
            return
        if beside and sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICE)
        began, spent = time.monotonic(), time.process_time()
        try:
            with tempfile.TemporaryDirectory(prefix="ultraslow-") as folder:
                runs = load_quietly(self._paths, where=self._where)
                made = report(runs, Path(folder, "page.html"), level=self._level)
                text = made.path.read_text()
                with whole_file(self.path.with_suffix(".json").resolve()) as file:
                    file.write(made.numbers.read_bytes())
            self._report, self.failed = text, ""
        except Exception as error:  # whatever it is, the runs are followed all the same
            self.failed = f"the report could not be made: {brief(error)}"
        self._free = began + (time.process_time() - spent) / self._share


def _records(found: Sequence[Condition]) -> tuple[object, ...]:
    """What a report would be of; empty while there are no records."""
    known = [one for one in found if one.sight.records is not None]
    return tuple((str(one.sight.path), one.iteration, one.sight.state) for one in known)


def with_banner(page: str, banner: Markup) -> str:
    """A page with something on top that has a style and a script of its own.

    Arguments:
        page: its text.
        banner: what to put before all else, without its style.
    """

    def allowed(policy: re.Match[str]) -> str:
        rules = dict(rule.strip().partition(" ")[::2] for rule in policy[2].split(";"))
        for kind, text in (("style-src", _STYLE), ("script-src", _SCRIPT)):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            rules[kind] = f"{rules.get(kind, '')} 'sha256-{digest}'".strip()
        return f"{policy[1]}{'; '.join(f'{kind} {rules[kind]}' for kind in rules)}{policy[3]}"

    page = _POLICY.sub(allowed, page, count=1)
    page = page.replace("</head>", f"<style>{_STYLE}</style>\n</head>", 1)
    return re.sub(r"(<main[^>]*>)", lambda place: f"{place[1]}\n{banner}", page, count=1)


def _banner(found: Sequence[Condition], now: float, *, last: bool) -> Markup:
    live = sum(not one.sight.ended for one in found)
    head = (
        f"Live: {live} of {plural(len(found), 'run')} recording."
        if live
        else "No run is recording."
    )
    if last:
        head = f"{'No longer followed.' if live else 'Ended: no run is recording any more.'}"
    return _BANNER.format(
        reload=0 if last else RELOAD,
        written=round(now),
        stale=RELOAD * _STALE,
        head=head,
        when=f"{datetime.fromtimestamp(now):%Y-%m-%d %H:%M:%S}",
        host=printable(socket.gethostname(), 60),
        again="" if last else f" It loads itself again every {RELOAD} s.",
        runs=_runs(found),
        script=Markup(_SCRIPT),
    )


def _runs(found: Sequence[Condition]) -> Markup:
    """Lines of the runs that are not simply closed: of those the report tells."""
    open_ones = [one for one in found if one.sight.state != "closed" or one.alarms]
    ordered = sorted(open_ones, key=lambda one: (one.sight.ended, not one.alarms))
    shown = [text for one in ordered[:_RUNS] for text in lines(one)]
    if len(ordered) > _RUNS:
        shown.append(f"{plural(len(ordered) - _RUNS, 'more run')}")
    if not shown:
        return Markup()
    items = Markup("").join(Markup("<li>{}</li>").format(text) for text in shown)
    return Markup("<ul>{}</ul>").format(items)
