"""Samplers: moments, supports, geometry; arrays of a user; names."""

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from gradient_flow_drifting.data import (
    ArrayFile,
    ImageFolder,
    SphereCsv,
    SphereMixture,
    TorusCsv,
    Toy,
    named,
    read_points,
)
from gradient_flow_drifting.data.toy import ToyName
from gradient_flow_drifting.models import Generator, GeneratorConfig
from papertrio_shared.seed import generator
from scipy.stats import kstest
from torch import Tensor

TOYS = list(get_args(ToyName))
COUNT = 100_000
EXACT = "donot_use_mm_for_euclid_dist"


def draw(name: str, count: int = COUNT, seed: int = 0) -> Tensor:
    return named(name).sample(count, generator(seed, "test"))


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_has_mean_zero_and_unit_average_variance(name: str) -> None:
    points = draw(name)
    error = 5 / math.sqrt(COUNT)  # five standard errors of a mean of unit variance
    assert points.mean(0).abs().max() < error
    assert abs(float(points.var(0).mean()) - 1) < 2 * error


@pytest.mark.parametrize("name", [*TOYS, "sphere"])
def test_a_draw_depends_on_the_seed_alone(name: str) -> None:
    assert torch.equal(draw(name, 50), draw(name, 50))
    assert not torch.equal(draw(name, 50), draw(name, 50, seed=1))


@pytest.mark.parametrize(("name", "modes"), [("8gaussians", 8), ("25grid", 25), ("sphere", 6)])
def test_modes_have_equal_shares_and_the_mass_of_three_deviations(name: str, modes: int) -> None:
    from gradient_flow_drifting.metrics import mode_shares

    source = named(name)
    assert source.modes is not None
    shares = mode_shares(draw(name), source.modes, geometry=source.geometry)
    assert len(shares) == modes
    inside = 1 - math.exp(-4.5)  # of a Gaussian of the plane
    if name == "sphere":  # F(cos 3σ) of the von Mises–Fisher distribution
        inside = 1 - math.exp(50 * (math.cos(3 / math.sqrt(50)) - 1))
    assert abs(float(shares.sum()) - inside) < 5 * math.sqrt(inside * (1 - inside) / COUNT)
    assert (shares * modes - inside).abs().max() < 5 * math.sqrt(modes / COUNT)


def test_eight_gaussians_are_those_of_radius_five_and_variance_a_tenth() -> None:
    points = draw("8gaussians") * math.sqrt(12.6)
    modes = Toy("8gaussians").modes
    assert modes is not None
    centres = modes.centres * math.sqrt(12.6)
    assert torch.allclose(centres.norm(dim=1), torch.full((8,), 5.0))
    offset = points - centres[torch.cdist(points, centres).argmin(1)]
    assert abs(float(offset.var(0).mean()) - 0.1) < 0.002


def test_the_checkerboard_fills_eight_of_sixteen_cells_evenly() -> None:
    points = draw("checkerboard") * math.sqrt(4 / 3) + 2
    cells = points.floor().long()
    assert cells.min() == 0
    assert cells.max() == 3
    assert bool((cells.sum(1) % 2 == 0).all())
    counts = torch.bincount(4 * cells[:, 0] + cells[:, 1], minlength=16)
    filled = counts[counts > 0]
    assert len(filled) == 8
    assert (filled / COUNT - 1 / 8).abs().max() < 5 * math.sqrt(1 / 8 / COUNT)
    assert kstest((points - points.floor()).flatten().numpy(), "uniform").pvalue > 1e-3


def test_moons_lie_on_two_half_circles() -> None:
    variance = (0.75 + 0.5 - 4 / math.pi**2 + (2 / math.pi - 0.25) ** 2) / 2 + 0.01
    points = draw("moons") * math.sqrt(variance) + torch.tensor([0.5, 0.25])
    upper = (points.norm(dim=1) - 1).abs()
    lower = ((points - torch.tensor([1.0, 0.5])).norm(dim=1) - 1).abs()
    off = torch.minimum(upper, lower)
    assert (
        float(off.square().mean().sqrt()) < 0.1
    )  # noise 0.1 across the circle, ends and the nearer moon only lower it
    assert float(off.square().mean().sqrt()) > 0.08


