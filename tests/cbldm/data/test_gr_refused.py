"""Files that are no pair distribution function are told from those that are, in a line."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
from cbldm import FitSettings, PairDistribution, read_gr, write_gr
from cbldm.target import select_target

R = np.round(np.arange(301) * 0.1, 10)
G = np.sin(3 * R) * np.exp(-R / 10)
REMEDY = "give G(r), which the reduction program writes as .gr"


def table(x: np.ndarray, y: np.ndarray) -> str:
    return "\n".join(f"{a!r} {b!r}" for a, b in zip(x.tolist(), y.tolist(), strict=True)) + "\n"


def line(number: int, text: str) -> str:
    """The good table with one line replaced."""
    lines = table(R, G).splitlines()
    return "\n".join([*lines[: number - 1], text, *lines[number:]])


Q = np.linspace(0.7, 25, 300)
FQ = np.sin(2.8 * Q) * np.exp(-((Q / 15) ** 2))

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file is empty; export the curve anew"),
    "blank": (" \n\n\t\n", "the file is empty; export the curve anew"),
    "binary": (bytes(range(256)) * 20, "a binary file, no G(r); give a .gr file, which is text"),
    "control characters": (b"\x01\x02\x7f" * 99, "a binary file, no G(r); give a .gr file, which is text"),
    "page": (
        "<!DOCTYPE html>\n<html><body>1 2</body></html>",
        "an HTML or XML page, no G(r); download the file itself",
    ),
    "text": (
        "Dear all,\nthe data are below.\n",
        "no rows of numbers in it, so no G(r); give a .gr file with the columns r and G",
    ),
    "one column": ("\n".join(map(str, range(50))), "no rows of numbers in it"),
    "three rows": ("0 0\n1 1\n2 -1\n", "only 3 rows of numbers, no curve"),
    "header alone": ("[PDF]\nqmax = 25\n#### start data\n#L r G\n", "no rows of numbers in it"),
    "nan": (line(12, "1.1 nan"), "line 12: a number is not finite; correct or remove the row"),
    "inf": (line(3, "0.2 -inf"), "line 3: a number is not finite; correct or remove the row"),
    "overflow": (line(3, "0.2 1e999"), "line 3: a number is not finite"),
    "not increasing": (line(20, "1.8 0.1"), "line 20: r = 1.8 Å after 1.8 Å is not increasing; sort or remove the row"),
    "twice": (table(R, G) + table(R, G), "line 302: r = 0 Å after 30 Å is not increasing; sort or remove the row"),
    "negative r": (table(R - 1, G), "line 1: r = -1 Å is negative; the first column must be r"),
    "words": (line(7, "0.6 n/a"), "line 7: '0.6 n/a' is no row of numbers; correct or remove it"),
    "cut row": (line(301, "30.0"), "line 301: '30.0' is no row of numbers; correct or remove it"),
    "more columns": (line(5, "0.4 0.1 0.2"), "line 5: 3 columns after rows of 2; complete or remove it"),
    "decimal commas": (table(R, G).replace(".", ","), "line 1: numbers with decimal commas; write them with points"),
    "zero": (table(R, 0 * G), "G is zero everywhere; export the curve anew"),
    "limits": ("qmin = 30\nqmax = 25\n" + table(R, G), "its header has qmin = 30.0 not below qmax = 25.0; correct it"),
    "F(Q) by its header": (
        "outputtype = fq\n" + table(Q, FQ),
        f"its header says that it holds F(Q), not G(r); {REMEDY}",
    ),
    "F(Q) by its labels": (
        "#L Q($\\AA^{-1}$)  F($\\AA^{-1}$)\n" + table(Q, FQ),
        f"its columns are q($\\aa^{{-1}}$) and f($\\aa^{{-1}}$), so it holds F(Q), not G(r); {REMEDY}",
    ),
    "S(Q) by its labels": (
        "# Q S(Q)\n" + table(Q, 1 + FQ / Q),
        "its columns are q and s(q), so it holds S(Q), not G(r)",
    ),
    "I(Q) by its labels": ("Q,I\n" + table(Q, 50 + FQ), "its columns are q and i, so it holds I(Q), not G(r)"),
    "pattern by its labels": (
        "#L 2theta counts\n" + table(Q, 50 + FQ),
        "so it holds a diffraction pattern over 2θ, not G(r)",
    ),
    "F(Q) by its range": (
        "qmin = 0.7\nqmax = 25\nrmax = 30\n" + table(Q, FQ),
        f"its first column ends at qmax = 25, so it looks like F(Q) over Q, not G(r); {REMEDY}, "
        "or write `#L r G` above the rows if this is r",
    ),
    "S(Q) by its values": (
        table(Q, 1 + FQ / Q),
        f"no value is negative and the end tends to 1, so it looks like S(Q), not G(r); {REMEDY}",
    ),
    "g(r) by its values": (
        "#L r G\n" + table(Q, 1 + FQ / Q),
        f"no value is negative, so it looks like g(r) or R(r), not the reduced G(r); {REMEDY}",
    ),
    "nanometres": (
        "qmax = 25\n#L r(nm) G(nm^-2)\n" + table(Q / 10, FQ),
        "its columns are in nm; write r in Å (times 10) and G in Å⁻² (divided by 100)",
    ),
    "I(Q) by its values": (
        table(Q, 1e4 / Q),
        f"no value is negative, so it looks like an intensity I(Q), not G(r); {REMEDY}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_is_instead_is_told(case: str, tmp_path: Path) -> None:
    content, message = REFUSED[case]
    path = tmp_path / "curve.gr"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as error:  # noqa: PT011 the message is held below
        read_gr(path)
    assert str(error.value).startswith(("curve.gr: ", "curve.gr, line "))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_curve_that_ends_at_the_number_of_qmax_is_read(tmp_path: Path) -> None:
    """G(r) to r = 25 Å and Q to 25 Å⁻¹: the labels, or the header's rmax, say that it is r."""
    r = np.linspace(0, 25, 251)
    for header in ("qmax = 25\n#L r G\n", "qmax = 25\nrmax = 25\n"):
        (tmp_path / "a.gr").write_text(header + table(r, np.sin(r)))
        assert read_gr(tmp_path / "a.gr").qmax == 25
    write_gr(tmp_path / "b.gr", PairDistribution(r, np.sin(r), qmax=25.0, metadata={"outputtype": "gr"}))
    assert read_gr(tmp_path / "b.gr").qmax == 25


