"""A LoRA of Stable Diffusion 1.5: steps of ours beside diffusers' networks with PEFT's layers, in a loop of its own.

Both begin with the same random weights (written once by diffusers, read by ours), train rank 8 on the attention's
queries, keys, values and outputs, at batch 1, AdamW, gradients clipped to norm 1, on latents and embedded captions that
are made beforehand, as both projects do. Ours takes them through its own `Trainer`; theirs is the loop that diffusers'
example for LoRAs has, without Accelerate. The two alternate step by step in one process, and the ratio is the median
of the ratios of neighbours. On a CPU with one thread (OMP_NUM_THREADS=1) processor time is counted, which a busy
machine hardly changes. Peak memory is that of a process for each, which takes the same steps alone.

    python benchmarks/lora.py                 miniature (seconds)
    python benchmarks/lora.py --size 256      the same network, sixteen times the pixels
    python benchmarks/lora.py --full          SD 1.5's size, 512x512: about 12 GiB of memory and minutes on a CPU
    python benchmarks/lora.py --precision bfloat16 --device cuda --full
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


def checkpoint(full: bool, folder: Path) -> Path:
    """A diffusers folder with random weights; the autoencoder stays small, for it is used once."""
    import diffusers
    import transformers

    import miniature_sd

    pipe = miniature_sd.pipeline("sd1", folder)
    if full:
        torch.manual_seed(0)
        pipe.unet = diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        text = transformers.CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12)
        pipe.text_encoder = transformers.CLIPTextModel(text)
        pipe.vae = diffusers.AutoencoderKL(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
        )
    return miniature_sd.save(pipe, folder / "model")


def pictures(folder: Path, side: int) -> Path:
    from PIL import Image

    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (side, side), (60 * number, 90, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a drawing")
    return folder


def ours(
    model: Path, data: Path, side: int, precision: str, device: str, recompute: bool
) -> Callable[[], float]:
    from unnoise.training import batches, settings
    from unnoise.training.config import TrainConfig
    from unnoise.training.trainer import Trainer

    words = [f"lora.model={model}", "lora.targets=attention", f"model.size={side}", "run.batch=1"]
    words += [f"run.precision={precision}", f"run.device={device}", f"run.recompute={str(recompute).lower()}"]
    words += ["optimizer.warmup=0", "optimizer.lr=1e-4", "loss.caption_dropout=0"]
    config = settings.override(TrainConfig(), words)
    trainer = Trainer(data, model.parent / f"run-{precision}", config)
    steps = iter(range(10**6))

    def step() -> float:
        number = next(steps)
        batch = batches.draw(config, trainer.pictures, trainer.model.schedule, number)
        return trainer.learner.advance(number, batch).loss

    return step


def theirs(model: Path, side: int, precision: str, device: str, recompute: bool) -> Callable[[], float]:
    import diffusers
    from peft import LoraConfig

    dtype = getattr(torch, precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(model)
    unet = pipe.unet.requires_grad_(False).to(device, dtype)
    unet.add_adapter(LoraConfig(r=8, lora_alpha=8, init_lora_weights="gaussian", target_modules=TARGETS))
    if recompute:
        unet.enable_gradient_checkpointing()
    weights = [weight for weight in unet.parameters() if weight.requires_grad]
    for weight in weights:
        weight.data = weight.data.float()
    optimizer = torch.optim.AdamW(weights, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01)
    noise = diffusers.DDPMScheduler.from_config(pipe.scheduler.config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        text = pipe.encode_prompt(["a drawing"], "cpu", 1, False)[0].to(device, dtype)
        picture = torch.zeros(1, 3, side, side)
        latents = pipe.vae.encode(picture).latent_dist.sample(generator) * pipe.vae.config.scaling_factor
    latents = latents.to(device, dtype)
    unet.train()

    def step() -> float:
        eps = torch.randn(latents.shape, generator=generator).to(latents)
        times = torch.randint(0, 1000, (1,), generator=generator).to(device)
        noisy = noise.add_noise(latents, eps, times)
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            output = unet(noisy, times, text, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(output.float(), eps.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def peak(device: str) -> int:
    """Bytes that the steps held at the most: of the GPU, or of this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    from unnoise.training.memory import resident

    return resident(peak=True)


def alone(options: argparse.Namespace, which: str, model: Path, data: Path, side: int) -> int:
    """Peak memory of one side in a process of its own."""
    words = [sys.executable, __file__, "--alone", which, "--model", str(model), "--data", str(data)]
    words += ["--size", str(side), "--precision", options.precision, "--device", options.device]
    done = subprocess.run([*words, *["--recompute"] * options.recompute], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


def made(options: argparse.Namespace, which: str) -> Callable[[], float]:
    place, rest = Path(options.model), (options.size, options.precision, options.device, options.recompute)
    return ours(place, Path(options.data), *rest) if which == "ours" else theirs(place, *rest)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="SD 1.5's UNet at 512x512")
    parser.add_argument(
        "--rounds", type=int, default=0, help="steps of each that are measured (default 10; full 2)"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--recompute", action="store_true", help="activation checkpointing on both sides")
    parser.add_argument("--size", type=int, default=0, help="side of the pictures (default 64; full 512)")
    for hidden in ("--alone", "--model", "--data"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser.parse_args()


def timed(options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each step of both, turn by turn, after one unmeasured step each."""
    pair = {which: made(options, which) for which in ("ours", "theirs")}
    busy = options.device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if busy else time.perf_counter
    seconds: dict[str, list[float]] = {which: [] for which in pair}
    for turn in range(options.rounds + 1):
        for which, step in pair.items():
            begun = clock()
            step()
            if options.device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[which].append(clock() - begun)
    return seconds


def report(options: argparse.Namespace, seconds: dict[str, list[float]], memory: dict[str, int]) -> None:
    size = "full size" if options.full else "miniature"
    how = f"{options.precision} on {options.device}{', recomputed' if options.recompute else ''}"
    print(
        f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads\n"
        f"SD 1.5 LoRA, rank 8, {size}, {options.size}x{options.size}, batch 1, {how}, {options.rounds} steps"
    )
    for which, name in (("ours", "unnoise"), ("theirs", "diffusers + peft")):
        each, held = statistics.median(seconds[which]), memory[which] / 2**20
        print(f"{name:18} {1e3 * each:10.1f} ms a step {1 / each:8.3f} images/s {held:9.0f} MiB at most")
    ratios = sorted(b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True))
    print(f"ratio of neighbours: {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})")


def main() -> None:
    options = asked()
    if options.alone:
        step = made(options, options.alone)
        for _ in range(2):
            step()
        print(json.dumps({"peak": peak(options.device)}))
        return
    options.size = options.size or (512 if options.full else 64)
    options.rounds = options.rounds or (2 if options.full else 10)
    with TemporaryDirectory() as place:  # gigabytes at full size
        work = Path(place)
        model, data = checkpoint(options.full, work), pictures(work / "data", options.size)
        options.model, options.data = str(model), str(data)
        memory = {which: alone(options, which, model, data, options.size) for which in ("ours", "theirs")}
        report(options, timed(options), memory)


if __name__ == "__main__":
    main()
