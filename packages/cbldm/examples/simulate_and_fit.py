"""The Debye sum as a function to differentiate: batches, gradients, a fit of one's own making.

python packages/cbldm/examples/simulate_and_fit.py
"""

# %% G of one cluster
import cbldm
import torch
from cbldm.data.clusters import build_geometry
from matplotlib.figure import Figure

grid = {"rmin": 0.0, "rmax": 20.0, "rstep": 0.02, "qmin": 0.8, "qmax": 24.0, "qdamp": 0.035}
x = torch.from_numpy(2.8 * build_geometry("Ico", (2,)).positions)
g = cbldm.pair_distribution(x, "Pt", biso=0.5, **grid)
r = cbldm.r_grid(grid["rmin"], grid["rmax"], grid["rstep"])
print(f"nearest atoms at {r[g.argmax()]:.2f} Å")

# %% A batch: padded to the largest, with a mask; a displacement for each
clusters = [torch.from_numpy(2.8 * build_geometry("Ico", (shells,)).positions) for shells in (2, 3, 4)]
padded = torch.nn.utils.rnn.pad_sequence(clusters, batch_first=True)
mask = torch.arange(padded.shape[1]) < torch.tensor([len(each) for each in clusters])[:, None]
batch = cbldm.pair_distribution(padded, "Pt", mask=mask, biso=torch.tensor([0.4, 0.5, 0.6]), **grid)
ends = batch[:, r > 12].abs().amax(1)
print(f"{len(batch)} curves; beyond 12 Å the largest |G| is {[round(float(each), 2) for each in ends]}")

# %% The gradient with respect to positions and displacements, here of the misfit to a curve of a relaxed particle whose
# shell moves more than its core
centre = x.norm(dim=1) < 0.1
true_x, true_u = x * torch.where(centre, 1.0, 1.03)[:, None], torch.where(centre, 0.004, 0.012)
measured = cbldm.pair_distribution(true_x, "Pt", uiso=true_u, **grid)
moved, u = x.clone().requires_grad_(), torch.full((len(x),), 0.006, dtype=x.dtype, requires_grad=True)
misfit = (cbldm.pair_distribution(moved, "Pt", uiso=u, **grid) - measured).square().sum()
forces, slope = torch.autograd.grad(misfit, (moved, u))
outwards = -(forces * x)[~centre].sum(1)
print(
    f"downhill: the shell moves outwards: {bool((outwards > 0).all())}, its U rises: {bool((slope[~centre] < 0).all())}"
)

# %% So any optimiser fits any parameters: one dilation for the shell, one U for shell and core each
names = ("dilation", "U of the shell", "U of the core")
step = torch.tensor([1.0, 0.1, 0.1], dtype=x.dtype)  # so that all three matter alike
free = (torch.tensor([1.0, 0.006, 0.006], dtype=x.dtype) / step).requires_grad_()
optimizer = torch.optim.LBFGS([free], max_iter=60, line_search_fn="strong_wolfe")


def model(values: torch.Tensor) -> torch.Tensor:
    """G of the particle with these three parameters."""
    dilation, shell, core = values * step
    inside = centre.to(x.dtype)
    return cbldm.pair_distribution(
        x * (inside + (1 - inside) * dilation)[:, None], "Pt", uiso=inside * core + (1 - inside) * shell, **grid
    )


def closure() -> torch.Tensor:
    """The misfit and its gradient."""
    optimizer.zero_grad()
    loss = (model(free) - measured).square().mean()
    loss.backward()
    return loss


optimizer.step(closure)
fitted = model(free).detach()
print(", ".join(f"{name} {value:.4f}" for name, value in zip(names, (free.detach() * step).tolist(), strict=True)))
print(f"Rw {cbldm.rw(measured.numpy(), fitted.numpy()):.5f}")

# %% A picture
figure = Figure(figsize=(8, 4), layout="constrained")
axes = figure.subplots()
axes.plot(r, measured, label="relaxed particle")
axes.plot(r, g, label="where the fit began", linewidth=1)
axes.plot(r, fitted, linestyle=":", label="fitted", color="black")
axes.set(xlabel="r (Å)", ylabel="G (Å⁻²)", xlim=(0, 12))
axes.legend(frameon=False)
figure.savefig("simulate_and_fit.png", dpi=100)
print("simulate_and_fit.png")
