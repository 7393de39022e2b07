"""Every grid against numbers computed another way: NumPy, SciPy, or the publishing program's own formula."""

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import beta

from closed_forms import SCHEDULES
from unnoise.errors import InputError
from unnoise.process import EDM, DiscreteVP, Flow
from unnoise.schedulers import grids
from unnoise.schedulers.grids.beta import beta_quantile

SD = DiscreteVP.scaled_linear()
TABLE = np.array([float(SD.level(float(t)).ratio) for t in range(1000)])
LOW, HIGH = TABLE[0], TABLE[-1]
COUNTS = (1, 2, 3, 7, 10, 20, 30, 50)
EVERY = [
    grids.Trailing(),
    grids.Leading(1.0),
    grids.Linspace(),
    grids.SGMUniform(),
    grids.Simple(),
    grids.DDIMUniform(),
    grids.Quadratic(),
    grids.Distilled(),
    grids.BetaTime(),
    grids.Smoothstep(),
    grids.Karras(),
    grids.Exponential(),
    grids.Polyexponential(0.7),
    grids.KLOptimal(),
    grids.BetaSigma(),
    grids.Laplace(),
    grids.LinearQuadratic(),
    grids.BongTangent(),
    grids.AlignYourSteps(),
    grids.AlignYourSteps("sdxl", ends=True),
    grids.GITS(),
    grids.DropPenultimate(grids.Karras()),
    grids.Rounded(grids.BetaTime()),
    grids.Shift(grids.Simple(), 3.0),
    grids.ResolutionShift(grids.Simple(), 4096),
    grids.StretchToTerminal(grids.Karras(), 0.1),
    grids.BlockLevels(),
    grids.Flux2Shift(grids.Simple(), 4096),
]


def ratios(grid, count, schedule=SD):
    return np.array([float(level.ratio) for level in grid.levels(schedule, count)])


def times(grid, count, schedule=SD):
    return np.array([float(level.time) for level in grid.levels(schedule, count)])


@pytest.mark.no_cover
@pytest.mark.parametrize("grid", EVERY, ids=repr)
def test_levels_strictly_decrease_for_1_to_50_steps_and_are_as_many_as_asked(grid):
    for count in range(1, 51):
        values = ratios(grid, count)
        assert len(values) == count
        assert all(a > b > 0.0 for a, b in pairwise([*values, 1e-300]))


@pytest.mark.parametrize("grid", [g for g in EVERY if not isinstance(g, grids.Laplace)], ids=repr)
def test_levels_strictly_decrease_on_every_process(grid):
    for name, schedule in SCHEDULES.items():
        if name in ("short_table", "zero_terminal") or "Leading" in repr(grid):
            continue
        for count in (1, 2, 5, 20):
            values = ratios(grid, count, schedule)
            assert all(a > b for a, b in pairwise(values))


@pytest.mark.parametrize("count", COUNTS)
def test_grids_between_two_ratios_follow_their_formulas(count):
    ramp = np.linspace(0.0, 1.0, count)
    karras = (HIGH ** (1 / 7) + ramp * (LOW ** (1 / 7) - HIGH ** (1 / 7))) ** 7
    assert ratios(grids.Karras(), count) == pytest.approx(karras, rel=1e-12)
    assert ratios(grids.Exponential(), count) == pytest.approx(np.geomspace(HIGH, LOW, count), rel=1e-12)
    poly = np.exp((1 - ramp) ** 2.0 * (np.log(HIGH) - np.log(LOW)) + np.log(LOW))
    assert ratios(grids.Polyexponential(2.0), count) == pytest.approx(poly, rel=1e-12)
    optimal = np.tan(ramp * np.arctan(LOW) + (1 - ramp) * np.arctan(HIGH))
    assert ratios(grids.KLOptimal(), count) == pytest.approx(optimal, rel=1e-12)
    spread = LOW + beta.ppf(1 - ramp, 0.6, 0.6) * (HIGH - LOW)
    assert ratios(grids.BetaSigma(), count) == pytest.approx(spread, rel=1e-9)
    laplace = np.exp(-0.5 * np.sign(0.5 - ramp) * np.log(1 - 2 * np.abs(0.5 - ramp) + 1e-5)).clip(LOW, HIGH)
    assert ratios(grids.Laplace(), count) == pytest.approx(laplace, rel=1e-9)


