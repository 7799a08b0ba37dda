"""`python -m ultraslow`: the command."""

from .diffusion.cli import run_and_exit

if __name__ == "__main__":  # processes that it starts import this module
    run_and_exit()
