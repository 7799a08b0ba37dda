import io
import resource
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from rich.cells import cell_len

from ultraslow.diffusion import cli
from ultraslow.diffusion.recording.errors import RecordError

IMPORTED = (
    "import sys; from ultraslow.diffusion.cli import main; main(['--help']); print(*sys.modules)"
)


def processor_seconds(program):
    """What a program prints, and the processor time it took: other work does not lengthen that."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_fast_and_imports_nothing_heavy():
    bare = min(processor_seconds("pass")[1] for _ in range(3))
    runs = [processor_seconds(IMPORTED) for _ in range(3)]
    printed = runs[0][0]
    modules = set(printed.rsplit("\n", 2)[-2].split())
    heavy = {"torch", "xarray", "numpy", "scipy", "matplotlib", "pandas", "statsmodels"}
    heavy |= {"rich", "jinja2"}
    assert not modules & heavy, modules & heavy
    assert {"demo", "train", "fit", "test", "report", "info"} <= set(printed.split())
    assert min(seconds for _, seconds in runs) - bare < 0.3


def test_an_unknown_command_is_named(capsys):
    assert cli.main(["xyz"]) == 2
    assert "no command 'xyz'; there are: demo, train" in capsys.readouterr().err


def test_commands_that_an_older_installation_lacks_are_not_called_unknown(capsys, monkeypatch):
    installed = [entry for entry in cli.entry_points(group=cli.GROUP) if entry.name != "fit"]
    monkeypatch.setattr(cli, "entry_points", lambda group: installed)
    assert cli.main(["fit"]) == 2
    told = "ultraslow: the command 'fit' is newer than this installation: install it again"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "near"),
    [("fits", "fit"), ("reports", "report"), ("Train", "train"), ("simulations", "simulate")],
)
def test_the_command_that_may_be_meant_is_told(capsys, word, near):
    assert cli.main([word]) == 2
    assert f"no command {word!r} ({near}?); there are: demo" in capsys.readouterr().err


def test_an_unknown_option_is_named_as_well(capsys):
    assert cli.main(["--verson"]) == 2
    assert capsys.readouterr().err == "ultraslow: unknown option '--verson' (--version?)\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fit", "--levle", "0.9", "runs"], "unknown option '--levle' (--level?)"),
        (["fit", "--levle=0.9", "runs"], "unknown option '--levle=0.9' (--level?)"),
        (["fit"], "found no PATH"),
        (["fit", "runs", "--clock", "samplse"], "--clock: found 'samplse' (samples?), expected"),
        (["fit", "runs", "--level", "2"], "--level: found 2, expected a number from 0.8 to 0.99"),
        (["verify", "x"], "unknown word 'x'"),
    ],
)
def test_complaints_on_words_are_a_line_with_status_2(capsys, words, told):
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and told in said
    assert said.endswith(f"; `ultraslow {words[0]} --help` explains it\n")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_help_is_no_wider_than_the_terminal(monkeypatch, width):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    cli.main(["--help"])
    for name in cli.commands():
        with pytest.raises(SystemExit, match="0"):
            cli.main([name, "--help"])
    lines = screen.getvalue().split("\n")
    assert max(map(cell_len, lines)) <= width
    assert "usage: ultraslow fit [options] PATH ..." in lines
    assert "usage: ultraslow plan [options] [PATH ...]" in " ".join(screen.getvalue().split())


def test_an_example_keeps_its_lines(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["sweep", "--help"])
    assert "\n    ultraslow report runs\n" in capsys.readouterr().out


@pytest.mark.usefixtures("greeting")
def test_help_is_a_word_as_well(capsys):
    assert cli.main(["help"]) == 0
    assert "greet  Greet somebody." in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        cli.main(["help", "greet"])
    assert "usage: ultraslow greet" in capsys.readouterr().out


def greet(parser):
    """Greet somebody."""
    parser.add_argument("name")

    def run(arguments):
        faults = {
            "command": cli.CommandError("name: found 'command'"),
            "record": RecordError("a.nc", ["loss is missing", "there is no record"]),
            "file": FileNotFoundError(2, "No such file", "a.nc"),
            "far": FileNotFoundError(2, "No such file", "sqrt-b64-s9.nc"),
            "fault": ZeroDivisionError("x" * 10**5 + "\x1b[31m"),
            "stop": KeyboardInterrupt(),
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

    entry = Entry("greet", "nowhere:greet", cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry])


@pytest.mark.usefixtures("greeting")
def test_a_command_runs_and_its_status_is_returned(capsys):
    assert cli.main(["greet", "Ada"]) == 0
    assert capsys.readouterr().out == "hello Ada\n"
    assert cli.main([]) == 0
    assert "greet  Greet somebody." in capsys.readouterr().out


@pytest.mark.usefixtures("greeting")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("command", "ultraslow greet: name: found 'command'\n"),
        ("record", "ultraslow greet: a.nc: loss is missing; there is no record\n"),
        ("file", "ultraslow greet: a.nc: no such file\n"),
    ],
)
def test_faults_of_input_end_with_status_2_and_a_message(capsys, name, message):
    assert cli.main(["greet", name]) == 2
    assert capsys.readouterr().err == message


@pytest.mark.usefixtures("greeting")
def test_a_fault_of_the_program_is_a_line_and_its_trace_is_asked_for(capsys, monkeypatch):
    assert cli.main(["greet", "fault"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ultraslow greet: a fault of the program itself (ZeroDivisionError: x")
    assert len(said) < 600 and said.count("\n") == 1 and "--debug shows where" in said
    for words in (["--debug", "greet", "fault"], ["greet", "fault", "--debug"]):
        with pytest.raises(ZeroDivisionError):
            cli.main(words)
    monkeypatch.setenv("ULTRASLOW_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["greet", "fault"])


@pytest.mark.usefixtures("greeting")
def test_an_interruption_is_a_line_with_status_130(capsys):
    assert cli.main(["greet", "stop"]) == 130
    assert capsys.readouterr().err == "ultraslow greet: interrupted\n"


@pytest.mark.usefixtures("greeting")
def test_a_file_that_is_not_there_names_the_nearest(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sqrt-b64-s0.nc").touch()
    assert cli.main(["greet", "file"]) == 2
    assert capsys.readouterr().err == "ultraslow greet: a.nc: no such file\n"
    assert cli.main(["greet", "far"]) == 2
    assert "sqrt-b64-s9.nc: no such file (sqrt-b64-s0.nc?)" in capsys.readouterr().err


def test_a_broken_plug_in_does_not_take_the_others_along(monkeypatch, capsys):
    broken = EntryPoint("broken", "no_such_module:run", cli.GROUP)
    empty = EntryPoint("empty", "ultraslow.diffusion.cli:no_such", cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [broken, empty])
    assert cli.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert "cannot be loaded: No module named 'no_such_module'" in told
    assert "has no attribute 'no_such')" in told


def test_a_reader_that_has_had_enough_is_no_error():
    code = "from ultraslow.diffusion.cli import run_and_exit; run_and_exit()"
    program = subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    program.stdout.close()
    _, told = program.communicate()
    assert (program.returncode, told) == (1, b"")
