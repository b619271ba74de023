"""What a search found, in plain words: the verdict, what its numbers cannot say, and a table for the terminal."""

from collections.abc import Sequence

from .data.clusters import MAX_ATOMS
from .fit import StructureFit
from .posterior import Distribution
from .proposals import MAX_OWN_ATOMS
from .rank import MORE_THAN_NOISE, Candidate, Recovery
from .refine import RefinedStructure
from .target import Target

NEAR_LARGEST = 0.95
"""Share of the largest cluster searched from which on the best is told to be at the limit."""


def verdict(result: Recovery) -> str:
    """The outcome of a search in two or three sentences.

    Args:
        result: The candidates.

    Returns:
        The sentences.
    """
    best = result[0]
    found = f"{best.label} with {len(best.atoms)} atoms, bond {best.bond_length:.3f} Å, Rw = {best.rw:.3f}"
    low, high = result.dilations
    limit = (
        f" Its bond is at the limit of what was searched ({low * result.bond:.2f} to {high * result.bond:.2f} Å): try "
        "another --element or --bond."
        if result.at_limit
        else ""
    )
    if not result.in_scope:
        unknown = " What was measured is probably no particle of one metal, or not one of those searched."
        strays = f" Its atoms stray as in a liquid (Biso {best.fit.parameters.biso:.1f} Å²)." if result.molten else ""
        return (
            f"Outside what I know: none of the {result.searched} structures explains this curve. The best is {found}."
            f"{strays}{_larger(result) or unknown}{limit}"
        )
    hint = limit + (
        " So large a misfit is more than a good measurement's noise: the particle differs from every structure that "
        "was searched, and type and size are hints."
        if best.rw > MORE_THAN_NOISE
        else ""
    )
    hint += _larger(result)
    moved = f" With atoms moved ({best.relaxed.moved:.2f} Å rms) Rw = {best.relaxed.rw:.3f}." if best.relaxed else ""
    several = len(result.plausible)
    unsure = f" The curve hardly chooses among {several} structures." if several > 1 else ""
    return (
        f"Best of {result.searched} structures: {found}.{moved}{unsure} Atoms: {shares(result.atom_count)}. "
        f"Type: {shares(result.structure_type)}.{hint}"
    )


def _larger(result: Recovery) -> str:
    """What speaks for a particle larger than those searched, and what to do then; nothing where nothing does."""
    best, sphere, largest = result[0], result.sphere, result.max_atoms
    if sphere is not None:
        more = "or more " if sphere.at_limit else ""
        if largest < MAX_ATOMS:
            further = f"search again with --max-atoms {MAX_ATOMS}."
        elif sphere.atoms <= MAX_OWN_ATOMS:
            further = f"clusters of your own may have up to {MAX_OWN_ATOMS} (--library FOLDER)."
        else:
            further = "refine a crystal cut by a sphere, as PDFgui does."
        return (
            f" A sphere cut from {sphere.lattice}, {sphere.diameter:.1f} Å {more}across (some {sphere.atoms} atoms), "
            f"fits better, with Rw = {sphere.fit.rw:.3f}: the particle is larger than any that were searched (up to "
            f"{largest} atoms); {further}"
        )
    if best.rw > MORE_THAN_NOISE and len(best.atoms) >= NEAR_LARGEST * largest:
        return f" It is as large as any that were searched (up to {largest} atoms): the particle may be larger."
    return ""


def shares(distribution: Distribution[int] | Distribution[str], *, level: float = 0.9, most: int = 4) -> str:
    """The likeliest outcomes with their probabilities, as many as it takes.

    Args:
        distribution: Probabilities.
        level: Together they have at least this probability.
        most: How many to name at most.

    Returns:
        Words such as `55 (83 %), 54 (11 %)`.

    >>> shares(Distribution([(55, 0.83), (54, 0.11), (13, 0.06)]))
    '55 (83 %), 54 (11 %)'
    """
    named, share = distribution.credible(level), dict[object, float](distribution.items())
    words = ", ".join(f"{outcome} ({100 * share[outcome]:.0f} %)" for outcome in named[:most])
    return words + (f" and {len(named) - most} more" if len(named) > most else "")


