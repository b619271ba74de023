"""The command line: recover, fit, calibrate, simulate, library, train, sample, evaluate, demo and app."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import tyro
from papertrio_shared import cli
from papertrio_shared.devices import is_writer

from . import findings
from .app import Browser, serve
from .calibrate import CALIBRATION_SETTINGS, Standard
from .calibrate import calibrate as calibrate_instrument
from .data.clusters import MAX_ATOMS
from .data.extended import EXTENDED, ExtendedLibrary, make_library
from .data.gr import PairDistribution, read_gr, write_gr
from .data.structure import read_structure
from .demo import run_demo, summary
from .evaluation.run import EVALUATE_CONFIG, EvaluateConfig
from .evaluation.run import evaluate as evaluate_methods
from .evaluation.tables import write_evaluation
from .fit import fit as fit_structure
from .output import result_folder
from .presets import PRESETS
from .profiles import Sampling
from .rank import Recovery
from .recover import SHIPPED, Positions, Shape
from .recover import recover as recover_structures
from .refine import Delta2, Qdamp
from .relax import RESTRAINT
from .report import CALIBRATION_FILES, FIT_FILES, RECOVERY_FILES, write_calibration, write_fit, write_recovery
from .sample import SAMPLE_FILES, WEIGHTS, sample_table, write_samples
from .sample import sample as sample_structures
from .scattering.form_factors import Radiation
from .series import curves_of, run_series
from .simulate import SIMULATION_SETTINGS, SimulationSettings
from .simulate import simulate as simulate_curve
from .target import FIT_SETTINGS, FitSettings
from .train import resume as resume_run
from .train import train as start_run
from .train import write_half


def recover(
    files: tyro.conf.Positional[tuple[Path, ...]],
    /,
    *,
    settings: Annotated[FitSettings, tyro.conf.arg(name="")] = FIT_SETTINGS,
    out: Path = Path("recovered"),
    element: str | None = None,
    candidates: int = 20,
    seed: int = 0,
    bond: float | None = None,
    delta2: Delta2 = "refine",
    qdamp_refinement: Annotated[Qdamp, tyro.conf.arg(name="qdamp-refinement")] = "held",
    shape: Shape = "search",
    positions: Positions = "relax",
    restraint: float = RESTRAINT,
    library: str = "deepstruc",
    model: str = SHIPPED,
    max_atoms: int = MAX_ATOMS,
) -> None:
    """Find the monometallic clusters that explain measured curves.

    Args:
        files: Measured G(r), .gr files; several, or a folder of them, are a series with a folder for each curve and a
            summary. A series that was cut off goes on where it was.
        settings: Fit range, weights and instrument.
        out: Folder of the results, made; earlier results in it are replaced.
        element: Symbol of the metal; by default the only metal of the file's composition.
        candidates: How many structures to keep.
        seed: Seed of what is drawn at random.
        bond: Bond length the search starts from, Å; by default the metal's.
        delta2: Refine delta2 where it pays for itself, or hold it at zero.
        qdamp_refinement: Refine qdamp where it pays for itself, or hold it.
        shape: Search for shapes around the best, on the sites of their crystals, or keep those of the library.
        positions: Move the atoms of the ten best as a last stage, with a figure of its own, or hold them.
        restraint: Width of the restraint on each coordinate in that stage, Å.
        library: Which library to search: deepstruc, extended (tens of thousands of clusters; the first time it is made,
            which takes a minute or two), an .h5 file that `cbldm library` made, or a folder of your own structures,
            which are searched beside deepstruc.
        model: What draws further candidates: robust, whose weights come with the package, a file of weights, the folder
            of a run, or none.
        max_atoms: Largest cluster to try.
    """
    options = {
        "element": element,
        "candidates": candidates,
        "seed": seed,
        "bond": bond,
        "delta2": delta2,
        "qdamp": qdamp_refinement,
        "shape": shape,
        "positions": positions,
        "restraint": restraint,
        "library": library,
        "model": model,
        "max_atoms": max_atoms,
    }
    request = {**options, "settings": asdict(settings), "version": version("cbldm")}

    def search(gr: PairDistribution) -> Recovery:
        return recover_structures(gr, settings=settings, **options)  # type: ignore[arg-type]

    if not files:
        raise ValueError("no curve is named; give a .gr file, several, or a folder of them")
    curves = curves_of(files)
    if len(curves) > 1 or files[0].is_dir():
        outcomes = run_series(curves, out, search=search, request=request)
        failed = [each.record["error"] for each in outcomes if "error" in each.record]
        print(f"summary: {out / 'summary.html'}")
        if failed:
            raise ValueError(f"{len(failed)} of {len(curves)} curves failed, the first with: {failed[0]}")
        return
    gr = read_gr(curves[0])
    with result_folder(out, RECOVERY_FILES) as folder:
        result = search(gr)
        write_recovery(folder, result, request=request)
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
    qdamp_refinement: Annotated[Qdamp, tyro.conf.arg(name="qdamp-refinement")] = "held",
    dilations: tuple[float, float] = (0.92, 1.08),
    radiation: Radiation | None = None,
) -> None:
    """Refine one's own structure against a measured curve.

    Args:
        structure: The cluster, an .xyz file or another that ASE reads.
        file: Measured G(r), a .gr file.
        settings: Fit range, weights and instrument.
        out: Folder of the results, made; earlier results in it are replaced.
        delta2: Refine delta2 where it pays for itself, or hold it at zero.
        qdamp_refinement: Refine qdamp where it pays for itself, or hold it.
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
            qdamp=qdamp_refinement,
            dilations=dilations,
            radiation=radiation or gr.radiation or "xray",
            settings=settings,
        )
        write_fit(folder, found)
    print(findings.fit_verdict(found))
    print(f"structure: {out / 'refined.xyz'}\npicture:   {out / 'fit.png'}\nreport:    {out / 'report.html'}")
    print(f"DiffPy-CMI: {out / 'fit_diffpy.py'}")


