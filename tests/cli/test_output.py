from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metabench.cli import main
from metabench.cli.output import echo


class Full:
    """A stream on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None: ...


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    echo("a\x1b[31m", nl=False)
    echo("b\x07", err=True)
    assert capsys.readouterr() == ("a\\x1b[31m", "b\\x07\n")


def test_a_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    echo("a\nmetabench: error: forged", err=True)
    assert capsys.readouterr().err == "a metabench: error: forged\n"


def test_messages_that_cannot_be_written_are_lost_and_results_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", Full())
    echo("a message", err=True)
    with pytest.raises(OSError, match="No space"):
        echo("a result")


PRINTS = """
import atexit, os, subprocess
import metabench

def say(where):
    print(where)
    os.write(1, b"from native code\\n")
    subprocess.run(["echo", "from a process"])

say("at import")
atexit.register(say, "at exit")

@metabench.hookimpl
def metabench_algorithms():
    say("in a hook")
    return []

@metabench.hookimpl
def metabench_report(results, out):
    say("in a report")
"""


def test_what_plugins_print_goes_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "prints.py").write_text(PRINTS)
    done = subprocess.run(
        [sys.executable, "-m", "metabench", "plugins", "--json", "-p", "prints.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "prints.py" in {row["name"] for row in json.loads(done.stdout)["plugins"]}
    for where in ("at import", "in a hook", "at exit"):
        assert where in done.stderr
    assert done.stderr.count("from native code") == done.stderr.count("from a process") == 3


def test_what_plugins_print_at_exit_goes_to_stderr_after_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "prints.py").write_text(PRINTS)
    done = subprocess.run(
        [sys.executable, "-m", "metabench", "run", "-a", "nothing", "-p", "prints.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "at exit" in done.stderr


def test_a_caller_in_python_gets_its_stdout_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prints.py").write_text(PRINTS.replace("atexit.register", "# "))
    assert main(["plugins", "--json", "-p", str(tmp_path / "prints.py")]) == 0
    json.loads(capfd.readouterr().out)
    subprocess.run(["echo", "mine"], check=True)
    print("mine too")
    assert sorted(capfd.readouterr().out.split("\n")) == ["", "mine", "mine too"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_a_file_that_is_stdout_gets_the_leaderboard_only(
    name: str, chance_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "prints.py").write_text(PRINTS)
    results = str(chance_run / "results-smoke")
    arguments = ["leaderboard", "--results", results, "--format", "csv", "-o", name]
    done = subprocess.run(
        [sys.executable, "-m", "metabench", *arguments, "-p", "prints.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("suite,"), done.stderr
    assert "at import" not in done.stdout


def test_a_full_disk_behind_a_table_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "metabench", "list", "backbones"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
