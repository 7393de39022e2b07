"""A UNet run by OpenVINO, an optional engine: exported once for its weights, then read from the user's cache."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from unnoise.errors import FileError, InputError
from unnoise.files import building_folder, expanded
from unnoise.networks.unet.attention import TextMemory
from unnoise.networks.unet.int8 import Rounded, Spans, plain, rounded
from unnoise.networks.unet.phases import summed
from unnoise.networks.unet.residual import Upsample
from unnoise.networks.unet.reuse import Reusing
from unnoise.networks.unet.unet import Around, Question, UNet, UNetOutput, check_size

_FORM = 3
"""Of the exported graph: one more where its inputs or the networks' arithmetic change."""
_SHAPES = 6
"""Graphs of one network kept compiled: for the batch with guidance, that without, a second pass, quick answers."""

_lock = threading.RLock()
_compiled: WeakKeyDictionary[UNet, dict[tuple[Any, ...], Any]] = WeakKeyDictionary()


class Compiled(Around):
    """A UNet whose answers OpenVINO computes, to be called as the UNet alone; one for each run.

    Arithmetic is in float32 where the weights are; else in bfloat16 if the processor multiplies it, or float32.
    Keys and values of the prompt are made by torch, as they are once a run. Raises InputError where OpenVINO is not
    installed. blocks, seen: as `Reusing` has them, where answers are to leave their features there; 0 elsewhere.
    spans: of the layers that are to multiply in eight bits, an approximation.
    """

    def __init__(
        self, unet: UNet, blocks: int = 0, seen: list[Tensor] | None = None, spans: Spans | None = None
    ) -> None:
        super().__init__(unet)
        self.cross_attentions = unet.cross_attentions
        self.blocks, self.spans = blocks, spans
        self.seen: list[Tensor] = [] if seen is None else seen
        self._requests: dict[Any, Any] = {}
        self._told: tuple[object, list[Any]] = (None, [])
        library()

    def answer(self, asked: Question) -> UNetOutput:
        """As the UNet's.

        Raises InputError for labels and residuals, which the exported graph does not take, and for a size that its
        levels cannot halve.
        """
        if asked.labels is not None or asked.residuals is not None:
            raise InputError(
                "OpenVINO runs networks without class labels or ControlNets; use engine 'torch'."
            )
        height, width = asked.x.shape[2:]
        check_size(height, width, self.config.factor, "OpenVINO's graph")
        sample, *self.seen[:] = self._infer(asked)
        return UNetOutput(sample.to(asked.x.dtype))

    def quick(self, kept: Tensor, asked: Question) -> UNetOutput:
        """The quick answer of `Reusing`, with what an earlier answer left in `seen`."""
        return UNetOutput(self._infer(asked, kept)[0].to(asked.x.dtype))

    def _infer(self, asked: Question, kept: Tensor | None = None) -> list[Tensor]:
        x, time = asked.x, torch.as_tensor(asked.time, dtype=torch.float32, device=asked.x.device)
        more = (tensor for tensor in (asked.pooled, kept) if tensor is not None)
        inputs = [each.detach().float().contiguous() for each in (x, time.reshape(-1).expand(len(x)), *more)]
        part = Part(self.blocks, asked.pooled is not None, kept is not None, self.spans)
        ready = compile_for(self.unet, part, inputs, asked.text)
        if ready not in self._requests:
            self._requests[ready] = ready.create_infer_request()
        arrays = [tensor.numpy() for tensor in inputs] + self._texts(asked.text)
        made = self._requests[ready].infer(arrays, share_inputs=True)
        return [torch.from_numpy(one.copy()) for one in made.values()]

    def _texts(self, memory: TextMemory | None) -> list[Any]:
        """Of a prompt, what the graph takes; kept while the prompt is the same."""
        if self._told[0] is not memory:
            self._told = memory, [tensor.contiguous().numpy() for tensor in flat(memory)]
        return self._told[1]


class CompiledReusing(Reusing):
    """`Reusing` by OpenVINO, from two graphs: the whole answer with the features that it leaves, and the quick one."""

    def __init__(self, network: Compiled, blocks: int = 0) -> None:
        super().__init__(network.unet, blocks)
        self.network = self.compiled = Compiled(network.unet, self.blocks, self.seen, network.spans)

    def _quick(self, kept: Tensor, asked: Question) -> UNetOutput:
        return self.compiled.quick(kept, asked)


