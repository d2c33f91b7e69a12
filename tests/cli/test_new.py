from __future__ import annotations

import subprocess
import sys

import pytest

from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources


def test_it_writes_a_plugin_and_a_test_and_prints_how_to_run_them(cli, tmp_path):
    code, out, err = cli("new", "my-algo")
    assert (code, err) == (0, "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["my_algo.py", "test_my_algo.py"]
    assert "metabench run -p my_algo.py -a my-algo -s digits-5w1s" in out
    assert "python -m pytest test_my_algo.py" in out


def test_the_plugin_loads_as_written(cli, tmp_path):
    cli("new", "my-algo2", "-q")
    plugins = load_plugins(PluginSources(plugins=(str(tmp_path / "my_algo2.py"),), restrict=()))
    assert plugins.warnings == []
    assert plugins.algorithm("my-algo2").spec.build.__name__ == "MyAlgo2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "folder"), [("prepend", "."), ("importlib", "."), ("importlib", "elsewhere")]
)
def test_the_test_passes_as_written(mode, folder, cli, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for name in ("my-algo", "my-other"):
        cli("new", name, "--dir", "sub")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", f"--import-mode={mode}", tmp_path / "sub"],
        cwd=tmp_path / folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.slow
def test_the_test_fails_when_the_learner_guesses(cli, tmp_path):
    cli("new", "my-algo")
    file = tmp_path / "my_algo.py"
    guess = "return torch.zeros(len(query_x), len(centroids))"
    text = file.read_text().replace("return -torch.cdist(query_x.flatten(1), centroids)", guess)
    assert guess in text
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_my_algo.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "chance is 0.2" in done.stdout


def test_another_folder_is_in_the_output(cli, tmp_path):
    (tmp_path / "plugs").mkdir()
    out = cli("new", "my-algo", "--dir", "plugs").out
    assert "-p plugs/my_algo.py" in out
    assert (tmp_path / "plugs" / "test_my_algo.py").is_file()


@pytest.mark.parametrize("taken", ["my_algo.py", "test_my_algo.py"])
def test_it_overwrites_nothing(taken, cli, tmp_path):
    (tmp_path / taken).write_text("mine")
    code, _, err = cli("new", "my-algo")
    assert code == 2
    assert f"{taken} exists" in err
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(taken, "mine")]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("My Algo", "such as 'my-algo'"),
        ("my_algo", "such as 'my-algo'"),
        ("MyAlgo", "such as 'my-algo'"),
        ("MAML2", "such as 'maml2'"),
        ("2fast", "such as 'fast'"),
        ("--", "lower-case words joined by hyphens"),
        ("lambda", "'lambda' is a keyword of Python"),
        ("none", "'None' is a keyword of Python"),
        ("true", "'True' is a keyword of Python"),
        ("test-x", "test_x.py would be a file for pytest, which --plugins-dir skips"),
        ("conftest", "conftest.py would be a file for pytest, which --plugins-dir skips"),
        ("maml", "plugin builtin already provides it"),
        ("random", "'random' is an installed module"),
        ("torch", "'torch' is an installed module"),
    ],
)
def test_a_name_that_cannot_be_used_is_a_usage_error(name, advice, cli, tmp_path):
    code, _, err = cli("new", "--", name)
    assert code == 2
    assert advice in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_usage_error(cli):
    code, _, err = cli("new", "my-algo", "--dir", "nowhere")
    assert code == 2
    assert "--dir nowhere: no such folder" in err
