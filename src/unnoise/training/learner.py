"""One optimizer step: draw, add noise, predict, weigh the error, clip, update, average."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from unnoise import randomness
from unnoise.checkpoints import Model
from unnoise.networks import fast_dtype
from unnoise.process import Diffuser
from unnoise.text import embed
from unnoise.training import losses
from unnoise.training.batches import Batch
from unnoise.training.config import OptimizerConfig, TrainConfig
from unnoise.training.ema import MovingAverage


@dataclass(frozen=True)
class StepResult:
    """loss: mean over the global batch. applied: false when it or the gradient was not finite."""

    loss: float
    gradient_norm: float
    lr: float
    applied: bool


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The rate of `step`, counted from 0: a linear rise over `warmup` steps, then constant or a half cosine."""
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.decay == "constant" or step < config.warmup:
        return config.lr * rise
    part = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, part)))


class Learner:
    """The networks being trained, their optimizer and their moving average.

    A step depends on its number and on these three alone: draws, dropout and the learning rate are functions
    of (seed, step), so a run may be cut anywhere and put together again.
    """

    def __init__(self, config: TrainConfig, model: Model, device: torch.device) -> None:
        self.config = config
        self.model = model
        self.device = device
        parts = {"network": model.network, "text_encoder": model.text_encoder}
        self.modules = nn.ModuleDict({name: part for name, part in parts.items() if part is not None}).to(
            device
        )
        self.modules.train()
        self.diffuser = Diffuser(model.network, model.schedule, model.prediction, model.variance)
        self.parameters = [weight for weight in self.modules.parameters() if weight.requires_grad]
        optimizer = config.optimizer
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=optimizer.lr,
            betas=(optimizer.betas[0], optimizer.betas[1]),
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.average = MovingAverage(self.tensors(), optimizer.ema, optimizer.ema_warmup)
        self._dtype = compute_dtype(config.run.precision, device)

    def tensors(self) -> dict[str, Tensor]:
        """Live weights and buffers by name, prefixed `network.` and `text_encoder.`."""
        return dict(self.modules.state_dict())

    def advance(self, step: int, batch: Batch) -> StepResult:
        """Take step number `step`, counted from 0. A step that is not finite changes nothing."""
        lr = learning_rate(self.config.optimizer, step, self.config.run.steps)
        loss = self.gradients(step, batch)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.optimizer.clip or math.inf)
        loss_value, norm_value = torch.stack([loss, norm]).tolist()  # the one wait for the device
        applied = math.isfinite(loss_value) and math.isfinite(norm_value)
        if applied:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            self.average.update(self.tensors())
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss_value, norm_value, lr, applied)

    def gradients(self, step: int, batch: Batch) -> Tensor:
        """Put the gradient of the batch's mean loss into the weights, in parts; returns that mean."""
        size, parts = self.config.run.batch, self.config.run.accumulate
        width = size // parts
        total = torch.zeros((), device=self.device)
        for part in range(parts):
            with self._layer_noise(step, part):
                loss = self.losses(batch.part(part * width, (part + 1) * width)).sum() / size
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def losses(self, batch: Batch) -> Tensor:
        """The loss of each sample: float32, shape (batch,)."""
        x0, noise = (tensor.to(self.device, non_blocking=True) for tensor in (batch.x0, batch.noise))
        x = self.diffuser.add_noise(x0, noise, batch.level)
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            estimate = self.diffuser.estimate(x, batch.level, **self._conditioning(batch.captions))
        target = self.diffuser.prediction.target(x0, noise, batch.level)
        error = losses.squared_error(estimate.output, target)
        settings = self.config.loss
        if settings.weight == "min_snr":
            weight = losses.min_snr_weight(self.diffuser.prediction, batch.level, settings.gamma)
            error = error * weight.to(error)
        if estimate.variance is not None and settings.bound:
            bits = losses.bound_term(self.diffuser, x0, x, estimate)
            # One term stands for the sum over all steps of the schedule, hence the factor.
            error = error + settings.bound * losses.chain_length(self.model.schedule) * bits
        return error

    def averaged(self) -> Model:
        """A copy of the model with the averaged weights, ready to sample from."""
        network, encoder = copy.deepcopy((self.model.network, self.model.text_encoder))
        for prefix, module in (("network.", network), ("text_encoder.", encoder)):
            if module is not None:
                average = self.average.average.items()
                own = {name.removeprefix(prefix): value for name, value in average if name.startswith(prefix)}
                module.load_state_dict(own)
                module.eval().requires_grad_(False)
        return replace(self.model, network=network, text_encoder=encoder)

    def _conditioning(self, captions: tuple[str, ...]) -> dict[str, Tensor | None]:
        """Each different caption is encoded once; its rows go to every sample that has it."""
        if self.model.text_encoder is None or self.model.tokenizer is None:
            return {}
        words = list(dict.fromkeys(captions))
        rows = torch.tensor([words.index(caption) for caption in captions], device=self.device)
        found = embed(self.model.text_encoder, self.model.tokenizer, words)
        mask = None if found.mask is None else found.mask[rows]
        given: dict[str, Tensor | None] = {"text": found.hidden[rows], "text_mask": mask}
        if self.model.network.config.pooled_width:
            given["pooled"] = found.pooled[rows]
        return given

    @contextlib.contextmanager
    def _layer_noise(self, step: int, part: int) -> Iterator[None]:
        """Dropout inside the networks draws from torch's global generator: give it a key, then put it back."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(randomness.key(self.config.run.seed, "layers", step, part))
            yield


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What the networks compute in; "auto" is bfloat16 on a GPU that has it natively, else float32."""
    if precision == "auto":
        return fast_dtype(device) if device.type == "cuda" else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
