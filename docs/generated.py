"""What pages take from the code when the site is built.

A line `<!-- generated: NAME -->` of a page is replaced by what the function of that name writes.
"""

import contextlib
import importlib
import inspect
import io
import pkgutil
import re

import ultraslow
from ultraslow.diffusion import cli
from ultraslow.diffusion.laws.growth import LAWS
from ultraslow.diffusion.laws.null import NULL_LAWS
from ultraslow.diffusion.predictions import PREDICTIONS
from ultraslow.diffusion.recording.fields import FIELDS

MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.M)
# Pages of the repository that the site has in its own folders.
INCLUDED = {
    "data/README.md": "/reference/data.md",
    "CONTRIBUTING.md": "/reference/contributing.md",
}


def fill(app, page, source):
    """Put what the code says where a page asks for it."""
    text = MARK.sub(lambda found: WRITERS[found[1]](), source[0])
    for path, place in INCLUDED.items():
        text = re.sub(rf"\]\((?:\.\./)+{re.escape(path)}\)", f"]({place})", text)
    source[0] = text


def commands():
    """The help of each command."""
    return "\n".join(f"## {name}\n\n```text\n{helped(name)}```\n" for name in cli.commands())


def helped(name):
    """What `ultraslow NAME --help` prints."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        cli.main([name, "--help"])
    return told.getvalue()


def overview():
    """What `ultraslow --help` prints."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        cli.main(["--help"])
    return f"```text\n{told.getvalue()}```"


def fields():
    """The variables of a recording."""
    rows = ["| name | dimensions | type | unit | meaning |", "|---|---|---|---|---|"]
    for field in FIELDS.values():
        dims = ", ".join(field.dims) or "–"
        how = field.cell_method.removeprefix("iteration: ")
        meaning = field.meaning + (f" ({how})" if how not in ("", "point") else "")
        name = f"`{field.name}`" + (" †" if field.required else "")
        cells = (name, dims, field.dtype, field.units or "–", cell(meaning))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def cell(text):
    """Text inside a table."""
    return text.replace("|", "\\|")


def predictions():
    """The claims, one a section."""
    return "\n\n".join(map(prediction, PREDICTIONS.values()))


def prediction(claim):
    """One claim with what decides it."""
    words = [
        f"## {claim.key}: {claim.title}",
        f"> {claim.statement}",
        f"Measured\n: {claim.measurement}",
        f"Spoken against by\n: {claim.contradicted_by}",
        f"Needs\n: {'; '.join(claim.arms)}",
        f"Source\n: {claim.source}{', worked out here from it' if claim.derived else ''}",
    ]
    return "\n\n".join(words)


def room(name):
    """The names that folders of a package offer to others, without those of the front door."""
    package = importlib.import_module(f"ultraslow.{name}")
    folders = [f for f in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return "\n".join(offered(found.name) for found in folders if found.ispkg)


def offered(name):
    """A folder's section: what it is, and its functions and classes."""
    folder = importlib.import_module(name)
    names = [one for one in getattr(folder, "__all__", ()) if one not in dir(ultraslow)]
    shown = documented(name, names)
    what = inspect.getdoc(folder).split("\n")[0]
    return f"## {name}\n\n{what}\n\n{shown}" if shown else ""


def analysis():
    """Names of the analysis."""
    return room("analysis")


def probes():
    """Names of the measurement."""
    return room("probes")


def laws():
    """The contents of the folder of laws, for the sidebar."""
    pages = "\n".join(dict.fromkeys(law.name for law in (*LAWS, *NULL_LAWS.values())))
    return f"```{{toctree}}\n:hidden:\n\n{pages}\nwalkers\n```"


# Names of the front door by what a user does; others, as those that come, stand at the end.
DOOR = {
    "Record": (
        "attach",
        "Recorder",
        "cost",
        "Cost",
        "Evaluation",
        "Landscape",
        "verify",
        "upload",
    ),
    "Read": ("load", "import_runs", "to_frame", "RecordError"),
    "Fit": (
        "fit_growth",
        "growth_curve",
        "decade_ratio",
        "local_shape",
        "run_noise_scale",
        "critical_batch",
    ),
    "Decide and tell": ("test", "compare_laws", "certify", "report"),
}


def front_door():
    """The names of `ultraslow`, its packages apart."""
    listed = {name for names in DOOR.values() for name in names}
    others = [name for name in dir(ultraslow) if name not in listed and name[0] != "_"]
    others = [name for name in others if not inspect.ismodule(getattr(ultraslow, name))]
    doors = {**DOOR, "More": others} if others else DOOR
    return "\n\n".join(
        f"## {title}\n\n" + documented("ultraslow", names) for title, names in doors.items()
    )


def documented(module, names):
    """A block with the docstrings of functions and classes of a module."""
    values = [(name, getattr(importlib.import_module(module), name)) for name in names]
    shown = [
        f".. auto{'class' if inspect.isclass(value) else 'function'}:: {module}.{name}"
        + ("\n   :members:" if inspect.isclass(value) else "")
        for name, value in values
        if inspect.isclass(value) or inspect.isfunction(value)
    ]
    listed = "\n\n".join(shown)
    return f"```{{eval-rst}}\n{listed}\n```\n" if shown else ""


WRITERS = {
    "front_door": front_door,
    "laws": laws,
    "analysis": analysis,
    "probes": probes,
    "commands": commands,
    "overview": overview,
    "fields": fields,
    "predictions": predictions,
}
