"""Likelihood against data whose likelihood is known."""

import math

import pytest
import torch
from scipy.stats import norm

from closed_forms import MIXTURE, Mixture
from unnoise import evaluation
from unnoise.errors import InputError, NonFiniteError
from unnoise.evaluation import Flow, bits_per_dim, vlb
from unnoise.evaluation.decoder import discretised_log_likelihood, nearest_level_log_likelihood
from unnoise.evaluation.subject import on_grid
from unnoise.process import EDM, Cosine, Diffuser, DiscreteVP, Gaussian, Level, Optimal, transition
from unnoise.process.level import expand
from unnoise.schedulers import names

BIT = math.log(2.0)


def level_of(schedule, time):
    """The level that the network is told of."""
    if isinstance(schedule, EDM):
        return schedule.level((4.0 * time.double()).exp().clamp(max=schedule.sigma_max))
    return schedule.level(time.double().clamp(max=schedule.noisiest.time))


def gaussian_diffuser(schedule, deviation, variance="fixed_small", covariance=None):
    """The exact denoiser of N(0, deviation^2), or of N(0, covariance)."""

    def network(x, time):
        level = level_of(schedule, time)
        a, s = level.expand("alpha", x), level.expand("sigma", x)
        if covariance is None:
            return a * deviation**2 / (a**2 * deviation**2 + s**2) * x
        values, basis = torch.linalg.eigh(covariance.to(x.dtype))
        return a * ((x @ basis) * values / (a**2 * values + s**2)) @ basis.T

    return Diffuser(network, schedule, "sample", variance)


def optimal(deviation):
    def x0_variance(x, level):
        a, s = expand(level.alpha, x), expand(level.sigma, x)
        return deviation**2 * s**2 / (a**2 * deviation**2 + s**2)

    return Optimal(x0_variance)


