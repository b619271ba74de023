"""Reading and writing `.gr` files."""

import re
from pathlib import Path

import numpy as np
import pytest
from cbldm import PairDistribution, read_gr, write_gr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

R = np.round(np.arange(301) * 0.1, 10)
G = np.sin(3 * R) * np.exp(-R / 10)
ROWS = "\n".join(f"{r!r} {g!r}" for r, g in zip(R.tolist(), G.tolist(), strict=True))

PDFGETX3 = """[DEFAULT]

version = pdfgetx3-2.2.1

# input and output specifications
dataformat = QA
inputfile = ni.chi
outputtype = gr

# PDF calculation setup
mode = xray
wavelength = 0.1872
composition = Ni
bgscale = 1
rpoly = 0.9
qmaxinst = 26.5
qmin = 0.1
qmax = 25.0
rmin = 0.0
rmax = 30.0
rstep = 0.1

# End of config --------------------------------------------------------------
#### start data

#S 1
#L r(Å)  G(Å$^{-2}$)
"""
PDFGETN = """#Comment: neutron data
# stype = N  qmax=31.4, qdamp=.0216 qbroad = 2.8e-2
#L r G(r) dr dG(r)
"""


def write(folder: Path, text: str, name: str = "curve.gr", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "points", "rmax", "qmin", "qmax", "composition", "radiation"),
    [
        ("Au144PET_100K", 3001, 30.0, 0.8, 26.0, {"Au": 144, "S": 60, "C": 180}, "xray"),
        ("Pt_JQ_S1", 5001, 50.0, 1.0, 21.998245281, {"Pt": 1}, "xray"),
        ("CdSe-1", 5001, 50.0, 1.0, 19.0, {"Cd": 1, "Se": 1}, None),
        ("AlphaKeggin", 3001, 30.0, 0.7, 19.9989799422, {"W": 12, "O": 40}, "xray"),
    ],
)
def test_measured_files_are_read(
    name: str, points: int, rmax: float, qmin: float, qmax: float, composition: dict[str, float], radiation: str | None,
    data_folder: Path, tmp_path: Path,
) -> None:  # fmt: skip
    measured = read_gr(data_folder / "pdf" / "experimental" / f"{name}.gr")
    assert (measured.qmin, measured.qmax, measured.qdamp, measured.qbroad) == (qmin, qmax, None, None)
    assert (measured.composition, measured.radiation) == (composition, radiation)
    assert (len(measured.r), measured.r[0], measured.r[-1]) == (points, 0.0, rmax)
    assert measured.dg is None
    assert measured.name == f"{name}.gr"
    write_gr(tmp_path / measured.name, measured)
    same(read_gr(tmp_path / measured.name), measured)


def test_headers_of_the_programs_are_read(tmp_path: Path) -> None:
    found = read_gr(write(tmp_path, PDFGETX3 + ROWS))
    assert (found.qmin, found.qmax, found.radiation, found.composition) == (0.1, 25.0, "xray", {"Ni": 1.0})
    assert found.metadata["wavelength"] == "0.1872"
    assert not {"rmin", "rmax", "rstep", "qmin", "mode", "composition"} & set(found.metadata)
    assert np.array_equal(found.r, R)
    assert np.array_equal(found.g, G)


def test_four_columns_have_the_uncertainty_in_the_last(tmp_path: Path) -> None:
    rows = "\n".join(f"{r} {g} 0.0 {0.01 + r / 100}" for r, g in zip(R, G, strict=True))
    found = read_gr(write(tmp_path, PDFGETN + rows))
    assert (found.qmin, found.qmax, found.qdamp, found.qbroad, found.radiation) == (
        None,
        31.4,
        0.0216,
        0.028,
        "neutron",
    )
    assert found.dg is not None
    np.testing.assert_allclose(found.dg, 0.01 + R / 100)
    assert read_gr(write(tmp_path, rows)).dg is not None
    assert read_gr(write(tmp_path, re.sub(r"0\.0 \S+$", "0.0 0.0", rows, flags=re.M))).dg is None


