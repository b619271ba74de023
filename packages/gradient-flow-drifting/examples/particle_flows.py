"""Particles without a network: what each divergence does with the same start.

python packages/gradient-flow-drifting/examples/particle_flows.py
"""

# %% Data, and particles that start in one corner of it
import gradient_flow_drifting as gfd
import torch
from matplotlib.figure import Figure

generator = torch.Generator().manual_seed(0)
data = gfd.Toy("8gaussians")
y = data.sample(800, generator)
x0 = 0.3 * torch.randn(400, 2, generator=generator) + 0.5

# %% The bandwidth by a target effective sample size, and two coarser ones, so that mass crosses the gaps
h = gfd.choose_bandwidth(y, effective_sample_size=16)
kernel = gfd.Gaussian((h, 8 * h, 32 * h))
print(f"bandwidths {', '.join(f'{each:.3f}' for each in kernel.lengths)}")

# %% The same start under four divergences. KL(p|q) covers what the particles miss; chi2(q|p) leaves at once what they
# over-cover and stays where it first finds data, and with few particles the mixture does likewise.
STEPS = 240
options = {"kernel": kernel, "self_terms": "leave_one_out", "step_size": 0.2, "steps": STEPS, "snapshots": 5}
ways = {name: gfd.flow_particles(x0, y, divergence=name, **options) for name in ("kl_qp", "kl_pq", "chi2_qp", "mixed")}
for name, way in ways.items():
    coverage, distance = gfd.mode_coverage(way[-1], data.modes), gfd.wasserstein2(way[-1], y)
    print(f"{name:8} covers {coverage:.0%} of the modes, W2 to the data {distance:.3f}")

# %% A picture: rows are divergences, columns moments
figure = Figure(figsize=(10, 8), layout="constrained")
panels = figure.subplots(len(ways), 5)
for row, (name, way) in zip(panels, ways.items(), strict=True):
    for k, (panel, cloud) in enumerate(zip(row, way, strict=True)):
        panel.scatter(*y.T, s=1, color="0.8")
        panel.scatter(*cloud.T, s=2)
        panel.set(aspect="equal", xticks=[], yticks=[], xlim=(-2.2, 2.2), ylim=(-2.2, 2.2))
        panel.set_title(f"{name}, step {STEPS * k // 4}")
figure.savefig("particle_flows.png", dpi=100)
print("particle_flows.png")
