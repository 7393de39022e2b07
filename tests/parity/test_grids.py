"""Tables and conversions that diffusers carries, beside ours."""

import numpy as np
import pytest
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_utils import AysSchedules

from unnoise.process import DiscreteVP, Flow
from unnoise.schedulers import grids
from unnoise.schedulers.grids.tables import ALIGN_YOUR_STEPS

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")]


def test_align_your_steps_are_the_same_lists():
    for name, key in (("sd15", ""), ("sdxl", "XL"), ("svd", "Video")):
        assert ALIGN_YOUR_STEPS[name][:-1] == tuple(AysSchedules[f"StableDiffusion{key}Sigmas"][:-1])


@pytest.mark.parametrize(
    ("flag", "grid"),
    [
        ("karras", grids.Karras()),
        ("exponential", grids.Exponential()),
        ("beta", grids.BetaSigma()),
        ("lu_lambdas", grids.Exponential()),
    ],
)
@pytest.mark.parametrize("count", [2, 7, 20])
def test_the_level_grids_of_dpm_solver_are_ours_to_float32(flag, grid, count):
    flags = {f"use_{flag}" if flag == "lu_lambdas" else f"use_{flag}_sigmas": True}
    peer = DPMSolverMultistepScheduler(1000, 0.00085, 0.012, "scaled_linear", **flags)
    peer.set_timesteps(count)
    ours = [float(level.ratio) for level in grid.levels(DiscreteVP.scaled_linear(), count)]
    # Their table's smallest sigma has lost digits to 1 - abar in float32.
    assert ours == pytest.approx(peer.sigmas[:-1].tolist(), rel=5e-5)


def test_the_stretch_to_a_terminal_sigma_is_diffusers():
    peer = FlowMatchEulerDiscreteScheduler(shift_terminal=0.1)
    peer.set_timesteps(sigmas=np.linspace(1.0, 0.2, 5))
    inner = grids.Times((1.0, 0.8, 0.6, 0.4, 0.2))
    ours = [float(level.sigma) for level in grids.StretchToTerminal(inner, 0.1).levels(Flow(), 5)]
    assert ours == pytest.approx(peer.sigmas[:-1].tolist(), abs=1e-6)