@pytest.mark.parametrize("count", COUNTS)
def test_grids_in_time_follow_the_formulas_of_comfyui_and_stable_diffusion_cpp(count):
    i = np.arange(count)
    assert times(grids.Linspace(), count) == pytest.approx(np.linspace(999, 0, count))
    assert times(grids.SGMUniform(), count) == pytest.approx(np.linspace(999, 0, count + 1)[:-1])
    assert times(grids.Simple(), count) == pytest.approx(999 - (i * (1000 / count)).astype(int))
    turbo = (np.arange(1, count + 1) * (1000.0 / count) - 1)[::-1].round().clip(0, 999)
    assert times(grids.Rounded(grids.Trailing()), count) == pytest.approx(turbo)
    shares = 1 - np.linspace(0, 1, count, endpoint=False)
    rounded = np.rint(beta.ppf(shares, 0.6, 0.6) * 999)
    assert times(grids.Rounded(grids.BetaTime()), count) == pytest.approx(rounded)
    assert times(grids.BetaTime(), count) == pytest.approx(beta.ppf(shares, 0.6, 0.6) * 999, rel=1e-9)
    smooth = shares**2 * (3 - 2 * shares) * 999
    assert times(grids.Smoothstep(), count) == pytest.approx(smooth)
    origin = (np.arange(1, 51) * 20 - 1)[::-1]  # diffusers' LCMScheduler
    taken = origin[np.floor(np.linspace(0, 50, count, endpoint=False)).astype(int)]
    assert times(grids.Distilled(), count) == pytest.approx(taken)
    quadratic = 0.8 * 999 * np.linspace(1, 0, count) ** 2
    assert times(grids.Quadratic(), count) == pytest.approx(quadratic, abs=1e-9)


def test_times_between_table_entries_lie_on_lines_of_log_sigma():
    between = ratios(grids.Linspace(), 7)
    logs = np.interp(np.linspace(999, 0, 7), np.arange(1000), np.log(TABLE))
    assert between == pytest.approx(np.exp(logs), rel=1e-10)


@pytest.mark.parametrize("count", [7, 10, 20, 30, 50])
def test_ddim_uniform_counts_up_from_one_and_as_comfyui_does_beyond_what_was_asked(count):
    stride = 1000 // count
    every = list(range(1, 1000, stride))[::-1]
    assert times(grids.DDIMUniform(overflow=True), count) == pytest.approx(every)
    assert times(grids.DDIMUniform(), count) == pytest.approx(every[len(every) - count :])


def test_thirty_steps_of_comfyui_s_ddim_uniform_are_thirty_one():
    assert len(grids.DDIMUniform(overflow=True).levels(SD, 30)) == 31


@pytest.mark.parametrize("count", COUNTS)
def test_align_your_steps_is_stretched_along_logarithms_both_ways(count):
    listed = np.array([14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029])
    places = np.linspace(0, 1, 11)
    for grid, points in ((grids.AlignYourSteps(ends=True), count), (grids.AlignYourSteps(), count + 1)):
        want = np.exp(np.interp(np.linspace(0, 1, points), places, np.log(listed)))[:count]
        assert ratios(grid, count) == pytest.approx(want, rel=1e-9)
    assert ratios(grids.AlignYourSteps(), 10) == pytest.approx(listed[:-1], rel=1e-9)


def test_gits_is_its_list_and_is_stretched_beyond_twenty():
    assert ratios(grids.GITS(), 4) == pytest.approx(
        [14.61464119, 2.36326075, 0.92192322, 0.36617002], rel=1e-9
    )
    last = grids.lists.GITS_LEVELS[-1]
    assert [len(row) for row in grids.lists.GITS_LEVELS] == list(range(3, 22))
    want = np.exp(np.interp(np.linspace(0, 20, 31), np.arange(21), np.log(last)))[:-1]
    assert ratios(grids.GITS(), 30) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("count", [2, 5, 8, 20])
