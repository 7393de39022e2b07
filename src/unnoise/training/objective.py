"""From a batch to the loss of each sample: add noise, predict, weigh the error."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unnoise.checkpoints import Model
from unnoise.pipelines.prompting import embedded
from unnoise.process import Diffuser
from unnoise.training import losses
from unnoise.training.batches import Batch
from unnoise.training.config import LossConfig
from unnoise.training.weights import Uncertainty, loss_weight


class Objective(nn.Module):
    """Everything with weights to learn, as one module whose output is the loss: what processes share gradients of.

    `parts` are the networks of the model; `uncertainty`, where asked for, is learned beside them and thrown
    away. dtype: what the networks compute in; losses are float32.
    """

    def __init__(self, config: LossConfig, model: Model, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self.dtype = dtype
        self.parts = nn.ModuleDict(model.parts)
        # Frozen networks that are kept in a smaller type compute in it as they are.
        self.cast = dtype != torch.float32 and model.network.dtype == torch.float32
        self.uncertainty = Uncertainty() if config.uncertainty else None
        self.diffuser = Diffuser(model.network, model.schedule, model.prediction, model.variance)

    def forward(self, batch: Batch) -> Tensor:
        """The loss of each sample: float32, shape (batch,)."""
        error = self.errors(batch)
        if self.uncertainty is not None:
            error = self.uncertainty.balance(error, batch.level)
        return error if batch.weight is None else error * batch.weight.to(error)

    def errors(self, batch: Batch) -> Tensor:
        """The weighed errors, before the learned uncertainty and the weight of importance sampling: (batch,)."""
        x0 = batch.x0
        x = self.diffuser.add_noise(x0, batch.seen, batch.level)
        with torch.autocast(x.device.type, self.dtype, enabled=self.cast):
            estimate = self.diffuser.estimate(x, batch.level, **self.conditioning(batch))
        target = self.diffuser.prediction.target(x0, batch.noise, batch.level)
        error = losses.squared_error(estimate.output, target)
        weight = loss_weight(self.config, self.diffuser.prediction, batch.level)
        if weight is not None:
            error = error * weight.to(error)
        if estimate.variance is not None and self.config.bound:
            bits = losses.bound_term(self.diffuser, x0, x, estimate)
            # One term stands for the sum over all steps of the schedule, hence the factor.
            error = error + self.config.bound * losses.chain_length(self.model.schedule) * bits
        return error

    def conditioning(self, batch: Batch) -> dict[str, Tensor]:
        """What the network is told of each sample of the batch, by the names of its arguments."""
        if not self.model.towers:
            return {}
        told = embedded(self.model, batch.captions) if batch.told is None else batch.told
        return self.model.conditioning(told, batch.sizes)
