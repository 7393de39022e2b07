"""A plan's numbers are made on the CPU, in stated types, whatever torch's defaults are when it is made."""

import pytest
import torch

from closed_forms import SCHEDULES
from unnoise.process import Cosine, schedule_from_config
from unnoise.schedulers import names
from unnoise.schedulers.presets import tables
from unnoise.schedulers.presets.classes import CLASSES


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_noise_schedule(far_defaults, schedule):
    with far_defaults():
        far = schedule_from_config(schedule.config()).level(0.3)
    assert far == schedule.level(0.3)


def test_a_right_plan(far_defaults):
    plain = names.get("DPM++ 3M SDE").plan(schedule_from_config(SCHEDULES["linear"].config()), 6)
    with far_defaults():
        far = names.get("DPM++ 3M SDE").plan(schedule_from_config(SCHEDULES["linear"].config()), 6)
    assert far == plain


@pytest.mark.parametrize("name", CLASSES)
def test_another_program_s_plan(far_defaults, name):
    config = {"_class_name": name, "beta_schedule": "sigmoid", "skip_prk_steps": True}

    def planned():
        tables.table.cache_clear()
        found = names.from_config(config, compat="diffusers")
        schedule = Cosine() if name == "SCMScheduler" else found.schedule
        return found.scheduler.plan(schedule, 5)

    plain = planned()
    with far_defaults():
        far = planned()
    assert far == plain


def test_the_defaults_are_put_back(far_defaults):
    with far_defaults():
        assert torch.zeros(1).device.type == "meta"
    assert torch.zeros(1).dtype == torch.float32
    assert torch.zeros(1).device.type == "cpu"
