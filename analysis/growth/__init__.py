"""Fits of the growth family d = a + b·[(t+τ)^p − 1]/p.

Contents:
    fit              `fit_growth`: one call from distances to exponents with intervals
    grids            what series recorded at the same times share
    family           the growth family over fixed times, and what its series share
    surface          the restricted likelihood of each series, and its maxima
    interval         the test of an exponent, and its inversion to an interval
    critical_values  the test's ratio under a true exponent, simulated once and kept
    noise_models     how residuals are correlated
    runs             fits of whole runs and of their tensors
    departures       jumps, changes and rest, which no law of the family has
    status           what a fit may be made of; ok, or why to be careful
    shape            the fitted curve, and local exponents over the course of one
    late_logarithm   whether a curve may have become a logarithm
    decade_ratio     how much the last decade added, compared with the one before
    windows          exponents of windows, and whether the fitted law has the same
    rule             P1's rule: which fits may speak, and what they say together
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
