"""Approximate and optional ways to make a picture: how much sooner, and how far from the exact one.

    python benchmarks/approximate.py --shares
    python benchmarks/approximate.py [--model emoji] [--steps 20] [--count 4] [--rounds 2] [--threads 1] [--openvino]
        [--only TEXT]

For each way the pictures of the model card's prompts are made from the same seeds as the exact ones, by the model's own
scheduler and guidance. Printed are processor seconds a picture (the least of the rounds, in which the ways take turns),
the speed-up over exact, SSIM to the exact picture (mean, and the worst of them), and the root mean square of the
difference over that of the picture. With --shares: what a quick look of a feature cache computes of Stable Diffusion,
as a share of a whole one with guidance, in multiplications, counted and not timed.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import unnoise
from unnoise.checkpoints.building import outline
from unnoise.evaluation.similarity import relative_error, structural_similarity
from unnoise.networks.unet import Reusing, UNet, published
from unnoise.pipelines import FeatureCache, Interval, Scale, TextToImage

Way = Callable[[TextToImage], Tensor]


def way(prompts: list[str], options: dict[str, object], **more: object) -> Way:
    def make(pipe: TextToImage) -> Tensor:
        arrays = pipe(prompts, **options, **more).arrays
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) * 2.0 - 1.0

    return make


def ways(pipe: TextToImage, steps: int, count: int) -> dict[str, Way]:
    prompts = list(pipe.model.card["prompts"])
    options = {"steps": steps, "count": count, "seed": 0}
    low = Interval(Scale(pipe.model.defaults.guidance), 0.1)
    found = {"exact": way(prompts, options)}
    for turn in (0.05, 0.1, 0.15, 0.25):
        found[f"cache {turn:g}"] = way(prompts, options, cache=turn)
    for every in (2, 3):
        found[f"cache every {every} (DeepCache's rule)"] = way(prompts, options, cache=f"every={every}")
    found["cache 0.15, 1 block"] = way(prompts, options, cache=FeatureCache(0.15, blocks=1))
    for share in (0.25, 0.5, 0.75):
        found[f"merge {share:g}"] = way(prompts, options, merge=share)
    found["merge 0.5, cache 0.15"] = way(prompts, options, merge=0.5, cache=0.15)
    found["guidance above 0.1"] = way(prompts, options, guidance=low)
    found["cache 0.15, guidance above 0.1"] = way(prompts, options, cache=0.15, guidance=low)
    return found


def shares() -> None:
    emoji = unnoise.load("emoji").model
    for name, config, side in (
        ("emoji", emoji.network.config, emoji.shape[-1]),
        ("Stable Diffusion 1, 512x512", published.stable_diffusion_1(), 64),
        ("Stable Diffusion XL, 1024x1024", published.stable_diffusion_xl(), 128),
    ):
        network = outline(lambda config=config: UNet(config))
        for blocks in (0, 2, 1):
            reusing = Reusing(network, blocks)
            whole, quick = flops(reusing, side, 2, True), flops(reusing, side, 1, False)
            print(f"{name:32} {reusing.blocks} blocks: {quick / whole:.3f} of {whole / 1e9:.4g} GFLOP")


def flops(network: Reusing, side: int, rows: int, whole: bool) -> int:
    config, network.whole = network.config, whole
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        alone = rows if config.pooled_width else 1  # what the prompts share is computed once
        x, time = torch.empty(alone, config.in_channels, side, side), torch.empty(alone)
        memory = network.remember(torch.empty(rows, 77, config.text_width))
        pooled = torch.empty(rows, config.pooled_width) if config.pooled_width else None
        begun = counter.get_total_flops()  # keys and values are made once a run
        network(x, time, memory, pooled=pooled)
        return counter.get_total_flops() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--count", type=int, default=4, help="pictures of each prompt")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--openvino", action="store_true", help="OpenVINO beside torch, in floats and in int8"
    )
    parser.add_argument("--only", default="", help="exact, and ways with this in their names")
    parser.add_argument("--shares", action="store_true", help="count multiplications, and nothing else")
    asked = parser.parse_args()
    if asked.shares:
        shares()
        return
    torch.set_num_threads(asked.threads)
    pipe = unnoise.load(asked.model)
    rows = {name: (pipe, make) for name, make in ways(pipe, asked.steps, asked.count).items()}
    if asked.openvino:
        exact = rows["exact"][1]
        rows["openvino"] = (pipe.with_engine("openvino"), exact)
        rows["openvino, cache 0.15"] = (rows["openvino"][0], rows["cache 0.15"][1])
        rows["openvino-int8"] = (pipe.with_engine("openvino-int8"), exact)
        rows["openvino-int8, cache 0.15"] = (rows["openvino-int8"][0], rows["cache 0.15"][1])
        rows["torch, float32"] = (unnoise.load(asked.model, dtype=torch.float32), exact)
        rows["openvino, float32"] = (rows["torch, float32"][0].with_engine("openvino"), exact)
    rows = {name: row for name, row in rows.items() if name == "exact" or asked.only in name}
    pictures: dict[str, Tensor] = {}
    seconds = dict.fromkeys(rows, float("inf"))
    for name, (of, make) in rows.items():
        if "openvino" in name:  # exported and compiled once
            make(of)
    for _ in range(asked.rounds):
        for name, (of, make) in rows.items():
            begun = time.process_time()
            pictures[name] = make(of)
            seconds[name] = min(seconds[name], time.process_time() - begun)
    exact = pictures["exact"]
    machine = platform.processor() or platform.machine()
    print(f"{asked.model}, {asked.steps} steps, {len(exact)} pictures, {pipe.model.network.dtype}, ", end="")
    print(f"{machine}, {asked.threads} thread(s), torch {torch.__version__}\n")
    print(f"{'way':34}  {'s':>7}  {'x':>5}  {'SSIM':>6}  {'worst':>6}  {'error':>6}")
    for name, made in pictures.items():
        alike = structural_similarity(made, exact)
        each, faster = seconds[name] / len(exact), seconds["exact"] / seconds[name]
        error = relative_error(made, exact)
        print(f"{name:34}  {each:7.4f}  {faster:5.2f}  {alike.mean():6.4f}  {alike.min():6.4f}  {error:6.4f}")


if __name__ == "__main__":
    main()