def gap(schedule, deviation, variance, **options):
    """Bound minus entropy, in bits, without chance.

    Every term is quadratic in (x_0, eps), so the four pairs of signs average it exactly.
    """
    pictures = deviation * torch.tensor([[1.0, 1.0, -1.0, -1.0]], dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    found = bits_per_dim(
        gaussian_diffuser(schedule, deviation, variance),
        pictures,
        space="numbers",
        draw=lambda purpose, place, number: signs,
        batch=512,
        **options,
    )
    return found.value - 0.5 * math.log2(2.0 * math.pi * math.e * deviation**2)


@pytest.mark.parametrize("deviation", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("steps", [50, 1000, 4000])
def test_the_bound_with_the_optimal_variance_is_the_entropy(steps, deviation):
    schedule = DiscreteVP.linear(0.1 / steps, 20.0 / steps, steps)
    assert abs(gap(schedule, deviation, optimal(deviation))) < 1e-6


@pytest.mark.parametrize("kept", [10, 25, 250, (0, 3, 50, 500, 999)])
def test_a_respaced_chain_is_exact_too(kept):
    assert abs(gap(DiscreteVP.linear(), 0.5, optimal(0.5), steps=kept)) < 1e-6
    assert abs(gap(Cosine(), 0.5, optimal(0.5), steps=20)) < 1e-6
    assert abs(gap(EDM(), 0.5, optimal(0.5), steps=40)) < 1e-6


@pytest.mark.parametrize("variance", [optimal(1.0), "fixed_large"])
def test_a_chain_whose_betas_fall_is_exact_too(variance):
    """Of the steps to noisy pictures none is widened: some are narrower here than what stands in for the last."""
    falling = DiscreteVP.from_betas((0.3, 0.01, 0.001, 0.0001, 0.5, 0.9))
    assert abs(gap(falling, 1.0, variance)) < 1e-6


def test_a_chain_over_edm_is_even_where_the_cost_is():
    """Its time is sigma, and steps even in that would nearly all lie in the noise."""
    log_snr = torch.as_tensor(evaluation.Chain.of(EDM(), 200).levels.log_snr)
    assert torch.allclose(log_snr.diff(), log_snr.diff()[:1], rtol=1e-9)
    assert 0.0 < gap(EDM(), 0.5, "fixed_large", steps=1000) < 0.1


def test_rounding_leads_no_bound_beyond_its_schedule():
    """The last of even places, reckoned from the first, may lie a bit above the noisiest level."""
    for schedule in (EDM(sigma_max=100.0), Cosine(start=0.0058, end=0.3)):
        levels = evaluation.Chain.of(schedule, 7).levels
        assert float(levels.time[-1]) == schedule.noisiest.time
    model = gaussian_diffuser(Cosine(start=0.0058, end=0.3), 0.5)
    found = bits_per_dim(model, torch.zeros(1, 1), "vdm", calls=7, strata="time", space="numbers")
    assert math.isfinite(found.value)


@pytest.mark.parametrize(
    ("deviation", "variance", "bits"),
    [
        (0.5, "fixed_large", 0.001576),
        (0.5, "fixed_small", 0.822229),
        (0.05, "fixed_large", 0.064972),
        (0.05, "fixed_small", 0.592950),
        (1.0, "fixed_large", 0.0),
    ],
)
def test_fixed_variances_cost_what_they_cost(deviation, variance, bits):
    assert gap(DiscreteVP.linear(), deviation, variance) == pytest.approx(bits, abs=1e-5)


def test_a_learned_variance_lies_between_the_fixed_ones_at_the_share_it_says():
    """f = 1 is fixed_large; the network's second half says f = (v + 1) / 2."""
    schedule = DiscreteVP.linear(steps=50)
    plain = gaussian_diffuser(schedule, 0.5).network
    picture = torch.tensor([[[0.5, 0.5, -0.5, -0.5]]], dtype=torch.float64)
    signs = torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)

    def value(variance, v=None):
        network = plain if v is None else lambda x, t: torch.cat([plain(x, t), torch.full_like(x, v)], 1)
        diffuser = Diffuser(network, schedule, "sample", variance)
        return bits_per_dim(diffuser, picture, space="numbers", draw=lambda *_: signs).value

    assert value("learned_range", 1.0) == pytest.approx(value("fixed_large"), abs=1e-12)
    assert value("learned_range", -1.0) == pytest.approx(value("fixed_small"), abs=1e-12)


def test_a_cheap_estimate_agrees_with_every_step():
    diffuser = gaussian_diffuser(DiscreteVP.linear(), 0.5, "fixed_large")
    pictures = torch.randn(64, 1, 2, 2, generator=torch.Generator().manual_seed(1)) * 0.5
    whole = bits_per_dim(diffuser, pictures, space="numbers", batch=4096)
    cheap = bits_per_dim(diffuser, pictures, space="numbers", calls=24, batch=4096)
    assert cheap.calls < 30
    assert whole.calls == 1000
    difference = (cheap.each - whole.each) / 1.0
    assert abs(float(difference.mean())) < 3.0 * float(difference.std()) / 8.0
    assert cheap.error < 1.5 * whole.error


def drawn(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def density_bits(x, variance):
    return (0.5 * x.square() / variance + 0.5 * math.log(2.0 * math.pi * variance)).flatten(1).mean(1) / BIT


@pytest.mark.parametrize("schedule", [EDM(), Cosine(), DiscreteVP.linear()], ids=["edm", "cosine", "linear"])
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 4e-5), (torch.float64, 1e-6)])
def test_the_ode_finds_the_density_of_gaussian_data(schedule, dtype, bar):
    """N(0, 0.25) in 48 numbers at tolerance 1e-5, every picture on its own."""
    pictures = (0.5 * drawn((32, 3, 4, 4))).to(dtype)
    found = bits_per_dim(
        gaussian_diffuser(schedule, 0.5),
        pictures,
        "ode",
        space="numbers",
        flow=Flow(tolerance=1e-5, deviation=0.5),
    )
    truth = density_bits(pictures.double(), 0.25 + float(schedule.cleanest.ratio) ** 2)
    assert float((found.each - truth).abs().max()) < bar
    assert found.calls < 60


