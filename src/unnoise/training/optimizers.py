"""The optimizers: what is kept of the gradients so far, how much of it, and how it comes back from a checkpoint.

AdamW over some weights, with the moments in this or that form, and Muon for those that are matrices. `tensors` are what
a checkpoint has to hold, named by the weight's number: the optimizer's own memory, which `begin` makes for a
checkpoint's numbers to be put in, as so many steps would have left it. `bytes` is what these take after the first step.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from unnoise.checkpoints.adapters.word import TaughtEmbedding
from unnoise.errors import InputError
from unnoise.networks.hardware import fast_dtype
from unnoise.networks.text_encoder import TextEncoder
from unnoise.training.config import OptimizerConfig

_BLOCK = 256  # numbers of a moment that share one factor in eight bits (Dettmers et al. 2022, section 2.1)
_SMALL = 4096  # numbers of a weight below which its moments stay in float32
_THIN = 16  # rows or columns below which a matrix has hardly any directions to be made alike
_MOMENTUM = 0.95  # of Muon (Jordan et al. 2024)
_SWIFT = 64  # rows up to which a product in float32 is done before the matrix were rounded: 32 x 288, 0.12 and 0.45 ms
# Modules that look rows up, and what they keep them in: of a step's words or places, each has a gradient of its own.
_TABLES = {nn.Embedding: "weight", TextEncoder: "position_embedding", TaughtEmbedding: "new"}


def build(config: OptimizerConfig, learned: nn.Module, device: torch.device) -> AdamW | AdamW8bit | Muon:
    """The optimizer that `config.name` names for what learns in `learned`; `check` tells whether it can be had."""
    weights = [weight for weight in learned.parameters() if weight.requires_grad]
    if config.name == "adamw8bit":
        return AdamW8bit(config, weights)
    if config.name == "muon":
        found = ((module, _TABLES[type(module)]) for module in learned.modules() if type(module) in _TABLES)
        return Muon(config, weights, {getattr(module, name) for module, name in found}, device)
    return AdamW(config, weights, device)


def check(config: OptimizerConfig, shard: bool) -> None:
    """Raises InputError for an optimizer that cannot be had: not installed, or not for weights in shares."""
    if config.name == "adamw":
        return
    if shard:
        raise InputError(
            f"optimizer.name is '{config.name}' and run.shard is true; it cannot work on shares of a weight. "
            "Leave one of them out: sharding divides the moments of 'adamw' among the processes already."
        )
    if config.name == "adamw8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            "optimizer.name is 'adamw8bit', but bitsandbytes is not installed: pip install "
            "'unnoise[bitsandbytes]', or leave optimizer.name at 'adamw'."
        )


class AdamW:
    """torch's kernel, fused where it can be; two moments in float32 (Loshchilov and Hutter 2019, algorithm 2).

    By torch's function and not its class, which looks for settings of each weight at every step: of the hundred small
    weights of a LoRA that takes longer than moving them.
    """

    def __init__(
        self, config: OptimizerConfig, weights: Sequence[nn.Parameter], device: torch.device
    ) -> None:
        self.weights = list(weights)
        self._fused = device.type in ("cpu", "cuda")
        self._config = config
        self.moments: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the weights by their gradients; those without one stay."""
        live = [weight for weight in self.weights if weight.grad is not None]
        for weight in live:
            if weight not in self.moments:
                self.moments[weight] = _still(weight)
        count, mean, square = (
            [self.moments[weight][name] for weight in live] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        adamw(
            list[Tensor](live),
            [weight.grad for weight in live if weight.grad is not None],
            mean,
            square,
            [],
            count,
            fused=self._fused,
            lr=lr,
            beta1=self._config.betas[0],
            beta2=self._config.betas[1],
            eps=self._config.eps,
            weight_decay=self._config.weight_decay,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        """`N.step`, `N.exp_avg` and `N.exp_avg_sq` of weight number N; of all that had a gradient."""
        return _named(self.weights, self.moments)

    def begin(self, steps: int) -> None:
        """Moments laid out in memory as their weights: the fused step walks both side by side."""
        self.moments = {weight: _still(weight, steps) for weight in self.weights}

    def bytes(self) -> int:
        """Two moments as large as the weights."""
        return 2 * sum(weight.nbytes for weight in self.weights)


def _still(weight: Tensor, steps: int = 0) -> dict[str, Tensor]:
    """Moments of zero after so many steps."""
    return {
        "step": torch.full((), float(steps), dtype=torch.float32, device=weight.device),
        "exp_avg": torch.zeros_like(weight),
        "exp_avg_sq": torch.zeros_like(weight),
    }


class AdamW8bit:
    """bitsandbytes' own: moments of large weights as bytes of a nonlinear code, one factor a block of 256 numbers.

    A quarter of the memory for the moments; slower on a processor. Weights below 4,096 numbers keep moments in
    float32. Source: Dettmers et al. 2022, "8-bit optimizers via block-wise quantization".
    """

    def __init__(self, config: OptimizerConfig, weights: Sequence[nn.Parameter]) -> None:
        # Its import tells of products in four bits, which nothing here asks for.
        logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
        import bitsandbytes

        self.weights = list(weights)
        self._flat = [nn.Parameter(_flat(weight.detach())) for weight in self.weights]
        library: Any = bitsandbytes  # its classes have no types
        self._adam = library.optim.AdamW8bit(
            self._flat, config.lr, config.betas, config.eps, config.weight_decay, min_8bit_size=_SMALL
        )

    def step(self, lr: float) -> None:
        """Move the weights by their gradients; those without one stay."""
        self._adam.param_groups[0]["lr"] = lr
        for weight, flat in zip(self.weights, self._flat, strict=True):
            flat.grad = None if weight.grad is None else _flat(_laid_out(weight.grad, weight))
        self._adam.step()
        for flat in self._flat:
            flat.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """`N.state1`, `N.state2` and the factors `N.absmax1`, `N.absmax2` of weight N, in the order of its memory."""
        named = _named(self._flat, self._adam.state)
        return {name: tensor for name, tensor in named.items() if ".qmap" not in name}  # the code: a constant

    def begin(self, steps: int) -> None:
        """Moments of zero, and the count of steps, which corrects for their start."""
        (group,) = self._adam.param_groups
        for place, flat in enumerate(self._flat):
            self._adam.init_state(group, flat, 0, place)
            self._adam.state[flat]["step"] = steps

    def bytes(self) -> int:
        """Two bytes a number and two factors a block; of small weights eight bytes a number."""
        counts = [weight.numel() for weight in self.weights]
        return sum(8 * n if n < _SMALL else 2 * n + 8 * math.ceil(n / _BLOCK) for n in counts)


class Muon:
    """Steps of equal length in every direction of a matrix; AdamW for the weights that are none.

    The mean of a matrix's gradients is replaced by the nearest matrix with orthonormal rows or columns (`polar`), so
    that directions which the gradient hardly shows are learned as fast as the strongest; lengthened by
    0.2 sqrt(longer side), numbers move as far as AdamW moves them, and its rates and weight decay serve. A
    convolution's matrix has a row for each channel that it gives. Tables of words, places and classes, vectors, and
    matrices with a side below 16 (a LoRA's of small rank) are AdamW's. One moment a number instead of two.
    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the length from Liu et al.
    2025, "Muon is scalable for LLM training", section 2.2.
    """

    def __init__(
        self,
        config: OptimizerConfig,
        weights: Sequence[nn.Parameter],
        tables: Collection[Tensor],
        device: torch.device,
    ) -> None:
        self.weights = list(weights)
        self.matrices = [weight for weight in weights if weight not in tables and _sides(weight)[0] >= _THIN]
        taken = set(self.matrices)
        self._adam = AdamW(config, [weight for weight in weights if weight not in taken], device)
        self._config = config
        self._moments: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the weights by their gradients; those without one stay."""
        self._adam.step(lr)
        for weight in self.matrices:
            if weight.grad is None:
                continue
            moment = self._moments.setdefault(weight, {"mean": torch.zeros_like(weight)})["mean"]
            moment.lerp_(weight.grad, 1.0 - _MOMENTUM)
            ahead = weight.grad.lerp(moment, _MOMENTUM)  # Nesterov's: where the mean is going
            length = 0.2 * math.sqrt(_sides(weight)[1])
            weight.mul_(1.0 - lr * self._config.weight_decay)
            weight.add_(polar(ahead.flatten(1)).reshape(ahead.shape), alpha=-lr * length)

    def tensors(self) -> dict[str, Tensor]:
        """`N.mean` of weight number N where it is a matrix, AdamW's of the others."""
        return _named(self.weights, ChainMap(self._moments, self._adam.moments))

    def begin(self, steps: int) -> None:
        """Moments of zero."""
        self._adam.begin(steps)
        self._moments = {weight: {"mean": torch.zeros_like(weight)} for weight in self.matrices}

    def bytes(self) -> int:
        """One moment for matrices, two for the rest."""
        return self._adam.bytes() + sum(weight.nbytes for weight in self.matrices)


def polar(matrix: Tensor) -> Tensor:
    """Nearly the nearest matrix with orthonormal rows or columns: singular values become 0.7 to 1.2.

    By five rounds of an odd polynomial, which raises small singular values fast; large matrices in bfloat16, where it
    is multiplied natively. Shape and type as given. Source: Jordan et al. 2024 (above), "Newton-Schulz iteration".
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.to(fast_dtype(matrix.device) if len(wide) > _SWIFT else torch.float32)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x if wide is matrix else x.T).to(matrix.dtype)


def _sides(weight: Tensor) -> tuple[int, int]:
    """The shorter and the longer side of a weight as a matrix; a vector's shorter one is 1."""
    rows = len(weight) if weight.ndim > 1 else 1
    return min(rows, weight.numel() // rows), max(rows, weight.numel() // rows)


def _named(weights: Sequence[nn.Parameter], state: Mapping[Tensor, Any]) -> dict[str, Tensor]:
    """The tensors of an optimizer's state by `N.name`; numbers of it, which the run knows, are left out."""
    found = ((place, state.get(weight, {})) for place, weight in enumerate(weights))
    return {
        f"{place}.{name}": value
        for place, kept in found
        for name, value in kept.items()
        if isinstance(value, Tensor)
    }


def _flat(tensor: Tensor) -> Tensor:
    """The tensor's numbers in the order of its memory, which they share.

    bitsandbytes gives weights that are not in rows, such as channels-last ones, new memory; the averages and the
    network's stand-ins would go on looking at the old.
    """
    return tensor.as_strided((tensor.numel(),), (1,))


def _laid_out(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient in the weight's order of memory."""
    if gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)
