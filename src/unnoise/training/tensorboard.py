"""What a run tells, as events that TensorBoard reads: RUN/tensorboard/. Needs the extra `unnoise[tensorboard]`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unnoise.errors import InputError
from unnoise.training.events import Event, Progress, Sampled, Validated


class Board:
    """Scalars and sample sheets of one run. Steps that a resumed run does again take the place of the old ones."""

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils import tensorboard

        writer: Any = tensorboard.SummaryWriter  # untyped, and absent without the extra
        self._writer = writer(str(run / "tensorboard"), purge_step=step + 1)

    def see(self, event: Event) -> None:
        """Write what the event measured, if anything."""
        match event:
            case Progress():
                self._numbers(
                    event.step,
                    {
                        "loss/batch": event.loss,
                        "gradient norm": event.gradient_norm,
                        "learning rate": event.lr,
                        "images per second": event.images_per_second,
                        "skipped steps": event.skipped,
                    },
                )
            case Validated():
                bands = {f"held-out bands/{place + 1}": loss for place, loss in enumerate(event.bands)}
                bits = {} if event.bits is None else {"bits per dim/held out": event.bits}
                self._numbers(event.step, {"loss/held out": event.loss, **bands, **bits})
            case Sampled():
                with Image.open(event.picture) as sheet:
                    pixels = np.asarray(sheet.convert("RGB"))
                self._writer.add_image("samples", pixels, event.step, dataformats="HWC")
                self._writer.flush()

    def close(self) -> None:
        """Put everything on the disk."""
        self._writer.close()

    def _numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)


def check() -> None:
    """Raises InputError where the package tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "run.tensorboard is true, but tensorboard is not installed: pip install 'unnoise[tensorboard]', or "
            "leave run.tensorboard out; the run's log.jsonl and report.html have the same figures."
        )
