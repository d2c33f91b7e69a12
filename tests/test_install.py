"""What users install: a wheel, in another place than the tree."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel, beside the packages it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = folder.glob("metabench-*.whl")
    target = folder / "site"
    subprocess.run(
        [*pip, "install", str(wheel), "--no-deps", "--target", str(target)],
        check=True,
        capture_output=True,
    )
    return target


def metabench(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(installed), "METABENCH_DATA": str(cwd / "data")}
    return subprocess.run(
        [sys.executable, "-m", "metabench", *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_an_installed_wheel_runs_without_the_tree(installed: Path, tmp_path: Path) -> None:
    where = metabench(installed, tmp_path, "plugins", "--json")
    assert str(installed / "metabench_plugins") in where.stdout, where.stderr
    ran = metabench(installed, tmp_path, "run", "-s", "glyphs-5w1s", "-a", "pixel-1nn")
    assert ran.returncode == 0, ran.stderr
    assert "`pixel-1nn`" in ran.stdout
    new = metabench(installed, tmp_path, "new", "my-algo")
    assert new.returncode == 0, new.stderr


@pytest.mark.slow
def test_the_wheel_holds_every_package_and_data_file(installed: Path) -> None:
    tree = {
        path.relative_to(ROOT / source).as_posix(): target
        for source, target in (("metabench", "metabench"), ("plugins", "metabench_plugins"))
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    missing = [name for name, target in tree.items() if not (installed / target / name).exists()]
    assert missing == []


@pytest.mark.slow
def test_the_wheel_is_small(installed: Path) -> None:
    (wheel,) = installed.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert sum(info.compress_size for info in archive.infolist()) < 3_000_000
