import math

import numpy as np
import pytest
import torch

from closed_forms import GAUSSIAN, SCHEDULES
from unnoise.errors import InputError
from unnoise.process import Diffuser, DiscreteVP, Estimate, Gaussian, Level, Optimal, transition
from unnoise.randomness import normal

FROM, TO = 600.0, 250.0


def posterior_by_bayes(level: Level, to: Level, x_t: float, x0: float) -> tuple[float, float]:
    """Conditioning the joint normal distribution of (x_s, x_t) given x_0, with plain linear algebra."""
    ratio = level.alpha / to.alpha
    fresh = level.sigma**2 - ratio**2 * to.sigma**2
    mean = np.array([to.alpha * x0, level.alpha * x0])
    cov = np.array(
        [[to.sigma**2, ratio * to.sigma**2], [ratio * to.sigma**2, ratio**2 * to.sigma**2 + fresh]]
    )
    gain = cov[0, 1] / cov[1, 1]
    return mean[0] + gain * (x_t - mean[1]), cov[0, 0] - gain * cov[0, 1]


@pytest.mark.parametrize("name", ["linear", "cosine", "edm", "flow_shifted"])
def test_the_posterior_is_bayes(name):
    schedule = SCHEDULES[name]
    end = float(schedule.noisiest.time)
    level, to = schedule.level(0.6 * end), schedule.level(0.25 * end)
    x_t, x0 = (
        torch.full((1, 1, 2, 2), 0.7, dtype=torch.float64),
        torch.full((1, 1, 2, 2), -0.4, dtype=torch.float64),
    )
    diffuser = Diffuser(lambda x, t: x, schedule, prediction="velocity")
    got = diffuser.posterior(x_t, Estimate.from_x0(x_t, level, x0), level, to)
    mean, variance = posterior_by_bayes(level, to, 0.7, -0.4)
    assert got.mean.unique().item() == pytest.approx(mean, rel=1e-12)
    assert got.variance == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_posterior_is_finite_at_both_ends(name):
    schedule = SCHEDULES[name]
    x = torch.ones(1, 1, 2, 2).double()
    diffuser = Diffuser(lambda x, t: x, schedule, prediction="sample")
    middle = schedule.level(0.5 * float(schedule.noisiest.time))
    clean = schedule.level(schedule.clean_time)
    from_top = diffuser.posterior(
        x, Estimate.from_x0(x, schedule.noisiest, 0.3 * x), schedule.noisiest, middle
    )
    to_clean = diffuser.posterior(x, Estimate.from_x0(x, middle, 0.3 * x), middle, clean)
    assert from_top.mean.isfinite().all()
    assert to_clean.variance == 0.0
    assert (to_clean.mean - 0.3).abs().max() < 1e-15
    if schedule.noisiest.alpha == 0.0:
        assert from_top.mean.unique().item() == pytest.approx(middle.alpha * 0.3, rel=1e-12)
        assert from_top.variance == pytest.approx(middle.sigma**2, rel=1e-12)


def test_ddpm_s_own_formulas_for_neighbouring_steps():
    # Ho et al. 2020, eq. 7 and section 3.2, from the table of betas.
    schedule = DiscreteVP.linear()
    betas = schedule.betas
    signal = torch.cumprod(1.0 - betas, 0)
    for t in (1, 10, 500, 999):
        numbers = transition(schedule.level(float(t)), schedule.level(float(t - 1)))
        small = betas[t] * (1.0 - signal[t - 1]) / (1.0 - signal[t])
        of_x0 = betas[t] * signal[t - 1].sqrt() / (1.0 - signal[t])
        of_x = (1.0 - signal[t - 1]) * (1.0 - betas[t]).sqrt() / (1.0 - signal[t])
        for got, want in (
            (numbers.small, small),
            (numbers.large, betas[t]),
            (numbers.of_x0, of_x0),
            (numbers.of_x, of_x),
        ):
            assert got == pytest.approx(float(want), rel=1e-9)


def test_noising_has_the_stated_mean_and_variance():
    # Read off the linear map: data of mean m and deviation d becomes mean alpha m, variance (alpha d)^2 + sigma^2.
    for schedule in SCHEDULES.values():
        level = schedule.level(0.4 * float(schedule.noisiest.time))
        diffuser = Diffuser(lambda x, t: x, schedule, prediction="velocity")
        one, zero = torch.ones(1, 1, 1, 1).double(), torch.zeros(1, 1, 1, 1).double()
        assert diffuser.add_noise(one, zero, level).item() == level.alpha
        assert diffuser.add_noise(zero, one, level).item() == level.sigma


