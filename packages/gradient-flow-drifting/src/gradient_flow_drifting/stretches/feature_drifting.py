"""The network's samples drift in the space of an encoder's features, class by class, with guidance."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..checks import require_choices, require_not_negative, require_positive
from ..data import labelled
from ..devices import gather, require_share, share
from ..encoders import AnyEncoder, LearntEncoder, build_encoder, check_encoder
from ..feature_fields import BiSoftmaxFeatures, KernelFeatures
from ..features import feature_drift, feature_vectors
from ..guidance import Guidance, unconditional_weight
from ..memory import Memory
from .stretch import TrainingState, finite


@dataclass(frozen=True)
class FeatureDrifting:
    """The network's samples follow a field in the space of features (Deng et al. 2026).

    Attributes:
        steps: Zero leaves the stretch out.
        classes: How many classes have samples in a step, chosen at random; all where there are fewer. A generator
            without classes has one, that of all points.
        samples: Of each class in a step.
        positives: Real points of each class in a step.
        learning_rate: The highest, after a short rise.
        encoder: What gives the features; frozen.
        guidance: Strengths that are trained, where the generator has guidance.
        field: What moves them.
        patches: Sides of the patches of a feature map whose mean and deviation are features too.
        places: Whether the losses of a map's places are summed, as in the paper, or averaged, so that each map counts
            as one.
        memory: Real points of each class that are kept at hand; 0 draws straight from the data.
        refresh: New real points for the memory in a step.
        warmup, decay, weight_decay, beta2, clip: Of the optimizer; see `TrainingState.descend`.
    """

    label: ClassVar[str] = "feature drifting"
    moves: ClassVar[Literal["particles", "network"]] = "network"

    steps: int = 800
    classes: int = 10
    samples: int = 16
    positives: int = 32
    learning_rate: float = 1e-3
    encoder: AnyEncoder = field(default_factory=LearntEncoder)
    guidance: Guidance = field(default_factory=Guidance)
    field: BiSoftmaxFeatures | KernelFeatures = field(default_factory=BiSoftmaxFeatures)
    patches: tuple[int, ...] = ()
    places: Literal["sum", "mean"] = "mean"
    memory: int = 0
    refresh: int = 64
    warmup: int = 100
    decay: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.01
    beta2: float = 0.95
    clip: float | None = 2.0

    def __post_init__(self) -> None:
        require_choices(self, "objective")
        require_positive(self, "objective", "classes", "positives", "learning_rate", "refresh", "warmup")
        require_not_negative(self, "objective", "steps", "memory", "weight_decay")
        if self.samples < 2:
            raise ValueError(
                f"objective.samples = {self.samples}: leaving a sample out of its own field needs at least 2"
            )
        if 0 < self.memory < self.positives:
            raise ValueError(f"objective.memory = {self.memory}: keep at least objective.positives = {self.positives}")
        if any(side < 2 for side in self.patches):
            raise ValueError(f"objective.patches = {self.patches}: give sides of at least 2")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"objective.clip = {self.clip}: give a positive number, or None")
        if not 0 <= self.beta2 < 1:
            raise ValueError(f"objective.beta2 = {self.beta2}: give a number in [0, 1)")

    def build(self, state: TrainingState) -> "FeatureDriftingStretch":
        """The stretch."""
        return FeatureDriftingStretch(self, state)


class FeatureDriftingStretch:
    """Each step makes samples of some classes and lowers the squared distance of their features to where these drift.

    With several devices each makes and encodes its share of the samples and of the real points; features are gathered
    before the field.

    Attributes:
        encoder: Frozen; trained before the first step, where it is to be.
        memory: Real points, where they are kept.
        speeds: Root mean square velocity of each set of features in the last step, before it was normalised.
    """

    def __init__(self, config: FeatureDrifting, state: TrainingState) -> None:
        self.config, self.state = config, state
        if state.data.geometry != "euclidean":
            raise ValueError(
                f"objective: features are compared in Euclidean space, the data lies on the {state.data.geometry}"
            )
        generator = state.generator
        require_share(state.fabric, objective__samples=config.samples, objective__positives=config.positives)
        if generator.guided:
            require_share(state.fabric, objective__guidance__unconditional=config.guidance.unconditional)
        self.encoder: nn.Module = build_encoder(config.encoder, state.data, seed=state.seed).to(state.fabric.device)
        self.encoder.eval().requires_grad_(False)
        check_encoder(self.encoder, state.data.sample(4, torch.Generator().manual_seed(0)).to(state.fabric.device))
        self.prepared = False
        self.memory: Memory | None = None
        if generator.classes and config.memory:
            self.memory = Memory(
                labelled(state.data),
                size=config.memory,
                unconditional=max(config.memory, config.guidance.unconditional),
                generator=state.streams["data"],
            )
        self.speeds: dict[str, float] = {}

    def step(self, k: int) -> float:
        """One step towards where the features drift; the loss is about one for each set of features and scale."""
        if not self.prepared:
            self._prepare()
        config, state, generator = self.config, self.state, self.state.generator
        labels, guidance, told = self._conditions()
        count = len(labels) if labels is not None else 1
        latents = state.draw_latents(count * config.samples).unflatten(0, (count, config.samples))
        real, unconditional = self._real(labels)
        weights = None
        if generator.guided and guidance is not None:
            pool = config.guidance.unconditional
            weights = unconditional_weight(guidance, negatives=config.samples, unconditional=pool).to(latents.device)
        mine = share(state.fabric, latents, 1).flatten(0, 1)
        conditions = tuple(
            None if each is None else share(state.fabric, each, 1).flatten().to(mine.device) for each in told
        )
        positives = self._features(share(state.fabric, real, 1), gathered=1)
        others = None if unconditional is None else self._features(share(state.fabric, unconditional), gathered=0)

        def loss() -> Tensor:
            samples = state.model(mine, *conditions) if generator.classes else state.model(mine)
            finite("samples", gather(state.fabric, samples.float()))
            total = samples.new_zeros(())
            vectors = feature_vectors(self.encoder(samples.float()), patches=config.patches)
            for name, own in vectors.items():
                own = own.unflatten(0, (count, -1))
                drift = feature_drift(
                    gather(state.fabric, own, 1),
                    positives=positives[name],
                    unconditional=None if others is None else others[name],
                    weights=weights,
                    field=config.field,
                )
                self.speeds[name] = float(drift.speed.square().mean().sqrt())
                normalised = own / drift.scale
                target = normalised.detach() + share(state.fabric, drift.velocity, 1)
                of_set = (normalised - target).square().mean()
                total = total + (own.shape[2] * of_set if config.places == "sum" else of_set)
            return total

        return state.descend(
            loss,
            k,
            steps=config.steps,
            learning_rate=config.learning_rate,
            warmup=config.warmup,
            decay=config.decay,
            weight_decay=config.weight_decay,
            beta2=config.beta2,
            clip=config.clip,
        )

    def _conditions(self) -> tuple[Tensor | None, Tensor | None, tuple[Tensor | None, Tensor | None]]:
        """Classes of the step and their strengths of guidance; the same for each sample."""
        config, state = self.config, self.state
        if not state.generator.classes:
            return None, None, (None, None)
        labels = torch.randperm(state.generator.classes, generator=state.streams["order"])[: config.classes]
        guidance = config.guidance.draw(len(labels), state.streams["order"]) if state.generator.guided else None
        told = tuple(None if each is None else each[:, None].repeat(1, config.samples) for each in (labels, guidance))
        return labels, guidance, told  # type: ignore[return-value]

    def _real(self, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Real points of the classes [classes, p, d] and of any [u, d], all processes' alike."""
        config, state, stream = self.config, self.state, self.state.streams["data"]
        if labels is None:
            return state.data.sample(config.positives, stream)[None], None
        guided, data = state.generator.guided, labelled(state.data)
        if self.memory is not None:
            self.memory.push(*data.sample_labelled(config.refresh, stream))
            unconditional = self.memory.draw_unconditional(config.guidance.unconditional, stream) if guided else None
            return self.memory.draw(labels, config.positives, stream), unconditional
        real = torch.stack([data.sample_class(label, config.positives, stream) for label in labels.tolist()])
        return real, data.sample(config.guidance.unconditional, stream) if guided else None

    @torch.no_grad()
    def _features(self, points: Tensor, *, gathered: int) -> dict[str, Tensor]:
        """Features of real points [..., d], each process having encoded its share along an axis."""
        flat = points.flatten(0, -2).to(self.state.fabric.device)
        vectors = feature_vectors(self.encoder(flat), patches=self.config.patches)
        return {
            name: gather(self.state.fabric, each.unflatten(0, points.shape[:-1]), gathered)
            for name, each in vectors.items()
        }

    def _prepare(self) -> None:
        """Train the encoder, where it is to be trained; every process does the same."""
        device = self.state.fabric.device
        self.config.encoder.prepare(self.encoder, self.state.data, seed=self.state.seed, device=device)
        check_encoder(self.encoder, self.state.data.sample(4, torch.Generator().manual_seed(0)).to(device))
        self.prepared = True

    def state_dict(self) -> dict[str, Any]:
        """The encoder's weights, once it is trained, and the memory."""
        return {
            "encoder": self.encoder.state_dict() if self.prepared else None,
            "memory": self.memory.state_dict() if self.memory is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self.prepared = state["encoder"] is not None
        if self.prepared:
            self.encoder.load_state_dict(state["encoder"])
        if self.memory is not None:
            self.memory.load_state_dict(state["memory"])
