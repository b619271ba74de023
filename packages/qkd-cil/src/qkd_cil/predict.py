"""Answers for files of images, batch by batch."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from qkd_cil.data.folders import read_image
from qkd_cil.learners.learner import Learner


def predictions(learner: Learner, paths: Sequence[Path], *, strict: bool = False) -> Iterator[tuple[Path, int | None]]:
    """The label of each image; None for a file that cannot be read as one.

    Args:
        learner: It must have learned a task.
        paths: Files, in any number: as many as the learner judges at once are in memory.
        strict: Whether a file that cannot be read as an image is an error.

    Raises:
        ValueError: If `strict` is set and a file cannot be read, or the learner has seen no task.
        FileNotFoundError: If a file is not there.
    """
    size, count = learner.backbone.config.img_size, learner.schedule.evaluation_batch_size

    def decoded(path: Path) -> np.ndarray | None:
        try:
            return read_image(path, size)
        except ValueError:
            if strict:
                raise
            return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), count):
            batch = paths[start : start + count]
            images = list(pool.map(decoded, batch))
            read = [image for image in images if image is not None]
            labels = iter(learner.predict(np.stack(read)).tolist() if read else [])
            for path, image in zip(batch, images, strict=True):
                yield path, None if image is None else next(labels)
