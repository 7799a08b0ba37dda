"""Run all benchmarks, print one table and write it as JSON.

python tests/benchmarks/run.py [--output bench.json] [NAME ...]
"""

import argparse
import importlib
import json
import platform
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names():
    """Benchmarks by name: every bench_NAME.py beside this file, each with a `measure()`."""
    return [path.stem.removeprefix("bench_") for path in sorted(HERE.glob("bench_*.py"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "names", nargs="*", default=names(), help="which benchmarks, of: %(default)s"
    )
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    parsed = parser.parse_args()
    sys.path.insert(0, str(HERE))
    table = {}
    for name in parsed.names:
        print(f"\n{name}", flush=True)
        table[name] = importlib.import_module(f"bench_{name}").measure()
        for figure, value in table[name].items():
            print(f"  {figure:72} {value:>12.4g}", flush=True)
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    parsed.output.write_text(json.dumps({**machine, "figures": table}, indent=1) + "\n")
    print(f"\nwritten to {parsed.output}")


if __name__ == "__main__":
    main()
