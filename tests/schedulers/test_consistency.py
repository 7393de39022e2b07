import pytest
import torch

from closed_forms import GAUSSIAN, SCHEDULES
from unnoise.process import EDM, DiscreteVP
from unnoise.process.prediction import Preconditioned
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Scheduler, grids, noise
from unnoise.schedulers.consistency import Consistency
from unnoise.schedulers.solvers import Adams

SCHEDULE = DiscreteVP.linear()


@pytest.mark.parametrize("name", ["edm", "scaled_linear", "flow_shifted"])
def test_consistency_prediction_is_its_own_inverse_on_every_process(name):
    prediction, level = Consistency(), SCHEDULES[name].at_ratio(1.7)
    gen = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(3, 4, generator=gen).double() for _ in range(2))
    x = float(level.alpha) * x0 + float(level.sigma) * eps
    found = prediction.estimate(prediction.target(x0, eps, level), x, level)
    assert (found[0] - x0).abs().max() < 1e-12
    assert (found[1] - eps).abs().max() < 1e-12


def test_a_consistency_model_answers_with_x_itself_at_its_lowest_level():
    level = EDM().at_ratio(0.002)
    x = torch.tensor([[0.37]], dtype=torch.float64)
    assert Consistency().sample(torch.tensor([[5.0]], dtype=torch.float64), x, level).item() == pytest.approx(
        0.37
    )


def test_far_above_its_lowest_level_consistency_is_edm_s_prediction():
    level, x, f = (
        EDM().at_ratio(20.0),
        torch.tensor([[3.0]], dtype=torch.float64),
        torch.tensor([[0.6]], dtype=torch.float64),
    )
    one, other = Consistency(sigma_min=0.0), Preconditioned(0.5)
    assert one.sample(f, x, level).item() == pytest.approx(other.sample(f, x, level).item(), rel=1e-12)
    assert one.input_scale(level) == pytest.approx(other.input_scale(level))


def test_consistency_sampling_is_renoising_of_x0():
    plan = Scheduler(grids.Trailing(), Adams(1), noise.Renoise()).plan(SCHEDULE, 4)
    x = plan.initial(torch.randn(2, 3).double())
    source = NoiseSource((3, 4))
    steps = list(plan.run(GAUSSIAN.denoise, x, source))
    for step in steps[:-1]:
        want = step.level.alpha * step.x0 + step.level.sigma * source("step", step.index, 0, like=x)
        assert (step.x - want).abs().max() < 1e-12
    assert torch.equal(steps[-1].x, steps[-1].x0)