@pytest.mark.parametrize(("label", "known"), [("#L r G dG\n", True), ("#L r G dr\n", False), ("", True)])
def test_a_third_column_is_what_its_label_says(label: str, known: bool, tmp_path: Path) -> None:
    rows = "\n".join(f"{r} {g} 0.02" for r, g in zip(R, G, strict=True))
    assert (read_gr(write(tmp_path, label + rows)).dg is not None) == known


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", ";", "   "])
@pytest.mark.parametrize("header", ["", "r,G\n", "# r, Gr\n", "r(A) G(r)\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_bare_columns_are_read(separator: str, header: str, end: str, tmp_path: Path) -> None:
    found = read_gr(write(tmp_path, (header + ROWS.replace(" ", separator) + "\n\n").replace("\n", end)))
    assert np.array_equal(found.g, G)
    assert (found.qmax, found.composition, found.radiation) == (None, {}, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings_are_recognised(encoding: str, tmp_path: Path) -> None:
    assert read_gr(write(tmp_path, PDFGETX3 + ROWS, encoding=encoding)).qmax == 25.0


def test_any_increasing_r_is_taken(tmp_path: Path) -> None:
    r = np.sort(np.random.default_rng(0).uniform(0, 30, 200))
    write_gr(tmp_path / "a.gr", PairDistribution(r, np.cos(r)))
    assert np.array_equal(read_gr(tmp_path / "a.gr").r, r)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("Au144 S60 C180", {"Au": 144, "S": 60, "C": 180}), ("W12O40", {"W": 12, "O": 40}),
        ("Ti0.5 Zr.5", {"Ti": 0.5, "Zr": 0.5}),
        ("'Pt'", {"Pt": 1}), ("CH3CH3", {"C": 2, "H": 6}), ("unknown", {}), ("", {}), ("pt", {}),
    ],
)  # fmt: skip
def test_compositions_are_understood_or_left(formula: str, expected: dict[str, float], tmp_path: Path) -> None:
    assert read_gr(write(tmp_path, f"composition = {formula}\n" + ROWS)).composition == expected


@pytest.mark.parametrize("entry", ["", "qmax = auto", "qmax = 0", "qmaxinst = 25", "qmax = nan", "qmax = 1e999"])
def test_a_qmax_that_is_no_number_is_not_known(entry: str, tmp_path: Path) -> None:
    assert read_gr(write(tmp_path, f"{entry}\n" + ROWS)).qmax is None


def same(a: PairDistribution, b: PairDistribution) -> None:
    """All but the name."""
    for name in ("r", "g", "dg"):
        assert np.array_equal(getattr(a, name), getattr(b, name)) if getattr(b, name) is not None else a.dg is None
    for name in ("qmin", "qmax", "qdamp", "qbroad", "composition", "radiation", "metadata"):
        assert getattr(a, name) == getattr(b, name), name


positive = st.floats(1e-6, 100)
numbers = hnp.arrays(float, 25, elements=st.floats(allow_nan=False, allow_infinity=False))


@given(
    steps=hnp.arrays(float, 25, elements=st.floats(1e-3, 10)), g=numbers,
    dg=st.none() | hnp.arrays(float, 25, elements=st.floats(1e-300, 1e300)),
    qmin=st.none() | st.floats(0, 5), qmax=st.none() | st.floats(6, 40), qdamp=st.none() | st.floats(0, 1),
    composition=st.dictionaries(st.sampled_from(["Pt", "Au", "C", "H"]), st.integers(1, 300) | st.floats(0.01, 99)),
    radiation=st.sampled_from([None, "xray", "neutron"]),
)  # fmt: skip
def test_what_is_written_is_read_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, steps: np.ndarray, g: np.ndarray, **known: object
) -> None:
    g[:2] = [-1.0, 1.0]
    curve = PairDistribution(np.cumsum(steps) - steps[0], g, metadata={"wavelength": "0.1"}, **known)  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("gr") / "a.gr"
    write_gr(path, curve)
    same(read_gr(path), curve)


def test_the_header_is_one_that_pdfgui_reads(tmp_path: Path) -> None:
    """PDFgui looks for the radiation and for qmax, qdamp and qbroad anywhere above `#### start data`."""
    curve = PairDistribution(R, G, qmin=0.7, qmax=25.0, qdamp=0.04, qbroad=0.01, radiation="xray")
    write_gr(tmp_path / "a.gr", curve)
    text = (tmp_path / "a.gr").read_text(encoding="utf-8")
    header, data = re.split(r"^#+ start data\s*(?:#.*\s+)*", text, flags=re.MULTILINE)
    assert re.search(r"\bx-ray\b", header)
    for key, value in (("qmax", 25.0), ("qdamp", 0.04), ("qbroad", 0.01)):
        found = re.search(rf"\b{key} *= *(\S+)\b", header)
        assert found is not None
        assert float(found[1]) == value
    assert len(np.loadtxt(data.splitlines())) == len(R)


def test_nothing_is_written_of_what_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^curve: row 3 is not finite; nothing was written$"):
        write_gr(tmp_path / "a.gr", PairDistribution(R, np.where(R[2] == R, np.nan, G), name="curve"))
    with pytest.raises(ValueError, match="an entry of its metadata has several lines"):
        write_gr(tmp_path / "a.gr", PairDistribution(R, G, metadata={"note": "a\nb"}))
    assert list(tmp_path.iterdir()) == []


def test_a_fit_takes_what_lies_in_its_range() -> None:
    curve = PairDistribution(R, G, dg=np.ones_like(G), qmax=25.0, name="a.gr")
    cut = curve.within(2.0, 20.0)
    assert (cut.r[0], cut.r[-1], len(cut.g), cut.qmax) == (2.0, 20.0, 181, 25.0)
    assert cut.dg is not None
    assert len(cut.dg) == 181
    assert curve.within(2.0, 99.0).r[-1] == 30.0


def test_a_fit_is_refused_where_it_can_decide_nothing() -> None:
    with pytest.raises(ValueError, match=r"^a.gr: its header names no qmax; give it with --qmax$"):
        PairDistribution(R, G, name="a.gr").within(2, 20)
    short = PairDistribution(R[:55], G[:55], qmax=25.0, name="a.gr")
    with pytest.raises(ValueError, match=r"^a.gr: r from 0 to 5.4 Å covers less than 4 Å .* too short to decide; give"):
        short.within(2, 20)
    with pytest.raises(ValueError, match="too short to decide"):
        PairDistribution(R, G, qmax=25.0).within(40, 50)
