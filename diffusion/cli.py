"""The `ultraslow` command: gathers its sub-commands from entry points.

A sub-command is an entry point of the group `ultraslow.commands`. It names a function that adds
its arguments to a parser and returns what to run; its docstring is its help text. Command modules
import heavy libraries only inside what they return, so `ultraslow --help` stays fast.
"""

import argparse
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

from ultraslow import __version__
from ultraslow.diffusion.recording import RecordError, escaped, nearest, nearest_file, shortened

from .terminal import WIDTH, Head, cells, grid, screen_width, tell, wrapped

GROUP = "ultraslow.commands"
_FAULT_LENGTH = 300  # characters of what an internal fault says

Run = Callable[[argparse.Namespace], int]
Command = Callable[[argparse.ArgumentParser], Run]

# The order of a working day: record, look, fit, decide; commands of other packages follow by name.
# All of this package's own, so that an installation that is older than one of them is told.
_ORDER = (
    "demo",
    "train",
    "sweep",
    "watch",
    "info",
    "fit",
    "test",
    "compare",
    "report",
    "noise",
    "batch",
    "plan",
    "simulate",
    "import",
    "checkpoints",
    "export",
    "verify",
    "label",
    "repair",
)


class CommandError(Exception):
    """A command that cannot do what it was asked; the message is for the person who asked."""


def commands() -> dict[str, EntryPoint]:
    """Installed sub-commands by name, in the order of a working day."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    known = [name for name in _ORDER if name in found]
    return {name: found[name] for name in [*known, *sorted(set(found) - set(known))]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit status.

    Arguments:
        arguments: words after `ultraslow`; those of the process when None.

    Returns:
        0 when done, 1 when the answer is no, 2 when the request or its input is unusable, 130
        when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or bool(os.environ.get("ULTRASLOW_DEBUG"))
    words = [word for word in words if word != "--debug"]
    installed = commands()
    if not words or words[0] in ("-h", "--help"):
        print(_overview(installed))
        return 0
    if words[0] in ("--version", "-V"):
        print(f"ultraslow {__version__}")
        return 0
    if words[0] == "help" and "help" not in installed:
        return main([*words[1:2], "--help"])
    if words[0] not in installed:
        tell(f"ultraslow: {_unknown(words[0], installed)}")
        return 2
    try:
        return _run(words[0], installed[words[0]].load(), words[1:], debug=debug)
    except KeyboardInterrupt:
        _end_bar()
        tell(f"ultraslow {words[0]}: interrupted")
        return 130


def _unknown(word: str, installed: dict[str, EntryPoint]) -> str:
    """Why a command cannot be run, and what may be meant."""
    if word in _ORDER:
        return (
            f"the command {word!r} is newer than this installation: install it again (in a "
            "checkout: pip install -e .)"
        )
    if word.startswith("-"):
        return f"unknown option {word!r}{nearest(word, ('--help', '--version', '--debug'))}"
    listed = ", ".join(installed)
    return f"no command {shortened(word, 80)!r}{nearest(word, installed)}; there are: {listed}"


def run_and_exit() -> None:
    """Run `main` as a program."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _run(name: str, command: Command, words: Sequence[str], *, debug: bool = False) -> int:
    parser = Parser(
        prog=f"ultraslow {name}",
        description=inspect.getdoc(command),
        formatter_class=HelpText,
    )
    run = command(parser)
    try:
        return run(parser.parse_args(words))
    except BrokenPipeError:
        raise
    except (CommandError, RecordError, OSError) as error:
        _end_bar()
        several = isinstance(error, CommandError)  # the program's own words, in lines of its own
        tell(f"ultraslow {name}: {_in_words(error)}", lines=several)
        return 2
    except Exception as error:
        if debug:
            raise
        _end_bar()
        told = shortened(f"{type(error).__name__}: {error}", _FAULT_LENGTH)
        tell(
            f"ultraslow {name}: a fault of the program itself ({told}). The same command with "
            "--debug shows where: please report that"
        )
        return 2


