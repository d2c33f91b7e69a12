"""States that do not fit their network are refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from nets import plain
from torch import Tensor, nn

from metabench import UsageError, answering_state, per_task, sgd_steps
from metabench.nets.per_task import support_statistics


def own(network: nn.Module, tasks: int) -> dict[str, Tensor]:
    return {n: p.detach().expand(tasks, *p.shape) for n, p in network.named_parameters()}


@pytest.mark.parametrize("apply", [per_task, support_statistics])
@pytest.mark.parametrize("kind", ["support", "running"])
@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"1.weigth": torch.zeros(3, 3, 4)}, "network '1.weigth': did you mean '1.weight'?"),
        ({"2.weight": torch.zeros(3, 3, 4)}, "unknown parameter or buffer of the network"),
        ({"1.forward": torch.zeros(3)}, "unknown parameter or buffer of the network '1.forward'"),
        ({"1.weight": torch.zeros(3, 4)}, "[3, 4]: 3 tasks take [3, 3, 4], one of [3, 4] each"),
        ({"1.weight": torch.zeros(2, 3, 4)}, "'1.weight' of shape [2, 3, 4]: 3 tasks take"),
        ({"1.bias": torch.zeros(3, 4)}, "'1.bias' of shape [3, 4]: 3 tasks take [3, 3]"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    apply: Callable[..., object], kind: str, changed: dict[str, Tensor], complaint: str
) -> None:
    network, x = plain.small_network(kind), plain.small_episodes(kind).support.x
    with pytest.raises(UsageError, match=re.escape(complaint)) as refused:
        apply(network, {**own(network, 3), **changed}, x)
    assert "\n" not in str(refused.value)


def test_the_inner_loop_and_what_follows_it_refuse_such_states() -> None:
    network, support = plain.small_network("support"), plain.small_episodes("support").support
    wide = torch.zeros(3, 5, requires_grad=True)
    with pytest.raises(UsageError, match=r"'1.weight' of shape \[3, 3, 5\]: 3 tasks take"):
        sgd_steps(network, {"1.weight": wide}, support, 0.1, 1)
    with pytest.raises(UsageError, match=r"parameter or buffer of the network '9.weight'"):
        answering_state(network, {"9.weight": torch.zeros(3, 3, 4)}, support)


def test_a_state_may_be_a_part_name_buffers_and_use_any_name_of_a_shared_layer() -> None:
    norm = nn.BatchNorm1d(4)
    body = nn.Sequential(nn.Linear(6, 4), norm)
    network = nn.ModuleDict({"body": body, "again": body})
    network.forward = lambda x: network["again"](x)  # type: ignore[method-assign]
    network.eval()
    x, mean = torch.rand(2, 5, 6), torch.rand(2, 4)
    plainly = per_task(network, {}, x)
    for name in ("body.1.running_mean", "again.1.running_mean"):
        shifted = per_task(network, {name: mean}, x)
        by = mean / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
        assert torch.allclose(shifted, plainly - by[:, None], atol=1e-6)