def test_linear_quadratic_is_smooth_where_its_halves_meet_and_ends_clean(count):
    # The published formula: sigma falls linearly to 1 - 0.025 in half of the steps, then along a parabola to 0.
    equal, rest = count // 2, count - count // 2
    step = equal - 0.025 * count
    steep, slope = step / (equal * rest**2), 0.025 / equal - 2 * step / rest**2
    i = np.arange(count + 1)
    gone = np.where(i < equal, i * 0.025 / equal, steep * i**2 + slope * i + steep * equal**2)
    assert gone[-1] == pytest.approx(1.0)
    got = [float(level.sigma) for level in grids.LinearQuadratic().levels(Flow(), count)]
    assert got == pytest.approx(1.0 - gone[:-1], abs=1e-12)
    assert ratios(grids.LinearQuadratic(), count) == pytest.approx((1.0 - gone[:-1]) * HIGH, rel=1e-9)


@pytest.mark.parametrize("count", [2, 5, 20, 30])
def test_bong_tangent_is_two_arcs_that_meet_at_one_half(count):
    steps = count + 2
    first = int(steps * 0.6)
    slope = 0.2 / (steps / 40)

    def arc(points, pivot, start, end):
        value = [((2 / math.pi) * math.atan(-slope * (x - pivot)) + 1) / 2 for x in range(points)]
        return [(v - value[-1]) / (value[0] - value[-1]) * (start - end) + end for v in value]

    want = arc(first, first, 1.0, 0.5)[:-1] + arc(steps - first, 0, 0.5, 0.0)
    got = [float(level.sigma) for level in grids.BongTangent().levels(Flow(), count)]
    assert len(want) == count + 1
    assert got == pytest.approx(want[:-1], abs=1e-12)


@pytest.mark.parametrize("pivot", [0.01, 0.2, 0.5, 0.99])
def test_bong_tangent_begins_at_the_noisiest_level_wherever_its_arcs_are_steep(pivot):
    for count in range(1, 12):
        levels = grids.BongTangent(pivot).levels(Flow(), count)
        assert len(levels) == count
        assert levels[0].sigma == 1.0
        assert all(a.sigma > b.sigma for a, b in pairwise(levels))


def test_a_resolution_shift_is_flux_s():
    # mu is 0.5 at 256 tokens and 1.15 at 4096; e^mu / (e^mu + 1 / t - 1).
    grid = grids.ResolutionShift(grids.Trailing(), 4096)
    assert grid.mu == pytest.approx(1.15)
    t = np.linspace(1, 0, 9)[1:-1]
    want = math.exp(1.15) / (math.exp(1.15) + 1 / t - 1)
    got = [float(level.sigma) for level in grid.levels(Flow(), 8)][1:]
    assert got == pytest.approx(want, rel=1e-9)
    assert grids.ResolutionShift(grids.Trailing(), 256).mu == pytest.approx(0.5)


def test_a_stretched_grid_ends_where_it_is_told():
    levels = grids.StretchToTerminal(grids.Trailing(), 0.1).levels(Flow(), 5)
    sigmas = np.array([float(level.sigma) for level in levels])
    t = np.linspace(1, 0, 6)[:-1]
    assert sigmas == pytest.approx(1 - (1 - t) * 0.9 / (1 - t[-1]), abs=1e-12)
    assert sigmas[-1] == pytest.approx(0.1)


def test_rounding_leaves_out_what_falls_together_and_formulas_alone():
    assert times(grids.Rounded(grids.Times((4.4, 3.6, 0.2))), 3).tolist() == [4.0, 0.0]
    assert grids.Rounded(grids.Karras()).levels(EDM(), 5) == grids.Karras().levels(EDM(), 5)


