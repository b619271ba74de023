"""The Debye sum: closed forms, laws, and each back end against the reference."""

import math
import subprocess
import sys

import pytest
import torch
from cbldm.ops.debye_sum import _bins, _moments, _nufft, _pairs, debye_sum, reference
from close import assert_close_by_name
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

BACKENDS = ["reference", "nufft", "moments"]
QSTEP, NQ = 0.1, 180
Q = QSTEP * torch.arange(NQ, dtype=torch.float64)


def cluster(atoms: int, seed: int, spacing: float = 2.5) -> Tensor:
    """Random places in a ball that no two atoms share."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(*[torch.arange(-4.0, 5.0)] * 3).double()
    nearest = grid[grid.norm(dim=1).argsort(stable=True)[: 2 * atoms]]
    chosen = nearest[torch.randperm(len(nearest), generator=generator)[:atoms]]
    return spacing * (chosen + 0.3 * (torch.rand(atoms, 3, generator=generator, dtype=torch.float64) - 0.5))


def one_species(positions: Tensor, u: float, **options: object) -> Tensor:
    """The sum of one species of unit amplitude."""
    shape = positions.shape[:-1]
    ones = torch.ones(1, NQ, dtype=torch.float64)
    place = torch.zeros(shape, dtype=torch.long)
    displacement = torch.full(shape[:-1], u, dtype=torch.float64)
    return debye_sum(positions, place, ones, displacement, qstep=QSTEP, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dimer_is_a_damped_sine(backend: str) -> None:
    d, u = 2.7, 0.006
    pair = torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2 + d, 0.3]], dtype=torch.float64)
    expected = 2 * torch.exp(-u * Q**2) * torch.sin(Q * d) / d
    assert_close_by_name({"V": one_species(pair, u, backend=backend)}, {"V": expected}, rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_widths_sharpen_and_broaden_a_dimer(backend: str) -> None:
    d, u, delta1, delta2, qbroad = 2.7, 0.006, 0.3, 2.0, 0.02
    variance = 2 * u * (1 - delta1 / d - delta2 / d**2 + (qbroad * d) ** 2)
    pair = torch.tensor([[0.0, 0.0, 0.0], [0.0, d, 0.0]], dtype=torch.float64)
    expected = 2 * torch.exp(-variance * Q**2 / 2) * torch.sin(Q * d) / d
    found = one_species(pair, u, delta1=delta1, delta2=delta2, qbroad=qbroad, backend=backend)
    assert_close_by_name({"V": found}, {"V": expected}, rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_width_does_not_turn_negative(backend: str) -> None:
    pair = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]], dtype=torch.float64)
    found = one_species(pair, 0.006, delta2=9.0, backend=backend)
    assert_close_by_name({"V": found}, {"V": torch.sin(2 * Q)}, rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@given(seed=st.integers(0, 10**6), atoms=st.integers(2, 9), delta2=st.sampled_from([0.0, 3.0]))
def test_rigid_motion_and_order_change_nothing(backend: str, seed: int, atoms: int, delta2: float) -> None:
    x = cluster(atoms, seed)
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[
        0
    ]  # a reflection as often as not
    shift = 5 * torch.randn(3, generator=generator, dtype=torch.float64)
    order = torch.randperm(atoms, generator=generator)
    before = one_species(x, 0.005, delta2=delta2, backend=backend)
    after = one_species((x @ turn + shift)[order], 0.005, delta2=delta2, backend=backend)
    assert_close_by_name({"V": after}, {"V": before}, rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_a_sum_over_pairs(backend: str) -> None:
    x = cluster(5, seed=3)
    pairs = torch.combinations(torch.arange(5))
    assert_close_by_name(
        {"V": one_species(x, 0.005, backend=backend)},
        {"V": one_species(x[pairs], 0.005, backend=backend).sum(0)},
        rtol=1e-9,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_pairs_outside_the_window_are_left_out(backend: str) -> None:
    x = torch.tensor([[0.0, 0, 0], [2, 0, 0], [5, 0, 0]], dtype=torch.float64)  # 2, 3 and 5 apart
    found = one_species(x, 0.0, dmin=2.0, dmax=4.0, backend=backend)
    expected = 2 * torch.sin(2 * Q) / 2 + 2 * torch.sin(3 * Q) / 3
    assert_close_by_name({"V": found}, {"V": expected}, rtol=1e-10)


def leaves(each_atom: bool, widths: float) -> dict[str, Tensor]:
    """A padded batch of two species with everything that can be differentiated."""
    atoms = [11, 1, 7]
    positions = torch.full((3, 11, 3), math.nan, dtype=torch.float64)
    for k, n in enumerate(atoms):
        positions[k, :n] = cluster(n, seed=k)
    u = torch.linspace(0.003, 0.009, 33 if each_atom else 3, dtype=torch.float64)
    wide = {
        "delta1": torch.full((3,), 0.1 * widths, dtype=torch.float64),
        "delta2": torch.linspace(1.0, 3.0, 3, dtype=torch.float64) * widths,
        "qbroad": torch.full((3,), 0.01 * widths, dtype=torch.float64),
    }
    all_leaves = {"positions": positions, "u": u.reshape(3, 11) if each_atom else u, **(wide if widths else {})}
    return {name: value.requires_grad_() for name, value in all_leaves.items()}


SPECIES = torch.tensor([[0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1], [1] + [-1] * 10, [1, 1, 0, 1, 1, 0, 1] + [-1] * 4])
AMPLITUDES = torch.stack([torch.linspace(70, 15, NQ), torch.linspace(28, 4, NQ) ** 0.9]).double()


def outcome(inputs: dict[str, Tensor], backend: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The sum and the gradient of a random projection of it."""
    copies = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    rest = {name: value for name, value in copies.items() if name not in ("positions", "u")}
    v = debye_sum(
        copies["positions"],
        SPECIES,
        AMPLITUDES,
        copies["u"],
        qstep=QSTEP,
        **rest,
        dtype=dtype,
        backend=backend,  # type: ignore[arg-type]
    )
    direction = torch.randn(v.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (v * direction).sum().backward()
    return {"V": v.detach(), **{name: value.grad for name, value in copies.items() if value.grad is not None}}


# Binned moments want one displacement for a cluster.
FAST = pytest.mark.parametrize(("backend", "each_atom"), [("nufft", False), ("nufft", True), ("moments", False)])


@FAST
@pytest.mark.parametrize("widths", [0.0, 1.0])
def test_a_fast_way_and_its_gradients_equal_the_reference(backend: str, each_atom: bool, widths: float) -> None:
    inputs = leaves(each_atom, widths)
    expected, found = outcome(inputs, "reference"), outcome(inputs, backend)
    assert set(expected) == {"V", *inputs}
    assert_close_by_name(found, expected, rtol=1e-9)


def test_moments_keep_apart_the_pairs_whose_width_is_cut_off() -> None:
    """Nearest neighbours at rest, the others in motion, and bins that hold both."""
    inputs = leaves(False, 1.0)
    inputs["delta2"] = torch.tensor([7.0, 9.0, 30.0], dtype=torch.float64)
    inputs["delta1"] = torch.zeros(3, dtype=torch.float64)
    assert_close_by_name(outcome(inputs, "moments"), outcome(inputs, "reference"), rtol=1e-9)


@pytest.mark.parametrize("ratio", _bins.RATIOS)
def test_the_width_of_the_bins_changes_nothing(ratio: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = leaves(False, 1.0)
    expected = outcome(inputs, "reference")
    monkeypatch.setattr(_bins, "RATIOS", (ratio,))
    monkeypatch.setattr(_moments, "choose", _bins.choose.__wrapped__)  # without what it remembers
    assert_close_by_name(outcome(inputs, "moments"), expected, rtol=1e-9)


NEAR = torch.tensor([[0.0, 0, 0], [0, 0, 2e-4], [3, 0, 0]], dtype=torch.float64)  # far nearer than a bin is wide
BALL = cluster(20, seed=4)


@pytest.mark.parametrize(
    ("positions", "u", "widths"),
    [
        (NEAR, 0.004, {}),
        (NEAR, 0.004, {"qbroad": 0.05}),
        (NEAR, 0.004, {"delta2": 2.0}),
        (NEAR, 0.004, {"delta2": 1e-9}),
        (NEAR, 0.004, {"delta1": -1e-3}),
        (BALL, 0.0, {"delta2": 2.0}),
        (BALL, 1.3, {"delta2": 3.0}),  # falls off steeply beyond the cut
        (BALL, 0.004, {"delta2": -3.0, "delta1": 4.0}),
        (BALL, 0.004, {"qbroad": 0.5}),
        (BALL, 0.004, {"qbroad": 30.0}),  # beyond what the series is for
    ],
)
def test_moments_hold_in_hard_cases(positions: Tensor, u: float, widths: dict[str, float]) -> None:
    found = {}
    for backend in ("reference", "moments"):
        leaves = {name: torch.tensor(widths.get(name, 0.0)).double() for name in ("delta1", "delta2", "qbroad")}
        leaves = {"positions": positions.clone(), **(leaves if widths else {})}
        inputs = {name: leaf.requires_grad_() for name, leaf in leaves.items()}
        v = one_species(u=u, **inputs, backend=backend)  # type: ignore[arg-type]
        slopes = torch.autograd.grad(v @ torch.cos(Q), list(inputs.values()))
        found[backend] = {"V": v, **dict(zip(inputs, slopes, strict=True))}
    if positions is NEAR:  # whose slope by the positions is a difference of numbers that agree in seven digits
        near = [each.pop("positions") for each in found.values()]
        assert_close_by_name({"positions": near[1]}, {"positions": near[0]}, rtol=1e-4)
    assert_close_by_name(found["moments"], found["reference"], rtol=1e-8)


@pytest.mark.parametrize(("u", "widths"), [(0.004, {"qbroad": 30.0}), (0.004, {"delta1": -1e-3})])
def test_what_is_not_smooth_is_left_to_the_plain_sum(u: float, widths: dict[str, float]) -> None:
    x = NEAR if "delta1" in widths else BALL
    assert torch.equal(one_species(x, u, **widths, backend="moments"), one_species(x, u, **widths, backend="reference"))


def test_distances_beyond_the_period_of_the_grid_are_folded() -> None:
    far = torch.tensor([[0.0, 0, 0], [0, 0, 130.0], [0, 70.0, 0]], dtype=torch.float64)  # the period is 2π/0.1 Å
    for widths in ({}, {"qbroad": 0.01}):
        expected = one_species(far, 0.005, backend="reference", **widths)
        assert_close_by_name({"V": one_species(far, 0.005, backend="moments", **widths)}, {"V": expected}, rtol=1e-9)


def test_moments_for_each_atom_are_told() -> None:
    inputs = leaves(True, 0.0)
    message = 'backend "moments" takes one displacement for a cluster, not one for each atom; take "auto" or "nufft"'
    with pytest.raises(ValueError, match=message):
        outcome(inputs, "moments")


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_precision_is_near_double(backend: str) -> None:
    inputs = leaves(False, 1.0)
    single = outcome(inputs, backend, torch.float32)
    assert single["V"].dtype == torch.float32
    assert_close_by_name({"V": single["V"]}, {"V": outcome(inputs, backend)["V"]}, rtol=1e-6)


@FAST
def test_blocks_groups_and_threads_change_nothing(
    backend: str, each_atom: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = leaves(each_atom, 1.0)
    names = ("reference", backend)
    expected = {name: outcome(inputs, name) for name in names}
    monkeypatch.setattr(_pairs, "ATOMS", 3)
    for module, settings in (
        (_nufft, {"BLOCKS": 6, "PAIRS": 30, "POINTS": 4}),
        (_moments, {"BLOCKS": 6, "PAIRS": 30, "CHUNK": 4}),
    ):
        for name, value in settings.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(reference, "BLOCK", 3000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for name in names:
        assert_close_by_name(outcome(inputs, name), expected[name], rtol=1e-9)


@pytest.mark.parametrize("backend", ["nufft", "moments"])
def test_threads_give_the_same_bits_every_time(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pairs, "ATOMS", 3)
    for module in (_nufft, _moments):
        monkeypatch.setattr(module, "BLOCKS", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    inputs = leaves(False, 0.0)
    first = outcome(inputs, backend)
    for _ in range(5):
        again = outcome(inputs, backend)
        assert all(torch.equal(again[name], first[name]) for name in first)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("each_atom", [False, True])
def test_a_batch_equals_its_clusters(each_atom: bool, backend: str) -> None:
    if each_atom and backend == "moments":
        pytest.skip("takes one displacement for a cluster")
    inputs = {name: value.detach() for name, value in leaves(each_atom, 0.0).items()}
    whole = debye_sum(inputs["positions"], SPECIES, AMPLITUDES, inputs["u"], qstep=QSTEP, backend=backend)  # type: ignore[arg-type]
    for k in range(3):
        here = SPECIES[k] >= 0
        alone = debye_sum(
            inputs["positions"][k][here],
            SPECIES[k][here],
            AMPLITUDES,
            inputs["u"][k][here] if each_atom else inputs["u"][k],
            qstep=QSTEP,
            backend=backend,  # type: ignore[arg-type]
        )
        assert_close_by_name({"V": whole[k]}, {"V": alone}, rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_batch_shape_and_any_strides(backend: str) -> None:
    x = torch.stack([cluster(6, seed) for seed in range(6)])
    plain = one_species(x, 0.005, backend=backend)
    strided = x.reshape(2, 3, 6, 3).permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not strided.is_contiguous()
    assert_close_by_name(
        {"V": one_species(strided, 0.005, backend=backend)}, {"V": plain.reshape(2, 3, NQ)}, rtol=1e-12
    )
    assert one_species(x[:0], 0.005, backend=backend).shape == (0, NQ)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_single_atom_has_no_pair_and_no_gradient(backend: str) -> None:
    x = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    v = one_species(x, 0.005, backend=backend)
    v.sum().backward()
    assert x.grad is not None
    assert not v.any()
    assert not x.grad.any()


def test_the_reference_is_differentiable_twice() -> None:
    x = cluster(3, seed=1)[None].requires_grad_()
    u = torch.tensor([0.02, 0.03, 0.01], dtype=torch.float64)[None].requires_grad_()
    widths = [torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (0.1, 1.0, 0.02)]
    amplitudes = torch.tensor([[3.0, 2.0, 1.5, 1.0]], dtype=torch.float64)
    species = torch.zeros(1, 3, dtype=torch.long)

    def total(x: Tensor, u: Tensor, d1: Tensor, d2: Tensor, qb: Tensor) -> Tensor:
        return debye_sum(x, species, amplitudes, u, qstep=1.3, delta1=d1, delta2=d2, qbroad=qb, backend="reference")

    assert torch.autograd.gradcheck(total, (x, u, *widths))
    assert torch.autograd.gradgradcheck(total, (x, u, *widths))


@pytest.mark.parametrize("backend", ["nufft", "moments"])
def test_a_second_derivative_of_a_fast_way_is_refused(backend: str) -> None:
    x = cluster(4, seed=1).requires_grad_()
    (slope,) = torch.autograd.grad(one_species(x, 0.005, backend=backend).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


@pytest.mark.parametrize("nq", [1, 2])
def test_a_grid_may_be_tiny(nq: int) -> None:
    x = cluster(4, seed=1)
    one = torch.zeros(4, dtype=torch.long), torch.ones(1, nq, dtype=torch.float64), torch.tensor(0.005).double()
    found = {name: debye_sum(x, *one, qstep=0.1, delta2=1.0, backend=name) for name in BACKENDS}  # type: ignore[arg-type]
    assert_close_by_name(found, dict.fromkeys(BACKENDS, found["reference"]), rtol=1e-9)


PEAK = """
import resource, torch
from cbldm.ops.debye_sum import debye_sum
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
def total(clusters, n):
    x = 3 * torch.cartesian_prod(*[torch.arange(40.0)] * 3)[:n].double().repeat(clusters, 1, 1).requires_grad_()
    one = torch.zeros(clusters, n, dtype=torch.long), torch.ones(1, 255, dtype=torch.float64)
    u = torch.full((clusters, n) if {each_atom} else (clusters,), 0.005)
    debye_sum(x, *one, u, qstep=0.1, delta2={delta2}, backend="{backend}").sum().backward()
torch.set_num_threads(2)
total(1, 50)
before = peak()
total({clusters}, {atoms})
print(peak() - before)
"""


# Kept whole, a single number for each pair would take 9.3, 0.5 and 0.5 GiB.
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
@pytest.mark.parametrize(
    ("clusters", "atoms", "delta2", "each_atom", "backend"),
    [(1, 50000, 0.0, False, "moments"), (3000, 220, 3.0, False, "moments"), (1, 12000, 0.0, False, "nufft")],
)
def test_memory_is_bounded_whatever_cluster_and_batch(
    clusters: int, atoms: int, delta2: float, each_atom: bool, backend: str
) -> None:
    words = {"clusters": clusters, "atoms": atoms, "delta2": delta2, "each_atom": each_atom, "backend": backend}
    script = PEAK
    for name, value in words.items():
        script = script.replace(f"{{{name}}}", str(value))
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    print(f"{clusters} clusters of {atoms} atoms: {float(found.stdout):.0f} MiB")
    assert float(found.stdout) < (1200 if backend == "nufft" else 500)


def test_an_unknown_backend_is_told() -> None:
    with pytest.raises(ValueError, match="backend is 'nuft': give 'auto', 'reference', 'moments', 'nufft' or 'triton'"):
        one_species(cluster(3, 0), 0.01, backend="nuft")


def test_the_plain_sum_serves_where_finufft_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms, kind = cluster(5, 0), torch.zeros(5, dtype=torch.long)
    settings = atoms, kind, torch.ones(1, NQ, dtype=torch.float64), torch.linspace(0.01, 0.02, 5)
    expected = debye_sum(*settings, qstep=QSTEP, backend="reference")
    monkeypatch.setattr("cbldm.ops.debye_sum._installed", lambda _: False)
    assert torch.equal(debye_sum(*settings, qstep=QSTEP, backend="auto"), expected)
