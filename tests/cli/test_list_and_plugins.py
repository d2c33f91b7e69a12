from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest
from click import unstyle

PLUGIN = """
    import metabench

    @metabench.hookimpl
    def metabench_algorithms():
        yield metabench.Algorithm(
            "mine", build="x:y", params={"lr": 0.1, "fast": True}, tags={"floor"},
            regression=metabench.Defaults(params={"lr": 0.5}),
            reference="a [paper]", tasks={"regression", "classification"},
        )

    @metabench.hookimpl
    def metabench_suites():
        digits = "metabench.data.digits:load"
        yield metabench.Suite("digits-2w1s", digits, way=2, shot=1, query=3, episodes=7)

    @metabench.hookimpl
    def metabench_backbones():
        yield metabench.Backbone("tiny", build="x:y")
"""


@pytest.fixture
def plugin(tmp_path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(textwrap.dedent(PLUGIN))
    return file


def listed(outcome, kind: str, name: str) -> dict:
    assert outcome.code == 0, outcome.err
    (entry,) = [e for e in json.loads(outcome.out)[kind] if e["name"] == name]
    return entry


def test_everything_is_listed_with_its_provider(cli, plugin):
    code, out, err = cli("list", "-p", plugin)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line for line in lines if line in ("algorithms", "suites", "backbones")] == [
        "algorithms",
        "suites",
        "backbones",
    ]
    for name, provider in (("mine", "mine.py"), ("digits-2w1s", "mine.py"), ("tiny", "mine.py")):
        (line,) = [line for line in lines if line.startswith(name)]
        assert provider in line
    for name in ("pixel-1nn", "digits-5w1s", "conv4"):
        assert any(line.startswith(name) for line in lines)


@pytest.mark.parametrize(
    ("kind", "first", "absent"),
    [
        ("algorithms", "mine", "digits-2w1s"),
        ("suites", "digits-2w1s", "tiny"),
        ("backbones", "tiny", "mine "),
    ],
)
def test_one_kind_is_listed_alone(kind, first, absent, cli, plugin):
    code, out, _ = cli("list", kind, "-p", plugin)
    assert code == 0
    assert out.startswith(f"{kind}\nname ")
    assert first in out
    assert not any(line.startswith(absent) for line in out.splitlines())


def test_piped_columns_are_aligned(cli, plugin):
    _, out, _ = cli("list", "suites", "-p", plugin)
    header, *rows = out.splitlines()[1:]
    start = header.index("provider")
    assert all(row[start - 1] == " " and row[start] != " " for row in rows)


def test_an_algorithm_as_json(cli, plugin):
    assert listed(cli("list", "algorithms", "--json", "-p", plugin), "algorithms", "mine") == {
        "name": "mine",
        "params": {"lr": 0.1, "fast": True},
        "for_regression": {"lr": 0.5},
        "tasks": ["classification", "regression"],
        "tags": ["floor"],
        "provider": "mine.py",
        "reference": "a [paper]",
    }


def test_a_suite_as_json(cli, plugin):
    assert listed(cli("list", "--json", "-p", plugin), "suites", "digits-2w1s") == {
        "name": "digits-2w1s",
        "dataset": "digits",
        "way": 2,
        "shot": 1,
        "query": 3,
        "episodes": 7,
        "metric": "accuracy",
        "provider": "mine.py",
    }


def test_a_backbone_as_json(cli, plugin):
    outcome = cli("list", "backbones", "--json", "-p", plugin)
    assert set(json.loads(outcome.out)) == {"schema", "backbones"}
    assert listed(outcome, "backbones", "tiny") == {
        "name": "tiny",
        "params": {},
        "choices": {},
        "provider": "mine.py",
        "reference": "",
    }


def test_the_choices_of_parameters_are_listed(cli):
    assert "bn=episode|support|running|none" in cli("list", "backbones").out
    conv4 = listed(cli("list", "backbones", "--json"), "backbones", "conv4")
    assert conv4["choices"] == {"bn": ["episode", "support", "running", "none"]}


def test_parameters_read_as_they_are_typed(cli, plugin):
    assert "lr=0.1 fast=true" in cli("list", "algorithms", "-p", plugin).out


def test_nothing_to_list_is_an_empty_table(cli, monkeypatch):
    monkeypatch.setenv("METABENCH_PLUGINS", "")
    assert cli("list", "algorithms") == (0, "algorithms\nname\n", "")


