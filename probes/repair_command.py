"""`ultraslow repair`: rebuild recordings from their sound parts."""

import argparse

from diffusion.commands import Run


def repair(parser: argparse.ArgumentParser) -> Run:
    """Rebuild damaged recordings from their sound parts and say what was lost.

    Broken files are renamed to end in .broken; nothing is deleted, and sound recordings stay as
    they are.

    Example: ultraslow repair runs/r50-b8192-s0
    """
    parser.add_argument("paths", nargs="+", metavar="PATH", help="live folders or closed files")
    return _repair


def _repair(parsed: argparse.Namespace) -> int:
    from .repair import repair as rebuild

    for path in parsed.paths:
        done = rebuild(path)
        print(f"{done.path}: {done.records} records, " + ("repaired" if done.rebuilt else "sound"))
        for line in [*done.faults, *(f"set aside: {aside}" for aside in done.aside)]:
            print(f"    {line}")
    return 0
