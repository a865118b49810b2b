"""Work in threads keeps its order, its errors and its bound."""

import threading

import pytest

from bestie.runtime.threads import AHEAD, in_threads


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(in_threads(lambda k: k * k, range(500))) == [k * k for k in range(500)]


def test_items_are_taken_only_a_little_ahead() -> None:
    taken = []

    def items():
        for k in range(10_000):
            taken.append(k)
            yield k

    results = in_threads(str, items())
    assert next(results) == "0"
    assert len(taken) <= AHEAD * 256
    results.close()


def test_an_error_comes_at_its_turn_and_ends_the_work() -> None:
    begun = []

    def work(k: int) -> int:
        begun.append(k)
        if k == 3:
            raise ValueError(k)
        return k

    results = in_threads(work, range(100_000))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
    assert len(begun) < 50_000


def test_several_threads_work() -> None:
    names = set(in_threads(lambda _: threading.current_thread().name, range(64)))
    assert all("MainThread" not in name for name in names)
