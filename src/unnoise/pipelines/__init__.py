"""From a prompt to a picture, and what the picture was made of."""

from unnoise.pipelines.guidance import Condition, Guided
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.repeat import Repeat
from unnoise.pipelines.text_to_image import Denoising, Result, Step, TextToImage, load
from unnoise.pipelines.verify import Verification, verify

__all__ = [
    "Condition",
    "Denoising",
    "Guided",
    "Recipe",
    "Repeat",
    "Result",
    "Step",
    "TextToImage",
    "Verification",
    "load",
    "verify",
]
