from __future__ import annotations

import pytest

from metabench.errors import DataError, MetabenchError, NothingToRun, UsageError, reason, unknown


def test_a_near_name_is_suggested():
    error = unknown("algorithm", "protonte", ["maml", "protonet"])
    assert str(error) == "unknown algorithm 'protonte': did you mean 'protonet'?"


def test_without_a_near_name_the_known_ones_are_listed_in_order():
    assert str(unknown("suite", "zzz", ["b", "a"])) == "unknown suite 'zzz': known: a, b"


def test_a_long_list_of_known_names_is_cut():
    message = str(unknown("suite", "?", [f"name-{i:02}" for i in range(21)]))
    assert "name-19" in message
    assert "name-20" not in message
    assert message.endswith(", ...")


def test_nothing_known_is_said():
    assert str(unknown("backbone", "conv4", [])) == "unknown backbone 'conv4': none is known"


def test_a_hint_is_appended_as_it_is():
    message = str(unknown("algorithm", "x", [], hint="Plugins that failed to load: y."))
    assert message.endswith("none is known. Plugins that failed to load: y.")


@pytest.mark.parametrize("kind", [UsageError, DataError, NothingToRun])
def test_every_error_is_a_metabench_error(kind):
    assert issubclass(kind, MetabenchError)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file", "a"), "No such file"),
        (OSError("it is larger than 1 MiB"), "it is larger than 1 MiB"),
        (OSError(1, 2), "2"),
        (ValueError("one\ntwo"), "one"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_reason_is_one_line(error: BaseException, line: str):
    assert reason(error) == line
