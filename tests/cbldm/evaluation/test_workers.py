"""Tasks dealt to processes."""

import os

import pytest
from cbldm.evaluation import workers
from cbldm.evaluation.workers import deal

# By its file, since to import the package loads torch.
LOAD = f"""
import importlib.util, os
found = importlib.util.spec_from_file_location("workers", {workers.__file__!r})
workers = importlib.util.module_from_spec(found)
found.loader.exec_module(workers)
"""
SQUARE = LOAD + "workers.serve(lambda n: [n * n, os.environ['OMP_NUM_THREADS']])"
FAIL = LOAD + "workers.serve(lambda n: 1 / n)"


def test_each_task_is_done_once_with_one_thread() -> None:
    before = dict(os.environ)
    assert sorted(deal(SQUARE, [], range(9), 2)) == [[n * n, "1"] for n in range(9)]
    assert list(deal(SQUARE, [], [], 2)) == []
    assert dict(os.environ) == before


def test_a_process_that_ends_early_is_told() -> None:
    with pytest.raises(
        ValueError, match=r"a process ended early \(ZeroDivisionError: division by zero\); run it again"
    ):
        list(deal(FAIL, [], [1, 2, 0, 3], 1))


def test_who_stops_listening_leaves_no_process() -> None:
    answers = deal(SQUARE, [], range(100), 1)
    next(answers)
    answers.close()  # waits for its end
