"""Published numbers are compared with the rows of the same algorithm."""

from __future__ import annotations

import json

import pytest
from results_factory import make_result, make_suite

from metabench.results.schema import Training
from metabench.suites.builtin_suites import SUITES
from metabench.tables.json_format import json_text
from metabench.tables.published import load_published, pair_with_rows, published_document
from metabench.tables.ranked_tables import build_tables
from metabench.tables.rows import StoredResult

OMNIGLOT = make_suite("omniglot-5w1s", query=15, episodes=4)


def tables_of(*results):
    return build_tables(StoredResult(None, result) for result in results)


def pairs_of(*results, method):
    pairs = pair_with_rows(tables_of(*results), load_published())
    return [pair for pair in pairs if pair.published.method == method]


def test_every_number_has_a_source_and_a_suite_of_ours() -> None:
    suites = {suite.name: suite for suite in SUITES}
    for number in load_published():
        assert number.source
        metric = suites[number.suite].metric
        assert 0 < number.score <= (1 if metric == "accuracy" else 10)
        assert number.half_ci95 is None or 0 < number.half_ci95 < number.score


def test_the_headline_numbers_are_the_published_ones() -> None:
    found = {(n.method, n.suite): n.score for n in load_published()}
    assert found["Prototypical networks", "omniglot-20w1s"] == 0.960
    assert found["MAML", "omniglot-5w1s"] == 0.987
    assert found["Meta-SGD, trained with 5 shots", "sinusoid-freq-10s"] == 0.63


def test_a_pair_lists_the_differences_in_protocol() -> None:
    row = make_result(
        suite=OMNIGLOT,
        correct=[74, 75, 73, 74],
        chosen={"backbone": "conv4"},
        training=Training(way=20, shot=1, query=5, tasks_per_step=1),
    )
    (pair,) = pairs_of(row, method="Prototypical networks")
    assert pair.score == pytest.approx(74 / 75)
    assert pair.difference == pytest.approx(74 / 75 - 0.988)
    assert pair.protocol_differences == [
        "train way: 60, ours 20",
        "episodes: 1000, ours 4",
        "trained on: base and validation, ours base",
    ]


def test_training_on_another_suite_is_listed() -> None:
    suite = make_suite(
        "sinusoid-5s", way=1, shot=5, metric="mse", episodes=4, train_on="sinusoid-freq-5s"
    )
    numbers = [n for n in load_published() if (n.suite, n.algorithm) == ("sinusoid-5s", "maml")]
    params = {"inner_lr": 0.01, "inner_steps": 1} | dict(numbers[0].params)
    row = make_result("maml", suite=suite, error=[0.3] * 4, chosen=params)
    pairs = [pair for pair in pair_with_rows(tables_of(row), load_published()) if pair.address]
    assert pairs
    for pair in pairs:
        assert any("ours sinusoid-freq-5s" in line for line in pair.protocol_differences)


def test_a_different_normalisation_is_listed() -> None:
    def result(backbone):
        chosen = {"backbone": backbone, "first_order": False}
        return make_result("maml", suite=OMNIGLOT, correct=[74] * 4, chosen=chosen)

    inductive, transductive = (result(f"conv4[bn={bn}]") for bn in ("support", "episode"))
    (pair,) = pairs_of(inductive, method="MAML")
    assert "normalisation: episode, ours support" in pair.protocol_differences
    (pair,) = pairs_of(transductive, method="MAML")
    assert not any("normalisation" in text for text in pair.protocol_differences)
    assert pairs_of(transductive, method="First-order MAML")[0].score is None


def test_rows_trained_differently_do_not_match() -> None:
    suite = make_suite("sinusoid-freq-10s", way=1, shot=10, metric="mse", episodes=4)
    training = Training(way=1, shot=5, query=10, tasks_per_step=4)
    chosen = {"first_order": False}
    error = [0.7, 0.9, 0.8, 0.8]
    row = make_result("maml", suite=suite, error=error, training=training, chosen=chosen)
    (five,) = pairs_of(row, method="MAML, trained with 5 shots")
    (ten,) = pairs_of(row, method="MAML, trained with 10 shots")
    assert five.score == pytest.approx(0.8)
    assert ten.score is None


def test_numbers_without_a_row_of_ours_are_listed_too() -> None:
    (pair,) = pairs_of(make_result(suite=OMNIGLOT), method="Reptile")
    assert (pair.address, pair.score, pair.difference) == (None, None, None)


def test_published_numbers_keep_their_digits() -> None:
    text = published_document(
        pair_with_rows(tables_of(make_result(suite=OMNIGLOT)), load_published())
    )
    assert "| MAML++ | 99.47 |" in text
    assert "| Matching networks | 98.1 |" in text
    wide = make_suite("omniglot-20w1s", way=20, query=15)
    text = published_document(pair_with_rows(tables_of(make_result(suite=wide)), load_published()))
    assert "| Prototypical networks | 96.0 |" in text


def test_the_document_marks_what_was_not_checked() -> None:
    text = published_document(
        pair_with_rows(tables_of(make_result(suite=OMNIGLOT)), load_published())
    )
    assert "| R2D2 (?) | 98.6 | - |" in text
    assert "| MAML | 98.70 ± 0.40 |" in text
    assert "(?) from memory" in text
    assert "- MAML: Finn et al. 2017" in text


def test_json_has_fractions() -> None:
    pairs = pair_with_rows(
        tables_of(make_result(suite=OMNIGLOT, correct=[30] * 4)), load_published()
    )
    assert any(
        p["score"] == pytest.approx(0.4)
        for p in json.loads(json_text(published=pairs))["published"]
    )


def test_normalisation_and_network_of_a_row_are_compared() -> None:
    chosen = {"backbone": "conv4[bn=support,channels=8]", "first_order": False, "inner_steps": 5}
    row = make_result("meta-sgd", suite=OMNIGLOT, correct=[74] * 4, chosen=chosen)
    (pair,) = pairs_of(row, method="Meta-SGD")
    assert "normalisation: episode, ours support" in pair.protocol_differences
    assert "backbone: conv4, ours conv4[channels=8]" in pair.protocol_differences
    assert "inner steps: 1, ours 5" in pair.protocol_differences


def test_a_number_without_a_row_shows_its_whole_protocol() -> None:
    text = published_document(
        pair_with_rows(tables_of(make_result(suite=OMNIGLOT)), load_published())
    )
    (line,) = (line for line in text.splitlines() if line.startswith("| MAML++ "))
    assert line.endswith("| normalisation: per step; ensemble: five checkpoints |")
