"""Order of the classes, tasks, and what each learner gets to see."""

import numpy as np
import pytest
import torch
from cil_small import coloured, small_scenario
from hypothesis import given
from hypothesis import strategies as st
from qkd_cil import ImageDataset, LabelledImages, Scenario
from qkd_cil.data.scenario import ScenarioConfig, class_order


def test_order_is_that_of_numpy_seeded_globally() -> None:
    np.random.seed(1993)  # as LAMDA-PILOT does it
    expected = np.random.permutation(100).tolist()
    assert list(class_order(100, 1993)) == expected
    assert expected[:10] == [68, 56, 78, 8, 23, 84, 90, 65, 74, 76]


def test_order_leaves_the_global_generator_alone() -> None:
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    class_order(100, 1993)
    assert (np.random.get_state()[1] == state).all()


def test_without_a_seed_the_order_is_that_of_the_labels() -> None:
    assert class_order(4, None) == (0, 1, 2, 3)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_tasks_use_each_class_once(sizes: list[int]) -> None:
    classes = sum(sizes)
    images = coloured(1, classes, 0)
    dataset = ImageDataset("any", images, images, tuple(map(str, range(classes))))
    scenario = Scenario(dataset, ScenarioConfig(task_sizes=tuple(sizes)))
    tasks = scenario.train_tasks
    assert [len(task.classes) for task in tasks] == sizes
    assert sorted(label for task in tasks for label in task.classes) == list(range(classes))
    for task in tasks:
        assert set(task.train.labels.tolist()) == set(task.classes)


def test_base_and_increment() -> None:
    assert ScenarioConfig(base_classes=50, increment=10).sizes(100) == (50, 10, 10, 10, 10, 10)
    assert ScenarioConfig(increment=20).sizes(100) == (20,) * 5
    assert ScenarioConfig(base_classes=10, increment=10).sizes(100) == (10,) * 10


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ScenarioConfig(increment=30), "base_classes 0 and increment 30 do not divide 100 classes"),
        (ScenarioConfig(base_classes=50, increment=15), "base_classes 50 and increment 15 do not divide 100"),
        (ScenarioConfig(increment=0), "do not divide"),
        (ScenarioConfig(base_classes=101, increment=1), "do not divide"),
        (ScenarioConfig(task_sizes=(50, 40)), r"task_sizes \[50, 40\] add up to 90, but the data set has 100"),
        (ScenarioConfig(task_sizes=(101, -1)), "give positive sizes"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(config: ScenarioConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.sizes(100)


def test_few_images_are_the_first_of_each_class() -> None:
    images = coloured(10, 6, 1)
    dataset = ImageDataset("few", images, coloured(5, 6, 2), tuple("abcdef"))
    scenario = Scenario(dataset, ScenarioConfig(increment=3, train_per_class=4, test_per_class=2))
    task = scenario.train_tasks[1]
    expected = [row for row in range(24) if int(images.labels[row]) in task.classes]  # rows come class by class in turn
    assert torch.equal(task.train.images, images.images[expected])
    assert [len(part) for part in scenario.test_seen(task).parts] == [6, 6]


def test_validation_judges_by_training_images_that_are_left_over() -> None:
    images = coloured(10, 6, 1)
    dataset = ImageDataset("few", images, coloured(5, 6, 2), tuple("abcdef"))
    config = ScenarioConfig(increment=3, train_per_class=4, test_per_class=3, first_tasks=1, validation=True)
    scenario = Scenario(dataset, config)
    assert len(scenario.train_tasks) == 1
    (part,) = scenario.test_seen(scenario.train_tasks[0]).parts
    of_class = images.labels == part.labels[0]
    assert torch.equal(part.images[part.labels == part.labels[0]], images.images[of_class][4:7])
    assert len(part) == 9


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"train_per_class": 4}, "give both"),
        ({"train_per_class": 10, "test_per_class": 2}, "has 10 training images, and train_per_class takes 10"),
    ],
)
def test_validation_without_images_left_is_refused(tasks: dict[str, int], message: str) -> None:
    images = coloured(10, 6, 1)
    dataset = ImageDataset("few", images, images, tuple("abcdef"))
    with pytest.raises(ValueError, match=message):
        Scenario(dataset, ScenarioConfig(increment=3, validation=True, **tasks))


def test_a_task_knows_the_earlier_ones() -> None:
    tasks = small_scenario().train_tasks
    assert [[each.index for each in task.earlier] for task in tasks] == [[], [0], [0, 1]]


def test_labels_must_match_the_names() -> None:
    images = coloured(2, 4, 0)
    with pytest.raises(ValueError, match="data set x: 5 class names, but the train labels are 4 classes from 0 to 3"):
        ImageDataset("x", images, images, tuple("abcde"))
    with pytest.raises(ValueError, match="but the test labels are 3 classes"):
        ImageDataset("x", images, images.of_classes([0, 1, 2]), tuple("abcd"))


def test_images_must_be_whole() -> None:
    with pytest.raises(ValueError, match=r"expected 8-bit \[n, 3, height, width\], got torch.float32"):
        LabelledImages(torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="2 images but 3 labels"):
        LabelledImages(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
