"""What the layers of a network are given while it makes pictures of its own: the spans that int8 needs."""

from __future__ import annotations

import threading
from dataclasses import asdict, replace
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.files import write_bytes
from unnoise.networks.unet import UNet
from unnoise.networks.unet.int8 import Spans, Watch, plain

PROMPTS = (
    "a photograph of a woman in a red coat, city street",
    "a painting of mountains above a lake at dawn",
)
"""For models whose card has none."""
MOST, STEPS, SEED = 4, 8, 0
"""Of the card's prompts; of each picture, by the model's own scheduler and guidance, from pure noise; of the first."""
_FORM = 2

_lock = threading.RLock()
_known: WeakKeyDictionary[UNet, dict[object, Spans]] = WeakKeyDictionary()


def spans_of(model: Model) -> Spans:
    """Of the layers of the model's network: from the user's cache, or else seen now, while torch makes pictures.

    Prompts, seeds and steps are fixed, and levels from pure noise to none are met. Raises InputError for a network that
    sees a picture beside the sample.
    """
    if model.beside:
        raise InputError(
            "engine 'openvino-int8' is for networks that see nothing beside the sample, and this one sees a picture; "
            "use engine 'openvino'."
        )
    model = _alone(model)
    use = (model.schedule, model.prediction, model.clip, model.defaults, model.text_skip)
    with _lock:
        known = _known.setdefault(model.network, {})
        if use not in known:
            known[use] = _kept(model)
        return known[use]


def _alone(model: Model) -> Model:
    """The network with all that no picture of a calibration has: text as it was trained with, and no company."""
    return replace(model.base or model, network=model.network, engine="torch", refiner=None, clip_skip=0)


def _kept(model: Model) -> Spans:
    """The name has all that they depend on: of the weights those that speak to the network, not the autoencoder's."""
    from unnoise.networks.unet.openvino import cache_folder, digest_of

    how = [_FORM, prompts_of(model), STEPS, SEED, asdict(model.defaults), list(model.shape)]
    means = [model.schedule.config(), model.prediction, model.variance, model.clip]
    texts = [(one.encoder.config.to_dict(), one.tokenizer.config(), one.skip) for one in model.towers]
    told = [how, means, model.network.config.to_dict(), texts]
    path = cache_folder() / f"{digest_of(told, *model.parts.values())}.safetensors"
    try:
        return Spans({name: (low, high) for name, (low, high) in load_file(path).items()})
    except (OSError, SafetensorError):  # not there, or damaged
        spans = seen(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, save({name: torch.stack(span) for name, span in spans.layers.items()}))
        return spans


def prompts_of(model: Model) -> list[str]:
    """What the pictures are to show."""
    if not model.towers:
        return [""]
    told = model.card.get("prompts")
    return [str(prompt) for prompt in told][:MOST] if isinstance(told, list) and told else list(PROMPTS)


def seen(model: Model) -> Spans:
    """What is met while these pictures are made, each alone, by torch."""
    from unnoise.pipelines.text_to_image import TextToImage

    network = plain(model.network)
    pipe = TextToImage(replace(model, network=network))
    with Watch(network) as watch:
        for place, prompt in enumerate(prompts_of(model)):
            pipe.denoise(prompt, steps=STEPS, seed=SEED + place).samples()
    return watch.spans
