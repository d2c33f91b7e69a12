"""The verdict of the gate on a case: pairing of seeds and episodes, and the sign of errors."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from results_factory import make_result, make_suite

from metabench.gating import gate_report
from metabench.gating.baseline import Case, grouped
from metabench.gating.gate_result import Gated, outcome
from metabench.results.schema import Block, Result, Training
from metabench.tables.margins import Margins

WAVES = make_suite("sinusoid-5s", way=1, shot=5, query=10, metric="mse", episodes=400)
DIGITS = make_suite(query=15, episodes=400)  # 75 queries
TRAINED = Training(way=5, shot=1, query=5, tasks_per_step=1)


def case(*results: Result) -> Case:
    ((*stored,),) = grouped([(Path(f"{k}.json"), result) for k, result in enumerate(results)])
    return Case(stored)


def errors(scale: float, seed: int = 0) -> Result:
    values = scale * np.random.default_rng(7).gamma(4.0, 0.25, 400)
    return make_result("maml", seed=seed, suite=WAVES, error=values.tolist())


def right(loss: int = 0, seed: int = 0, code: str = "code", flips: int = 40) -> Result:
    """Return a result on 75 queries, with `loss` fewer right answers per episode, and noise."""
    rng = np.random.default_rng(1)
    base = rng.integers(50, 70, 400)
    luck = np.random.default_rng(seed + 10).integers(-1, 2, 400) * (rng.random(400) < flips / 400)
    correct = (base - loss + luck * bool(loss)).tolist()
    return make_result(seed=seed, suite=DIGITS, correct=correct, code=code, training=TRAINED)


def judged(old: list[Result], new: list[Result], look: int = 0, **options: object) -> Gated:
    return outcome(case(*old), new, look, Margins(), frozen=False, **options)  # type: ignore[arg-type]


def test_larger_errors_are_a_loss() -> None:
    found = judged([errors(1.0)], [errors(1.2)])
    assert found.verdict == "fail"
    assert found.difference == pytest.approx(0.2, rel=0.1)
    assert found.ci is not None
    assert 0.05 < found.ci[0] < found.difference < found.ci[1]
    assert found.margin == pytest.approx(0.05 * found.baseline)


def test_smaller_errors_are_none() -> None:
    found = judged([errors(1.0)], [errors(0.8)])
    assert (found.verdict, found.reason) == ("pass", "")
    assert found.ci is not None
    assert found.ci[1] < 0


def test_seeds_are_paired_with_their_own() -> None:
    old = [right(seed=s) for s in range(3)]
    shuffled = [right(seed=s) for s in (2, 0, 1)]  # read from files in any order
    found = outcome(case(*shuffled), old, 0, Margins(), frozen=False)
    assert found.equal
    assert (found.seeds, found.difference) == (3, 0)


def test_equal_outputs_with_other_scores_are_an_error() -> None:
    old, now = right(), right()
    assert old.scores is not None
    altered = msgspec.structs.replace(old.scores, correct=[n + 5 for n in old.scores.correct or ()])
    found = judged([msgspec.structs.replace(old, scores=altered)], [now])
    assert (found.verdict, found.equal) == ("error", False)
    assert found.reason.startswith("outputs are equal but scores differ")


def test_a_proven_loss_within_reach_of_the_margin_is_reported_as_such() -> None:
    def losing(seed: int) -> Result:
        scores = right(seed=seed).scores
        assert scores is not None
        lost = [n - 3 * (k % 9 == 0) for k, n in enumerate(scores.correct or ())]
        return make_result(seed=seed, suite=DIGITS, correct=lost, training=TRAINED, code="now")

    found = judged([right(seed=s) for s in range(3)], [losing(s) for s in range(3)])
    assert found.verdict == "fail"
    assert found.ci is not None
    assert found.ci[0] < -found.margin < found.ci[1] < 0
    assert found.reason == "shown to be worse, and not shown to be within the margin"


def test_a_loss_in_every_episode_fails_and_names_what_differs() -> None:
    old = [right(seed=s) for s in range(3)]
    new = [right(loss=2, seed=s, code="newer") for s in range(3)]
    found = judged(old, new)
    assert found.verdict == "fail"
    assert found.difference == pytest.approx(-2 / 75, abs=1e-3)
    assert found.differs[0].startswith("code ")
    assert len(found.flipped) == 10
    lines = list(gate_report.explain(found, Path("base")))
    assert lines[0] == "fail: digits-5w1s protonet: worse than the margin allows"
    assert "differs: code " in lines[2]
    assert lines[-1].startswith("  baseline: base/0.json, ")


def test_two_seeds_of_what_is_meta_trained_do_not_tell() -> None:
    found = judged([right(seed=s) for s in range(2)], [right(2, s) for s in range(2)])
    assert (found.verdict, found.final) == ("inconclusive", True)
    frozen = outcome(
        case(*[right(seed=s) for s in range(2)]),
        [right(2, s) for s in range(2)],
        0,
        Margins(),
        frozen=True,
    )
    assert frozen.verdict == "fail"  # these two learners are worse, whatever others are


def test_one_seed_suffices_for_what_ignores_it() -> None:
    def sure(result: Result) -> Result:
        job = msgspec.structs.replace(result.job, deterministic=True)
        return msgspec.structs.replace(result, job=job)

    assert judged([sure(right())], [sure(right(2))]).verdict == "fail"


def test_further_blocks_are_laid_behind_the_first() -> None:
    def with_blocks(result: Result) -> Result:
        assert result.scores is not None
        blocks = [Block(episodes_digest=f"{k}", scores=result.scores) for k in (1, 2)]
        return msgspec.structs.replace(result, blocks=blocks)

    old, new = with_blocks(right()), with_blocks(right(loss=1, flips=0))
    found = [judged([old] * 1, [new], look) for look in range(3)]
    assert [one.episodes for one in found] == [400, 800, 1200]
    assert [one.looks for one in found] == [1, 2, 3]
    assert {flip.block for flip in found[2].flipped} <= {0, 1, 2}


def test_a_cell_that_failed_is_an_error_with_its_reason() -> None:
    found = judged([right()], [make_result(status="oom", reason="too much")])
    assert (found.verdict, found.reason) == ("error", "oom: too much")
    assert judged([right()], [None]).reason == "a cell has no result"


def test_an_error_that_has_diverged_is_shown_as_in_the_tables() -> None:
    suite = make_suite("sinusoid", metric="mse")
    case = [make_result(suite=suite, error=[9e36] * 20, seed=s) for s in range(3)]
    assert "9.0e+36" in gate_report.row(judged(case, case))
