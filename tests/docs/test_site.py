"""The pages of the site as they lie in the repository: reachable, linked, and true to the code.

Sphinx refuses the rest when it builds them: unknown references, and examples that fail.
"""

import importlib.util
import re
from pathlib import Path

import pytest

from ultraslow.diffusion import cli
from ultraslow.diffusion.predictions import PREDICTIONS
from ultraslow.diffusion.recording.fields import FIELDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.S | re.M)


def program(name):
    """A module of docs/, which no package holds."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated():
    return program("generated")


def listed(path, generated):
    """The pages in the tables of contents of one."""
    text = generated.MARK.sub(
        lambda found: generated.laws() if found[1] == "laws" else "", path.read_text()
    )
    lines = [line for body in TOCTREE.findall(text) for line in body.splitlines()]
    return {path.parent / f"{line}.md" for line in lines if line and line[0] != ":"}


def slug(heading):
    """The anchor that a heading has on the site and in the repository."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return kept.replace(" ", "-")


def anchors(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
    return {re.sub("-+", "-", slug(found)) for found in re.findall(r"^#+ (.+)$", text, re.M)}


def test_every_page_is_in_a_table_of_contents(generated):
    found = {DOCS / "index.md"}
    for path in PAGES:
        entries = listed(path, generated)
        assert all(entry.exists() for entry in entries), f"{path}: {entries}"
        found |= entries
    assert set(PAGES) == found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_links_lead_to_a_heading_that_is_there(path):
    for link, anchor in re.findall(r"\]\(([\w./-]*\.md)?#([^)]+)\)", path.read_text()):
        place = path.parent / link if link else path
        assert re.sub("-+", "-", anchor) in anchors(place), f"{path}: {link}#{anchor}"


def test_what_pages_include_or_ask_the_code_for_is_there(generated):
    for path in PAGES:
        text = path.read_text()
        assert set(generated.MARK.findall(text)) <= set(generated.WRITERS), path
        for place in re.findall(r"^```\{include\} (.+)$", text, re.M):
            assert (path.parent / place).exists(), f"{path}: {place}"


def test_all_tables_of_the_statistics_are_shown():
    shown = re.findall(
        r"\{include\} .*/(\w+\.md)", (DOCS / "theory" / "statistics.md").read_text()
    )
    assert sorted(shown) == sorted(
        path.name for path in (ROOT / "tests" / "statistics").glob("*_table.md")
    )


def test_the_reference_has_all_commands_fields_and_predictions(generated):
    commands = generated.commands()
    assert all(f"\n## {name}\n" in f"\n{commands}" for name in cli.commands())
    assert all(f"`{name}`" in generated.fields() for name in FIELDS)
    assert all(f"## {key}: " in generated.predictions() for key in PREDICTIONS)
    assert "ultraslow.attach" in generated.front_door()


def test_docstrings_become_what_sphinx_reads():
    docstrings = program("docstrings")
    table = ["Contents:", "    one  the first", "    two  the second"]
    assert docstrings.rewritten(table) == ["Contents::", "", *table[1:]]
    formula = [
        "The norm |x|, `y*_`, *near* x.",
        "",
        "    d = |a|*b",
        "",
        "Arguments:",
        "    x: |x|.",
    ]
    assert docstrings.rewritten(formula) == [
        r"The norm \|x\|, `y*_`, *near* x.",
        "",
        "::",
        "",
        "    d = |a|*b",
        "",
        "Arguments:",
        r"    x: \|x\|.",
    ]


def test_nothing_of_the_site_is_fetched_from_elsewhere():
    """Neither styles nor settings name another server; what is built is looked at in a browser."""
    for path in [*(DOCS / "_static").glob("*.css"), DOCS / "conf.py"]:
        assert not re.search(r"https?://|url\((?!data:)", path.read_text()), path
