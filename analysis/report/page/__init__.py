"""The page: its first screen, its cards and its sections.

Contents:
    document    the whole page, section by section
    findings    everything that it shows
    answer      its first screen, and what to beware
    cards       verdicts as cards, grouped by what is missing
    rulers      intervals beside zones, and gauges
    drawings    panels, captions, and drawings of an older kind
    motion      distances, exponents and batch sizes
    measures    gradient noise, critical batch size, loss
    recipes     a ladder as a table with rulers
    laws        what claims are about, with formulas and sources
    quality     what recordings can carry, and where they come from
    palette     colours in the light and in the dark
"""
