"""Settings of the process, put back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from metabench.plugins.process_state import import_settings, put_back

HALF_IMPORTED = """
import sys, threading
from metabench.plugins.process_state import import_settings
other = threading.Thread(target=__import__, args=("torch",))
other.start()
while "torch" not in sys.modules:
    pass
print(len(import_settings()))
other.join()
"""


def test_torch_may_be_on_its_way_in_by_another_thread() -> None:
    command = [sys.executable, "-c", HALF_IMPORTED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"


def test_threads_do_not_put_back_what_others_change(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside, go_on = threading.Event(), threading.Event()

    def change_folder() -> list[str]:
        with put_back(import_settings) as changed:
            os.chdir("/")
            inside.set()
            go_on.wait(30)
        return changed

    def change_nothing() -> list[str]:
        with put_back(import_settings) as changed:
            go_on.set()
        return changed

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(change_folder)
        inside.wait(30)
        second = pool.submit(change_nothing)
        assert not go_on.wait(0.2)  # it waits for the first one
        go_on.set()
        assert first.result() == ["the working folder"]
        assert second.result() == []
    assert Path.cwd() == tmp_path
