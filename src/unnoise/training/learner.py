"""One optimizer step: gradients of the batch's loss, clip, update, average."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unnoise import randomness
from unnoise.networks import heap
from unnoise.networks.hardware import large_on_cpu, numbers
from unnoise.training import optimizers
from unnoise.training.batches import Batch
from unnoise.training.config import OptimizerConfig, TrainConfig
from unnoise.training.ema import MovingAverage, PowerAverage
from unnoise.training.objective import Objective
from unnoise.training.precision import LossScale, compute_dtype
from unnoise.training.recompute import forget_inside
from unnoise.training.times import SecondMoments
from unnoise.training.tuning import Tuning
from unnoise.training.world import World


@dataclass(frozen=True)
class StepResult:
    """loss: mean over the global batch. applied: false when it or the gradient was not finite.

    overflow: not applied because float16 ran out of range, which a smaller loss scale mends.
    """

    loss: float
    gradient_norm: float
    lr: float
    applied: bool
    overflow: bool = False


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The rate of `step`, counted from 0: a linear rise over `warmup` steps, then constant or a half cosine."""
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.decay == "constant" or step < config.warmup:
        return config.lr * rise
    part = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, part)))


class Learner:
    """The networks being trained, their optimizer and their moving averages.

    A step depends on its number and on what a checkpoint holds of these alone: draws, dropout and the learning
    rate are functions of (seed, step), so a run may be cut anywhere and put together again.

    averages: by decay, the first is the one that is exported as the model. profiles: power-function averages.
    moments: what importance sampling has learned. scale: of the loss in float16. tuning: what learns; `model` is the
    one that has it.
    """

    def __init__(
        self, config: TrainConfig, tuning: Tuning, device: torch.device, world: World | None = None
    ) -> None:
        self.config = config
        self.tuning = tuning
        self.model = model = tuning.model
        self.device = device
        self.world = world or World()
        self.parts = math.lcm(config.run.accumulate, self.world.size)
        dtype = compute_dtype(config.run.precision, device, numbers(model.network))
        self.sharded = config.run.shard and self.world.size > 1
        self.objective = Objective(config.loss, model, dtype).train()
        if config.run.recompute:
            forget_inside(model.network)
        self.shared = self.world.shared(self.objective, device, self.sharded)
        if large_on_cpu(model.network):
            heap.keep_freed()  # a step is 8 % shorter when the maps of the last one are still there
        self.parameters = [weight for weight in self.objective.parameters() if weight.requires_grad]
        optimizer = config.optimizer
        self.optimizer = optimizers.build(optimizer, self.objective, device)
        decays = (optimizer.ema, *optimizer.more_ema)
        self.averages = [MovingAverage(self.tensors, decay, optimizer.ema_warmup) for decay in decays]
        deviations = optimizer.profiles if optimizer.profile_every else ()
        self.profiles = [PowerAverage(self.tensors, deviation) for deviation in deviations]
        self.moments = SecondMoments() if config.loss.times == "importance" else None
        self.scale = LossScale() if dtype == torch.float16 else None

    @property
    def precision(self) -> str:
        """What the networks compute in, as run.precision calls it."""
        return str(self.objective.dtype).removeprefix("torch.")

    @property
    def average(self) -> MovingAverage:
        """The average that is exported as the model."""
        return self.averages[0]

    @functools.cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Live weights and buffers of what learns by name, of networks prefixed `network.` and `text_encoder.`.

        Every step writes into this memory. Where weights are sharded, this process's share of each; `joined` makes
        parts of whole ones of such.
        """
        live: dict[str, Tensor] = self.tuning.learned.state_dict()
        if not self.sharded:
            return dict(live)
        from unnoise.training import shards

        return shards.shares(live)

    def joined(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Live or averaged tensors as torch's distributed tensors where they are sharded, in the same memory."""
        if not self.sharded:
            return dict(tensors)
        from unnoise.training import shards

        return shards.joined(tensors, self.tuning.learned.state_dict())

    def whole(self, average: MovingAverage) -> dict[str, Tensor]:
        """A copy of the average, gathered where it is sharded; then every process has to ask, and the first gets it."""
        if not self.sharded:
            return {name: tensor.clone() for name, tensor in average.average.items()}
        from unnoise.training import shards

        found = ((name, shards.whole(part)) for name, part in self.joined(average.average).items())
        return {name: tensor.cpu() for name, tensor in found if self.world.leads}

    def advance(self, step: int, batch: Batch) -> StepResult:
        """Take step number `step`, counted from 0. A step that is not finite changes nothing but the loss scale."""
        lr = learning_rate(self.config.optimizer, step, self.config.run.steps)
        if self.moments is not None:
            batch = batch.bent(self.moments, self.config.loss, self.model.schedule)
        losses = self.world.everyones(self.gradients(step, batch), self.config.run.batch)
        if self.scale is not None:
            self.scale.undo(self.parameters)
        norm = nn.utils.get_total_norm([w.grad for w in self.parameters if w.grad is not None])
        both = [losses.mean(), norm.full_tensor() if self.sharded else norm]  # type: ignore[attr-defined]
        loss_value, norm_value = torch.stack(both).tolist()  # the one wait for the device
        applied = math.isfinite(loss_value) and math.isfinite(norm_value)
        if applied:
            if 0.0 < self.config.optimizer.clip < norm_value:
                nn.utils.clip_grads_with_norm_(self.parameters, self.config.optimizer.clip, norm)
            self.optimizer.step(lr)
            for average in (*self.averages, *self.profiles):
                average.update(self.tensors)
            self._remember(batch, losses)
        for weight in self.parameters:
            weight.grad = None
        lowered = self.scale is not None and self.scale.hear(applied)
        return StepResult(loss_value, norm_value, lr, applied, lowered and math.isfinite(loss_value))

    def gradients(self, step: int, batch: Batch) -> Tensor:
        """Put the gradient of the global batch's mean loss into the weights, in parts.

        batch: this process's stretch. Returns the loss of each of its samples: float32, shape (stretch,).
        """
        batch = batch.to(self.device)
        own = self.parts // self.world.size
        width = self.config.run.batch // self.parts
        # Gradients are averaged over the processes and must be summed.
        factor = self.world.size / self.config.run.batch * (self.scale.value if self.scale else 1.0)
        found = []
        # the gradient too would be rounded to a caller's autocast; what run.precision asks for lies inside
        plain = torch.autocast(self.device.type, enabled=False)
        for part in range(own):
            place = self.world.rank * own + part
            dropout = randomness.torchs_own(self.config.run.seed, "layers", step, place, device=self.device)
            with plain, dropout, self._alone(part < own - 1):
                losses = self.shared(batch.part(part * width, (part + 1) * width))
                (losses.sum() * factor).backward()
            found.append(losses.detach())
        return torch.cat(found)

    def _remember(self, batch: Batch, losses: Tensor) -> None:
        if self.moments is None or batch.weight is None:
            return
        # The bend is the same in every process: it is known for the whole batch without asking.
        size = self.config.run.batch
        fraction = self.world.everyones(batch.fraction.to(losses.device), size).cpu()
        weight = self.world.everyones(batch.weight.to(losses.device), size).cpu()
        self.moments.learn(fraction, losses.double().cpu() / weight)

    def _alone(self, alone: bool) -> contextlib.AbstractContextManager[None]:
        """While true, gradients stay in this process."""
        if alone and isinstance(self.shared, nn.parallel.DistributedDataParallel):
            return self.shared.no_sync()
        return contextlib.nullcontext()
