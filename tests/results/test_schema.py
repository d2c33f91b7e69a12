"""One result file: readable, refused where it is not understood, and read back as it was."""

from __future__ import annotations

import json
from typing import get_args

import msgspec
import numpy as np
import pytest
from results_factory import make_result, make_suite

from metabench.results.schema import FAILED, SCHEMA, CurvePoint, Result, Status, decode, encode

REGRESSION = make_suite("sinusoid-5s", way=1, metric="mse")


@pytest.mark.parametrize(
    "result",
    [
        make_result(chosen={"lr": 0.1, "steps": 3, "first_order": True, "bn": "none"}),
        make_result(suite=REGRESSION),
        make_result(status="error", reason="ValueError: naïve «ünïcode»"),
        make_result(fit_s=None),
    ],
)
def test_a_result_is_read_back_as_it_was(result: Result) -> None:
    assert decode(encode(result)) == result


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"correct": [900]}, "must be 0 to 75"),
        ({"correct": [-1]}, "must be 0 to 75"),
        ({"correct": [1], "f1": [0.1, 0.2]}, "2 F1 scores of 1 episodes"),
        ({"error": [0.1, -0.1]}, "must not be below zero"),
    ],
)
def test_scores_that_cannot_be_are_refused(found: dict[str, list[float]], said: str) -> None:
    content = msgspec.to_builtins(make_result())
    content["scores"] = {"queries": 75, "outputs_digest": "", **found}
    with pytest.raises(msgspec.ValidationError, match=said):
        decode(json.dumps(content).encode())


def test_a_file_is_json_with_one_line_a_field() -> None:
    result = make_result()
    lines = encode(result).decode().splitlines()
    fields = [field.name for field in msgspec.structs.fields(Result)]
    assert (lines[0], lines[-1]) == ("{", "}")
    assert [line.split('"')[1] for line in lines[1:-1]] == fields
    assert json.loads(encode(result)) == msgspec.to_builtins(result)


def test_the_same_result_is_the_same_bytes() -> None:
    assert encode(make_result()) == encode(make_result())


def test_a_loss_that_was_not_finite_is_null() -> None:
    point = CurvePoint(update=1, values={"loss": None})
    result = make_result()
    assert result.training is not None
    training = msgspec.structs.replace(result.training, curve=[point])
    text = encode(msgspec.structs.replace(result, training=training))
    assert decode(text).training == training


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(encode(make_result())), **fields}).encode()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (changed(schema=SCHEMA + 1), f"schema {SCHEMA + 1}, expected {SCHEMA}"),
        (changed(speed=9), "unknown field `speed`"),
        (changed(status="fine"), "Invalid enum value 'fine'"),
        (changed(wall_s="long"), "Expected `float`"),
        (changed(suite={}), "missing required field"),
        (encode(make_result())[:-10], "truncated"),
    ],
)
def test_what_is_not_understood_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=error):
        decode(data)


def test_scores_per_episode_are_fractions_or_squared_errors() -> None:
    suite = make_suite(query=3, episodes=3)  # 15 queries an episode
    accuracy = make_result(suite=suite, correct=[0, 6, 15]).per_episode()
    assert np.array_equal(accuracy, [0.0, 0.4, 1.0])
    errors = make_result(suite=REGRESSION, error=[0.5, 2.0]).per_episode()
    assert np.array_equal(errors, [0.5, 2.0])
    assert len(make_result(status="timeout").per_episode()) == 0


def test_an_algorithm_that_does_not_apply_has_not_failed() -> None:
    assert set(get_args(Status)) - FAILED == {"ok", "not_applicable", "interrupted"}
