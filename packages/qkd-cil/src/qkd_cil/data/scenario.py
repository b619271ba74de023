"""A data set as a sequence of tasks, each with classes of its own."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from qkd_cil.data.images import LabelledImages


@dataclass(frozen=True)
class ScenarioConfig:
    """How the classes of a data set become tasks: B-m Inc-n, or sizes one by one.

    Args:
        base_classes: Classes of the first task; 0: as many as `increment` (B0).
        increment: Classes of every later task.
        task_sizes: Classes of each task, for tasks of unequal size; empty: by the two numbers above.
        class_order_seed: Seed of NumPy's permutation of the classes, as in LAMDA-PILOT; None: the order of the labels.
        train_per_class: Only the first so many training images of each class; None: all.
        test_per_class: The same for the test images.
        first_tasks: Only so many tasks, for a short trial; None: all.
        validation: To choose settings by: judge on the next `test_per_class` training images of each class after the
            first `train_per_class`, and leave the test images alone.

    Raises:
        ValueError: If a number is out of range, or with `validation` one of these two is missing.

    >>> ScenarioConfig(base_classes=4, increment=3).sizes(10)
    (4, 3, 3)
    """

    base_classes: int = 0
    increment: int = 10
    task_sizes: tuple[int, ...] = ()
    class_order_seed: int | None = 1993
    train_per_class: int | None = None
    test_per_class: int | None = None
    first_tasks: int | None = None
    validation: bool = False

    def __post_init__(self) -> None:
        for name in ("train_per_class", "test_per_class", "first_tasks"):
            if (count := getattr(self, name)) is not None and count < 1:
                raise ValueError(f"{name} {count}: give 1 or more, or nothing for all")
        if self.validation and None in (self.train_per_class, self.test_per_class):
            raise ValueError(
                "validation takes the training images that train_per_class leaves over, as many as test_per_class "
                "says: give both"
            )
        if self.class_order_seed is not None and not 0 <= self.class_order_seed < 2**32:
            raise ValueError(f"class_order_seed {self.class_order_seed}: give a whole number from 0 to {2**32 - 1}")

    def sizes(self, classes: int) -> tuple[int, ...]:
        """Number of classes of each task.

        Args:
            classes: Number of classes of the data set.

        Raises:
            ValueError: If the tasks do not use up the classes exactly.
        """
        if self.task_sizes:
            if min(self.task_sizes) < 1 or sum(self.task_sizes) != classes:
                raise ValueError(
                    f"task_sizes {list(self.task_sizes)} add up to {sum(self.task_sizes)}, but the data set has "
                    f"{classes} classes; give positive sizes that add up to them"
                )
            return self.task_sizes
        base = self.base_classes or self.increment
        if self.increment < 1 or not 0 < base <= classes or (classes - base) % self.increment:
            raise ValueError(
                f"base_classes {self.base_classes} and increment {self.increment} do not divide {classes} classes; "
                "choose others, or give the tasks one by one as task_sizes"
            )
        return (base,) + (self.increment,) * ((classes - base) // self.increment)


@dataclass(frozen=True)
class ImageDataset:
    """The images of one data set.

    Args:
        name: What reports call it.
        train: Images to learn from.
        test: Images to judge by.
        class_names: Name of each label, from 0.
        skipped: Files that could not be read as images and were left out.

    Raises:
        ValueError: If there is no class, a label has no name, or a class has no image to learn from or to judge by.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.class_names:
            raise ValueError(f"data set {self.name}: has no class; give images to learn from and to judge by")
        for part, found in (("train", self.train.labels.unique()), ("test", self.test.labels.unique())):
            if found.tolist() != list(range(len(self.class_names))):
                raise ValueError(
                    f"data set {self.name}: {len(self.class_names)} class names, but the {part} labels are "
                    f"{len(found)} classes{f' from {found.min()} to {found.max()}' if len(found) else ''}; "
                    "labels must run from 0 without a gap and match in both parts"
                    f"{f'; {self.skipped_line}' if self.skipped else ''}"
                )

    @property
    def skipped_line(self) -> str:
        """How many files were left out and the first of them, in a line; empty if none was."""
        if not self.skipped:
            return ""
        first = ", ".join(self.skipped[:3]) + (", …" if len(self.skipped) > 3 else "")
        return f"files skipped since they cannot be read as images: {len(self.skipped)} ({first})"


