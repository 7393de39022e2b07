"""A second model that takes a run over from the first at a level of noise, as Stable Diffusion XL's refiner does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.checkpoints.adapters.asked import exact
from unnoise.checkpoints.folder import load
from unnoise.errors import InputError
from unnoise.limits import number, typed
from unnoise.process import DiscreteVP
from unnoise.schedulers import Plan

if TYPE_CHECKING:
    from unnoise.checkpoints.model import Model

START = 0.8


@dataclass(frozen=True, eq=False)
class Refiner:
    """The model that ends a run.

    start: share of the model's times, counted from noise, after which it is asked: with 0.8 of 1000 times those below
    200 are its own (diffusers' denoising_end of the base and denoising_start of the refiner).
    """

    model: Model
    start: float = START

    @property
    def told(self) -> str:
        """As recipes keep it."""
        return f"refiner {self.model.name}:{exact(self.start)}"

    def turn(self, plan: Plan) -> int:
        """The number of the first step that is the refiner's. Raises InputError where there is none."""
        schedule = plan.schedule
        assert isinstance(schedule, DiscreteVP)
        last = round(schedule.steps * (1 - self.start))
        times = [float(schedule.network_time(level)) for level in plan.levels[:-1]]
        own = [place for place, time in enumerate(times) if time < last]
        if not own:
            raise InputError(
                f"none of {len(times)} steps is left to the refiner: it begins below time {last}, and the last step "
                f"is at {times[-1]:.0f}. Let it begin earlier than {self.start:g} (--refine-from), or give more steps."
            )
        return own[0]


def with_refiner(model: Model, refiner: str | Path | Model, start: float = START) -> Model:
    """The model, and after `start` of its times another one, in its type and place.

    refiner: a model, or where it is. Raises InputError for models that do not share their latents and noise schedule.
    """
    start = number("start", start, 0.0, 1.0, 0.8, "a share of the times", without="both")
    if isinstance(refiner, str | Path):
        refiner = load(refiner, model.network.dtype, model.device)
    reason = _apart(model, typed("refiner", refiner, type(model)))
    if reason:
        raise InputError(
            f"'{refiner.name}' cannot refine '{model.name}': {reason}. Give the refiner of the same family."
        )
    return model.changed(refiner=Refiner(refiner, start))


def _apart(model: Model, other: Model) -> str:
    """Why the two cannot share a run; empty where they can."""
    if model.beside or other.beside:
        return "one of them sees more than the noisy sample (inpainting, editing)"
    if not isinstance(model.schedule, DiscreteVP) or model.schedule != other.schedule:
        return "their noise schedules differ"
    scales = [one.autoencoder and one.autoencoder.config.scale for one in (model, other)]
    alike = (model.shape[0], model.factor) == (other.shape[0], other.factor) and scales[0] == scales[1]
    return "" if alike else "their latents differ"
