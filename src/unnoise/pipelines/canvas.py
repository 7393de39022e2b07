"""The picture that is painted on: which box is worked on, at what size, and how what was made goes back into it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from unnoise import images
from unnoise.errors import InputError
from unnoise.limits import is_whole, shown

Picture = Image.Image | Sequence[Image.Image] | Tensor
"""One for all, or one for each that is made; a tensor is (1 or pictures, channels, height, width) in [-1, 1]."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; the last two are outside."""

_LEAST = 1 / 255  # of a new pixel: less is not seen in eight bits
_MOST_ADDED = 4096


@dataclass(frozen=True, eq=False)
class Canvas:
    """A picture of which some places are to be new.

    picture: (1 or pictures, channels, height, width) in [-1, 1]. fresh: (1, 1, height, width) in [0, 1], 1 where
    wholly new, 0 where the picture stays. box: the part that is worked on. size: height and width at which.
    """

    picture: Tensor
    fresh: Tensor
    box: Box
    size: tuple[int, int]

    @property
    def part(self) -> Tensor:
        """What is worked on: the box at `size`, (1 or pictures, channels, *size)."""
        return resized(self._cut(self.picture), self.size)

    @property
    def hidden(self) -> Tensor:
        """(1, 1, *size) bool: True where anything is new."""
        return F.adaptive_max_pool2d(self._cut(self.fresh), self.size) > 0.0

    def with_part(self, made: Tensor) -> Tensor:
        """The whole pictures with what was made in their box: (pictures, channels, height, width).

        made: (pictures, channels, *size). Places that are not new keep every bit of the picture.
        """
        left, top, right, bottom = self.box
        part = resized(made, (bottom - top, right - left))
        fresh = self._cut(self.fresh).to(part)
        whole = self.picture.to(part).repeat(len(made) // len(self.picture), 1, 1, 1)
        whole[:, :, top:bottom, left:right] = torch.lerp(whole[:, :, top:bottom, left:right], part, fresh)
        return whole

    def _cut(self, x: Tensor) -> Tensor:
        left, top, right, bottom = self.box
        return x[:, :, top:bottom, left:right]

    def around_mask(self, padding: int) -> Canvas:
        """The same, worked on in the smallest box of the size's aspect that holds all that is new and `padding`.

        Where the picture has no room for that aspect the box is as near to it as can be; with nothing new, all of it.
        """
        rows, columns = (self.fresh[0, 0] > 0.0).any(dim=1), (self.fresh[0, 0] > 0.0).any(dim=0)
        if not bool(rows.any()):
            return self
        (top, bottom), (left, right) = (
            (int(line.nonzero()[0]), int(line.nonzero()[-1]) + 1) for line in (rows, columns)
        )
        height, width = self.picture.shape[2:]
        tall, wide = bottom - top + 2 * padding, right - left + 2 * padding
        aspect = self.size[1] / self.size[0]
        tall, wide = max(tall, math.ceil(wide / aspect)), max(wide, math.ceil(tall * aspect))
        top, bottom = _stretch(top, bottom, tall, height)
        left, right = _stretch(left, right, wide, width)
        return replace(self, box=(left, top, right, bottom))


def _stretch(low: int, high: int, length: int, room: int) -> tuple[int, int]:
    """`low` to `high` grown to `length` about their middle, moved to lie within 0 to `room`, or all of it."""
    length = min(length, room)
    start = min(max((low + high - length) // 2, 0), room - length)
    return start, start + length


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (batch, channels, height, width) at another size, bicubic without aliasing, held within [-1, 1]."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x.float(), size, mode="bicubic", antialias=True).clamp(-1.0, 1.0)


def fitted(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures at another size: the middle part of the size's aspect, then `resized`."""
    height, width = x.shape[2:]
    aspect = size[1] / size[0]
    tall, wide = min(height, max(1, round(width / aspect))), min(width, max(1, round(height * aspect)))
    top, left = (height - tall) // 2, (width - wide) // 2
    return resized(x[:, :, top : top + tall, left : left + wide], size)


def feathered(mask: Tensor, radius: float) -> Tensor:
    """A mask (1, 1, height, width) of 0 and 1 that fades out around its ones: min(1, 2 blurred), ones stay ones.

    radius: standard deviation of the Gaussian, in pixels. What is under 1/255 is 0.
    """
    if radius == 0.0:
        return mask
    reach = math.ceil(3.0 * radius)
    places = torch.arange(-reach, reach + 1, dtype=torch.float32, device=mask.device)
    kernel = torch.exp(-0.5 * (places / radius) ** 2)
    kernel = (kernel / kernel.sum()).reshape(1, 1, -1, 1)
    blurred = F.conv2d(F.pad(mask, (0, 0, reach, reach), mode="replicate"), kernel)
    blurred = F.conv2d(F.pad(blurred, (reach, reach, 0, 0), mode="replicate"), kernel.transpose(2, 3))
    soft = torch.maximum(mask, (2.0 * blurred).clamp(max=1.0))
    return soft * (soft >= _LEAST)


def read_picture(value: Picture, channels: int, count: int) -> Tensor:
    """(1 or count, channels, height, width) float32 in [-1, 1]. Raises InputError for anything else."""
    if not isinstance(value, Tensor):
        several = [value] if isinstance(value, Image.Image) else value
        pictures = isinstance(several, Sequence) and several and not isinstance(several, str)
        if not pictures or not all(isinstance(each, Image.Image) for each in several):
            raise InputError(
                f"picture is {shown(value)}; give a PIL picture, one for each that is made, or a tensor."
            )
        if len({each.size for each in several}) > 1:
            raise InputError("picture holds pictures of different sizes; give them one size, or one by one.")
        value = images.from_pil(several, channels)
    if value.ndim != 4 or value.shape[1] != channels or len(value) not in (1, count) or not value.numel():
        few = "" if count == 1 else f" or [{count}, {channels}, height, width]"
        raise InputError(f"picture is {list(value.shape)}; give [1, {channels}, height, width]{few}.")
    if not value.is_floating_point():  # a black one of bytes would be grey
        raise InputError(
            f"picture is of {value.dtype}; give floats within [-1, 1], as images.from_pil makes them."
        )
    low, high = value.aminmax()
    if not -1.001 <= float(low) <= float(high) <= 1.001:
        raise InputError(
            f"picture runs from {float(low):.4g} to {float(high):.4g}; give pixels within [-1, 1]."
        )
    return value.detach().cpu().float()


def read_mask(mask: Image.Image | Tensor, size: tuple[int, int]) -> Tensor:
    """(1, 1, height, width) float32 of 0 and 1: a picture's light places, or a tensor's from one half up, are new.

    Transparent places are not light: a mask may be strokes on an empty layer. size: height and width that it must
    have. Raises InputError.
    """
    if isinstance(mask, Image.Image):
        found = images.from_pil(images.in_mode(mask, "L", "black"), 1) * 0.5 + 0.5
    elif isinstance(mask, Tensor) and mask.numel() == math.prod(size) and tuple(mask.shape[-2:]) == size:
        found = mask.detach().cpu().float().reshape(1, 1, *size)
    else:
        given = list(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"mask is {given}; give a picture, or a tensor of shape {[1, 1, *size]}.")
    if tuple(found.shape[2:]) != size:
        raise InputError(
            f"the mask is {found.shape[3]}x{found.shape[2]} and the picture {size[1]}x{size[0]}; give a mask of the "
            "picture's size."
        )
    return (found >= 0.5).float()


def read_sides(sides: Sequence[int]) -> Box:
    """Pixels to add left, top, right and bottom, NumPy's numbers among them. Raises InputError for anything else."""
    each = sides if isinstance(sides, Sequence) else ()
    if len(each) != 4 or not all(is_whole(side, 0, _MOST_ADDED) for side in each) or not any(each):
        raise InputError(
            f"outpaint is {shown(sides)}; give the pixels to add left, top, right and bottom, such as (0, 0, 64, 0)."
        )
    left, top, right, bottom = map(int, each)
    return left, top, right, bottom


def outpainted(picture: Tensor, sides: Box) -> tuple[Tensor, Tensor]:
    """The picture with room added, and the mask that is 1 there.

    sides: pixels added left, top, right and bottom; there the border's pixels are repeated until they are painted.
    """
    left, top, right, bottom = sides
    around = (left, right, top, bottom)
    mask = F.pad(torch.zeros_like(picture[:1, :1]), around, value=1.0)
    return F.pad(picture, around, mode="replicate"), mask


def digest(x: Tensor) -> str:
    """The sha256 of a tensor's shape and of its numbers in [-1, 1] in steps of 1/127.5, as 8-bit pictures have them."""
    pixels = (x * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).contiguous()
    head = "x".join(map(str, x.shape)).encode()
    return hashlib.sha256(head + pixels.numpy().tobytes()).hexdigest()
