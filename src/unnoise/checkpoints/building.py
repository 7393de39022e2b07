"""Networks whose weights are about to come from a file: built without drawing any."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unnoise.limits import choice

Network = TypeVar("Network", bound=nn.Module)

COMPUTED = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def check_dtype(dtype: torch.dtype, known: Sequence[torch.dtype] = COMPUTED) -> None:
    """Raises InputError for a dtype that is none of `known`, by default those in which networks compute."""
    choice("dtype", dtype, known, ", or leave it out")


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's search for unreachable objects waits; also a decorator.

    The thousands of objects that a model is made of set it off several times, and each time it visits all that torch
    has: 0.1 s of the 0.3 that loading a model of Stable Diffusion's layers takes beside its numbers.
    """
    waited = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if waited:
            gc.enable()


class _Unfilled(TorchFunctionMode):
    """Leaves out the drawing of starting weights, which a file is about to replace.

    Without it, drawing on the meta device imports torch's compiler: 1.3 s before the first picture.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - torch's own interface
        kwargs = kwargs or {}
        if func.__name__ in ("normal_", "uniform_", "kaiming_uniform_", "trunc_normal_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def outline(build: Callable[[], Network]) -> Network:
    """What `build` makes, ready for inference, on the meta device: names and shapes without memory."""
    with _Unfilled(), torch.device("meta"):
        return build().eval().requires_grad_(False)


def unfilled(network: Network, dtype: torch.dtype, device: torch.device | str) -> Network:
    """An outline in its final dtype, place and memory order, its numbers not yet set; the outline is used up.

    Memory for another dtype is never taken.
    """

    def taken(tensor: Tensor) -> Tensor:
        # not Module.to_empty: on the meta device its empty_like imports a computer algebra system, for half a second
        kept = dtype if tensor.is_floating_point() else tensor.dtype
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=kept, device=device)

    placed: Network = network._apply(taken)  # type: ignore[no-untyped-call]
    return placed
