"""What stands before the network that learns and does not learn itself: an autoencoder, and often the text encoders.

Each picture and each caption goes through them once, alone, so that what they say depends on no batch; then it is kept
(see `encoded`).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unnoise.checkpoints import Model
from unnoise.files import expanded
from unnoise.networks.vae import AutoEncoder, LatentGaussian
from unnoise.pipelines.prompting import embedded, stacked
from unnoise.text import Embedding
from unnoise.training.config import DataConfig
from unnoise.training.draws import Draws
from unnoise.training.encoded import Store, Tensors, content_hash
from unnoise.training.pictures import told_sizes

if TYPE_CHECKING:
    from unnoise.training.data import PictureSet


class Frozen:
    """The frozen part of a latent model at work on the data. Threads may share it.

    text: whether captions are read here; else the text encoders learn, and read them in every step.
    """

    def __init__(self, base: Model, config: DataConfig, text: bool) -> None:
        assert base.autoencoder is not None
        self._autoencoder: AutoEncoder = base.autoencoder
        self._base, self._mean, self._text = base, config.latents == "mean", text
        self._fits = not (config.shift or config.scale)  # else no picture comes twice
        folder = expanded(config.encoded_folder) if config.encoded_folder else None
        self._store = Store(int(config.encoded_mb) << 20, folder, int(config.encoded_folder_mb) << 20)
        on = f"{base.device.type} {torch.__version__}"  # which the last digits depend on
        self._keys = ("", "")
        if folder is not None:
            networks = [self._autoencoder, *(tower.encoder for tower in base.towers if text)]
            numbers, *encoders = (content_hash(network.state_dict().items()) for network in networks)
            how = [(tower.skip, tower.tokenizer.padding) for tower in base.towers]
            self._keys = (f"{on} {numbers}", f"{on} {encoders} {how}")
        self._key_of = functools.lru_cache(2**16)(self._key)  # the same captions come again and again
        self._lock = threading.RLock()

    def read(
        self,
        pictures: Tensor,
        places: Sequence[tuple[PictureSet, int]],
        captions: Sequence[str],
        draws: Draws,
        purpose: str,
    ) -> tuple[Tensor, Embedding | None, Tensor | None]:
        """What the network learns from (see `latents`), what the captions say (see `told`), and the sizes it is told.

        places: of which set each picture is, and which of that. sizes: (batch, 6), None where the network is told none.
        """
        sizes = None
        if self._base.size_ids:
            shown = (pictures.shape[2], pictures.shape[3])
            sizes = torch.tensor(
                [told_sizes(of.paths[index], shown) for of, index in places],
                dtype=torch.float32,
                device="cpu",
            )
        return self.latents(pictures, draws, purpose), self.told(captions), sizes

    def latents(self, pictures: Tensor, draws: Draws, purpose: str) -> Tensor:
        """Clean samples of the diffusion: (batch, latent channels, h, w) float32, on the CPU.

        pictures: (batch, C, H, W) in [-1, 1]. draws, purpose: of what the autoencoder says of each.
        """
        means, log_variances = zip(*map(self._gaussian, pictures), strict=True)
        found = LatentGaussian(torch.stack(means), torch.stack(log_variances))
        eps = draws.normal(purpose, found.mean.shape[1:])
        return self._autoencoder.scaled(found.mean if self._mean else found.sample(eps))

    def told(self, captions: Sequence[str]) -> Embedding | None:
        """What the captions say, on the CPU; None where the text encoders learn."""
        return stacked([self._embedded(caption) for caption in captions]) if self._text else None

    def _gaussian(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance: (latent channels, h, w) each, of one picture (C, H, W)."""

        def made() -> Tensors:
            found = self._autoencoder.encode(picture[None].to(self._base.device))
            return {"mean": found.mean[0], "log_variance": found.log_variance[0]}

        key = content_hash([("picture", picture)], self._keys[0]) if self._fits else ""
        tensors = self._kept(key, made)
        return tensors["mean"], tensors["log_variance"]

    def _embedded(self, caption: str) -> Embedding:
        def made() -> Tensors:
            row = embedded(self._base, [caption])
            mask = {} if row.mask is None else {"mask": row.mask}
            return {"hidden": row.hidden, "pooled": row.pooled, **mask}

        tensors = self._kept(self._key_of(caption), made)
        return Embedding(tensors["hidden"], tensors.get("mask"), tensors["pooled"], ("",), ((),))

    def _key(self, caption: str) -> str:
        ids = [tower.tokenizer.encode(caption) for tower in self._base.towers]
        return content_hash([], ids, self._keys[1])

    def _kept(self, key: str, make: Callable[[], Tensors]) -> Tensors:
        with self._lock, torch.no_grad():
            found = self._store.get(key) if key else None
            if found is None:
                found = {name: tensor.cpu().contiguous() for name, tensor in make().items()}
                if key:
                    self._store.put(key, found)
            return found
