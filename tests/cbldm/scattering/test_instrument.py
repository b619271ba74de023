"""Grids, envelopes and transforms."""

import math

import pytest
import torch
from cbldm.scattering import instrument
from cbldm.scattering.instrument import (
    DiffpyGrid,
    ExactGrid,
    exact_qstep,
    exact_transform,
    r_grid,
    resolution,
    sine_matrix,
)
from cbldm.scattering.quadrature import band_limited_weights
from close import relative_error


@pytest.mark.parametrize(
    ("limits", "count", "first"),
    [((0, 30, 0.01), 3000, 0.0), ((2, 30, 0.1), 280, 2.0), ((0.05, 1.0, 0.1), 9, 0.1), ((0, 1.1, 0.1), 11, 0.0)],
)
def test_the_grid_has_the_multiples_of_its_step(limits: tuple[float, float, float], count: int, first: float) -> None:
    r = r_grid(*limits)
    assert len(r) == count
    assert float(r[0]) == pytest.approx(first)
    assert float(r[-1]) < limits[1]


def test_diffpy_lets_round_off_in() -> None:
    assert len(r_grid(0, 1.12, 0.01)) == 112
    assert len(r_grid(0, 1.12, 0.01, compat="diffpy")) == 113  # 1.12 / 0.01 > 112


def test_the_resolution_damps() -> None:
    r = torch.tensor([0.0, 5.0, 20.0], dtype=torch.float64)
    qdamp = torch.tensor([0.0, 0.05], dtype=torch.float64)
    expected = torch.tensor([[1, 1, 1], [1, math.exp(-0.03125), math.exp(-0.5)]], dtype=torch.float64)
    assert relative_error(resolution(r, qdamp), expected) < 1e-15


@pytest.mark.parametrize(
    ("rmin", "rmax", "rstep"), [(0.0, 30.0, 0.01), (1.0, 12.0, 0.37), (2.0, 60.0, 0.2), (0.0, 5.0, 1.0)]
)
def test_the_fast_transform_is_the_matrix(rmin: float, rmax: float, rstep: float) -> None:
    qmin, qmax = 0.8, 24.0
    r = r_grid(rmin, rmax, rstep)
    wanted = exact_qstep(rmax, 22.0)
    grid = ExactGrid.of(r, rstep, qmax, wanted)
    assert grid.qstep <= wanted
    f = torch.randn(2, len(band_limited_weights(qmin, qmax, grid.qstep)), dtype=torch.float64)
    matrix = sine_matrix(r, qmin=qmin, qmax=qmax, qstep=grid.qstep)
    assert relative_error(exact_transform(f, grid, qmin=qmin, qmax=qmax), f @ matrix) < 1e-11


def test_the_fast_transform_is_differentiable_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instrument, "ROWS", 2)
    r = r_grid(1.0, 4.0, 0.6)
    grid = ExactGrid.of(r, 0.6, 3.0, 0.3)
    f = torch.randn(3, len(band_limited_weights(0.5, 3.0, grid.qstep)), dtype=torch.float64, requires_grad=True)

    def g(f: torch.Tensor) -> torch.Tensor:
        return exact_transform(f, grid, qmin=0.5, qmax=3.0)

    assert torch.autograd.gradcheck(g, (f,))
    assert torch.autograd.gradgradcheck(lambda f: g(f).sin(), (f,))
    assert relative_error(g(f), f @ sine_matrix(r, qmin=0.5, qmax=3.0, qstep=grid.qstep)) < 1e-11


def test_a_cluster_that_breathes_keeps_its_grid() -> None:
    assert exact_qstep(30, 21.0, umax=0.01) == exact_qstep(30, 24.9, umax=0.011)


def test_diffpy_takes_four_steps_at_least() -> None:
    grid = DiffpyGrid.of(rmin=0.0, rmax=0.5, rstep=0.1, qmax=1.0, sigma_max=0.0)
    assert (grid.r_high, grid.qstep, grid.nq) == (10.5, 0.25, 4)
