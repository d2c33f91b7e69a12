"""Contenders that compute something else are not timed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.gate import agree, answers, build, check, meta_gradient
from benchmarks.options import Options, Refused
from benchmarks.peers import PLAIN
from benchmarks.rounds import OURS
from benchmarks.setting import Setting

every_form = pytest.mark.parametrize(
    ("meta_sgd", "first_order"), [(False, False), (False, True), (True, False), (True, True)]
)


@every_form
def test_our_meta_gradient_is_that_of_the_plain_loop(
    small: Setting, meta_sgd: bool, first_order: bool
) -> None:
    case = replace(small, meta_sgd=meta_sgd, first_order=first_order)
    agree("meta-gradient", {who: meta_gradient(who, case) for who in (PLAIN, OURS)})


def test_we_predict_what_the_plain_loop_predicts(small: Setting) -> None:
    agree("logits", {who: answers(who, small) for who in (PLAIN, OURS)})


@every_form
def test_a_peer_computes_what_the_plain_loop_does(
    small: Setting, peer: str, meta_sgd: bool, first_order: bool
) -> None:
    case = replace(small, meta_sgd=meta_sgd, first_order=first_order)
    agree("meta-gradient", {who: meta_gradient(who, case) for who in (PLAIN, peer)})
    agree("logits", {who: answers(who, case) for who in (PLAIN, peer)})


@every_form
def test_contenders_move_their_parameters_alike(
    small: Setting, meta_sgd: bool, first_order: bool
) -> None:
    case = replace(small, meta_sgd=meta_sgd, first_order=first_order)
    moved = {}
    for who in (PLAIN, OURS):
        contender = build(who, case)
        losses = [contender.meta_step(case.episodes()) for _ in range(2)]
        moved[who] = [*contender.parameters(), torch.tensor(losses)]
    agree("parameters", moved, tolerance=1e-6)  # Adam divides small differences by small ones


def test_a_wrong_gradient_is_refused(
    small: Setting, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = meta_gradient

    def wrong(who: str, setting: Setting) -> list[torch.Tensor]:
        found = right(who, setting)
        return [found[0] * (1 + 1e-6), *found[1:]] if who == OURS else found

    monkeypatch.setattr("benchmarks.gate.meta_gradient", wrong)
    with pytest.raises(Refused, match=r"meta-gradient at .*: ours differs from the plain loop"):
        check("meta-gradient", small, [PLAIN], options)


def test_no_number_is_a_difference() -> None:
    with pytest.raises(Refused, match="ours differs"):
        agree("logits", {PLAIN: [torch.ones(2)], OURS: [torch.tensor([1.0, torch.nan])]})
