"""OpenVINO's sides: ours, through our engine, and diffusers' own networks converted by `ov.convert_model`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from full_size.models import Place
from full_size.sides import GUIDANCE, Call, Folder, Ours, Plain, Theirs, noise


class OursCompiled(Ours):
    """unnoise with `engine="openvino"`. Its exports lie where UNNOISE_CACHE says.

    int8: with "openvino-int8". Random weights make no pictures, so that its spans are those of one look.
    """

    def __init__(self, where: Place, dtype: torch.dtype | None, int8: bool) -> None:
        super().__init__(where, dtype)
        self.int8 = int8

    def unet(self) -> Call:
        """As the step by torch."""
        from unnoise.networks.unet.openvino import Compiled

        network = self._part("network")
        return self._guided(Compiled(network, spans=self._spans(network)))

    def _spans(self, network: Any) -> Any:
        from unnoise.networks.unet.int8 import Spans, Watch, plain

        if not self.int8:
            return None
        kept = self.where.folder.with_name(f"{self.where.folder.name}-spans.pt")
        if not kept.is_file():
            watched = plain(network)
            with Watch(watched) as watch, torch.inference_mode():
                self._guided(watched)()
            torch.save(watch.spans.layers, kept)
        return Spans(torch.load(kept))

    def export_unet(self) -> float:
        """Writes the graph. Returns the products that one step takes."""
        from unnoise.networks.unet.openvino import Part, graph_for

        network = self._part("network")
        with torch.inference_mode():
            memory = network.remember(noise(2, 77, network.config.text_width, seed=1))
        side = self.where.made.side
        told = [noise(1, 4, side, side), torch.tensor([500.0])]
        return products(graph_for(network, Part(spans=self._spans(network)), told, memory))


class TheirsCompiled(Theirs):
    """diffusers' networks in OpenVINO, compiled with the settings of ours. kept: the folder of the graphs."""

    def __init__(self, where: Place, kept: Path) -> None:
        super().__init__(where, torch.float32, channels_last=False)
        self.kept = kept

    def unet(self) -> Call:
        """As the step by torch."""
        x, time, text = (one.numpy() for one in self._asked())
        ask = self._ready_graph("unet")

        def call() -> Tensor:
            without, given = ask(x, time, text).chunk(2)
            return without + GUIDANCE * (given - without)

        return call

    def vae(self) -> Call:
        """One picture of latents."""
        ask, latents = self._ready_graph("vae"), noise(1, 4, self.where.made.side, self.where.made.side)
        scale = 0.13025 if self.where.made.text_2 else 0.18215
        return lambda: ask((latents / scale).numpy())

    def export_unet(self) -> float:
        """Writes the graph. Returns the products that one step takes."""
        network = self._part("UNet2DConditionModel", "unet")
        network.forward = _tensors_alone(network.forward)
        return self._export("unet", network, self._asked())

    def export_vae(self) -> float:
        """Writes the graph. Returns the products that one picture takes."""
        network = self._part("AutoencoderKL", "vae")
        decode = network._decode
        network.forward = lambda z: decode(z, return_dict=False)[0]
        return self._export("vae", network, (noise(1, 4, self.where.made.side, self.where.made.side),))

    def _asked(self) -> tuple[Tensor, Tensor, Tensor]:
        side, width = self.where.made.side, self.where.made.unet["cross_attention_dim"]
        return torch.cat([noise(1, 4, side, side)] * 2), torch.tensor(500.0), noise(2, 77, width, seed=1)

    def _export(self, name: str, network: Any, example: tuple[Tensor, ...]) -> float:
        from unnoise.networks.unet.openvino import library

        ov = library()
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # else it asks, and waits for an answer
        with torch.no_grad():
            graph = ov.convert_model(network, example_input=example)
        graph.reshape(dict(zip(graph.inputs, (list(one.shape) for one in example), strict=True)))
        # the weights are float16's, so nothing is lost
        ov.save_model(graph, str(self.kept / f"{name}.xml"), compress_to_fp16=True)
        return products(graph)

    def _ready_graph(self, name: str) -> Callable[..., Tensor]:
        from unnoise.networks.unet.openvino import compiled, library

        graph = library().Core().read_model(str(self.kept / f"{name}.xml"))
        request = compiled(graph, half=True).create_infer_request()
        return lambda *told: torch.from_numpy(request.infer(list(told), share_inputs=True)[0].copy())


def _tensors_alone(forward: Callable[..., Any]) -> Callable[..., Any]:
    def called(x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        return forward(x, time, encoder_hidden_states=text, return_dict=False)[0]

    return called


def products(graph: Any) -> float:
    """Multiplications of an OpenVINO graph of fixed shapes: convolutions, matrix products, attention."""
    total = 0
    for node in graph.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in ("Convolution", "ConvolutionBackpropData", "MatMul", "ScaledDotProductAttention"):
            continue
        first, second = (list(node.input(place).get_shape()) for place in range(2))
        out = list(node.output(0).get_shape())
        if kind == "Convolution":  # (batch, width, h, w) by (out, width, 3, 3)
            total += prod(out) * prod(second[1:])
        elif kind == "ConvolutionBackpropData":  # (batch, width, h, w) by (width, out, 4, 4)
            total += prod(first) * prod(second[1:])
        elif kind == "MatMul":
            total += prod(out) * first[-2 if node.get_attributes()["transpose_a"] else -1]
        else:  # queries by keys, and the weights by values
            total += prod(first[:-1]) * second[-2] * (first[-1] + out[-1])
    return float(total)


def side(who: str, where: Place, kept: Path) -> Ours | Theirs:
    """Of a name such as "unnoise", "unnoise fp32", "diffusers bf16 channels-last". kept: a folder for exports."""
    warnings.simplefilter("ignore")  # the peers' warnings of their own internals
    dtype = torch.float32 if "fp32" in who else torch.bfloat16
    if who == "read and cast":
        return Plain(where, None)
    if who in ("unnoise openvino", "unnoise openvino-int8"):
        return OursCompiled(where, None, who.endswith("int8"))
    if who == "diffusers openvino":
        return TheirsCompiled(where, kept)
    if who.startswith("unnoise"):
        return Ours(where, dtype if "fp32" in who else None)
    kind = Folder if "folder" in who else Theirs
    return kind(where, dtype, "channels-last" in who)
