from __future__ import annotations

import pytest

from metabench.harness.environment import cpu_model, describe_cpu

EPYC = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: {family}
model\t\t: {model}
model name\t: AMD EPYC

processor\t: 1
model name\t: another
"""


def test_generations_of_one_name_are_told_apart():
    old, new = (describe_cpu(EPYC.format(family=f, model=m)) for f, m in ((23, 49), (26, 2)))
    assert old == "AMD EPYC (family 23 model 49)"
    assert old != new


@pytest.mark.parametrize(
    ("info", "named"),
    [("model name\t: Cortex-A76\n", "Cortex-A76"), ("processor\t: 0\n", ""), ("", "")],
    ids=["name only", "no name", "empty"],
)
def test_what_the_system_does_not_say_is_left_out(info, named):
    assert describe_cpu(info) == named


def test_this_machine_has_a_name():
    assert cpu_model()
