"""Time, and what else describes a whole sample, as one vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.unet.layers import Linear


def sinusoids(time: Tensor, width: int, convention: str = "adm") -> Tensor:
    """Sines and cosines of time at `width / 2` geometric frequencies (Vaswani et al. 2017, section 3.5).

    time: (batch,) in any dtype; computed in float32. Returns (batch, width) float32.
    convention: "adm" puts the cosines first and its frequencies are 10000^(-i/n), n = width / 2;
    "ddpm" puts the sines first and its frequencies are 10000^(-i/(n-1)).
    """
    n = width // 2
    last = n - 1 if convention == "ddpm" else n
    # The exponent is formed in float32 as both lineages do: at t = 999 a float64 one differs by 1e-4.
    exponent = -math.log(10000) * torch.arange(n, dtype=torch.float32, device=time.device) / max(last, 1)
    angle = time.float()[:, None] * exponent.exp()[None, :]
    sine, cosine = angle.sin(), angle.cos()
    return torch.cat((sine, cosine) if convention == "ddpm" else (cosine, sine), dim=1)


class Embedding(nn.Module):
    """Two linear layers with SiLU between: (batch, width) -> (batch, out)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear1 = Linear(width, out)
        self.linear2 = Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, width). Returns (batch, out)."""
        out: Tensor = self.linear2(F.silu(self.linear1(x)))
        return out
