"""What the product says, stored and compared: `frozen.py store` and `frozen.py compare`.

Answers are those of the command line on the shipped recordings, on simulated ones and on those of
two short distributed trainings. In `answers/` they are shortened and compared within tolerances;
any other folder holds them whole, for `compare --exact` on the machine that stored them.

Of tables in the terminal and of pages the words and numbers are compared, in their order, and of
pages the drawings to the letter; where lines break, how columns are aligned and which elements of
HTML hold a text is not. JSON, recordings, messages on errors and help are compared as they are.
"""

import argparse
import fnmatch
import html
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
ANSWERS = HERE / "answers"
PRODUCT = str(Path(sys.executable).with_name("ultraslow"))
SHOWN, ONE_READS = 40, Lock()  # the files' library is not safe with threads
# Relative: what is read or simulated, and what an optimizer found or other kernels trained.
CLOSE, FOUND = 1e-6, 2e-3
# Of recordings made here, whatever tells the time, the place or the versions.
VARYING = {"created", "history", "versions", "commit", "written", "wall_time", "probe_seconds"}
# What depends on the files' library as well, and is left out of the shortened answers.
BYTES = {"sha256", "initial_sha256", "page"}
# A drawn page says when it was made, and names its shapes at random.
MADE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:\+00:00)?|\b[a-z]?[0-9a-f]{10}\b")
NUMBER = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")

# A drawing, what a page has beside its text, and a word that was parted at a line's end.
DRAWING = re.compile(r"<svg.*?</svg>", re.DOTALL)
MARKS = re.compile(r"<style>.*?</style>|<!--.*?-->|<[^>]+>", re.DOTALL)
PARTED = re.compile(r"(?<=\w-)\n *(?=\w)")

SIMULATED = {
    "field": ["--iterations", "3000"],
    "line": ["--iterations", "3000"],
    "quadratic": ["--iterations", "3000", "--scaling", "linear"],
    "scale-invariant": ["--iterations", "3000", "--scaling", "fixed"],
    "separable": ["--iterations", "3000", "--scaling", "fixed"],
    "drift": ["--iterations", "3000", "--data-size", "4096"],
    "law": ["--iterations", "3000"],
}
PATHS = {
    "limit": "data/limit-cifar10-small",
    "cifar": "data/cifar10-small",
    **{kind: f"made/{kind}" for kind in [*SIMULATED, "ddp", "fsdp"]},
}
PILOTS = {
    "limit": "data/limit-cifar10-small/00-baseline-s0.nc",
    "cifar": "data/cifar10-small/sqrt-b64-s*.nc",
    **{kind: f"made/{kind}/*-b64-s*.nc" for kind in SIMULATED},
}
ASKED = {"info": "info", "fit": "fit --tensors", "test": "test", "batch": "batch"}
PAGE, PLAN = [PRODUCT, "report", "--output"], [PRODUCT, "plan", "--draws", "100"]
COMMANDS = ["demo", "train", "sweep", "simulate", "verify", "repair", "plan", "report", *ASKED]
ASKED["compare"] = "compare"
ASKED["ladder"] = "test --ladder"
# Sets that are asked for their tables as well; in the others they come from the same code.
TEXTS = ("limit", "cifar", "law", "ddp")


@dataclass(frozen=True)
class Case:
    """One command and how its answer is read."""

    name: str
    words: list[str]
    read: str = "json"  # json, text, table, report, or the folder of recordings that it makes

    @property
    def tolerance(self):
        return CLOSE if self.name.endswith((".info", ".simulate")) else FOUND


def makers():
    for kind, options in SIMULATED.items():
        words = [PRODUCT, "simulate", kind, "--folder", f"made/{kind}", "--seeds", "4", *options]
        yield Case(f"{kind}.simulate", words, f"made/{kind}")
    losses = [sys.executable, str(HERE / "losses.py"), PRODUCT, "made/losses"]
    yield Case("losses.made", losses, "made/losses")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for kind in ("ddp", "fsdp"):
        words = [*start, str(HERE / "training.py"), f"made/{kind}", kind]
        yield Case(f"{kind}.train", words, f"made/{kind}")


