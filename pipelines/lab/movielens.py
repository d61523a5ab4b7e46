"""MovieLens-1M as GroupLens publishes it, into arrays.

Belongs here: the one file that holds the ratings. Does not: what is made of them (`solvers.competition_settings.from_ratings`).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ratings:
    """Rating r is rating[r] stars by user_ids[user[r]] for movie_ids[movie[r]]; the ids are GroupLens's own, ascending."""

    user: Integers
    movie: Integers
    rating: Integers
    user_ids: Integers
    movie_ids: Integers


def read_ratings(path: Path) -> Ratings:
    """The ratings in `ml-1m.zip`, in the folder it unpacks to, or in a `ratings.dat` (lines `UserID::MovieID::Rating::Timestamp`).

    Raises
    ------
    FileNotFoundError
        there is no such file, or no ratings.dat in the archive or folder
    ValueError
        a line that is no rating
    """
    if path.is_dir():
        path = path / "ratings.dat"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            member = next((name for name in archive.namelist() if name.endswith("ratings.dat")), None)
            if member is None:
                raise FileNotFoundError(f"no ratings.dat in {path}")
            lines = archive.read(member).decode("ascii").splitlines()
    else:
        lines = path.read_text(encoding="ascii").splitlines()
    wrong = next((number for number, line in enumerate(lines, 1) if line.count("::") != 3), None)
    if wrong is not None:
        raise ValueError(f"{path}, line {wrong} is no rating: {lines[wrong - 1]!r}")
    # read with the delimiter ":", every second field is empty
    user, movie, rating = np.loadtxt(lines, dtype=np.int64, delimiter=":", usecols=(0, 2, 4), ndmin=2, unpack=True)
    user_ids, users = np.unique(user, return_inverse=True)
    movie_ids, movies = np.unique(movie, return_inverse=True)
    return Ratings(users.astype(np.int64), movies.astype(np.int64), rating, user_ids, movie_ids)
