"""`metabench new NAME`: write a plugin of one file and its test, which pass as written."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template

import click

from metabench.cli.options import Common, as_argument, common_options
from metabench.cli.output import echo
from metabench.errors import UsageError
from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import is_plugin
from metabench.text import shell_line

TEMPLATES = Path(__file__).with_name("templates")
_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"


@click.command()
@click.argument("name")
@click.option(
    "--dir", "folder", default=".", metavar="DIR", help="Folder to write to.  [default: .]"
)
@common_options()
def new(name: str, folder: str, common: Common) -> None:
    """Write an algorithm called NAME and its test, to start from."""
    plugin, test = write_plugin(name, Path(folder))
    if not common.quiet:
        run = ["metabench", "run", "-p", str(plugin), "-a", name, "-s", "digits-5w1s"]
        echo(f"wrote {plugin} and {test}")
        echo(f"run it:   {shell_line(run)}")
        echo(f"test it:  {shell_line(['python', '-m', 'pytest', as_argument(test)])}")


def write_plugin(name: str, folder: Path) -> tuple[Path, Path]:
    """Write the plugin file and its test; return their paths.

    Raises:
        UsageError: the name cannot be used, a file exists, or the folder does not exist.
    """
    module, class_name = _names(name)
    plugin, test = folder / f"{module}.py", folder / f"test_{module}.py"
    for file in (plugin, test):
        if file.exists():
            raise UsageError(f"{file} exists: choose another name, or move it away")
    _check_free(name, module)
    if not folder.is_dir():
        raise UsageError(f"--dir {folder}: no such folder")
    fields = {
        "name": name,
        "module": module,
        "class_name": class_name,
    }
    for file, template in ((plugin, "algorithm.py.txt"), (test, "test_algorithm.py.txt")):
        text = Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(fields)
        file.write_text(text, encoding="utf-8")
    return plugin, test


def _names(name: str) -> tuple[str, str]:
    """Return the names of the module and the class of an algorithm."""
    if not re.fullmatch(_NAME, name):
        words = re.findall(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z0-9]+", name)
        near = re.sub(r"^[^a-z]+", "", "-".join(words).lower())
        advice = f", such as '{near}'" if near else ""
        raise UsageError(f"name '{name}': use lower-case words joined by hyphens{advice}")
    module = name.replace("-", "_")
    class_name = "".join(word.capitalize() for word in name.split("-"))
    for word in (module, class_name):
        if keyword.iskeyword(word):
            raise UsageError(f"name '{name}': '{word}' is a keyword of Python; choose another name")
    if not is_plugin(Path(f"{module}.py")):
        raise UsageError(
            f"name '{name}': {module}.py would be a file for pytest, which --plugins-dir skips; "
            "choose another name"
        )
    return module, class_name


def _check_free(name: str, module: str) -> None:
    """Refuse a name that exists, because two of one name cannot both be loaded."""
    if importlib.util.find_spec(module) is not None:
        raise UsageError(f"name '{name}': '{module}' is an installed module; choose another name")
    provided = load_plugins().algorithms.get(name)
    if provided is not None:
        raise UsageError(
            f"name '{name}': plugin {provided.provider} already provides it; choose another name"
        )
