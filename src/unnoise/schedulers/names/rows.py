"""The table of named schedulers: what each is made of, and every spelling of it."""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.schedulers import solvers
from unnoise.schedulers.grids import (
    Arcsinh,
    BlockLevels,
    Distilled,
    Grid,
    Karras,
    Leading,
    Linspace,
    Trailing,
)
from unnoise.schedulers.heuristics import HeunPlusPlus, MeanStep, gradient_estimation, ipndm, lms_late
from unnoise.schedulers.noise import (
    SDE,
    TCD,
    Ancestral,
    Churn,
    Deterministic,
    ExtendedSDE,
    FlowAncestral,
    NoiseRule,
    Posterior,
    Renoise,
    Tau,
)
from unnoise.schedulers.restart import Restart
from unnoise.schedulers.scheduler import Scheduler
from unnoise.schedulers.solvers import Adams, Solver


@dataclass(frozen=True)
class Named:
    """A scheduler with the name shown for it, other spellings, and a line that says what it is.

    family: under which it is listed.
    """

    name: str
    scheduler: Scheduler
    spellings: tuple[str, ...]
    about: str
    family: str = ""

    @property
    def order(self) -> int:
        """The solver's order of convergence."""
        return self.scheduler.solver.order

    @property
    def calls(self) -> int:
        """Network calls a step."""
        return self.scheduler.solver.calls

    @property
    def stochastic(self) -> bool:
        """Whether runs draw fresh noise."""
        return self.scheduler.stochastic


def _family(family: str, *rows: tuple[str, str, Grid, Solver, NoiseRule, str]) -> tuple[Named, ...]:
    """Rows of (name, other spellings with spaces between, grid, solver, noise rule, about)."""
    return tuple(
        Named(name, Scheduler(grid, solver, noise), tuple(spellings.split()), about, family)
        for name, spellings, grid, solver, noise, about in rows
    )


_T, _L, _K = Trailing(), Linspace(), Karras()
_ODE = Deterministic()
_EULER = Adams(1, "sigma", "noise")
_2M, _AB2 = Adams(2, "lambda", "x0", "midpoint"), Adams(2, "lambda", "x0")
_3M = Adams(3, "lambda", "x0")

