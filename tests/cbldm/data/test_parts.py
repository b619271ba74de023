"""Parts: made on several processes, the same after any interruption, errors in a line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cbldm.data.extended import shapes_part
from cbldm.data.parts import make_parts

SETTINGS = {"seed": 0, "shapes": 750, "max_atoms": 30}


def parts(folder: Path, **options: int) -> list[dict[str, np.ndarray]]:
    return list(make_parts(folder, shapes_part, SETTINGS, 3, description="shapes", **options))


def same(first: list[dict[str, np.ndarray]], second: list[dict[str, np.ndarray]]) -> bool:
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a) for a, b in zip(first, second, strict=True)
    )


def test_processes_and_resumption_give_the_same_parts(tmp_path: Path) -> None:
    alone = parts(tmp_path / "alone", jobs=1)
    assert same(alone, parts(tmp_path / "two", jobs=2))
    (tmp_path / "two" / "00001.npz").unlink()
    (tmp_path / "two" / "00002.npz").write_bytes(b"cut off")
    before = (tmp_path / "two" / "00000.npz").stat().st_mtime_ns
    assert same(alone, parts(tmp_path / "two", jobs=1))
    assert (tmp_path / "two" / "00000.npz").stat().st_mtime_ns == before


def test_other_settings_do_not_mix(tmp_path: Path) -> None:
    parts(tmp_path, jobs=1)
    with pytest.raises(ValueError, match="parts of an unfinished run with other settings"):
        list(make_parts(tmp_path, shapes_part, {**SETTINGS, "seed": 1}, 3, jobs=1, description="shapes"))


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs 0: give the number of processes"):
        parts(tmp_path, jobs=0)
    with pytest.raises(ValueError, match=r"a process ended early \(KeyError: 'max_atoms'\)"):
        list(make_parts(tmp_path, shapes_part, {"seed": 0, "shapes": 750}, 3, jobs=2, description="shapes"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cbldm.data.parts import make_parts\n"
        "from cbldm.data.extended import shapes_part\n"
        "list(make_parts(Path(sys.argv[1]), shapes_part, {'seed': 0, 'shapes': 10**6, 'max_atoms': 256}, 4000,"
        " jobs=2, description='shapes'))"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("[0-9]*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.wait()
    time.sleep(1.0)
    count = len(list(tmp_path.glob("[0-9]*.npz")))
    assert count >= 2
    time.sleep(2.0)
    assert len(list(tmp_path.glob("[0-9]*.npz"))) == count
