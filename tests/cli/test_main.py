from __future__ import annotations

import errno
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import click
import pytest
from results_factory import make_result, store_results

import metabench
from metabench import cli as command_line
from metabench.cli.options import Common, common_options
from metabench.errors import DataError, NothingToRun, UsageError

MAIN = "import sys; from metabench.cli import main; code = main(); {after}; sys.exit(code)"


def spawn(*args: str, after: str = "pass", **kwargs) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN.format(after=after), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


@pytest.fixture
def verb(monkeypatch):
    """Make a function the verb `try`."""

    def make(function, *choices):
        command = click.command("try")(common_options(*choices)(function))
        monkeypatch.setattr(command_line, "_made", command, raising=False)
        monkeypatch.setitem(command_line.VERBS, "try", ("metabench.cli:_made", "Try."))

    return make


@pytest.mark.parametrize("name", list(command_line.VERBS))
def test_every_verb_is_a_command_with_a_help_page(name, cli):
    module, _, attr = command_line.VERBS[name][0].partition(":")
    assert isinstance(getattr(import_module(module), attr), click.Command)
    outcome = cli(name, "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: metabench {name}")


@pytest.mark.parametrize("args", [[], ["--help"]])
def test_help_names_every_verb(args, cli):
    code, out, err = cli(*args)
    assert (code, err) == (0, "")
    for name, (_, line) in command_line.VERBS.items():
        assert name in out
        assert line in out


def test_version(cli):
    assert cli("--version") == (0, f"metabench {metabench.__version__}\n", "")


@pytest.mark.parametrize("args", [["--help"], ["list"], ["plugins", "--json"]])
def test_light_verbs_import_nothing_heavy(args):
    heavy = "torch", "pandas", "sklearn", "matplotlib", "scipy", "torchvision"
    after = f"assert not set({heavy}) & set(sys.modules), set(sys.modules)"
    done = spawn(*args, after=after)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["lsit"], "unknown verb 'lsit': did you mean 'list'?"),
        (["list", "--jsn"], "No such option.*--json.*See metabench list --help."),
        (["--verison"], "No such option.*--version.*See metabench --help."),
        (["new"], "Missing argument 'NAME'.*See metabench new --help."),
    ],
)
def test_a_wrong_word_is_one_line_with_the_nearest_match(args, error, cli):
    code, out, err = cli(*args)
    assert (code, out) == (2, "")
    assert err.startswith("metabench: error: ")
    assert err.count("\n") == 1
    assert re.search(error, err)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("wrong"), 2, "metabench: error: wrong\n"),
        (DataError("damaged"), 2, "metabench: error: damaged\n"),
        (NothingToRun("no match"), 4, "metabench: error: no match\n"),
        (KeyboardInterrupt(), 130, "metabench: interrupted\n"),
        (
            ValueError("two\nlines"),
            1,
            "metabench: internal error: ValueError: two lines; run again with --debug\n",
        ),
    ],
)
def test_errors_become_exit_codes_and_one_line(error, code, line, cli, verb):
    def fail(common):
        raise error

    verb(fail)
    outcome = cli("try")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.lstrip("\n") == line


@pytest.mark.parametrize(("error", "code"), [(UsageError("wrong"), 2), (ValueError("wrong"), 1)])
def test_debug_adds_the_traceback_and_keeps_the_code(error, code, cli, verb):
    def fail(common):
        raise error

    verb(fail)
    outcome = cli("try", "--debug")
    assert outcome.code == code
    assert "Traceback (most recent call last)" in outcome.err
    assert "in fail" in outcome.err
    assert outcome.err.splitlines()[-1].endswith("wrong")


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_verb_decides_its_exit_code(returned, code, cli, verb):
    verb(lambda common: returned)
    assert cli("try").code == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_batch_system_ends_the_work_with_a_line(number, ignored, cli, verb):
    """Unless the caller ignores the signal, as nohup does."""

    def work(common):
        os.kill(os.getpid(), number)
        time.sleep(0.1)

    own = signal.SIG_IGN if ignored else signal.SIG_DFL
    before = signal.signal(number, own)
    try:
        verb(work)
        outcome = cli("try")
        assert signal.getsignal(number) == own
    finally:
        signal.signal(number, before)
    assert (outcome.code, outcome.out) == (0 if ignored else 128 + number, "")
    said = "" if ignored else f"metabench: ended by {number.name}\n"
    assert outcome.err.lstrip("\n") == said


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_streams_may_be_closed_or_full(closed, tmp_path):
    """Nothing is written to a closed stream, and no other file takes its place."""
    (tmp_path / "bad.py").write_text("raise ValueError")  # a warning
    command = f"{sys.executable} -m metabench list suites -p {tmp_path}/bad.py {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # the plugin was named
    assert ("digits-5w1s" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


def test_nobody_reading_the_output_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        command = [sys.executable, "-c", MAIN.format(after="pass"), "--help"]
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("args", [["--help"], ["list"], ["list", "--json"]])
def test_a_terminal_that_is_gone_is_a_closed_output(args):
    master, terminal = pty.openpty()
    os.close(master)
    command = [sys.executable, "-m", "metabench", *args]
    done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, text=True, check=False)
    os.close(terminal)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_machine_that_has_no_more_is_one_line(number, cli, verb):
    def fail(**_):
        raise OSError(number, os.strerror(number))

    verb(fail)
    code, _, err = cli("try")
    assert code == 2
    assert re.fullmatch(rf"metabench: error: .* \({os.strerror(number)}\); .*ulimit.*\n", err)


