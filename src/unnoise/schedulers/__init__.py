"""The reverse process: which levels, how to step between them, how much fresh noise.

The noise schedule is how noise grows with time (a property of the model; it lives in `unnoise.process`).
The grid is which of its levels we visit.
The solver is how we step between them.
The noise rule is how much is drawn afresh.
The scheduler is those last three, and the final rule that reaches the clean sample.

Beside it stand steps to a tolerance (`adaptive`), steps fitted to one model (`tuning`), grids that rise again
(`restart`), and rules that theory does not know (`heuristics`).
"""

from unnoise.schedulers import (
    finals,
    grids,
    heuristics,
    names,
    noise,
    restart,
    solvers,
    tuned,
    tuning,
)
from unnoise.schedulers.adaptive import Adaptive, ToTolerance
from unnoise.schedulers.consistency import Consistency
from unnoise.schedulers.moves import Look, Move, PlannedStep
from unnoise.schedulers.names import get
from unnoise.schedulers.plan import Denoise, Plan
from unnoise.schedulers.scheduler import Scheduler
from unnoise.schedulers.step import Request, Step
from unnoise.schedulers.stepper import Stepper, StepperOutput

__all__ = [
    "Adaptive",
    "Consistency",
    "Denoise",
    "Look",
    "Move",
    "Plan",
    "PlannedStep",
    "Request",
    "Scheduler",
    "Step",
    "Stepper",
    "StepperOutput",
    "ToTolerance",
    "finals",
    "get",
    "grids",
    "heuristics",
    "names",
    "noise",
    "restart",
    "solvers",
    "tuned",
    "tuning",
]