def askers():
    """The longest first, so that two processes end together."""
    for name, path in sorted(PATHS.items(), key=lambda pair: pair[0] != "cifar"):
        yield Case(f"{name}.report", [*PAGE, f"{name}.html", path], f"report {name}")
        for word, command in ASKED.items():
            if word in ("batch", "ladder") and name not in TEXTS:
                continue
            yield Case(f"{name}.{word}", [PRODUCT, *command.split(), "--json", path])
            if name in TEXTS:
                words = command.replace("--tensors", "").split()
                yield Case(f"{name}.{word}-text", [PRODUCT, *words, path], "table")
    yield Case("hoffer.info", [PRODUCT, "info", "data/hoffer2017-fig2a"], "table")
    yield Case("sqrt.batch", [PRODUCT, "batch", "data/cifar10-small/sqrt-b*.nc"], "table")
    yield Case("cifar.level", [PRODUCT, "test", "--level", "0.8", "--json", PATHS["cifar"]])
    yield Case("losses.batch", [PRODUCT, "batch", "--json", "made/losses"])
    for name, path in PILOTS.items():
        yield Case(f"{name}.plan", [*PLAN, "--json", path])
    numbers = [*PLAN, "--noise", "0.02", "--exponent", "0.4"]
    yield Case("numbers.plan", [*numbers, "--json"])
    yield Case("numbers.plan-text", numbers, "table")
    for command in COMMANDS:
        yield Case(f"{command}.help", [PRODUCT, command, "--help"], "text")