def test_the_marginal_of_noised_gaussian_data_by_draws():
    schedule, (mean,), (deviation,) = DiscreteVP.linear(), GAUSSIAN.means, GAUSSIAN.deviations
    diffuser, level = Diffuser(lambda x, t: x, schedule), schedule.level(300.0)
    count = 200_000
    x0 = mean + deviation * normal(1, "data", shape=(count, 1)).double()
    x = diffuser.add_noise(x0, normal(1, "noise", shape=(count, 1)).double(), level)
    spread = math.hypot(level.alpha * deviation, level.sigma)
    assert x.mean().item() == pytest.approx(level.alpha * mean, abs=4 * spread / math.sqrt(count))
    assert x.std().item() == pytest.approx(spread, rel=4 / math.sqrt(2 * count))


def test_each_sample_may_have_a_level_of_its_own():
    schedule = DiscreteVP.linear()
    diffuser = Diffuser(lambda x, t: t.view(-1, 1, 1, 1) * torch.ones_like(x), schedule)
    x0, eps = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    both = schedule.level(torch.tensor([3.0, 800.0]))
    assert diffuser.add_noise(x0, eps, both)[1].unique().item() == pytest.approx(schedule.level(800.0).alpha)
    assert diffuser.estimate(x0, both).output[:, 0, 0, 0].tolist() == [3.0, 800.0]
    alone = diffuser.posterior(
        x0[1:],
        Estimate.from_x0(x0[1:], schedule.level(800.0), x0[1:]),
        schedule.level(800.0),
        schedule.level(700.0),
    )
    to = schedule.level(torch.tensor([2.0, 700.0]))
    together = diffuser.posterior(x0, Estimate.from_x0(x0, both, x0), both, to)
    assert (together.mean[1] - alone.mean[0]).abs().max() < 1e-6
    assert together.variance[1].item() == pytest.approx(alone.variance, rel=1e-6)


@pytest.mark.parametrize(("output", "share"), [(-1.0, 0.0), (1.0, 1.0), (0.0, 0.5)])
def test_a_learned_variance_lies_between_the_fixed_ones_on_a_logarithmic_scale(output, share):
    schedule = DiscreteVP.linear()
    level, to = schedule.level(FROM), schedule.level(TO)
    x = torch.ones(1, 3, 2, 2).double()
    diffuser = Diffuser(
        lambda x, t: torch.cat([x, torch.full_like(x, output)], 1), schedule, variance="learned_range"
    )
    estimate = diffuser.estimate(x, level)
    numbers = transition(level, to)
    got = diffuser.posterior(x, estimate, level, to).variance
    want = math.exp(share * math.log(numbers.large) + (1 - share) * math.log(numbers.small))
    assert got.shape == x.shape
    assert got.unique().item() == pytest.approx(want, rel=1e-12)


def test_a_chain_s_last_step_takes_its_floor():
    schedule = DiscreteVP.linear()
    first, clean = schedule.level(0.0), schedule.level(-1.0)
    floor = transition(schedule.level(1.0), first).small
    x = torch.ones(1, 1, 2, 2).double()
    for rule in ("fixed_small", "learned_range"):
        diffuser = Diffuser(lambda x, t: torch.cat([x, -torch.ones_like(x)], 1), schedule, variance=rule)
        estimate = Estimate(x, first, x, diffuser.prediction, -torch.ones_like(x))
        variance = torch.as_tensor(diffuser.posterior(x, estimate, first, clean, floor=floor).variance)
        assert variance.unique().item() == pytest.approx(floor, rel=1e-12)


