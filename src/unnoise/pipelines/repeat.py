"""A picture made again from what it says of itself, and what of that cannot be done here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.checkpoints.adapters import Lora
from unnoise.checkpoints.model import Model
from unnoise.checkpoints.recipes import FoundRecipe
from unnoise.errors import InputError
from unnoise.pipelines import repeat_foreign as foreign
from unnoise.pipelines import repeat_own as own
from unnoise.pipelines.recipe import Recipe, written_in
from unnoise.pipelines.recipe_adapters import without_tags
from unnoise.pipelines.repeat_parts import Folders, Parts, Steering
from unnoise.pipelines.repeat_variant import ENTRY, SECOND, begin, missing_picture

if TYPE_CHECKING:
    from PIL import Image

    from unnoise.pipelines.denoising import Denoising
    from unnoise.pipelines.second_pass import TwoPasses
    from unnoise.pipelines.text_to_image import TextToImage

_OPTIONS = {"init": "--init", "mask": "--mask"}


@dataclass(frozen=True)
class Repeat:
    """How to make a picture again: `repeat.denoise(pipe).result()`.

    program: who made it. options: arguments that every pipeline has. notes: what is not honoured, a sentence each.
    own: whether it is a picture of ours, whose recipe lacks nothing. variant: as `Recipe.variant`. arguments: of
    that variant's pipeline alone. init_hash, mask_hash: of the pictures that it began from, where they are known.
    loras, words, controls: to be loaded first. clip_skip: to be set first; 0 for none. batch: of a picture of ours, as
    `Recipe.batch`.
    """

    program: str
    options: Mapping[str, Any]
    notes: tuple[str, ...]
    own: bool
    variant: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    init_hash: str = ""
    mask_hash: str = ""
    loras: tuple[Lora, ...] = ()
    words: tuple[tuple[Path, str], ...] = ()
    controls: tuple[Steering, ...] = ()
    clip_skip: int = 0
    batch: int = 0

    @classmethod
    def of(
        cls,
        path: str | Path,
        model: Model,
        lora_dir: str | Path | None = None,
        prompt: str | None = None,
        *,
        embedding_dir: str | Path | None = None,
        control_dir: str | Path | None = None,
    ) -> Repeat:
        """How `model` makes the picture in this file again.

        lora_dir, embedding_dir, control_dir: where the LoRAs, the textual inversions, and the ControlNets with their
        pictures that it names, and the model does not have, are looked for, by name and by hash. prompt: what is said
        instead; the LoRAs that only the picture's prompt asks for are left out then.
        Raises FileError where it holds no recipe or too much text, InputError for a recipe that makes no sense.
        """
        return cls.of_found(written_in(path), model, Folders(lora_dir, embedding_dir, control_dir), prompt)

    @classmethod
    def of_found(
        cls, found: Recipe | FoundRecipe, model: Model, folders: Folders, prompt: str | None = None
    ) -> Repeat:
        """The same of what was found in a picture (`written_in`)."""
        if isinstance(found, Recipe):
            program, recipe, read = "unnoise", found, own.read(found, model)
        else:
            program, recipe, read = found.program, Recipe.from_found(found), foreign.read(found, model)
        options, loras = dict(read.options), read.loras
        if prompt is not None:
            options["prompt"] = prompt
            loras = [one for one in loras if one.name not in read.asked]
        parts = Parts(model, folders, loras, read.others)
        options["prompt"] = without_tags(options["prompt"], options.get("prompt_style", ""), parts.missing)
        unread = () if recipe is found else tuple(foreign.word_for_word(options))
        if unread:
            options["prompt_style"] = "plain"
        return cls(
            program=program,
            options=options,
            notes=(*read.notes, *parts.notes, *unread, *read.more),
            own=recipe is found,
            variant=read.variant,
            arguments=read.arguments,
            init_hash=recipe.init_hash,
            mask_hash=recipe.mask_hash,
            loras=tuple(parts.loras),
            words=tuple(parts.words),
            controls=tuple(parts.controls),
            clip_skip=read.clip_skip,
            batch=recipe.batch if recipe is found else 0,
        )

    def in_its_batch(self) -> Repeat:
        """The picture as many times at once as pictures were when it was made."""
        several = {"count": self.batch, "seed": None, "seeds": [self.options["seed"]] * self.batch}
        return replace(self, options={**self.options, **several})

    def adapted(self, pipe: TextToImage, live: bool = False) -> TextToImage:
        """The pipeline with what must be loaded or set first. Raises CheckpointError for files of another family."""
        for file, word in self.words:
            pipe = pipe.with_word(file, word)
        for one in self.controls:
            pipe = pipe.with_control(one.file, one.picture, one.strength, start=one.start, end=one.end)
        if self.clip_skip and self.clip_skip != pipe.model.clip_skip:
            pipe = pipe.with_clip_skip(self.clip_skip)
        return pipe.with_loras(self.loras, live=live) if self.loras else pipe

    def denoise(
        self,
        pipe: TextToImage,
        init: Image.Image | None = None,
        mask: Image.Image | None = None,
        *,
        live: bool = False,
    ) -> Denoising | TwoPasses:
        """The run that makes it again. pipe: of the model that this was read for.

        init, mask: the pictures that it was begun from. live: as of `with_loras`.
        Raises InputError where a picture is needed.
        """
        variant, arguments = self.begun(init is not None, mask is not None)
        options = dict(self.options)
        prompt = options.pop("prompt")
        pictures = {"init": init, "mask": mask} if variant not in ("", SECOND) else {}
        return begin(
            self.adapted(pipe, live), prompt, options, arguments, second=variant == SECOND, **pictures
        )

    def begun(self, init: bool, mask: bool) -> tuple[str, dict[str, Any]]:
        """The variant, and its arguments, that can be made with these pictures given.

        Another program's is made with what there is. Raises InputError where a picture of ours needs one more.
        """
        lacking = missing_picture(self.variant, self.arguments, init, mask)
        if not lacking:
            return self.variant, dict(self.arguments)
        if self.own:
            digest = {"init": self.init_hash, "mask": self.mask_hash}[lacking][:10]
            what = "from another picture" if lacking == "init" else "with a mask"
            raise InputError(
                f"this picture was made {what}, which its recipe does not hold (hash {digest or 'none'}); give that "
                f"file with {_OPTIONS[lacking]} FILE."
            )
        entry = {name: value for name, value in self.arguments.items() if name in ENTRY}
        return ("image to image", entry) if init else ("", {})

    def differences(self, made: Recipe) -> tuple[str, ...]:
        """What `made`, the recipe of the run, was begun from that this was not, a sentence each."""
        return tuple(
            f"{_OPTIONS[name]} (hash {ours[:10]}) is not the picture that it was made with (hash {theirs[:10]})"
            for name, theirs, ours in (
                ("init", self.init_hash, made.init_hash),
                ("mask", self.mask_hash, made.mask_hash),
            )
            if theirs and ours and not ours.startswith(theirs)
        )
