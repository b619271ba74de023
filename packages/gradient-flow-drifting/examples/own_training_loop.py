"""The drifting loss in a training loop of one's own: any network, any optimizer.

python packages/gradient-flow-drifting/examples/own_training_loop.py
"""

# %% Data and a network: nothing of it is the package's
import gradient_flow_drifting as gfd
import torch
from torch import nn

torch.manual_seed(0)
data = gfd.Toy("moons")
real = torch.Generator().manual_seed(1)
network = nn.Sequential(nn.Linear(2, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

# %% The loss says little, for it is the squared speed of the samples; the log ratio says more
kernel = gfd.Gaussian((0.1, 0.3, 1.0))
for step in range(601):
    samples, y = network(torch.randn(256, 2)), data.sample(256, real)
    loss = gfd.drifting_loss(samples, y, kernel=kernel, self_terms="leave_one_out")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 150 == 0:
        with torch.no_grad():
            field = gfd.drift(samples, positives=y, negatives=samples, kernel=kernel, self_terms="leave_one_out")
        print(f"step {step:3}: loss {loss.item():.4f}, KL(q|p) about {-field.log_ratio[1].mean().item():.3f}")

# %% How far from the data, beside how far two draws of the data are from each other
with torch.no_grad():
    samples = network(torch.randn(1000, 2))
floor = gfd.wasserstein2(data.sample(1000, real), data.sample(1000, real))
print(f"W2 {gfd.wasserstein2(samples, data.sample(1000, real)):.3f}, floor {floor:.3f}")
