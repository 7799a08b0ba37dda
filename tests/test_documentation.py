"""What the documentation tells a reader to type is run here as it stands."""

import contextlib
import importlib
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch
import xarray as xr

from ultraslow.diffusion import cli
from ultraslow.diffusion.recording.fields import FIELDS

ROOT = Path(__file__).parents[1]
ROOMS = ("diffusion", "probes", "analysis")
README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
PROBES = (DOCS / "record" / "probes.md").read_text()
UNUSUAL = (DOCS / "record" / "unusual-loops.md").read_text()
BATCH_SIZES = (DOCS / "decide" / "batch-sizes.md").read_text()
VERIFYING = (DOCS / "record" / "verifying.md").read_text()
COMPARING = (DOCS / "decide" / "comparing-laws.md").read_text()
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("data/**/*.md")]
SOURCES = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]


def blocks(language, text=README):
    """Fenced blocks of a language; plain ones have none."""
    fenced = re.findall(r"^```(\S*)[^\n]*\n(.*?)^```", text, re.S | re.M)
    return [body for name, body in fenced if name == language]


def commands(text):
    """Lines of plain blocks, and words in backticks, that begin with the name of the command."""
    lines = [line for block in blocks("", text) for line in block.splitlines()]
    return [
        line.removeprefix("ultraslow ")
        for line in [
            *lines,
            *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)),
        ]
        if line.startswith("ultraslow ")
    ]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder like the reader's: a model, an optimizer, data, and a place for runs."""
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Linear(4, 2)
    loader = [(torch.randn(8, 4), torch.randint(2, (8,))) for _ in range(40)]
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "criterion": torch.nn.CrossEntropyLoss(),
        "loader": loader,
    }


def test_the_readme_runs_as_it_stands(study, tmp_path, capsys):
    attach, fit, report = blocks("python")
    study["loader"] = [(torch.randn(8192, 4), torch.randint(2, (8192,)))] * 40
    exec(attach, study)
    assert xr.load_dataset("runs/r50-b8192-s0.nc")["iteration"][-1] == 40
    exec(fit, study)
    assert "exponent" in study["fit"]
    exec(report, study)
    assert {"P1", "P2"} <= set(study["verdicts"]["prediction"].values)
    Path("report.html").unlink()
    Path("report.json").unlink()
    asked = commands(README)
    assert {words.split()[0] for words in asked} == {"report", "fit", "test", "verify", "--help"}
    for words in asked:
        if words.split()[0] != "verify":  # run by tests/probes/test_cli.py
            assert cli.main(shlex.split(words)) == 0, words
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "report.json").exists()


def test_the_optional_probes_run_as_they_stand(study):
    attach, units, handed = blocks("python", PROBES + UNUSUAL)
    study["loader"] = [(torch.randn(64, 4), torch.randint(2, (64,))) for _ in range(40)]
    study |= {
        "held_out": lambda model: {"loss": 0.5, "accuracy": 0.25},
        "batch_loss": lambda model, batch: study["criterion"](model(batch[0]), batch[1]),
        "batches": study["loader"][:2],
    }
    exec(attach, study)
    for inputs, targets in study["loader"] * 25:
        study["criterion"](study["model"](inputs), targets).backward()
        study["optimizer"].step()
        study["optimizer"].zero_grad()
    each = [study["criterion"](study["model"](x[:32]), y[:32]) for x, y in study["loader"][:2]]
    study |= {"k": 2, "n": 2, "W": 1, "tokens": 32, "N": 64, "first": each[0], "second": each[1]}
    study |= {"inputs": inputs, "penalty": study["model"].weight.square().sum()}
    exec(units, study)
    study["optimizer"].zero_grad()
    study["loss"] = study["criterion"](study["model"](inputs), targets)
    exec(handed, study)
    study["recorder"].close()
    asked = commands(PROBES + UNUSUAL)
    assert {words.split()[0] for words in asked} == {"label", "info"}
    for words in asked:
        path = "" if "/" in words else " runs/resnet8-b64-s0.nc"
        assert cli.main(shlex.split(words + path)) == 0, words
    run = xr.load_dataset("runs/resnet8-b64-s0.nc")
    named = re.findall(r"`([a-z_]+)`", PROBES + UNUSUAL)
    fields = set(named) & set(FIELDS) - {"gradient_sq", "noise_trace"}
    absent = {
        "group_learning_rate",
        "tensor_group",
        "added_noise",
        "gradient_difference",
        "noise_left_out",
        "loss_scale",
        "skipped",
    }
    assert fields - absent <= set(run.variables)
    held_out = run["held_out"].dropna("iteration", how="all")
    assert held_out["iteration"].values.tolist() == [0, 10, 100, 1000]