def full_rank(numbers=6):
    root = drawn((numbers, numbers), 3) * 0.3
    return root @ root.T + 0.05 * torch.eye(numbers, dtype=torch.float64)


def test_the_ode_measures_a_full_covariance_by_the_exact_trace():
    covariance, schedule = full_rank(), Cosine()
    pictures = drawn((16, 6), 4) @ torch.linalg.cholesky(covariance).T
    found = bits_per_dim(
        gaussian_diffuser(schedule, 0.0, covariance=covariance),
        pictures,
        "ode",
        space="numbers",
        flow=Flow(tolerance=1e-7, trace="exact"),
    )
    smoothed = covariance + float(schedule.cleanest.ratio) ** 2 * torch.eye(6, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), smoothed)
    assert torch.allclose(found.each, -law.log_prob(pictures) / 6 / BIT, atol=1e-6)


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_probes_average_to_the_exact_trace_with_their_known_variance(kind):
    """The Jacobian integrates to one S; v' S v has variance 2 (|S|^2 - sum S_ii^2) for signs, 2 |S|^2 for normals."""
    covariance, schedule, probes = full_rank(), Cosine(), 300
    picture = drawn((1, 6), 5)
    diffuser = gaussian_diffuser(schedule, 0.0, covariance=covariance)
    from unnoise.evaluation.subject import Subject, keyed

    subject = Subject(diffuser, picture, {}, keyed(0, (6,)))
    which = torch.tensor([0])
    _, exact, _ = Flow(tolerance=1e-6, trace="exact").solve(subject, which, picture, schedule.cleanest)
    _, each, _ = Flow(tolerance=1e-6, trace=kind, probes=probes).solve(
        subject, which, picture, schedule.cleanest
    )
    # S is the integral of the Jacobian of dx/dtheta = (log-derivative of the covariance) / 2 x, with ends known.
    values, basis = torch.linalg.eigh(covariance)
    start = math.atan(float(schedule.cleanest.ratio))
    growth = -0.5 * (math.cos(start) ** 2 * values + math.sin(start) ** 2).log()
    S = basis @ growth.diag() @ basis.T
    assert float(exact) * 6 == pytest.approx(float(S.trace()), abs=1e-4)
    spread = 2.0 * (S.square().sum() - (S.diagonal().square().sum() if kind == "rademacher" else 0.0))
    own = each * 6
    assert abs(float(own.mean()) - float(S.trace())) < 3.0 * math.sqrt(float(spread) / probes)
    assert float(own.var()) == pytest.approx(float(spread), rel=0.3)


def mixture_diffuser(schedule, data):
    """The exact denoiser of a mixture on the line; levels may differ between rows."""
    w, m, d = (
        torch.tensor(part, dtype=torch.float64) for part in (data.weights, data.means, data.deviations)
    )

    def network(x, time):
        level = level_of(schedule, time)
        a, s = level.expand("alpha", x.unsqueeze(-1)), level.expand("sigma", x.unsqueeze(-1))
        a, s = a.double(), s.double()
        total = (a * d) ** 2 + s**2
        away = x.double().unsqueeze(-1) - a * m
        share = torch.softmax(w.log() - 0.5 * total.log() - 0.5 * away**2 / total, -1)
        return (share * (m + a * d**2 / total * away)).sum(-1).to(x.dtype)

    return Diffuser(network, schedule, "sample")


