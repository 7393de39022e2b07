"""What the layers of a network are given while it makes pictures of its own: the ranges that int8 needs."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from weakref import WeakKeyDictionary

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.files import write_text
from unnoise.networks.unet import UNet
from unnoise.networks.unet.int8 import Range, Ranges, Watch, plain

PROMPTS = (
    "a photograph of a woman in a red coat, city street",
    "a painting of mountains above a lake at dawn",
)
"""For models whose card has none."""
MOST, STEPS, SEED = 4, 8, 0
"""Of the card's prompts; of each picture, by the model's own scheduler and guidance, from pure noise; of the first."""
_FORM = 1

_lock = threading.RLock()
_known: WeakKeyDictionary[UNet, Ranges] = WeakKeyDictionary()


def ranges_of(model: Model) -> Ranges:
    """Of the layers of the model's network: from the user's cache, or else seen now, while torch makes pictures.

    Always the same ones for the same weights: prompts, seeds and steps are fixed, and levels from pure noise to none
    are met. Raises InputError for a network that sees a picture beside the sample.
    """
    with _lock:
        if model.network not in _known:
            if model.beside:
                raise InputError(
                    "engine 'openvino-int8' is for networks that see nothing beside the sample, and this one sees a "
                    "picture; use engine 'openvino'."
                )
            _known[model.network] = _kept(model)
        return _known[model.network]


def _kept(model: Model) -> Ranges:
    from unnoise.networks.unet.openvino import cache_folder, digest_of

    told = [_FORM, prompts_of(model), STEPS, SEED, model.asdict(model.defaults), list(model.shape)]
    path = cache_folder() / f"{digest_of(told, *model.parts.values())}.json"
    try:
        return tuple(
            Range(str(name), float(low), float(high)) for name, low, high in json.loads(path.read_text())
        )
    except (OSError, ValueError, TypeError):  # not there, or damaged
        ranges = seen(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(ranges))
        return ranges


def prompts_of(model: Model) -> list[str]:
    """What the pictures are to show."""
    if not model.towers:
        return [""]
    told = model.card.get("prompts")
    return [str(prompt) for prompt in told][:MOST] if isinstance(told, list) and told else list(PROMPTS)


def seen(model: Model) -> Ranges:
    """The ranges of these pictures, each made alone, by torch."""
    from unnoise.pipelines.text_to_image import TextToImage

    network = plain(model.network)
    pipe = TextToImage(replace(model, network=network, engine="torch", refiner=None, base=None))
    with Watch(network) as watch:
        for place, prompt in enumerate(prompts_of(model)):
            pipe.denoise(prompt, steps=STEPS, seed=SEED + place).samples()
    return watch.ranges
