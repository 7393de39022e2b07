"""Both sides' networks, made on a device with the same random weights, nothing read or written; and their timing."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor, nn

from full_size.models import MODELS
from unnoise.checkpoints import configs, layouts
from unnoise.networks.text_encoder import TextEncoder
from unnoise.networks.unet import UNet
from unnoise.networks.unet.embedding import sinusoids
from unnoise.networks.vae import AutoEncoder

KINDS = {"down": "DownEncoderBlock2D", "up": "UpDecoderBlock2D"}
Call = Callable[[], Any]


@dataclass
class Row:
    """What was seen of one side. ms: median. mb: at the peak, beyond what was there before.

    apart: of float32 parity the largest difference / largest number; else the distance from diffusers / its norm.
    """

    cell: str
    dtype: str
    side: str
    ms: float | None = None
    mb: float | None = None
    apart: float | None = None


@dataclass
class Pair:
    """One network of both sides."""

    ours: nn.Module
    theirs: nn.Module

    def to(self, dtype: torch.dtype) -> Pair:
        """In this dtype; diffusers' in its usual memory order."""
        self.ours.to(dtype)
        self.theirs.to(dtype).to(memory_format=torch.contiguous_format)
        return self


class Bench:
    """The networks, made when first asked for, and the rows so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device, self.calls, self.full = torch.device(args.device), args.calls, args.size == "full"
        self.made, self.rows, self.pairs = MODELS[args.size], list[Row](), dict[str, Pair]()

    def noise(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers, the same at every call of one shape."""
        generator = torch.Generator().manual_seed(sum(shape))
        return torch.randn(shape, generator=generator).to(self.device, dtype)

    def side(self, full: int) -> int:
        """A side of latents: in miniature an eighth."""
        return full if self.full else full // 8

    def pair(self, name: str, dtype: torch.dtype) -> Pair:
        """name: sd1, sdxl (UNets), vae or text."""
        if name not in self.pairs:
            self.pairs[name] = self._make(name)
        return self.pairs[name].to(dtype)

    def _make(self, name: str) -> Pair:
        made = self.made.get(name, self.made["sd1"])
        with torch.device(self.device):
            if name == "vae":
                theirs = _vae(made.vae_widths)
                ours = AutoEncoder(configs.autoencoder_config(_plain(theirs.config)))
                layout = layouts.autoencoder.diffusers()
            elif name == "text":
                theirs = transformers.CLIPTextModel(_text(made.text))
                ours = TextEncoder(configs.text_config(theirs.config.to_dict(), 49407, False, True))
                # transformers nests its names one deeper before its version 5.6
                nested = any(key.startswith("text_model.") for key in theirs.state_dict())
                layout = layouts.text.transformers(text_model=nested)
            else:
                theirs = diffusers.UNet2DConditionModel(sample_size=made.side, **made.unet)
                config, linear = configs.unet_config(_plain(theirs.config))
                ours, layout = UNet(config), layouts.unet.diffusers(linear)
        _stir(ours)
        theirs.load_state_dict(layouts.spread(layout, ours.state_dict()))
        return Pair(*(side.eval().requires_grad_(False) for side in (ours, theirs)))

    def unet(self, name: str, side: int, dtype: torch.dtype) -> tuple[Call, Call, Pair]:
        """A call of each side: one step of two samples. Ours reads the text's keys and values, made beforehand."""
        pair = self.pair(name, dtype)
        config = pair.ours.config
        x, times = self.noise(2, 4, side, side, dtype=dtype), torch.tensor([3.0, 977.0], device=self.device)
        text = self.noise(2, 77, config.text_width, dtype=dtype)
        memory, pooled, more = pair.ours.remember(text), None, None
        if config.pooled_width:
            width = pair.theirs.config.addition_time_embed_dim
            told = self.noise(2, config.pooled_width - 6 * width, dtype=dtype)
            sizes = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]] * 2, device=self.device)
            pooled = torch.cat([told, sinusoids(sizes.flatten(), width).reshape(2, -1).to(dtype)], dim=1)
            more = {"text_embeds": told, "time_ids": sizes}
        asked = {"encoder_hidden_states": text, "added_cond_kwargs": more}
        return (
            lambda: pair.ours(x, times, memory, pooled=pooled).sample,
            lambda: pair.theirs(x, times, **asked).sample,
            pair,
        )

    def vae(self, side: int, dtype: torch.dtype) -> tuple[Call, Call, Pair]:
        """A call of each side: one picture of latents."""
        pair, latents = self.pair("vae", dtype), self.noise(1, 4, side, side, dtype=dtype)
        return lambda: pair.ours.decode(latents), lambda: pair.theirs.decode(latents).sample, pair

    def work(self, name: str, side: int, dtype: torch.dtype) -> tuple[Call, Call, Pair]:
        """As `vae` or `unet`."""
        return self.vae(side, dtype) if name == "vae" else self.unet(name, side, dtype)

    def note(self, row: Row) -> None:
        """Keeps a row and prints it."""
        self.rows.append(row)
        print("  " + line(row), flush=True)

    def timed(self, cell: str, dtype: torch.dtype, side: str, call: Call, expected: Tensor | None) -> None:
        """One row: a call to warm up (and compile), another, then the median of the rest."""
        began = time.perf_counter()
        got = call()
        print(f"  first call {time.perf_counter() - began:.1f} s", flush=True)
        call()
        ms, mb = self.measure(call, self.calls)
        apart = None if expected is None else float((got - expected).float().norm() / expected.float().norm())
        self.note(Row(cell, str(dtype)[6:], side, ms, mb, apart))

    def measure(self, call: Call, calls: int) -> tuple[float, float | None]:
        """Milliseconds of a call, the median, and megabytes at its peak."""
        if self.device.type != "cuda":
            return 1e3 * statistics.median(_seconds(call) for _ in range(calls)), None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(calls + 1)]
        marks[0].record()
        for mark in marks[1:]:
            call()
            mark.record()
        torch.cuda.synchronize()
        ms = statistics.median(a.elapsed_time(b) for a, b in pairwise(marks))
        return ms, (torch.cuda.max_memory_allocated() - before) / 2**20


def line(row: Row) -> str:
    """Of a Markdown table."""
    ms, mb = (None if one is None else f"{one:.2f}" for one in (row.ms, row.mb))
    apart = "" if row.apart is None else f"{row.apart:.1e}"
    return f"| {row.cell} | {row.dtype} | {row.side} | {ms or ''} | {mb or ''} | {apart} |"


def _seconds(call: Call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _plain(config: Any) -> dict[str, Any]:
    """As its JSON file has it: lists for tuples."""
    return json.loads(json.dumps(dict(config)))


def _vae(widths: tuple[int, ...]) -> nn.Module:
    kinds = {f"{way}_block_types": (kind,) * len(widths) for way, kind in KINDS.items()}
    return diffusers.AutoencoderKL(**kinds, block_out_channels=widths, layers_per_block=2)


def _text(settings: dict[str, Any]) -> transformers.CLIPTextConfig:
    return transformers.CLIPTextConfig(
        vocab_size=49408, eos_token_id=49407, intermediate_size=4 * settings["hidden_size"], **settings
    )


@torch.no_grad()
def _stir(network: nn.Module) -> None:
    """Random numbers that keep the scale of what each layer reads, so that float16 holds them."""
    torch.manual_seed(0)
    for tensor in network.parameters():
        tensor.normal_(0.0, 0.1 if tensor.ndim == 1 else tensor[0].numel() ** -0.5)
    for module in network.modules():
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
            module.weight += 1
