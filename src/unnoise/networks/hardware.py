"""What this machine computes fastest in."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch

from unnoise.errors import InputError
from unnoise.limits import shown

SMALL = 20_000_000
"""Networks with fewer numbers than this stay in float32 on the CPU: moving and rounding them gains nothing."""


_FEW = 2_000_000  # numbers in a network
_LITTLE = 10_000_000  # numbers in the network times pictures


def worth_threads(network: torch.nn.Module, pictures: int) -> bool:
    """Whether threads gain anything in a step of so many pictures.

    Not where its work is so small that they wait for each other longer than they compute, as those of a small network
    do in every layer, whatever the batch: on a busy machine of two cores a call of the shipped digits model takes 19 ms
    on one thread and 87 on two, of 64 pictures 131 and 2,510.
    """
    count = numbers(network)
    return count >= _FEW and count * pictures >= _LITTLE


def numbers(network: torch.nn.Module) -> int:
    """How many weights and biases it has."""
    return sum(tensor.numel() for tensor in network.parameters())


def fast_dtype(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32.

    float16 is never chosen: processors have no fast path for it, and bfloat16 keeps float32's range. Raises InputError
    for what names no device.
    """
    kind = _kind(device)
    if kind == "cuda":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or multiplies_tiles()
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def suited_dtype(count: int, device: torch.device) -> torch.dtype:
    """What a network of so many numbers learns in: float32 if it is small and on the CPU, else `fast_dtype`."""
    small = device.type == "cpu" and count < SMALL
    return torch.float32 if small else fast_dtype(device)


def has_kernels(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes in this dtype here, from weights laid out for it."""
    if not torch._C._has_mkldnn:
        return False
    fast = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 or bool(fast)


@functools.cache
def multiplies_tiles() -> bool:
    """Whether the processor has AMX, whose bfloat16 matrix products torch's own attention is written for."""
    return torch.cpu._is_amx_tile_supported()


def usable(device: torch.device | str | None) -> None:
    """Raises InputError for a device that torch does not have here. None: whichever it has."""
    kind = "cpu" if device is None else _kind(device)
    there = kind != "cuda" or torch.cuda.is_available()
    try:
        if there:
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # another card's number, or "mps" and "xpu" where torch has none
        there = False
    if not there:
        raise InputError(
            f"device is {str(device)!r}, and torch {torch.__version__} has no such device here; leave device out, to "
            "use the processor, or install torch for this machine's graphics card."
        )


def _kind(device: torch.device | str) -> str:
    try:
        return torch.device(device).type
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"device is {shown(device)}; give 'cpu' or 'cuda', or leave it out.") from error


@contextlib.contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """A block that keeps no gradients and computes in the types that tensors have, in a caller's autocast too."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        yield


def large_on_cpu(network: torch.nn.Module) -> bool:
    """Whether its feature maps are large, and in the memory of the processor."""
    return next(network.parameters()).device.type == "cpu" and numbers(network) >= SMALL
