"""The declaration of a dataset and of its built-in suites, in the dataset's file.

It is plain data, read without importing the file: listing suites must not import NumPy.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict, cast

if TYPE_CHECKING:
    from metabench.learner import Metric

ProtocolName = Literal["by-split", "within-group", "chunks"]

_FOLDER = Path(__file__).parent


class SuiteSpec(TypedDict):
    """A suite as plain data; fields have the meaning and defaults that they have in `Suite`.

    Attributes:
        load: the function of the file that loads the dataset; "load" if left out.
        protocol: "by-split" if left out.
    """

    way: int
    shot: int
    query: NotRequired[int]
    episodes: NotRequired[int]
    metric: NotRequired[Metric]
    load: NotRequired[str]
    protocol: NotRequired[ProtocolName]


class DatasetSpec(TypedDict):
    """A dataset as plain data.

    Attributes:
        what: the examples, and which classes are base, validation and novel, for the docs.
        shape: the shape of one example.
        classes: the number of base, validation and novel classes that `load` gives.
        source: the origin of the examples, for the docs.
        suites: its built-in suites by name.
    """

    what: str
    shape: tuple[int, ...]
    classes: tuple[int, int, int]
    source: str
    suites: dict[str, SuiteSpec]


def read_spec(dataset: str) -> DatasetSpec:
    """Read the literal `SPEC` in a dataset's file.

    Args:
        dataset: the name of the file, without its suffix.

    Raises:
        LookupError: the file has no annotated `SPEC`.
    """
    file = _FOLDER / f"{dataset}.py"
    for node in ast.parse(file.read_bytes()).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id="SPEC"), value=ast.expr() as value):
                return cast(DatasetSpec, ast.literal_eval(value))
    raise LookupError(f"{file} declares no SPEC")
