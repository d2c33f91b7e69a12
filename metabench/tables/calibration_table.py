"""The calibration of each row's probabilities, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.tables import document, formatting
from metabench.tables.markdown import markdown_table, name_of
from metabench.tables.ranked_tables import Table

_COLUMNS = ("tier", "rank", "algorithm", "accuracy (%)", "NLL (nats)", "Brier", "ECE (%)")

INTRODUCTION = (
    "Probabilities are the softmax of a learner's logits. NLL is the mean of -log p of the true "
    "class. Brier is the mean squared distance between the probabilities and the true class as a "
    "one-hot vector (0 to 2). ECE is the mean gap between the probability of the predicted class "
    "and the share of correct answers, in 15 bins. Lower is better. Values are means over seeds. "
    "A dash means unknown."
)


def calibration_document(tables: Sequence[Table]) -> str:
    """Return one table for each suite and budget; regression suites have no probabilities."""
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
        parts += [
            f"## {document.heading(table)}",
            markdown_table(_COLUMNS, cells, {"algorithm"}),
        ]
    return "\n\n".join(parts) + "\n"
