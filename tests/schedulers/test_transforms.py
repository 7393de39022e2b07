import pytest
import torch

from closed_forms import GAUSSIAN, SCHEDULES
from unnoise.errors import InputError
from unnoise.process import EDM, DiscreteVP, Estimate
from unnoise.process.prediction import Preconditioned
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Scheduler, grids, noise
from unnoise.schedulers.consistency import Consistency
from unnoise.schedulers.solvers import Adams, CFGPlusPlus
from unnoise.schedulers.transforms import Blend, Boundary, Clip, DynamicThreshold, transformed

SCHEDULE = DiscreteVP.linear()
LEVEL = SCHEDULE.level(500.0)


def seen(x0, x=None):
    x0 = torch.as_tensor(x0, dtype=torch.float64)
    return Estimate.from_x0(torch.zeros_like(x0) if x is None else x, LEVEL, x0)


def consistent(estimate):
    """The noise belongs to the transformed x0: x = alpha x0 + sigma eps still."""
    return (LEVEL.alpha * estimate.x0 + LEVEL.sigma * estimate.noise - estimate.x).abs().max().item() < 1e-12


def test_clip_bounds_x0_and_the_noise_follows():
    estimate = Clip(1.0)(seen([[-3.0, 0.2, 1.5]]))
    assert estimate.x0.tolist() == [[-1.0, 0.2, 1.0]]
    assert consistent(estimate)


def test_a_dynamic_threshold_is_each_sample_s_own_quantile_and_rescales():
    x0 = torch.stack([torch.linspace(-2.0, 2.0, 401), torch.linspace(-0.5, 0.5, 401)]).double()
    estimate = DynamicThreshold(0.95)(seen(x0))
    assert estimate.x0[0].abs().max().item() == 1.0
    assert (estimate.x0[0] * 1.9).clamp(-1.0, 1.0)[200:220].tolist() == pytest.approx(
        x0[0, 200:220].tolist(), abs=1e-6
    )
    assert torch.equal(estimate.x0[1], x0[1])  # already inside [-1, 1]
    assert consistent(estimate)


def test_a_dynamic_threshold_of_at_most_one_is_a_clip():
    x0 = torch.randn(3, 50).double() * 2.0
    assert torch.equal(DynamicThreshold(0.9, largest=1.0)(seen(x0)).x0, x0.clamp(-1.0, 1.0))


def test_a_mask_keeps_what_is_known():
    known, mask = torch.full((1, 4), 0.5), torch.tensor([[0.0, 0.0, 1.0, 0.25]])
    estimate = Blend(known, mask)(seen([[2.0, 2.0, 2.0, 2.0]]))
    assert estimate.x0.tolist() == [[0.5, 0.5, 2.0, 0.875]]
    assert consistent(estimate)


def test_a_masked_run_ends_with_the_known_part_untouched():
    known, mask = (
        torch.tensor([[0.7, -0.3, 0.0]], dtype=torch.float64),
        torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64),
    )
    denoise = transformed(GAUSSIAN.denoise, Blend(known, mask))
    plan = Scheduler(solver=Adams(2)).plan(SCHEDULE, 8)
    *_, last = plan.run(denoise, torch.randn(1, 3).double())
    assert last.x[0, :2].tolist() == pytest.approx([0.7, -0.3], abs=1e-12)


def test_a_mask_holds_the_known_part_at_its_own_noise_along_cfg_plus_plus_too():
    """It is moved by what the network says without the prompt, which is known there as well."""
    known, eps = torch.tensor([[0.7, -0.3]]).double(), torch.tensor([[1.1, -0.4]]).double()

    def both(x, level):
        estimate = Estimate.from_x0(x, level, 2.0 * GAUSSIAN.denoise(x, level))
        estimate.half = Estimate.from_x0(x, level, GAUSSIAN.denoise(x, level))
        return estimate

    plan = Scheduler(solver=CFGPlusPlus()).plan(SCHEDULE, 8)
    start = plan.levels[0]
    x = start.alpha * known + start.sigma * eps
    for step in plan.run(transformed(both, Blend(known, torch.zeros(1, 2))), x):
        assert (step.x - step.level.alpha * known - step.level.sigma * eps).abs().max() < 1e-9


def test_transforms_apply_in_their_order_to_whatever_denoise_gives():
    doubled = lambda estimate: seen(estimate.x0 * 2.0, estimate.x)
    x = torch.zeros(1, 2).double()
    view = transformed(lambda x, level: torch.tensor([[0.9, -0.2]], dtype=torch.float64), doubled, Clip(1.0))
    assert view(x, LEVEL).x0.tolist() == [[1.0, -0.4]]
    view = transformed(lambda x, level: seen([[0.9, -0.2]]), Clip(0.5), doubled)
    assert view(x, LEVEL).x0.tolist() == [[1.0, -0.4]]


def test_a_run_with_a_transform_still_steps_from_its_own_sample():
    plan = Scheduler(solver=Adams(2)).plan(SCHEDULE, 5)
    x = plan.initial(torch.randn(2, 3).double())
    *_, plain = plan.run(GAUSSIAN.denoise, x)
    *_, wide = plan.run(transformed(GAUSSIAN.denoise, Clip(100.0)), x)
    assert torch.equal(plain.x, wide.x)


def test_a_learned_variance_survives_a_transform():
    estimate = seen([[3.0]])
    estimate.variance = torch.tensor([[0.3]])
    assert Clip()(estimate).variance is estimate.variance


def test_the_consistency_boundary_is_x_at_time_zero_and_x0_far_from_it():
    x = torch.tensor([[0.4]], dtype=torch.float64)
    at = lambda time: Estimate.from_x0(x, SCHEDULE.level(time), torch.tensor([[0.9]], dtype=torch.float64))
    assert Boundary()(at(0.0)).x0.item() == pytest.approx(0.4)
    assert Boundary()(at(999.0)).x0.item() == pytest.approx(0.9, abs=1e-6)
    t = 30.0
    want = 0.25 / (t**2 + 0.25) * 0.4 + t / (t**2 + 0.25) ** 0.5 * 0.9
    assert Boundary()(at(3.0)).x0.item() == pytest.approx(want, rel=1e-12)


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


def test_latent_consistency_sampling_is_renoising_of_the_bounded_x0():
    plan = Scheduler(grids.Trailing(), Adams(1), noise.Renoise()).plan(SCHEDULE, 4)
    x = plan.initial(torch.randn(2, 3).double())
    source = NoiseSource((3, 4))
    steps = list(plan.run(transformed(GAUSSIAN.denoise, Boundary()), x, source))
    for step in steps[:-1]:
        want = step.level.alpha * step.x0 + step.level.sigma * source("step", step.index, 0, like=x)
        assert (step.x - want).abs().max() < 1e-12
    assert torch.equal(steps[-1].x, steps[-1].x0)


@pytest.mark.parametrize(
    "make", [lambda: Clip(0.0), lambda: DynamicThreshold(0.0), lambda: DynamicThreshold(0.9, 0.5)]
)
def test_bounds_that_cannot_be_are_refused(make):
    with pytest.raises(InputError):
        make()
