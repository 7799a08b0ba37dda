"""The `ultraslow` command: gathers its sub-commands from entry points.

A sub-command is an entry point of the group `ultraslow.commands`. It names a function that adds
its arguments to a parser and returns what to run; its docstring is its help text. Command modules
import heavy libraries only inside what they return, so `ultraslow --help` stays fast.
"""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points

from ultraslow import __version__
from ultraslow.diffusion.recording import RecordError, escaped, nearest

GROUP = "ultraslow.commands"

Run = Callable[[argparse.Namespace], int]
Command = Callable[[argparse.ArgumentParser], Run]

# The order of a working day: record, look, fit, decide; commands of other packages follow by name.
# All of this package's own, so that an installation that is older than one of them is told.
_ORDER = (
    "demo",
    "train",
    "sweep",
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
        0 when done, 1 when the answer is no, 2 when the request or its input is unusable.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    installed = commands()
    if not words or words[0] in ("-h", "--help"):
        print(_overview(installed))
        return 0
    if words[0] == "--version":
        print(f"ultraslow {__version__}")
        return 0
    if words[0] == "help" and "help" not in installed:
        return main([*words[1:2], "--help"])
    if words[0] in _ORDER and words[0] not in installed:
        print(
            f"ultraslow: the command {words[0]!r} is newer than this installation: install it "
            "again (in a checkout: pip install -e .)",
            file=sys.stderr,
        )
        return 2
    if words[0] not in installed:
        print(
            f"ultraslow: no command {words[0]!r}{nearest(words[0], installed)}; there are: "
            f"{', '.join(installed)}",
            file=sys.stderr,
        )
        return 2
    return _run(words[0], installed[words[0]].load(), words[1:])


def run_and_exit() -> None:
    """Run `main` as a program."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _run(name: str, command: Command, words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"ultraslow {name}",
        description=inspect.getdoc(command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run = command(parser)
    parsed = parser.parse_args(words)
    try:
        return run(parsed)
    except BrokenPipeError:
        raise
    except (CommandError, RecordError, OSError) as error:
        several = isinstance(error, CommandError)  # the program's own words, in lines of its own
        said = escaped(_in_words(error), lines=several)
        print(f"ultraslow {name}: {said}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"ultraslow {name}: interrupted", file=sys.stderr)
        return 130


def _in_words(error: Exception) -> str:
    """What is wrong, where a path is concerned without the number that systems have for it.

    >>> _in_words(FileNotFoundError(2, "No such file or directory", "runs.toml"))
    'runs.toml: no such file or directory'
    """
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def _overview(installed: dict[str, EntryPoint]) -> str:
    width = max(map(len, installed), default=0)
    rows = [f"  {name:<{width}}  {_summary(entry)}" for name, entry in installed.items()]
    return "\n".join(
        [
            "usage: ultraslow COMMAND ...",
            "",
            "How the weights of a network move: record it, fit growth laws, test the predictions.",
            "",
            *rows,
            "",
            "`ultraslow COMMAND --help` explains one command.",
        ]
    )


def _summary(entry: EntryPoint) -> str:
    try:
        return (inspect.getdoc(entry.load()) or "").split("\n")[0]
    except (
        ImportError,
        AttributeError,
    ) as error:  # a broken plug-in must not take the others along
        return f"(cannot be loaded: {error})"
