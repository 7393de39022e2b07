"""What is known after one look of the network: the clean sample and the noise residual."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from unnoise.limits import floats, typed
from unnoise.process.level import Level
from unnoise.process.prediction import Noise, Prediction, Sample, Velocity

_AS_SAMPLE = Sample()
_AS_NOISE = Noise()
_AS_VELOCITY = Velocity()


@dataclass(eq=False)
class Estimate:
    """The network's view of x at a level: `x0`, `noise`, `flow`, `velocity`, each computed when first asked for.

    x: (batch, ...). level: where x stands. output: the network's output, shaped as x. prediction: what that
    output means. variance: learned-range output in [-1, 1], shaped as x, or None. clip: largest magnitude
    that x0 may have; the noise is then that of the clipped x0. half: under guidance the estimate without the prompt,
    where it is kept for who asks for `unguided`. Raises InputError where x and output are no floats of one shape.
    """

    x: Tensor
    level: Level
    output: Tensor
    prediction: Prediction
    variance: Tensor | None = None
    clip: float | None = None
    half: Estimate | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        # here, for an estimate may come from anyone; by isinstance, for there is one at each step
        floats("x", self.x)
        floats("the output", self.output, self.x.shape)
        if not isinstance(self.level, Level):
            typed("level", self.level, Level, "schedule.level(0.5)")
        if not isinstance(self.prediction, Prediction):
            typed("prediction", self.prediction, Prediction)

    def __repr__(self) -> str:
        return f"Estimate({self.prediction}, x={tuple(self.x.shape)}, level={self.level})"

    @classmethod
    def from_x0(cls, x: Tensor, level: Level, x0: Tensor) -> Estimate:
        """The estimate whose clean sample is `x0`."""
        return cls(x, level, x0, _AS_SAMPLE)

    @classmethod
    def from_noise(cls, x: Tensor, level: Level, noise: Tensor) -> Estimate:
        """The estimate whose noise residual is `noise`."""
        return cls(x, level, noise, _AS_NOISE)

    @cached_property
    def x0(self) -> Tensor:
        """The predicted clean sample E[x_0 | x]."""
        x0 = self.prediction.sample(self.output, self.x, self.level)
        return x0 if self.clip is None else x0.clamp(-self.clip, self.clip)

    @cached_property
    def noise(self) -> Tensor:
        """The noise residual E[eps | x]; 0 where the level has no noise and it is undefined."""
        if self.clip is None:
            return self.unclipped_noise
        return _AS_SAMPLE.noise(self.x0, self.x, self.level)

    @property
    def unclipped_noise(self) -> Tensor:
        """The noise residual as the network says it, though x0 be clipped: what diffusers' DDIM steps with."""
        return self.prediction.noise(self.output, self.x, self.level)

    @cached_property
    def flow(self) -> Tensor:
        """The speed along the straight line, eps - x0."""
        if self.clip is not None:
            return self.noise - self.x0
        return self.prediction.flow(self.output, self.x, self.level)

    @cached_property
    def velocity(self) -> Tensor:
        """(alpha eps - sigma x0) / sqrt(alpha^2 + sigma^2)."""
        if self.clip is not None:
            return _AS_VELOCITY.target(self.x0, self.noise, self.level)
        return self.prediction.velocity(self.output, self.x, self.level)

    @property
    def unguided(self) -> Tensor:
        """The clean sample as predicted without the prompt; `x0` where no prompt was heeded."""
        return (self if self.half is None else self.half).x0
