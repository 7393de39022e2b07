"""What a run is given beside noise and words: a picture to begin from, places to keep, channels to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.pipelines.canvas import Canvas
from unnoise.pipelines.combining import Asked
from unnoise.pipelines.guidance import Condition, Guided, Halves
from unnoise.pipelines.request import Request
from unnoise.process import Diffuser, Estimate, Level
from unnoise.process.level import combine
from unnoise.randomness import NoiseSource, key
from unnoise.schedulers import Plan


@dataclass(frozen=True, eq=False)
class Given:
    """All of it is optional; with nothing given a run is text to image.

    clean: (1 or pictures, channels, h, w), the clean sample to begin from, in latents or pixels. from_noise: the run
    begins with noise alone although `clean` is known, as at strength 1. fresh: (1, 1, h, w) bool, True where the
    sample is made anew; elsewhere `clean` stays. beside: (1 or pictures, more channels, h, w), what the network sees
    beside x. canvas: where the pictures go back. purpose: keeps the run's noise apart from another's of the same
    seeds. past: steps of the first pass, for a second. record: what recipes say of it. notes: for people.
    """

    clean: Tensor | None = None
    from_noise: bool = True
    fresh: Tensor | None = None
    beside: Tensor | None = None
    canvas: Canvas | None = None
    purpose: str = ""
    past: int = 0
    record: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def source(self, seeds: tuple[int, ...]) -> NoiseSource:
        """The run's noise: the seeds', or one of their own for each purpose."""
        return NoiseSource(tuple(key(seed, self.purpose) for seed in seeds) if self.purpose else seeds)

    def begin(self, plan: Plan, noise: Tensor) -> Tensor:
        """The sample at the first level: noise alone, or alpha x_0 + sigma eps where the clean one is known."""
        if self.clean is None:
            return plan.initial(noise)
        level = plan.levels[0]
        clean = self.clean.expand_as(noise)
        noised = combine(clean, level.expand("alpha", noise), noise, level.expand("sigma", noise))
        if not self.from_noise:
            return noised
        start = plan.initial(noise)
        return start if self._kept is None else torch.where(self._kept[1], start, noised)

    def guided(self, request: Request) -> bool:
        """Whether the network is told the negative prompts too."""
        return request.guidance != 1.0

    def network(
        self, model: Model, request: Request, condition: Condition, memory: list[Tensor], both: bool
    ) -> Callable[..., Tensor | Halves]:
        """What a Diffuser asks. memory: of the run's guidance. both: as `Guided.both`."""
        return Guided(model.network, condition, request.rule, self.beside, memory, both)

    def estimate(self, diffuser: Diffuser, x: Tensor, level: Level) -> Estimate:
        """What is seen in x, with the known places as they are known."""
        seen = diffuser.estimate(x, level, asked=Asked(x, level, diffuser.prediction))
        return self._with_known(seen)

    def _with_known(self, seen: Estimate) -> Estimate:
        """The answer that a perfect network would give where the sample is known, the network's own elsewhere.

        A solver that follows x_0 or the noise then keeps the known places at alpha x_0 + sigma eps of every level, any
        other as near as it integrates; the new ones are moved by exactly the network's numbers.
        """
        if self._kept is None:
            return seen
        (known, fresh), x, level = self._kept, seen.x, seen.level
        a, s = level.expand("alpha", x), level.expand("sigma", x)
        clean = known.to(x).expand_as(x)
        eps = combine(x, 1.0 / s, clean, -a / s)
        output = torch.where(fresh, seen.output, seen.prediction.target(clean, eps, level))
        made = Estimate(x, level, output, seen.prediction, seen.variance, seen.clip)
        made.half = None if seen.half is None else self._with_known(seen.half)
        return made

    @property
    def _kept(self) -> tuple[Tensor, Tensor] | None:
        """The clean sample and where it is new; an inpainting network is shown it instead, and paints it again."""
        if self.clean is None or self.fresh is None or self.beside is not None:
            return None
        return self.clean, self.fresh

    def end(self, x: Tensor) -> Tensor:
        """The clean sample after the last step, exactly as known where it is."""
        if self._kept is None:
            return x
        known, fresh = self._kept
        return torch.where(fresh, x, known.to(x))

    def pictures(self, made: Tensor) -> Tensor:
        """The pictures (batch, channels, height, width) as a person gets them."""
        return made if self.canvas is None else self.canvas.with_part(made.cpu())


NOTHING = Given()
