"""Curves in units of their own bond."""

import numpy as np
import torch
from cbldm.data.clusters import library
from cbldm.data.curves import TYPES, TrainingCurves
from cbldm.models.bonds import first_peak, in_units


def test_the_first_peak_is_the_bond_whatever_the_instrument() -> None:
    """Icosahedra have two bond lengths, of which the mean is seen."""
    batch = TrainingCurves(library(max_atoms=150), length=600, seed=5, rstep=0.05).batch(range(600))
    off = (first_peak(batch.g, rstep=0.05) / batch.settings.bond).log()
    ico = batch.type == TYPES.index("Ico")
    assert off[~ico].abs().quantile(0.98) < 0.02
    assert off.abs().max() < 0.08
    assert ((off[ico] > 0.01) & (off[ico] < 0.06)).all()


def test_a_curve_without_a_peak_has_a_unit_too() -> None:
    for g in (torch.zeros(1, 600), torch.linspace(0, 1, 600)[None], -torch.linspace(0, 1, 600)[None]):
        assert 1.9 < float(first_peak(g, rstep=0.05)) < 4.1


def test_a_curve_in_other_units_is_the_same_curve() -> None:
    r, unit = 0.05 * np.arange(600), 2.7
    g = torch.from_numpy(np.sin(5 * r) * np.exp(-r / 8)).float()[None]
    measured = torch.from_numpy((r > 1) & (r < 20))[None]
    found, known = in_units(g, measured, torch.tensor([unit]), rstep=0.05, step=0.04, bins=320)
    x = 0.04 * unit * np.arange(320)
    assert np.abs(found[0].numpy() - np.sin(5 * x) * np.exp(-x / 8))[known[0].numpy()].max() < 2e-3
    assert (
        np.array_equal(known[0].numpy(), (x > 1.05) & (x < 19.95))
        or (known[0].numpy() != ((x > 1) & (x < 20))).sum() <= 2
    )
    assert not found[~known].any()


def test_two_sizes_of_one_particle_give_one_curve() -> None:
    r = 0.05 * torch.arange(600)

    def seen(bond: float) -> torch.Tensor:
        g = sum(torch.exp(-((r / bond - d) ** 2) / 0.004) for d in (1.0, 1.414, 1.732, 2.0))[None]
        return in_units(g, g == g, first_peak(g, rstep=0.05), rstep=0.05, step=0.04, bins=200)[0]

    assert (seen(2.3) - seen(3.4)).abs().max() < 0.03
