"""`metabench compare` prints a few lines, or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from results_factory import make_result, make_suite, store_results


@pytest.fixture
def stored(cli) -> None:
    suite = make_suite(episodes=6, query=2)
    results = [
        make_result("good", suite=suite, correct=[9, 8, 9, 7, 8, 9]),
        make_result("bad", suite=suite, correct=[7, 8, 8, 1, 6, 8]),
    ]
    store_results(Path("results"), results)


@pytest.mark.usefixtures("stored")
def test_the_difference_is_printed_with_its_interval(cli) -> None:
    lines = cli("compare", "good", "bad", "-s", "digits-5w1s").out.splitlines()
    assert lines[:3] == [
        "digits-5w1s, smoke: 6 episodes, paired",
        "A: good, 83.33%, 1 seed",
        "B: bad, 63.33%, 1 seed",
    ]
    assert lines[3].startswith("A - B: +20.000 points, 95 % CI ")
    assert lines[4].startswith("probability that A is better: 9")
    assert lines[7].split() == ["3", "70.00", "10.00"]


def test_flags_follow_the_score(cli) -> None:
    suite = make_suite(episodes=6, query=2)
    results = [
        make_result("good", suite=suite, correct=[9, 8, 9, 7, 8, 9], seed=seed, code=f"{seed}")
        for seed in range(2)
    ]
    store_results(Path("results"), [*results, make_result("bad", suite=suite)])
    lines = cli("compare", "good", "bad", "-s", "digits-5w1s").out.splitlines()
    assert lines[1] == "A: good, 83.33%, 2 seeds; seeds<5; code differs"
    assert lines[-1].startswith("code differs: the seeds were run with different versions")


@pytest.mark.usefixtures("stored")
def test_json_has_fractions(cli) -> None:
    content = json.loads(cli("compare", "good", "bad", "-s", "digits-5w1s", "--json").out)
    assert content["schema"] == 1
    assert content["comparison"]["difference"] == pytest.approx(0.2)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("good", "worse", "-s", "digits-5w1s"), 2, "unknown algorithm 'worse'"),
        (("good", "bad", "-s", "digits-5w5s"), 4, "no scores on digits-5w5s"),
        (("good", "bad", "-s", "digits-5w1s", "--margin", "-1"), 2, "margin '-1': write points"),
        (
            ("good", "bad", "-s", "digits-5w1s", "--margin", "5"),
            2,
            "margin '5' is 500 points of accuracy: write 5pp",
        ),
    ],
)
def test_mistakes_are_one_line(cli, arguments, code, message) -> None:
    outcome = cli("compare", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    (line,) = outcome.err.splitlines()
    assert message in line


def test_without_results_the_error_says_how_to_make_some(cli) -> None:
    outcome = cli("compare", "good", "bad", "-s", "digits-5w1s")
    assert outcome.code == 4
    assert "make some with: metabench run" in outcome.err


def test_without_a_margin_errors_are_compared_with_a_share(cli) -> None:
    suite = make_suite("sinusoid-5s", episodes=6, metric="mse")
    results = [
        make_result("a", suite=suite, error=[2.0, 2.1, 1.9, 2.0, 2.1, 1.9]),
        make_result("b", suite=suite, error=[4.0, 4.1, 3.9, 4.0, 4.1, 3.9]),
    ]
    store_results(Path("results"), results)
    content = json.loads(cli("compare", "a", "b", "-s", "sinusoid-5s", "--json").out)
    assert content["comparison"]["margin"] == pytest.approx(0.05 * 4)


@pytest.mark.usefixtures("stored")
def test_without_a_margin_half_a_point_of_accuracy_counts_as_equal(cli) -> None:
    content = json.loads(cli("compare", "good", "bad", "-s", "digits-5w1s", "--json").out)
    assert content["comparison"]["margin"] == pytest.approx(0.005)


def test_bench_toml_chooses_among_several_kinds_of_results(cli) -> None:
    suite = make_suite(episodes=6, query=2)
    results = [
        make_result(name, suite=suite, correct=correct, device=device)
        for name, correct in (("good", [9, 8, 9, 7, 8, 9]), ("bad", [7, 8, 8, 1, 6, 8]))
        for device in ("cpu", "cuda")
    ]
    store_results(Path("results"), results)
    args = ("compare", "good", "bad", "-s", "digits-5w1s")
    assert cli(*args).code == 2
    Path("bench.toml").write_text('device = "cuda:1"\n')
    assert cli(*args).code == 0
    Path("bench.toml").write_text('budget = "standard"\n')
    outcome = cli(*args)
    assert outcome.code == 4
    assert "standard" in outcome.err