def test_the_optimal_variance_makes_the_reverse_step_exact_on_gaussian_data():
    # Marginal in, marginal out: variance' = of_x-and-of_x0 combined slope squared times variance, plus the step's own.
    schedule, (mean,), (deviation,) = DiscreteVP.linear(), GAUSSIAN.means, GAUSSIAN.deviations
    level, to = schedule.level(FROM), schedule.level(TO)

    def spread(x, at):
        return deviation**2 * at.sigma**2 / ((at.alpha * deviation) ** 2 + at.sigma**2)

    diffuser = Diffuser(lambda x, t: x, schedule, variance=Optimal(spread))
    outcomes = []
    for start in (0.0, 1.0):
        x = torch.full((1, 1, 1, 1), start).double()
        estimate = Estimate.from_x0(x, level, GAUSSIAN.denoise(x, level))
        outcomes.append(diffuser.posterior(x, estimate, level, to))
    slope = (outcomes[1].mean - outcomes[0].mean).item()
    incoming = (level.alpha * deviation) ** 2 + level.sigma**2
    assert slope**2 * incoming + outcomes[0].variance == pytest.approx(
        (to.alpha * deviation) ** 2 + to.sigma**2, rel=1e-12
    )
    assert outcomes[0].mean.item() + slope * level.alpha * mean == pytest.approx(to.alpha * mean, rel=1e-12)


def test_removing_noise_is_a_draw_from_the_posterior_and_ends_clean():
    schedule = DiscreteVP.linear()
    level, to, clean = schedule.level(FROM), schedule.level(TO), schedule.level(-1.0)
    x, eps = normal(0, "x", shape=(1, 1, 4, 4)).double(), normal(0, "z", shape=(1, 1, 4, 4)).double()
    diffuser = Diffuser(lambda x, t: x, schedule, variance="fixed_large")
    estimate = Estimate.from_x0(x, level, 0.1 * x)
    step = diffuser.posterior(x, estimate, level, to)
    assert torch.equal(
        diffuser.remove_noise(x, estimate, level, to, eps), step.mean + math.sqrt(step.variance) * eps
    )
    assert torch.equal(
        diffuser.remove_noise(x, estimate, level, clean, eps),
        diffuser.posterior(x, estimate, level, clean).mean,
    )


def test_removing_noise_ends_clean_for_each_sample_that_ends():
    schedule = DiscreteVP.linear()
    level, to = (schedule.level(torch.tensor(times)) for times in ([0.0, FROM], [-1.0, TO]))
    x, eps = normal(0, "x", shape=(2, 1, 4, 4)).double(), normal(0, "z", shape=(2, 1, 4, 4)).double()
    diffuser = Diffuser(lambda x, t: x, schedule, variance="fixed_large")
    estimate = Estimate.from_x0(x, level, 0.1 * x)
    step = diffuser.posterior(x, estimate, level, to)
    made = diffuser.remove_noise(x, estimate, level, to, eps)
    assert torch.equal(made[0], step.mean[0])
    assert torch.equal(made[1], step.sample(eps)[1])


@pytest.mark.parametrize("prediction", ["noise", "sample", "velocity", "flow", "edm", "score"])
def test_what_a_network_says_in_half_precision_does_not_round_what_it_was_asked(prediction):
    schedule, x = DiscreteVP.linear(), normal(0, "x", shape=(2, 1, 4, 4))
    said = normal(0, "said", shape=x.shape).bfloat16()
    estimates = [
        Diffuser(lambda x, t, answer=answer: answer, schedule, prediction).estimate(x, schedule.level(TO))
        for answer in (said, said.float())
    ]
    for name in ("x0", "noise", "flow", "velocity"):
        half, whole = (getattr(estimate, name) for estimate in estimates)
        assert half.dtype == torch.float32
        assert torch.equal(half, whole)


def test_the_true_posterior_is_the_model_s_where_it_knows_the_sample():
    schedule = DiscreteVP.linear()
    level, to = schedule.level(FROM), schedule.level(TO)
    x, x0 = normal(0, "x", shape=(1, 1, 4, 4)), normal(0, "x0", shape=(1, 1, 4, 4))
    diffuser = Diffuser(lambda x, t: x, schedule)
    mine = diffuser.posterior(x, Estimate.from_x0(x, level, x0), level, to)
    true = diffuser.true_posterior(x, x0, level, to)
    assert true.kl(mine).abs().max() < 1e-7


def test_kl_is_zero_only_for_equals_and_is_the_mean_log_ratio():
    one = Gaussian(torch.tensor([0.3, -1.0]).double(), torch.tensor([0.5, 2.0]).double())
    two = Gaussian(torch.tensor([0.0, -1.5]).double(), 1.0)
    assert (one.kl(one) == 0.0).all()
    assert (one.kl(two) > 0.0).all()
    count = 200_000
    x = one.sample(normal(0, "kl", shape=(count, 2)).double())
    ratio = one.log_prob(x) - two.log_prob(x)
    error = 4 * ratio.std(0) / math.sqrt(count)
    assert ((ratio.mean(0) - one.kl(two)).abs() < error).all()


