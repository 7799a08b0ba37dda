"""What is installed: all of the package and nothing else, beside whatever folders a user has.

Environments without the repository lie beside the packages of the one that runs the tests: a line
in a .pth file adds those, and does not read the .pth files there, among them that of an editable
install.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("diffusion", "probes", "analysis")
RECORDING = ROOT / "data" / "cifar10-small" / "sqrt-b64-s0.nc"

SCRIPT = """
import sys
from pathlib import Path
import torch, torch.distributed as dist
import ultraslow as us

assert str(Path(us.__file__).parent).startswith({prefix!r}), us.__file__
folder = Path(sys.argv[1])
model = torch.nn.Linear(4, 2)
wrapped = model
if "--ranks" in sys.argv:
    dist.init_process_group("gloo")
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with us.attach(wrapped, optimizer, folder / "a-run", batch_size=8):
    late = {{"scipy", "statsmodels", "matplotlib"}}  # what training does not need
    assert "--ranks" in sys.argv or not late & set(sys.modules)
    for _ in range(100):
        wrapped(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
rank = dist.get_rank() if dist.is_initialized() else 0
if rank == 0:
    run = us.load(folder / "a-run.nc")["a-run"].to_dataset()
    distance = run["distance_sq"].sum("tensor", skipna=False) ** 0.5
    print(float(us.fit_growth(distance)["exponent"]), run["iteration"].values[-1])
    print(us.RecordError, us.__version__)
if dist.is_initialized():
    dist.barrier()
    dist.destroy_process_group()
"""


def called(*command, folder=None, path=()):
    """What a command printed, without the paths and options of the tests."""
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "ULTRASLOW_CACHE": "off"}
    if path:
        environment["PYTHONPATH"] = ":".join(map(str, path))
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder, kind, into):
    """The one distribution of a kind that is built from a folder."""
    called(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", into, folder=folder)
    (made,) = into.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return made


def environment(folder, *what):
    """A Python with the packages of this one and a distribution; its folder of programs."""
    called(sys.executable, "-m", "venv", "--without-pip", folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    called(sys.executable, "-m", "pip", "--python", python, "install", *options, *what)
    return folder / "bin"


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(ROOT, "sdist", folder)) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="session")
def wheel(sdist, tmp_path_factory):
    """The wheel that is built from the source distribution."""
    return build(sdist, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Programs of an environment that has the wheel."""
    return environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


def files_of(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def of_the_package():
    """Files that belong into a distribution, below `ultraslow`."""
    door = ROOT / "src" / "ultraslow"
    found = {path.relative_to(door) for path in door.iterdir() if path.is_file()}
    found |= {path.relative_to(door) for path in (door / "recorded").iterdir()}
    for room in ROOMS:
        found |= {path.relative_to(ROOT) for path in (ROOT / room).rglob("*") if path.is_file()}
    return {path for path in found if "__pycache__" not in path.parts}


@pytest.fixture
def hostile(tmp_path):
    """A user's folder, whose packages have the names of ours and of our data."""
    for folder in (tmp_path / "beside", tmp_path / "elsewhere"):
        for name in (*ROOMS, "data", "recording", "tests"):
            (folder / name).mkdir(parents=True)
            (folder / name / "__init__.py").write_text("raise ImportError(__name__)")
        (folder / "ultraslow").mkdir()  # as a checkout is called
    for name in (*ROOMS, "text", "cli", "noise"):
        (tmp_path / "elsewhere" / f"{name}.py").write_text("raise ImportError(__name__)")
    return tmp_path


def runs_beside(python, hostile, prefix):
    """A script that attaches and fits, in the user's folder; returns what it printed."""
    script = hostile / "beside" / "train.py"
    script.write_text(SCRIPT.format(prefix=str(prefix)))
    return called(
        *python, script, hostile, folder=hostile / "beside", path=[hostile / "elsewhere"]
    )


def commands_beside(programs, hostile):
    """The command, as program and as module, in the user's folder."""
    where = {"folder": hostile / "beside", "path": [hostile / "elsewhere"]}
    for command in ([programs / "ultraslow"], [programs / "python", "-m", "ultraslow"]):
        assert "usage: ultraslow COMMAND" in called(*command, "--help", **where)
        assert called(*command, "--version", **where).startswith("ultraslow ")
    assert "sqrt-b64-s0" in called(*command, "info", RECORDING, **where)


def test_a_distribution_holds_the_package_and_nothing_else(sdist, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
    meta = {path for path in names if path.parts[0].endswith(".dist-info")}
    assert {path.relative_to("ultraslow") for path in names - meta} == of_the_package()
    assert {"METADATA", "RECORD", "WHEEL", "entry_points.txt"} <= {path.name for path in meta}
    about = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    door = {path for path in of_the_package() if path.parts[0] not in ROOMS}
    rooms = of_the_package() - door
    expected = {*map(Path, about), *(Path("src", "ultraslow") / path for path in door), *rooms}
    assert files_of(sdist) == expected
    suffixes = {path.suffix for path in of_the_package()}
    known = {".py", ".pyi", ".typed", ".toml", ".html", ".css", ".js", ".nc", ".npz"}
    assert known >= suffixes - {""}


def test_recordings_come_with_the_package_and_are_those_of_the_repository(sdist, wheel):
    links = sorted((ROOT / "src" / "ultraslow" / "recorded").iterdir())
    kept = {path.name: path.read_bytes() for path in (ROOT / "data").rglob("*.nc")}
    with zipfile.ZipFile(wheel) as archive:
        for link in links:
            assert link.is_symlink()
            assert archive.read(f"ultraslow/recorded/{link.name}") == kept[link.name]
            unpacked = sdist / "src" / "ultraslow" / "recorded" / link.name
            assert not unpacked.is_symlink() and unpacked.read_bytes() == kept[link.name]
        told = [one.compress_size for one in archive.infolist() if "/recorded/" in one.filename]
    assert sum(told) < 5e6


def test_the_wheel_shows_what_is_known_without_training(installed, hostile):
    told = called(installed / "ultraslow", "demo", "--recorded", folder=hostile / "beside")
    assert told.startswith("What is known: 15 recordings out of the study limit-study")
    plain = " ".join(told.split())
    assert "Logarithmic growth: contradicted at batch sizes 32 and 5120." in plain
    assert "At batch size 32 the last decade added 3.3" in plain
    assert "7 contradicted (P1, P2, P4, P5, P7, P9, P10), 1 supported (H-b)" in told
    assert len(told.splitlines()) <= 10
    made = {path.name for path in (hostile / "beside" / "demo").iterdir()}
    assert made == {"recorded.html", "recorded.json"}


def test_all_that_is_asked_for_is_pinned():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*told["build-system"]["requires"], *told["project"]["dependencies"]]
    asked += [
        name for extra in told["project"]["optional-dependencies"].values() for name in extra
    ]
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.M)
    plain = {name.lower().replace("_", "-") for name in pinned}
    assert {re.match(r"[\w-]+", name)[0].lower().replace("_", "-") for name in asked} <= plain


def test_the_wheel_works_beside_a_users_folders(installed, hostile):
    commands_beside(installed, hostile)
    told = runs_beside([installed / "python"], hostile, installed.parent)
    assert told.split()[1] == "100"


def test_the_wheel_works_beside_a_users_folders_under_torchrun(installed, hostile):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = hostile / "beside" / "train.py"
    script.write_text(SCRIPT.format(prefix=str(installed.parent)))
    command = [installed / "python", *launch, script, hostile, "--ranks"]
    where = {"folder": hostile / "beside", "path": [hostile / "elsewhere"]}
    assert called(*command, **where).split()[1] == "100"


@pytest.mark.slow
def test_an_editable_install_works_beside_a_users_folders(hostile, tmp_path):
    programs = environment(tmp_path / "venv", "--editable", ROOT)
    commands_beside(programs, hostile)
    told = runs_beside([programs / "python"], hostile, ROOT)
    assert told.split()[1] == "100"


def test_a_checkout_whose_links_are_plain_files(hostile, tmp_path):
    """As git makes them on Windows: each holds the path that it should lead to."""
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", copy / "src", symlinks=True, ignore=ignored)
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=ignored)
        link = copy / "src" / "ultraslow" / room
        aim = link.readlink()
        link.unlink()
        link.write_text(str(aim))
    where = {"folder": hostile / "beside", "path": [copy / "src", hostile / "elsewhere"]}
    told = called(sys.executable, "-m", "ultraslow", "info", RECORDING, **where)
    assert "sqrt-b64-s0" in told
    for link in (copy / "src" / "ultraslow" / "recorded").iterdir():
        aim = link.readlink()
        link.unlink()
        link.write_text(str(aim))
    program = "from ultraslow.probes.runs.recipe import recorded; print(recorded()[-1].resolve())"
    told = called(sys.executable, "-c", program, **where).strip()
    assert Path(told).relative_to(copy.resolve()).parts[:2] == ("data", "limit-study")
    program = "import ultraslow as us; print(us.fit_growth, us.analysis.__file__)"
    assert str(copy / "analysis") in called(sys.executable, "-c", program, **where)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["wheel", "checkout"])
def test_a_type_checker_finds_the_names(where, request, tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "mine.py"
    script.write_text(
        "import ultraslow as us\n"
        "reveal_type(us.__version__)\n"
        "reveal_type(us.attach)\n"
        "reveal_type(us.probes.attach)\n"
        "reveal_type(us.no_such)\n"
    )
    path = ROOT / "src"
    if where == "wheel":
        with zipfile.ZipFile(request.getfixturevalue("wheel")) as archive:
            archive.extractall(tmp_path / "packages")
        path = tmp_path / "packages"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", tmp_path, script],
        env={**os.environ, "MYPYPATH": str(path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    told = done.stdout.replace("builtins.", "")
    assert 'Revealed type is "str"' in told
    assert told.count("batch_size: int") == 2
    assert told.count("error:") == 1
    assert "no_such" in told