def test_the_page_on_verifying_runs_as_it_stands(study, capsys):
    (python,) = blocks("python", VERIFYING)
    exec(python, study)
    assert study["found"].status == "right"
    (shown,) = blocks("text", VERIFYING)
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == [
        line.split()[0] for line in shown.splitlines()
    ]
    assert re.sub(r"[0-9]+", "n", shown.splitlines()[-1]) in re.sub(r"[0-9]+", "n", told)
    assert {words.split()[0] for words in commands(VERIFYING)} == {"verify"}


def test_the_page_on_batch_sizes_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    where = ROOT / "tests" / "frozen" / "losses.py"
    spec = importlib.util.spec_from_file_location("losses", where)
    losses = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(losses)
    monkeypatch.chdir(tmp_path)
    sizes = ["--batch-sizes", "64", "256", "1024", "--seeds", "4"]
    assert cli.main(["simulate", "law", "--folder", "bare", *sizes]) == 0
    Path("runs").mkdir()
    for path in Path("bare").glob("*.nc"):
        losses.with_loss(xr.load_dataset(path)).to_netcdf(Path("runs", path.name))
    studies = {}
    (python,) = blocks("python", BATCH_SIZES)
    exec(python, studies)
    found = studies["answer"].size
    assert found.low < losses.CRITICAL < found.high
    steps = {size: 100 * (1 + losses.CRITICAL / size) for size in (64, 256, 1024, 4096)}
    rows = [f"{size},{round(count)}" for size, count in steps.items()]
    Path("steps.csv").write_text("\n".join(["batch,steps", *rows]))
    asked = commands(BATCH_SIZES)
    assert {words.split()[0] for words in asked} == {"batch", "test"}
    for words in asked:
        words = words.replace("test --json", "test --json runs/")
        assert cli.main(shlex.split(words)) == 0, words


def test_the_page_on_comparing_laws_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ["--batch-sizes", "64", "--seeds", "3"]
    assert cli.main(["simulate", "law", "--folder", "runs", *sizes]) == 0
    studies = {}
    (python,) = blocks("python", COMPARING)
    exec(python, studies)
    assert studies["laws"]["survives"].sel(law="log with onset").values.all()
    (words,) = commands(COMPARING)
    options = re.findall(r"`(--[a-z]+(?: [a-z.]+)?)`", COMPARING)
    assert options == ["--level", "--json", "--output laws.nc"]
    asked = [*shlex.split(words), "--level", "0.9", "--json", *shlex.split(options[-1])]
    for given in (shlex.split(words), asked):
        assert cli.main(given) == 0, given
    assert xr.load_dataset("laws.nc").attrs["level"] == 0.9


