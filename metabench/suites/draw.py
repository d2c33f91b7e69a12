"""Random choices that are data: the same on every machine and NumPy version.

Episode k owns a fixed range of the raw 64-bit words of a Philox stream, so it is the same
whatever was drawn before it, in any order, by any number of workers. NumPy guarantees raw
words of a bit generator; it does not guarantee `choice` or `permutation`, so the routines
that turn words into choices are ours.

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
    """The 128-bit Philox key of the stream named by `parts`."""
    named = "\x1f".join(parts).encode()
    return int.from_bytes(hashlib.sha256(named).digest()[:16], "little")


def episode_words(key: int, first: int, count: int, per_episode: int) -> Words:
    """The words of episodes first..first+count-1, [count, per_episode]."""
    counts = -(-per_episode // _WORDS_PER_COUNT)
    bits = np.random.Philox(key=key, counter=first * counts)
    words = bits.random_raw(count * counts * _WORDS_PER_COUNT)
    return words.reshape(count, -1)[:, :per_episode]


def below(words: Words, bound: int | Integers) -> Integers:
    """Integers in 0..bound-1, one a word; `bound` broadcasts against `words`.

    The upper half of a word is scaled; for fewer than 2^16 choices the probabilities are
    equal to within 2^-16 of each other, relatively.
    """
    high = words >> np.uint64(32)
    return ((high * np.asarray(bound, dtype=np.uint64)) >> np.uint64(32)).astype(np.int64)


def choose(words: Words, population: int | Integers) -> Integers:
    """Distinct members of 0..population-1, in random order.

    Args:
        words: [R, k], one word a choice.
        population: at least k; one number, or [R].

    Returns:
        [R, k]; each row is a uniformly random ordered sample without replacement.
    """
    k = words.shape[1]
    left = np.asarray(population) - np.arange(k)[:, None]
    chosen = below(words.T, left)  # [k, R]: ranks among the members that are left at each choice
    for i in range(k - 2, -1, -1):  # from the last choice back, each steps over the one before it
        later = chosen[i + 1 :]
        later += later >= chosen[i]
    return np.ascontiguousarray(chosen.T)


def permute(words: Words) -> Integers:
    """[R, k] random permutations of 0..k-1, one a row; equal words keep their order."""
    return np.argsort(words, axis=1, kind="stable").astype(np.int64)
