"""Parts of Python that a plugin breaks when it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# what a plugin does when it is imported, and what the warning names
BREAKS = {
    "import builtins; builtins.open = builtins.len = builtins.isinstance = None": "builtins.open",
    "import builtins; builtins.__import__ = lambda *a, **k: None": "builtins.__import__",
    "import os; os.getcwd = os.path.realpath = None": "os.getcwd",
    "import os; os.environ.clear()": "the environment",
    "import os; os.close(1)": "file descriptor 1",
    "import os; os.close(2)": "file descriptor 2",
    "import json; json.dumps = lambda *a, **k: '{}'": "json.dumps",
    "import pathlib; pathlib.Path.resolve = None": "Path.resolve",
    "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)": "the handler of SIGCHLD",
    "import subprocess; subprocess.Popen = None": "subprocess.Popen",
    "import sys; sys.path.clear()": "sys.path",
    "import sys; sys.meta_path.clear()": "sys.meta_path",
    "import sys; sys.stdout = sys.stderr = None": "sys.stdout",
    "import sys; sys.setrecursionlimit(40)": "Python's recursion limit",
    "import os; os.umask(0o777)": "the umask",
    "import time; time.time = time.perf_counter = time.monotonic = lambda: 0.0": "time.time",
    "import threading; threading.Thread.start = None": "Thread.start",
}
HOOK = "\nimport metabench\n@metabench.hookimpl\ndef metabench_algorithms():\n    {}return []\n"


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metabench", *args]
    return subprocess.run(command, capture_output=True, text=True)


def test_what_plugins_break_is_restored_and_named(tmp_path: Path) -> None:
    for number, line in enumerate(BREAKS):
        (tmp_path / f"p{number:02}.py").write_text(HOOK.format("") + line)
    done = run("plugins", "--json", "--plugins-dir", tmp_path)
    assert done.returncode == 0
    assert done.stdout.count('"active"') == len(BREAKS) + 1
    for number, what in enumerate(BREAKS.values()):
        said = f"plugin 'p{number:02}.py' changes {what} when it is imported; it was restored"
        assert said in done.stderr


LINE = "import sys; sys.path.append('x'); sys.setrecursionlimit(5000)"


def test_what_plugins_add_stays_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(LINE + HOOK.format("assert 'x' in sys.path; "))
    done = run("list", "algorithms", "-p", tmp_path / "p.py")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_internal_error_names_the_options_of_plugins(tmp_path: Path) -> None:
    broken = HOOK.format("import metabench.cli.list_and_plugins as cli; cli.asdict = None; ")
    (tmp_path / "my plugin.py").write_text(broken)
    done = run("plugins", "--json", "-p", tmp_path / "my plugin.py")
    assert done.returncode == 1
    assert done.stderr.startswith("metabench: internal error: TypeError: ")
    assert "a plugin may be the cause: try without -p '" in done.stderr
    assert done.stderr.count("\n") == 1