@dataclass(frozen=True)
class Task:
    """Classes that arrive together, and their training images.

    Args:
        index: Place in the sequence, from 0.
        classes: Labels, in the order the learner meets them.
        train: Images to learn from.
        earlier: The tasks before it; a method that calls itself free of exemplars leaves them alone.
    """

    index: int
    classes: tuple[int, ...]
    train: LabelledImages
    earlier: tuple["Task", ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class SeenTest:
    """Test images of the tasks seen so far, task by task.

    Args:
        parts: Test images of task 0, task 1, …
        classes: Labels of each of these tasks.
    """

    parts: tuple[LabelledImages, ...]
    classes: tuple[tuple[int, ...], ...]


class Scenario:
    """The tasks of a data set, in the order a seed gives them.

    Args:
        dataset: The images.
        config: How its classes become tasks.

    Raises:
        ValueError: If the tasks do not use up the classes exactly, or a class has no image left for validation.

    >>> import torch
    >>> images = LabelledImages(torch.zeros(6, 3, 8, 8, dtype=torch.uint8), torch.arange(6))
    >>> scenario = Scenario(ImageDataset("six", images, images, tuple("abcdef")), ScenarioConfig(increment=2))
    >>> scenario.class_order
    (0, 2, 3, 4, 5, 1)
    >>> [task.classes for task in scenario.train_tasks]
    [(0, 2), (3, 4), (5, 1)]
    >>> len(scenario.test_seen(scenario.train_tasks[1]).parts)
    2
    """

    def __init__(self, dataset: ImageDataset, config: ScenarioConfig) -> None:
        self.dataset = dataset
        self.config = config
        self.task_sizes = config.sizes(len(dataset.class_names))[: config.first_tasks]
        if config.validation:
            fewest = int(dataset.train.labels.bincount().min())
            if fewest <= (taken := config.train_per_class or 0):
                raise ValueError(
                    f"validation: a class of {dataset.name} has {fewest} training images, and train_per_class takes "
                    f"{taken}; leave some over"
                )
        self.class_order = class_order(len(dataset.class_names), config.class_order_seed)

    def __repr__(self) -> str:
        return f"Scenario({self.dataset.name}, {len(self.task_sizes)} tasks, {len(self.class_order)} classes)"

    @cached_property
    def task_classes(self) -> tuple[tuple[int, ...], ...]:
        """Labels of each task."""
        ends = np.cumsum(self.task_sizes)
        return tuple(self.class_order[end - size : end] for size, end in zip(self.task_sizes, ends, strict=True))

    @cached_property
    def train_tasks(self) -> tuple[Task, ...]:
        """The tasks with their training images."""
        tasks: tuple[Task, ...] = ()
        for index, classes in enumerate(self.task_classes):
            images = _part(self.dataset.train, classes, self.config.train_per_class)
            tasks += (Task(index, classes, images, tasks),)
        return tasks

    @cached_property
    def _test_parts(self) -> tuple[LabelledImages, ...]:
        held_out, count = self.dataset.test, self.config.test_per_class
        skipped = 0
        if self.config.validation:
            held_out, skipped = self.dataset.train, self.config.train_per_class or 0
        return tuple(_part(held_out, classes, count, after=skipped) for classes in self.task_classes)

    def test_seen(self, task: Task) -> SeenTest:
        """Test images of all tasks up to and with this one."""
        return SeenTest(self._test_parts[: task.index + 1], self.task_classes[: task.index + 1])


def class_order(classes: int, seed: int | None) -> tuple[int, ...]:
    """Order in which the classes arrive: NumPy's legacy permutation by seed, as LAMDA-PILOT has it.

    Args:
        classes: How many there are.
        seed: Seed; None: 0, 1, 2, …

    >>> class_order(100, 1993)[:5]
    (68, 56, 78, 8, 23)
    """
    if seed is None:
        return tuple(range(classes))
    return tuple(int(label) for label in np.random.RandomState(seed).permutation(classes))


def _part(images: LabelledImages, classes: tuple[int, ...], per_class: int | None, *, after: int = 0) -> LabelledImages:
    part = images.of_classes(classes)
    return part if per_class is None else part.first_per_class(per_class, after=after)
