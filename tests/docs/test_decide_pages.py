"""The commands and the code of the pages on answers, run as they stand."""

import re
import shlex
from pathlib import Path

from ultraslow.diffusion import cli

FOLDER = Path(__file__).parents[2] / "docs" / "decide"


def test_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ["--batch-sizes", "64", "--seeds", "2", "--iterations", "100"]
    assert cli.main(["simulate", "law", "--folder", "runs", *sizes]) == 0
    page = (FOLDER / "report.md").read_text()
    typed = [*re.findall(r"^ultraslow (.*)$", page, re.M), *re.findall(r"`ultraslow (.*?)`", page)]
    assert [words.split()[0] for words in typed] == ["report", "test", "test"]
    for words in typed:
        assert cli.main(shlex.split(words)) == 0, words
    Path("report.html").unlink()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    exec(code, {})
    assert Path("report.html").exists()
