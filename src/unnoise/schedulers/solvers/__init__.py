"""Solvers: how a step follows the reverse process, from what the network said so far."""

from unnoise.schedulers.solvers.adams import Adams
from unnoise.schedulers.solvers.adjusted import Adjusted
from unnoise.schedulers.solvers.base import Leg, Solver
from unnoise.schedulers.solvers.blocks import Blocks
from unnoise.schedulers.solvers.corrected import Corrected, adams_moulton, sa_solver, unipc
from unnoise.schedulers.solvers.plusplus import CFGPlusPlus
from unnoise.schedulers.solvers.runge_kutta import (
    ExponentialHeun,
    Heun,
    Midpoint,
    RungeKutta,
    Stage,
    ThreeStage,
    ThreeStageX0,
    TwoStage,
)

__all__ = [
    "Adams",
    "Adjusted",
    "Blocks",
    "CFGPlusPlus",
    "Corrected",
    "ExponentialHeun",
    "Heun",
    "Leg",
    "Midpoint",
    "RungeKutta",
    "Solver",
    "Stage",
    "ThreeStage",
    "ThreeStageX0",
    "TwoStage",
    "adams_moulton",
    "sa_solver",
    "unipc",
]
