"""Shapes of residual networks by name, known without building them.

Two designs share their blocks. The *small* one (depth 6n+2) starts with a 3x3 convolution and has
three stages of n basic blocks; the *large* one (depths 18, 34, 50 and 101) starts with a strided
7x7 convolution and a pooling, and has four stages. Depth 50 would fit both; it is the large one.

References:
    He, Zhang, Ren, Sun (2016), Deep residual learning for image recognition, sections 3.3 and 4.2.
"""

import re
from dataclasses import dataclass, replace
from importlib.util import find_spec

SHORTCUTS = ("padding", "projection")


@dataclass(frozen=True)
class Architecture:
    """The shape of a residual network.

    Attributes:
        blocks: residual blocks in each stage.
        width: channels of the first stage; each later stage doubles it.
        bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3 ones.
        large: a stem for large images (7x7 with stride 2, then pooling).
        shortcut: what carries the input past a block that changes its shape: `padding` with zero
            channels (option A of the paper, no parameters) or `projection` by a 1x1 convolution
            with batch normalization (option B).
    """

    blocks: tuple[int, ...]
    width: int = 16
    bottleneck: bool = False
    large: bool = False
    shortcut: str = "padding"


_LARGE = {
    18: Architecture((2, 2, 2, 2), 64, False, True, "projection"),
    34: Architecture((3, 4, 6, 3), 64, False, True, "projection"),
    50: Architecture((3, 4, 6, 3), 64, True, True, "projection"),
    101: Architecture((3, 4, 23, 3), 64, True, True, "projection"),
}


def architecture(name: str, *, width: int = 0, shortcut: str = "") -> Architecture:
    """The shape that a name, a width and a kind of shortcut stand for.

    Arguments:
        name: `resnet` and the number of weighted layers on the longest path: 18, 34, 50 or 101 for
            the large design, otherwise 6n+2 for the small one.
        width: channels of the first stage; the paper's 64 or 16 when 0.
        shortcut: one of `SHORTCUTS`; when empty, the paper's: projection for the large design and
            padding for the small one.

    Raises:
        ValueError: when no network has this name, width or shortcut.

    >>> architecture("resnet44").blocks
    (7, 7, 7)
    """
    if width < 0:
        raise ValueError(f"width: found {width}, expected 1 or more, or 0 for the paper's width")
    if shortcut not in ("", *SHORTCUTS):
        raise ValueError(f"shortcut: found {shortcut!r}, expected one of {SHORTCUTS}")
    paper = _paper(name)
    return replace(paper, width=width or paper.width, shortcut=shortcut or paper.shortcut)


def _paper(name: str) -> Architecture:
    digits = name.removeprefix("resnet")
    depth = int(digits) if name.startswith("resnet") and digits.isdecimal() else 0
    if depth in _LARGE:
        return _LARGE[depth]
    if depth < 8 or depth % 6 != 2:
        raise ValueError(
            f"model: found {name!r}, expected resnet18, resnet34, resnet50, resnet101, resnet"
            " followed by 6n+2 (resnet8, resnet14, …), wrnD-K with D = 6n+4 (wrn16-4, …) or"
            " MODULE:FACTORY"
        )
    return Architecture((depth // 6,) * 3)


def wide_architecture(name: str) -> tuple[int, int] | None:
    """Blocks in a stage and widening factor of `wrnD-K`; None for any other name.

    References:
        Zagoruyko and Komodakis (2016), Wide residual networks: WRN-D-K has depth D = 6n + 4.

    >>> wide_architecture("wrn28-10")
    (4, 10)
    """
    found = re.fullmatch(r"wrn(\d+)-(\d+)", name)
    if found is None:
        return None
    depth, widening = map(int, found.groups())
    return ((depth - 4) // 6, widening) if depth >= 10 and depth % 6 == 4 and widening else None


def check_model(name: str, *, width: int, shortcut: str) -> None:
    """Refuse a network that `training.session.build` could not build.

    Raises:
        ValueError: naming what was found and what was expected.
    """
    module, _, factory = name.partition(":")
    if factory:
        if not _is_installed(module):
            raise ValueError(f"model: found {name!r}, expected a module that can be imported")
    elif wide_architecture(name) is None:
        architecture(name, width=width, shortcut=shortcut)
        return
    if width or shortcut:
        raise ValueError(
            f"width, shortcut: found {width}, {shortcut!r} with model {name!r}, expected them"
            " with a model named resnet only"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
