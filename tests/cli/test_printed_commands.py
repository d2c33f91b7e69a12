"""Commands that verbs print, pasted into a shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace
from results_factory import make_result, store_results

NAME = os.fsdecode(b'-it\'s $HOME [a] "q" caf\xe9')

# what a verb prints, as a pattern that finds a command or its options, by the verb that prints it
PRINTED = {
    "new's run": (("new", "x-y", "--dir", NAME), "run it: +(.*)"),
    "new's test": (("new", "x-y", "--dir", NAME), "test it: +(.*)"),
    "nothing stored": (("status", "--results", NAME), "make some with: (.*)"),
    "nothing stored, plugin": (("status", "--plugins-dir", NAME), "make some with: (.*)"),
    "nothing stored, --config": (
        ("status", "--config", f"{NAME}/bench.toml"),
        "make some with: (.*)",
    ),
    "nothing in a baseline": (("gate", "--baseline", NAME), "make some with: (.*)"),
    "an old table": (
        ("leaderboard", "--check", "--results", "stored", "-o", f"{NAME}/t.md"),
        "write it with: (.*)",
    ),
    "a folder of plugins": (("list", "-p", f"./{NAME}"), "use (.*)"),
    "a folder, not a module": (("list", "-p", NAME), "use (.*)"),
    "a failed cell": (
        ("run", "-s", "digits-5w1s", "-a", "bad", "-p", "bad.py", "--results", NAME),
        "see (metabench why .*)",
    ),
}
BAD = """\
import metabench
def build(task):
    raise ValueError("bad")
@metabench.hookimpl
def metabench_algorithms():
    return [metabench.Algorithm("bad", build)]
"""


def words(command: str) -> list[str]:
    """Return the words that bash reads."""
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
    )
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("printed", PRINTED)
def test_a_path_is_read_back_whole_and_not_as_an_option(
    printed: str, cli, tmp_path: Path, chance_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(chance_run / "results-smoke", "stored")
    if "not a module" not in printed:
        Path(NAME).mkdir()
        Path(NAME, "bench.toml").write_text("")
    else:
        Path(f"{NAME}.py").write_text("")
    Path("bad.py").write_text(BAD)
    args, pattern = PRINTED[printed]
    outcome = cli(*args)
    command = re.search(pattern, outcome.out + outcome.err)
    assert command is not None, outcome
    found = words(command[1])
    k = next(k for k, word in enumerate(found) if NAME in word)
    assert {NAME, f"{NAME}.py"} & {*Path(found[k]).absolute().parts}
    assert found[k - 1].startswith("-") or not found[k].startswith("-")


def test_the_options_of_a_recorded_plugin_are_read_back(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded = make_result("gone")
    assert recorded.environment is not None
    option = r"-p $'caf\xe9 \x27x\x27.py'"
    environment = replace(recorded.environment, plugins=[option])
    store_results(tmp_path / "results", [replace(recorded, environment=environment)])
    out = cli("status").out
    assert words(out.partition("; add ")[2].strip())[1] == os.fsdecode(b"caf\xe9 'x'.py")
