"""The numbers of a step against independent quadrature in 40 digits."""

import itertools
import math

import mpmath
import pytest

from unnoise.process import EDM, Cosine, DiscreteVP, Flow
from unnoise.schedulers.quadrature import coordinate, keep, weights, whole

VARIABLES = ("sigma", "lambda", "flow", "angle")
UNKNOWNS = ("x0", "noise", "flow", "velocity")
# Ratios sigma/alpha of the nodes, latest first, with uneven gaps, and of the goal.
NODES, GOAL = (0.9, 1.4, 2.9, 3.3), 0.55


def places(schedule):
    return [schedule.at_ratio(ratio) for ratio in NODES], schedule.at_ratio(GOAL)


def exact(unknown, variable, degree, now, to, eta=0.0):
    """N_to * integral of v^degree dm from `now` to `to`, with the definitions of the unknowns spelled out."""
    mpmath.mp.dps = 40
    start, end = mpmath.mpf(float(now.ratio)), mpmath.mpf(float(to.ratio))
    place = {
        "sigma": lambda w: w,
        "lambda": lambda w: -mpmath.log(w),
        "flow": lambda w: w / (1 + w),
        "angle": mpmath.atan,
    }[variable]
    speed = {
        "noise": lambda w: mpmath.mpf(1),
        "flow": lambda w: 1 / (1 + w) ** 2,
        "velocity": lambda w: 1 / (1 + w**2),
        "x0": lambda w: -(1 + eta) * w ** (-2 - eta),
    }[unknown]
    scale = {
        "noise": to.alpha,
        "flow": to.alpha + to.sigma,
        "velocity": math.hypot(to.alpha, to.sigma),
        "x0": to.sigma * float(to.ratio) ** eta,
    }[unknown]
    return float(scale * mpmath.quad(lambda w: place(w) ** degree * speed(w), [start, end]))


@pytest.mark.parametrize(("variable", "unknown"), list(itertools.product(VARIABLES, UNKNOWNS)))
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("schedule", [DiscreteVP.linear(), EDM(), Flow()], ids=["vp", "edm", "flow"])
def test_polynomials_below_the_order_are_integrated_exactly(variable, unknown, order, schedule):
    nodes, to = places(schedule)
    factors = weights(unknown, variable, nodes[:order], nodes[0], to)
    for degree in range(order):
        got = math.fsum(
            factor * coordinate(variable, float(node.ratio)) ** degree
            for factor, node in zip(factors, nodes, strict=False)
        )
        assert got == pytest.approx(exact(unknown, variable, degree, nodes[0], to), abs=1e-12)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_the_sde_s_kernel_is_integrated_exactly(variable, eta):
    nodes, to = places(DiscreteVP.linear())
    factors = weights("x0", variable, nodes, nodes[0], to, eta)
    for degree in range(4):
        got = math.fsum(
            f * coordinate(variable, float(n.ratio)) ** degree for f, n in zip(factors, nodes, strict=True)
        )
        assert got == pytest.approx(exact("x0", variable, degree, nodes[0], to, eta), abs=1e-12)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_a_corrector_s_own_look_at_the_end_is_a_node_like_any_other(variable, eta):
    (now, *earlier), to = places(DiscreteVP.linear())
    nodes = (to, now, *earlier)
    factors = weights("x0", variable, nodes, now, to, eta)
    for degree in range(5):
        got = math.fsum(
            f * coordinate(variable, float(n.ratio)) ** degree for f, n in zip(factors, nodes, strict=True)
        )
        assert got == pytest.approx(exact("x0", variable, degree, now, to, eta), abs=1e-11)


@pytest.mark.parametrize("variable", ["flow", "angle"])
@pytest.mark.parametrize("unknown", ["flow", "velocity", "x0"])
def test_polynomials_are_integrated_exactly_from_a_start_without_signal(variable, unknown):
    schedule = Flow()
    top, to = schedule.noisiest, schedule.at_ratio(2.0)
    factors = weights(unknown, variable, (to, top), top, to)
    place = {"flow": lambda w: w / (1 + w), "angle": mpmath.atan}[variable]
    speed = {
        "flow": lambda w: 1 / (1 + w) ** 2,
        "velocity": lambda w: 1 / (1 + w**2),
        "x0": lambda w: -(w**-2),
    }
    scale = {"flow": to.alpha + to.sigma, "velocity": math.hypot(to.alpha, to.sigma), "x0": to.sigma}[unknown]
    for degree in (0, 1):
        got = math.fsum(
            f * coordinate(variable, float(n.ratio)) ** degree
            for f, n in zip(factors, (to, top), strict=True)
        )
        whole_way = mpmath.quad(
            lambda w, degree=degree: place(w) ** degree * speed[unknown](w), [2.0, 10.0, mpmath.inf]
        )
        assert got == pytest.approx(-float(scale * whole_way), abs=1e-10)


