"""Merged tokens at Stable Diffusion 1's size: the time of a transformer block or of a whole look, random weights.

    python benchmarks/merging.py [--sides 64,128] [--shares 0.25,0.5,0.75] [--rounds 3] [--threads 1]
    python benchmarks/merging.py --look [--sides 64,128]

The block is that of the finest level (width 320, 8 heads), for two prompts; sides are those of latents, an eighth of
the picture's. A look is the whole UNet with guidance, 1.7 GB of weights. Printed are milliseconds of the processor in
bfloat16, the least of the rounds, in which the shares take turns, and how many times as fast as without merging. For
the block also the error of its self-attention: root mean square of the difference over that of the answer, on smooth
pictures. How much of a picture that is, only a model's own pictures tell (`approximate.py --only merge`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from unnoise.checkpoints.building import outline, unfilled
from unnoise.networks.unet import Merging, UNet, published, with_merging
from unnoise.networks.unet.attention import SelfAttention, as_tokens
from unnoise.networks.unet.merging import MergedAttention

CONFIG = published.stable_diffusion_1()
DTYPE = torch.bfloat16


def network() -> UNet:
    made = unfilled(outline(lambda: UNet(CONFIG)), DTYPE, "cpu")
    for weight in made.parameters():
        weight.uniform_(-0.03, 0.03)
    return made


def block(side: int, shares: list[float]) -> tuple[dict[float, Callable[[], Tensor]], dict[float, float]]:
    """The first transformer of the way down with each share; and errors of its self-attention."""
    width = CONFIG.widths[0]
    shallow = UNet(published.UNetConfig.from_dict(CONFIG.to_dict() | {"widths": (width,), "attention": (1,)}))
    shallow = shallow.eval().to(DTYPE)
    rough = torch.randn(2, width, side // 8, side // 8)
    smooth = F.interpolate(rough, scale_factor=8.0, mode="bicubic") + 0.1 * torch.randn(2, width, side, side)
    x = smooth.to(DTYPE, memory_format=torch.channels_last)
    memory = shallow.remember(torch.randn(2, 77, CONFIG.text_width))
    work, errors = {}, {}
    plain = SelfAttention(width, CONFIG.heads_of(width), bias=False).to(DTYPE)
    tokens = as_tokens(x)
    exact = plain(tokens).float()
    for share in shares:
        made = with_merging(shallow, Merging(share)).down_blocks[0].attentions[0]
        work[share] = lambda made=made: made(x, memory)
        merged = MergedAttention(plain, Merging(share, size=(side, side)))(tokens).float()
        errors[share] = float((merged - exact).norm() / exact.norm())
    return work, errors


def look(unet: UNet, side: int, shares: list[float]) -> dict[float, Callable[[], Tensor]]:
    x, memory = torch.randn(1, 4, side, side), unet.remember(torch.randn(2, 77, CONFIG.text_width))
    made = {share: with_merging(unet, Merging(share)) for share in shares}
    return {share: lambda one=one: one(x, 500.0, memory).sample for share, one in made.items()}


def least(work: dict[float, Callable[[], Tensor]], rounds: int) -> dict[float, float]:
    found = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for share, run in work.items():
            begun = time.process_time()
            run()
            found[share] = min(found[share], time.process_time() - begun)
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sides", default="64,128")
    parser.add_argument("--shares", default="0.25,0.5,0.75")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--look", action="store_true", help="the whole UNet instead of a block")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    shares = [0.0, *map(float, asked.shares.split(","))]
    unet = network() if asked.look else None
    for side in map(int, asked.sides.split(",")):
        errors: dict[float, float] = {}
        if unet is None:
            work, errors = block(side, shares)
        else:
            work = look(unet, side, shares)
        seconds = least(work, asked.rounds)
        for share, taken in seconds.items():
            told = f"  error {errors[share]:.4f}" if errors else ""
            print(
                f"{side}x{side}  share {share:4g}  {taken * 1e3:9.1f} ms  {seconds[0.0] / taken:5.2f}{told}",
                flush=True,
            )


if __name__ == "__main__":
    main()
