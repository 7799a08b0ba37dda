"""The suite on other versions of Python and of what it depends on.

    nox --list
    nox --session lowest

Interpreters that this machine lacks are skipped. PyTorch is the version of constraints.txt in all
sessions: its older wheels want other libraries, and which of them suits a machine is not ours to
choose.
"""

import os
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PYTHONS = ("3.11", "3.12", "3.13")
# What runs the suite but is no dependency of the package keeps the versions it is pinned to.
RUNNERS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
# What the lowest session has beside the package; hosts choose the versions of much else.
LOWEST = ("demo", "slurm", "optimizers", "stores", "scale")
# Each extra alone, and a module that imports what it brings.
ALONE = {
    "demo": "import sklearn",
    "slurm": "import submitit",
    "optimizers": "import pytorch_optimizer",
    "lightning": "import ultraslow.probes.hosts.lightning",
    "transformers": "import ultraslow.probes.hosts.transformers",
    "accelerate": "import ultraslow.probes.hosts.accelerate",
    "wandb": "import wandb",
    "stores": "import s3fs",
    "scale": "import dask.array, distributed",
}

nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lowest"]
os.environ.setdefault("OMP_NUM_THREADS", "1")


def oldest(requirement: str) -> str:
    """The oldest version that a requirement lets in.

    >>> oldest("numpy>=2.0")
    'numpy==2.0'
    """
    return requirement.replace(">=", "==")


def pinned(name: str) -> str:
    """A line of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.lower().startswith(f"{name}=="))


def run_suite(session: nox.Session, *words: str) -> None:
    """The suite, as `make test` runs it, without pages and files that need further libraries."""
    session.chdir(str(ROOT))
    session.run("python", "-m", "pytest", "--quiet", "-n", "2", "--dist", "loadfile", *words)


@nox.session(python=PYTHONS)
def suite(session: nox.Session) -> None:
    """The whole suite at the pinned versions."""
    session.install("-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[test]")
    run_suite(session, *session.posargs)


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """The whole suite at whatever is newest today."""
    session.install(pinned("torch"), "-e", f"{ROOT}[test]")
    run_suite(session, *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The suite at the oldest versions that pyproject.toml admits, without the hosts."""
    needed = [one for one in PROJECT["dependencies"] if not one.startswith("torch")]
    extras = [one for extra in LOWEST for one in EXTRAS[extra]]
    versions = list(map(oldest, [*needed, *extras]))
    session.install(pinned("torch"), *versions, *map(pinned, RUNNERS), "hatchling")
    session.install("--no-deps", "--no-build-isolation", "-e", str(ROOT))
    run_suite(session, "--ignore", "tests/frozen", "--ignore", "tests/docs", *session.posargs)


@nox.session(python="3.11")
@nox.parametrize("extra", list(ALONE))
def alone(session: nox.Session, extra: str) -> None:
    """Each extra by itself: what it brings is imported, without the others."""
    session.install("-c", str(ROOT / "constraints.txt"), f"{ROOT}[{extra}]")
    session.run("python", "-c", f"import ultraslow; {ALONE[extra]}")
    session.run("ultraslow", "--version")