@pytest.mark.parametrize("variable", ["sigma", "flow", "angle"])
@pytest.mark.parametrize("unknown", ["noise", "flow", "velocity"])
def test_the_jump_to_clean_data_is_exact_in_finite_variables(variable, unknown):
    schedule = Cosine()
    nodes = [schedule.at_ratio(ratio) for ratio in (0.1, 0.25, 0.6)]
    clean = schedule.level(0.0)
    factors = weights(unknown, variable, nodes, nodes[0], clean)
    for degree in range(3):
        got = math.fsum(
            f * coordinate(variable, float(n.ratio)) ** degree for f, n in zip(factors, nodes, strict=True)
        )
        assert got == pytest.approx(exact(unknown, variable, degree, nodes[0], clean), abs=1e-12)


def test_the_jump_to_clean_data_extrapolates_x0_to_no_noise():
    schedule = Cosine()
    nodes = [schedule.at_ratio(ratio) for ratio in (0.1, 0.25, 0.6)]
    factors = weights("x0", "sigma", nodes, nodes[0], schedule.level(0.0))
    for degree, want in enumerate((1.0, 0.0, 0.0)):
        got = math.fsum(f * float(n.ratio) ** degree for f, n in zip(factors, nodes, strict=True))
        assert got == pytest.approx(want, abs=1e-13)


def test_in_lambda_the_clean_end_leaves_one_estimate():
    schedule = Cosine()
    nodes = [schedule.at_ratio(ratio) for ratio in (0.1, 0.25)]
    assert weights("x0", "lambda", nodes, nodes[0], schedule.level(0.0)) == (1.0, 0.0)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("unknown", ["x0", "flow"])
def test_a_start_without_signal_is_an_ordinary_level(variable, unknown):
    schedule = Flow()
    top, to = schedule.noisiest, schedule.level(0.8)
    factors = weights(unknown, variable, (top,), top, to)
    # x0 known and constant, x pure noise eps: the exact result is alpha x0 + sigma eps.
    eps, x0 = 0.7, -0.4
    value = {"x0": x0, "flow": eps - x0}[unknown]
    assert keep(unknown, top, to) * eps + factors[0] * value == pytest.approx(
        to.alpha * x0 + to.sigma * eps, abs=1e-15
    )


def test_nodes_without_signal_are_left_out_where_the_variable_is_infinite():
    schedule = Flow()
    now, to = schedule.level(0.8), schedule.level(0.6)
    assert weights("x0", "lambda", (now, schedule.noisiest), now, to) == (whole("x0", now, to), 0.0)
    assert weights("flow", "flow", (now, schedule.noisiest), now, to)[1] != 0.0


@pytest.mark.parametrize("schedule", [DiscreteVP.linear(), EDM(), Flow()], ids=["vp", "edm", "flow"])
def test_first_order_is_one_step_whatever_the_unknown(schedule):
    now, to = schedule.at_ratio(1.3), schedule.at_ratio(0.4)
    x0, eps = 0.3, -1.1
    x = now.alpha * x0 + now.sigma * eps
    for unknown, value in (("x0", x0), ("noise", eps), ("flow", eps - x0)):
        got = keep(unknown, now, to) * x + whole(unknown, now, to) * value
        assert got == pytest.approx(to.alpha * x0 + to.sigma * eps, abs=1e-13)


def test_the_midpoint_rule_is_that_of_dpm_solver_pp_2m():
    # Lu et al. 2022b, algorithm 2: D = (1 + 1/2r) D_0 - 1/2r D_1 with r the last lambda step over this one.
    schedule = DiscreteVP.linear()
    before, now, to = (schedule.at_ratio(ratio) for ratio in (3.0, 1.1, 0.7))
    h_last, h = (0.5 * (float(b.log_snr) - float(a.log_snr)) for a, b in ((before, now), (now, to)))
    r = h_last / h
    mass = to.alpha * -math.expm1(-h)
    got = weights("x0", "lambda", (now, before), now, to, rule="midpoint")
    assert got == pytest.approx((mass * (1 + 1 / (2 * r)), -mass / (2 * r)), rel=1e-12)
