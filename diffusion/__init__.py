"""Theory: growth laws, random landscapes, walkers, noise arithmetic and the recording contract.

The package needs numpy and scipy only. Its modules are its namespaces
(`diffusion.recording.check`, `diffusion.noise.unit_estimates`); nothing is imported before it is
asked for.
"""
