"""From a prompt, or a picture and a prompt, to a picture, and what the picture was made of."""

from unnoise.pipelines.caching import FeatureCache
from unnoise.pipelines.combining import Guidance, Interval, Projected, Rescaled, Scale
from unnoise.pipelines.denoising import Denoising, Result, Step
from unnoise.pipelines.edit import Edit
from unnoise.pipelines.guidance import Condition, Guided
from unnoise.pipelines.image_to_image import ImageToImage
from unnoise.pipelines.inpaint import Inpaint
from unnoise.pipelines.merging import TokenMerging
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.repeat import Repeat
from unnoise.pipelines.second_pass import SecondPass, TwoPasses
from unnoise.pipelines.text_to_image import TextToImage, load
from unnoise.pipelines.verify import Verification, verify

__all__ = [
    "Condition",
    "Denoising",
    "Edit",
    "FeatureCache",
    "Guidance",
    "Guided",
    "ImageToImage",
    "Inpaint",
    "Interval",
    "Projected",
    "Recipe",
    "Repeat",
    "Rescaled",
    "Result",
    "Scale",
    "SecondPass",
    "Step",
    "TextToImage",
    "TokenMerging",
    "TwoPasses",
    "Verification",
    "load",
    "verify",
]