def calibrate(
    file: tyro.conf.Positional[Path],
    /,
    *,
    settings: Annotated[FitSettings, tyro.conf.arg(name="")] = CALIBRATION_SETTINGS,
    standard: Standard = "Ni",
    radiation: Radiation | None = None,
    out: Path = Path("calibrated"),
) -> None:
    """Take the instrument's qdamp and qbroad from the measured curve of a crystalline standard.

    Args:
        file: Measured G(r) of the standard, a .gr file.
        settings: Fit range, weights and instrument.
        standard: Which crystal it is.
        radiation: What was scattered; by default what the file says, or else X-rays.
        out: Folder of the results, made; earlier results in it are replaced.
    """
    gr = read_gr(file)
    with result_folder(out, CALIBRATION_FILES) as folder:
        found = calibrate_instrument(gr, standard=standard, radiation=radiation, settings=settings)
        write_calibration(folder, found)
    print(f"{gr.name} as {standard}: Rw = {found.rw:.3f}")
    for name, value in found.values.items():
        print(f"  {name:8s} {value:.5f} ± {found.errors[name]:.5f}")
    print(f"picture: {out / 'fit.png'}")
    print(f"then:    cbldm recover measured.gr --qdamp {found.qdamp:.4f} --qbroad {found.qbroad:.4f}")


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
    weights: Path | None = None,
) -> None:
    """Train a model that draws structures for a curve.

    Args:
        config: A preset's name, then overrides.
        out: Folder of the run; runs/PROFILE where none is given.
        resume: Folder of a run to go on with; its own config is used.
        weights: File to which the weights are written in half precision as well, as they come with the package.
    """
    if resume is not None:
        folder = resume_run(resume)
    else:
        folder = start_run(config, out or Path("runs") / type(config.profile).__name__.lower())
    if is_writer():
        if weights is not None:
            write_half(folder, weights)
        print(f"weights: {weights or folder / WEIGHTS}\nfigures: {folder / 'metrics.jsonl'}")


def sample(
    file: tyro.conf.Positional[Path],
    /,
    *,
    weights: Path | None = None,
    out: Path = Path("samples"),
    count: int = 20,
    element: str | None = None,
    seed: int = 0,
    qmin: float | None = None,
    qmax: float | None = None,
    qdamp: float | None = None,
    sampling: Sampling | None = None,
) -> None:
    """Draw structures for a measured curve from a trained model, without refining them.

    Args:
        file: Measured G(r), a .gr file.
        weights: File of weights, or the folder of a run; by default the weights that come with the package.
        out: Folder of the results, made; earlier results in it are replaced.
        count: How many structures.
        element: Symbol of the metal; by default the only metal of the file's composition.
        seed: The same seed gives the same structures.
        qmin: Lower limit of the transform that made G, 1/Å; by default the file's.
        qmax: Upper limit of it, 1/Å; by default the file's.
        qdamp: Damping by the instrument, 1/Å; by default the file's, or else 0.04.
        sampling: Diffusion with the shortcut by the conditional prior, diffusion without it, or the prior's draws
            alone; by default what the weights were trained for.
    """
    gr = read_gr(file)
    found = sample_structures(
        gr, weights, count=count, element=element, seed=seed, qmin=qmin, qmax=qmax, qdamp=qdamp, sampling=sampling
    )
    with result_folder(out, SAMPLE_FILES) as folder:
        write_samples(folder, found)
    print(f"{sample_table(found)}\n\nstructures: {out}")


def evaluate(
    *,
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = EVALUATE_CONFIG,
    out: Path | None = None,
    jobs: int = 1,
    table: Path | None = None,
) -> None:
    """Judge methods by clusters that are held out; after an interruption the same command goes on where it was.

    Args:
        config: What is evaluated.
        out: Folder of the run; runs/evaluate-SPLIT where none is given.
        jobs: Number of processes, each of one thread.
        table: A further file for the tables, in Markdown.
    """
    folder = out or Path("runs") / f"evaluate-{config.split}"
    if table is not None and table.is_dir():
        raise ValueError(f"{table}: it is a folder; name a file in it with --table")
    records = evaluate_methods(config, folder, jobs=jobs)
    print(write_evaluation(records, config, folder, table=table))
    print(f"report: {folder / 'report.md'}")


def demo(*, out: Path = Path("demo-cbldm"), smoke: bool = False) -> None:
    """Simulate a measured particle whose structure is known, and find it.

    Args:
        out: Folder of the results, made; earlier results in it are replaced.
        smoke: Search only the smaller clusters.
    """
    print(summary(run_demo(out, smoke=smoke), out))


def app(*, host: str = "127.0.0.1", port: int = 8766, browser: Browser = "open") -> None:
    """Serve a page in the browser: drop a curve, watch the search, see fit and structures, download.

    Args:
        host: Name or address to serve at; other machines reach it only if it is not this machine's own.
        port: Port; 0 takes a free one.
        browser: Open the page in the browser, or only print where it is.
    """
    serve(host=host, port=port, browser=browser)


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
            "calibrate": calibrate,
            "simulate": simulate,
            "library": library,
            "train": train,
            "sample": sample,
            "evaluate": evaluate,
            "demo": demo,
            "app": app,
        },
        prog="cbldm",
        description="From a measured pair distribution function to ranked nanoparticle structures.",
        argv=argv,
    )


if __name__ == "__main__":
    raise SystemExit(main())