def test_a_step_to_clean_data_has_no_width_and_its_kl_is_a_number():
    """The last step of a chain by `fixed_small`: two points, which are the same one or infinitely far apart."""
    schedule = DiscreteVP.linear()
    level, to = schedule.level(0), schedule.level(-1)
    x, x0 = normal(0, "x", shape=(1, 4)), normal(0, "x0", shape=(1, 4))
    diffuser = Diffuser(lambda x, t: x, schedule)
    true = diffuser.true_posterior(x, x0, level, to)
    assert (true.kl(true) == 0.0).all()
    assert (true.kl(diffuser.posterior(x, Estimate.from_x0(x, level, x0 + 1), level, to)) == math.inf).all()
    assert (Gaussian(x, 1.0).kl(true) == math.inf).all()
    assert (true.kl(Gaussian(x, 1.0)) == math.inf).all()
    assert (true.log_prob(true.mean) == math.inf).all()
    assert (true.log_prob(true.mean + 1) == -math.inf).all()


def test_densities_are_those_of_torch():
    mean, variance = torch.tensor([0.3, -1.0]).double(), torch.tensor([0.5, 2.0]).double()
    x = torch.tensor([0.1, 4.0]).double()
    want = torch.distributions.Normal(mean, variance.sqrt()).log_prob(x)
    assert (Gaussian(mean, variance).log_prob(x) - want).abs().max() < 1e-14


