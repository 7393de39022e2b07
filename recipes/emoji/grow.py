"""Twice the side: a trained model as the inside of one for larger pictures, to begin its training with.

    python recipes/emoji/grow.py MODEL FOLDER

The larger network has one more, finer level outside; all others are the old network's. Inside it, a picture arrives
at half the size, where each pixel is the mean of four and its noise half as strong: so the time that the old levels
hear is shifted by log 2. The new level begins by handing on: means of 2x2 pixels inwards, the old features outwards. So
the grown model knows from the start where things are, and has to learn the finer half of what they look like.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from unnoise import checkpoints
from unnoise.checkpoints import Model
from unnoise.networks import UNet, UNetConfig
from unnoise.networks.unet.embedding import Embedding
from unnoise.networks.unet.residual import Downsample, ResidualBlock, Upsample

LOUDER = 1.5
"""Half the noise means that the old levels had their input scaled up more: up to twice, where noise drowns the rest."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = grown(checkpoints.load(options.model))
    saved = checkpoints.save(model, options.folder)
    print(f"{saved}: {model.shape[1]}x{model.shape[2]} pixels, widths {list(model.network.config.widths)}")


def grown(model: Model) -> Model:
    """The model for pictures of twice the side; what is not handed on begins at random, from torch's generator."""
    old = model.network
    assert isinstance(old, UNet)
    assert (model.prediction, old.config.patch, old.config.sinusoid) == ("edm", 2, "adm")
    network = UNet(outer_level(old.config))
    transplant(old, network)
    hear_half_the_noise(network.time_embedding, old.config)
    hand_in(old, network)
    hand_out(old, network)
    colours, height, width = model.shape
    return replace(model, network=network.eval(), shape=(colours, 2 * height, 2 * width))


def outer_level(config: UNetConfig) -> UNetConfig:
    """One more level of the first width, without attention."""
    widths, attention = (config.widths[0], *config.widths), (0, *config.attention)
    return replace(config, widths=widths, attention=attention)


def transplant(old: UNet, new: UNet) -> None:
    """Every level of the old network one level deeper; the way up counts from the coarsest and keeps its numbers."""
    weights = new.state_dict()
    for name, tensor in old.state_dict().items():
        if name.startswith(("conv_", "norm_out.")):
            continue
        part, _, rest = name.partition(".")
        if part == "down_blocks":
            level, _, rest = rest.partition(".")
            rest = f"{int(level) + 1}.{rest}"
        weights[f"{part}.{rest}"] = tensor
    new.load_state_dict(weights)


@torch.no_grad()
def hear_half_the_noise(embedding: Embedding, config: UNetConfig) -> None:
    """Shifts the time that the embedding hears from log(sigma) / 4 to log(sigma / 2) / 4, exactly.

    A shift of the time turns each pair of cosine and sine by an angle, and the first layer takes that turn up.
    """
    weight = embedding.linear1.weight
    count = weight.shape[1] // 2
    frequency = torch.exp(-math.log(10000) * torch.arange(count, dtype=torch.float64) / count)
    angle = math.log(2) / 4 * config.time_scale * frequency
    cosines, sines = weight.double().chunk(2, dim=1)
    cosines, sines = (
        cosines * angle.cos() - sines * angle.sin(),
        cosines * angle.sin() + sines * angle.cos(),
    )
    weight.copy_(torch.cat((cosines, sines), dim=1))


@torch.no_grad()
def hand_in(old: UNet, new: UNet) -> None:
    """The first layers show the old levels what their own first layer made of the picture at half the size.

    Some channels of the first layer hold the mean colours of the 3x3 patches around each; from these the layer of
    stride two forms the old layer's sums over 6x6 pixels. Their last row and column lie out of its reach, and the
    fifth stand in: so it is exact, up to `LOUDER`, where those are alike or the old layer does not look at the sixth.
    """
    down = new.down_blocks[0].downsample
    assert isinstance(down, Downsample)
    colours = new.config.in_channels
    new.conv_in.weight[: 9 * colours] = 0
    kernel = torch.zeros_like(down.conv.weight)
    for colour, y, x in product(range(colours), range(3), range(3)):
        new.conv_in.weight[9 * colour + 3 * y + x, 4 * colour : 4 * colour + 4, y, x] = LOUDER / 4
    for colour, y, x, row, column in product(range(colours), range(2), range(2), range(3), range(3)):
        (step_y, rest_y), (step_x, rest_x) = _reach(2 * row + y), _reach(2 * column + x)
        sums = old.conv_in.weight[:, 4 * colour + 2 * y + x, row, column]
        kernel[:, 9 * colour + 3 * rest_y + rest_x, step_y, step_x] += sums
    down.conv.load_state_dict({"weight": kernel, "bias": old.conv_in.state_dict()["bias"]})


def _reach(offset: int) -> tuple[int, int]:
    """A pixel's place among the six as a tap of the layer of stride two and a tap of the first layer, 0 to 2 each."""
    away = min(offset, 4) - 2
    step = max(-1, min(1, away))
    return step + 1, away - step + 1


@torch.no_grad()
def hand_out(old: UNet, new: UNet) -> None:
    """The last layers show what comes up from inside: each old prediction as the mean of its four pixels."""
    inner, outer = new.up_blocks[-2], new.up_blocks[-1]
    assert isinstance(inner.upsample, Upsample)
    width = new.config.widths[0]
    inner.upsample.conv.weight.copy_(_centre(torch.eye(width)))
    for block in outer.modules():
        if isinstance(block, ResidualBlock):
            block.shortcut.get_parameter("weight").copy_(torch.eye(width, 2 * width)[:, :, None, None])
    new.norm_out.load_state_dict(old.norm_out.state_dict())
    last = old.conv_out.state_dict()
    sums = {"weight": _centre(_alike(last["weight"].sum(dim=(2, 3)))), "bias": _alike(last["bias"])}
    new.conv_out.load_state_dict(sums)


def _alike(rows: Tensor) -> Tensor:
    """Four rows a colour, one for each pixel of a patch: each becomes the mean of its four."""
    return rows.view(-1, 4, *rows.shape[1:]).mean(1).repeat_interleave(4, 0)


def _centre(matrix: Tensor) -> Tensor:
    """A 3x3 convolution whose middle is the matrix and whose rim is zero."""
    kernel = torch.zeros(*matrix.shape, 3, 3)
    kernel[:, :, 1, 1] = matrix
    return kernel


if __name__ == "__main__":
    main()
