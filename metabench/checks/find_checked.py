"""From the name of an algorithm to what is checked."""

from __future__ import annotations

from metabench.checks.checked_algorithm import Subject
from metabench.errors import UsageError
from metabench.learner import KINDS
from metabench.plugins.registry import Plugins
from metabench.supervisor.request import find_algorithms


def find_subjects(address: str, plugins: Plugins) -> list[Subject]:
    """An algorithm under test, once for each kind of task that it does.

    Args:
        address: of one algorithm, such as "maml" or "maml[first_order=true]".
        plugins: where algorithms come from.

    Raises:
        UsageError: there is no such algorithm or parameter, or it names several.
    """
    subjects = []
    for kind in KINDS:
        found = find_algorithms([address], plugins, kind)
        if len(found) > 1:
            raise UsageError(f"'{address}' names {len(found)} algorithms: name one")
        provided = plugins.algorithm(found[0].algorithm.name)
        if kind in provided.spec.tasks:
            subjects.append(Subject(found[0], kind, plugins, provided.origin))
    return subjects
