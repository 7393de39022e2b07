import pytest

from tiny_model import tiny_model
from unnoise.pipelines import TextToImage


@pytest.fixture(scope="session")
def pipe():
    return TextToImage(tiny_model())
