"""From a prompt to a picture, and what the picture was made of."""

from unnoise.pipelines.guidance import Condition, Guided
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.text_to_image import Denoising, Result, Step, TextToImage, load

__all__ = ["Condition", "Denoising", "Guided", "Recipe", "Result", "Step", "TextToImage", "load"]
