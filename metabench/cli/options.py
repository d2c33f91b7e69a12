"""Options that verbs share, accepted after the verb.

@click.command()
@common_options("results", "plugins")
@json_option
def status(common: Common, as_json: bool) -> None: ...
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from metabench.cli.output import echo, own_stdout
from metabench.errors import NothingToRun
from metabench.plugins.sources import PluginSources
from metabench.results import DEFAULT_FOLDER, TRIAL_FOLDER
from metabench.text import shell_line

if TYPE_CHECKING:
    from metabench.plugins.registry import Plugins
    from metabench.supervisor.request import Request

Choice = Literal["results", "data_root", "plugins"]

DEFAULT_CONFIG = Path("bench.toml")
DEFAULT_RESULTS, TRIAL_RESULTS = Path(DEFAULT_FOLDER), Path(TRIAL_FOLDER)


@dataclass(frozen=True)
class Common:
    """The values of the common options.

    Attributes:
        config: the options in `bench.toml` or in the file of `--config`.
        config_file: the file of `--config`, if it was given.
        results: the results folder.
        results_given: whether `--results` or `config` names it.
        data_root: as given; if "", `METABENCH_DATA` or the platform decides.
        sources: where plugins come from.
        quiet: `-q`, print only results and errors.
        verbose: `-v`, print details.
        debug: `--debug`, show tracebacks.
        loaded: the plugins that `load_plugins` has loaded.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    config_file: Path | None = None
    results: Path = DEFAULT_RESULTS
    results_given: bool = False
    data_root: str = ""
    sources: PluginSources = PluginSources()  # noqa: RUF009  frozen
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    loaded: list[Plugins] = field(default_factory=list)

    def command(self, *words: str) -> str:
        """Return a command with the same plugins and configuration, to be pasted into a shell."""
        config = [] if self.config_file is None else ["--config", str(self.config_file)]
        command = shell_line(["metabench", *words, *config])
        return " ".join([command, *self.sources.options])

    def request(
        self, config: Mapping[str, Any], options: Mapping[str, Any], **fixed: Any
    ) -> Request:
        """Return the request of a verb.

        Args:
            config: the options of `bench.toml` that the verb reads.
            options: those of the command line, which override them; None and () are not given.
            fixed: what the verb decides.
        """
        from metabench.supervisor.request import Request

        given = {name: value for name, value in options.items() if value not in (None, ())}
        shared = {
            "data_root": self.data_root,
            "plugins": self.sources.plugins,
            "plugins_dirs": self.sources.plugins_dirs,
        }
        return Request(**{**config, **given, **shared, **fixed})

    def from_config(self, *names: str) -> dict[str, Any]:
        """Return those options of `bench.toml` that a verb has too."""
        return {name: self.config[name] for name in names if name in self.config}

    def load_plugins(self, *, warn: bool = True) -> Plugins:
        """Load the plugins, and print warnings about them.

        A verb that succeeds ends with exit code 1 if one of them was named and has failed.
        """
        from metabench.plugins.registry import load_plugins

        plugins = load_plugins(self.sources)
        self.loaded.append(plugins)
        if warn:
            self.warn(plugins.warnings)
        return plugins

    def warn(self, lines: Sequence[str]) -> None:
        """Print warnings to stderr, one line each, unless `-q`."""
        for line in () if self.quiet else lines:
            echo(f"metabench: warning: {line}", err=True)


