"""Names looked up: suites, algorithms and devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.errors import UsageError
from metabench.plugins.registry import Plugins
from metabench.suites.suite import Suite
from metabench.supervisor.lookup import as_stored, find_algorithms, find_device, find_suites


def test_the_processor_is_always_there_and_auto_finds_something() -> None:
    assert find_device("cpu") == "cpu"
    assert find_device(find_device("auto")) == find_device("auto")


def image_folder(path: Path, classes: int = 4) -> Path:
    """Images of single grey values, two in each class."""
    for c in range(classes):
        (path / str(c)).mkdir(parents=True)
        for i in range(2):
            image = np.full((8, 8), 60 * c + i, dtype=np.uint8)
            Image.fromarray(image).save(path / str(c) / f"{i}.png")
    return path


def test_an_address_of_a_folder_is_a_suite(plugins, tmp_path: Path) -> None:
    images = image_folder(tmp_path / "shades")
    address = f"folder:{images}[way=4,query=1,split=novel]"
    (suite,) = find_suites([address, address], plugins, str(tmp_path / "data"))
    assert suite.name.startswith("folder-shades-4w1s-")
    assert suite.address == address


def test_two_suites_of_one_name_are_refused(plugins, tmp_path: Path) -> None:
    addresses = [
        f"folder:{image_folder(tmp_path / where / 'shades')}[way=4,query=1,split=novel]"
        for where in ("here", "there")
    ]
    with pytest.raises(UsageError, match=r"both called folder-shades-4w1s-\w{6}: folder:.*here"):
        find_suites(addresses, plugins, None)


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        ("conv4[pool=false]", "conv4[bn=support,pool=false]"),
        ("conv4[bn=episode]", "conv4[bn=episode]"),
        ("conv4", "conv4[bn=support]"),
        ("cnn", "cnn"),
    ],
)
def test_options_of_a_backbone_change_nothing_else_about_it(
    given: str, resolved: str, plugins: Plugins
) -> None:
    (found,) = find_algorithms([f"maml[backbone={given}]"], plugins)
    assert found.params["backbone"] == resolved


def test_different_arrays_of_one_name_are_refused_in_one_run(plugins, tmp_path: Path) -> None:
    y = np.arange(10).repeat(4)
    x = 5 * np.arange(40, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    one, other, same = (
        Suite.from_arrays(images, y, name="mine", way=2, query=1, episodes=5, data_root=tmp_path)
        for images in (x, 255 - x, x)
    )
    assert find_suites([one, same], plugins, None) == [one]
    with pytest.raises(UsageError, match="two suites are both called mine-2w1s"):
        find_suites([one, other], plugins, None)


def test_an_algorithm_is_looked_up_in_results_as_run_names_it(plugins) -> None:
    def stored(text: str) -> str:
        return as_stored(text, plugins, "classification")

    written = "maml[backbone=conv4[bn=support,pool=false]]"
    assert stored("maml[backbone=conv4[pool=FALSE]]") == written
    assert stored("maml[inner_lr=4e-1]") == "maml[inner_lr=0.4]"
    assert stored("gone[x=1]") == "gone[x=1]"
