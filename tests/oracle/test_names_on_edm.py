"""Plain names on a model whose time is sigma: no name without a grid of its own spends its steps on noise alone."""

import pytest

from closed_forms import GAUSSIAN, MIXTURE
from unnoise.process import EDM
from unnoise.schedulers import grids, names

PLAIN = [row.name for row in names.table() if not row.stochastic]


def error(scheduler, data, steps):
    """RMS distance to the exact transport, to clean data."""
    plan = scheduler.plan(EDM(), steps)
    *_, last = plan.run(data.denoise, data.quantiles(plan.levels[0]).reshape(1, -1))
    return (last.x[0] - data.quantiles(plan.levels[-1])).pow(2).mean().sqrt().item()


# Bounds: the heuristic rules are of first order at best. Evenly spaced sigma leaves 0.35 (Euler) to 5 (UniPC) at 50.
@pytest.mark.parametrize("data", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_converges_on_edm(name, data):
    scheduler = names.get(name)
    fewer, more = error(scheduler, data, 20), error(scheduler, data, 50)
    assert fewer < 0.3
    assert more < (0.11 if scheduler.solver.order == 1 else 0.01)
    assert more < 0.75 * fewer


@pytest.mark.parametrize("name", ["Euler", "Heun", "LMS"])
def test_a_plain_name_on_edm_is_the_name_with_karras_grid(name):
    plain, karras = names.get(name).plan(EDM(), 9), names.get(f"{name} Karras").plan(EDM(), 9)
    assert [level.sigma for level in plain.levels] == pytest.approx([level.sigma for level in karras.levels])


@pytest.mark.parametrize("name", ["DDIM", "DEIS", "DPM++ 2M", "UniPC"])
def test_a_plain_name_of_trailing_times_has_karras_places_but_for_the_last(name):
    """Those of one step more; its last, the least sigma, is left out before the end."""
    (*plain, end), karras = (
        names.get(name).plan(EDM(), 9).levels,
        names.get("Euler Karras").plan(EDM(), 10).levels,
    )
    assert [level.sigma for level in plain] == pytest.approx([level.sigma for level in karras[:9]])
    assert plain[-1].sigma > karras[9].sigma >= end.sigma


def test_evenly_spaced_sigma_is_had_by_asking_for_it():
    even = grids.Ratios(tuple(80.0 * (50 - i) / 50 for i in range(50)))
    assert error(names.get("Euler", grid=even), GAUSSIAN, 50) > 0.3


def test_comfyui_s_normal_grid_is_even_in_log_sigma_on_edm():
    theirs = names.get("Euler normal", compat="comfyui").plan(EDM(), 7)
    ours = names.get("Euler Exponential").plan(EDM(), 7)
    assert [level.sigma for level in theirs.levels] == pytest.approx([level.sigma for level in ours.levels])
