"""What answers a curve: searches of what may be searched, of a model's draws, or of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from papertrio_shared.run import CONFIG, read_config

from ..data.clusters import MAX_ATOMS
from ..data.gr import PairDistribution
from ..draws import draw
from ..profiles import Profile
from ..profiles.sampling import Sampling
from ..proposals import Proposer
from ..rank import Recovery
from ..recover import Positions, recover
from ..sample import load_profile

SEARCHED = "+search"
"""Behind a method's name: from its candidates on, shapes are searched on the sites of their crystals."""
METHODS = tuple(
    f"{name}{search}" for search in ("", SEARCHED) for name in ("retrieval", "model", "both", "diffusion", "prior")
)
"""Retrieval alone; a model's draws alone; both. Then a model's draws without its shortcut, and by its prior alone."""
_SAMPLING: dict[str, Sampling] = {"diffusion": "diffusion", "prior": "prior"}


class Question(NamedTuple):
    """What a method is told beside the curve.

    Attributes:
        element: Symbol of the metal.
        bond: Where its search of bond lengths starts, Å.
    """

    element: str
    bond: float


class Answer(NamedTuple):
    """What a method says of a curve.

    Attributes:
        recovery: Candidates, best first, with a distribution over numbers of atoms; None where there is none.
        head: What a model says of the number of atoms before anything is drawn; None without one.
    """

    recovery: Recovery | None
    head: Mapping[int, float] | None = None


class Method(Protocol):
    """A way from a curve to ranked candidates."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def answer(self, gr: PairDistribution, question: Question, *, count: int, seed: int) -> Answer:
        """Candidates for a curve, which is all that is known but for the question."""


@dataclass(frozen=True, eq=False)
class SearchMethod:
    """`recover` with sources of its own.

    Attributes:
        name: What it is called in tables.
        proposers: Where candidates come from.
        profile: A model that draws candidates; None for none.
        options: Further arguments of `recover`.
    """

    name: str
    proposers: Sequence[Proposer] = ()
    profile: Profile | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, gr: PairDistribution, question: Question, *, count: int, seed: int) -> Answer:
        """Search the sources, and what the model draws."""
        proposers, head = list(self.proposers), None
        if self.profile is not None:
            largest = self.options.get("max_atoms", MAX_ATOMS)
            drawn = draw(gr, self.profile, element=question.element, seed=seed, max_atoms=largest)
            head = {n: float(p) for n, p in enumerate(drawn.samples.atom_count)}
            if drawn.usable:
                proposers.append(drawn)
        if not proposers:
            return Answer(None, head)
        found = recover(
            gr,
            element=question.element,
            bond=question.bond,
            candidates=count,
            seed=seed,
            library=None,
            model="none",
            proposers=proposers,
            **self.options,
        )
        return Answer(found, head)


def build_method(
    name: str,
    library: Proposer,
    weights: Path | None = None,
    *,
    positions: Positions = "held",
    max_atoms: int = MAX_ATOMS,
) -> Method:
    """A method by its name.

    Args:
        name: One of `METHODS`, with what the weights are called behind it where there are several.
        library: What may be searched.
        weights: Of the model, for all methods but retrieval.
        positions: Whether the atoms of the best are moved in the end.
        max_atoms: Largest cluster that is drawn or searched for.

    Returns:
        The method.

    Raises:
        FileNotFoundError: If there is no such file of weights.
        ValueError: If there is no such method, or it needs weights and has none, or they cannot be sampled so.
    """
    kind = name.split()[0]
    if kind not in METHODS:
        raise ValueError(f"method {name!r}: no such method; take some of {', '.join(METHODS)}")
    options = {"positions": positions, "max_atoms": max_atoms, "shape": "search" if kind.endswith(SEARCHED) else "held"}
    kind = kind.removesuffix(SEARCHED)
    proposers = [library] if kind in ("retrieval", "both") else []
    if kind == "retrieval":
        return SearchMethod(name, proposers, options=options)
    if weights is None:
        raise ValueError(f"method {name}: it asks a model; give its --weights")
    profile = load_profile(weights)
    if kind in _SAMPLING:
        profile = profile.with_sampling(_SAMPLING[kind])
    return SearchMethod(name, proposers, profile, options)


def row_names(methods: Sequence[str], weights: Sequence[Path]) -> dict[str, Path | None]:
    """The rows of the tables: each method, those that ask a model once for each file of weights.

    Args:
        methods: Of `METHODS`.
        weights: Files of weights, or folders of runs.

    Returns:
        Name of each row, and its weights.

    Raises:
        ValueError: If a method needs weights and there are none, or two of them have one name.

    >>> list(row_names(["retrieval", "model"], [Path("runs/robust")]))
    ['retrieval', 'model']
    >>> list(row_names(["retrieval", "model"], [Path("runs/robust"), Path("runs/paper.safetensors")]))
    ['retrieval', 'model robust', 'model paper']
    """
    called = [path.stem if path.suffix == ".safetensors" else path.name for path in weights]
    if twice := [name for name in called if called.count(name) > 1]:
        raise ValueError(f"weights: two are called {twice[0]}; rename one, which names its rows")
    rows: dict[str, Path | None] = {}
    for method in methods:
        if method.removesuffix(SEARCHED) == "retrieval":
            rows[method] = None
            continue
        if not weights:
            raise ValueError(f"method {method}: it asks a model; give its --weights")
        for name, path in zip(called, weights, strict=True):
            rows[method if len(weights) == 1 else f"{method} {name}"] = path
    return rows


def trained_split(weights: Path) -> str | None:
    """What was held out in the training of weights that lie in the folder of their run.

    Args:
        weights: File of weights, or folder of a run.

    Returns:
        The name of the split, `"nothing"`, or None where it is not known.
    """
    folder = weights if weights.is_dir() else weights.parent
    if not (folder / CONFIG).is_file():
        return None
    data = read_config(folder).get("data", {})
    return (data["split"] or "nothing") if "split" in data else None
