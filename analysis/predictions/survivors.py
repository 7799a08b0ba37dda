"""Which laws of growth survive on each arm of a study, by what they forecast."""

import xarray as xr

from ultraslow.analysis.comparison import ArmLaws, arm_compared, as_dataset
from ultraslow.analysis.growth import LEAST_SEEDS, Progress
from ultraslow.analysis.intervals import check_level
from ultraslow.analysis.runs import arm_names, some_runs
from ultraslow.analysis.study import Study


def compare_laws(runs: xr.DataTree, *, level: float = 0.95) -> xr.Dataset:
    """Which laws of growth the forecasts of each arm's runs leave standing.

    Laws are fitted to the beginning of each run, up to several origins even in ln t, and forecast
    what comes half a decade and a decade later. A law survives where some of its shapes forecasts
    every such distance as well as seeds differ; the true law does with at least the stated
    probability (tests/statistics/laws_table.md).

    Arguments:
        runs: recordings, as `load` gives them.
        level: probability that the set of surviving laws holds the true one, and of the intervals.

    Returns:
        A Dataset along `arm` and `law` with `survives`, `p_value`, and `decade` and `half_decade`
        with their intervals: forecast over actual distance less 1, from a fit of each seed up to a
        tenth (a third) of the last iteration. Along `arm` stand `batch_size`, `seeds`, `first` and
        `last` iteration, `tolerance` (share of the distance within which the survivors hold; 0
        where they hold within the spread between seeds) and `reason`, what is missing. The
        attribute `note` names recordings that are left out or count once, as that of `test`.

    Raises:
        ValueError: when there are no recordings.
    """
    check_level(level)
    study = Study(some_runs(runs), level)
    return as_dataset(arms_compared(study), level=level).assign_attrs(note=study.note)


def arms_compared(study: Study, *, progress: Progress | None = None) -> list[ArmLaws]:
    """The laws on each arm of each set of equal runs, in order of rule and batch size.

    Arguments:
        study: the runs. Copies, repeated seeds and seeds that stopped early do not enter;
            the note of the study names them.
        progress: called with the number of arms since the last call and of all.

    Returns:
        One entry an arm; without laws where its runs are too short.
    """
    found: list[ArmLaws] = []
    sets = [part.drawn(LEAST_SEEDS) for part in study.sets.values()]
    count = sum(len(kept.arms) for kept in sets)
    # Told apart from all others of its batch size, whichever set they are of.
    words = arm_names({name: run for kept in sets for name, run in kept.runs.items()})
    for kept in sets:
        for arm, nodes in kept.arms.items():
            parts = [str(arm), words[nodes[0]]]
            own = {node: kept.runs[node] for node in nodes}
            found.append(arm_compared(", ".join(filter(None, parts)), own, level=study.level))
            if progress is not None:
                progress(1, count)
    return found
