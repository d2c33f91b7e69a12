from __future__ import annotations

import numpy as np
import pytest

from metabench.errors import DataError
from metabench.suites.episode_draw import Drawn, Pool
from metabench.suites.random_words import episode_words, stream_key


def make_pool(sizes: list[int], groups: int = 1, parted: bool = False) -> Pool:
    """Entries of the given sizes over consecutive images, dealt into groups."""
    images = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return Pool(
        classes=np.arange(len(sizes)) + 100,
        names=tuple(f"class {i}" for i in range(len(sizes))),
        support=tuple(m[: len(m) // 2] if parted else m for m in images),
        query=tuple(m[len(m) // 2 :] for m in images) if parted else None,
        groups=tuple(np.array_split(np.arange(len(sizes)), groups)),
    )


def draw_simply(pool: Pool, key: int, k: int, way: int, shot: int, query: int) -> dict[str, list]:
    """One episode, drawn with Python lists: the reference for `Pool.draw`."""
    per_class = shot + query
    words = episode_words(key, k, 1, 1 + way + way * per_class + way * query)[0].tolist()

    def below(n: int) -> int:
        return ((words.pop(0) >> 32) * n) >> 32

    group = list(pool.groups[below(len(pool.groups))])
    entries = [group.pop(below(len(group))) for _ in range(way)]
    support, queries = [], []
    for entry in entries:
        hat = list(pool.support[entry])
        support += [hat.pop(below(len(hat))) for _ in range(shot)]
        if pool.query is not None:
            hat = list(pool.query[entry])
        queries += [hat.pop(below(len(hat))) for _ in range(query)]
    order = sorted(range(way * query), key=lambda i: words[i])
    return {
        "classes": [pool.classes[e] for e in entries],
        "support": support,
        "support_y": [label for label in range(way) for _ in range(shot)],
        "query": [queries[i] for i in order],
        "query_y": [i // query for i in order],
    }


@pytest.mark.parametrize("parted", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("way", "shot", "query"), [(5, 1, 15), (2, 5, 1), (3, 2, 4)])
def test_draw_equals_the_plain_reference(
    way: int, shot: int, query: int, groups: int, parted: bool
) -> None:
    pool = make_pool([40, 41, 44, 40, 50, 43] * 3, groups, parted)
    key = stream_key("reference")
    drawn = pool.draw(key, 3, 5, way, shot, query)
    for i in range(5):
        expected = draw_simply(pool, key, 3 + i, way, shot, query)
        assert {name: array[i].tolist() for name, array in drawn._asdict().items()} == expected


def test_support_and_query_share_no_image() -> None:
    drawn = make_pool([20] * 30).draw(stream_key("s"), 0, 500, 20, 5, 15)
    for support, query in zip(drawn.support, drawn.query, strict=True):
        assert len(set(support) | set(query)) == 20 * 20


def test_labels_belong_to_the_images() -> None:
    drawn = make_pool([20] * 30).draw(stream_key("s"), 0, 100, 5, 1, 15)
    for classes, query, query_y in zip(drawn.classes, drawn.query, drawn.query_y, strict=True):
        assert np.array_equal(classes[query_y], query // 20 + 100)


def test_query_order_and_label_ids_reveal_nothing() -> None:
    drawn = make_pool([20] * 5).draw(stream_key("o"), 0, 4000, 5, 1, 15)
    first_labels = np.bincount(drawn.query_y[:, 0], minlength=5)
    first_classes = np.bincount(drawn.classes[:, 0] - 100, minlength=5)
    assert first_labels.min() > 700
    assert first_classes.min() > 700


def test_too_few_images_names_the_class_and_the_number_missing() -> None:
    pool = make_pool([20, 13, 20])
    with pytest.raises(DataError, match=r"'class 1' has 13 images.*need 16 \(3 missing\)"):
        pool.check(2, 1, 15, "suite s")


def test_too_few_images_in_a_test_part() -> None:
    pool = make_pool([20, 20], parted=True)
    with pytest.raises(DataError, match=r"'class 0' has 10 images, 12 query.*2 missing"):
        pool.check(2, 5, 12, "suite s")


def test_too_few_classes_says_how_many_are_missing() -> None:
    with pytest.raises(DataError, match=r"5-way episodes need 5 classes, there are 3 \(2 missing"):
        make_pool([20] * 3).check(5, 1, 15, "suite s")


@pytest.mark.parametrize("parted", [False, True])
def test_arrays_round_trip(parted: bool) -> None:
    pool = make_pool([9, 12, 15], parted=parted)
    again = Pool.from_arrays(pool.to_arrays())
    key = stream_key("round")
    drawn: list[Drawn] = [p.draw(key, 0, 10, 2, 1, 3) for p in (pool, again)]
    assert all(np.array_equal(a, b) for a, b in zip(*drawn, strict=True))
    assert again.names == pool.names
