"""Programs with and without the lines that a user adds, and what comes of them."""

import ast
import itertools
import re
import warnings
from pathlib import Path

import torch

from ultraslow.diffusion.recording import closed_file, read_file

HERE = Path(__file__).parent
MARK = "# ultraslow"


def source(name):
    """Text of a program, such as `alone/gan`."""
    return (HERE / f"{name}.py").read_text()


def added(text):
    """The lines that a user adds, beside the import."""
    marked = [line for line in text.splitlines() if line.endswith(MARK)]
    return [line for line in marked if not line.startswith("import ")]


def without_probes(text):
    """The program as it was before; a context of the recorder's becomes none."""
    text = re.sub(rf"^( *)with recorder\..*{MARK}$", r"\1if True:", text, flags=re.M)
    text = "\n".join(line for line in text.split("\n") if not line.endswith(MARK))
    assert "recorder" not in text and "us." not in text.replace("focus.", "")
    return text


def run(text, name):
    """Run a program as a script, and return its global names."""
    names = {"__name__": "__main__"}
    exec(compile(text, str(HERE / f"{name}.py"), "exec"), names)
    return names


def in_steps(text, name):
    """A program's loop as a function to be called, of an update or a pass: for `us.verify`.

    Returns:
        The function, the arguments of `us.attach` and its options, once all before is done.
    """
    body = ast.parse(text).body
    attaches = [ast.unparse(one).startswith("recorder = us.attach(") for one in body]
    attach, loop = body[attaches.index(True)], body[attaches.index(True) + 1]
    within = [one for one in loop.body if isinstance(one, ast.For)]
    if within and ".step()" in ast.unparse(within[0]):  # batches of an epoch
        loop = within[0]
    found = [one for one in ast.walk(loop) if isinstance(one, ast.Name)]
    stored = {one.id for one in found if isinstance(one.ctx, ast.Store)}
    step = ast.parse("def turn(recorder): pass").body[0]
    turn = ast.parse(f"{ast.unparse(loop.target)} = next(turns)").body
    step.body = [ast.Global(sorted(stored)), *turn, *loop.body]
    attach.value.func = ast.Name("taken", ast.Load())
    program = ast.Module([*body[: attaches.index(True)], attach, step], [])
    names = {"__name__": "__main__", "taken": lambda *given, **options: (given, options)}
    exec(compile(ast.fix_missing_locations(program), str(HERE / f"{name}.py"), "exec"), names)
    over = compile(ast.unparse(loop.iter), name, "eval")
    names["turns"] = (one for _ in itertools.count() for one in eval(over, names))
    (model, optimizer, _), options = names["recorder"]
    return names["turn"], (model, optimizer), options


def weights(names):
    """What must not differ: weights, buffers, and the state of the random numbers."""
    whole = names.get("final") or names["model"].state_dict()
    return [*(value.clone() for value in whole.values()), torch.get_rng_state()]


def recording(path):
    """A closed recording."""
    return read_file(closed_file(Path(path)))[0]


def assert_right(errors, *, noise=True):
    """The distance to 1e-6, gradient and noise to 1e-5, counts exactly."""
    assert errors["distance"] < 1e-6, errors
    assert errors["mean_sq"] < 1e-5, errors
    assert errors["samples"] == 0, errors
    assert errors["units"] < 1e-9, errors
    if noise:
        assert errors["noise_trace"] < 1e-5, errors
        assert errors["gradient_sq"] < 1e-5, errors


def both(name, truth, **changes):
    """Run a program with and without probes.

    Arguments:
        name: of the program.
        truth: listens while it has probes.
        changes: texts to be replaced, by new ones.

    Returns:
        Global names of the program with probes, whether weights and random numbers are those of
        the program without, and the warnings.
    """
    text = source(name)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    names, told = heard(text, name, truth)
    probed = weights(names)
    bare = weights(run(without_probes(text), name))
    same = all(torch.equal(one, other) for one, other in zip(probed, bare, strict=True))
    return names, same, told


def heard(text, name, truth):
    """Run a program with probes; its global names, and what its recorder warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with truth:
            names = run(text, name)
    said = [str(one.message) for one in caught]
    return names, [one for one in said if one.startswith("recording ")]
