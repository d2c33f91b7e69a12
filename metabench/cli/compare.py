"""`metabench compare A B -s SUITE`: the difference of two algorithms, with its uncertainty."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from metabench.cli.options import Common, common_options, json_option, no_results
from metabench.cli.output import echo, emit_json

if TYPE_CHECKING:
    from metabench.tables.comparison import Comparison


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("-s", "--suite", required=True, metavar="SUITE", help="Name or address.")
@click.option(
    "--budget", metavar="BUDGET", help="Needed if there are several: smoke, standard, ..."
)
@click.option("--device", help="Needed if there are several: cpu, cuda, ...")
@click.option(
    "--train-on", metavar="SUITE", help="Only results trained on the base data of this suite."
)
@click.option(
    "--margin",
    metavar="0.5pp",
    help="Differences that count as equal: points, or a share of B's score.  "
    "[default: 0.5pp, or 5% for squared errors]",
)
@common_options("results", "data_root", "plugins")
@json_option
def compare(
    a: str,
    b: str,
    suite: str,
    budget: str | None,
    device: str | None,
    train_on: str | None,
    margin: str | None,
    as_json: bool,
    common: Common,
) -> None:
    """Compare the stored results of two algorithms on the episodes that both have answered.

    The difference is paired by episode. With several seeds, its interval also covers seeds.
    """
    from metabench.suites.from_address import name_of
    from metabench.supervisor.lookup import as_stored
    from metabench.tables.comparison import compare as compare_results
    from metabench.tables.leaderboard_frame import read
    from metabench.tables.margins import Margin

    config = common.config
    budget = budget or config.get("budget")
    # Results have the type of a device, without its number.
    device = device or config.get("device", "auto").replace("auto", "").partition(":")[0] or None
    train_on = train_on or config.get("train_on")
    asked = None if margin is None else Margin.parse(margin)
    cells, problems = read(common.results)
    common.warn(problems)
    if not cells:
        raise no_results(common)
    plugins = common.load_plugins()
    suite = name_of(suite, common.data_root)
    train_on = train_on and name_of(train_on, common.data_root)
    kind = next((c.result.suite.kind for c in cells if c.result.suite.name == suite), None)
    if kind is not None:
        a, b = (as_stored(text, plugins, kind) for text in (a, b))
    found = compare_results(cells, suite, a, b, budget, asked, device, train_on)
    if as_json:
        emit_json(comparison=found)
    else:
        _print(found)


def _print(found: Comparison) -> None:
    from metabench.cli.table_printing import plain
    from metabench.tables import formatting
    from metabench.tables.flags import note

    accuracy = found.metric == "accuracy"
    scale, unit = (100, " points") if accuracy else (1, "")
    echo(f"{found.suite}, {found.budget}: {found.episodes:,} episodes, paired")
    for name, text, score, seeds, flags in (
        ("A", found.a, found.score_a, found.seeds_a, found.flags_a),
        ("B", found.b, found.score_b, found.seeds_b, found.flags_b),
    ):
        shown = formatting.score(score, found.metric)
        known = [f"{seeds} seed{'s' * (seeds != 1)}", *flags]
        echo(f"{name}: {text}, {shown}, {'; '.join(known)}")
    difference = partial(formatting.difference, metric=found.metric, digits=3)
    line = f"A - B: {difference(found.difference)}{unit}"
    if found.ci95 is not None and found.p is not None:
        low, high = map(difference, found.ci95)
        line += f", 95 % CI {low} to {high}, {formatting.p_value(found.p)}"
    if not accuracy:
        line += " (lower is better)"
    echo(line)
    if found.better is not None and found.equivalent is not None and found.worse is not None:
        margin = f"{scale * found.margin:g}{unit}"
        echo(
            f"probability that A is better: {formatting.probability(found.better)}, "
            f"equal within {margin}: {formatting.probability(found.equivalent)}, "
            f"worse: {formatting.probability(found.worse)}"
        )
    show = formatting.percent if accuracy else formatting.significant
    rows = [(str(pair.episode), show(pair.a), show(pair.b)) for pair in found.most_different]
    echo("the episodes that differ most:")
    for text in plain(("episode", "A", "B"), rows):
        echo(f"  {text}")
    for flag in dict.fromkeys([*found.flags_a, *found.flags_b]):
        echo(f"{flag}: {note(flag)}")
