"""Theory: growth laws, random landscapes and walkers, noise arithmetic, the recording contract.

It needs numpy and scipy; xarray and netCDF4 where recordings are read and written.

Contents:
    laws          growth laws as values: the family that is fitted, and the null laws
    walks         walkers on random landscapes, and recordings of known truth made from them
    recording     what a recording holds, how it is read, written and sealed
    predictions   P1 to P10 and the limit-of-batch-size hypotheses, as values
    displacement  distances, lagged displacement, local exponents, straightness
    memory        sums of noise with a memory, and means of it over windows
    noise         unbiased |G|² and tr Σ from sums of units, and their theory
    moments       means, variances and covariances that can be merged
    scaling       rules that scale the learning rate with the batch size
    sketch        count sketches of the weights, and distances from them
    terminal      columns and sentences that fit a terminal
    cli           the command `ultraslow`, which gathers its sub-commands
"""
