"""Whole training loops of the 35.7 M-parameter CIFAR-10 UNet, in turns: ours, diffusers', lucidrains'.

A step is what each project's own loop does between two pictures: draw a batch from memory, times and noise, predict,
mean squared error of the noise, backward, clip to norm 1, Adam(W), moving average; float32, or bfloat16 autocast.
diffusers' network is ours; lucidrains' is its own Unet of the same widths, hence the column of FLOPs (counted by torch
in a step, forward and back). Each loop has a process of its own, whose peak memory is told above what it had imported;
they take turns, and a ratio is the median over turns of images a second at equal FLOPs, ours over theirs.

    python benchmarks/loops.py [--batch N] [--seconds S]      # S for each precision
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

NAMES = ("unnoise", "diffusers", "lucidrains")
THEIRS = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "dropout": 0.0,  # all alike: random masks would make the losses differ
}


def attention_flops(q: list[int], k: list[int], v: list[int], *_: object, **__: object) -> int:
    """Of a forward pass, from the shapes: torch counts its kernels of graphics cards, not the processor's."""
    batch, heads, n, width = q
    return 2 * batch * heads * n * k[2] * (width + v[3])


def attention_backward_flops(
    grad: list[int], q: list[int], k: list[int], v: list[int], *_: object, **__: object
) -> int:
    """Twice those of the forward pass; what the kernel computes again is no work asked for."""
    return 2 * attention_flops(q, k, v)


UNCOUNTED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
}