def test_the_ode_finds_the_density_of_a_mixture():
    schedule = Cosine()
    pictures = torch.linspace(-2.0, 2.2, 40, dtype=torch.float64).reshape(-1, 1)
    found = bits_per_dim(
        mixture_diffuser(schedule, MIXTURE),
        pictures,
        "ode",
        space="numbers",
        flow=Flow(tolerance=1e-7, trace="exact"),
    )
    w, m, d = (
        torch.tensor(part, dtype=torch.float64)
        for part in (MIXTURE.weights, MIXTURE.means, MIXTURE.deviations)
    )
    spread = d**2 + float(schedule.cleanest.ratio) ** 2
    log = w.log() - 0.5 * (pictures - m) ** 2 / spread - 0.5 * (2.0 * math.pi * spread).log()
    assert torch.allclose(found.each, -torch.logsumexp(log, 1) / BIT, atol=2e-6)


def test_samples_of_a_mixture_fall_into_its_modes_by_their_weights():
    """Equal-probability noise makes the count exact but for the solver's error."""
    data = Mixture((0.25, 0.6, 0.15), (-2.0, 0.0, 2.0), (0.1, 0.15, 0.1))
    share = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    plan = names.get("DPM++ 2M").plan(Cosine(), 100)
    *_, last = plan.run(data.denoise, plan.initial(torch.special.ndtri(share)).reshape(-1, 1))
    near = (last.x - torch.tensor(data.means)).abs().argmin(1)
    found = torch.bincount(near, minlength=3) / 4000
    assert torch.allclose(found, torch.tensor(data.weights), atol=0.01)


def test_the_continuous_bound_depends_on_a_schedule_through_its_ends_only():
    """A wrong network, so that there is something to agree on beside the entropy; levels where each trained."""
    linear = DiscreteVP.linear()
    low, high = float(linear.cleanest.log_snr), float(linear.noisiest.log_snr)
    angle = [math.atan(math.exp(-0.5 * value)) for value in (low, high)]
    cosine = Cosine(start=angle[0] / (math.pi / 2), end=angle[1] / (math.pi / 2))
    pictures = 0.5 * drawn((200, 4), 6)
    found = [
        bits_per_dim(
            gaussian_diffuser(schedule, 0.8),
            pictures,
            "vdm",
            space="numbers",
            calls=64,
            strata="time",
            seed=seed,
            batch=4096,
        )
        for seed, schedule in enumerate((linear, cosine))
    ]
    # the pictures are the same, so the difference has the error of the draws alone
    difference = found[0].each - found[1].each
    assert abs(float(difference.mean())) < 3.0 * float(difference.std()) / math.sqrt(200)
    assert abs(found[0].value - found[1].value) < found[0].error


def test_the_continuous_bound_of_the_exact_denoiser_is_the_cross_entropy():
    pictures = 0.5 * drawn((400, 4), 7)
    found = bits_per_dim(
        gaussian_diffuser(Cosine(), 0.5), pictures, "vdm", space="numbers", calls=64, batch=4096
    )
    truth = density_bits(pictures, 0.25)
    difference = found.each - truth
    assert abs(float(difference.mean())) < 3.0 * float(difference.std()) / 20.0


def uniform_levels(schedule, bins=256):
    """The exact denoiser of a grey level that is any of `bins` with equal chance."""
    grey = -1.0 + 2.0 * torch.arange(bins, dtype=torch.float64) / (bins - 1)

    def network(x, time):
        level = level_of(schedule, time)
        a, s = (level.expand(name, x.unsqueeze(-1)) for name in ("alpha", "sigma"))
        share = torch.softmax(-0.5 * ((x.unsqueeze(-1) - a * grey) / s) ** 2, -1)
        return (share * grey).sum(-1)

    return Diffuser(network, schedule, "sample")


@pytest.mark.parametrize("bins", [128, 256])
def test_uniform_grey_levels_cost_eight_bits_along_the_ode(bins):
    """8.000000 bits for each picture and each draw: dequantised by the process, its decoder is the exact posterior."""
    grey = -1.0 + 2.0 * torch.arange(bins, dtype=torch.float64) / (bins - 1)
    diffuser = uniform_levels(Cosine(start=0.002), bins)
    flow = Flow(dequantise="noise", tolerance=1e-8)
    found = bits_per_dim(diffuser, grey.repeat(2, 1), "ode", bins=bins, flow=flow)
    assert torch.allclose(found.each, torch.tensor(math.log2(bins), dtype=torch.float64), rtol=0, atol=1e-6)


