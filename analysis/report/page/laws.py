"""The laws that claims are about, each with its formula, so that a claim can lead to its own."""

from typing import Any

from markupsafe import Markup

from ultraslow.analysis.report.markup import piece
from ultraslow.diffusion.laws import law_named

from .findings import Findings

# The law of each claim: the one that it states, or the one that holds where it fails. Claims on
# scores are about none.
LAWS = {
    "P1": "shifted_log",
    "P1'": "log_power",
    "P2": "crossover",
    "P2'": "crossover",
    "P4": "log_power",
    "P5": "log_power",
    "P6": "log_power",
    "P7": "log_power",
    "P8": "log_power",
    "P9": "crossover",
    "P10": "log_power",
    "H-b": "crossover",
}
# What each says, in a sentence.
_SAYS = {
    "shifted_log": "What P1 claims at α = 2. Against ln t it is a straight line once t is far "
    "beyond the onset τ₀.",
    "log_power": "A walker that noise carries over barriers which grow with the distance r like "
    "r^(α/2): the time to cross one is exponential in its height over the temperature T. P1′, "
    "P4 to P8 and P10 follow from this picture.",
    "crossover": "A constant gradient and independent noise, without any barrier: diffusion √t at "
    "first, drift from about t = S/(M·|G|²) on, which a larger batch reaches sooner. Where P2 and "
    "P9 fail, this is the simplest reason.",
}


def law_anchor(law: str) -> str:
    """A law's name in addresses.

    >>> law_anchor("log_power")
    'law-log-power'
    """
    return f"law-{law.replace('_', '-')}"


def law_link(key: str) -> Markup:
    """The law of a claim as a link to where the page has it; empty for none."""
    if key not in LAWS:
        return Markup("")
    law = law_named(LAWS[key])
    link = Markup('<a href="#{}">{}</a>: {}')
    return link.format(law_anchor(law.name), law.title, law.formula)


def laws(_: Findings, content: dict[str, Any]) -> tuple[str, str, list[Markup]]:
    """The laws of the claims that were tested, with their formulas and sources."""
    asked = list(dict.fromkeys(row["prediction"] for row in content["verdicts"]))
    claims: dict[str, list[str]] = {}
    for key in asked:
        if key in LAWS:
            claims.setdefault(LAWS[key], []).append(key.replace("'", "′"))
    parts = [_law(name, of) for name, of in claims.items()]
    lead = (
        "What the claims are about: the distance d from the initial weights after t iterations, "
        "as the theory or its simplest rival has it."
    )
    return "The laws behind the claims", lead, parts


def _law(name: str, claims: list[str]) -> Markup:
    law = law_named(name)
    about = f"{_SAYS[name]} Claims: {', '.join(claims)}."
    return piece("law", law_anchor(name), law.title, law.formula, about, law.source)
