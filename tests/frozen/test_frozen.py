"""What the product says is what it said: see `frozen.py`, which also stores anew what is meant to
change."""

import subprocess
import sys
from pathlib import Path

import pytest

# Half a minute of two processes.
QUICK = [
    *("limit.info", "limit.test", "limit.ladder", "limit.batch", "cifar.test", "numbers.plan"),
    *("law.report", "losses.batch", "ddp.train", "ddp.info", "*.simulate"),
]


def compared(*names):
    script = Path(__file__).with_name("frozen.py")
    command = [sys.executable, str(script), "compare", "--only", *names]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800)


def test_the_product_says_what_it_said():
    done = compared(*QUICK)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_product_says_all_that_it_said():
    done = compared("*")
    assert done.returncode == 0, done.stdout + done.stderr
