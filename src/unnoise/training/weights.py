"""How much an error counts at each noise level: one table of rules, all stated for errors of x_0.

An error dF of the network's output is an error c dF of x_0, where x_0 = b x + c F; so every rule w gives the
weight c^2 w in the space of any prediction, and the loss does not depend on what the network predicts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.process import Level, Prediction
from unnoise.training.config import LossConfig

_SPAN = 20.0  # log-SNR beyond which the learned uncertainty does not look: 1e-9 of noise or of signal


def loss_weight(config: LossConfig, prediction: Prediction, level: Level) -> Tensor | None:
    """Weight of each sample's squared error in the space of `prediction`: float64 (batch,); None for 1.

    Raises InputError for a prediction that says nothing of x_0 at a level without signal.
    """
    if config.weight == "simple":
        return None
    rules: dict[str, Callable[[Tensor], Tensor]] = {
        "min_snr": lambda snr: min_snr(snr, config.gamma),
        "debiased": debiased,
        "p2": lambda snr: p2(snr, config.p2_k, config.p2_gamma),
        "edm": lambda snr: edm(snr, config.sigma_data),
    }
    return output_weight(prediction, level, rules[config.weight])


def output_weight(prediction: Prediction, level: Level, rule: Callable[[Tensor], Tensor]) -> Tensor:
    """c^2 rule(SNR), float64, shape (batch,). Raises InputError as `loss_weight`."""
    alpha = torch.as_tensor(level.alpha, dtype=torch.float64, device="cpu").reshape(-1)
    sigma = torch.as_tensor(level.sigma, dtype=torch.float64, device="cpu").reshape(-1)
    if prediction.needs_signal and bool((alpha == 0).any()):
        raise InputError(
            f"this loss has no weight for {prediction.name} prediction at a level without signal; use velocity, "
            "or a schedule that ends earlier."
        )
    _, slope = prediction.of_sample(alpha, sigma)
    return torch.as_tensor(slope, dtype=torch.float64, device="cpu").square() * rule((alpha / sigma).square())


def min_snr(snr: Tensor, gamma: float = 5.0) -> Tensor:
    """min(SNR, gamma) (Hang et al. 2023): min(SNR, gamma) / SNR for errors of the noise."""
    return snr.clamp(max=gamma)


def debiased(snr: Tensor) -> Tensor:
    """sqrt(SNR) (Yu et al. 2024): 1 / sqrt(SNR) for errors of the noise."""
    return snr.sqrt()


def p2(snr: Tensor, k: float = 1.0, gamma: float = 1.0) -> Tensor:
    """SNR / (k + SNR)^gamma (Choi et al. 2022, eq. 8): 1 / (k + SNR)^gamma for errors of the noise."""
    return snr / (k + snr).pow(gamma)


def edm(snr: Tensor, sigma_data: float = 0.5) -> Tensor:
    """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 with sigma^2 = 1 / SNR (Karras et al. 2022): 1 for EDM's F."""
    return snr + 1.0 / sigma_data**2


class Uncertainty(nn.Module):
    """u(log-SNR), the learned logarithm of the loss to be expected at a level (Karras et al. 2024, eq. 14-15).

    Training minimises loss / exp(u) + u: its minimum over u is at u = log(loss), so every level weighs the
    same whatever its scale. Used in training alone and not part of the model. Starts at 0.
    """

    rates: Tensor
    phases: Tensor

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        plain: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
        # Fixed cosines of a few periods over the span; a keyed draw is not needed for so smooth a function.
        self.register_buffer("rates", torch.linspace(0.0, 2.0 * torch.pi, width, **plain))
        self.register_buffer("phases", torch.arange(width, **plain) * 2.399963)  # golden angle: no two alike
        self.read = nn.Linear(width, 1, **plain)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    def forward(self, log_snr: Tensor) -> Tensor:
        """log_snr: (batch,), infinite values allowed. Returns u, float32, shape (batch,)."""
        place = log_snr.clamp(-_SPAN, _SPAN).to(self.read.weight) / _SPAN
        waves = torch.cos(place[:, None] * self.rates + self.phases)
        read: Tensor = self.read(waves)
        return read[:, 0]

    def balance(self, loss: Tensor, level: Level) -> Tensor:
        """The balanced loss, loss / exp(u) + u, of each sample: (batch,)."""
        u: Tensor = self(torch.as_tensor(level.log_snr, device=loss.device).expand(loss.shape))
        return loss * torch.exp(-u) + u
