"""What this machine computes fastest in."""

from __future__ import annotations

import torch


def fast_dtype(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32.

    float16 is never chosen: processors have no fast path for it, and bfloat16 keeps float32's range.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = False
    return torch.bfloat16 if native else torch.float32
