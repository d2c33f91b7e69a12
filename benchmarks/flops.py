"""The least arithmetic of MAML on Conv-4, by direct convolution.

Only convolutions count, two operations for each multiplication; the rest is small. With F
operations of a forward pass, of which F1 in the first block, and one image each:

- a gradient takes 3F - F1: forward, by the inputs (not those of the first block), by the weights;
- differentiating that gradient in turn takes 2(3F - F1) - 2 F1 more.
"""

from __future__ import annotations

from benchmarks.setting import Setting

BLOCKS = 4


def forward(setting: Setting) -> list[int]:
    """Count the operations of each block's forward pass on one image."""
    found, inputs, side = [], 1, setting.side
    for _ in range(BLOCKS):
        found.append(2 * 9 * inputs * setting.channels * side**2)
        inputs, side = setting.channels, side // 2
    return found


def gradient(setting: Setting) -> int:
    """Count the operations of a loss and its gradient on one image."""
    blocks = forward(setting)
    return 3 * sum(blocks) - blocks[0]


def through_gradient(setting: Setting) -> int:
    """Count the operations of differentiating that gradient."""
    return 2 * gradient(setting) - 2 * forward(setting)[0]


def meta_gradient(setting: Setting) -> int:
    """Count the operations of one task's meta-gradient: inner steps and query gradient."""
    support = setting.way * setting.shot * setting.steps  # images, over all inner steps
    inner = gradient(setting) + (0 if setting.first_order else through_gradient(setting))
    return support * inner + setting.way * setting.query * gradient(setting)


def adaptation(setting: Setting) -> int:
    """Count the operations of adapting to one task and predicting its queries."""
    support = setting.way * setting.shot * setting.steps
    return support * gradient(setting) + setting.way * setting.query * sum(forward(setting))