def test_the_name_of_a_file_says_what_its_header_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.fq").write_text(table(Q, FQ))
    with pytest.raises(ValueError, match=r"^a\.fq: its name says that it holds F\(Q\), not G\(r\); give G\(r\)"):
        read_gr(tmp_path / "a.fq")
    (tmp_path / "b.fq").write_text("outputtype = gr\n" + table(R, G))
    assert read_gr(tmp_path / "b.fq").r[-1] == R[-1]


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^no such file: .*none\.gr$"):
        read_gr(tmp_path / "none.gr")
    with pytest.raises(ValueError, match=r"is a folder; name a \.gr file in it$"):
        read_gr(tmp_path)


KINDS = [
    b"nan nan",
    b"1e400 0",
    b"qmax = ",
    b"<p>",
    b"#### start data",
    b"\xff\xfe",
    b"1_0 2",
    b"qmin = -1e308",
    b"[PDF]",
]
NUMBERS = [
    b"1e308",
    b"-1e-320",
    b"0",
    b"-0.0",
    b"99999999999999999999",
    b"1e",
    b"--1",
    b"1,5",
    b"0x10",
    b"1d3",
    b"inf",
    b"\xd9\xa1",
]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A file as accidents leave it: bytes changed, lines lost, doubled, moved, cut, glued, or of another kind."""
    lines = data.split(b"\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        match chance.randrange(14):
            case 0:
                at_byte = chance.randrange(max(1, len(data)))
                data = data[:at_byte] + bytes([chance.randrange(256)]) + data[at_byte + 1 :]
                lines = data.split(b"\n")
            case 1:
                lines = lines[:at] + lines[at + 1 :] or [b""]
            case 2:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 3:
                lines = lines[: at + 1]
            case 4:
                lines[at] = lines[at].replace(b" ", chance.choice([b"", b",", b"\t", b" = ", b"\x00", b"\xa0"]))
            case 5:
                lines[at] = chance.choice(KINDS)
            case 6:
                lines = lines[at:]
            case 7:
                lines = [line + b" 0.5" for line in lines] if chance.random() < 0.5 else [line[::-1] for line in lines]
            case 8:
                lines = [b" ".join(lines)]
            case 9:  # a number becomes another
                tokens = lines[at].split(b" ")
                tokens[chance.randrange(len(tokens))] = chance.choice(NUMBERS)
                lines[at] = b" ".join(tokens)
            case 10:  # the same for an entry of the header
                entries = [k for k, line in enumerate(lines[:40]) if b"=" in line]
                if entries:
                    at = chance.choice(entries)
                    lines[at] = lines[at].split(b"=")[0] + b"= " + chance.choice(NUMBERS)
            case 11:  # a disk that repeats itself
                first = chance.randrange(max(1, len(data)))
                piece = data[first : first + chance.randrange(200)]
                lines = (data[:first] + piece * chance.randrange(50) + data[first:]).split(b"\n")
            case 12:
                lines[at] = chance.choice([b"9", b" ", b"a", b"=", b"#", b". ", b"1 ", b"Pt2"]) * 20_000
            case 13:
                data = data.decode("latin-1").encode(chance.choice(["utf-16", "utf-16-le", "utf-8-sig", "utf-32"]))
                lines = data.split(b"\n")
        data = b"\n".join(lines)
    return data


def sound_files() -> list[bytes]:
    """What the reduction programs write, and tables that are bare or of another function."""
    header = "# PDFgetX3\nqmin = 0.7\nqmax = 25.0\ncomposition = Pt\nmode = xray\n\n#### start data\n#S 1\n#L r G\n"
    wide = "\n".join(f"{r!r} {g!r} 0 {0.1 + r!r}" for r, g in zip(R.tolist(), G.tolist(), strict=True))
    getn = "#Comment: neutron data\n##### start data\n#O0 stype=N qmax=35.0 qdamp=0.01\n#L r G d_r d_Gr\n" + wide
    return [
        text.encode()
        for text in (
            header + table(R, G),
            table(R, G),
            header + table(Q, FQ),
            getn,
            header + wide,
            "r,G\n" + table(R, G),
        )
    ]


def hold_to_an_answer_or_a_line(count: int, seeds: list[bytes], tmp_path: Path) -> None:
    """Reading a file, and taking from it what is fitted."""
    chance = random.Random(0)
    answers = refusals = 0
    path = tmp_path / "mutated.gr"
    for k in range(count):
        path.write_bytes(mutate(seeds[k % len(seeds)], chance))
        start = time.monotonic()
        refusal = ""
        try:
            curve = read_gr(path)
            assert np.isfinite(curve.g).all()
            assert (np.diff(curve.r) > 0).all()
            assert all(value is None or np.isfinite(value) for value in (curve.qmin, curve.qmax, curve.qdamp))
            answers += 1
            target = select_target(curve, FitSettings(qdamp=0.04))
            assert 0 <= target.qmin < target.qmax
        except ValueError as error:
            refusal = str(error)
        if refusal:
            refusals += 1
            assert refusal.startswith("mutated.gr")
            assert "\n" not in refusal
            assert len(refusal) < 400
        assert time.monotonic() - start < 5
    assert min(answers, refusals) > count // 10  # the accidents are neither harmless nor fatal throughout


def test_three_hundred_accidents(tmp_path: Path) -> None:
    hold_to_an_answer_or_a_line(300, sound_files(), tmp_path)


@pytest.mark.slow
def test_twelve_thousand_accidents(tmp_path: Path) -> None:
    hold_to_an_answer_or_a_line(12_000, sound_files(), tmp_path)


@pytest.mark.slow
def test_a_thousand_accidents_of_measured_files(data_folder: Path, tmp_path: Path) -> None:
    seeds = [path.read_bytes() for path in sorted((data_folder / "pdf" / "experimental").glob("*.gr"))]
    hold_to_an_answer_or_a_line(1000, seeds, tmp_path)
