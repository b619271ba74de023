"""Places of the sphere and angles of the torus from a user's file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gradient_flow_drifting.__main__ import main
from gradient_flow_drifting.data import SphereCsv, TorusCsv, named
from papertrio_shared.seed import generator
from torch import Tensor

RNG = np.random.default_rng(0)
PLACES = np.column_stack([RNG.uniform(-90, 90, 60), RNG.uniform(-180, 180, 60)]).round(3)
HEADERS = ["lat,lon", "LATITUDE,LONGITUDE", "# a source\n# another\nLatitude,Longitude", "lat,long", "# a source", ""]


def write(path: Path, header: str, rows: np.ndarray, mark: str = ",", note: str = "") -> Path:
    lines = [mark.join([*map(str, row), *([note] if note else [])]) for row in rows.tolist()]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path


def every(source: SphereCsv | TorusCsv) -> Tensor:
    parts = (source, *source.held_out())
    return torch.cat([part.sample(part.size, generator(0, "test")) for part in parts])


def degrees(points: Tensor) -> np.ndarray:
    latitude = torch.asin(points[:, 2].clamp(-1, 1))
    found = torch.stack([latitude, torch.atan2(points[:, 1], points[:, 0])], 1)
    return np.rad2deg(found.numpy())


@pytest.mark.parametrize("header", HEADERS)
def test_places_come_back_by_whatever_names_the_published_files_have(tmp_path: Path, header: str) -> None:
    source = SphereCsv(write(tmp_path / "a.csv", header, PLACES))
    points = every(source)
    assert (points.norm(dim=1) - 1).abs().max() < 1e-6
    found, expected = degrees(points), PLACES
    assert np.allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=2e-3)
    assert (source.geometry, source.dimension, source.scale, source.size) == ("sphere", 3, 1.0, 48)


def test_known_places_lie_where_they_should(tmp_path: Path) -> None:
    rows = np.repeat([[0.0, 0.0], [0.0, 90.0], [90.0, 17.0], [0.0, 270.0]], 20, 0)
    points = every(SphereCsv(write(tmp_path / "a.csv", "", rows)))
    expected = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]])
    counts = torch.bincount(torch.cdist(points, expected).argmin(1))
    assert counts.tolist() == [20, 20, 20, 20]
    assert torch.cdist(points, expected).min(1).values.max() < 1e-6


@pytest.mark.parametrize("mark", [",", ";", "\t", " "])
def test_columns_are_found_by_name_and_by_number(tmp_path: Path, mark: str) -> None:
    rows = np.column_stack([np.arange(60), PLACES[:, ::-1]])
    expected = np.sort(PLACES[:, 0])
    path = write(tmp_path / "a.csv", mark.join(["id", "Y", "X", "place"]), rows, mark, "Lima")
    for columns in (("x", "Y"), ("2", "1"), ("x", "1")):
        source = SphereCsv(path, latitude=columns[0], longitude=columns[1])
        assert np.allclose(np.sort(degrees(every(source))[:, 0]), expected, atol=2e-3)
    bare = write(tmp_path / "b.csv", "", rows, mark, "Lima")  # numbers find columns where there are no names
    assert np.allclose(np.sort(degrees(every(SphereCsv(bare, "2", "1")))[:, 0]), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a.csv: holds no row"),
        ("# nothing\n\n", r"a.csv: holds no row"),
        ("lat,lon\n", r"a.csv: holds names but no row"),
        ("lat,lon\n1,2\n\n# note\n3,x\n", r"a.csv: line 5: 'x' is no number"),
        ("lat,lon\n1,2\n3,\n", r"a.csv: line 3: '' is no number"),
        ("lat,lon\n1,nan\n", r"a.csv: line 2: nan is not finite"),
        ("lat,lon\n1,2\n91,2\n", r"a.csv: line 3: latitude 91 is beyond -90 to 90 degrees: are the columns the right"),
        ("1,2\n-90.5,2\n", r"a.csv: line 2: latitude -90.5 is beyond -90 to 90"),
        ("1,2\n9,361\n", r"a.csv: line 2: longitude 361 is beyond -180 to 360"),
        ("lat,lon\n1,2\n3\n", r"a.csv: line 3 has 1 values, and number 1 \(from zero\) is wanted"),
        ("a,b,c\n1,2,3\n", r"a.csv: has no column lat or latitude: its first line is a, b, c: name the column"),
        ("lat,b,c\n1,2,3\n", r"a.csv: has no column lon or long or lng or longitude: its first line is lat, b, c"),
        ("5\n6\n", r"a.csv: has no column lat or latitude: its first line is 5"),
        ('lat,lon\n"1,2\n', r"a.csv: is no table of values: check its quotation marks"),
        ("lat,lon\n" + "1,2\n" * 9, r"a.csv: has 9 rows: give at least 10"),
        ("lat,lon\n1,2\n", r"a.csv: has 1 rows: give at least 10"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        SphereCsv(tmp_path / "a.csv").sample(1, generator(0, "test"))
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"a.csv: is no text: give a file of comma-separated values"):
        SphereCsv(tmp_path / "a.csv").sample(1, generator(0, "test"))
    with pytest.raises(FileNotFoundError, match=r"b.csv: no such file: check the path"):
        SphereCsv(tmp_path / "b.csv").sample(1, generator(0, "test"))


@pytest.mark.parametrize("unit", ["degrees", "radians"])
def test_angles_lie_within_half_a_turn_of_zero(tmp_path: Path, unit: str) -> None:
    turn = 360 if unit == "degrees" else 2 * np.pi
    angles = RNG.uniform(-turn, turn, (50, 2))
    path = write(tmp_path / "a.csv", "residue,psi,phi", np.column_stack([np.arange(50), angles[:, ::-1]]))
    source = TorusCsv(path, unit=unit)  # type: ignore[arg-type]
    points = every(source)
    assert points.abs().max() <= np.pi
    expected = torch.from_numpy(angles / turn * 2 * np.pi).float()
    apart = torch.remainder(points[:, None] - expected + np.pi, 2 * np.pi) - np.pi
    assert apart.abs().amax(2).min(1).values.max() < 1e-5
    assert (source.geometry, source.dimension, source.scale, source.size) == ("torus", 2, 1.0, 40)


def test_angles_of_the_wrong_unit_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "phi,psi", np.array([[1.0, 2.0]] * 11 + [[1.0, -90.0]]))
    with pytest.raises(ValueError, match=r"a.csv: line 13: -90 is beyond a turn: are these radians\?"):
        TorusCsv(path, unit="radians").sample(1, generator(0, "test"))
    with pytest.raises(ValueError, match=r"a.csv: has no column omega: its first line is phi, psi"):
        TorusCsv(path, columns=("phi", "omega")).sample(1, generator(0, "test"))
    with pytest.raises(ValueError, match=r"data.columns is empty: name at least one column"):
        TorusCsv(path, columns=())
    assert TorusCsv(path, columns=("psi",)).dimension == 1


def test_the_command_reads_a_users_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("q.csv"), "lat,lon", PLACES)
    short = ["--count", "40", "--points", "40", "--steps", "2", "--out", "p"]
    assert main(["particles", "earthquakes-sphere", "--data.path", "q.csv", *short]) == 0
    assert np.load("p/particles.npy").shape == (40, 3)
    assert main(["particles", "earthquakes-sphere", *short]) == 2
    assert "earthquakes.csv: no such file" in capsys.readouterr().err
    assert main(["particles", "moons", "--data.path", "q.csv", *short]) == 2
    assert "moons is read from no file" in capsys.readouterr().err
    assert named("volcanoes-sphere", Path("q.csv")) == SphereCsv(Path("q.csv"))