def answer(case, folder):
    """Run a command in the folder; its status, what it printed, and what it wrote."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    done = subprocess.run(
        case.words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    said = {"status": done.returncode, "out": done.stdout.splitlines()}
    if not case.name.endswith(".train"):  # the launcher tells the time
        said["errors"] = done.stderr.splitlines()
    elif done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    if case.read == "json" and done.stdout.startswith(("{", "[")):
        said["out"] = json.loads(done.stdout)
    if case.read.startswith("made/"):
        made = folder / case.read
        said["files"] = sorted(str(path.relative_to(made)) for path in made.rglob("*"))
        said["recordings"] = {path.stem: recording(path) for path in sorted(made.glob("*.nc"))}
    if case.read.startswith("report") and not done.returncode:
        page = folder / case.read.split()[1]
        said["report"] = json.loads(page.with_suffix(".json").read_text())
        said["page"] = MADE.sub("·", page.with_suffix(".html").read_text()).splitlines()
    return json.loads(json.dumps(without_varying(case, said), default=plain))


def recording(path):
    with ONE_READS:
        data = xr.load_dataset(path, decode_times=False)
    told = {
        "attributes": dict(data.attrs),
        "sizes": dict(data.sizes),
        "coordinates": sorted(data.coords),
        "variables": {name: variable(one) for name, one in data.variables.items()},
    }
    return {**dropped(told, VARYING), "names": sorted([*data.variables, *data.attrs])}


def variable(one):
    kinds = [str(one.encoding.get(key)) for key in ("dtype", "zlib", "_FillValue")]
    values = one.values.ravel().tolist()
    return {"dims": one.dims, "attributes": one.attrs, "stored_as": kinds, "values": values}


def plain(value):
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def without_varying(case, said):
    """Without the day and versions of a report, and what varies in recordings made here."""
    for key in ("created", "versions"):
        said.get("report", {}).pop(key, None)
    trained = case.name.startswith(("ddp.", "fsdp."))
    return dropped(said, VARYING | {"sha256", "page"}) if trained else said


def dropped(value, keys):
    if isinstance(value, dict):
        return {key: dropped(one, keys) for key, one in value.items() if key not in keys}
    return [dropped(one, keys) for one in value] if isinstance(value, list) else value


def shortened(value):
    """A sample of recordings and long lists, and numbers to nine digits."""
    if isinstance(value, dict):
        if isinstance(runs := value.get("recordings"), dict):
            value = {**value, "recordings": {name: runs[name] for name in list(runs)[::5]}}
        return {key: shortened(one) for key, one in value.items() if key not in BYTES}
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.9g}")
    if not isinstance(value, list) or not value:
        return value
    most = {dict: 8, str: 1000}.get(type(value[0]), 100)
    step = math.ceil(len(value) / most)
    some = [shortened(one) for one in value[::step]]
    return some if step == 1 else {"of": len(value), "some": some}


def differences(stored, found, at="", *, exact, rtol):
    """Where two answers differ, as (path, stored, found)."""
    same = partial(differences, exact=exact, rtol=rtol)
    if isinstance(stored, dict) and isinstance(found, dict):
        for key in sorted({*stored, *found}):
            yield from same(stored.get(key, "absent"), found.get(key, "absent"), f"{at}/{key}")
    elif isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        scale = max((abs(one) for one in stored if finite(one)), default=0.0)
        for index, (old, new) in enumerate(zip(stored, found, strict=True)):
            if exact or not (finite(old) and finite(new) and abs(old - new) <= rtol * scale):
                yield from same(old, new, f"{at}/{index}")
    elif isinstance(stored, list) and isinstance(found, list):
        pairs = zip(stored, found, strict=False)
        part = next((k for k, (old, new) in enumerate(pairs) if old != new), 0)
        yield f"{at}/{part}", stored[part : part + 9], found[part : part + 9]
    elif not (identical(stored, found) or (not exact and alike(stored, found, rtol))):
        yield at, stored, found


def finite(value):
    return isinstance(value, int | float) and math.isfinite(value)


def identical(stored, found):
    both_nan = isinstance(stored, float) and isinstance(found, float) and stored != stored
    return type(stored) is type(found) and (stored == found or both_nan and found != found)


def alike(stored, found, rtol):
    """Numbers within the tolerance; texts of the same words whose numbers are, or differ by one in
    their last digit."""
    if finite(stored) and finite(found):
        return abs(stored - found) <= rtol * max(abs(stored), abs(found)) + 1e-9
    texts = isinstance(stored, str) and isinstance(found, str)
    if not texts or NUMBER.sub("#", stored) != NUMBER.sub("#", found):
        return False
    return all(
        abs(old - new) <= rtol * abs(old) + 1.01 * last
        for (old, last), (new, _) in zip(numbers(stored), numbers(found), strict=True)
    )


def numbers(text):
    """The numbers in a text, each with what one in its last decimal is worth."""
    for number in NUMBER.findall(text):
        digits, _, power = number.replace(",", "").replace("−", "-").partition("e")
        places, power = len(digits.partition(".")[2]), int(power or 0)
        yield float(digits) * 10.0**power, 10.0 ** (power - places) if places else 0.0


def answers(wanted, folder):
    """Case and answer, in the order in which they are ready to be told."""
    asked = [case for case in askers() if chosen(case, wanted)]
    used = " ".join(word for case in asked for word in case.words)
    made = [case for case in makers() if chosen(case, wanted) or case.read in used]
    (folder / "data").symlink_to(HERE.parents[1] / "data")
    with ThreadPoolExecutor(2) as two:
        for cases in (made, asked):
            told = zip(cases, two.map(lambda case: answer(case, folder), cases), strict=True)
            yield from ((case, said) for case, said in told if chosen(case, wanted))


def chosen(case, wanted):
    return any(fnmatch.fnmatch(case.name, pattern) for pattern in wanted)


def lines(value, depth=3):
    """JSON with a line for each entry of the upper levels, so that changes can be read."""
    if not depth or not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if isinstance(value, list):
        return "[\n" + ",\n".join(lines(one, depth=0) for one in value) + "\n]"
    entries = (f"{json.dumps(key)}:{lines(value[key], depth - 1)}" for key in sorted(value))
    return "{\n" + ",\n".join(entries) + "\n}"


def in_words(case, said):
    """An answer with its tables and its page as words, by which two are compared."""
    if said is None or not case.read.startswith(("table", "report")):
        return said
    told = {**said, "out": table_words(said["out"])}
    if "page" in said:
        page = "\n".join(said["page"])
        told["page"] = html.unescape(MARKS.sub(" ", DRAWING.sub(" ", page))).split()
        told["drawings"] = DRAWING.findall(page)
    return told


def table_words(printed):
    return PARTED.sub("", "\n".join(printed)).split()


def compare(case, said, parsed):
    path = parsed.folder / f"{case.name}.json"
    stored = json.loads(path.read_text()) if path.exists() else None
    stored, said = in_words(case, stored), in_words(case, said)
    return differences(stored, said, case.name, exact=parsed.exact, rtol=case.tolerance)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["store", "compare"])
    parser.add_argument("--folder", type=Path, default=ANSWERS, help="of the answers")
    parser.add_argument("--exact", action="store_true", help="to the last digit")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="NAME", help="names or globs")
    return parser.parse_args()


def main():
    parsed = arguments()
    parsed.folder.mkdir(parents=True, exist_ok=True)
    brief = parsed.folder.resolve() == ANSWERS.resolve()
    found, count = [], 0
    with tempfile.TemporaryDirectory() as work:
        for case, said in answers(parsed.only, Path(work)):
            said, count = shortened(said) if brief else said, count + 1
            if parsed.action == "store":
                (parsed.folder / f"{case.name}.json").write_text(lines(said) + "\n")
            else:
                found += compare(case, said, parsed)
    for at, old, new in found[:SHOWN]:
        print(f"{at}\n  stored {str(old)[:300]}\n  found  {str(new)[:300]}")
    print(f"{count} answers, {len(found)} differences")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main())
