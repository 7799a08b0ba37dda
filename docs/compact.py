"""Write recordings of a study in a compact form, to be kept beside the code.

    python docs/compact.py limit-study data/limit-study

Numbers are rounded to 21 bits, seven digits in ten thousand million, sketches, whose cosines are
compared to percents, to 12, and everything is compressed. Iterations, counts, times and words
stay as they are. Each recording is sealed anew and reads as any other; its history says that it
was rounded. With `--check` the verdicts on both forms are printed, and how far effects went.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import ultraslow as us
from ultraslow.diffusion.recording import read_file, write_file

BITS = 21
SKETCH_BITS = 12
MANTISSA = 52
ROUNDED = f"rounded to {BITS} bits, sketches to {SKETCH_BITS}"
COMPRESSION = {"zlib": True, "complevel": 9, "shuffle": True}
# Smaller variables grow by compression: a chunk has a header of its own.
LEAST = 256


def rounded(values, bits):
    """Doubles with so many bits of their mantissas, rounded to nearest; the rest are zeros.

    >>> rounded(np.array([1.0, 1 + 2**-12, np.nan, -3.0]), 8).tolist()
    [1.0, 1.0, nan, -3.0]
    """
    cut = np.uint64(MANTISSA - bits)
    half = np.uint64(1) << (cut - np.uint64(1))
    whole = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    kept = ((whole + half) >> cut << cut).view(np.float64)
    return np.where(np.isfinite(values), kept, values)


def compact(recording):
    """A recording with rounded numbers, and how its variables are to be stored."""
    small = recording.drop_encoding()
    for name, variable in recording.variables.items():
        if variable.dtype.kind not in "fi" or variable.nbytes < LEAST:
            continue
        if variable.dtype == np.float64:
            bits = SKETCH_BITS if "component" in variable.dims else BITS
            small[name] = variable.copy(data=rounded(variable.values, bits))
        small[name].encoding = dict(COMPRESSION)
    history = str(small.attrs.get("history", ""))
    return small.assign_attrs(history=f"{history}\n{ROUNDED}".lstrip("\n"))


def is_rounded(recording):
    """Whether a recording is in the compact form."""
    return ROUNDED in str(recording.attrs.get("history", ""))


def main(words=None):
    """Write the compact form; the status of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="recordings as they were made")
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("--check", action="store_true", help="compare the verdicts on both")
    asked = parser.parse_args(words)
    asked.output.mkdir(parents=True, exist_ok=True)
    before = after = 0
    for path in sorted(asked.folder.glob("*.nc")):
        target = asked.output / path.name
        write_file(compact(read_file(path)[0]), target)
        before, after = before + path.stat().st_size, after + target.stat().st_size
    print(f"{before / 1e6:.1f} MB became {after / 1e6:.1f} MB")
    return differing(asked.folder, asked.output) if asked.check else 0


def differing(folder, output):
    """Print verdicts and effects on both forms; 1 where a word differs."""
    whole, small = (us.test(us.load(str(place))) for place in (folder, output))
    for key in np.ndindex(whole["verdict"].shape):
        words = [str(found["verdict"].values[key]) for found in (whole, small)]
        effects = [float(found["effect"].values[key]) for found in (whole, small)]
        place = " ".join(str(whole[dim].values[i]) for dim, i in zip(whole.dims, key, strict=True))
        print(place, *words, *(f"{effect:.6g}" for effect in effects))
    return int((whole["verdict"].values != small["verdict"].values).any())


if __name__ == "__main__":
    sys.exit(main())
