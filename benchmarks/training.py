"""Training of the 35.7 M-parameter CIFAR-10 UNet: whole loops (`loops.py`), then steps and forward passes alone.

The latter stand beside diffusers' with the same weights. Training: 32x32, batch 16, AdamW, gradients clipped to norm
1, in float32 and under bfloat16 autocast; both sides use the same optimizer, see the same batches and must show the
same losses. Forward: bfloat16, channels-last, batch 1 and 16. Nothing is compiled. The two alternate call by call, and
a ratio is the median of the ratios of neighbours: a busy machine slows both.

    python benchmarks/training.py [--quick] [--only loops|training|forward]      # about five minutes on two cores
"""

from __future__ import annotations

import argparse
import platform
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import diffusers
import loops
import torch
from loops import THEIRS
from torch import Tensor, nn

from unnoise.networks import UNet
from unnoise.networks.unet import published

ROOT = Path(__file__).resolve().parents[1]
our_weights = runpy.run_path(str(ROOT / "tests/parity/diffusers_unet.py"))["our_weights"]


def both(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module]:
    """Ours and diffusers', with equal weights."""
    torch.manual_seed(0)
    theirs = diffusers.UNet2DModel(**THEIRS)
    settings = published.ddpm_cifar10().to_dict() | {"dropout": 0.0}
    ours = UNet(published.UNetConfig.from_dict(settings))
    ours.load_state_dict(our_weights(theirs.state_dict()))
    return ours.to(dtype), theirs.to(dtype)


def trainer(network: nn.Module, batch: int, autocast: bool) -> Callable[[], float]:
    """One training step a call; returns its loss. The n-th call of every trainer sees the same batch."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    generator = torch.Generator().manual_seed(1)
    network.train()

    def step() -> float:
        x = torch.randn(batch, 3, 32, 32, generator=generator)
        target = torch.randn(batch, 3, 32, 32, generator=generator)
        times = torch.randint(0, 1000, (batch,), generator=generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = network(x, times).sample
        loss = nn.functional.mse_loss(output.float(), target)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def forward(network: nn.Module, batch: int) -> Callable[[], Tensor]:
    """One forward pass a call, in the network's own dtype."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 3, 32, 32, generator=generator).to(next(network.parameters()).dtype)
    x = x.to(memory_format=torch.channels_last)
    times = torch.full((batch,), 500.0)
    network.eval()

    @torch.inference_mode()
    def run() -> Tensor:
        return network(x, times).sample

    return run


def alternate(ours: Callable, theirs: Callable, rounds: int) -> tuple[list[float], list[float], list]:
    """Seconds of each call of both, turn by turn after one unmeasured call each, and pairs of what they returned."""
    seconds: tuple[list[float], list[float]] = ([], [])
    results = []
    for turn in range(rounds + 1):
        pair = []
        for which, call in enumerate((ours, theirs)):
            start = time.perf_counter()
            pair.append(call())
            if turn:
                seconds[which].append(time.perf_counter() - start)
        results.append(pair)
    return *seconds, results


def row(work: str, ours: list[float], theirs: list[float], bar: float, note: str) -> None:
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    quarter = len(ratios) // 4
    print(
        f"{work:32} {1e3 * statistics.median(ours):9.1f} {1e3 * statistics.median(theirs):9.1f} "
        f"{statistics.median(ratios):6.2f} ({ratios[quarter]:.2f}-{ratios[-1 - quarter]:.2f})  bar {bar:.2f}  {note}",
        flush=True,
    )


def measure_training(batch: int, rounds: int, autocast: bool, bar: float) -> None:
    ours, theirs = both()
    a, b, losses = alternate(trainer(ours, batch, autocast), trainer(theirs, batch, autocast), rounds)
    apart = max(abs(x - y) / y for x, y in losses)
    # Adam divides by the gradient's own size, so rounding grows from step to step, the more so in bfloat16.
    bound = 2e-2 if autocast else 1e-3
    assert apart < bound, f"losses are {apart:.1e} apart: {losses}"
    name = f"training, batch {batch}, " + ("bf16 autocast" if autocast else "fp32")
    row(name, a, b, bar, f"losses within {apart:.0e}, last {losses[-1][0]:.4f}")


def measure_forward(batch: int, rounds: int, bar: float) -> None:
    ours, theirs = both(torch.bfloat16)
    theirs = theirs.to(memory_format=torch.channels_last)
    a, b, outputs = alternate(forward(ours, batch), forward(theirs, batch), rounds)
    x, y = outputs[-1]
    apart = float((x.float() - y.float()).norm() / y.float().norm())
    assert apart < 5e-2, f"outputs are {apart:.1e} apart"
    row(f"forward, batch {batch}, bf16", a, b, bar, f"outputs within {apart:.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds and a small training batch")
    parser.add_argument("--only", choices=("loops", "training", "forward"))
    parsed = parser.parse_args()
    quick, only = parsed.quick, parsed.only
    if only in (None, "loops"):
        loops.main(2 if quick else 16, 1 if quick else 40)
        if only:
            return
    print(
        f"\n{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    )
    print(f"{'work':32} {'ours ms':>9} {'peer ms':>9} {'ratio':>6} (quartiles)")
    batch, rounds = (4, 3) if quick else (16, 3)
    if only != "forward":
        measure_training(batch, rounds, autocast=False, bar=1.10)
        measure_training(batch, rounds, autocast=True, bar=1.05)
    if only != "training":
        measure_forward(1, 15 if quick else 30, bar=1.25)
        measure_forward(16, 3 if quick else 6, bar=1.03)


if __name__ == "__main__":
    main()
