from .arms import (
    HEADINGS as HEADINGS,
    Curve as Curve,
    Shown as Shown,
    arms_of as arms_of,
    leading as leading,
    mean as mean,
    study_of as study_of,
)
from .clocks import (
    collapse as collapse,
    compared_runs as compared_runs,
    hero as hero,
    log_line as log_line,
    of_picture as of_picture,
    window_of as window_of,
)
from .colours import COLOURS as COLOURS, role_of_size as role_of_size
from .drawing import MARGINS as MARGINS, Paint as Paint, svg as svg
from .forests import (
    Row as Row,
    exponents as exponents,
    ladder as ladder,
    rows_of_arms as rows_of_arms,
)
from .growth import (
    curve_of as curve_of,
    distance as distance,
    panel as panel,
    residuals as residuals,
    seeds_of as seeds_of,
)
from .look import axes_of as axes_of
from .noise import (
    bands as bands,
    noise_scale as noise_scale,
    scale_limits as scale_limits,
    study_arms as study_arms,
)
from .outcomes import (
    generalization as generalization,
    loss as loss,
    loss_curves as loss_curves,
    scored_ends as scored_ends,
)
from .paths import (
    DIRECTIONS as DIRECTIONS,
    aged_lines as aged_lines,
    aging as aging,
    landscape as landscape,
    landscape_limits as landscape_limits,
    path_curves as path_curves,
    scanned_kinds as scanned_kinds,
    spread_of as spread_of,
    straightness as straightness,
)
from .pixels import evenly as evenly
from .rulers import ruler as ruler, verdicts as verdicts