TABLE = (
    *_family(
        "DDPM and DDIM",
        ("DDPM", "", _T, Adams(1), Posterior("learned_range"), "the posterior, step by step"),
        ("DDIM", "ddim_trailing", _T, Adams(1), _ODE, "the posterior's mean without its noise"),
    ),
    *_family(
        "Euler",
        (
            "Euler",
            "k_euler euler_discrete edm_euler flow_match_euler",
            _L,
            _EULER,
            _ODE,
            "the straight line of the ODE",
        ),
        ("Euler a", "euler_ancestral k_euler_a", _L, _EULER, Ancestral(), "Euler with the posterior's noise"),
        (
            "Euler a RF",
            "ltx_euler_ancestral_rf euler_ancestral_rf",
            _L,
            _EULER,
            FlowAncestral(),
            "Euler with noise by the straight line's own rule",
        ),
    ),
    *_family(
        "Runge-Kutta",
        ("Heun", "k_heun", _L, solvers.Heun(), _ODE, "Euler, corrected by a second look"),
        ("Heun churn", "", _K, solvers.Heun(), Churn(), "Heun, with noise before each step (EDM)"),
        (
            "Restart",
            "",
            Restart(_K),
            solvers.Heun(),
            _ODE,
            "Heun, with a stretch made again from fresh noise",
        ),
        ("DPM2", "dpm_2 k_dpm_2 kdpm2", _L, solvers.Midpoint(), _ODE, "midpoint in lambda"),
        (
            "DPM2 a",
            "dpm_2_ancestral k_dpm_2_a kdpm2_ancestral",
            _L,
            solvers.Midpoint(),
            Ancestral(),
            "midpoint in lambda with the posterior's noise",
        ),
        (
            "DPM 3S",
            "dpm_solver_3",
            _L,
            solvers.ThreeStage(),
            _ODE,
            "three looks a step, in lambda (DPM-Solver-3)",
        ),
        (
            "DPM fast",
            "dpm_fast k_dpm_fast",
            BlockLevels(),
            solvers.Blocks(),
            _ODE,
            "blocks of three looks in lambda, and what is left over",
        ),
        (
            "DPM++ 2S",
            "dpmpp_2s dpm_solver_singlestep",
            _L,
            solvers.TwoStage(),
            _ODE,
            "midpoint in lambda in terms of x0",
        ),
        (
            "DPM++ 2S a",
            "dpmpp_2s_ancestral k_dpmpp_2s_a",
            _L,
            solvers.TwoStage(),
            Ancestral(),
            "the same with the posterior's noise",
        ),
        (
            "DPM++ SDE",
            "dpmpp_sde dpmpp_sde_gpu k_dpmpp_sde seeds_2 dpm_solver_sde",
            _L,
            solvers.TwoStage(),
            SDE(),
            "the same along the reverse SDE",
        ),
        ("DPM++ 3S", "dpmpp_3s", _L, solvers.ThreeStageX0(), _ODE, "three looks a step in terms of x0"),
        ("SEEDS 3", "seeds_3", _L, solvers.ThreeStageX0(), SDE(), "the same along the reverse SDE"),
        ("Exp Heun", "exp_heun_2_x0", _L, solvers.ExponentialHeun(), _ODE, "Heun in lambda in terms of x0"),
        (
            "Exp Heun SDE",
            "exp_heun_2_x0_sde",
            _L,
            solvers.ExponentialHeun(),
            SDE(),
            "the same along the reverse SDE",
        ),
    ),
    *_family(
        "Multistep",
        (
            "LMS",
            "k_lms lms_discrete ipndm_v deis_tab",
            _L,
            Adams(4, "sigma", "noise"),
            _ODE,
            "Adams in sigma",
        ),
        (
            "DPM++ 2M",
            "dpmpp_2m k_dpmpp_2m dpm_solver_multistep edm_dpm_solver_multistep",
            _L,
            _2M,
            _ODE,
            "two estimates of x0, in lambda",
        ),
        (
            "DPM++ 2M SDE",
            "dpmpp_2m_sde dpmpp_2m_sde_gpu k_dpmpp_2m_sde dpm++2m_sde_bt",
            _L,
            _2M,
            SDE(),
            "DPM++ 2M along the reverse SDE",
        ),
        (
            "DPM++ 2M SDE Heun",
            "dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu k_dpmpp_2m_sde_heun",
            _L,
            _AB2,
            SDE(),
            "the same, integrated exactly",
        ),
        ("DPM++ 3M", "dpmpp_3m", _L, _3M, _ODE, "three estimates of x0, in lambda"),
        (
            "DPM++ 3M SDE",
            "dpmpp_3m_sde dpmpp_3m_sde_gpu k_dpmpp_3m_sde",
            _L,
            _3M,
            SDE(),
            "three along the reverse SDE",
        ),
        (
            "Res multistep",
            "res_multistep",
            _L,
            _AB2,
            _ODE,
            "two estimates of x0, integrated exactly in lambda",
        ),
        (
            "Res multistep a",
            "res_multistep_ancestral",
            _L,
            _AB2,
            Ancestral(),
            "the same with the posterior's noise",
        ),
        (
            "ER SDE",
            "er_sde",
            _L,
            _3M,
            ExtendedSDE(),
            "three estimates along a reverse SDE with more noise early",
        ),
        ("DEIS", "deis_multistep", _T, Adams(3, "lambda", "noise"), _ODE, "three noise residuals, in lambda"),
        ("AB4", "zeab4", _T, Adams(4, "lambda", "noise"), _ODE, "four noise residuals, in lambda"),
    ),
    *_family(
        "Predictor-corrector",
        (
            "UniPC",
            "uni_pc unipc_bh1",
            _L,
            solvers.unipc(3, "x0", "bh1"),
            _ODE,
            "DPM++ 3M, corrected by the next look",
        ),
        (
            "UniPC bh2",
            "uni_pc_bh2 unipc_multistep",
            _L,
            solvers.unipc(2, "x0", "bh2"),
            _ODE,
            "DPM++ 2M, corrected by the next look",
        ),
        (
            "SA-Solver",
            "sa_solver",
            _L,
            solvers.sa_solver(),
            Tau(),
            "stochastic Adams, corrected, noise in the middle",
        ),
        (
            "SA-Solver PECE",
            "sa_solver_pece",
            _L,
            solvers.sa_solver(again=True),
            Tau(),
            "the same, looking again",
        ),
        (
            "Adams-Moulton 2",
            "abm2",
            Arcsinh(),
            solvers.adams_moulton(2),
            _ODE,
            "two velocities along the angle, corrected by the next look",
        ),
        (
            "Adams-Moulton",
            "adams_moulton abm4",
            Arcsinh(),
            solvers.adams_moulton(),
            _ODE,
            "four velocities along the angle, corrected",
        ),
    ),
    *_family(
        "Guidance on the data's surface (CFG++)",
        (
            "Euler CFG++",
            "euler_cfg_pp",
            _L,
            solvers.CFGPlusPlus(),
            _ODE,
            "guided x0, noised by what is said without the prompt",
        ),
        (
            "Euler a CFG++",
            "euler_ancestral_cfg_pp euler_a_cfg_pp",
            _L,
            solvers.CFGPlusPlus(),
            Ancestral(),
            "the same with the posterior's noise",
        ),
        (
            "DPM++ 2M CFG++",
            "dpmpp_2m_cfg_pp",
            _L,
            solvers.CFGPlusPlus(_2M),
            _ODE,
            "the unguided part as DPM++ 2M",
        ),
        (
            "Res multistep CFG++",
            "res_multistep_cfg_pp",
            _L,
            solvers.CFGPlusPlus(_AB2),
            _ODE,
            "the unguided part as Res multistep",
        ),
    ),
    *_family(
        "Distilled models",
        ("LCM", "", Distilled(), Adams(1), Renoise(), "x0, noised anew to each level"),
        (
            "TCD",
            "",
            Distilled(),
            Adams(1),
            TCD(),
            "a DDIM step beyond the next level, and noise back up to it",
        ),
    ),
    *_family(
        "Heuristic, for other programs' pictures",
        ("PLMS", "pndm", Leading(1.0), ipndm(), _ODE, "Adams' weights of equal steps on steps that are not"),
        (
            "DPM++ 2M v2",
            "dpmpp_2mv2 dpm++2mv2 dpmpp2mv2",
            _L,
            MeanStep(),
            _ODE,
            "two estimates of x0, with the mean of two steps' lengths",
        ),
        ("IPNDM", "", _L, ipndm(), _ODE, "the same from the noisiest level"),
        (
            "Heun++ 2",
            "heunpp2 heun_pp_2",
            _L,
            HeunPlusPlus(),
            _ODE,
            "three looks a step, weighted by their noise",
        ),
        (
            "Gradient estimation",
            "euler_ge",
            _L,
            gradient_estimation(),
            _ODE,
            "the noise, twice as new as it is",
        ),
        ("LMS late", "lms_shift", _L, lms_late(), _ODE, "LMS that steps with the noise of the step before"),
    ),
)
"""All named schedulers, family by family, in the order of a gentle explanation."""
