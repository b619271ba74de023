"""The script with which DiffPy-CMI makes the same fit."""

from importlib.resources import files
from string import Template

from .fit import StructureFit
from .refine import BISO_RANGE, QDAMP_RANGE
from .scattering.form_factors import Radiation

_FURTHER = {
    "delta2": 'recipe.addVar(generator.delta2, {value}, name="delta2")',
    "qdamp": 'recipe.addVar(generator.qdamp, {value}, name="qdamp")',
}


def diffpy_script(found: StructureFit) -> str:
    """A Python script that repeats a fit with DiffPy-CMI, from `start.xyz` and `measured.gr` beside it.

    Args:
        found: The fit.

    Returns:
        The script.
    """
    target, fit = found.target, found.fit
    p = fit.parameters
    further = [_FURTHER[name].format(value=repr(getattr(p, name))) for name in _FURTHER if name in fit.free]
    stype: dict[Radiation, str] = {"xray": "X", "neutron": "N"}
    values = {name: repr(float(value)) for name, value in p._asdict().items()}
    limits = {name: repr(float(getattr(target, name))) for name in ("qmin", "qmax", "qbroad")}
    low, high = found.dilations
    return Template((files("cbldm") / "diffpy_script.txt").read_text(encoding="utf-8")).substitute(
        values,
        **limits,
        structure=_plain(found.label),
        curve=_plain(target.name),
        rw=f"{fit.rw:.4f}",
        rmin=repr(float(target.r[0])),
        rmax=repr(float(target.r[-1])),
        stype=stype[found.radiation],
        low=repr(low),
        high=repr(high),
        biso_range=BISO_RANGE,
        qdamp_range=QDAMP_RANGE,
        further="\n".join([*further, ""]),
    )


def _plain(name: str) -> str:
    """A name that cannot end the docstring it stands in."""
    return "".join(c if c.isprintable() and c not in '"\\$' else "_" for c in name)
