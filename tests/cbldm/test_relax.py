"""Atoms that move: the gradient, the restraint, the batch, and what the curve pays for."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from cbldm import SimulationSettings, pair_distribution, rw, simulate
from cbldm.data.clusters import build_geometry
from cbldm.fit import StructureFit, fit
from cbldm.relax import RW_FLOOR, _Curves, _minimise, relax
from scipy.optimize import minimize
from scipy.spatial.distance import pdist

SETTINGS = SimulationSettings(qmin=0.8, qmax=24.0, biso=0.3, noise=0.003, seed=3)


def contracted(kind: str, parameters: tuple[int, ...], amount: float, seed: int = 0) -> tuple[Atoms, Atoms]:
    """A cluster, and the same with its surface drawn in and each atom a little off."""
    x = 2.8 * build_geometry(kind, parameters).positions
    distance = np.linalg.norm(x, axis=1, keepdims=True)
    moved = x * (1 - amount * (distance / distance.max()) ** 4)
    moved += 0.02 * np.random.default_rng(seed).normal(size=x.shape)
    return Atoms(f"Pt{len(x)}", positions=x), Atoms(f"Pt{len(x)}", positions=moved)


@pytest.fixture(scope="module")
def found() -> tuple[StructureFit, Atoms]:
    ideal, true = contracted("Ico", (3,), 0.06)
    return fit(ideal, simulate(true, SETTINGS), label="Ico 3"), true


def test_atoms_move_towards_the_truth(found: tuple[StructureFit, Atoms]) -> None:
    start, true = found
    moved = relax([start], start.target)[0]
    assert moved.rw < 0.6 * start.rw
    assert 0.02 < moved.moved < 0.3
    wanted, before, after = (np.sort(pdist(each.positions)) for each in (true, start.atoms, moved.atoms))
    assert np.square(after - wanted).mean() < 0.5 * np.square(before - wanted).mean()


def test_the_figure_is_that_of_the_structure_it_comes_with(found: tuple[StructureFit, Atoms]) -> None:
    start, target = found[0], found[0].target
    moved = relax([start], target)[0]
    p = start.fit.parameters
    g = pair_distribution(
        moved.atoms.positions,
        "Pt",
        r=target.r,
        qmin=target.qmin,
        qmax=target.qmax,
        qdamp=target.qdamp,
        biso=moved.biso,
        delta2=p.delta2,
        scale=moved.scale,
    ).numpy()
    assert np.abs(g - moved.g).max() < 1e-7 * np.abs(g).max()
    assert rw(target.g, moved.g) == pytest.approx(moved.rw)


def test_the_gradient_is_that_of_differences() -> None:
    ideal, true = contracted("Dec", (2, 2, 0), 0.04)
    settings = SimulationSettings(qmin=0.8, qmax=20.0, biso=0.4, delta2=2.0, noise=0.003)
    start = fit(ideal, simulate(true, settings))
    curves = _Curves([start], start.target, 0.1, "xray")
    generator = torch.Generator().manual_seed(0)
    x = curves.start + 0.3 * torch.randn(curves.start.shape, generator=generator, dtype=torch.float64)
    gradient = curves.loss_and_gradient(x)[1]
    for _ in range(4):
        along = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        ends = [curves.loss_and_gradient(x + h * along)[0] for h in (1e-5, -1e-5)]
        assert float((ends[0] - ends[1]) / 2e-5) == pytest.approx(float((gradient * along).sum()), rel=1e-5)


def test_a_tighter_restraint_moves_less_and_fits_worse(found: tuple[StructureFit, Atoms]) -> None:
    start = found[0]
    loose, middle, tight = (relax([start], start.target, restraint=width)[0] for width in (0.2, 0.1, 0.005))
    assert loose.moved > middle.moved > tight.moved
    assert loose.rw < middle.rw < tight.rw < start.rw + 1e-3
    assert tight.moved < 0.02


def test_a_perfect_fit_stays() -> None:
    atoms = Atoms("Pt13", positions=2.8 * build_geometry("Ico", (2,)).positions)
    start = fit(atoms, simulate(atoms))
    moved = relax([start], start.target)[0]
    assert moved.rw < RW_FLOOR
    assert moved.moved < 0.02


@pytest.mark.parametrize(("kind", "parameters"), [("Ico", (2,)), ("SC", (2, 2, 2))])
def test_a_symmetric_cluster_leaves_its_saddle(
    kind: str, parameters: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of a symmetric cluster is as symmetric; what is drawn at random leads out, whatever the seed."""
    x = 2.8 * build_geometry(kind, parameters).positions  # type: ignore[arg-type]
    true = x + 0.1 * np.random.default_rng(1).normal(size=x.shape)
    curve = simulate(Atoms(f"Pt{len(x)}", positions=true), replace(SETTINGS, rstep=0.1))
    start = fit(Atoms(f"Pt{len(x)}", positions=x), curve)
    found = [relax([start], start.target, seed=seed)[0] for seed in range(2)]
    assert max(each.rw for each in found) < 0.25 * start.rw
    assert max(each.moved for each in found) < 0.18  # what was displaced is 0.17
    monkeypatch.setattr(sys.modules["cbldm.relax"], "_NUDGE", 0.0)
    assert relax([start], start.target)[0].rw > 0.9 * start.rw


def test_a_batch_is_each_alone() -> None:
    """Clusters of several sizes and elements at once; those that settle early stay."""
    curve = simulate(contracted("Dec", (2, 2, 0), 0.05)[1], SETTINGS)
    several = [fit(contracted(*each, 0)[0], curve) for each in (("Dec", (2, 2, 0)), ("Ico", (2,)), ("FCC", (2, 2, 2)))]
    alloy = several[0].start.copy()
    alloy.symbols[::3] = "Ni"
    several.append(fit(alloy, curve))
    together = relax(several, several[0].target, evaluations=25)
    for start, found in zip(several, together, strict=True):
        alone = relax([start], start.target, evaluations=25)[0]
        assert found.rw == pytest.approx(alone.rw, rel=2e-2)
        assert found.atoms.get_chemical_symbols() == start.atoms.get_chemical_symbols()


def test_the_order_of_atoms_and_the_hand_do_not_matter(found: tuple[StructureFit, Atoms]) -> None:
    start = found[0]
    mirrored = start.start.copy()[::-1]
    mirrored.positions = -mirrored.positions + 3
    other = fit(mirrored, simulate(found[1], SETTINGS))
    first, second = (relax([each], each.target)[0] for each in (start, other))
    assert first.rw == pytest.approx(second.rw, rel=0.05)


def test_the_minimiser_agrees_with_that_of_scipy() -> None:
    """Rosenbrock's valley, three starts at once."""

    def valley(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.detach().requires_grad_(True)
        loss = (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)
        loss.sum().backward()
        return loss.detach(), x.grad

    starts = torch.tensor([[-1.2, 1.0, 0.5], [0.0, 0.0, 0.0], [2.0, -1.0, 1.0]], dtype=torch.float64)
    ends = _minimise(valley, starts, 300)
    for start, end in zip(starts, ends, strict=True):
        best = minimize(lambda x: float(valley(torch.from_numpy(x)[None])[0]), start.numpy(), method="BFGS")
        assert float(valley(end[None])[0]) < best.fun + 0.05


def test_errors(found: tuple[StructureFit, Atoms]) -> None:
    with pytest.raises(ValueError, match="restraint 0 Å: give a positive width"):
        relax([found[0]], found[0].target, restraint=0.0)
    assert relax([], found[0].target) == []
