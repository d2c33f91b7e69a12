from __future__ import annotations

import random

import numpy as np
import pytest

from metabench.address import expand, means, parse, parse_path, plain, resolve, show, write
from metabench.errors import UsageError

DEFAULTS = {"lr": 0.01, "steps": 5, "first_order": False, "backbone": "conv4"}


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("maml", "maml", {}),
        ("maml[lr=0.1]", "maml", {"lr": "0.1"}),
        (" maml[ lr = 0.1 , steps=3 ] ", "maml", {"lr": "0.1", "steps": "3"}),
        (
            "protonet[backbone=conv4[pool=false,channels=32],way=20]",
            "protonet",
            {"backbone": "conv4[pool=false,channels=32]", "way": "20"},
        ),
        ("a[x=b=c]", "a", {"x": "b=c"}),
    ],
)
def test_parse_reads_names_and_parameters(text, name, params):
    assert parse(text) == (name, params)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "write name or"),
        ("[lr=1]", "write name or"),
        ("maml[lr=1", "write name or"),
        ("maml[lr=1]x", "write name or"),
        ("maml[]", "write param=value"),
        ("maml[lr]", "write param=value"),
        ("maml[lr=]", "write param=value"),
        ("maml[=1]", "write param=value"),
        ("maml[lr=1,lr=2]", "given twice"),
        ("maml[a=b[c=1]", "brackets do not match"),
        ("maml[a=b]c=1]", "brackets do not match"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error_that_shows_it(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse(text)


def test_a_sweep_is_every_combination_in_order():
    assert list(expand("maml[lr=1|2,steps=5|10]")) == [
        "maml[lr=1,steps=5]",
        "maml[lr=1,steps=10]",
        "maml[lr=2,steps=5]",
        "maml[lr=2,steps=10]",
    ]


def test_a_name_without_a_sweep_expands_to_itself():
    assert list(expand("maml")) == ["maml"]


def test_write_is_the_inverse_of_parse():
    text = "protonet[backbone=conv4[pool=false],lr=0.1]"
    assert write(*parse(text)) == text
    assert write("pca", {}) == "pca"


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (5, "5"), (0.01, "0.01"), ("a", "a")]
)
def test_values_are_shown_as_they_are_typed(value, text):
    assert show(value) == text


def test_resolve_gives_every_parameter_the_type_of_its_default():
    given = {"lr": "1", "steps": "3", "first_order": "True"}
    resolved = resolve("maml", given, DEFAULTS)
    assert resolved == {"lr": 1.0, "steps": 3, "first_order": True, "backbone": "conv4"}
    assert isinstance(resolved["lr"], float)
    assert list(resolved) == list(DEFAULTS)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"steps": "2.5"}, "'steps' takes int"),
        ({"lr": "fast"}, "'lr' takes float"),
        ({"first_order": "1"}, "'first_order' takes true or false"),
        ({"step": "1"}, "unknown parameter of maml 'step': did you mean 'steps'"),
    ],
)
def test_wrong_parameters_are_usage_errors(given, complaint):
    with pytest.raises(UsageError, match=complaint):
        resolve("maml", given, DEFAULTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("maml[lr=0.2]", True),
        ("maml[lr=0.20,steps=1]", True),  # a default written out
        ("maml[steps=1,lr=0.2]", True),
        ("maml", False),  # these are the defaults
        ("maml[steps=1]", False),
        ("maml[lr=0.3]", False),
        ("maml[lr=0.2,bn=none]", False),
        ("protonet[lr=0.2]", False),
    ],
)
def test_an_address_means_what_it_resolves_to(text: str, expected: bool) -> None:
    assert means(text, "maml", {"lr": 0.2, "steps": 1}, {"lr": 0.2}) is expected


def test_a_sweep_inside_a_value_is_refused():
    with pytest.raises(UsageError, match=r"sweeps do not nest.*backbone=A\[x=1\]\|A\[x=2\]"):
        list(expand("maml[backbone=conv4[bn=support|none]]"))
    whole = "maml[backbone=conv4[bn=support]|conv4[bn=none]]"
    assert list(expand(whole)) == [
        "maml[backbone=conv4[bn=support]]",
        "maml[backbone=conv4[bn=none]]",
    ]


def hostile_texts(count: int) -> list[str]:
    generator = random.Random(0)
    alphabet = "ab =,|[]\"'\\\n\t\x00\u2028é日😀/"
    fixed = [
        '"',
        '""',
        '"a"',
        "a]",
        "[a",
        " a",
        "",
        "a[b=c|d]",
        "a\\",
        "runs/lr=0.1,seed=2/last.pt",
    ]
    lengths = (generator.randint(1, 12) for _ in range(count))
    return fixed + ["".join(generator.choices(alphabet, k=length)) for length in lengths]


def test_every_value_is_read_back_from_what_is_written():
    for text in hostile_texts(3000):
        written = write("w", {"a": text, "b": "plain"})
        assert parse(written) == ("w", {"a": text, "b": "plain"}), written
        assert list(expand(written)) == [written]
        assert written.isprintable()
        assert parse(parse(write("outer", {"inner": written})).params["inner"]) == parse(written)


def test_every_path_is_read_back_from_what_is_written():
    for text in filter(str.strip, hostile_texts(3000)):
        written = write(text, {"way": 3})
        assert parse_path(written) == (text, {"way": "3"}), written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('w[file="a,b"]', "a,b"),
        ('w[ file = "a=[1|2" ]', "a=[1|2"),
        (r'w[file="say \"x\" \\ y"]', r'say "x" \ y'),
        ("w[file=it's]", "it's"),
    ],
)
def test_a_value_in_quotes_may_hold_anything(text, value):
    assert parse(text) == ("w", {"file": value})
    assert [parse(one).params["file"] for one in expand(text)] == [value]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('w[file="a]', "quotes do not match"),
        (r'w[file="C:\x"]', "write two backslashes for one in quotes"),
        ("w[file=a,b]", r'in quotes, name\[param="value"\]'),
        ("w[file=a[b]", r'in quotes, name\[param="value"\]'),
    ],
)
def test_a_value_that_needs_quotes_is_refused_with_advice(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse(text)


def test_a_path_that_exists_needs_no_quotes_for_its_commas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.1,seed=2").touch()
    (one,) = expand("w[file=lr=0.1,seed=2,way=5]")
    assert parse(one) == ("w", {"file": "lr=0.1,seed=2", "way": "5"})
    assert parse(next(expand("w[lr=0.1,seed=3]"))).params == {"lr": "0.1", "seed": "3"}


@pytest.mark.parametrize(
    "name", ["images [cropped]", "run[1", "digits [v2] clean", "a[way=2]", '"x"']
)
def test_a_path_with_brackets_can_be_typed_as_it_is(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert parse_path(name) == (name, {})
    if not name.startswith('"'):
        assert parse_path(f"{name}[way=3,size=8]") == (name, {"way": "3", "size": "8"})


@pytest.mark.parametrize(
    ("value", "complaint"), [("inf", "must be a finite number"), ("1" * 400, "finite number")]
)
def test_a_number_that_no_file_can_hold_is_refused(value, complaint):
    with pytest.raises(UsageError, match=complaint):
        resolve("maml", {"lr": value}, DEFAULTS)


@pytest.mark.parametrize("value", [np.int64(3), np.float32(0.5), np.bool_(True), np.str_("a")])
def test_numbers_of_numpy_become_plain(value):
    assert plain(value) == value
    assert type(plain(value)) in (int, float, bool, str)
