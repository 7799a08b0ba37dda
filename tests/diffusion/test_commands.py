import subprocess
import sys
import time
from importlib.metadata import EntryPoint

import pytest

from diffusion import commands
from diffusion.recording import RecordError

IMPORTED = "import sys; from diffusion.commands import main; main(['--help']); print(*sys.modules)"


def test_help_is_fast_and_imports_nothing_heavy():
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    bare = time.perf_counter() - start
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
        seconds.append(time.perf_counter() - start - bare)
    modules = set(done.stdout.rsplit("\n", 2)[-2].split())
    heavy = {"torch", "xarray", "numpy", "scipy", "matplotlib", "pandas", "statsmodels"}
    assert not modules & heavy, modules & heavy
    assert {"demo", "train", "fit", "test", "report", "info"} <= set(done.stdout.split())
    assert min(seconds) < 0.3


def test_an_unknown_command_is_named(capsys):
    assert commands.main(["fits"]) == 2
    assert "no command 'fits'; there are: demo, train" in capsys.readouterr().err


def greet(parser):
    """Greet somebody."""
    parser.add_argument("name")

    def run(arguments):
        faults = {
            "command": commands.CommandError("name: found 'command'"),
            "record": RecordError("a.nc", ["loss is missing", "there is no record"]),
            "file": FileNotFoundError(2, "No such file", "a.nc"),
        }
        if arguments.name in faults:
            raise faults[arguments.name]
        print("hello", arguments.name)
        return 0

    return run


@pytest.fixture
def greeting(monkeypatch):
    class Entry(EntryPoint):
        def load(self):
            return greet

    entry = Entry("greet", "nowhere:greet", commands.GROUP)
    monkeypatch.setattr(commands, "entry_points", lambda group: [entry])


@pytest.mark.usefixtures("greeting")
def test_a_command_runs_and_its_status_is_returned(capsys):
    assert commands.main(["greet", "Ada"]) == 0
    assert capsys.readouterr().out == "hello Ada\n"
    assert commands.main([]) == 0
    assert "greet  Greet somebody." in capsys.readouterr().out


@pytest.mark.usefixtures("greeting")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("command", "ultraslow greet: name: found 'command'\n"),
        ("record", "ultraslow greet: a.nc: loss is missing; there is no record\n"),
        ("file", "ultraslow greet: [Errno 2] No such file: 'a.nc'\n"),
    ],
)
def test_faults_of_input_end_with_status_2_and_a_message(capsys, name, message):
    assert commands.main(["greet", name]) == 2
    assert capsys.readouterr().err == message


def test_a_broken_plug_in_does_not_take_the_others_along(monkeypatch, capsys):
    broken = EntryPoint("broken", "no_such_module:run", commands.GROUP)
    monkeypatch.setattr(commands, "entry_points", lambda group: [broken])
    assert commands.main(["--help"]) == 0
    assert "cannot be loaded: No module named 'no_such_module'" in capsys.readouterr().out
