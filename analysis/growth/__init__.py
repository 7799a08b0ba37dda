"""Fits of the growth family d = a + b·[(t+τ)^p − 1]/p.

Contents:
    fit              `fit_growth`: one call from distances to exponents with intervals
    runs             fits of whole runs and of their tensors
    series           many series at once
    estimate         the estimate of one group of series
    likelihood       the family and its restricted likelihood
    maximum          its maximum: a lattice, then a climb
    interval         the interval of p by inverting a test
    critical_values  simulated critical values
    noise_models     how residuals are correlated
    status           ok, or why to be careful
    shape            local exponents over the course of a curve
    certificate      size, coverage and power for the data at hand
    usable           which fits may speak on the law of growth
    rule             P1's rule, on recordings and in plans alike
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
