"""`python -m ultraslow`: the command."""

from .diffusion.cli import run_and_exit

run_and_exit()
