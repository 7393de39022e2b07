"""Pictures at the edge of the package: PIL, arrays and files on one side, tensors in [-1, 1] on the other.

Tensors are float, (batch, channels, height, width), in [-1, 1]; arrays are float32, (height, width,
channels), in [0, 1]. Files are PNG, JPEG or WebP and their size is read from the header before anything is
decoded. A picture that left the finite numbers is an error here, never a black image.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps
from PIL.ExifTags import IFD, Base
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo, iTXt
from PIL.WebPImagePlugin import WebPImageFile

from unnoise.errors import FileError, InputError, NonFiniteError
from unnoise.files import expanded, replacing, write_bytes
from unnoise.limits import choice, floats, shown, typed, whole

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float32]

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
"""Of the files that are read as pictures."""

PIXEL_LIMIT = 64 * 2**20
"""Largest picture that is decoded, in pixels: more than cameras make; a small file can claim gigabytes."""

TEXT_LIMIT = 8 * 2**20
"""Most characters of text that are read from a picture, in all: recipes are small, graphs of nodes a megabyte."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_EIGHT_BITS = ("1", "L", "P", "LA", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV")
_EXIF_FIELDS = (Base.ImageDescription, Base.Make, Base.Model, Base.MakerNote, Base.UserComment)
_EXIF_CODES = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "utf-8", bytes(8): "utf-8"}


def to_arrays(pictures: Tensor) -> list[Array]:
    """Arrays (height, width, channels) in [0, 1] from a tensor (batch, channels, height, width) in [-1, 1].

    Float32. Values outside are cut to the range. Raises NonFiniteError where a picture holds nan or infinity,
    InputError for bytes, whose range nobody knows, and for another shape.
    """
    floats("pictures", pictures)
    if pictures.ndim != 4:
        raise InputError(
            f"pictures are of shape {list(pictures.shape)}; give (batch, channels, height, width)."
        )
    values = pictures.detach().float().cpu().permute(0, 2, 3, 1).numpy()
    for index, value in enumerate(values):
        if not np.isfinite(value).all():
            raise NonFiniteError(
                f"picture {index} holds numbers that are not finite; no image was made of it."
            )
    return [np.clip(value * 0.5 + 0.5, 0.0, 1.0).astype(np.float32) for value in values]


def array_to_pil(array: Array) -> Image.Image:
    """An 8-bit picture (L, RGB or RGBA) from one array (height, width, channels) in [0, 1]; InputError for another."""
    typed("array", array, np.ndarray, "to_arrays(pictures)[0]")
    if array.ndim != 3 or array.shape[-1] not in _MODES:
        raise InputError(
            f"a picture is of shape {list(array.shape)}; give (height, width, channels), with 1, 3 or 4 channels."
        )
    if array.dtype.kind != "f" or not (array.size and array.min() >= 0.0 and array.max() <= 1.0):
        raise InputError(
            f"a picture is {array.dtype}, {shown(array)}; give floats from 0 to 1, one at least."
        )
    pixels = np.rint(array * 255.0).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def to_pil(pictures: Tensor) -> list[Image.Image]:
    """8-bit pictures from a tensor (batch, channels, height, width) in [-1, 1]; channels 1, 3 or 4.

    Raises NonFiniteError for nan and infinity, InputError for another number of channels.
    """
    return [array_to_pil(array) for array in to_arrays(pictures)]


def from_pil(pictures: Image.Image | Sequence[Image.Image], channels: int = 3) -> Tensor:
    """Tensor (batch, channels, height, width) in [-1, 1], float32, from pictures of one size.

    Transparent places are laid on white unless channels is 4. Raises InputError for anything else.
    """
    import torch

    several = typed(
        "pictures", [pictures] if isinstance(pictures, Image.Image) else pictures, Sequence[Image.Image]
    )
    if len({picture.size for picture in several}) != 1:
        raise InputError("pictures are none, or of several sizes; give at least one, and all of one size.")
    mode = _MODES[choice("channels", channels, _MODES)]
    rows = [np.asarray(in_mode(picture, mode), dtype=np.float32) for picture in several]
    stacked = torch.from_numpy(np.stack(rows)).reshape(len(rows), *rows[0].shape[:2], channels)
    return stacked.permute(0, 3, 1, 2).contiguous() / 127.5 - 1.0