# By what the code and the commands of a page are run as they stand.
RUN_BY = {
    "README.md": __file__,
    "CONTRIBUTING.md": "front_door/test_contributing.py",
    "docs/decide/batch-sizes.md": __file__,
    "docs/decide/comparing-laws.md": __file__,
    "docs/decide/report.md": "docs/test_decide_pages.py",
    "docs/decide/scale.md": "analysis/growth/test_chunks.py",
    "docs/decide/planning.md": "analysis/cli/test_batch_sizes.py",
    "docs/record/any-loop.md": "docs/test_record_pages.py",
    "docs/record/big-models.md": "docs/test_record_pages.py",
    "docs/record/accelerate.md": "probes/hosts/test_accelerate.py",
    "docs/record/ddp.md": "docs/test_record_pages.py",
    "docs/record/fsdp2.md": "docs/test_record_pages.py",
    "docs/record/resume.md": "docs/test_record_pages.py",
    "docs/record/slurm.md": "docs/test_record_pages.py",
    "docs/record/checkpoints.md": "probes/checkpoints/test_record.py",
    "docs/record/huggingface.md": "probes/hosts/test_transformers.py",
    "docs/record/importing.md": "analysis/importers/test_importing.py",
    "docs/record/lightning.md": "probes/hosts/test_lightning.py",
    "docs/record/probes.md": __file__,
    "docs/record/unusual-loops.md": __file__,
    "docs/record/verifying.md": __file__,
    "docs/record/recipes.md": "docs/test_record_pages.py",
    "docs/record/stores.md": "docs/test_record_pages.py",
    "docs/record/watching.md": "analysis/cli/test_watching.py",
}


def test_no_other_page_has_something_to_type():
    for path in PAGES:
        name = str(path.relative_to(ROOT))
        text = path.read_text()
        if name in RUN_BY:
            assert (ROOT / "tests" / RUN_BY[name]).exists(), RUN_BY[name]
        else:  # notebooks are run when the site is built
            assert not blocks("python", text) + blocks("", text), path


def test_make_targets_and_commands_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    for target in set(re.findall(r"^make ([a-z]+) +#", text, re.M)):
        assert re.search(rf"^{target}:.*##", makefile, re.M), target
    told = [words.split()[0] for path in PAGES for words in commands(path.read_text())]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["entry-points"][cli.GROUP]
    assert {word for word in told if not word.startswith("-")} <= set(listed)


def leads_somewhere(name):
    """Whether a dotted name is that of a module, a value in one, or an attribute."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        with contextlib.suppress(ImportError):
            found = importlib.import_module(".".join(parts[:count]))
            break
    else:
        return False
    for part in parts[count:]:
        if part in getattr(found, "__annotations__", {}):  # a field without a default
            return True
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def readings(name):
    """What a dotted name may stand for: from the top, or from a module by its last name."""
    first, rest = name.split(".", 1)
    if first == "us":
        yield f"ultraslow.{rest}"
    elif first in ROOMS:
        yield f"ultraslow.{name}"
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts[-1] == first:
            yield ".".join(["ultraslow", *parts, rest])
    yield name


def test_names_in_backticks_lead_to_something():
    """Modules, functions and fields that docstrings and pages refer to."""
    no_modules = {"totals.count", "ultraslow.commands"}
    for path in [*SOURCES, *PAGES]:
        text = path.read_text()
        text = text.split("### The house")[0] if path.name == "CHANGELOG.md" else text
        for name in re.findall(r"`([a-z_]+(?:\.\w+)+)(?:\([^`]*)?`", text):
            is_file = re.search(r"\.(py|pyi|json|csv|nc|html|toml|txt|md)$", name)
            if name not in no_modules and not is_file:
                assert any(map(leads_somewhere, readings(name))), f"{path}: {name}"


def test_files_and_links_that_are_named_are_there():
    to_be_added = {"stalled.py", "half_way.py"}  # by who contributes
    for path in [*PAGES, *SOURCES]:
        text = path.read_text()
        for name in re.findall(
            r"`((?:tests|docs|data|src|probes|analysis|diffusion)/[\w./-]+)`", text
        ):
            assert (ROOT / name).exists() or Path(name).name in to_be_added, f"{path}: {name}"
        if path.suffix == ".md":
            for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
                assert (path.parent / link).exists(), f"{path}: {link}"


def test_every_command_explains_itself_with_an_example(capsys):
    for name in cli.commands():
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert f"ultraslow {name}" in capsys.readouterr().out.split("Example", 1)[1], name
