"""How far the probabilities of each row can be believed, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.tables import document, formatting
from metabench.tables.markdown import name_of
from metabench.tables.ranked_tables import Table

_COLUMNS = ("tier", "rank", "algorithm", "accuracy (%)", "NLL (nats)", "Brier", "ECE (%)")

INTRODUCTION = (
    "Probabilities are the softmax of a learner's logits. NLL is the mean of -log p of the true "
    "class, Brier the mean squared distance of the probabilities from it (0 to 2), ECE the mean "
    "gap between the probability of the predicted class and the share of right answers, in 15 "
    "bins. Lower is better; means over seeds. A dash is a value that is not known."
)


def markdown(tables: Sequence[Table]) -> str:
    """One table for each suite and budget; suites of functions have no probabilities."""
    import pandas as pd

    parts = ["# Calibration", INTRODUCTION]
    for table in tables:
        rows = [row for row in table.rows if row.status == "ok"]
        if table.metric != "accuracy" or not rows:
            continue
        cells = [
            (
                formatting.count(row.tier),
                formatting.count(row.rank),
                name_of(row),
                formatting.percent(row.score),
                formatting.significant(row.nll),
                formatting.significant(row.brier),
                formatting.percent(row.ece),
            )
            for row in rows
        ]
        align = ["left" if name == "algorithm" else "right" for name in _COLUMNS]
        shown = pd.DataFrame(cells, columns=_COLUMNS)
        parts += [
            f"## {document.heading(table)}",
            shown.to_markdown(index=False, colalign=align, disable_numparse=True),
        ]
    return "\n\n".join(parts) + "\n"
