"""What was tried for one level of Stable Diffusion's UNet and was left out: int8 arithmetic.

    python benchmarks/left_out.py [--threads 1]

One transformer block's parts at a latent of 64x64 (4096 tokens of width 320, batch 2), bfloat16, random numbers:

- a linear layer as it is, with weights and activations in int8 by torch's own dynamic quantisation, and with weights
  alone in int8, widened at every call.

Printed are milliseconds of the processor, the least of the rounds, and the error: root mean square of the difference
from float32 over that of the answer.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH, SIDE, WIDTH = 2, 64, 320


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
        for name, (milliseconds, missed) in linears(asked.rounds).items():
            print(f"{name:40}  {milliseconds:8.1f} ms  error {missed:.4f}")


if __name__ == "__main__":
    main()
