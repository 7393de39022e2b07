"""The table of named schedulers: what each is made of, and every spelling of it."""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.schedulers import solvers
from unnoise.schedulers.adaptive import ToTolerance
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

    spellings: those that do not follow from the name or a class of diffusers; see `lookup`. family: under which it
    is listed.
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

    def facts(self) -> dict[str, object]:
        """What is told of it beside its name, as plain values."""
        return {
            "family": self.family,
            "order": self.order,
            "calls": self.calls,
            "stochastic": self.stochastic,
            "spellings": list(self.spellings),
            "about": self.about,
        }


def _family(family: str, *rows: tuple[str, str, Grid, Solver, NoiseRule, str]) -> tuple[Named, ...]:
    """Rows of (name, other spellings with spaces between, grid, solver, noise rule, about)."""
    return tuple(
        Named(name, Scheduler(grid, solver, noise), tuple(spellings.split()), about, family)
        for name, spellings, grid, solver, noise, about in rows
    )


# Polynomials of x0, and DPM2 that aims below, go on _T: the last of _L's even times is a leap in lambda, at whose end
# three of them are wrong by more than the data's width. tests/oracle/test_names_alone.py
_T, _L, _K, _D = Trailing(), Linspace(), Karras(), Distilled()
_ODE, _A, _RF, _SDE = Deterministic(), Ancestral(), FlowAncestral(), SDE()
_EULER = Adams(1, "sigma", "noise")
_2M, _AB2, _3M = Adams(2, "lambda", "x0", "midpoint"), Adams(2, "lambda", "x0"), Adams(3, "lambda", "x0")
_2S, _3S, _EXP = solvers.TwoStage(), solvers.ThreeStageX0(), solvers.ExponentialHeun()
_BLOCKS, _BH1, _PLUS = solvers.Blocks(), solvers.unipc(3, "x0", "bh1"), solvers.CFGPlusPlus
_NEWER = gradient_estimation()

_ADAPTIVE = Named(
    "DPM adaptive", ToTolerance(), ("dpm_ad",), "DPM 3S, as many steps as its tolerance needs", "Runge-Kutta"
)

