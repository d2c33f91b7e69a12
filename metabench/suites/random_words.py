"""Random choices that are the same on every machine and with every NumPy version.

Episode k owns a fixed range of the raw 64-bit words of a Philox stream, so it does not depend on
what was drawn before, in which order, or by how many workers. NumPy guarantees the raw words of a
bit generator, but not the results of `choice` or `permutation`. Therefore metabench's own routines
turn words into choices.

Reference: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

_WORDS_PER_COUNT = 4  # Philox4x64 gives four words for each value of its counter


def stream_key(*parts: str) -> int:
    """Return the 128-bit Philox key of the stream named by `parts`."""
    named = "\x1f".join(parts).encode()
    return int.from_bytes(hashlib.sha256(named).digest()[:16], "little")


def episode_words(key: int, first: int, count: int, per_episode: int) -> Words:
    """Return the words of episodes first..first+count-1, [count, per_episode]."""
    counts = -(-per_episode // _WORDS_PER_COUNT)
    bits = np.random.Philox(key=key, counter=first * counts)
    words = bits.random_raw(count * counts * _WORDS_PER_COUNT)
    return words.reshape(count, -1)[:, :per_episode]


def below(words: Words, bound: int | Integers) -> Integers:
    """Return integers in 0..bound-1, one per word; `bound` broadcasts against `words`.

    The upper half of a word is scaled. For fewer than 2^16 choices, probabilities are equal to
    within a relative difference of 2^-16.
    """
    high = words >> np.uint64(32)
    return ((high * np.asarray(bound, dtype=np.uint64)) >> np.uint64(32)).astype(np.int64)


def choose(words: Words, population: int | Integers) -> Integers:
    """Return distinct members of 0..population-1, in random order.

    Args:
        words: [R, k], one word per choice.
        population: at least k; one number, or [R].

    Returns:
        [R, k]; each row is a uniformly random ordered sample without replacement.
    """
    k = words.shape[1]
    left = np.asarray(population) - np.arange(k)[:, None]
    chosen = below(words.T, left)  # [k, R]: ranks among the members left at each choice
    for i in range(k - 2, -1, -1):  # from the last choice back: later ranks skip this one
        later = chosen[i + 1 :]
        later += later >= chosen[i]
    return np.ascontiguousarray(chosen.T)


def permute(words: Words) -> Integers:
    """Return [R, k] random permutations of 0..k-1, one per row; equal words keep their order."""
    return np.argsort(words, axis=1, kind="stable").astype(np.int64)
