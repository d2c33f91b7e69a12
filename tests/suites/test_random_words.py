from __future__ import annotations

import numpy as np
import pytest

from metabench.suites.random_words import choose, episode_words, permute, stream_key

_MASK = (1 << 64) - 1


def philox4x64(counter: int, key: int) -> list[int]:
    """Philox4x64-10 as the paper gives it, one counter at a time."""
    c = [(counter >> (64 * i)) & _MASK for i in range(4)]
    k = [key & _MASK, (key >> 64) & _MASK]
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], 1 << 64)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], 1 << 64)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) & _MASK, (k[1] + 0xBB67AE8584CAA73B) & _MASK]
    return c


def choose_simply(words: list[int], population: int) -> list[int]:
    left = list(range(population))
    return [left.pop(((word >> 32) * len(left)) >> 32) for word in words]


def test_words_are_those_of_the_published_generator() -> None:
    key = stream_key("a", "stream")
    words = episode_words(key, first=5, count=2, per_episode=6)
    # An episode of six words owns two counts; NumPy counts up before it generates.
    expected = [(philox4x64(2 * k + 1, key) + philox4x64(2 * k + 2, key))[:6] for k in (5, 6)]
    assert words.tolist() == expected


def test_an_episode_does_not_depend_on_those_before_it() -> None:
    key = stream_key("x")
    everything = episode_words(key, 0, 50, 13)
    assert np.array_equal(episode_words(key, 17, 4, 13), everything[17:21])


def test_streams_of_other_names_differ() -> None:
    keys = {
        stream_key("a", "bc"),
        stream_key("ab", "c"),
        stream_key("a", "b", "c"),
    }
    assert len(keys) == 3


@pytest.mark.parametrize(("population", "k"), [(5, 5), (20, 16), (4112, 60), (1, 1), (100, 2)])
def test_choose_equals_drawing_from_a_hat(population: int, k: int) -> None:
    words = episode_words(stream_key("hat"), 0, 40, k)
    chosen = choose(words, population)
    assert chosen.tolist() == [choose_simply(row.tolist(), population) for row in words]


def test_choose_takes_a_population_for_each_row() -> None:
    words = episode_words(stream_key("rows"), 0, 3, 4)
    chosen = choose(words, np.array([4, 7, 900]))
    assert chosen.tolist() == [
        choose_simply(row.tolist(), n) for row, n in zip(words, (4, 7, 900), strict=True)
    ]


def test_choices_are_uniform() -> None:
    words = episode_words(stream_key("uniform"), 0, 30_000, 3)
    chosen = choose(words, 6)
    for position in range(3):
        counts = np.bincount(chosen[:, position], minlength=6)
        chi2 = ((counts - 5000) ** 2 / 5000).sum()
        assert chi2 < 20.5  # 99.9 % of chi-squared with 5 degrees of freedom


def test_permutations_hold_everything_once() -> None:
    order = permute(episode_words(stream_key("p"), 0, 10, 75))
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(75), (10, 1)))


def test_equal_words_keep_their_order() -> None:
    words = np.array([[3, 1, 3, 1]], dtype=np.uint64)
    assert permute(words).tolist() == [[1, 3, 0, 2]]