def in_mode(picture: Image.Image, mode: str, ground: str = "white") -> Image.Image:
    """The picture in PIL's mode "L", "RGB" or "RGBA"; without the last, transparent places are laid on `ground`.

    Raises InputError for wide numbers or floats, of which nobody says how much is white, and for LAB.
    """
    typed("picture", picture, Image.Image)
    choice("mode", mode, _MODES.values())
    if picture.mode.startswith("I;16"):  # PIL's own conversion would cut, not scale
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode not in _EIGHT_BITS:
        raise InputError(
            f"the picture has PIL's mode '{picture.mode}', which has no known white; give it as L, RGB or RGBA."
        )
    if mode != "RGBA" and picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, ground), layer)
    return picture.convert(mode)


def grid(pictures: Sequence[Image.Image], columns: int | None = None, gap: int = 2) -> Image.Image:
    """One picture with all of them in rows of `columns` (None: as square as can be), `gap` pixels apart."""
    gap, pictures = whole("gap", gap, 0), typed("pictures", pictures, Sequence[Image.Image])
    if not pictures:
        raise InputError("there are no pictures for a grid; give at least one.")
    if len(pictures) == 1:
        return pictures[0]
    columns = math.ceil(math.sqrt(len(pictures))) if columns is None else whole("columns", columns, 1)
    rows = math.ceil(len(pictures) / columns)
    width, height = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    sheet = Image.new(pictures[0].mode, (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * (width + gap), index // columns * (height + gap)))
    return sheet


def enlarge(picture: Image.Image, factor: int) -> Image.Image:
    """The picture with every pixel repeated `factor` times in both directions."""
    typed("picture", picture, Image.Image)
    factor = whole("factor", factor, 1)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


_SHADES = " .:-=+*#%@"


def terminal_colours(stream: TextIO) -> int:
    """Colours that `stream` shows: 2**24, 256, or 0 (not a terminal, NO_COLOR is set, or no half blocks)."""
    terminal = os.environ.get("TERM", "")
    if "NO_COLOR" in os.environ or terminal == "dumb" or not stream.isatty():
        return 0
    if "utf" not in (stream.encoding or "").lower():
        return 0
    direct = os.environ.get("COLORTERM") in ("truecolor", "24bit") or "WT_SESSION" in os.environ
    return 2**24 if direct else 256


def terminal_text(picture: Image.Image, colours: int = 2**24, columns: int | None = None) -> str:
    """The picture as lines of text for a terminal, at most `columns` wide, each line ending in a newline.

    columns: those of the terminal, at most 64, when None.
    With colours a character is a half block and shows two pixels, one above the other; without, a pixel is
    two characters of a grey ramp. Small pictures are enlarged by a whole factor: an 8x8 digit is readable.
    """
    columns = columns or max(2, min(64, shutil.get_terminal_size().columns))
    wide = columns if colours else columns // 2
    small = in_mode(picture, "RGB")
    readable = 32 if colours else 16
    if small.width * 2 <= readable:
        small = enlarge(small, readable // small.width)
    if small.width > wide:
        small = small.resize((wide, max(1, round(small.height * wide / small.width))), Image.Resampling.BOX)
    if not colours:
        return _grey_text(small)
    if small.height % 2:
        small = ImageOps.pad(small, (small.width, small.height + 1), centering=(0, 0))
    pixels = np.asarray(small).tolist()
    code, pairs = _direct if colours > 256 else _indexed, zip(pixels[::2], pixels[1::2], strict=True)
    return "".join(_half_blocks(above, below, code) for above, below in pairs)


def _grey_text(picture: Image.Image) -> str:
    level = np.asarray(picture.convert("L"), dtype=np.int64) * len(_SHADES) // 256
    return "".join("".join(_SHADES[value] * 2 for value in row).rstrip() + "\n" for row in level.tolist())


def _direct(colour: list[int]) -> str:
    return "2;" + ";".join(map(str, colour))


def _indexed(colour: list[int]) -> str:
    if max(colour) - min(colour) < 16:
        # the grey ramp has 24 finer levels (8, 18, ... 238) beside black and white
        level = round((sum(colour) / 3 - 8) / 10)
        return f"5;{16 if level < 0 else 231 if level > 23 else 232 + level}"
    red, green, blue = (max(0, round((value - 55) / 40)) for value in colour)
    return f"5;{16 + 36 * red + 6 * green + blue}"


def _half_blocks(above: list[list[int]], below: list[list[int]], code: Callable[[list[int]], str]) -> str:
    cells = (f"\x1b[38;{code(top)};48;{code(bottom)}m▀" for top, bottom in zip(above, below, strict=True))
    return "".join(cells) + "\x1b[0m\n"


def write_png(path: str | Path, picture: Image.Image, text: Mapping[str, str] | None = None) -> None:
    """Write a PNG atomically, with `text` as its text chunks (a recipe's are "parameters" and "unnoise")."""
    write_bytes(expanded(path), png_bytes(picture, text))


def png_bytes(picture: Image.Image, text: Mapping[str, str] | None = None) -> bytes:
    """What `write_png` writes."""
    typed("picture", picture, Image.Image)
    chunks = PngInfo()
    for name, value in typed("text", {} if text is None else text, Mapping[str, str]).items():
        # Latin-1, which plain chunks hold, may look like UTF-8
        add = chunks.add_text if value.isascii() else chunks.add_itxt
        add(name, value.encode("utf-8", "replace").decode())
    made = io.BytesIO()
    picture.save(made, format="PNG", pnginfo=chunks)
    return made.getvalue()


def write_animation(path: str | Path, frames: Sequence[Image.Image]) -> None:
    """Write an animated WebP or GIF, by the name's ending, atomically.

    It runs three seconds, holds the last frame for one and a half more, and starts again. Frames of another size, as
    those of a first pass, are brought to the last one's; narrower than 256 pixels, all are enlarged by a whole factor.
    Raises InputError for another ending, and where there are no frames.
    """
    path, frames = expanded(path), typed("frames", frames, Sequence[Image.Image])
    kind = {".webp": "WEBP", ".gif": "GIF"}.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"animation '{path}' ends in '{path.suffix}'; give a name ending in .webp or .gif.")
    if not frames:
        raise InputError(f"animation '{path}' has no frames; give at least one.")
    size = frames[-1].size
    factor = max(1, math.ceil(256 / size[0]))
    shown = [enlarge(frame.convert("RGB").resize(size), factor) for frame in frames]
    each = max(20, round(3000 / len(shown)))  # browsers slow anything under 20 ms down to 100
    durations = [each] * (len(shown) - 1) + [each + 1500]
    with replacing(path) as temporary:
        shown[0].save(
            temporary,
            format=kind,
            save_all=True,
            append_images=shown[1:],
            duration=durations,
            loop=0,
            lossless=True,  # of WebP; a GIF always is
        )


def open_picture(path: str | Path, content: bytes | None = None) -> Image.Image:
    """The decoded picture of a PNG, JPEG or WebP file, turned upright as its EXIF says.

    content: its bytes, where they are known already. Raises FileError, naming the file: missing, of another kind,
    damaged, or of more than PIXEL_LIMIT pixels.
    """
    with _opened(path, content) as picture:
        picture.load()
        try:
            return ImageOps.exif_transpose(picture)
        except Exception:  # PIL raises many kinds; a broken mark is no fault of the pixels
            return picture.copy()


def read_text(path: str | Path, content: bytes | None = None) -> dict[str, str]:
    """The texts in a picture by name: a PNG's chunks, and EXIF fields that hold text.

    content: its bytes, where they are known already. A PNG that has none before its pixels is decoded, for the chunks
    behind them. Raises FileError, also for texts of more than TEXT_LIMIT characters.
    """
    with _opened(path, content) as picture:
        text = _info_text(picture)
        if not text and isinstance(picture, PngImageFile):
            picture.load()
            text = _info_text(picture)
        with contextlib.suppress(Exception):  # as in `open_picture`
            text |= _exif_text(picture)
    length = sum(map(len, text.values()))
    if length > TEXT_LIMIT:
        raise FileError(f"'{path}' holds {length:,} characters of text; at most {TEXT_LIMIT:,} are read.")
    return text


def _info_text(picture: ImageFile.ImageFile) -> dict[str, str]:
    return {str(name): _unicode(value) for name, value in picture.info.items() if isinstance(value, str)}


def _unicode(value: str) -> str:
    """Of a chunk that should be Latin-1, as PIL reads it; stable-diffusion.cpp and others write UTF-8 there."""
    if isinstance(value, iTXt):
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _exif_text(picture: ImageFile.ImageFile) -> dict[str, str]:
    exif = picture.getexif()
    fields = {**exif, **exif.get_ifd(IFD.Exif)}
    told = {field.name: _exif_value(fields[field]) for field in _EXIF_FIELDS if field in fields}
    return {name: value for name, value in told.items() if value}


def _exif_value(value: object) -> str:
    """Text of an EXIF field; a comment of bytes begins with the name of its code."""
    if isinstance(value, str):
        return value.strip("\0 ")
    if not isinstance(value, bytes) or value[:8] not in _EXIF_CODES:
        return ""
    code, rest = _EXIF_CODES[value[:8]], value[8:]
    if code == "utf-16-be" and rest[1::2].count(0) > rest[::2].count(0):
        code = "utf-16-le"  # the order is that of the file's header, or of the program's taste
    return rest.decode(code, errors="replace").strip("\0 \ufeff")


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels as stored, before any turn that EXIF asks for, from the header. Raises FileError."""
    with _opened(path) as picture:
        return picture.size


def upright_size(path: str | Path, content: bytes | None = None) -> tuple[int, int]:
    """Width and height in pixels of what `open_picture` gives, from the header. Raises FileError."""
    with _opened(path, content) as picture:
        width, height = picture.size
        lying = picture.getexif().get(Base.Orientation, 1) in (5, 6, 7, 8)
    return (height, width) if lying else (width, height)


def recipe_json(text: Mapping[str, str]) -> dict[str, Any] | None:
    """What the "unnoise" text chunk of a picture says; None when there is none or it is no JSON object."""
    try:
        found = json.loads(text.get("unnoise", ""))
    except (ValueError, RecursionError):  # nested without end: a picture may come from anyone
        return None
    return found if isinstance(found, dict) else None


@contextlib.contextmanager
def _opened(path: str | Path, content: bytes | None = None) -> Iterator[ImageFile.ImageFile]:
    path = expanded(path) if content is None else Path(path)
    try:
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            head = file.read(32)
            file.seek(0)
            if head[8:16] == b"WEBPVP8X":  # PIL reserves the whole canvas as it opens a WebP: look before
                width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
                _check_pixels(path, width, height)
            picture = _reader(path, head)(file)
            _check_pixels(path, picture.width, picture.height)
            yield picture
    except FileError:
        raise
    except FileNotFoundError:
        fault = f"'{path}' links to nothing" if path.is_symlink() else f"there is no file '{path}'"
        raise FileError(f"{fault}; give a PNG, JPEG or WebP picture.") from None
    except Exception as error:  # decoders raise many kinds for damaged data
        reason = getattr(error, "strerror", None) or f"it is damaged or cut short ({error})"
        if "MAX_TEXT" in str(error):  # one packed text of more than a megabyte, or 64 of all
            reason = "it holds more text than PIL reads; save it again without its texts"
        raise FileError(f"cannot read the picture '{path}': {reason}.") from error


def _reader(path: Path, head: bytes) -> type[ImageFile.ImageFile]:
    # the classes themselves, not Image.open: its own size check only warns, and comes after ours could
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImageFile
    found = "is empty" if not head else "is not a PNG, JPEG or WebP picture"
    raise FileError(f"'{path}' {found}; give one of these.")


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT:
        raise FileError(
            f"'{path}' has {width} x {height} pixels; at most {PIXEL_LIMIT:,} in all are read. Make it smaller."
        )