def test_a_disk_that_cannot_be_read_is_no_closed_output(cli, verb):
    def fail(**_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    verb(fail)
    code, _, err = cli("try")
    assert (code, "internal error: OSError" in err) == (1, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_output_is_one_line():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", MAIN.format(after="pass"), "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "metabench: error: cannot write: No space left on device\n"


def test_common_options_arrive_as_one_object(cli, verb, tmp_path):
    seen = []
    verb(lambda common: seen.append(common), "results", "data_root", "plugins")
    options = [
        "--results",
        "r",
        "--data-root",
        "d",
        "-p",
        "mod",
        "-p",
        "no:x",
        "--plugins-dir",
        "here",
        "-v",
    ]
    assert cli("try", *options).code == 0
    assert cli("try").code == 0
    given, default = seen
    assert (str(given.results), given.results_given, given.data_root) == ("r", True, "d")
    assert given.sources.plugins == ("mod", "no:x")
    assert given.sources.plugins_dirs == (str(tmp_path / "here"),)
    assert given.sources.restrict == ("builtin",)
    assert (given.verbose, given.quiet, given.debug) == (True, False, False)
    assert (default.results, default.results_given) == (Common().results, False)


def test_a_verb_takes_only_the_options_it_chose(cli, verb):
    verb(lambda common: None, "plugins")
    assert cli("try", "-p", "no:x").code == 0
    assert cli("try", "--results", "r").code == 2


@pytest.mark.parametrize(
    ("flags", "shown"), [((), "W"), (("-q",), ""), (("-v",), "IW"), (("-q", "-v"), "")]
)
def test_quiet_and_verbose_decide_what_is_logged(flags, shown, cli, verb):
    import logging

    def log(common):
        logging.getLogger("metabench.somewhere").info("I")
        logging.getLogger("metabench.somewhere").warning("W")

    verb(log)
    outcome = cli("try", *flags)
    assert outcome.out == ""
    assert "".join(line[-1] for line in outcome.err.splitlines()) == shown


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("leaderboard", "--diff", ""), "--diff"),
        (("gate", "--baseline="), "--baseline"),
        (("gate", "--baseline", ""), "--baseline"),
        (("run", "-p", ""), "-p"),
        (("why", ""), "an argument"),
    ],
)
def test_an_empty_argument_is_not_the_working_folder(cli, args, what):
    said = f"metabench: error: {what} is empty: give a value, or leave it out\n"
    assert cli(*args) == (2, "", said)


def test_a_configuration_that_is_a_broken_link_is_not_ignored(cli, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").symlink_to("nowhere")
    outcome = cli("list")
    assert outcome.code == 2
    assert outcome.err.startswith("metabench: error: cannot read bench.toml: ")


@pytest.mark.parametrize("args", [("gate", "--baseline"), ("list",), ("why",)])
def test_a_name_of_any_length_is_shortened(cli, args) -> None:
    outcome = cli(*args, "x" * 5000)
    assert outcome.code in (2, 4)
    assert "characters left out" in outcome.err
    assert len(outcome.err) < 1500


def test_an_interrupt_during_imports_is_one_line() -> None:
    code = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "metabench.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from metabench.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "metabench: interrupted\n")


BAD = "metabench: failed: plugin 'bad.py': ValueError: boom"


@pytest.mark.parametrize(
    "args",
    [
        ("list",),
        ("plugins",),
        ("status",),
        ("leaderboard",),
        ("compare", "good", "bad", "-s", "digits-5w1s"),
        ("why", "results/digits-5w1s/good/default-s0-smoke-cpu.json"),
        ("run", "-s", "digits-5w1s", "-a", "chance", "--dry-run"),
        ("check-data", "digits-5w1s"),
        ("export-manifest", "digits-5w1s", "--episodes", "2"),
    ],
    ids=lambda args: args[0],
)
def test_a_named_plugin_that_cannot_be_loaded_is_exit_code_1_of_every_verb(
    cli, tmp_path, args
) -> None:
    (tmp_path / "bad.py").write_text("raise ValueError('boom')")
    store_results(tmp_path / "results", [make_result("good"), make_result("bad")])
    assert cli(*args).code == 0
    (tmp_path / "digits-5w1s.json").unlink(missing_ok=True)
    shutil.rmtree(tmp_path / "digits-5w1s", ignore_errors=True)
    outcome = cli(*args, "-p", "bad.py")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (1, BAD)
    assert outcome.out or args[0] == "export-manifest"


def test_a_verbs_own_exit_code_comes_before_that_of_a_failed_plugin(cli, tmp_path) -> None:
    (tmp_path / "bad.py").write_text("raise ValueError('boom')")
    assert cli("status", "-p", "bad.py").code == 4
