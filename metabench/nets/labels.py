"""Class labels of examples, refused where torch would count them wrongly or fail."""

from __future__ import annotations

from torch import Tensor

from metabench.errors import UsageError


def are_labels(y: Tensor) -> bool:
    """Return whether a tensor holds whole numbers of any type."""
    return not (y.is_floating_point() or y.is_complex())


def check_labels(y: Tensor, way: int) -> None:
    """Refuse labels outside 0..way-1, such as -100, which torch's losses leave out."""
    lowest, highest = (int(value) for value in y.aminmax()) if y.numel() else (0, 0)
    if lowest < 0 or highest >= way:
        wrong = lowest if lowest < 0 else highest
        raise UsageError(f"y holds the label {wrong}: {way} classes have labels 0..{way - 1}")
