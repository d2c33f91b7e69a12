"""The wheel that users install, outside of the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the installed wheel; its dependencies are in the environment."""
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


@pytest.mark.slow
def test_the_package_that_the_docs_make_is_found_and_passes(
    installed: Path, tmp_path: Path
) -> None:
    """Build the package of `docs/writing-a-plugin.md` and install it in a new environment."""
    document = (ROOT / "docs" / "writing-a-plugin.md").read_text()
    readme = (ROOT / "README.md").read_text()
    (project,) = re.findall(r"^```toml\n(\[build-system\].*?)^```", document, re.M | re.S)
    (test,) = re.findall(r"^```python\n(import metabench\.testing.*?)^```", document, re.M | re.S)
    plugin = re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)[0]
    package = tmp_path / "package"
    (package / "tests").mkdir(parents=True)
    (package / "pyproject.toml").write_text(project)
    (package / "nearest_centroid.py").write_text(plugin)
    (package / "tests" / "test_conformance.py").write_text(test)

    new = tmp_path / "new"
    venv.create(new, with_pip=True)
    (packages,) = new.glob("lib/python*/site-packages")
    # The libraries that both need, which take minutes to install; metabench itself comes first.
    (packages / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    quiet = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = tmp_path / "wheels"
    build = ["wheel", str(package), "--no-deps", "--no-build-isolation", "-w", str(wheels)]
    subprocess.run([sys.executable, *quiet, *build], check=True, capture_output=True)
    for wheel in (*installed.parent.glob("metabench-*.whl"), *wheels.glob("*.whl")):
        install = ["install", "--no-deps", "--ignore-installed", str(wheel)]
        subprocess.run([new / "bin" / "python", *quiet, *install], check=True)

    def run(*command: str) -> str:
        env = {**os.environ, "METABENCH_DATA": str(tmp_path / "data")}
        env.pop("METABENCH_PLUGINS", None)
        where = [new / "bin" / command[0], *command[1:]]
        done = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert str(packages / "nearest_centroid.py") in run("metabench", "plugins", "--json")
    assert " passed, " in run("metabench", "check", "nearest-centroid")
    ran = run("metabench", "run", "-s", "digits-5w1s", "-a", "nearest-centroid", "-a", "chance")
    assert "`nearest-centroid`" in ran
    tested = run("python", "-m", "pytest", "-p", "no:cacheprovider", str(package / "tests"))
    assert " passed" in tested
    assert "failed" not in tested
