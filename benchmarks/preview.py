"""What a look at a latent costs beside a step, at Stable Diffusion's number of channels and sizes of latents.

    python benchmarks/preview.py [--threads N]

The UNet has a quarter of the widths of Stable Diffusion 1.5 (a sixteenth of the work of a step), so that the share is
an upper bound for the real one, with an autoencoder of a quarter of the widths for the fit. A step asks the UNet for
both halves of guidance. The map is fitted once a run, by decoding a latent of 16 x 16 places.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from unnoise.checkpoints import Model
from unnoise.networks import AutoEncoder, AutoEncoderConfig, TextEncoder, TextEncoderConfig, UNet, UNetConfig
from unnoise.pipelines.latents import Look
from unnoise.process import DiscreteVP
from unnoise.text import Tokenizer

UNET = UNetConfig(
    in_channels=4, out_channels=4, widths=(80, 160, 320, 320), blocks=2, attention=(1, 1, 1, 0), heads=8,
    norm_groups=16, text_width=192,
)  # fmt: skip
VAE = AutoEncoderConfig(widths=(32, 64, 128, 128), blocks=2)


def seconds(work: Callable[[], object], times: int) -> float:
    """Processor time, which others' work does not change: the median of several runs after one that is not counted."""
    taken = []
    for _ in range(times + 1):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return statistics.median(taken[1:])


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    model = Model(
        network=UNet(UNET).eval(),
        schedule=DiscreteVP.scaled_linear(),
        shape=(4, 64, 64),
        text_encoder=TextEncoder(TextEncoderConfig(width=192, layers=1, heads=3)).eval(),
        tokenizer=Tokenizer(),
        autoencoder=AutoEncoder(VAE).eval(),
    )
    latent, text = torch.randn(1, 4, 64, 64), torch.randn(2, 77, 192)
    step = seconds(lambda: model.network(torch.cat([latent, latent]), time=500.0, text=text), 3)
    fit, look = seconds(lambda: Look(model).map, 1), Look(model)
    one = seconds(lambda: look(latent), 20)
    print(f"a step, both halves, of a quarter of SD 1.5's widths   {1e3 * step:8.1f} ms")
    print(
        f"a look at its latent, 64x64 -> 512x512 pixels          {1e3 * one:8.1f} ms  {one / step:7.2%} of the step"
    )
    share = fit / step / 20
    print(
        f"the map's fit, once a run                              {1e3 * fit:8.1f} ms  {share:7.2%} a step of 20"
    )


if __name__ == "__main__":
    main()