def test_the_swissroll_lies_on_its_spiral() -> None:
    mean = torch.tensor([2, 2 / (3 * math.pi)])
    scale = math.sqrt((9.75 * math.pi**2 - float(mean.square().sum())) / 2 + 1)
    points = draw("swissroll", 5000) * scale + mean
    angle = torch.linspace(1.5 * math.pi, 4.5 * math.pi, 4000)
    spiral = angle[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    off = torch.cdist(points, spiral, compute_mode=EXACT).min(1).values
    assert abs(float(off.square().mean().sqrt()) - 1) < 0.04  # unit noise across the spiral, along it free


def test_the_pinwheel_untwists_into_five_arms() -> None:
    """Turned back by its twist, each point is 1 ± 0.3 along one of five directions and 0 ± 0.1 across."""
    points = draw("pinwheel") * math.sqrt(2.2) / 2
    # the twist depends on the way along, which is nearly the radius: found by a few rounds of substitution
    angle, radius = torch.atan2(-points[:, 1], points[:, 0]), points.norm(dim=1)
    along = radius.clone()
    for _ in range(20):
        arms = (angle - 0.25 * along.exp()) / (2 * math.pi / 5)
        off = (arms - arms.round()) * (2 * math.pi / 5)
        along = 0.5 * along + 0.5 * radius * off.cos()
    across = radius * off.sin()
    assert float(along.mean()) == pytest.approx(1, abs=0.005)
    assert float(along.std()) == pytest.approx(0.3, abs=0.01)
    assert float(across.std()) == pytest.approx(0.1, abs=0.01)
    counts = torch.bincount(arms.round().long().remainder(5), minlength=5) / COUNT
    assert (counts - 0.2).abs().max() < 5 * math.sqrt(0.2 / COUNT) + 1e-3


def test_two_spirals_lie_on_their_curves() -> None:
    """The nearer of the two spirals is within the noise and half the spread; both have half of the points."""
    variance = (9 * math.pi**2 / 2 + (4 / (3 * math.pi) + 2 - 8 / (9 * math.pi**2)) / 2 + 1 / 6) / 18 + 0.01
    points = draw("two_spirals", 20_000) * math.sqrt(variance)
    angle = torch.linspace(0, 3 * math.pi, 3000)
    middle = angle[:, None] * torch.stack([-angle.cos(), angle.sin()], 1) + 0.25
    off = torch.stack([torch.cdist(points, sign * middle / 3, compute_mode=EXACT).min(1).values for sign in (1, -1)])
    across = math.sqrt(0.01 + (0.5 / 3) ** 2 / 12)  # along the curve noise and spread are free
    assert float(off.min(0).values.square().mean().sqrt()) == pytest.approx(across, rel=0.05)
    assert float((off.argmin(0) == 0).float().mean()) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(20_000))
    assert points.norm(dim=1).max() > 0.95 * math.pi


def test_the_ring_is_a_circle_with_noise() -> None:
    points = draw("ring") * math.sqrt(0.51)
    assert float(points.square().sum(1).mean()) == pytest.approx(1.02, abs=0.01)
    assert float(points.norm(dim=1).std()) == pytest.approx(0.1, rel=0.02)
    turn = torch.atan2(points[:, 1], points[:, 0]) / (2 * math.pi) + 0.5
    assert kstest(turn.numpy(), "uniform").pvalue > 1e-3


def test_the_sphere_mixture_has_the_closed_form_of_its_cosine() -> None:
    source = SphereMixture(kappa=20.0)
    points = source.sample(COUNT, generator(0, "test"))
    assert (points.norm(dim=1) - 1).abs().max() < 1e-6
    cosine = (points @ source.modes.centres.T).max(1).values.double().numpy()
    # a point of one component is nearest to another axis for cosines under 0.71, which happens once in 300 draws
    distribution = (np.exp(20 * (cosine - 1)) - math.exp(-40)) / (1 - math.exp(-40))
    assert kstest(distribution, "uniform").statistic < 0.01


def test_unknown_names_tell_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no data set is called '8gausians': did you mean '8gaussians'\?"):
        named("8gausians")
    with pytest.raises(ValueError, match=r"no toy is called 'grid'"):
        Toy("grid")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["moons", "sphere"])
def test_fewer_than_one_point_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"count = 0: ask for at least one point"):
        named(name).sample(0, generator(0, "test"))


def test_a_concentration_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"kappa = -1: give a positive number"):
        SphereMixture(kappa=-1)


@pytest.mark.parametrize("ending", ["npy", "pt"])
def test_an_array_is_standardised_and_split(tmp_path: Path, ending: str) -> None:
    points = torch.randn(500, 3, generator=generator(0, "array")) * torch.tensor([1.0, 2.0, 3.0]) + 7
    path = tmp_path / f"points.{ending}"
    np.save(path, points.numpy()) if ending == "npy" else torch.save(points.clone().requires_grad_(), path)
    source = named(str(path))
    assert source.dimension == 3
    train, kept, floor = (each.sample(5000, generator(0, "test")) for each in (source, *source.held_out()))
    back = source.location + source.scale * train
    assert (torch.cdist(back[:100], points, compute_mode=EXACT).min(1).values < 1e-4).all()
    for one, other in ((train, kept), (train, floor), (kept, floor)):
        assert torch.cdist(one, other, compute_mode=EXACT).min() > 0  # no row is in both
    assert [len(torch.unique(each, dim=0)) for each in (train, kept, floor)] == [400, 50, 50]
    assert len(torch.unique(source.sample(400, generator(0, "test")), dim=0)) == source.size == 400
    everything = (points - source.location) / source.scale
    assert abs(float(everything.var(0, correction=0).mean()) - 1) < 1e-5
    assert everything.mean(0).abs().max() < 1e-5


