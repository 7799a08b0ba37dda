"""Runs followed while they record.

Contents:
    follow       recordings on the disk, each file read once
    schedule     how fast updates come, and when the next record is due
    condition    what is known of a run at a moment
    screen       that, for a terminal and for a log
    page         the report as a page that an open browser loads again
"""