TABLE = (
    *_family(
        "DDPM and DDIM",
        ("DDPM", "", _T, Adams(1), Posterior("learned_range"), "the posterior, step by step"),
        ("DDIM", "", _T, Adams(1), _ODE, "the posterior's mean without its noise"),
    ),
    *_family(
        "Euler",
        ("Euler", "flow_match_euler", _L, _EULER, _ODE, "the straight line of the ODE"),
        ("Euler a", "", _L, _EULER, _A, "Euler with the posterior's noise"),
        ("Euler a RF", "ltx_euler_a_rf", _L, _EULER, _RF, "Euler, noise by the straight line's rule"),
    ),
    *_family(
        "Runge-Kutta",
        ("Heun", "", _L, solvers.Heun(), _ODE, "Euler, corrected by a second look"),
        ("Heun churn", "", _K, solvers.Heun(), Churn(), "Heun, with noise before each step (EDM)"),
        ("Restart", "", Restart(_K), solvers.Heun(), _ODE, "Heun, a stretch made again from fresh noise"),
        ("DPM2", "", _L, solvers.Midpoint(), _ODE, "midpoint in lambda"),
        ("DPM2 a", "", _T, solvers.Midpoint(), _A, "midpoint in lambda with the posterior's noise"),
        ("DPM 3S", "dpm_solver_3", _L, solvers.ThreeStage(), _ODE, "three looks a step (DPM-Solver-3)"),
        ("DPM fast", "", BlockLevels(), _BLOCKS, _ODE, "blocks of three looks, and what is left over"),
    ),
    _ADAPTIVE,
    *_family(
        "Runge-Kutta",
        ("DPM++ 2S", "", _L, _2S, _ODE, "midpoint in lambda in terms of x0"),
        ("DPM++ 2S a", "", _L, _2S, _A, "the same with the posterior's noise"),
        ("DPM++ SDE", "seeds_2", _L, _2S, _SDE, "the same along the reverse SDE"),
        ("DPM++ 3S", "", _L, _3S, _ODE, "three looks a step in terms of x0"),
        ("SEEDS 3", "", _L, _3S, _SDE, "the same along the reverse SDE"),
        ("Exp Heun", "exp_heun_2_x0", _L, _EXP, _ODE, "Heun in lambda in terms of x0"),
        ("Exp Heun SDE", "exp_heun_2_x0_sde", _L, _EXP, _SDE, "the same along the reverse SDE"),
    ),
    *_family(
        "Multistep",
        ("LMS", "ipndm_v deis_tab", _L, Adams(4, "sigma", "noise"), _ODE, "Adams in sigma"),
        ("DPM++ 2M", "", _T, _2M, _ODE, "two estimates of x0, in lambda"),
        ("DPM++ 2M SDE", "dpm++2m_sde_bt", _T, _2M, _SDE, "DPM++ 2M along the reverse SDE"),
        ("DPM++ 2M SDE Heun", "", _T, _AB2, _SDE, "the same, integrated exactly"),
        ("DPM++ 3M", "", _T, _3M, _ODE, "three estimates of x0, in lambda"),
        ("DPM++ 3M SDE", "", _T, _3M, _SDE, "three along the reverse SDE"),
        ("Res multistep", "", _T, _AB2, _ODE, "two estimates of x0, integrated exactly in lambda"),
        ("Res multistep a", "", _T, _AB2, _A, "the same with the posterior's noise"),
        ("ER SDE", "", _T, _3M, ExtendedSDE(), "three along a reverse SDE with more noise early"),
        ("DEIS", "", _T, Adams(3, "lambda", "noise"), _ODE, "three noise residuals, in lambda"),
        ("AB4", "zeab4", _T, Adams(4, "lambda", "noise"), _ODE, "four noise residuals, in lambda"),
    ),
    *_family(
        "Predictor-corrector",
        ("UniPC", "unipc_bh1", _T, _BH1, _ODE, "DPM++ 3M, corrected by the next look"),
        ("UniPC bh2", "", _T, solvers.unipc(2, "x0", "bh2"), _ODE, "DPM++ 2M, corrected by the next look"),
        ("SA-Solver", "", _T, solvers.sa_solver(), Tau(), "stochastic Adams, corrected, noise in the middle"),
        ("SA-Solver PECE", "", _T, solvers.sa_solver(again=True), Tau(), "the same, looking again"),
        ("Adams-Moulton 2", "abm2", Arcsinh(), solvers.adams_moulton(2), _ODE, "two velocities, corrected"),
        ("Adams-Moulton", "abm4", Arcsinh(), solvers.adams_moulton(), _ODE, "four velocities, corrected"),
    ),
    *_family(
        "Guidance on the data's surface (CFG++)",
        ("Euler CFG++", "", _L, _PLUS(), _ODE, "guided x0, noised by what is said without the prompt"),
        ("Euler a CFG++", "", _L, _PLUS(), _A, "the same with the posterior's noise"),
        ("DPM++ 2M CFG++", "", _T, _PLUS(_2M), _ODE, "the unguided part as DPM++ 2M"),
        ("Res multistep CFG++", "", _T, _PLUS(_AB2), _ODE, "the unguided part as Res multistep"),
    ),
    *_family(
        "Distilled models",
        ("LCM", "", _D, Adams(1), Renoise(), "x0, noised anew to each level"),
        ("TCD", "", _D, Adams(1), TCD(), "a DDIM step beyond the next level, and noise back up to it"),
    ),
    *_family(
        "Heuristic, for other programs' pictures",
        ("PLMS", "", Leading(1.0), ipndm(), _ODE, "Adams' weights of equal steps on steps that are not"),
        ("DPM++ 2M v2", "", _L, MeanStep(), _ODE, "two estimates of x0, with the mean of two steps' lengths"),
        ("IPNDM", "", _L, ipndm(), _ODE, "PLMS from the noisiest level"),
        ("Heun++ 2", "", _L, HeunPlusPlus(), _ODE, "three looks a step, weighted by their noise"),
        ("Gradient estimation", "euler_ge", _L, _NEWER, _ODE, "the noise, twice as new as it is"),
        ("LMS late", "lms_shift", _L, lms_late(), _ODE, "LMS that steps with the noise of the step before"),
    ),
)
"""All named schedulers, family by family, in the order of a gentle explanation."""
