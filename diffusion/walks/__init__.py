"""Walkers whose law of growth is known.

Contents:
    potential   random potentials on a line
    field       random fields in many dimensions
    roughness   the structure function of a measured landscape
    line        the master equation of a walker on a line, solved exactly
    sinai       the walker in a potential that is itself a random walk
    langevin    walkers on a field, by the Langevin equation
    sgd         gradient descent on noisy quadratics and scale-invariant losses
    simulators  ways to simulate a set of runs, by name
    recordings  recordings of simulated runs
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