def test_a_terminal_gets_a_ruled_table(cli, plugin, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = cli("list", "algorithms", "-p", plugin)
    assert code == 0
    assert "│" in out
    assert "a [paper]" in out  # brackets are text, not markup


@pytest.mark.parametrize("kind", ["algorithms", "suites", "backbones"])
@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_words(kind, width, cli, monkeypatch):
    piped = cli("list", kind).out.split()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", f"{width}")
    _, *table = unstyle(cli("list", kind).out).splitlines()
    last = table.pop() if table[-1].startswith("columns that do not fit: ") else ""
    assert max(map(len, table)) <= width
    assert {word for line in table for word in re.split(r"[\s━─│┃┏┳┓┡╇┩└┴┘]+", line)} <= {
        "",
        *piped,
    }
    assert ("provider" in last) == (not any("provider" in line for line in table))


def test_an_unknown_catalogue_is_a_usage_error(cli):
    code, _, err = cli("list", "suits")
    assert code == 2
    assert err == "metabench: error: unknown catalogue 'suits': did you mean 'suites'?\n"


def test_a_warning_of_a_plugin_is_one_line_that_quiet_hides(cli, tmp_path):
    (tmp_path / "loud.py").write_text(
        "import metabench, warnings\n"
        "warnings.warn('a\\x1b[31m\\nmetabench: error: b')\n"
        "@metabench.hookimpl\ndef metabench_algorithms(): return []\n"
    )
    code, _, err = cli("list", "-p", "loud.py")
    assert code == 0
    assert err.startswith("metabench: warning: ")
    assert err.endswith("loud.py, line 2: UserWarning: a\\x1b[31m metabench: error: b\n")
    assert err.count("\n") == 1
    assert cli("list", "-q", "-p", "loud.py").err == ""


def test_a_named_plugin_that_fails_is_a_warning_and_exit_code_1(cli, tmp_path):
    (tmp_path / "bad.py").write_text("raise ValueError('boom')")
    code, out, err = cli("list", "-p", "bad.py")
    assert code == 1
    assert "pixel-1nn" in out
    failed = "metabench: failed: plugin 'bad.py': ValueError: boom\n"
    assert err == f"metabench: warning: plugin 'bad.py' failed: ValueError: boom\n{failed}"
    assert cli("list", "-q", "-p", "bad.py").err == failed


def test_plugins_shows_active_blocked_and_failed_ones(cli, plugin, tmp_path):
    (tmp_path / "bad.py").write_text("raise ValueError('boom')")
    (tmp_path / "hook.py").write_text(
        "import metabench\n@metabench.hookimpl\ndef metabench_backbones(): 1 / 0\n"
    )
    args = ("-p", plugin, "-p", "bad.py", "-p", "hook.py", "-p", "no:builtin")
    code, out, err = cli("plugins", *args)
    assert code == 1
    assert err.splitlines() == [
        "metabench: failed: plugin 'bad.py': ValueError: boom",
        "metabench: failed: plugin 'hook.py': metabench_backbones: "
        "ZeroDivisionError: division by zero",
    ]
    for words in (
        ("builtin", "blocked", "by -p no:builtin"),
        ("mine.py", "active", "algorithms, backbones, suites", str(plugin)),
        ("bad.py", "failed", "ValueError: boom", str(tmp_path / "bad.py")),
        ("hook.py", "failed", "metabench_backbones: ZeroDivisionError: division by zero"),
    ):
        (line,) = [line for line in out.splitlines() if line.startswith(words[0])]
        assert all(word in line for word in words), line
    rows = json.loads(cli("plugins", "--json", *args).out)["plugins"]
    assert [(row["name"], row["status"]) for row in rows] == [
        ("builtin", "blocked"),
        ("mine.py", "active"),
        ("bad.py", "failed"),
        ("hook.py", "failed"),
    ]
    assert set(rows[0]) == {"name", "version", "origin", "hooks", "status", "error", "named"}


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_plugins_warns_of_a_name_that_is_no_plugin(args, cli, monkeypatch):
    monkeypatch.setenv("METABENCH_PLUGINS", "builtin,epgk")
    outcome = cli("plugins", "-p", "no:epk", *args)
    assert outcome.code == 0
    blocked, restricted = outcome.err.splitlines()
    assert blocked.startswith("metabench: warning: -p no:epk: unknown plugin 'epk'")
    assert restricted.startswith("metabench: warning: METABENCH_PLUGINS=epgk: unknown plugin")
    assert cli("plugins", "-q", "-p", "no:epk", *args).err == ""


def test_plugins_warns_of_a_plugin_without_hooks(cli, tmp_path):
    (tmp_path / "empty.py").touch()
    assert "plugin 'empty.py' has no hooks: mark " in cli("plugins", "-p", "empty.py").err


def test_plugins_still_shows_its_table_when_two_provide_one_name(cli, plugin, tmp_path):
    (tmp_path / "copy.py").write_text(plugin.read_text())
    code, out, err = cli("plugins", "-p", plugin, "-p", "copy.py")
    assert code == 0
    assert "copy.py" in out
    assert "two plugins provide the algorithm 'mine': mine.py and copy.py" in err


def test_a_missing_plugin_is_a_usage_error(cli):
    code, _, err = cli("list", "-p", "nowhere.py")
    assert code == 2
    assert err.endswith("nowhere.py: no such file\n")
