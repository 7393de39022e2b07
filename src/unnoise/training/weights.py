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
from unnoise.process.level import as_tensor
from unnoise.training.config import LossConfig

_SPAN = 20.0  # log-SNR beyond which the learned uncertainty does not look: 1e-9 of noise or of signal


# From the SNR to the weight of an error of x_0; what that is for errors of the noise or of EDM's F stands beside.
_RULES: dict[str, Callable[[Tensor, LossConfig], Tensor]] = {
    # Hang et al. 2023: min(SNR, gamma) / SNR for errors of the noise
    "min_snr": lambda snr, config: snr.clamp(max=config.gamma),
    # Yu et al. 2024: 1 / sqrt(SNR) for errors of the noise
    "debiased": lambda snr, config: snr.sqrt(),
    # Choi et al. 2022, eq. 8: 1 / (k + SNR)^gamma for errors of the noise
    "p2": lambda snr, config: snr / (config.p2_k + snr).pow(config.p2_gamma),
    # Karras et al. 2022: (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 with sigma^2 = 1 / SNR; 1 for errors of F
    "edm": lambda snr, config: snr + 1.0 / config.sigma_data**2,
}


def loss_weight(config: LossConfig, prediction: Prediction, level: Level) -> Tensor | None:
    """Weight c^2 w of each sample's squared error in the space of `prediction`: float64 (batch,); None for 1.

    Raises InputError for a prediction that says nothing of x_0 at a level without signal.
    """
    if config.weight == "simple":
        return None
    alpha, sigma = (as_tensor(part).reshape(-1) for part in (level.alpha, level.sigma))
    if prediction.needs_signal and bool((alpha == 0).any()):
        raise InputError(
            f"this loss has no weight for {prediction.name} prediction at a level without signal; use velocity, "
            "or a schedule that ends earlier."
        )
    _, slope = prediction.of_sample(alpha, sigma)
    return as_tensor(slope).square() * _RULES[config.weight]((alpha / sigma).square(), config)


class Uncertainty(nn.Module):
    """u(log-SNR), the learned logarithm of the loss to be expected at a level (Karras et al. 2024, eq. 14-15).

    Training minimises loss / exp(u) + u: its minimum over u is at u = log(loss), so every level weighs the
    same whatever its scale. Used in training alone and not part of the model. Starts at 0.
    """

    rates: Tensor
    phases: Tensor

    def __init__(self) -> None:
        super().__init__()
        width = 64
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
