import json

import pytest
import torch

from tiny_model import save_tiny, tiny_model
from unnoise import checkpoints
from unnoise.errors import CheckpointError, FileError, InputError
from unnoise.process import EDM, DiscreteVP, Flow


def state(model):
    parts = [part for part in (model.network, model.text_encoder) if part is not None]
    return [tensor for part in parts for tensor in part.state_dict().values()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


def test_every_number_and_setting_comes_back(folder):
    before, after = tiny_model(), checkpoints.load(folder)
    assert all(torch.equal(a, b) for a, b in zip(state(before), state(after), strict=True))
    for name in ("schedule", "prediction", "variance", "clip", "shape", "defaults", "card"):
        assert getattr(after, name) == getattr(before, name)
    assert after.tokenizer.config() == before.tokenizer.config()
    assert (after.name, len(after.sha256)) == ("tiny", 64)


def test_a_loaded_model_is_ready_to_use(folder):
    model = checkpoints.load(folder)
    assert not model.network.training
    assert not any(weight.requires_grad for weight in model.network.parameters())
    assert model.network.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": False},
        {"channels": 3, "variance": "learned_range", "schedule": DiscreteVP.linear()},
        {"schedule": DiscreteVP.cosine().zero_terminal_snr()},
        {"schedule": EDM(), "prediction": "edm", "clip": None},
        {"schedule": Flow(3.0), "prediction": "flow"},
    ],
)
def test_every_kind_of_model_comes_back(tmp_path, changes):
    before = tiny_model(**changes)
    after = checkpoints.load(checkpoints.save(before, tmp_path / "model"))
    assert after.schedule == before.schedule
    assert all(torch.equal(a, b) for a, b in zip(state(before), state(after), strict=True))


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path, folder):
    small = checkpoints.save(tiny_model(), tmp_path / "half", dtype=torch.float16)
    whole, half = (checkpoints.inspect(path).size for path in (folder, small))
    assert half < 0.65 * whole
    model = checkpoints.load(small)
    assert model.network.dtype == torch.float32
    assert checkpoints.load(small, dtype=torch.bfloat16).network.dtype == torch.bfloat16


def test_what_is_saved_in_any_dtype_can_be_loaded(tmp_path):
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8):
        path = checkpoints.save(tiny_model(), tmp_path / str(dtype), dtype=dtype)
        assert checkpoints.load(path, dtype=torch.float64).network.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.int16, torch.bool, torch.complex64, torch.float8_e4m3fn, "float16"])
def test_a_dtype_in_which_no_network_computes_is_refused(tmp_path, folder, dtype):
    """Whole numbers would round every weight to 0 in silence."""
    words = f"dtype is {dtype!r}; give one of torch.float32"
    with pytest.raises(InputError, match=words):
        checkpoints.save(tiny_model(), tmp_path / "model", dtype=dtype)
    with pytest.raises(InputError, match=words):
        checkpoints.load(folder, dtype=dtype)


@pytest.mark.parametrize("device", ["mps", "xpu", "cuda:77"])
def test_a_device_that_is_not_there_is_told_before_anything_is_read(device):
    with pytest.raises(InputError, match=f"device is '{device}', and torch .* has no such device here"):
        checkpoints.load("nothing at all", device=device)


