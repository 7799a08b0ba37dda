"""What a growth law is: parameters with their ranges, a formula, a derivative and a source."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ultraslow.diffusion._validation import increasing, numbers

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes:
        name: as in the mapping that a law is called with.
        symbol: as in the formula.
        meaning: in words.
        low: lower end of the range.
        high: upper end of the range.
        units: `1` is dimensionless, `weight` the unit of the weights.
        closed: whether each end belongs to the range.
        modes: whether the parameter is an array with one value a mode.
    """

    name: str
    symbol: str
    meaning: str
    low: float
    high: float = np.inf
    units: str = "1"
    closed: tuple[bool, bool] = (False, False)
    modes: bool = False


@dataclass(frozen=True)
class Law:
    """A named growth curve d(t).

    Attributes:
        name: identifier.
        title: in words.
        formula: in symbols.
        parameters: what the formula needs.
        source: author, year, section or equation, and whether that was verified.
        example: parameter values that show the law's shape over three decades.
        value: d at times, from keyword arguments named like the parameters.
        rate: dd/dt, likewise.
    """

    name: str
    title: str
    formula: str
    parameters: tuple[Parameter, ...]
    source: str
    example: Mapping[str, ArrayLike]
    value: Callable[..., Array]
    rate: Callable[..., Array]

    def distance(self, times: ArrayLike, parameters: Mapping[str, ArrayLike]) -> Array:
        """The distance d at the times.

        Arguments:
            times: t `(time,)`, increasing, positive, iterations.
            parameters: from parameter name to value.

        Returns:
            d `(time,)`, in the unit of the weights.

        Raises:
            ValueError: for missing, unknown or out-of-range parameters, or times that do not
                increase.
        """
        t = increasing(times, "times")
        return self.value(t, **self.checked(parameters))

    def slope(self, times: ArrayLike, parameters: Mapping[str, ArrayLike]) -> Array:
        """dd/dt at the times; arguments and errors as in `distance`."""
        t = increasing(times, "times")
        return self.rate(t, **self.checked(parameters))

    def completed(self, parameters: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
        """The parameters, with those of the example where they are missing.

        Raises:
            TypeError: when the parameters are no mapping.
            ValueError: for an unknown parameter.
        """
        if not isinstance(parameters, Mapping):
            raise TypeError(
                f"parameters: found {parameters!r}, expected a mapping from name to value"
            )
        unknown = sorted(set(parameters) - set(self.example))
        if unknown:
            raise ValueError(f"parameters: found {unknown}, expected some of {list(self.example)}")
        return {**self.example, **parameters}

    def checked(self, parameters: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """The parameters as arrays, each within its range, those of the modes equally long.

        Raises:
            ValueError: for missing, unknown or out-of-range parameters, or arrays whose shapes do
                not match.
        """
        expected = [parameter.name for parameter in self.parameters]
        if set(parameters) != set(expected):
            raise ValueError(f"parameters: found {sorted(parameters)}, expected {expected}")
        values = {p.name: _within(p, parameters[p.name]) for p in self.parameters}
        shapes = {p.name: values[p.name].shape for p in self.parameters if p.modes}
        if len(set(shapes.values())) > 1:
            found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"{', '.join(shapes)}: found shapes {found}, expected the same")
        return values


def _within(parameter: Parameter, value: ArrayLike) -> Array:
    array = numbers(value, parameter.name)
    if array.ndim != int(parameter.modes) or not array.size:
        shape = "(mode,) of one or more" if parameter.modes else "()"
        raise ValueError(f"{parameter.name}: found shape {array.shape}, expected {shape}")
    above = array >= parameter.low if parameter.closed[0] else array > parameter.low
    below = array <= parameter.high if parameter.closed[1] else array < parameter.high
    outside = ~(above & below)
    if outside.any():
        left, right = "[" if parameter.closed[0] else "(", "]" if parameter.closed[1] else ")"
        raise ValueError(
            f"{parameter.name}: found {array[outside].flat[0]:g}, expected a value in"
            f" {left}{parameter.low:g}, {parameter.high:g}{right}"
        )
    return array
