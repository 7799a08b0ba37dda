from dataclasses import FrozenInstanceError

import pytest

from probes.plan import Plan
from probes.times import schedule_of


def test_a_plan_is_never_changed_while_a_run_goes_on():
    plan = Plan(8, schedule_of([1, 5]), None, 60.0, True)
    assert (plan.batch_size, plan.schedule.last, plan.close_on_sigterm) == (8, 5, True)
    with pytest.raises(FrozenInstanceError):
        plan.flush_seconds = 1.0
