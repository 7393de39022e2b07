"""What `unnoise serve` refuses before it starts, each in one sentence. What it answers: tests/server, tests/faults."""

import socket
import subprocess
import sys

import pytest

from unnoise.cli import serve
from unnoise.cli.parser import parse
from unnoise.errors import InputError
from unnoise.server import Settings, address


@pytest.fixture(autouse=True)
def without_token(monkeypatch):
    monkeypatch.delenv("UNNOISE_TOKEN", raising=False)


def settings(*words):
    return serve.settings(parse(["serve", *words]))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--host", "0.0.0.0"], 2, "--token"),
        (["--host", "::"], 2, "--token"),
        (["--host", ""], 2, "--host"),
        (["--host", "no-such-name.invalid"], 2, "127.0.0.1"),
        (["--host", "192.0.2.1", "--token", "pine"], 2, "no such address"),
        (["--port", "70000"], 2, "0 to 65,535"),
        (["--token", ""], 2, "token_urlsafe"),
        (["--token", "two words"], 2, "plain characters"),
        (["--token", "ünlaut"], 2, "plain characters"),
        (["--allow-host", "http://paint.example"], 2, "without http://"),
        (["--allow-host", "*"], 2, "a name alone"),
        (["--queue", "0"], 2, "--queue"),
        (["--per-client", "no"], 2, "--per-client"),
        (["--drain", "-1"], 2, "--drain"),
        (["--keep", "0"], 2, "--keep"),
        (["--threads", "0"], 2, "--threads"),
        (["-m", "no-such-model"], 2, "no model"),
        (["-m", "./nowhere/model"], 1, "nowhere"),
        (["-m", "digits", "-m", "no-such-model"], 2, "no model"),
        (["--lora-dir", "nowhere"], 1, "nowhere"),
        (["-o", "taken.txt/folder"], 1, "not a folder"),
        (["--engine", "abacus"], 2, "--engine"),
        (["emoji"], 2, "one word too many"),
    ],
)
def test_one_sentence_says_what_is_wrong(run, tmp_path, words, status, said):
    (tmp_path / "taken.txt").write_text("")
    found, out, err = run("serve", *words)
    assert found == status
    assert not out
    assert said in err
    assert err.count("\n") == 1


def test_a_port_that_another_has(run):
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = run("serve", "-m", "digits", "--port", port)
    assert status == 1
    assert not out
    assert f"port {port} of 127.0.0.1 is in use" in err


def test_the_extra_is_named_where_it_is_missing(tmp_path):
    code = "import sys; sys.modules['starlette.applications'] = None; sys.modules['uvicorn'] = None\n"
    code += "from unnoise.cli import main; sys.exit(main(['serve', '-m', 'digits']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "pip install 'unnoise[serve]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_of_jobs_may_have_a_dot_in_its_name(tmp_path):
    assert settings("--output", str(tmp_path / "v1.2")).folder == tmp_path / "v1.2"


def test_what_is_typed_becomes_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read = settings(
        "-m", "digits", "-m", "emoji", "-m", "digits", "--host", "[::1]", "--allow-host", "paint.example"
    )
    assert read.models == ("digits", "emoji")
    assert read.host == "::1"
    assert read.hosts == ("paint.example",)
    assert list(tmp_path.iterdir()) == []  # nothing is made before it starts


def test_the_token_comes_from_either_place_and_is_shown_in_none(monkeypatch):
    monkeypatch.setenv("UNNOISE_TOKEN", "pine-needle")
    assert settings("--host", "0.0.0.0").token == "pine-needle"
    assert settings("--token", "fir-cone").token == "fir-cone"
    assert "pine-needle" not in repr(settings())


def test_the_owner_alone_may_fill_the_queue_and_one_of_many_may_not():
    assert settings("--queue", "40").limits.each_client == 40
    assert settings("--queue", "40", "--token", "pine").limits.each_client == 8
    assert settings("--queue", "40", "--token", "pine", "--per-client", "3").limits.each_client == 3


def test_numbers_that_only_others_reach_need_a_token():
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert settings("--host", host).host == host
    with pytest.raises(InputError, match="UNNOISE_TOKEN"):
        settings("--host", "10.0.0.8")
    for host in ("0.0.0.0", "::", "10.0.0.8"):  # nor is one listened at, whoever asks for it
        with pytest.raises(InputError, match="UNNOISE_TOKEN"):
            address.listening(Settings(host=host, port=0))