def pictures() -> Tensor:
    return torch.randint(
        0, 256, (1024, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def unnoise(batch: int, bf16: bool) -> Callable[[], object]:
    from unnoise.checkpoints import Model
    from unnoise.networks import UNet
    from unnoise.networks.unet import published
    from unnoise.process import DiscreteVP
    from unnoise.training import TrainConfig, batches, settings
    from unnoise.training.data import PictureSet
    from unnoise.training.learner import Learner
    from unnoise.training.whole import WholeTuning

    changes = [f"run.batch={batch}", "run.precision=" + ("bfloat16" if bf16 else "float32")]
    config = settings.override(TrainConfig(), [*changes, "optimizer.ema=0.9999", "run.device=cpu"])
    shape = published.ddpm_cifar10().to_dict() | {"dropout": 0.0}
    network = UNet(published.UNetConfig.from_dict(shape))
    model = Model(network, DiscreteVP.linear(), (3, 32, 32), "noise", "fixed_large")
    learner = Learner(config, WholeTuning(model), torch.device("cpu"))
    cache = pictures()
    names = tuple(Path(str(place)) for place in range(len(cache)))
    data = PictureSet(names, ((),) * len(cache), (3, 32, 32), cache=cache)
    steps = iter(range(10**6))

    def step() -> object:
        number = next(steps)
        return learner.advance(number, batches.draw(config, data, model.schedule, number)).loss

    return step


def diffusers(batch: int, bf16: bool) -> Callable[[], object]:
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    network, scheduler = UNet2DModel(**THEIRS), DDPMScheduler(1000, beta_schedule="linear")
    average = EMAModel(network.parameters(), decay=0.9999)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    cache = pictures()

    def step() -> object:
        clean = cache[torch.randint(0, len(cache), (batch,))].float() / 127.5 - 1.0
        noise, times = torch.randn_like(clean), torch.randint(0, 1000, (batch,))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = network(scheduler.add_noise(clean, noise, times), times).sample
        loss = nn.functional.mse_loss(output.float(), noise)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(network.parameters())
        return loss.item()

    return step


def lucidrains(batch: int, bf16: bool) -> Callable[[], object]:
    _without_torchvision()
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    network = Unet(dim=128, dim_mults=(1, 2, 2, 2), full_attn=(False, True, False, False))
    model = GaussianDiffusion(network, image_size=32, objective="pred_noise", beta_schedule="linear")
    average = EMA(model, beta=0.995, update_every=10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.99))
    cache = pictures()

    def step() -> object:
        clean = cache[torch.randint(0, len(cache), (batch,))].float() / 255.0
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(clean)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        return loss.item()

    return step


def _without_torchvision() -> None:
    """Let lucidrains' package be imported: it uses torchvision and pytorch_fid in no line that runs here."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.utils", "pytorch_fid"):
        _stand_in(name)
    _stand_in("pytorch_fid.fid_score", "calculate_frechet_distance")
    _stand_in("pytorch_fid.inception", "InceptionV3")
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
    sys.modules["torchvision"].utils = sys.modules["torchvision.utils"]


def _stand_in(name: str, *holds: str) -> None:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(dict.fromkeys(holds, object))
    sys.modules.setdefault(name, module)


def work(name: str, batch: int, bf16: bool) -> None:
    """Be the process of one loop: a step for each line that is read, its seconds written."""
    import torch._dynamo  # every optimizer imports it: not a loop's own memory
    from torch.utils.flop_counter import FlopCounterMode

    from unnoise.training.memory import forget_peak, resident

    torch.manual_seed(0)
    torch.set_num_interop_threads(1)
    if name == "lucidrains":
        _without_torchvision()
        import denoising_diffusion_pytorch  # noqa: F401 - imported before memory is looked at
    elif name == "diffusers":
        from diffusers import DDPMScheduler, UNet2DModel  # noqa: F401
    else:
        from unnoise.training import learner  # noqa: F401
    before = resident()
    forget_peak()
    step = {"unnoise": unnoise, "diffusers": diffusers, "lucidrains": lucidrains}[name](batch, bf16)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        begun = time.perf_counter()
        if line == "step\n":
            step()
            told = {"seconds": time.perf_counter() - begun, "peak": resident(peak=True) - before}
        else:  # last, for counting takes memory
            with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counted:
                step()
            told = {"flops": counted.get_total_flops() / batch}
        print(json.dumps(told), flush=True)


class Worker:
    """The process of one loop, seen from outside."""

    def __init__(self, name: str, batch: int, bf16: bool) -> None:
        words = [sys.executable, __file__, "--worker", name, "--batch", str(batch)] + ["--bf16"] * bf16
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._hear()  # nobody else computes meanwhile
        self.seconds: list[float] = []
        self.peak = 0

    def step(self, kept: bool) -> None:
        """Let it take a step, whose time counts when kept."""
        told = self._ask("step")
        self.peak = told["peak"]
        self.seconds += [told["seconds"]] if kept else []

    def flops(self) -> float:
        """Of a picture, counted; ends the process."""
        found = self._ask("flops")["flops"]
        self.process.stdin.close()
        self.process.wait()
        return found

    def _ask(self, word: str) -> dict[str, Any]:
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self._hear()

    def _hear(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a loop ended early; see above.")
        return json.loads(line)


def table(batch: int, bf16: bool, seconds: float) -> None:
    begun = time.perf_counter()
    workers = {name: Worker(name, batch, bf16) for name in NAMES}
    turn = 0
    while turn < 3 or time.perf_counter() - begun < seconds:
        for worker in workers.values():
            worker.step(kept=turn > 0)
        turn += 1
    ours = workers["unnoise"]
    flops = {name: worker.flops() for name, worker in workers.items()}
    flops["unnoise"] = flops["diffusers"]  # one network: what else ours computes is no work asked for
    for name, worker in workers.items():
        rate = batch / statistics.median(worker.seconds)
        ratios = sorted(
            (theirs / flops[name]) / (own / flops["unnoise"])
            for theirs, own in zip(worker.seconds, ours.seconds, strict=True)
        )
        beside = (
            "" if worker is ours else f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        )
        print(
            f"| {name} | {'bf16' if bf16 else 'fp32'} | {rate:.2f} | {flops[name] / 1e9:.1f} "
            f"| {rate * flops[name] / 1e9:.0f} | {worker.peak / 2**20:,.0f} | {beside} |",
            flush=True,
        )


def main(batch: int, seconds: float) -> None:
    print(
        f"batch {batch}, {torch.get_num_threads()} threads, torch {torch.__version__}; nothing is compiled\n"
    )
    print(
        "| loop | precision | images/s | GFLOP an image | GFLOP/s | peak MiB | ours over it, equal FLOPs (range) |"
    )
    print("|---|---|---|---|---|---|---|")
    for bf16 in (False, True):
        table(batch, bf16, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--worker", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--bf16", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker, asked.batch, asked.bf16)
    else:
        main(asked.batch, asked.seconds)