def test_uniform_grey_levels_cost_eight_bits_by_the_continuous_bound():
    pictures = on_double(torch.arange(256, dtype=torch.uint8).repeat(16, 1))
    found = bits_per_dim(uniform_levels(Cosine(start=0.002)), pictures, "vdm", calls=100, batch=16)
    assert abs(found.value - 8.0) < 3.0 * found.error
    assert found.error < 0.05


def on_double(pictures):
    return pictures.double() / 127.5 - 1.0


def test_uniform_histograms_cost_eight_bits_exactly():
    pictures = torch.arange(256, dtype=torch.uint8).reshape(256, 1).repeat(1, 3)
    found = evaluation.independent_pixels(pictures, pictures)
    assert found.value == pytest.approx(8.0, abs=1e-12)


@pytest.mark.parametrize("deviation", [1e-3, 1e-2, 0.1, 1.0])
@pytest.mark.parametrize("mean", [-1.2, -0.31, 0.0, 0.997])
def test_decoders_are_distributions(deviation, mean):
    grey = -1.0 + 2.0 * torch.arange(256, dtype=torch.float64) / 255
    log = discretised_log_likelihood(grey, Gaussian(torch.full_like(grey, mean), deviation**2))
    assert float(log.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    near = nearest_level_log_likelihood(grey, torch.full_like(grey, mean), Level(0.0, 0.9, deviation))
    assert float(near.exp().sum()) == pytest.approx(1.0, abs=1e-12)


def test_the_published_decoder_is_near_the_exact_one_in_the_middle_and_stuck_in_the_tail():
    law = Gaussian(torch.zeros(2), (5 / 255) ** 2)
    x = torch.tensor([1.0, 31.0]) / 255
    exact = -discretised_log_likelihood(x, law) / BIT
    tanh = -discretised_log_likelihood(x, law, cdf="tanh") / BIT
    assert float((exact - tanh)[0].abs()) < 0.003
    assert float(exact[1]) == pytest.approx(-math.log2(norm.sf(6.0) - norm.sf(6.4)), rel=1e-5)
    assert float(tanh[1]) == pytest.approx(39.86, abs=0.01)


def test_kl_is_the_mean_log_ratio_and_adds_up():
    one, other = Gaussian(torch.tensor(0.3), 0.04), Gaussian(torch.tensor(0.1), 0.09)
    x = one.sample(drawn((200_000,)).float())
    ratio = one.log_prob(x) - other.log_prob(x)
    assert abs(float(ratio.mean() - one.kl(other))) < 3.0 * float(ratio.std()) / math.sqrt(len(x))
    mean, variance = drawn((2, 5)), drawn((2, 5), 1).exp()
    pair = [Gaussian(mean[row], variance[row]) for row in (0, 1)]
    whole = [torch.distributions.MultivariateNormal(law.mean, law.variance.diag()) for law in pair]
    joint = torch.distributions.kl_divergence(*whole)
    assert float(pair[0].kl(pair[1]).sum()) == pytest.approx(float(joint), rel=1e-12)
    assert float(one.kl(one)) == 0.0


@pytest.mark.parametrize("time", [1, 10, 500, 999])
def test_a_step_costs_the_squared_noise_residual_and_the_variances(time):
    """beta^2 / (2 var a (1 - abar)) |eps - eps_hat|^2 + (r - 1 - ln r) / 2, r the ratio of the variances."""
    schedule = DiscreteVP.linear()
    level, to = schedule.level(float(time)), schedule.level(float(time - 1))
    x0, eps, missed = 0.5 * drawn((3, 4)), drawn((3, 4), 1), 0.1 * drawn((3, 4), 2)
    diffuser = Diffuser(lambda x, t: eps + missed, schedule, "noise", "fixed_large")
    x = diffuser.add_noise(x0, eps, level)
    cost = evaluation.step_cost(diffuser, x0, diffuser.estimate(x, level), to, 0.0)
    beta = float(schedule.betas[time])
    ratio = transition(level, to).small / beta
    factor = beta**2 / (2.0 * beta * (1.0 - beta) * level.sigma**2)
    expected = factor * missed**2 + 0.5 * (ratio - 1.0 - math.log(ratio))
    assert torch.allclose(cost, expected, rtol=1e-8, atol=1e-10)


def test_the_batch_size_changes_nothing_and_the_printed_line_says_it_all():
    diffuser = gaussian_diffuser(DiscreteVP.linear(steps=20), 0.5)
    pictures = on_double(torch.randint(0, 256, (3, 1, 2, 2), generator=torch.Generator().manual_seed(0)))
    one, many = (bits_per_dim(diffuser, pictures, batch=batch) for batch in (1, 64))
    assert torch.allclose(one.each, many.each, rtol=1e-12, atol=0)
    line = str(many)
    assert "bits/dim (discrete bound) = prior" in line
    assert line.endswith("20 calls a picture")
    assert many.value == pytest.approx(sum(many.terms.values()), rel=1e-12)
    assert len(many.profile) == 20


REFUSED = [
    (lambda d, x: bits_per_dim(d, x[:0]), "at least one picture"),
    (lambda d, x: bits_per_dim(d, x * 3.0), "floats from -1 to 1"),
    (lambda d, x: bits_per_dim(d, x * 0.501), "none of the 256 grey levels"),
    (lambda d, x: bits_per_dim(d, x.numpy()), "images is .*; give a Tensor"),
    (lambda d, x: bits_per_dim(d.network, x), "diffuser is .*; give a Diffuser"),
    (lambda d, x: bits_per_dim(d, x, seed="x"), "seed is 'x'; give a whole number"),
    (lambda d, x: bits_per_dim(d, x, "ode", flow="heun"), "flow is 'heun'; give a Flow"),
    (lambda d, x: bits_per_dim(d, x, "nll"), "method is 'nll'; give one of vlb, vdm, ode"),
    (lambda d, x: bits_per_dim(d, (x > 0).to(torch.uint8), bins=2), "none of the 2 grey levels"),
    (lambda d, x: bits_per_dim(d, x, steps=1), "from 2 to 20"),
    (lambda d, x: bits_per_dim(d, x, calls=1), "at least 2"),
    (lambda d, x: bits_per_dim(d, x, bins=1), "bins is 1; give a whole number from 2 to 65,536"),
    (lambda d, x: bits_per_dim(d, x, batch=0), "batch is 0; give a whole number of at least 1"),
    (lambda d, x: bits_per_dim(d, x, cdf="erf"), "cdf is 'erf'; give one of exact, tanh"),
    (lambda d, x: bits_per_dim(d, x, conditioning={"text": x[:1]}), "has 1 row for 2 pictures"),
    (lambda d, x: bits_per_dim(d, x, "ode", flow=Flow(probes=0)), "probes is 0"),
]


@pytest.mark.parametrize(("ask", "words"), REFUSED)
def test_what_makes_no_sense_is_refused_in_one_sentence(ask, words):
    diffuser = gaussian_diffuser(DiscreteVP.linear(steps=20), 0.5)
    pictures = on_double(torch.tensor([[[[0, 255], [3, 4]]], [[[9, 8], [7, 6]]]]))
    with pytest.raises(InputError, match=words):
        ask(diffuser, pictures)


@pytest.mark.parametrize("bins", [2, 5, 32, 100, 256])
def test_bytes_of_any_number_of_grey_levels_are_those_levels(bins):
    levels = torch.arange(bins, dtype=torch.float64)
    found = on_grid((levels * 255.0 / (bins - 1)).round().to(torch.uint8).reshape(1, bins), bins)
    assert torch.equal(((found.double() + 1.0) * (bins - 1) / 2.0).round(), levels.reshape(1, bins))


def test_a_model_without_a_chain_names_the_ways_on():
    with pytest.raises(InputError, match="a cosine schedule has not; give steps=1000"):
        bits_per_dim(gaussian_diffuser(Cosine(), 0.5), torch.zeros(1, 1, 2, 2, dtype=torch.uint8))


def test_a_cost_that_is_not_finite_names_its_term_and_picture():
    schedule = DiscreteVP.linear(steps=20)
    diffuser = Diffuser(lambda x, t: x * math.nan, schedule, "sample")
    with pytest.raises(NonFiniteError, match="steps term of the likelihood is not finite for picture 0"):
        bits_per_dim(diffuser, torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(NonFiniteError, match="images hold numbers that are not finite"):
        bits_per_dim(diffuser, torch.full((1, 4), math.nan))


def test_a_fitted_variance_is_the_optimal_one_where_that_is_one_number_a_level():
    """Gaussian data: what is left of the gap of the fixed variances (0.82 bits) is the fit's own error."""
    schedule = DiscreteVP.linear()
    diffuser = gaussian_diffuser(schedule, 0.5)
    fitted = evaluation.fitted_variance(diffuser, 0.5 * drawn((400, 1, 4, 4), 8), looks=64, batch=400)
    assert abs(gap(schedule, 0.5, fitted)) < 1e-3
    x = drawn((3, 1, 2, 2))
    for time in (5.0, 200.0, 900.0):
        level = schedule.level(time)
        assert torch.allclose(
            fitted.x0_variance(x, level),
            torch.tensor(optimal(0.5).x0_variance(x, level)).double(),
            rtol=0.05,
        )


def test_bounds_end_where_the_grey_level_is_certain():
    """Half a bin is four deviations there; a schedule that ends earlier keeps its own end."""
    from unnoise.evaluation.ends import ends

    cleanest, noisiest = ends(Cosine(), 17)
    assert float(cleanest.ratio) == pytest.approx(1.0 / 64.0)
    assert float(noisiest.log_snr) == -24.0
    linear = DiscreteVP.linear()
    assert ends(linear, 256) == (linear.cleanest, linear.noisiest)
    assert ends(Cosine())[0] == Cosine().cleanest


def test_the_bound_by_its_own_name_is_bits_per_dim_by_that_method():
    diffuser = gaussian_diffuser(DiscreteVP.linear(steps=20), 0.5)
    pictures = torch.tensor([[[[0, 255], [3, 4]]], [[[9, 8], [7, 6]]]], dtype=torch.uint8)
    for options in ({}, {"steps": 5, "seed": 3}, {"calls": 4, "bins": 256, "cdf": "tanh"}):
        assert (
            vlb(diffuser, pictures, **options).to_dict()
            == bits_per_dim(diffuser, pictures, "vlb", **options).to_dict()
        )
    with pytest.raises(InputError, match="from 2 to 20"):
        vlb(diffuser, pictures, steps=1)


@pytest.mark.parametrize("method", evaluation.METHODS)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad], ids=["inference", "no_grad"])
def test_the_caller_s_mode_of_gradients_changes_no_likelihood(method, mode):
    schedule = DiscreteVP.linear(steps=8) if method == "vlb" else Cosine()
    diffuser = gaussian_diffuser(schedule, 0.5)
    told = {"weight": torch.ones(2, 1)}
    diffuser.network = lambda x, time, weight, plain=diffuser.network: plain(x, time) * weight
    grey = torch.tensor([[3], [200]], dtype=torch.uint8)
    with mode():
        inside = bits_per_dim(diffuser, grey.clone(), method, conditioning={"weight": told["weight"].clone()})
    assert inside.value == bits_per_dim(diffuser, grey, method, conditioning=told).value
