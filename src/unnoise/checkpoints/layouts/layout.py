"""A layout: the names and shapes under which another program keeps the tensors of one of our networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Form = Literal["same", "pixels", "transposed"]
Shape = tuple[int, ...]

_SEVERAL = re.compile(r"<([^>]*)>")


class Source(NamedTuple):
    """Where one tensor of ours lies: in the tensors `names`, joined along the first axis.

    form: "same"; "pixels", there a 1x1 convolution of what is a linear layer here; "transposed".
    """

    names: tuple[str, ...]
    form: Form

    def shape(self, ours: Shape) -> Shape:
        """Of each of those tensors, where ours has the shape `ours`."""
        part = (ours[0] // len(self.names), *ours[1:]) if ours else ours
        if self.form == "transposed":
            return part[::-1]
        return (*part, 1, 1) if self.form == "pixels" else part


@dataclass(frozen=True)
class Layout:
    """From a name of ours to a `Source`.

    rename: our name to theirs; `<q|k|v>` in it stands for several tensors that are one of ours.
    pixels, transposed: whether the tensor of our name has that form there. prefix: goes before every name.
    """

    rename: Callable[[str], str]
    prefix: str = ""
    pixels: Callable[[str], bool] = lambda name: False
    transposed: Callable[[str], bool] = lambda name: False

    def source(self, name: str) -> Source:
        """Where the tensor that we call `name` lies."""
        theirs = self.prefix + self.rename(name)
        match = _SEVERAL.search(theirs)
        names: tuple[str, ...] = (theirs,)
        if match is not None:
            names = tuple(theirs.replace(match[0], choice) for choice in match[1].split("|"))
        if self.pixels(name):
            return Source(names, "pixels")
        return Source(names, "transposed" if self.transposed(name) else "same")

    def shapes(self, ours: Mapping[str, Shape]) -> dict[str, Shape]:
        """Every tensor of the layout with its shape, where ours have the shapes `ours`."""
        found: dict[str, Shape] = {}
        for name, shape in ours.items():
            source = self.source(name)
            found |= dict.fromkeys(source.names, source.shape(shape))
        return found


def renamer(rules: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """A function that applies rules (pattern, replacement) to a name, one after the other."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def rename(name: str) -> str:
        for pattern, replacement in compiled:
            name = pattern.sub(replacement, name)
        return name

    return rename
