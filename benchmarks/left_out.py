"""What was tried for one level of Stable Diffusion's UNet and was left out: int8 arithmetic and merged tokens.

    python benchmarks/left_out.py [--threads 1]

One transformer block's parts at a latent of 64x64 (4096 tokens of width 320, batch 2), bfloat16, random numbers:

- a linear layer as it is, with weights and activations in int8 by torch's own dynamic quantisation, and with weights
  alone in int8, widened at every call;
- self-attention over all tokens, and over half of them: those that resemble another most are merged into it and get its
  answer (ToMe for Stable Diffusion, Bolya & Hoffman 2023: one token of each 2x2 stays, the others are matched to it).

Printed are milliseconds of the processor, the least of the rounds, and the error: root mean square of the difference
from float32 over that of the answer. For merging, the tokens are smooth pictures, on which it loses least.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from unnoise.networks.unet.attention import SelfAttention

BATCH, SIDE, WIDTH, HEADS = 2, 64, 320, 8


def timed(work: Callable[[], Tensor], rounds: int) -> tuple[float, Tensor]:
    best, out = float("inf"), work()
    for _ in range(rounds):
        begun = time.process_time()
        out = work()
        best = min(best, time.process_time() - begun)
    return best * 1e3, out


def linears(rounds: int) -> dict[str, tuple[float, float]]:
    layer, x = nn.Linear(WIDTH, 8 * WIDTH), torch.randn(BATCH * SIDE * SIDE, WIDTH)
    exact = layer(x)
    half, x_half = nn.Linear(WIDTH, 8 * WIDTH).bfloat16(), x.bfloat16()
    half.load_state_dict(layer.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quick = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {nn.Linear}, dtype=torch.qint8)
    scale = layer.weight.abs().amax(1, keepdim=True) / 127
    packed = (layer.weight / scale).round().to(torch.int8)
    narrow = scale.bfloat16()
    found = {
        "linear, bfloat16": timed(lambda: half(x_half), rounds),
        "linear, int8 weights and activations": timed(lambda: quick(x), rounds),
        "the same between bfloat16 layers": timed(lambda: quick(x_half.float()).bfloat16(), rounds),
        "linear, int8 weights": timed(
            lambda: F.linear(x_half, packed.bfloat16() * narrow, half.bias), rounds
        ),
    }
    return {name: (ms, error(out, exact)) for name, (ms, out) in found.items()}


def attentions(rounds: int) -> dict[str, tuple[float, float]]:
    rough = torch.randn(BATCH, WIDTH, SIDE // 8, SIDE // 8)
    smooth = F.interpolate(rough, scale_factor=8.0, mode="bicubic")
    tokens = smooth.flatten(2).transpose(1, 2) + 0.1 * torch.randn(BATCH, SIDE * SIDE, WIDTH)
    plain = SelfAttention(WIDTH, HEADS, bias=False)
    exact = plain(tokens)
    half, x = plain.bfloat16(), tokens.bfloat16()
    found = {
        "self-attention, all tokens": timed(lambda: half(x), rounds),
        "self-attention, half of them merged": timed(lambda: merged(half, x), rounds),
    }
    return {name: (ms, error(out, exact)) for name, (ms, out) in found.items()}


def merged(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer over half the tokens."""
    count, width = SIDE * SIDE, x.shape[-1]
    place = torch.arange(count).view(SIDE // 2, 2, SIDE // 2, 2)
    kept = place[:, 0, :, 0].flatten()
    others = torch.cat([place[:, 0, :, 1], place[:, 1, :, 0], place[:, 1, :, 1]]).flatten()
    unit = F.normalize(x, dim=-1)
    alike, match = (unit[:, others] @ unit[:, kept].transpose(1, 2)).max(dim=-1)
    order = alike.argsort(dim=-1, descending=True)
    gone, stay = order[:, : count // 2], order[:, count // 2 :]
    into = match.gather(1, gone)
    rest, wide = x[:, others], (-1, -1, width)
    target = x[:, kept].scatter_reduce(
        1, into[..., None].expand(*wide), rest.gather(1, gone[..., None].expand(*wide)), "mean"
    )
    answer = layer(torch.cat([target, rest.gather(1, stay[..., None].expand(*wide))], dim=1))
    made, out = torch.empty_like(rest), torch.empty_like(x)
    made.scatter_(1, stay[..., None].expand(*wide), answer[:, len(kept) :])
    made.scatter_(1, gone[..., None].expand(*wide), answer.gather(1, into[..., None].expand(*wide)))
    out[:, kept], out[:, others] = answer[:, : len(kept)], made
    return out


def error(made: Tensor, exact: Tensor) -> float:
    return float((made.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        for rows in (linears(asked.rounds), attentions(asked.rounds)):
            for name, (milliseconds, missed) in rows.items():
                print(f"{name:40}  {milliseconds:8.1f} ms  error {missed:.4f}")


if __name__ == "__main__":
    main()
