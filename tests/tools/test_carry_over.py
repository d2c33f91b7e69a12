from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

import metabench
from metabench.results.store import Store
from tools import carry_over

OLD = "0" * 64


def made_by_older_code(store: Store, path: Path) -> None:
    result = store.load(path)
    assert result is not None
    store.write(path, replace(result, job=replace(result.job, code=OLD)))


@pytest.mark.slow
def test_results_with_equal_outputs_get_the_digest_of_the_new_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METABENCH_PLUGINS", "builtin")
    results = tmp_path / "results"
    metabench.run("digits-5w1s", ["chance", "pixel-1nn", "pca-lr"], results=results)
    store, before, after = Store(results), tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    carry_over.run(store, before)
    lines = carry_over.read_lines(before)
    chance, pca, pixels = sorted(lines)
    for name, line in lines.items():
        made_by_older_code(store, Path(name))
        line["code"] = OLD
    lines[pixels]["outputs"][0] = "others"
    before.write_text("".join(f"{json.dumps(line)}\n" for line in lines.values()))

    carry_over.run(store, tmp_path / "none.jsonl")  # all are stale now
    assert not (tmp_path / "none.jsonl").exists()
    of = tmp_path / "of.jsonl"
    of.write_text("".join(f"{json.dumps(lines[name])}\n" for name in (chance, pixels)))
    carry_over.run(store, after, of)
    assert list(carry_over.read_lines(after)) == [chance, pixels]
    assert sorted(carry_over.write(store, before, after)) == [
        f"{pca}: not run by the new code",
        f"{pixels}: different outputs",
    ]
    codes = {path.as_posix(): result.job.code for path, result in store.read()[0]}
    assert codes == {chance: carry_over.read_lines(after)[chance]["code"], pca: OLD, pixels: OLD}
    assert store.load_code(codes[chance])
    (left, *_) = carry_over.write(store, before, after)
    assert left.endswith("its code is not that of before.jsonl")
