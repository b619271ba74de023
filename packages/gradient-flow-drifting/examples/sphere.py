"""On the sphere: velocities are tangent, steps follow great circles.

python packages/gradient-flow-drifting/examples/sphere.py
"""

# %% Six clusters on the axes, and particles spread evenly
import gradient_flow_drifting as gfd
import torch
from matplotlib.figure import Figure
from torch.nn.functional import normalize

generator = torch.Generator().manual_seed(0)
data = gfd.SphereMixture(kappa=50.0)
y = data.sample(1000, generator)
x0 = normalize(torch.randn(500, 3, generator=generator), dim=1)

# %% One look at the field: it is tangent, and where p and q agree it vanishes
kernel, sphere = gfd.VonMisesFisher((10.0, 50.0)), gfd.Sphere()
field = gfd.drift(x0, positives=y, negatives=x0, kernel=kernel, self_terms="leave_one_out")
print(f"largest part along the radius: {(field.velocity * x0).sum(1).abs().max().item():.1e}")
print(f"mean length of a step:         {field.velocity.norm(dim=1).mean().item():.3f} rad")

# %% The flow, and how much of it ends within three standard deviations of a cluster
way = gfd.flow_particles(x0, y, kernel=kernel, manifold=sphere, steps=150, snapshots=4, self_terms="leave_one_out")
modes = data.modes
angle = sphere.dist(way[-1][:, None], modes.centres).min(1).values
print(f"modes covered: {gfd.mode_coverage(way[-1], modes, geometry='sphere'):.0%}")
print(f"particles within 3 sigma of a mode: {(angle <= modes.radius).float().mean().item():.1%}")

# %% A picture
figure = Figure(figsize=(11, 3.2), layout="constrained")
for k, cloud in enumerate(way):
    panel = figure.add_subplot(1, 4, k + 1, projection="3d")
    panel.scatter(*y.T, s=1, color="0.8")
    panel.scatter(*cloud.T, s=2)
    panel.set_axis_off()
    panel.set(box_aspect=(1, 1, 1), title=f"step {50 * k}")
figure.savefig("sphere.png", dpi=100)
print("sphere.png")
