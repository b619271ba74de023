"""Measured and calculated pair distribution functions, and the `.gr` files that hold them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float
from papertrio_shared.checkpoint import atomic_write

from ..scattering.form_factors import Radiation
from .gr_text import parse

SHORTEST_RANGE = 4.0
"""A fit range shorter than this holds hardly more than a bond and decides nothing, Å."""


@dataclass(frozen=True, eq=False, repr=False)
class PairDistribution:
    """A pair distribution function G(r) and what is known of how it was measured.

    Attributes:
        r: Distances, increasing, Å.
        g: G(r), Å⁻².
        dg: Standard deviation of G, Å⁻²; None where none is known or any is not positive.
        qmin: Lower limit of the sine transform that made G, Å⁻¹; None where it is not known, as the following.
        qmax: Its upper limit, Å⁻¹.
        qdamp: Damping by the instrument's resolution, Å⁻¹.
        qbroad: Broadening by it, Å⁻¹.
        composition: Number of each element in a formula unit, as the header tells it.
        radiation: What was scattered.
        metadata: Every other `key = value` of the header, the limits of r left out.
        name: What to call it, a file's name.
    """

    r: Float[np.ndarray, " bins"]
    g: Float[np.ndarray, " bins"]
    dg: Float[np.ndarray, " bins"] | None = None
    qmin: float | None = None
    qmax: float | None = None
    qdamp: float | None = None
    qbroad: float | None = None
    composition: Mapping[str, float] = field(default_factory=dict)
    radiation: Radiation | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    name: str = "G(r)"

    def __repr__(self) -> str:
        """Its name, its points and what is known of the instrument, in a line."""
        known = {key: getattr(self, key) for key in ("qmin", "qmax", "qdamp", "qbroad")}
        told = "".join(f", {key} {value:g}" for key, value in known.items() if value is not None)
        return f"<{self.name}: {len(self.r)} points from {self.r[0]:g} to {self.r[-1]:g} Å{told}>"

    def within(self, rmin: float, rmax: float) -> "PairDistribution":
        """The points from rmin to rmax, both included, of a curve that a structure can be fitted to.

        Args:
            rmin, rmax: The fit range, Å; a file that ends before rmax is taken to its end.

        Returns:
            The curve, cut.

        Raises:
            ValueError: If qmax is not known, or what the file has of the range is too short to decide anything.

        >>> curve = PairDistribution(np.linspace(0, 30, 301), np.ones(301), qmax=25.0)
        >>> len(curve.within(2.0, 20.0).r)
        181
        """
        if self.qmax is None:
            raise ValueError(f"{self.name}: its header names no qmax; give it with --qmax")
        inside = (self.r >= rmin - 1e-9) & (self.r <= rmax + 1e-9)
        r = self.r[inside]
        if len(r) < 2 or r[-1] - r[0] < SHORTEST_RANGE:
            remedy = "give a longer curve or other limits"
            if self.r[-1] < rmin + SHORTEST_RANGE:
                remedy = "give a longer curve, and r in Å if this is nm"
            raise ValueError(
                f"{self.name}: r from {self.r[0]:g} to {self.r[-1]:g} Å covers less than {SHORTEST_RANGE:g} Å of "
                f"the fit range {rmin:g} to {rmax:g} Å, too short to decide; {remedy}"
            )
        return replace(self, r=r, g=self.g[inside], dg=None if self.dg is None else self.dg[inside])


def read_gr(path: str | Path) -> PairDistribution:
    """Read a pair distribution function as PDFgetX3, PDFgetXgui, xPDFsuite, PDFgui and others write it.

    A header may precede the rows (`key = value`, with or without `#`), or none. Of two columns they are r and G, of
    four r, G, dr, dG; a label line says otherwise.

    Args:
        path: The file.

    Returns:
        The curve.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no pair distribution function: binary, empty, a page or a text, F(Q), S(Q) or an
            intensity in its place, numbers missing, not finite or not in order. One line names file and remedy.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "pt.gr"
    >>> r = np.linspace(0, 30, 301)
    >>> write_gr(path, PairDistribution(r, np.sin(r), qmax=25.0, composition={"Pt": 1}))
    >>> read_gr(path).qmax
    25.0
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a .gr file in it")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    return PairDistribution(**parse(path.read_bytes(), path.name), name=path.name)


def write_gr(path: str | Path, curve: PairDistribution) -> None:
    """Write a `.gr` file that PDFgui and `read_gr` read; numbers keep every bit.

    Args:
        path: Where to write; a file there is replaced once the new one is whole.
        curve: What to write; its `name` is that of the file.

    Raises:
        ValueError: If the curve holds a number that is not finite, or its metadata more than a line for an entry.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "pt.gr"
    >>> write_gr(path, PairDistribution(np.arange(10.0), np.sin(np.arange(10.0)), qmin=0.7))
    >>> path.read_text().splitlines()[2]
    'qmin = 0.7'
    """
    columns = [curve.r, curve.g] if curve.dg is None else [curve.r, curve.g, np.zeros_like(curve.r), curve.dg]
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    if not np.isfinite(table).all():
        raise ValueError(
            f"{curve.name}: row {int(np.argwhere(~np.isfinite(table))[0, 0]) + 1} is not finite; nothing was written"
        )
    header = [f"# cbldm {version('cbldm')}", "[PDF]"]
    known = {name: getattr(curve, name) for name in ("qmin", "qmax", "qdamp", "qbroad")}
    known |= {"rmin": curve.r[0], "rmax": curve.r[-1]}
    header += [f"{name} = {float(value)!r}" for name, value in known.items() if value is not None]
    if curve.composition:
        header.append("composition = " + " ".join(f"{s}{_count(n)}" for s, n in curve.composition.items()))
    if curve.radiation:
        header.append("mode = " + {"xray": "x-ray", "neutron": "neutron"}[curve.radiation])
    if any("\n" in f"{key}{value}" for key, value in curve.metadata.items()):
        raise ValueError(f"{curve.name}: an entry of its metadata has several lines; a header has one for each")
    header += [f"{key} = {value}" for key, value in curve.metadata.items()]
    labels = "r($\\AA$)  G($\\AA^{-2}$)" + ("" if curve.dg is None else "  dr($\\AA$)  dG($\\AA^{-2}$)")
    rows = [" ".join(repr(value) for value in row) for row in table.tolist()]
    lines = [*header, "", "#### start data", "#S 1", f"#L {labels}", *rows, ""]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _count(number: float) -> str:
    return "" if number == 1 else str(int(number)) if float(number).is_integer() else repr(float(number))