def test_dropping_the_penultimate_makes_the_last_jump_longer():
    assert ratios(grids.DropPenultimate(grids.Karras()), 7) == pytest.approx(ratios(grids.Karras(), 8)[:-1])


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.1, 0.5, 0.77, 0.999, 1.0])
@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.5, 0.7), (2.0, 3.0), (1.0, 1.0)])
def test_beta_quantiles_are_scipy_s(share, a, b):
    assert beta_quantile(share, a, b) == pytest.approx(beta.ppf(share, a, b), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    "make",
    [
        lambda: grids.Polyexponential(0.0).levels(SD, 3),
        lambda: grids.Quadratic(0.0).levels(SD, 3),
        lambda: grids.Distilled(50).levels(SD, 51),
        lambda: grids.BetaTime(-1.0).levels(SD, 3),
        lambda: grids.LinearQuadratic(1.0).levels(SD, 3),
        lambda: grids.BongTangent(0.0).levels(SD, 3),
        lambda: grids.AlignYourSteps("sd3").levels(SD, 3),
        lambda: grids.Laplace(spread=50.0).levels(SD, 20),
        lambda: grids.StretchToTerminal(grids.Karras(), 0.0).levels(SD, 3),
        lambda: grids.ResolutionShift(grids.Karras(), 0).levels(SD, 3),
    ],
)
def test_numbers_that_cannot_be_are_refused_in_a_sentence(make):
    with pytest.raises(InputError) as caught:
        make()
    assert len(str(caught.value)) > 30


def test_flux_2_s_shift_lies_on_its_two_lines():
    shift = grids.Flux2Shift(grids.Trailing(), 1024)
    assert shift.mu(10) == pytest.approx(8.73809524e-05 * 1024 + 1.89833333)
    assert shift.mu(200) == pytest.approx(0.00016927 * 1024 + 0.45666666)
    assert shift.mu(105) == pytest.approx(0.5 * (shift.mu(10) + shift.mu(200)))
    assert grids.Flux2Shift(grids.Trailing(), 5000).mu(10) == pytest.approx(0.00016927 * 5000 + 0.45666666)
    levels = shift.levels(Flow(), 4)
    moved = [float(level.sigma) for level in levels]
    factor = math.exp(shift.mu(4))
    assert moved == pytest.approx([factor * t / (1.0 + (factor - 1.0) * t) for t in (1.0, 0.75, 0.5, 0.25)])


def test_logit_normal_levels_have_equal_probability_between_them():
    levels = grids.LogitNormal(0.3, 1.5).levels(Flow(), 8)
    assert float(levels[0].ratio) == pytest.approx(math.exp(9.0))
    for i, level in enumerate(levels[1:], 1):
        share = NormalDist(0.3, 1.5).cdf(math.log(float(level.ratio)))
        assert share == pytest.approx(1.0 - i / 8)
    on_table = grids.LogitNormal().levels(DiscreteVP.scaled_linear(), 8)
    assert float(on_table[0].ratio) == pytest.approx(float(DiscreteVP.scaled_linear().noisiest.ratio))


def test_blocks_are_equal_steps_in_log_snr_with_their_looks_at_equal_distances():
    levels = grids.BlockLevels().levels(DiscreteVP.scaled_linear(), 9)  # 8 looks: blocks of 3, 3 and 2
    whole = levels[8].log_snr - levels[0].log_snr
    shares = [(level.log_snr - levels[0].log_snr) / whole for level in levels]
    assert shares == pytest.approx([0, 1 / 9, 2 / 9, 3 / 9, 4 / 9, 5 / 9, 6 / 9, 5 / 6, 1])


def test_equal_steps_of_time_on_edm_are_karras_own():
    edm = EDM(0.01, 50.0)
    for count in (1, 2, 12):
        assert ratios(grids.Linspace(), count, edm) == pytest.approx(ratios(grids.Karras(), count, edm))
        short = ratios(grids.Karras(), count + 1, edm)[:-1]
        for grid in (grids.SGMUniform(), grids.Trailing(), grids.Simple()):
            assert ratios(grid, count, edm) == pytest.approx(short)


def test_a_list_of_times_on_edm_is_still_a_list_of_sigmas():
    assert ratios(grids.Times((80.0, 40.0, 0.5)), 3, EDM()) == pytest.approx([80.0, 40.0, 0.5])


@pytest.mark.parametrize(
    "grid", [grid for grid in EVERY if type(grid).__module__.endswith("grids.times")], ids=repr
)
def test_no_grid_in_time_visits_levels_that_an_edm_network_has_not_seen(grid):
    for count in (1, 2, 5, 20, 50):
        levels = ratios(grid, count, EDM())
        assert levels.max() <= 80.0 * (1 + 1e-12)
        assert levels.min() >= 0.002 * (1 - 1e-12)