def _end_bar() -> None:
    """Leave the line of a progress bar, which a message would be written behind."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)


def _in_words(error: Exception) -> str:
    """What is wrong, where a path is concerned without the number that systems have for it.

    >>> _in_words(FileNotFoundError(2, "No such file or directory", "runs.toml"))
    'runs.toml: no such file or directory'
    """
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        near = nearest_file(str(error.filename)) if isinstance(error, FileNotFoundError) else ""
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}{near}"
    return str(error)


def _overview(installed: dict[str, EntryPoint]) -> str:
    width = screen_width()
    heads = (Head(left=True), Head(left=True))
    rows = [[f"  {name}", _summary(entry)] for name, entry in installed.items()]
    told = (
        "How the weights of a network move: record it, fit growth laws, test the predictions.",
        "`ultraslow COMMAND --help` explains one command; `ultraslow --version` tells which.",
    )
    about, more = (wrapped(text, min(width or WIDTH, WIDTH)) for text in told)
    table = grid(heads, rows, width)[0]
    return f"usage: ultraslow COMMAND ...\n\n{about}\n\n{table}\n\n{more}"


def _summary(entry: EntryPoint) -> str:
    try:
        return (inspect.getdoc(entry.load()) or "").split("\n")[0]
    except (
        ImportError,
        AttributeError,
    ) as error:  # a broken plug-in must not take the others along
        return f"(cannot be loaded: {escaped(error)})"


class HelpText(argparse.HelpFormatter):
    """Help as wide as the terminal; what is set in, as examples are, keeps its lines."""

    def __init__(self, prog: str) -> None:
        self._columns = min(screen_width() or WIDTH, WIDTH)
        super().__init__(prog, max_help_position=26, width=self._columns)

    def format_help(self) -> str:
        """The help, with the lines wrapped that names of options make too long."""
        lines = super().format_help().split("\n")
        return "\n".join(
            line if cells(line) <= self._columns else wrapped(line, self._columns)
            for line in lines
        )

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = []
        for paragraph in text.split("\n\n"):
            lines = paragraph.split("\n")
            flows = not any(line.startswith(" ") for line in lines)
            lines = [" ".join(lines)] if flows else lines
            paragraphs.append("\n".join(wrapped(line, width, indent=0) for line in lines))
        return "\n\n".join(indent + paragraph for paragraph in paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(" ".join(text.split()), width, indent=0).split("\n")


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, with what may be meant."""

    def format_help(self) -> str:
        """The help; its first line names what the command needs, its options stand below."""
        shapes = {"+": "{0} ...", "*": "[{0} ...]", "?": "[{0}]"}
        needed = " ".join(
            shapes.get(str(action.nargs), "{0}").format(action.metavar or action.dest.upper())
            for action in self._get_positional_actions()
        )
        self.usage = f"{self.prog} [options] {needed}".rstrip()
        return super().format_help()

    def parse_args(self, words: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """The words of a command line, parsed; an unknown option names its nearest."""
        found, unknown = self.parse_known_args(words)
        if unknown:
            known = [name for name in self._option_string_actions if name.startswith("--")]
            word = next((one for one in unknown if one.startswith("-")), unknown[0])
            kind = "option" if word.startswith("-") else "word"
            near = nearest(word.partition("=")[0], known) if kind == "option" else ""
            self.error(f"unknown {kind} {shortened(word, 80)!r}{near}")
        return found

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in a line, and end with status 2."""
        message = message.removeprefix("argument ")
        choice = re.fullmatch(r"(\S+): invalid choice: '(.*)' \(choose from (.*)\)", message, re.S)
        if choice:
            name, word, listed = choice.groups()
            known = listed.replace("'", "")
            near = nearest(word, known.split(", "))
            message = f"{name}: found {shortened(word, 80)!r}{near}, expected one of {known}"
        absent = re.fullmatch(r"the following arguments are required: (.*)", message)
        if absent:
            message = f"found no {absent[1]}"
        tell(f"{self.prog}: {message}; `{self.prog} --help` explains it")
        raise SystemExit(2)
