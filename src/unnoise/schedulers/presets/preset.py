"""A preset: another program's sampler, value by value, including where it is wrong."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field

import torch

from unnoise.errors import InputError
from unnoise.process import Flow, Level, NoiseSchedule, Scalar
from unnoise.schedulers.moves import Moves, PlannedStep
from unnoise.schedulers.plan import Plan
from unnoise.schedulers.presets.path import Path, Rungs
from unnoise.schedulers.scheduler import Scheduler, check_steps


class Rule(abc.ABC):
    """A program's rule for one step. Subclasses are frozen dataclasses."""

    @property
    def stochastic(self) -> bool:
        """Whether it draws fresh noise."""
        return False

    @abc.abstractmethod
    def moves(self, path: Path, i: int, known: int) -> Moves:
        """The moves from level i of the path to the next.

        known: how many steps of this run came before; less than i where a picture is entered in the middle.
        """

    def ends(self, path: Path, i: int, known: int) -> tuple[Level, Level]:
        """The levels that the step really begins at and leads to, which need not be the path's."""
        return path.levels[i], path.levels[i + 1]


@dataclass(frozen=True)
class Noisy(Rule):
    """A rule that draws fresh noise, of strength `eta`."""

    eta: float = 0.0

    @property
    def stochastic(self) -> bool:
        """Where eta is positive."""
        return self.eta > 0.0


@dataclass(frozen=True)
class Told(Flow):
    """A flow schedule whose network is told what the program tells it: sigma, or sigma cut to thousandths."""

    def network_time(self, level: Level) -> Scalar:
        """The level's time."""
        return level.time


@dataclass(frozen=True)
class Preset(Scheduler):
    """Levels and steps of another program, in its precision.

    The inherited parts are the nearest right ones, for reading; the numbers come from `rungs` and `rule`.
    program: whose values these are. start: how many steps are left out at the noisy end (image to image).
    """

    rungs: Rungs = field(kw_only=True)
    rule: Rule = field(kw_only=True)
    program: str = field(kw_only=True)
    start: int = 0

    @classmethod
    def near(cls, right: Scheduler, values: tuple[Rungs, Rule], program: str) -> Preset:
        """What a program computes where this scheduler is asked for."""
        rungs, rule = values
        return cls(
            right.grid, right.solver, right.noise, right.final, rungs=rungs, rule=rule, program=program
        )

    @property
    def stochastic(self) -> bool:
        """Whether runs draw fresh noise."""
        return self.rule.stochastic

    def plan(self, schedule: NoiseSchedule, steps: int) -> Plan:
        """As `Scheduler.plan`; the number of steps may differ where the program's does.

        Raises InputError where the program's own formulas give no numbers.
        """
        steps = check_steps(steps, schedule)
        try:
            with torch.device("cpu"):  # whatever torch's default is
                plan = self._plan(schedule, steps)
            numbers = [each for move in plan.moves for each in (move.of_x, *move.of_estimates, move.noise)]
            if all(map(math.isfinite, numbers)):
                return plan
        except (torch.linalg.LinAlgError, ArithmeticError):  # type: ignore[attr-defined]
            pass
        raise InputError(
            f"{self.program}'s formulas give no finite numbers for {steps} steps on this noise schedule (levels "
            "that repeat, or a start without signal); give fewer steps, or leave compat out."
        )

    def _plan(self, schedule: NoiseSchedule, steps: int) -> Plan:
        path = self.rungs.path(schedule, steps)
        begin = min(self.start, path.steps - 1)
        places = [(path, i, i - begin) for i in range(begin, path.steps)]
        planned = tuple(PlannedStep(*self.rule.ends(*at), self.rule.moves(*at)) for at in places)
        told = Told(schedule.shift, schedule.start, schedule.end) if isinstance(schedule, Flow) else schedule
        return Plan(told, planned, pure=path.pure and begin == 0)
