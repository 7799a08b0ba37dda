"""Reads checkpoints in small blocks, each of which the journal knows, and dies after some.

killed_pass.py FOLDER OUTPUT BLOCKS
"""

import os
import signal
import sys
from pathlib import Path

from ultraslow.probes.checkpoints import (
    CheckpointRequest,
    prepare,
    products as products_module,
    record_checkpoints,
)
from ultraslow.probes.checkpoints.stored import OpenFiles


def main(folder, output, blocks):
    products_module._SECONDS = 0.0
    products_module._STRETCH, products_module._LEAST = 1 << 12, 1 << 14  # many blocks
    left = blocks + 1  # the first call tells of what stands in the journal

    def count(_):
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with OpenFiles() as files:
        request = CheckpointRequest((folder,), output, 8)
        record_checkpoints(prepare(request, files), files, count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
