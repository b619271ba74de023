"""Tasks dealt one by one to processes of one thread each, in JSON by line; none outlives the process that began it.

The processes are interpreters of their own rather than forks, so that threads of the caller do no harm and no script
needs a guard.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import IO, Any

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def deal(code: str, words: Sequence[str], tasks: Sequence[Any], jobs: int) -> Iterator[Any]:
    """Let processes do tasks, each given its next one when it has done one.

    Args:
        code: What a process runs, which is to end in `serve`.
        words: Its arguments.
        tasks: What JSON can hold.
        jobs: Number of processes.

    Yields:
        What the processes answer, in the order in which they are done.

    Raises:
        ValueError: If a process ends early.
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with ExitStack() as stack:
        for _ in range(min(jobs, len(tasks))):
            error = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                [sys.executable, "-c", code, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=error,
                env={**os.environ, **_ONE_THREAD},
                text=True,
                encoding="utf-8",
            )
            thread = threading.Thread(target=_feed, args=(process, waiting, results, error), daemon=True)
            stack.callback(thread.join)
            stack.callback(process.wait)
            stack.callback(process.kill)
            thread.start()
        for _ in tasks:
            result = results.get()
            if isinstance(result, _Ended):
                raise ValueError(f"a process ended early ({result}); run it again to go on from here")
            yield result


class _Ended(str):
    """The last line that a process which ended early has said."""


def _feed(process: "subprocess.Popen[str]", waiting: Any, results: Any, error: IO[bytes]) -> None:
    """Give tasks to one process until none is left."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError), process.stdin, process.stdout:  # who has ended takes no last word
        while True:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                process.stdin.write(json.dumps(task) + "\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
            except (OSError, ValueError):
                process.wait()
                error.seek(0)
                last = error.read().decode(errors="replace").strip().splitlines() or ["it was ended"]
                results.put(_Ended(last[-1]))
                return
            results.put(answer)


def serve(answer: Callable[[Any], Any]) -> None:
    """Answer tasks from standard input on standard output: the whole of a process.

    Args:
        answer: From a task to its answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who began the process is interrupted too, and ends it
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(tasks,), daemon=True).start()
    out, sys.stdout = sys.stdout, sys.stderr  # what else is printed is no answer
    while True:
        out.write(json.dumps(answer(json.loads(tasks.get()))) + "\n")
        out.flush()


def _read(tasks: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        tasks.put(line)
    os._exit(0)  # the other end is closed: there is no one to answer
