"""What is said of versions in several places agrees."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_citation_names_this_version_and_licence():
    text = (ROOT / "CITATION.cff").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.search(r"^version: (.+)$", text, re.M)[1] == version("ultraslow")
    assert re.search(r"^license: (.+)$", text, re.M)[1] == project["license"]


def test_every_requirement_has_one_lower_bound_that_a_version_below_the_pinned_one_meets():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    extras = [one for own in project["optional-dependencies"].values() for one in own]
    for requirement in {*project["dependencies"], *extras}:
        name, bound = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=(.+)", requirement).groups()
        assert numbers(bound) <= numbers(pins[name.lower().replace("_", "-")]), requirement


def numbers(text):
    """A version as numbers that compare."""
    return [int(part) for part in re.findall(r"\d+", text)]