_RESULTS = click.option(
    "--results",
    metavar="DIR",
    help=f"Results folder.  [default: {DEFAULT_RESULTS}; smoke runs: {TRIAL_RESULTS}]",
)
_DATA_ROOT = click.option(
    "--data-root", metavar="DIR", help="Folder of datasets.  [default: $METABENCH_DATA]"
)
_PLUGIN = click.option(
    "-p",
    "plugins",
    metavar="PLUGIN",
    multiple=True,
    help="Load a plugin: module, path/to/file.py or package/; no:NAME excludes one.",
)
_PLUGINS_DIR = click.option(
    "--plugins-dir", "plugins_dirs", metavar="DIR", multiple=True, help="Load every plugin in DIR."
)
_CONFIG = click.option(
    "--config",
    type=Path,
    metavar="FILE",
    help="Read options from a TOML file.  [default: bench.toml, if it exists]",
)
_ALWAYS = (
    click.option("-q", "--quiet", is_flag=True, help="Print only results and errors."),
    click.option("-v", "--verbose", is_flag=True, help="Print details."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
)
_CHOICES: dict[Choice, tuple[Callable[..., Any], ...]] = {
    "results": (_RESULTS,),
    "data_root": (_DATA_ROOT,),
    "plugins": (_PLUGIN, _PLUGINS_DIR),
}


def as_argument(path: Path) -> str:
    """Return a path in a form that is not taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def no_results(common: Common) -> NothingToRun:
    """Return the error of a verb that finds no results, with advice."""
    from metabench.results.store import Store

    if not common.results_given and Store(TRIAL_RESULTS).paths():
        return NothingToRun(
            f"no results in '{common.results}', but there are some in '{TRIAL_RESULTS}': "
            f"add --results {TRIAL_RESULTS}"
        )
    return NothingToRun(
        f"no results in '{common.results}'; make some with: "
        + common.command(
            "run", "-s", "digits-5w1s", "--budget", "smoke", "--results", str(common.results)
        )
    )


no_allocator_option = click.option(
    "--no-allocator",
    "allocator",
    is_flag=True,
    callback=lambda context, option, given: False if given else None,
    help="Leave the memory allocator as it is.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def common_options(*choices: Choice) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the chosen common options, and always -q, -v and --debug, to a command.

    The command gets them as one argument, `common: Common`. What the command line leaves open,
    `bench.toml` decides. metabench's logging goes to stderr, at the level that -q and -v select.
    """
    options = [option for choice in choices for option in _CHOICES[choice]]
    if choices:
        options.append(_CONFIG)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(**values: Any) -> Any:
            common = _common(values, choices)
            _set_up_logging(common)
            with own_stdout():
                try:
                    code = function(common=common, **values)
                except Exception as error:
                    if options := " ".join(common.sources.options):
                        error.add_note(f"a plugin may be the cause: try without {options}")
                    raise
            # After the hooks have been called, which may fail too.
            not_loaded = [line for plugins in common.loaded for line in plugins.not_loaded]
            for line in not_loaded:
                echo(f"metabench: failed: {line}", err=True)
            return code or int(bool(not_loaded))

        decorated: Callable[..., Any] = command
        for option in reversed([*options, *_ALWAYS]):
            decorated = option(decorated)
        return decorated

    return decorate


def _common(values: dict[str, Any], choices: Sequence[Choice]) -> Common:
    """Remove the common options from a command's values and return them."""
    file = values.pop("config") if choices else None
    config = _read_config(file) if choices else {}
    results = values.pop("results", None) or (config.get("results") if "results" in choices else "")
    return Common(
        config=config,
        config_file=file,
        results=Path(results) if results else DEFAULT_RESULTS,
        results_given=bool(results),
        data_root=values.pop("data_root", None) or config.get("data_root", ""),
        sources=PluginSources.from_env(
            (*config.get("plugins_dirs", ()), *values.pop("plugins_dirs", ())),
            (*config.get("plugins", ()), *values.pop("plugins", ())),
        ),
        quiet=values.pop("quiet"),
        verbose=values.pop("verbose"),
        debug=values.pop("debug"),
    )


def _read_config(file: Path | None) -> dict[str, Any]:
    if file is None and not os.path.lexists(DEFAULT_CONFIG):  # a link may lead nowhere
        return {}
    from metabench.supervisor.request import read_config

    return read_config(file or DEFAULT_CONFIG)


class _Stderr(logging.Handler):
    """A handler that writes to the current stderr, not to that of when logging was set up."""

    def emit(self, record: logging.LogRecord) -> None:
        echo(f"metabench: {record.levelname.lower()}: {record.getMessage()}", err=True)


def _set_up_logging(common: Common) -> None:
    log = logging.getLogger("metabench")
    log.handlers = [_Stderr()]
    log.propagate = False
    log.setLevel(
        logging.ERROR if common.quiet else logging.INFO if common.verbose else logging.WARNING
    )
