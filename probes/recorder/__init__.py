"""Attaching probes to a training, and the recorder that results.

Contents:
    attach         `attach`
    arguments      the checks of its arguments
    recorder       the recorder: what happens at every update, and how it ends
    work           the recorder's own steps: their time, and that none is left half done
    start          what a recording begins with, new or resumed
    compatibility  what a resumed run has to share with its recording
    metadata       what a recording says of its run
    others         the other processes, which come to things together, or end apart
    cost           memory, traffic and disk that probes take
    outlook        which predictions a run can serve, in a line on standard error
    portrait       what a recorder shows of itself, also in notebooks
    changed        weights that the loop changes after the step, read again
"""
