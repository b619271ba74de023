"""The command line: recover, fit, simulate, library, train, sample and demo."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from papertrio_shared import cli

from . import findings
from .data.clusters import LibraryName
from .data.extended import EXTENDED, ExtendedLibrary, make_library
from .data.gr import read_gr, write_gr
from .data.structure import read_structure
from .demo import run_demo, summary
from .fit import fit as fit_structure
from .output import result_folder
from .presets import PRESETS
from .recover import recover as recover_structures
from .refine import Delta2
from .report import FIT_FILES, RECOVERY_FILES, write_fit, write_recovery
from .sample import SAMPLE_FILES, sample_table, write_samples
from .sample import sample as sample_structures
from .scattering.form_factors import Radiation
from .simulate import SIMULATION_SETTINGS, SimulationSettings
from .simulate import simulate as simulate_curve
from .target import FIT_SETTINGS, FitSettings
from .train import WEIGHTS
from .train import resume as resume_run
from .train import train as start_run


def recover(
    file: tyro.conf.Positional[Path],
    /,
    *,
    settings: Annotated[FitSettings, tyro.conf.arg(name="")] = FIT_SETTINGS,
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
        result = recover_structures(
            gr,
            element=element,
            candidates=candidates,
            seed=seed,
            bond=bond,
            delta2=delta2,
            library=library,
            max_atoms=max_atoms,
            settings=settings,
        )
        write_recovery(folder, result)
    print(findings.table(result))
    print(f"\n{findings.verdict(result)}")
    print(f"picture: {out / 'fit.png'}\nreport:  {out / 'report.html'}")


def fit(
    structure: tyro.conf.Positional[Path],
    file: tyro.conf.Positional[Path],
    /,
    *,
    settings: Annotated[FitSettings, tyro.conf.arg(name="")] = FIT_SETTINGS,
    out: Path = Path("fitted"),
    delta2: Delta2 = "refine",
    dilations: tuple[float, float] = (0.92, 1.08),
    radiation: Radiation | None = None,
) -> None:
    """Refine one's own structure against a measured curve.

    Args:
        structure: The cluster, an .xyz file or another that ASE reads.
        file: Measured G(r), a .gr file.
        settings: Fit range and instrument.
        out: Folder of the results, made; earlier results in it are replaced.
        delta2: Refine delta2 where it pays for itself, or hold it at zero.
        dilations: Range of the dilation.
        radiation: What was scattered; by default what the file says, or else X-rays.
    """
    atoms, gr = read_structure(structure), read_gr(file)
    with result_folder(out, FIT_FILES) as folder:
        found = fit_structure(
            atoms,
            gr,
            label=structure.name,
            delta2=delta2,
            dilations=dilations,
            radiation=radiation or gr.radiation or "xray",
            settings=settings,
        )
        write_fit(folder, found)
    print(findings.fit_verdict(found))
    print(f"structure: {out / 'refined.xyz'}\npicture:   {out / 'fit.png'}\nreport:    {out / 'report.html'}")


def simulate(
    structure: tyro.conf.Positional[Path],
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    settings: Annotated[SimulationSettings, tyro.conf.arg(name="")] = SIMULATION_SETTINGS,
) -> None:
    """Compute G(r) of a structure as an instrument would measure it.

    Args:
        structure: The cluster, an .xyz file or another that ASE reads.
        out: The .gr file to write.
        settings: Instrument, grid and displacement.
    """
    atoms = read_structure(structure)
    if out.is_dir():
        raise ValueError(f"{out}: it is a folder; name a file in it with --out")
    if out.exists() and out.samefile(structure):
        raise ValueError(f"{out}: it is the structure itself; give another --out")
    curve = simulate_curve(atoms, settings, name=out.name)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_gr(out, replace(curve, metadata={"structure": structure.name, "biso": f"{settings.biso:g}"}))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"{out}: it cannot be written ({reason}); give another --out") from error
    print(f"{len(curve.r)} points from {curve.r[0]:g} to {curve.r[-1]:g} Å: {out}")


def library(
    name: tyro.conf.Positional[Literal["extended"]],
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    settings: Annotated[ExtendedLibrary, tyro.conf.arg(name="")] = EXTENDED,
    jobs: int | None = None,
) -> None:
    """Make a library of clusters; after an interruption the same command goes on where it was.

    Args:
        name: Which library.
        out: The HDF5 file to write.
        settings: What it is made of.
        jobs: Number of processes; by default one for each core.
    """
    count = {"extended": make_library}[name](out, settings, jobs=jobs)
    print(f"{count} clusters, {out.stat().st_size / 2**20:.1f} MiB: {out}")


def train(
    config: cli.presets(PRESETS) = PRESETS["robust"],  # type: ignore[valid-type]
    *,
    out: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train a model that draws structures for a curve.

    Args:
        config: A preset's name, then overrides.
        out: Folder of the run; runs/PROFILE where none is given.
        resume: Folder of a run to go on with; its own config is used.
    """
    if resume is not None:
        folder = resume_run(resume)
    else:
        folder = start_run(config, out or Path("runs") / type(config.profile).__name__.lower())
    print(f"weights: {folder / WEIGHTS}\nfigures: {folder / 'metrics.jsonl'}")


def sample(
    file: tyro.conf.Positional[Path],
    /,
    *,
    weights: Path,
    out: Path = Path("samples"),
    count: int = 20,
    element: str | None = None,
    seed: int = 0,
    qmin: float | None = None,
    qmax: float | None = None,
    qdamp: float | None = None,
) -> None:
    """Draw structures for a measured curve from a trained model, without refining them.

    Args:
        file: Measured G(r), a .gr file.
        weights: File of weights, or the folder of a run.
        out: Folder of the results, made; earlier results in it are replaced.
        count: How many structures.
        element: Symbol of the metal; by default the only metal of the file's composition.
        seed: The same seed gives the same structures.
        qmin: Lower limit of the transform that made G, 1/Å; by default the file's.
        qmax: Upper limit of it, 1/Å; by default the file's.
        qdamp: Damping by the instrument, 1/Å; by default the file's, or else 0.04.
    """
    gr = read_gr(file)
    found = sample_structures(gr, weights, count=count, element=element, seed=seed, qmin=qmin, qmax=qmax, qdamp=qdamp)
    with result_folder(out, SAMPLE_FILES) as folder:
        write_samples(folder, found)
    print(f"{sample_table(found)}\n\nstructures: {out}")


def demo(*, out: Path = Path("demo-cbldm"), smoke: bool = False) -> None:
    """Simulate a measured particle whose structure is known, and find it.

    Args:
        out: Folder of the results, made; earlier results in it are replaced.
        smoke: Search only the smaller clusters.
    """
    print(summary(run_demo(out, smoke=smoke), out))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The words after the program's name; by default those of the process.

    Returns:
        Exit status.
    """
    return cli.main(
        {
            "recover": recover,
            "fit": fit,
            "simulate": simulate,
            "library": library,
            "train": train,
            "sample": sample,
            "demo": demo,
        },
        prog="cbldm",
        description="From a measured pair distribution function to ranked nanoparticle structures.",
        argv=argv,
    )


if __name__ == "__main__":
    raise SystemExit(main())
