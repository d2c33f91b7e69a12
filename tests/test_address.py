from __future__ import annotations

import pytest

from metabench.address import expand, means, parse, resolve, show, write
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