def caveats(result: Recovery) -> list[str]:
    """What the numbers of a search can and cannot say.

    Args:
        result: The candidates.

    Returns:
        A sentence or two for each point.
    """
    low, high = result.dilations
    return [
        f"The element is not seen. In a particle of one element the form factors cancel, and G depends on geometry, "
        f"bond length and displacement alone. {result.element} only set the bond lengths that were searched "
        f"({low * result.bond:.2f} to {high * result.bond:.2f} Å) and the symbol in the files.",
        "Mirror images have the same distances and the same G: a chiral structure is found with either hand.",
        "The number of atoms follows from where G dies out and from how peaks relate. The absolute scale, which would "
        "count neighbours, is refined because that of a measured curve cannot be trusted.",
        "Weight, and with it the probabilities of size and type, compare the structures that were refined with each "
        "other and no more: were the particle none of them, their sum would still be one. The weights are tempered so "
        "that on simulated curves with noise, of particles with defects, a search by library, draws and shapes is as "
        "often right as it says. Without one of these, or without noise, it is surer than it may be.",
        "Relaxed surfaces, defects, ligands, a mixture of sizes or shapes and a substrate are in the difference curve, "
        "and can favour a wrong geometry.",
        "Rw with moved atoms is a figure of its own and does not rank: with three coordinates an atom nearly any curve "
        "can be followed, and a restraint, not the curve, then says which structure is shown.",
        *_common(result.target, held=not any("qdamp" in each.fit.free for each in result)),
    ]


def fit_verdict(found: RefinedStructure) -> str:
    """The outcome of a fit in a sentence.

    Args:
        found: The refined structure.

    Returns:
        Its parameters with standard errors.
    """
    names = {"biso": "Biso (Å²)", "delta2": "delta2 (Å²)", "qdamp": "qdamp (Å⁻¹)"}
    p, e = found.fit.parameters._asdict(), found.fit.errors._asdict()
    refined = ", ".join(f"{names.get(name, name)} {p[name]:.4f} ± {e[name]:.4f}" for name in found.fit.free)
    return f"{found.label}, {len(found.atoms)} atoms: Rw = {found.rw:.3f}; {refined}; bond {found.bond_length:.4f} Å."


def fit_caveats(found: StructureFit) -> list[str]:
    """What the numbers of a single fit can and cannot say.

    Args:
        found: The fit.

    Returns:
        A sentence or two for each point.
    """
    return [
        "A low Rw says that the structure agrees with the curve, not that no other does.",
        "All distances were scaled together (dilation) and all atoms have one Biso; positions were not moved.",
        *_common(found.target, held="qdamp" not in found.fit.free),
    ]


def _common(target: Target, *, held: bool) -> list[str]:
    return [
        f"Rw = sqrt(Σ(Gobs − Gcalc)² / ΣGobs²), unweighted, on {len(target.r)} points from {target.r[0]:g} to "
        f"{target.r[-1]:g} Å: 0 is a perfect fit, 1 a model that says nothing."
        + ("" if target.weight is None else " The refinement and the score weigh each point by the file's 1/dG²."),
        f"The score is n ln Rw² + k ln n (Bayesian information criterion) with k free parameters and "
        f"n = {target.independent_points:.0f} independent points; lower is better. It takes the misfit for noise, so "
        "a small difference of scores decides nothing.",
        f"qdamp = {target.qdamp:g} Å⁻¹, {target.qdamp_source}, was {'held' if held else 'where its refinement began'}. "
        "A wrong one shifts what damps G at large r to the number of atoms.",
    ]


def settings(target: Target) -> str:
    """Fit range and instrument in a line.

    Args:
        target: The points.

    Returns:
        The line.
    """
    return (
        f"fitted from {target.r[0]:g} to {target.r[-1]:g} Å, qmin {target.qmin:g}, qmax {target.qmax:g}, "
        f"qdamp {target.qdamp:g} Å⁻¹"
    )


def table(structures: Sequence[Candidate], *, rows: int = 10) -> str:
    """A short table for the terminal.

    Args:
        structures: Best first.
        rows: How many to show.

    Returns:
        Lines of text.
    """
    width = max(12, *(len(each.label) for each in structures[:rows]))
    head = "atoms  bond (Å)     Rw  scale  dilation  Biso (Å²)  delta2 (Å²)  weight  Rw, moved"
    lines = [f"rank  {'structure':{width}s}  {head}"]
    for number, each in enumerate(structures[:rows], 1):
        p = each.fit.parameters
        lines.append(
            f"{number:4d}  {each.label:{width}s}  {len(each.atoms):5d}  {each.bond_length:8.4f}  {each.rw:5.3f}  "
            f"{p.scale:5.3f}  {p.dilation:8.4f}  {p.biso:9.3f}  {p.delta2:11.2f}  {each.weight:6.3f}  "
            + (f"{each.relaxed.rw:9.3f}" if each.relaxed else "").rjust(9)
        )
    if len(structures) > rows:
        lines.append(f"      and {len(structures) - rows} more")
    return "\n".join(lines)
