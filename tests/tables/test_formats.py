"""All formats show the same values; the keys of the JSON are a contract."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from results_factory import make_environment, make_result, make_suite
from tabulate import tabulate

from metabench.results.schema import Training
from metabench.tables import (
    csv_format,
    document,
    formats,
    html_format,
    json_format,
    markdown_format,
)
from metabench.tables.leaderboard_frame import frame
from metabench.tables.markdown import code, markdown_table
from metabench.tables.ranked_tables import build_tables
from metabench.tables.rows import StoredResult

GOLDEN = Path(__file__).parent / "resources" / "leaderboard.md"


def small_case():
    """Two suites: three algorithms with numbers that can be checked by hand, and failures."""
    digits = make_suite(episodes=1000)
    right = {0: [12, 14, 13, 13], 1: [13, 13, 11, 15], 2: [12, 12, 14, 14]}
    results = [
        make_result("protonet", seed=seed, suite=digits, correct=correct, f1=[0.8, 0.9, 0.8, 0.9])
        for seed, correct in right.items()
    ]
    results += [
        make_result(
            "maml",
            suite=digits,
            correct=[9, 9, 10, 8],
            chosen={"inner_lr": 0.4},
            training=Training(way=20, shot=5, query=5, tasks_per_step=4),
            fit_s=300.0,
            adapt_s=[0.0416],
        ),
        make_result(
            "nearest",
            suite=digits,
            correct=[3, 3],
            fit_s=None,
            parameters=0,
            environment=make_environment(contended=True, dirty=True),
        ),
        make_result("broken", suite=digits, status="error"),
        make_result(
            "regressor", suite=digits, status="not_applicable", reason="for regression only"
        ),
    ]
    waves = make_suite("sinusoid-5s", way=1, shot=5, query=10, metric="mse", episodes=4)
    results += [
        make_result("maml", suite=waves, budget="standard", error=[0.5, 0.7, 0.6, 0.6]),
        make_result("mean", suite=waves, budget="standard", error=[3.0, 5.0, 4.0, 4.0]),
    ]
    return results


def tables_of(results):
    return build_tables(StoredResult(None, result) for result in results)


def markdown_rows(text):
    """Return the cells of every table in a Markdown document, by column name."""
    tables, header = [], None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if header is None:
            header = cells
            tables.append([])
        elif not set(cells[0]) <= set(":-") or cells[0] == "-":
            tables[-1].append(dict(zip(header, cells, strict=True)))
    return tables


def test_markdown_of_a_small_case():
    assert markdown_format.render(tables_of(small_case())) == GOLDEN.read_text(encoding="utf-8")


CONTRACT = {
    "rank": int,
    "tier": int,
    "algorithm": str,
    "params": dict,
    "budget": str,
    "status": str,
    "score": float,
    "ci95": list,
    "macro_f1": float,
    "seeds": int,
    "episodes": int,
    "inductive": bool,
    "flags": list,
    "fit_s": float,
    "adapt_ms": float,
    "predict_ms": float,
    "episodes_per_s": float,
    "peak_mib": float,
    "parameters": int,
    "device": str,
    "commit": str,
    "files": list,
}


def test_json_keeps_its_contract():
    content = json.loads(json_format.render(tables_of(small_case())))
    assert content["schema"] == 1
    assert [suite["suite"] for suite in content["suites"]] == ["digits-5w1s", "sinusoid-5s"]
    for suite in content["suites"]:
        assert suite["metric"] in ("accuracy", "mse")
        assert re.fullmatch("[0-9a-f]{64}", suite["episodes_digest"])
        for row in suite["rows"]:
            assert CONTRACT.keys() <= row.keys()
            for name, kind in CONTRACT.items():
                assert row[name] is None or isinstance(row[name], kind), name


def test_json_has_null_for_unknown_values_and_fractions_for_accuracies():
    content = json.loads(json_format.render(tables_of(small_case())))
    best, *_, failed, _ = content["suites"][0]["rows"]
    assert best["score"] == pytest.approx(sum([52, 52, 52]) / (3 * 4 * 15))
    assert best["ci95"][0] < best["score"] < best["ci95"][1]
    unknown = ("rank", "tier", "score", "ci95", "macro_f1", "fit_s", "adapt_ms", "inductive")
    assert [failed[name] for name in unknown] == [None] * len(unknown)
    assert failed["reason"] == "error: ZeroDivisionError: division by zero"


def test_json_is_valid_where_scores_are_not_finite():
    waves = make_suite("sinusoid-5s", way=1, metric="mse", episodes=2)
    text = json_format.render(tables_of([make_result(suite=waves, error=[float("nan"), 1.0])]))
    row = json.loads(text, parse_constant=pytest.fail)["suites"][0]["rows"][0]
    assert (row["score"], row["ci95"], row["rank"]) == (None, None, None)


def agrees(text, value):
    """Return whether a printed number is the value, rounded to the printed digits."""
    digits = text.replace(",", "")
    decimals = len(digits.partition(".")[2])
    return abs(float(digits) - value) <= 0.5 * 10**-decimals + 1e-9


def test_every_number_in_markdown_can_be_computed_again_from_json():
    tables = tables_of(small_case())
    content = json.loads(json_format.render(tables))
    shown = markdown_rows(markdown_format.render(tables))
    compared = 0
    for suite, cells_of in zip(content["suites"], shown, strict=True):
        scale = 100 if suite["metric"] == "accuracy" else 1
        score_column = "accuracy (%)" if suite["metric"] == "accuracy" else "MSE"
        for row, cells in zip(suite["rows"], cells_of, strict=True):
            expected = {
                "rank": [row["rank"]],
                "adapt (ms)": [row["adapt_ms"]],
                "predict (ms)": [row["predict_ms"]],
                "parameters": [row["parameters"]],
                "seeds x episodes": [row["seeds"], row["episodes"]] if row["seeds"] else [None],
            }
            seconds = row["fit_s"]
            minutes = cells["meta-training"].endswith("min")
            expected["meta-training"] = [seconds and seconds / (60 if minutes else 1)]
            if suite["metric"] == "accuracy":
                expected["macro-F1 (%)"] = [row["macro_f1"] and 100 * row["macro_f1"]]
            if row["score"] is not None:
                low, high = row["ci95"]
                expected[score_column] = [scale * row["score"], scale * (high - low) / 2]
            else:
                assert cells[score_column] in ("failed", "not applicable")
            for column, values in expected.items():
                printed = re.findall(r"[\d.,]+", cells[column])
                known = [value for value in values if value is not None]
                assert len(printed) == len(known), (column, cells)
                for text, value in zip(printed, known, strict=True):
                    assert agrees(text, value), (column, text, value)
                    compared += 1
            flags = [*row["flags"], *([row["reason"]] if row["reason"] else [])]
            assert cells["flags"] == "; ".join(flags)
            assert cells["algorithm"] == f"`{row['address']}`"
            assert cells["commit"] == row["commit"]
    assert compared > 40


def test_csv_reads_back_as_the_frame():
    tables = tables_of(small_case())
    expected = frame(tables)
    read = pd.read_csv(
        io.StringIO(csv_format.render(tables)),
        dtype={"commit": str, "rank": "Int64", "tier": "Int64", "parameters": "Int64"},
    )
    assert list(read.columns) == list(expected.columns)
    for name in ("rank", "score", "ci95_low", "ci95_high", "macro_f1", "parameters", "adapt_ms"):
        assert read[name].isna().tolist() == expected[name].isna().tolist()
        assert read[name].dropna().tolist() == expected[name].dropna().tolist()
    assert read["commit"].tolist() == expected["commit"].tolist()
    assert [json.loads(text) for text in read["params"]][1] == {"bn": "running", "inner_lr": 0.4}


class _Tables(HTMLParser):
    """A parser that collects the cells of each table."""

    def __init__(self):
        super().__init__()
        self.tables, self._cell = [], None

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self._cell)
            self._cell = None


def test_html_reads_back_as_the_cells():
    tables = tables_of(small_case())
    parser = _Tables()
    parser.feed(html_format.render(tables))
    read = [[[cell.strip() for cell in row] for row in table] for table in parser.tables]
    assert read == [[document.columns(table), *document.cells(table)] for table in tables]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a | b",
        "x <b> y",
        "Net.__init__() got *args* and `_one_`",
        "C:\\x|y 3 * 4 < 5 a_b",
        "two ``ticks``",
    ],
)
def test_text_from_a_plugin_stays_within_its_cell(text):
    tables = tables_of([make_result("good"), make_result("bad", status="error", reason=text)])
    page = html_format.render(tables)
    assert "<script>" not in page
    assert "<b>" not in page
    ((good, bad),) = markdown_rows(markdown_format.render(tables))
    assert (good["rank"], bad["rank"]) == ("1", "-")
    assert re.sub(r"\\([|<*_`\\])", r"\1", bad["flags"]) == f"error: {text}"
    assert not re.search(r"(?<!\\)(<[a-z/]|__|`|\*\S)", bad["flags"])


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\\<script>",
    "`<script>`<script>",
    "\n```\n<script>alert(1)</script>\n```\n",
    "\n\n# owned\n",
    "![x](http://example.com/x.png)",
    "[x](javascript:alert)",
    "&lt;script&gt;",
    "\x1b]0;owned\x07\x00",
    '=HYPERLINK("http://example.com")',
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_a_stranger_is_shown_as_text(text):
    """In every place of a result that is shown: names, machines, reasons."""
    suite = make_suite(text)
    environment = make_environment(cpu=text, commit=text, plugins=[f"-p {text}"])
    results = [
        make_result(text, suite=suite, budget=text, environment=environment),
        make_result("bad", suite=suite, budget=text, status="error", reason=text),
        make_result("on", suite=make_suite(text, train_on=text), budget=text, device=text),
    ]
    tables = tables_of(results)
    page = MarkdownIt("commonmark", {"html": True}).enable("table")
    written = {name: formats.render(name, tables, "results") for name in ("md", "html", "csv")}
    for name, html in (("md", page.render(written["md"])), ("html", written["html"])):
        assert not re.search(r"<(script|img)|href=.(http|javascript)", html), name
        assert len(re.findall("<h[12]>", html)) == 3, name
        assert html.count("<pre>") == 1, name
    for content in written.values():
        assert not re.search("[\x00-\x09\x0b-\x1f]", content)
    cells = pd.read_csv(io.StringIO(written["csv"]), dtype=str).to_numpy().ravel()
    assert not [cell for cell in cells if str(cell).startswith(("=", "+", "@"))]


def test_no_format_shows_hidden_characters_or_lines_of_a_stranger():
    text = "a\u200b\u202e\nmetabench: error: forged"
    suite = msgspec.structs.replace(make_suite(), dataset=text)
    environment = make_environment(cpu=text, plugins=[f"-p '{text}'"])
    tables = tables_of([make_result(chosen={"a": text}, suite=suite, environment=environment)])
    for name in formats.FORMATS:
        written = formats.render(name, tables, "results")
        assert not {"\u200b", "\u202e"} & {*written}, name
        assert "\nmetabench: error" not in written, name


def test_no_format_shows_control_characters_of_a_digest() -> None:
    hidden = "\x1b[31m<b>\u202e"
    suites = [make_suite(manifest=name) for name in "ab"]
    suites = [msgspec.structs.replace(s, episodes_digest=hidden + s.name) for s in suites]
    results = [make_result("a", suite=s, seed=k) for k, s in enumerate(suites)]
    tables = build_tables(StoredResult(None, r) for r in results)
    tables = [msgspec.structs.replace(table, alone=False) for table in tables]
    for name in formats.FORMATS:
        shown = formats.render(name, tables)
        assert "\x1b" not in shown, name
        assert "\u202e" not in shown, name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("maml[lr=0.1]", "`maml[lr=0.1]`"),
        ("a[b=<i>*x*]", "`a[b=<i>*x*]`"),
        ("a[b=x|y]", "`a[b=x\\|y]`"),
        ("a[b=``]", "``` a[b=``] ```"),
    ],
)
def test_only_bars_are_escaped_in_code(text, shown):
    assert code(text) == shown


def test_columns_without_any_value_are_kept():
    (table,) = tables_of([make_result(status="timeout", reason="after 1 s")])
    width = len(document.columns(table))
    assert width == len(document.cells(table)[0])
    assert "| adapt (ms)" in re.sub(" +", " ", markdown_format.render([table]))


def test_only_flags_that_occur_are_explained():
    text = markdown_format.render(tables_of(small_case()))
    (explained,) = re.findall(r"## Flags\n\n(.*)", text, flags=re.DOTALL)
    names = [line[2:].partition(": ")[0] for line in explained.splitlines()]
    assert sorted(names) == [
        "2 of 4 episodes",
        "CI contains chance",
        "contended",
        "dirty",
        "one seed",
        "seeds<5",
        "train 20-way 5-shot",
    ]


def test_without_flags_there_is_no_section_on_flags():
    assert "## Flags" not in markdown_format.render(tables_of([make_result()]))


def test_the_first_episodes_of_a_suite_are_named_as_such():
    suite = make_suite(episodes=1000)
    (table,) = tables_of([make_result(suite=suite, scored=100)])
    assert "the first 100 of 1,000 episodes" in document.facts(table)
    (table,) = tables_of([make_result(suite=suite)])
    assert "accuracy over 1,000 episodes" in document.facts(table)


def test_tables_of_one_suite_with_different_episodes_have_different_headings():
    tables = tables_of([make_result(), make_result(suite=make_suite(manifest="others"))])
    headings = [document.heading(table) for table in tables]
    assert headings == [f"digits-5w1s, smoke, episodes {t.episodes_digest[:12]}" for t in tables]
    assert all("cannot be compared" in document.facts(table) for table in tables)


def test_no_tables_give_a_valid_document_and_frame():
    assert markdown_format.render([]).startswith("# Leaderboard")
    assert json.loads(json_format.render([])) == {"schema": 1, "suites": []}
    assert len(frame([])) == 0
    assert "score" in frame([]).columns


def test_a_markdown_table_equals_that_of_tabulate_alone():
    (table,) = tables_of([make_result("a"), make_result("b", accuracy=0.2)])
    cells = document.cells(table)
    for row in cells:
        row[document.ALGORITHM] = f"`{row[document.ALGORITHM]}`"
    columns = document.columns(table)
    align = ["left" if name in document.TEXT_COLUMNS else "right" for name in columns]
    expected = tabulate(cells, columns, "pipe", colalign=align, disable_numparse=True)
    assert expected in markdown_format.render([table])


def test_cells_are_escaped_once_and_long_tables_need_no_padding():
    rows = [("a|b", code("c|d")), ("e", "1")]
    assert markdown_table(("name", "n*"), rows, {"name"}, padded=False).splitlines() == [
        "| name | n\\* |",
        "|:--|--:|",
        "| a\\|b | `c\\|d` |",
        "| e | 1 |",
    ]


def test_every_format_of_the_registry_can_be_rendered():
    assert {"md", "csv", "json", "html"} <= {*formats.FORMATS}
    tables = tables_of(small_case())
    assert len({formats.render(name, tables) for name in formats.FORMATS}) == len(formats.FORMATS)


def test_reading_the_registry_imports_no_heavy_module():
    heavy = {"torch", "pandas", "numpy", "tabulate"}
    code = f"import sys, metabench.tables.formats; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