def test_rows_of_the_sphere_are_not_moved(tmp_path: Path) -> None:
    points = SphereMixture().sample(200, generator(0, "test"))
    np.save(tmp_path / "a.npy", points.numpy())
    source = ArrayFile(tmp_path / "a.npy", geometry="sphere")
    drawn = source.sample(10, generator(1, "test"))
    assert torch.cdist(drawn, points, compute_mode=EXACT).min(1).values.max() < 1e-3
    assert source.scale == 1
    np.save(tmp_path / "b.npy", 2 * points.numpy())
    with pytest.raises(ValueError, match=r"b.npy: a row is off the unit sphere by 1: normalise the rows"):
        ArrayFile(tmp_path / "b.npy", geometry="sphere").sample(1, generator(0, "test"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 2)), r"has the shape \(0, 2\): give rows of points"),
        (np.zeros(5), r"has the shape \(5,\): give rows of points"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), r"row 1 holds a value that is not finite"),
        (np.zeros((4, 2)), r"has 4 rows: give at least 10"),
        (np.ones((20, 2)), r"all rows are the same point"),
        (np.arange(20.0)[:, None] * 1e30, r"the rows' variance exceeds float32"),
        (np.arange(20.0)[:, None] * 1e300, r"row 1 holds a value that is not finite"),
        (np.ones((20, 2)) * 1j, r"holds no array of numbers"),
        (np.array([["a", "b"]]), r"holds no array of numbers"),
    ],
)
def test_an_array_that_cannot_be_used_is_named(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = tmp_path / "points.npy"
    np.save(path, array)
    with pytest.raises(ValueError, match=message) as error:
        ArrayFile(path).sample(1, generator(0, "test"))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_angles_in_degrees_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.npy"
    np.save(path, np.linspace(-180, 180, 40).reshape(20, 2))
    with pytest.raises(ValueError, match=r"row 0: 180 is beyond a turn: give the angles in radians"):
        ArrayFile(path, "torus").sample(1, generator(0, "test"))
    np.save(path, np.linspace(0, 2 * np.pi, 40).reshape(20, 2))
    assert float(ArrayFile(path, "torus").sample(20, generator(0, "test")).abs().max()) <= np.pi + 1e-6


def test_only_an_array_is_told_of_its_space() -> None:
    assert named("a.npy", geometry="sphere") == ArrayFile(Path("a.npy"), "sphere")
    assert named("array", Path("b.pt"), geometry="torus") == ArrayFile(Path("b.pt"), "torus")
    with pytest.raises(ValueError, match=r"moons knows its geometry: leave sphere out"):
        named("moons", geometry="sphere")


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.npy: no such file"):
        read_points(tmp_path / "none.npy")
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(ValueError, match=r"a.csv: is neither .npy nor .pt"):
        read_points(tmp_path / "a.csv")
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"torn.npy: holds no array of numbers"):
        read_points(tmp_path / "torn.npy")


def test_an_array_of_no_known_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data.geometry = 'plane': give one of 'euclidean', 'sphere', 'torus'"):
        ArrayFile(geometry="plane")  # type: ignore[arg-type]


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(20, 2)))
    assert ArrayFile(str(tmp_path / "a.npy")).sample(3, torch.Generator()).shape == (3, 2)  # type: ignore[arg-type]
    for source in (SphereCsv("none.csv"), TorusCsv("none.csv"), ImageFolder("none")):  # type: ignore[arg-type]
        with pytest.raises(FileNotFoundError, match="none"):
            source.sample(1, torch.Generator())


@pytest.mark.parametrize("count", [1.5, "2", None])
def test_a_count_and_a_label_are_whole_numbers(count: int) -> None:
    for draw in (
        lambda: Toy("moons").sample(count, torch.Generator()),
        lambda: Generator(GeneratorConfig(width=4), dimension=2).sample(count, seed=0),
    ):
        with pytest.raises(ValueError, match=f"count = {count}: ask for at least one point"):
            draw()
    with pytest.raises(ValueError, match=f"label = {count}: there is no such class"):
        Toy("moons").sample_class(count, 2, torch.Generator())
