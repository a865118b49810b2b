"""Work in processes keeps its order, its errors and its bound, and has the results of one process."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from bestie.errors import InputError
from bestie.runtime.processes import AHEAD, LEAST_ITEMS, in_processes
from bestie.runtime.settings import Settings

CPU = torch.device("cpu")
TWO = replace(Settings(), workers=2)
linux = pytest.mark.skipif(sys.platform != "linux", reason="several processes predict on Linux alone")


def many(function, number: int = 100, settings: Settings = TWO, device: torch.device = CPU) -> Iterator:
    return in_processes(function, range(number), number, device=device, settings=settings)


@linux
def test_results_come_in_the_order_of_the_items_from_other_processes() -> None:
    found = list(many(lambda k: (k * k, os.getpid(), time.sleep(0.02))[:2]))
    assert [square for square, _ in found] == [k * k for k in range(100)]
    pids = {pid for _, pid in found}
    assert len(pids) == 2
    assert os.getpid() not in pids


@linux
def test_everything_that_the_function_refers_to_is_there_and_stays_as_it_is_here() -> None:
    network, seen = torch.nn.Linear(3, 2).eval(), []

    @torch.no_grad()
    def work(k: int) -> torch.Tensor:
        seen.append(k)
        return network(torch.full((1, 3), float(k)))

    found = list(many(work, 20))
    assert seen == []
    for k, each in enumerate(found):
        torch.testing.assert_close(each, network(torch.full((1, 3), float(k))).detach())


@linux
def test_each_has_one_thread_and_this_process_has_its_own_again() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(many(lambda _: torch.get_num_threads())) == {1}
        assert set(many(lambda _: torch.get_num_threads(), settings=replace(TWO, workers=0))) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("number", "workers", "device"),
    [(2 * LEAST_ITEMS - 1, 2, "cpu"), (100, 0, "cpu"), (100, 1, "cpu"), (100, 2, "meta")],
)
def test_few_items_one_core_and_other_devices_stay_in_this_process(number: int, workers: int, device: str) -> None:
    settings = replace(TWO, workers=workers)
    assert set(many(lambda _: os.getpid(), number, settings, torch.device(device))) == {os.getpid()}


@linux
@pytest.mark.parametrize(("threads", "processes"), [(1, 1), (3, 3)])
def test_without_a_setting_there_are_as_many_as_torch_has_threads(threads: int, processes: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = set(many(lambda k: (os.getpid(), sum(range(20_000)))[0], 400, replace(TWO, workers=None)))
    finally:
        torch.set_num_threads(before)
    assert len(found) <= processes
    assert (os.getpid() in found) == (processes == 1)


@linux
def test_an_error_comes_at_its_turn_with_its_own_message() -> None:
    def work(k: int) -> int:
        if k == 3:
            raise InputError("a.jpg is no image. Remove it.")
        return k

    results = many(work)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match=r"^a\.jpg is no image. Remove it.$"):
        next(results)


@linux
def test_a_process_that_is_killed_is_told() -> None:
    def work(k: int) -> int:
        if k == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return k

    with pytest.raises(InputError, match="one of the processes that compute images was ended"):
        list(many(work))


@linux
def test_results_that_nobody_takes_are_not_computed(tmp_path) -> None:
    results = many(lambda k: (tmp_path / str(k)).touch(), 1000)
    next(results)
    results.close()
    assert len(list(tmp_path.iterdir())) <= 2 * AHEAD + 4
