"""Tensors that are recorded as one: a row for a group of them in place of one for each.

Every field along `tensor` is a sum over weights, so what a group's row holds is exactly what those
of its tensors would add up to: squared distances and norms, and the noise of a larger part of the
gradient. The sums are formed when a flush departs, so that a flush, too, is as small as a record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from ultraslow.diffusion.recording import nearest

Patterns = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class TensorGroups:
    """Which tensors are recorded as one.

    Arguments:
        names: that are recorded: of groups, and of tensors in none, by their first tensors.
        members: places of the tensors of each.
        grouped: names of those that are groups.
    """

    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    grouped: tuple[str, ...]

    def added(self, values: Tensor) -> Tensor:
        """Values `(…, tensor)`, added over the tensors of each group `(…, group)`."""
        found = []
        for places in self.members:
            if len(places) == 1:
                found.append(values[..., places[0]])
            else:
                at = torch.tensor(places, device=values.device)
                found.append(values.index_select(-1, at).sum(-1))
        return torch.stack(found, dim=-1)


def tensor_groups(names: Sequence[str], patterns: Patterns) -> TensorGroups:
    """The groups of tensors.

    Arguments:
        names: of all tensors, in their order.
        patterns: by name of a group, one or several, as `*.attn.*`; the first group of which one
            fits a tensor takes it, and a tensor that fits none is recorded by itself.

    Raises:
        TypeError: for patterns that are no texts.
        ValueError: for a pattern that fits no tensor, or a group that is named as one of them.

    >>> tensor_groups(["a.attn.q", "a.mlp", "b.attn.q"], {"attention": "*.attn.*"}).names
    ('attention', 'a.mlp')
    """
    listed = {group: _listed(group, found) for group, found in patterns.items()}
    for group, found in listed.items():
        if group in names:
            raise ValueError(f"groups: found {group!r}, the name of a tensor")
        for pattern in found:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(_without(group, pattern, names))
    members: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        fits = (g for g, found in listed.items() if any(fnmatchcase(name, p) for p in found))
        members.setdefault(next(fits, name), []).append(place)
    return TensorGroups(
        tuple(members),
        tuple(map(tuple, members.values())),
        tuple(name for name in members if name in listed),
    )


def _listed(group: object, found: object) -> list[str]:
    patterns = [found] if isinstance(found, str) else found
    if isinstance(group, str) and isinstance(patterns, Sequence):
        texts = [one for one in patterns if isinstance(one, str) and one]
        if group and texts and len(texts) == len(patterns):
            return texts
    raise TypeError(
        f"groups: found {group!r}: {found!r}, expected a name with a pattern of tensors or a list "
        "of them, as 'attention': '*.attn.*'"
    )


def _without(group: str, pattern: str, names: Sequence[str]) -> str:
    near = nearest(pattern, names)
    return (
        f"groups: found no tensor that fits {pattern!r} of {group!r}{near}; the first of "
        f"{len(names)} tensors is {names[0]!r}"
    )
