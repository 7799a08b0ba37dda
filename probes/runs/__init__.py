"""The reference runs: ResNets on images, started from recipes.

Contents:
    config     the settings of a run, and their checks
    recipe     studies in TOML: arms, seeds, ladders; the shipped ones lie in `recipes`
    schedules  learning rates over iterations
    models     ResNets
    images     images in memory, from files and folders
    training   the training loop and what it needs
    jobs       starting runs, here or by Slurm
    cli        the commands `train`, `sweep` and `demo`
"""