def test_a_folder_is_written_where_the_shell_would(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert save_tiny("~/model") == tmp_path / "model"


def test_a_description_is_read_as_editors_leave_it_and_names_its_folder(folder, tmp_path):
    (tmp_path / "mine").mkdir()
    for file in folder.iterdir():
        mark = b"\xef\xbb\xbf" if file.suffix == ".json" else b""
        (tmp_path / "mine" / file.name).write_bytes(mark + file.read_bytes())
    assert checkpoints.load(tmp_path / "mine" / "model.json").name == "mine"


@pytest.mark.parametrize("name", ["x" * 300, "./" + "x" * 300, "a/" + "x" * 300])
def test_a_name_that_no_system_takes_is_no_model(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises((InputError, CheckpointError), match=r"there is no|no file or folder"):
        checkpoints.load(name)
    with pytest.raises((InputError, FileError), match=r"there is no|no file or folder"):
        checkpoints.inspect(name)


def test_saving_never_replaces(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(FileError, match="exists"):
        save_tiny(tmp_path / "model")


def test_a_model_with_nan_is_not_saved(tmp_path):
    model = tiny_model()
    model.network.conv_in.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"not finite.*network\.conv_in\.weight"):
        checkpoints.save(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_parts_that_do_not_belong_together_are_no_model():
    model = tiny_model()
    for changes in ({"tokenizer": None}, {"text_encoder": None, "tokenizer": None}, {"shape": (3, 8, 8)}):
        with pytest.raises(InputError):
            checkpoints.Model(**{**vars(model), **changes})


def test_defaults_are_checked():
    for table in ({"stesp": 3}, {"steps": 0}, {"steps": 2.5}, {"guidance": float("nan")}, {"scheduler": 3}):
        with pytest.raises(InputError):
            checkpoints.Defaults.from_table(table)


def test_a_run_gives_its_model_then_its_newest_whole_checkpoint(tmp_path):
    run = tmp_path / "run"
    for step in (100, 200, 300):
        model = save_tiny(run / "checkpoints" / f"step-{step:06d}" / "model")
        entries = {f"model/{f.name}": {"size": f.stat().st_size} for f in model.iterdir()}
        (model.parent / "manifest.json").write_text(json.dumps({"files": entries}))
    torn = run / "checkpoints" / "step-000300" / "model" / "weights.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    assert checkpoints.find(run) == run / "checkpoints" / "step-000200" / "model"
    assert checkpoints.load(run).name == "run"
    save_tiny(run / "model")
    assert checkpoints.find(run) == run / "model"


def test_a_run_without_a_checkpoint_says_so(tmp_path):
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(CheckpointError, match="no complete checkpoint yet"):
        checkpoints.find(tmp_path)


def test_foreign_files_are_told_apart(tmp_path):
    from safetensors.torch import save_file

    save_file({"model.diffusion_model.x": torch.zeros(1)}, tmp_path / "sd.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "lone.safetensors")
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02")
    (tmp_path / "old.bin").write_bytes(b"\x80\x02")
    (tmp_path / "model_index.json").write_text("{}")
    for path, words in (
        (tmp_path / "sd.safetensors", "no model that is known here"),
        (tmp_path / "lone.safetensors", r"no model that is known here \(its first tensor is 'x'\)"),
        (tmp_path / "old.ckpt", "a pickle that holds more than tensors, or is damaged"),
        (tmp_path / "old.bin", "a pickled checkpoint; this version reads model folders"),
        (tmp_path, "describes a 'None'; known are StableDiffusionPipeline"),
        (tmp_path / "none.safetensors", "there is no"),
        (tmp_path / "none", "there is no"),
    ):
        with pytest.raises(CheckpointError, match=words):
            checkpoints.load(path)


def test_an_unknown_name_is_answered_with_the_nearest(monkeypatch, folder):
    from unnoise.checkpoints import locations

    monkeypatch.setattr(locations, "SHIPPED", folder.parent)
    assert checkpoints.find("tiny") == folder
    with pytest.raises(InputError, match="no model 'tinny'; the nearest are tiny"):
        checkpoints.find("tinny")


def test_every_shipped_model_loads_and_has_a_card():
    for name in checkpoints.shipped():
        model = checkpoints.load(name)
        assert model.name == name
        assert model.card


def test_a_summary_tells_what_a_folder_holds(folder):
    found = checkpoints.inspect(folder)
    assert found.kind == "model"
    assert found.parameters == sum(tensor.numel() for tensor in state(tiny_model()))
    assert found.details["intact"]
    assert found.short_hash == found.sha256[:10]
    whole = checkpoints.inspect(folder / "weights.safetensors")
    assert (whole.kind, whole.sha256, whole.dtypes) == ("weights", found.sha256, found.dtypes)
