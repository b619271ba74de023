"""Places on the Earth from a user's file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .columns import read_columns
from .distribution import Geometry
from .rows import Part, Rows, Table


@dataclass(frozen=True)
class SphereCsv(Rows):
    """Places by latitude and longitude as points of the sphere; one row in five is kept for measuring.

    The files of earthquakes, floods, fires and volcanic eruptions that the literature on flows on the sphere uses
    (Mathieu and Nickel 2020) can be read as they are.

    Attributes:
        path: A file of comma-separated values.
        latitude, longitude: Name of the column, or its number from zero; both in degrees. Of the names as they stand
            here the usual other spellings are found as well; a file without names has these columns first.
        rows: Which rows are drawn.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("latitude,longitude\\n" + "0,90\\n" * 20)
        >>> SphereCsv(path).sample(1, torch.Generator()).round(decimals=3).abs()
        tensor([[0., 1., 0.]])
    """

    path: Path = Path("places.csv")
    latitude: str = "lat"
    longitude: str = "lon"
    rows: Part = "train"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def geometry(self) -> Geometry:
        """The sphere."""
        return "sphere"

    @property
    def _source(self) -> str:
        return str(self.path)

    def _read(self) -> Table:
        wanted = [_SPELLINGS.get(name, (name,)) for name in (self.latitude, self.longitude)]
        degrees, lines = read_columns(self.path, wanted)
        for place, name, low, high in ((0, "latitude", -90, 90), (1, "longitude", -180, 360)):
            beyond = (degrees[:, place] < low) | (degrees[:, place] > high)
            if beyond.any():
                i = int(beyond.argmax())
                found = f"{name} {degrees[i, place]:g} is beyond {low} to {high} degrees"
                raise ValueError(f"{self.path}: line {lines[i]}: {found}: are the columns the right ones?")
        latitude, longitude = np.deg2rad(degrees).T
        around = np.cos(latitude)
        points = np.stack([around * np.cos(longitude), around * np.sin(longitude), np.sin(latitude)], 1)
        return Table(points.astype(np.float32))


_SPELLINGS = {"lat": ("lat", "latitude"), "lon": ("lon", "long", "lng", "longitude")}