class Part(NamedTuple):
    """Of a UNet, what one graph computes.

    blocks: 0, or as `Reusing` has it, for an answer that leaves its features. pooled: whether a pooled vector is told.
    quick: for the quick answer with such features. spans: of the layers in eight bits.
    """

    blocks: int = 0
    pooled: bool = False
    quick: bool = False
    spans: Spans | None = None


WHOLE = Part()


class Flat(nn.Module):
    """A part of a UNet as a function of tensors alone, as exporters need it."""

    def __init__(self, unet: UNet, part: Part, masked: bool) -> None:
        super().__init__()
        self.unet = Reusing(unet, part.blocks) if part.blocks else unet
        self.part, self.masked = part, masked

    def forward(self, x: Tensor, time: Tensor, *told: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """told: the pooled vector, the features, the mask and the keys and values, of those that there are."""
        rest = list(told)
        pooled = rest.pop(0) if self.part.pooled else None
        if isinstance(self.unet, Reusing):
            self.unet.whole, self.unet.seen[:] = not self.part.quick, [rest.pop(0)] if self.part.quick else []
        mask = rest.pop(0) > 0.5 if self.masked else None
        memory = TextMemory(tuple(zip(rest[::2], rest[1::2], strict=True)), mask) if rest else None
        out: Tensor = self.unet(x, time, text=memory, pooled=pooled).sample
        return (out, self.unet.seen[0]) if isinstance(self.unet, Reusing) and self.unet.whole else out


def flat(memory: TextMemory | None) -> list[Tensor]:
    """The mask, if there is one, and the keys and values, in float32."""
    if memory is None:
        return []
    mask = [] if memory.mask is None else [memory.mask]
    return [tensor.float() for tensor in (*mask, *(each for layer in memory.layers for each in layer))]


def compile_for(unet: UNet, part: Part, inputs: Sequence[Tensor], memory: TextMemory | None) -> Any:  # noqa: ANN401
    """A part of the UNet compiled for tensors of these shapes; kept with the network.

    inputs: x, time, then the pooled vector and the features, if any.
    """
    layers, mask = ((), None) if memory is None else memory
    told = [*([] if mask is None else [mask]), *(layers[0] if layers else ())]
    key = (part, *(tuple(tensor.shape) for tensor in (*inputs, *told)), mask is None, torch.get_num_threads())
    with _lock:
        kept = _compiled.setdefault(unet, {})
        if key not in kept:
            while len(kept) >= _SHAPES:
                kept.pop(next(iter(kept)))
            kept[key] = compiled(graph_for(unet, part, inputs, memory), half=unet.dtype != torch.float32)
        return kept[key]


def graph_for(unet: UNet, part: Part, inputs: Sequence[Tensor], memory: TextMemory | None) -> Any:  # noqa: ANN401
    """OpenVINO's graph of a part for tensors of these shapes, exported if it was not. inputs: as `compile_for`'s."""
    told, least = flat(memory), 2 * unet.config.factor
    # the network is run once to be written down: on a picture that is soon done
    small = [t[..., :least, :least] if t.ndim == 4 else t for t in inputs]
    if part.quick:
        small[-1] = inputs[-1][..., : least // unet.config.patch, : least // unet.config.patch]
    example = [*small, *told]
    if told and not part.pooled:
        # the network spreads rows: with one picture asked about with two prompts, for all numbers of both
        example = [tensor[:1] if place < 2 else tensor[[0, -1]] for place, tensor in enumerate(example)]
    path = exported(unet, part, tuple(example), masked=memory is not None and memory.mask is not None)
    try:
        graph = _core().read_model(str(path))
    except RuntimeError as error:
        raise FileError(f"cannot read '{path}': {error}. Remove that folder; it is made anew.") from error
    shapes = [list(tensor.shape) for tensor in (*inputs, *told)]
    graph.reshape(dict(zip(graph.inputs, shapes, strict=True)))
    return graph


def compiled(graph: Any, half: bool) -> Any:  # noqa: ANN401
    """For torch's number of threads. half: in bfloat16 where the processor multiplies it; else in float32."""
    half = half and "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
        "PERFORMANCE_HINT": "LATENCY",
    }
    if not half:
        # 2026.4.1 ends the process while it fuses `emoji` in float32 for a fixed shape ("snippets"), but not without
        settings["SNIPPETS_MODE"] = "DISABLE"
    return _core().compile_model(graph, "CPU", settings)


@functools.cache
def _core() -> Any:  # noqa: ANN401
    """One for as long as the process lives.

    Each of 2026.4.1 gives the thread a stack for its signals and, going, that back which it found: where two go in the
    order in which they came, the stack of the first, which is no more, stays, and the next Ctrl-C ends the process.
    """
    return library().Core()


@functools.cache
def sums_exactly() -> bool:
    """Whether the processor adds products of eight bits as they are.

    Some without instructions for it (VNNI, before 2019 and in Zen 3) add two of them in sixteen bits, which do not hold
    them. So 64 times 1 is asked for, as 255/255 times 127/127.
    """
    plain: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
    layer = nn.Linear(64, 16, bias=False, **plain)
    nn.init.ones_(layer.weight)
    ones = torch.ones(8, 64, **plain)
    graph = _converted(Rounded(layer, (torch.zeros(64, **plain), torch.ones(64, **plain))), (ones,))
    graph.reshape([8, 64])
    out = compiled(graph, half=False)([ones.numpy()])[0]
    return bool((abs(out - 64.0) < 0.5).all())


def _converted(network: nn.Module, example: tuple[Tensor, ...]) -> Any:  # noqa: ANN401
    """OpenVINO's graph of a function of tensors, which is run once on the example."""
    with _untold(), torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        # every branch on a tensor's type is told; none depends on its numbers, so that one run is enough
        warnings.simplefilter("ignore")
        example = tuple(tensor.clone() for tensor in example)
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        return library().convert_model(traced, example_input=example)


def exported(unet: UNet, part: Part, example: tuple[Tensor, ...], masked: bool) -> Path:
    """The graph of a part on disk, for pictures of any size: made the first time that these weights are seen.

    example: as `compile_for`'s inputs, then as `flat` has it. masked: whether that has a mask. Weights of half
    precision are kept in half. Two processes that export at once both succeed. Raises FileError where nothing can be
    written.
    """
    folder = folder_of(unet, masked, part)
    if folder.is_dir():
        return folder / "unet.xml"
    graph = _converted(Flat(in_float32(unet, part.spans), part, masked), example)
    try:
        with building_folder(folder) as building:
            library().save_model(
                graph, str(building / "unet.xml"), compress_to_fp16=unet.dtype != torch.float32
            )
    except FileError as error:
        if not folder.is_dir():  # else another process was first
            raise FileError(f"{error} UNNOISE_CACHE tells which.") from error
    return folder / "unet.xml"


def in_float32(unet: UNet, spans: Spans | None) -> UNet:
    """A copy in float32 whose layers are as the graph is to have them."""
    if spans is None:
        return _with_phases(copy.deepcopy(unet).float().eval())
    return rounded(_with_phases(plain(unet).float()), spans)


def _with_phases(unet: UNet) -> UNet:
    """Itself, each doubling and its convolution made one layer: a compiler does not see that they could be."""
    for block in unet.up_blocks:
        layer = block.upsample
        if isinstance(layer, Upsample) and isinstance(layer.conv, nn.Conv2d):
            width, bias = layer.conv.in_channels, layer.conv.bias
            made = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, device="meta")
            made.weight, made.bias = nn.Parameter(summed(layer.conv.weight.detach())), bias
            block.upsample = made
    return unet