PAIR = torch.ones(2, 3, 2, 2)
LINEAR = Diffuser(lambda x, t: x, DiscreteVP.linear())
THREE = DiscreteVP.linear().level(torch.tensor([1.0, 2.0, 3.0]))
NOISY, CLEAN = LINEAR.schedule.level(5.0), LINEAR.schedule.level(2.0)
SEEN = Estimate.from_x0(PAIR, NOISY, PAIR)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Diffuser(lambda x, t: x, DiscreteVP.linear(), prediction="epsilon"), "prediction"),
        (lambda: Diffuser(lambda x, t: x, DiscreteVP.linear(), variance="small"), "variance"),
        (lambda: Diffuser(lambda x, t: x, DiscreteVP.linear(), clip=-1.0), "clip"),
        (lambda: transition(DiscreteVP.linear().level(3.0), DiscreteVP.linear().level(4.0)), "less noisy"),
        (
            lambda: Diffuser(lambda x, t: x, DiscreteVP.linear(), variance="learned_range").estimate(
                torch.ones(1, 3, 2, 2), DiscreteVP.linear().level(5.0)
            ),
            r"learned variance needs outputs of shape \(6, 2, 2\) for samples of \(3, 2, 2\)",
        ),
        (
            lambda: Diffuser(lambda x, t: x[..., :1], DiscreteVP.linear()).estimate(
                torch.ones(1, 3, 2, 2), DiscreteVP.linear().level(5.0)
            ),
            r"the network gave \(3, 2, 1\)",
        ),
        (
            lambda: Diffuser(lambda x, t: (x,), DiscreteVP.linear()).estimate(
                torch.ones(1, 3, 2, 2), DiscreteVP.linear().level(5.0)
            ),
            "the network gave a tuple; let it return a Tensor",
        ),
        (lambda: Diffuser(DiscreteVP.linear(), lambda x, t: x), "such as DiscreteVP.linear"),
        (lambda: Diffuser(lambda x, t: x, DiscreteVP), "schedule is <class"),
        (
            lambda: Diffuser(lambda x, t: torch.cat([x, x], 1), DiscreteVP.linear()).estimate(
                torch.ones(1, 3, 2, 2), DiscreteVP.linear().level(5.0)
            ),
            r"fixed variance needs outputs of shape \(3, 2, 2\)",
        ),
        (lambda: Diffuser(None, DiscreteVP.linear()), "network is None; give a function"),
        (lambda: LINEAR.estimate(PAIR, 500), r"level is 500; give .*schedule\.level"),
        (lambda: LINEAR.add_noise(PAIR, PAIR, 500.0), r"level is 500\.0; give .*schedule\.level"),
        (lambda: LINEAR.true_posterior(PAIR, PAIR, LINEAR.schedule.level(9), 8), "to is 8; give"),
        (lambda: LINEAR.add_noise(PAIR, PAIR, THREE), "level has 3 numbers for 2 samples"),
        (lambda: LINEAR.estimate(PAIR, THREE), "level has 3 numbers for 2 samples"),
        (
            lambda: LINEAR.add_noise(PAIR, PAIR[:1], LINEAR.schedule.level(5)),
            r"eps is of shape \[1, 3, 2, 2\]; give a Tensor of shape \[2, 3, 2, 2\]",
        ),
        (
            lambda: Diffuser(lambda x, t: x[:1], DiscreteVP.linear()).estimate(
                PAIR, LINEAR.schedule.level(5)
            ),
            "gave 1 sample for 2; let it answer each",
        ),
        (lambda: Diffuser(lambda x, t: None, DiscreteVP.linear()).estimate(PAIR, NOISY), "gave a NoneType"),
        (
            lambda: LINEAR.add_noise(PAIR.numpy(), PAIR, NOISY),
            r"x0 is array.*give a Tensor \(batch, \.\.\.\)",
        ),
        (lambda: LINEAR.add_noise(PAIR.long(), PAIR, NOISY), r"x0 is torch\.int64 .*x\.float\(\)"),
        (lambda: LINEAR.estimate(PAIR.to(torch.uint8), NOISY), r"x is torch\.uint8 of shape \[2, 3, 2, 2\]"),
        (lambda: LINEAR.estimate(torch.tensor(1.0), NOISY), r"x is of shape \[\]"),
        (lambda: LINEAR.interpret(None, PAIR, NOISY), "gave a NoneType"),
        (lambda: LINEAR.interpret(PAIR, PAIR, 500), r"level is 500; give .*schedule\.level"),
        (lambda: LINEAR.posterior(PAIR, PAIR, NOISY, CLEAN), "estimate is tensor.*give an Estimate"),
        (lambda: LINEAR.posterior(PAIR[:1], SEEN, NOISY, CLEAN), r"x is of shape \[1, 3, 2, 2\]"),
        (lambda: LINEAR.posterior(PAIR, SEEN, NOISY, CLEAN, floor=-1), "floor is -1; give"),
        (
            lambda: LINEAR.remove_noise(PAIR, SEEN, NOISY, CLEAN, PAIR[..., :1]),
            r"eps is of shape \[2, 3, 2, 1\]",
        ),
        (lambda: LINEAR.true_posterior(PAIR, PAIR[0], NOISY, CLEAN), r"^x0 is of shape \[3, 2, 2\]; give"),
        (lambda: Estimate.from_noise(PAIR, NOISY, None), "output is None; give a Tensor of shape"),
        (lambda: Estimate.from_x0(PAIR, 500, PAIR), r"level is 500; give .*schedule\.level"),
        (lambda: Estimate(PAIR, NOISY, PAIR, "noise"), "prediction is 'noise'; give a Prediction"),
        (lambda: Gaussian(PAIR, -1), "variance is -1; give a number of at least 0"),
        (lambda: Gaussian(PAIR, math.nan), "variance is nan; give"),
        (lambda: Gaussian(PAIR.long(), 0.5), r"mean is torch\.int64"),
        (lambda: Gaussian(PAIR, PAIR.long()), r"variance is torch\.int64"),
        (lambda: Gaussian(PAIR, 0.5).sample(PAIR.numpy()), "eps is array"),
        (lambda: Gaussian(PAIR, 0.5).log_prob(1.0), "x is 1.0; give a Tensor"),
        (lambda: Gaussian(PAIR, 0.5).kl(PAIR), "other is tensor.*give a Gaussian"),
        (
            lambda: Gaussian(PAIR, 0.5).kl(Gaussian(PAIR[:1], 0.5)),
            r"mean of other is of shape \[1, 3, 2, 2\]",
        ),
    ],
)
def test_bad_input_names_its_field(make, word):
    with pytest.raises(InputError, match=word):
        make()


def test_a_missing_learned_variance_is_named():
    schedule = DiscreteVP.linear()
    diffuser = Diffuser(lambda x, t: x, schedule, variance="learned_range")
    x = torch.ones(1, 1, 2, 2)
    with pytest.raises(InputError, match="learned_range"):
        diffuser.posterior(
            x, Estimate.from_x0(x, schedule.level(5.0), x), schedule.level(5.0), schedule.level(4.0)
        )
