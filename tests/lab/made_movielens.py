"""Ratings that are made up, in the files and the form of MovieLens-1M: the loader and the study run
on them as on the real ones.

A full size, by hand: python -c "from tests.lab.made_movielens import write; write('/tmp/made-1m')"
(a million ratings in five seconds).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np


def write(
    folder: str | Path,
    *,
    users: int = 6040,
    movies: int = 3706,
    ratings: int = 1_000_209,
    least: int = 20,
    seed: int = 0,
) -> Path:
    """Write ratings.dat, users.dat, movies.dat and the archive ml-1m.zip with all three; gives the
    folder.

    Ratings have rank 5 and noise of deviation .75; movies are watched by popularity, users differ
    in how much they rate, from `least` up.
    """
    rng = np.random.default_rng(seed)
    popularity = 1 / (np.arange(movies) + 30.0)
    weight = rng.lognormal(0, 1.1, users)
    count = np.minimum(
        least + np.floor(weight / weight.sum() * (ratings - least * users)).astype(int), movies
    )
    while (missing := ratings - count.sum()) > 0:
        free = np.flatnonzero(count < movies)
        count[rng.choice(free, min(missing, free.size), replace=False)] += 1
    mine, theirs = rng.normal(0, 0.35, (users, 5)), rng.normal(0, 1, (movies, 5))
    level = 3.6 + 0.4 * rng.normal(size=users)[:, None] + 0.3 * rng.normal(size=movies)
    numbers = np.sort(rng.choice(np.arange(1, movies * 16 // 15 + 2), movies, replace=False))
    lines = []
    for user in range(users):
        # the largest of log weight plus Gumbel noise: drawing without replacement
        seen = np.argpartition(-(np.log(popularity) + rng.gumbel(size=movies)), count[user] - 1)[
            : count[user]
        ]
        stars = np.clip(
            np.rint(
                level[user, seen] + theirs[seen] @ mine[user] + 0.75 * rng.normal(size=seen.size)
            ),
            1,
            5,
        ).astype(int)
        when = 956703932 + 100 * user
        lines += [
            f"{user + 1}::{m}::{s}::{when + n}"
            for n, (m, s) in enumerate(zip(numbers[seen], stars, strict=True))
        ]
    files = {
        "ratings.dat": lines,
        "users.dat": [
            f"{user + 1}::{'FM'[user % 2]}::25::{user % 21}::{10000 + user}"
            for user in range(users)
        ],
        "movies.dat": [f"{m}::Fa\xe7ade {m}: a film (2000)::Drama|Comedy" for m in numbers],
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "ml-1m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/README", "made up")
        for name, content in files.items():
            data = "".join(f"{line}\n" for line in content).encode("latin-1")
            (folder / name).write_bytes(data)
            archive.writestr(f"ml-1m/{name}", data)
    return folder
