import pytest
import torch

from tiny_model import save_tiny
from unnoise.cli import main


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small compute faster than threads can wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a model that every command can use."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Type a command in an empty folder: run("generate", "a seven") -> status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def type_in(*words):
        status = main([str(word) for word in words])
        told = capsys.readouterr()
        return status, told.out, told.err

    return type_in
