"""A request: its numbers, `bench.toml` and the results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench.errors import UsageError
from metabench.supervisor.request import Request, read_config


def test_results_of_trial_runs_go_elsewhere() -> None:
    assert Request().results_folder == Path("results-smoke")
    assert Request(budget="standard").results_folder == Path("results")
    assert Request(results="here").results_folder == Path("here")


class TestConfig:
    @pytest.fixture
    def read(self, tmp_path: Path):
        def read(text: str | bytes) -> dict[str, Any]:
            file = tmp_path / "bench.toml"
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
            return read_config(file)

        return read

    def test_keys_are_those_of_a_request(self, read) -> None:
        values = read(
            """
            suites = ["digits-*"]
            algorithms = ["protonet", "maml[lr=0.1|1]"]
            seeds = 3
            budget = "standard"
            time_limit = 60  # a whole number will do
            allocator = false
            """
        )
        request = Request(**values)
        assert request.suites == ["digits-*"]
        assert (request.seeds, request.time_limit, request.allocator) == (3, 60, False)
        assert request.results_folder == Path("results")
        assert request.device == "cpu"

    def test_an_empty_file_changes_nothing(self, read) -> None:
        assert read("") == {}

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ('suits = ["a"]', "unknown key in {file} 'suits': did you mean 'suites'?"),
            ("[run]\nseeds = 1", "unknown key in {file} 'run'"),
            ('suites = "digits"', "{file}: suites='digits': write a list of strings"),
            ("suites = 5", "{file}: suites=5: write a list of strings"),
            ("suites = [5]", "{file}: suites=[5]: write a list of strings"),
            ('results = "a\\u0000b"', "{file}: results='a\\x00b': write a string in quotes"),
            ('seeds = "3"', "{file}: seeds='3': write a whole number"),
            ("seeds = 3.0", "{file}: seeds=3.0: write a whole number"),
            ("seeds = true", "{file}: seeds=True: write a whole number"),
            ("time_limit = false", "{file}: time_limit=False: write a number"),
            ("allocator = 1", "{file}: allocator=1: write true or false"),
            ("budget = 5", "{file}: budget=5: write a string in quotes"),
            ("threads = -1", "{file}: threads=-1: must be at least 0"),
            ("seeds = 1000000", "{file}: seeds=1000000: must be at most 100000"),
            ("time_limit = nan", "{file}: time_limit=nan: must be at least 0"),
            ('shard = "²/³"', "{file}: shard '²/³': write i/n with 1 <= i <= n"),
            ('budget = "smok"', "{file}: unknown budget 'smok': did you mean 'smoke'?"),
            ('results = ""', "{file}: results has an empty text: leave it out"),
            ('plugins_dirs = [""]', "{file}: plugins_dirs has an empty text: leave it out"),
            (f"seeds = {'[' * 100_000}", "{file} is not valid: its values are nested too deeply"),
            ("seeds =", "{file} is not valid TOML: "),
            (b'budget = "\xff"', "{file} is not valid TOML: "),
        ],
    )
    def test_a_wrong_key_or_type_is_reported_in_one_line(self, read, tmp_path, text, error) -> None:
        with pytest.raises(UsageError) as caught:
            read(text)
        assert str(caught.value).startswith(error.format(file=tmp_path / "bench.toml"))
        assert "\n" not in str(caught.value)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"cannot read .*none\.toml: No such file"):
            read_config(tmp_path / "none.toml")


@pytest.mark.parametrize("text", ["²/³", "1/" + "9" * 5000, "0/2", "3/2", "1/2/3", "-1/2"])
def test_a_shard_that_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write i/n with 1 <= i <= n"):
        Request(shard=text)


def test_numbers_of_numpy_are_taken_as_plain_ones() -> None:
    request = Request(seeds=np.int64(3), time_limit=np.float32(2.5))
    assert (type(request.seeds), type(request.time_limit)) == (int, float)
    with pytest.raises(UsageError, match="seeds='3': write a whole number"):
        Request(seeds="3")
