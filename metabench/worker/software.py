"""The software that a learner ran on, as seen by its own process and recorded in results."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def torch_settings() -> dict[str, str]:
    """Return torch's settings that change numbers or speed; torch must be loaded."""
    torch = sys.modules["torch"]
    cudnn = torch.backends.cudnn
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "cudnn.allow_tf32": str(cudnn.allow_tf32),
        "cudnn.benchmark": str(cudnn.benchmark),
        "cudnn.deterministic": str(cudnn.deterministic),
    }


def loaded_packages(used: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of the imported packages that can change a number.

    Args:
        used: names of further packages that a learner's code imports.
    """
    names = dict.fromkeys(("torch", "numpy", "sklearn", "scipy", "torchvision", *sorted(used)))
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in names}
    return {name: str(version) for name, version in versions.items() if version}
