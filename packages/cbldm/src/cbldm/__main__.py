"""The command line: `cbldm recover`, `fit`, `simulate` and `demo`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cbldm
import tyro
from papertrio_shared import cli

from .data.clusters import LibraryName
from .data.gr import read_gr, write_gr
from .data.xyz import read_structure
from .demo import demo
from .findings import table
from .output import result_folder
from .refine import Delta2, Parameters
from .report import FIT_FILES, RECOVERY_FILES, write_fit, write_recovery
from .scattering.form_factors import Radiation
from .simulate import Instrument, simulate_curve
from .target import FitSettings

Settings = Annotated[FitSettings, tyro.conf.arg(name="")]


def recover(
    file: tyro.conf.Positional[Path],
    /,
    *,
    settings: Settings = FitSettings(),
    out: Path = Path("recovered"),
    element: str | None = None,
    candidates: int = 20,
    seed: int = 0,
    bond: float | None = None,
    delta2: Delta2 = "refine",
    library: LibraryName = "deepstruc",
    max_atoms: int = 256,
) -> None:
    """Find the monometallic clusters that explain a measured curve.

    Args:
        file: Measured G(r), a .gr file.
        settings: Fit range and instrument.
        out: Folder of the results, made; earlier results in it are replaced.
        element: Symbol of the metal; by default the only metal of the file's composition.
        candidates: How many structures to keep.
        seed: Seed of what is drawn at random; the search of a library draws nothing.
        bond: Bond length the search starts from, Å; by default the metal's.
        delta2: Refine delta2 where it pays for itself, or hold it at zero.
        library: Which library to search.
        max_atoms: Largest cluster to try.
    """
    gr = read_gr(file)
    with result_folder(out, RECOVERY_FILES) as folder:
        result = cbldm.recover(
            gr,
            element=element,
            candidates=candidates,
            seed=seed,
            bond=bond,
            delta2=delta2,
            library_name=library,
            max_atoms=max_atoms,
            settings=settings,
        )
        write_recovery(folder, result, title=file.name)
    print(table(result))
    print(f"\n{verdict(result)}\nreport: {out / 'report.html'}   picture: {out / 'fit.png'}")
