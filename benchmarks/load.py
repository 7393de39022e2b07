"""Time and peak memory of loading a whole Stable Diffusion 1.5 of random weights, beside reading and casting alone.

    python benchmarks/load.py [--dtype float16] [--into bfloat16] [--repeats 3] [--narrow]

Writes a file of 2 GB (float16) into a temporary folder. Each measurement is a process of its own; the two ways
alternate. Memory is the peak of the process less its peak after the imports, over the size of the loaded weights.
With --narrow the model has as many layers and hardly any numbers: what is left of the time does not depend on the size.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from unnoise import checkpoints
from unnoise.checkpoints import layouts
from unnoise.checkpoints.blueprint import build
from unnoise.checkpoints.building import outline, unfilled
from unnoise.networks import AutoEncoderConfig, TextEncoderConfig
from unnoise.networks.unet import published


def write(path: Path, dtype: torch.dtype, narrow: bool) -> None:
    unet, autoencoder, text = published.stable_diffusion_1(), AutoEncoderConfig(), TextEncoderConfig()
    if narrow:
        unet, autoencoder = (
            replace(unet, widths=(32,) * 4, text_width=64),
            AutoEncoderConfig(widths=(32,) * 4),
        )
        text = TextEncoderConfig(width=64, heads=1)
    tensors = {}
    for config, layout in (
        (unet, layouts.unet.original(unet, False)),
        (autoencoder, layouts.autoencoder.original(4)),
        (text, layouts.text.transformers("cond_stage_model.transformer.")),
    ):
        network = unfilled(outline(lambda config=config: build(config)), dtype, "cpu")
        for tensor in network.parameters():
            tensor.fill_(0.01)
        tensors |= layouts.spread(layout, network.state_dict())
    save_file(tensors, path)


def peak() -> int:
    """Bytes; of this process alone, where getrusage would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def measure(how: str, path: Path, into: torch.dtype) -> None:
    """Print seconds, those of the processor, and bytes at the peak over the bytes of the weights."""
    before, start, busy = peak(), time.perf_counter(), time.process_time()
    if how == "unnoise":
        found = checkpoints.recognise(path)
        model = found.load(into)
        numbers = sum(found.parameters().values())
        assert model.network.dtype == into
    else:
        loaded = {name: tensor.to(into) for name, tensor in load_file(path).items()}
        numbers = sum(tensor.numel() for tensor in loaded.values())
    seconds = time.perf_counter() - start
    busy = time.process_time() - busy
    print(seconds, busy, (peak() - before) / (numbers * torch.finfo(into).bits / 8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--into", default="bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--narrow", action="store_true", help="as many layers, hardly any numbers")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    into = getattr(torch, asked.into)
    if asked.measure:
        measure(asked.measure[0], Path(asked.measure[1]), into)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write(path, getattr(torch, asked.dtype), asked.narrow)
        found: dict[str, list[tuple[float, ...]]] = {"unnoise": [], "read and cast": []}
        for _ in range(asked.repeats):
            for how, rows in found.items():
                command = [sys.executable, __file__, "--into", asked.into, "--measure", how, str(path)]
                words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                rows.append(tuple(map(float, words)))
    print(f"{asked.dtype} -> {asked.into}, {torch.get_num_threads()} threads, median of {asked.repeats}")
    for how, rows in found.items():
        seconds, busy, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{how:<14} {seconds:6.2f} s ({busy:.2f} s of processor time)   peak {memory:5.2f} x the weights"
        )


if __name__ == "__main__":
    main()
