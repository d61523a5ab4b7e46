"""MovieLens-1M as GroupLens publishes it, into arrays.

Belongs here: the files ratings.dat, users.dat and movies.dat, wherever they lie, and what is wrong
with them. Does not: what is made of the ratings (`solvers.competition.factorisation`,
`solvers.competition.settings.from_ratings`). The data are not part of the project, as their licence
demands.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from pipelines.errors import ExpectedError
from solvers.arrays import Ints

RATINGS, USERS, MOVIES = 1_000_209, 6040, 3706
"""What the whole of MovieLens-1M has; movies.dat lists more movies than were rated."""
_LINES = {
    "ratings.dat": (
        re.compile(r"([1-9]\d{0,8})::([1-9]\d{0,8})::([1-5])::(\d{1,18})"),
        "UserID::MovieID::Rating::Timestamp, 1 to 5 stars",
    ),
    "users.dat": (
        re.compile(r"([1-9]\d{0,8})::[FM]::\d+::\d+::[^:]+"),
        "UserID::Gender::Age::Occupation::Zip-code",
    ),
    "movies.dat": (re.compile(r"([1-9]\d{0,8})::(.+)::([^:]+)"), "MovieID::Title::Genres"),
}


class MovieLensError(ExpectedError, ValueError):
    """A file that is not as GroupLens publishes it: says which, which line, and what is
    expected.
    """


@dataclass(frozen=True, eq=False)
class Ratings:
    """Rating r is rating[r] stars by user_ids[user[r]] for movie_ids[movie[r]]; the ids are
    GroupLens's own, ascending.

    `titles` are those of movie_ids, or None where there is no movies.dat.
    """

    user: Ints
    movie: Ints
    rating: Ints
    user_ids: Ints
    movie_ids: Ints
    titles: tuple[str, ...] | None

    @property
    def is_whole(self) -> bool:
        """Whether these are as many ratings, users and movies as MovieLens-1M has."""
        return (self.rating.size, self.user_ids.size, self.movie_ids.size) == (
            RATINGS,
            USERS,
            MOVIES,
        )


def read_ratings(path: Path) -> Ratings:
    """The ratings in `ml-1m.zip`, in the folder it unpacks to, or in a `ratings.dat`.

    users.dat and movies.dat beside it are read where they are there; everybody who rates and
    everything that is rated must be in them.

    Raises
    ------
    FileNotFoundError
        there is no such file, or no ratings.dat in the archive or folder
    MovieLensError
        an archive that is damaged, a file that was cut off, a line that is not what it should be, a
        second rating of the same movie by the same user, a user or movie that is not in the list of
        them
    """
    files = _Files(path)
    lines = files.lines("ratings.dat")
    if lines is None:
        raise FileNotFoundError(f"no ratings.dat in {path}")
    # read with the delimiter ":", every second field is empty
    user, movie, rating = np.loadtxt(
        lines, dtype=np.int64, delimiter=":", usecols=(0, 2, 4), ndmin=2, unpack=True
    )
    user_ids, users = np.unique(user, return_inverse=True)
    movie_ids, movies = np.unique(movie, return_inverse=True)
    pair = users * movie_ids.size + movies
    first = np.unique(pair, return_index=True)[1]
    if first.size < pair.size:
        again = int(np.setdiff1d(np.arange(pair.size), first)[0])
        before = int(np.flatnonzero(pair == pair[again])[0])
        files.refuse(
            "ratings.dat",
            again + 1,
            f"rates movie {movie[again]} by user {user[again]} again, after line {before + 1}",
        )
    known = files.table("users.dat")
    if known is not None:
        _all_known(files, "users.dat", known, user)
    listed = files.table("movies.dat")
    if listed is not None:
        _all_known(files, "movies.dat", listed, movie)
    titles = tuple(listed[m] for m in movie_ids.tolist()) if listed is not None else None
    return Ratings(
        users.astype(np.int64), movies.astype(np.int64), rating, user_ids, movie_ids, titles
    )


def _all_known(files: _Files, name: str, known: dict[int, str], rated: Ints) -> None:
    unknown = np.flatnonzero(~np.isin(rated, np.fromiter(known, dtype=np.int64)))
    if unknown.size:
        files.refuse(
            "ratings.dat", int(unknown[0]) + 1, f"names {rated[unknown[0]]}, which is not in {name}"
        )


class _Files:
    """The three files, in an archive, in a folder, or beside a ratings.dat of whatever name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise FileNotFoundError(f"there is no {path}")

    def where(self, name: str) -> str:
        """What a message calls a file."""
        if self.path.is_dir():
            return str(self.path / name)
        if self.path.suffix == ".zip":
            return f"{self.path}: {name}"
        return str(self.path if name == "ratings.dat" else self.path.with_name(name))

    def refuse(self, name: str, line: int, problem: str) -> NoReturn:
        """Say what is wrong with a line."""
        raise MovieLensError(f"{self.where(name)}, line {line} {problem}")

    def lines(self, name: str) -> list[str] | None:
        """Lines of a file, each of the form it should have; None if it is not there."""
        raw = self._bytes(name)
        if raw is None:
            return None
        # not splitlines, which sees the end of a line in some letters of latin-1
        *lines, rest = raw.decode("latin-1").split("\n")
        if rest:
            problem = (
                f"does not end: {rest[:80]!r}. The file seems to be cut off; unpack or download it"
                " again"
            )
            self.refuse(name, len(lines) + 1, problem)
        if not lines:
            raise MovieLensError(f"{self.where(name)} is empty")
        lines = [line.removesuffix("\r") for line in lines]
        pattern, form = _LINES[name]
        wrong = next((n for n, line in enumerate(lines) if not pattern.fullmatch(line)), None)
        if wrong is not None:
            self.refuse(name, wrong + 1, f"is {lines[wrong][:80]!r}, not {form}")
        return lines

    def table(self, name: str) -> dict[int, str] | None:
        """The rest of each line by the number it begins with."""
        lines = self.lines(name)
        if lines is None:
            return None
        found: dict[int, str] = {}
        for n, line in enumerate(lines, 1):
            number, text = line.split("::", 1)
            if int(number) in found:
                self.refuse(name, n, f"has {number} a second time")
            found[int(number)] = text.rpartition("::")[0]
        return found

    def _bytes(self, name: str) -> bytes | None:
        if self.path.suffix == ".zip" and self.path.is_file():
            try:
                with zipfile.ZipFile(self.path) as archive:
                    member = next(
                        (m for m in archive.namelist() if m == name or m.endswith(f"/{name}")), None
                    )
                    return archive.read(member) if member else None
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise MovieLensError(
                    f"{self.path} is no archive, or a damaged one ({error}); download it again"
                ) from error
        file = (
            self.path / name
            if self.path.is_dir()
            else self.path
            if name == "ratings.dat"
            else self.path.with_name(name)
        )
        return file.read_bytes() if file.is_file() else None
