"""One result file: readable, refused where it is not understood, and read back as it was."""

from __future__ import annotations

import codecs
import hashlib
import json

import msgspec
import pytest
from results_factory import make_environment, make_result, make_suite

from metabench.results.result_file import NewerResult, decode, encode
from metabench.results.schema import SCHEMA, CurvePoint, Result

REGRESSION = make_suite("sinusoid-5s", way=1, metric="mse")


def environment(**fields: object) -> dict[str, object]:
    return {**msgspec.to_builtins(make_environment()), **fields}


def part(name: str, /, **fields: object) -> dict[str, object]:
    return {**json.loads(encode(make_result()))[name], **fields}


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(encode(make_result())), **fields}).encode()


def written_by_a_newer_version(**fields: object) -> bytes:
    content = {**json.loads(encode(make_result())), **fields}
    del content["sha256"]
    ordered = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return json.dumps({**content, "sha256": hashlib.sha256(ordered.encode()).hexdigest()}).encode()


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
        ({"correct": [16], "f1": [0.5]}, "must be 0 to 15"),
        ({"correct": [-1], "f1": [0.5]}, "Expected `int` >= 0"),
        ({"correct": [None], "f1": [0.5]}, "Expected `int`, got `null`"),
        ({"correct": [1], "f1": [0.1, 0.2]}, "2 F1 scores of 1 episodes"),
        ({"correct": [1], "f1": [50.0]}, "Expected `float` <= 1.0"),
        ({"correct": [1]}, "not those of metric accuracy"),
        ({"correct": [1] * 21, "f1": [0.5] * 21}, "scores of 21 episodes, the suite has 20"),
        ({"correct": [], "f1": []}, "scores of 0 episodes, the suite has 20"),
        ({"correct": [1], "f1": [0.5], "queries": 30}, "30 queries per episode, the suite has 15"),
        ({"correct": [1], "f1": [0.5], "queries": 0}, "Expected `int` >= 1"),
        ({"error": [0.1]}, "not those of metric accuracy"),
        ({"error": [-0.1]}, "Expected `float` >= 0.0"),
    ],
)
def test_scores_that_cannot_be_are_refused(found: dict[str, object], said: str) -> None:
    scores = {"queries": 15, "outputs_digest": "", **found}
    block = {"episodes_digest": "", "scores": scores}
    for content in (changed(scores=scores), changed(blocks=[block])):
        with pytest.raises(msgspec.ValidationError, match=said):
            decode(content)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scores": None}, "status ok without scores"),
        ({"status": "error"}, "status error with scores"),
        ({"wall_s": -1.0}, "Expected `float` >= 0"),
        ({"parameters": -1}, "Expected `int` >= 0"),
        ({"environment": environment(commit="--output=precious")}, "matching regex"),
        ({"environment": environment(commit="some/folder")}, "matching regex"),
        ({"environment": environment(commit="abcdef\n")}, "matching regex"),
        ({"environment": environment(threads=10**6)}, "Expected `int` <= 1024"),
        ({"environment": environment(plugins=["-p 'x"])}, '"-p \'x" does not name a plugin'),
        ({"environment": environment(plugins=["-p x; curl"])}, "does not name a plugin"),
        ({"environment": environment(plugins=["--results x"])}, "does not name a plugin"),
        ({"environment": environment(plugins=[""])}, "'' does not name a plugin"),
        ({"parameters": 2**63}, "Expected `int` <= 9007199254740992"),
        ({"parameters": 10**400}, "Expected `int` <= 9007199254740992"),
        ({"wall_s": 1e308}, "Expected `float` <= 1000000000"),
        ({"created": "9999-99-99T00:00:00+00:00"}, "which is no date and time"),
        ({"created": "2026-01-01T24:61:00Z"}, "which is no date and time"),
        ({"scores": part("scores", nonfinite=1501)}, "1501 outputs are not finite, of 1500"),
        ({"created": "a\nmetabench: error: b"}, "matching regex"),
        ({"suite": part("suite", name="digits\n")}, "matching regex"),
        ({"suite": part("suite", train_on="../digits")}, "matching regex"),
        ({"job": part("job", algorithm="protonet\u200b")}, "matching regex"),
        ({"job": part("job", device="cpu ")}, "matching regex"),
        ({"job": part("job", budget="much")}, "matching regex"),
        ({"job": part("job", seed=-1)}, "Expected `int` >= 0"),
        ({"job": part("job", seed=10**30)}, "Expected `int` <= 9007199254740992"),
        ({"job": part("job", params={"steps": 2**63})}, "Expected `int` <= 9223372036854775807"),
        ({"timing": part("timing", adapt_s=[1e308])}, "Expected `float` <= 1000000000"),
        ({"training": part("training", tasks=10**400)}, "Expected `int` <= 9007199254740992"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        decode(changed(**fields))


def test_every_bit_that_is_flipped_is_noticed() -> None:
    content = encode(make_result())
    original = decode(content)
    for place in range(0, 8 * len(content), 7):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        try:
            found = decode(bytes(flipped))
        except msgspec.DecodeError:
            continue
        assert found.altered or found == original, bytes(flipped[place // 8 - 20 :][:40])


def test_a_byte_that_is_not_utf8_costs_one_text() -> None:
    content = json.loads(encode(make_result()))
    content["environment"]["packages"] = {"torch": "2.0"}
    for kept in ({}, {"sha256": content.pop("sha256")}):
        found = decode(json.dumps({**content, **kept}).encode().replace(b"torch", b"t\xefrch"))
        assert found.altered
        assert found.scores == make_result().scores


def test_layout_and_line_ends_are_no_change() -> None:
    content = encode(make_result())
    for other in (
        json.dumps(json.loads(content), indent=4, sort_keys=True).encode(),
        codecs.BOM_UTF8 + content.replace(b"\n", b"\r\n"),
    ):
        assert decode(other) == make_result()


def test_a_result_without_a_digest_is_not_altered() -> None:
    content = json.loads(encode(make_result()))
    del content["sha256"]
    assert decode(json.dumps(content).encode()) == make_result()


@pytest.mark.parametrize("fields", [{"schema": SCHEMA + 1}, {"energy_j": 3.5}])
def test_a_result_of_a_newer_version_is_named_as_such(fields: dict[str, object]) -> None:
    for content in (written_by_a_newer_version(**fields), changed(**fields)):
        with pytest.raises(NewerResult):
            decode(content)


def test_a_damaged_key_is_not_of_a_newer_version() -> None:
    content = encode(make_result())
    for damaged in (
        content.replace(b'"parameters"', b'"qarameters"'),
        content.replace(b'"sha256"', b'"sha257"'),
    ):
        with pytest.raises(msgspec.ValidationError, match="unknown field") as caught:
            decode(damaged)
        assert not isinstance(caught.value, NewerResult)


@pytest.mark.parametrize(
    "result",
    [
        make_result(suite=make_suite("My_images.v2-5w1s", train_on="glyphs-5w1s")),
        make_result(chosen={"backbone": "conv4[bn=episode,pool=false]", "steps": -(2**63)}),
        make_result(budget="tasks=9007199254740992", device="privateuseone"),
        make_result(budget="seconds=1e-05", seed=2**53),
        make_result(environment=make_environment(plugins=["-p 'a b/c; d.py'", "--plugins-dir x"])),
        make_result(correct=[15, 0, 9], f1=[1.0, 0.0, 0.75]),
    ],
)
def test_unusual_names_and_numbers_are_allowed(result: Result) -> None:
    assert decode(encode(result)) == result


@pytest.mark.parametrize(("correct", "f1"), [(14, 1.0), (15, 0.99), (0, 0.01), (12, 0.7)])
def test_macro_f1_that_does_not_go_with_the_right_answers_is_flagged(
    correct: int, f1: float
) -> None:
    assert decode(encode(make_result(correct=[1, correct], f1=[0.1, f1]))).altered


def test_a_file_is_json_with_one_line_a_field() -> None:
    result = make_result()
    lines = encode(result).decode().splitlines()
    fields = [field.name for field in msgspec.structs.fields(Result)]
    fields[fields.index("altered")] = "sha256"
    assert (lines[0], lines[-1]) == ("{", "}")
    assert [line.split('"')[1] for line in lines[1:-1]] == fields
    content = json.loads(encode(result))
    del content["sha256"]
    assert {**content, "altered": False} == msgspec.to_builtins(result)


def test_the_same_result_is_the_same_bytes() -> None:
    assert encode(make_result()) == encode(make_result())


def test_a_loss_that_was_not_finite_is_null() -> None:
    point = CurvePoint(update=1, values={"loss": None})
    result = make_result()
    assert result.training is not None
    training = msgspec.structs.replace(result.training, curve=[point])
    text = encode(msgspec.structs.replace(result, training=training))
    assert decode(text).training == training


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (changed(schema=SCHEMA + 1), f"schema {SCHEMA + 1}, known: {SCHEMA}"),
        (changed(speed=9), "unknown field `speed`"),
        (changed(status="fine"), "Invalid enum value 'fine'"),
        (changed(wall_s="long"), "Expected `float`"),
        (changed(suite={}), "missing required field"),
        (encode(make_result())[:-10], "truncated"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[]", "Expected `object`"),
    ],
)
def test_what_is_not_understood_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=error):
        decode(data)


def test_a_file_without_a_schema_is_not_of_a_newer_version() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `score`") as caught:
        decode(b'{"status": "ok", "score": 1.0}')
    assert not isinstance(caught.value, NewerResult)


@pytest.mark.parametrize("field", ["episodes_digest", "pixels_digest", "train_on_digest"])
def test_a_digest_is_hexadecimal(field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        decode(changed(suite=part("suite", **{field: "\x1b[31m<script>"})))
