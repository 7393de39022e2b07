"""Which layer of a network is the first to leave the finite numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def first_layer(network: object, ask: Callable[[], object]) -> str:
    """The words ", first in its layer 'name'": the innermost that gives such a number while `ask` runs it again.

    "" where no layer tells: the fault is outside of them, or does not come back.
    """
    if not isinstance(network, nn.Module):
        return ""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def seen(module: nn.Module, given: Any, made: Any) -> None:  # noqa: ANN401 - layers give what they like
            if not found and not _finite(made):
                found.append(name)

        return seen

    handles = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        ask()
    finally:
        for handle in handles:
            handle.remove()
    return f", first in its layer '{found[0]}'" if found else ""


def _finite(made: object) -> bool:
    if isinstance(made, Tensor):
        return bool(torch.isfinite(made).all())
    return all(map(_finite, made)) if isinstance(made, tuple | list) else True
