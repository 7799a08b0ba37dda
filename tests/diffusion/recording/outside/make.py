"""Make the files beside this one from a recording; needs h5py, which the tests do not.

python make.py RECORDING FOLDER
"""

import shutil
import sys
from importlib import import_module
from pathlib import Path

VICTIM = "victim.nc"


def h5py(name):
    """What the library has of this name; imported only where files are made."""
    return getattr(import_module("h5py"), name)


def other(file):
    del file["loss"]
    file["loss"] = h5py("ExternalLink")(VICTIM, "/loss")


def alone(file):
    file["spare"] = h5py("ExternalLink")(VICTIM, "/")


def soft(file):
    file["spare"] = h5py("SoftLink")("/")


def cycle(file):
    file["spare"] = file["/"]


def group_cycle(file):
    group = file.create_group("one")
    group["back"] = group


def raw(file):
    del file["loss"]
    file.create_dataset("loss", (2,), "<f8", external=[("victim.raw", 0, 16)])


def virtual(file):
    del file["loss"]
    layout = h5py("VirtualLayout")((2,), "<f8")
    layout[:] = h5py("VirtualSource")(VICTIM, "loss", shape=(2,))
    file.create_virtual_dataset("loss", layout)


def many(file):
    for number in range(30):
        file[f"v{number}"] = h5py("ExternalLink")(VICTIM, f"/v{number}")


CHANGED = {
    "external-link": other,
    "external-link-alone": alone,
    "soft-link": soft,
    "cycle": cycle,
    "group-cycle": group_cycle,
    "external-storage": raw,
    "virtual": virtual,
}
NEW = {
    "many": {"libver": "latest"},
    "old": {},
    "userblock": {"libver": "latest", "userblock_size": 512},
}

if __name__ == "__main__":
    recording, folder = map(Path, sys.argv[1:])
    for name, change in CHANGED.items():
        shutil.copy(recording, folder / f"{name}.nc")
        with h5py("File")(folder / f"{name}.nc", "r+", libver="latest") as file:
            change(file)
    for name, options in NEW.items():
        with h5py("File")(folder / f"{name}.nc", "w", **options) as file:
            many(file)