def folder_of(unet: UNet, masked: bool, part: Part = WHOLE) -> Path:
    """Where the graph of these weights is kept: a name made of them, of their layout and of OpenVINO's version."""
    grid = None if part.spans is None else part.spans.digest
    part = part._replace(spans=None)
    told = [_FORM, library().get_version(), str(unet.dtype), masked, part, grid, unet.config.to_dict()]
    return cache_folder() / digest_of(told, unet)


def digest_of(told: object, *networks: nn.Module) -> str:
    """A name for plain values and the weights of networks."""
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for network in networks:
        for name, tensor in network.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def cache_folder() -> Path:
    """UNNOISE_CACHE, or else a folder of ours in the system's place for caches; in it one of this engine's."""
    root = os.environ.get("UNNOISE_CACHE")
    if root:
        return expanded(root) / "openvino"
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return expanded(base) / "unnoise" / "openvino"


def library() -> ModuleType:
    """The package. Raises InputError where it is not installed."""
    with _untold():
        try:
            import openvino
        except ImportError as error:
            raise InputError(
                "engine 'openvino' needs a package that is not installed; pip install 'unnoise[openvino]', or use "
                "engine 'torch'."
            ) from error
    module: ModuleType = openvino
    return module


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    """Keep OpenVINO's telemetry out: it would ask on standard input whether it may send, and wait for an answer."""
    name = "openvino_telemetry"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # "not there" to whoever imports it
    try:
        yield
    finally:
        del sys.modules[name]
