"""What a person sees of a run while it goes on: pictures in the terminal, frames in a folder, an animation."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.cli import outputs
from unnoise.cli.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

    from unnoise.pipelines import Result, Step

_MOST = 120  # pictures of an animation: beyond, the eye sees no more and the file grows


@dataclass
class Watch:
    """Shows, saves and collects the predicted pictures as the steps go by.

    steps: how many there will be. show_every: which to show, and to save in `frames` (each where None). animate:
    the file that tells the whole way. folder: where the frames went, once there are any.
    """

    steps: int
    show_every: int | None = None
    frames: Path | None = None
    animate: Path | None = None
    folder: Path | None = None
    collected: list[Image] = field(default_factory=list)

    def see(self, step: Step, progress: Progress) -> None:
        """Look at one step, where it is one to look at."""
        last = step.index + 1 == self.steps
        shown = self.show_every is not None and ((step.index + 1) % self.show_every == 0 or last)
        framed = self.frames is not None and (shown or self.show_every is None)
        moving = self.animate is not None and step.index % math.ceil(self.steps / _MOST) == 0
        if not (shown or framed or moving):
            return
        picture = step.preview()
        if shown:
            self._show(step, picture, progress)
        if framed:
            self._save_frame(step, picture)
        if moving:
            self.collected.append(picture)

    def _show(self, step: Step, picture: Image, progress: Progress) -> None:
        from unnoise import images

        text = images.terminal_text(picture, images.terminal_colours(sys.stdout))
        progress.write(f"step {step.index + 1} of {self.steps}, noise {float(step.level.sigma):.3f}\n{text}")

    def _save_frame(self, step: Step, picture: Image) -> None:
        from unnoise import images

        assert self.frames is not None
        self.folder = self.folder or outputs.new_folder(self.frames)
        images.write_png(self.folder / f"step-{step.index + 1:04d}.png", picture)

    def finish(self, result: Result) -> dict[str, str]:
        """Write the animation; returns what was written beside the pictures."""
        from unnoise import images

        extra = {} if self.folder is None else {"frames": str(self.folder)}
        if self.animate is not None:
            frames = [*self.collected, images.grid(result.images)]
            names = outputs.candidates(self.animate, result.recipes[0].seed)
            path = outputs.save_new(names, lambda name: images.write_animation(name, frames))
            extra["animation"] = str(path)
        return extra
