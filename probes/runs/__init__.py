"""The reference runs: distributed trainings of residual networks, with probes attached.

`config` says what a run is, `datasets` and `images` where its batches come from, `resnet` what is
trained, `regimes` at which learning rate, and `train` is the loop; `launch` starts it on several
processes.
"""
