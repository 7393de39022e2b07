"""A GPU that is pretended: its tensors say that they lie elsewhere, and their numbers lie here.

What meets tensors of two devices in one operation is refused as a real GPU would, so code that forgot to move something
is found on a machine that has none, and what is right computes what the processor computes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "gpu"
_aten = torch.ops.aten
_MOVES = {_aten._to_copy.default, _aten.copy_.default}
_INDEXED = {
    _aten.index.Tensor,
    _aten.index_put_.default,
    _aten.index_put.default,
}  # by indices from the CPU too


class _Module(_DummyBackendModule):
    """What torch asks of a kind of device, there being one for the rest of the process."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


@functools.cache
def _device() -> torch.device:
    _setup_privateuseone_for_python_backend(NAME, _Module())
    return torch.device(NAME, 0)


class _There(Tensor):
    """A tensor on the pretended device."""

    @staticmethod
    def __new__(cls, numbers: Tensor) -> _There:
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=_device(),
        )

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(op, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Sees what has no tensor of the device among its arguments yet, such as `zeros`."""

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(op, args, kwargs or {})


def _run(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given, shape = tree_flatten((args, kwargs))
    there = [one for one in given if isinstance(one, _There)]
    _refuse_strangers(op, given, there)
    if there and op is _aten._fused_sdp_choice.default:
        return 0  # of the ways to compute attention, the one made of plain operations
    wanted = kwargs.get("device")
    onto = bool(there) if wanted is None else torch.device(wanted).type == NAME
    here = [_here(one) for one in given]
    args, kwargs = tree_unflatten(here, shape)
    made = op(*args, **{name: value for name, value in kwargs.items() if name != "pin_memory"})
    if not onto:
        return made
    known = {id(numbers): one for one, numbers in zip(given, here, strict=True) if isinstance(one, _There)}

    def placed(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        return known[id(one)] if id(one) in known else _There(one)

    return tree_map(placed, made)


def _here(one: Any) -> Any:
    if isinstance(one, _There):
        return one.numbers
    return torch.device("cpu") if isinstance(one, torch.device) else one


def _refuse_strangers(op: Any, given: list[Any], there: list[Any]) -> None:
    strangers = [one for one in given if isinstance(one, Tensor) and not isinstance(one, _There) and one.ndim]
    if not there or not strangers or op in _MOVES or (op in _INDEXED and isinstance(given[0], _There)):
        return
    shapes = [tuple(one.shape) for one in (*there, *strangers)]
    raise RuntimeError(f"{op} was given tensors of {len(there)} on {NAME}, {len(strangers)} on cpu: {shapes}")


@contextlib.contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """While it lasts, torch has the device that it yields."""
    before = torch.inference_mode
    torch.inference_mode = (
        torch.no_grad
    )  # such tensors have no counter of versions, which views of weights ask for
    try:
        with _Everywhere():
            yield _device()
    finally:
        torch.inference_mode = before
