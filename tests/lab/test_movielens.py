"""GroupLens's files: from each of the places where they may lie, what is wrong with them and where,
and the whole study on made-up ones.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.lab.competition_settings import of_movielens
from pipelines.lab.movielens import MovieLensError, read_ratings
from tests.lab.made_movielens import write

LINES = "1::1193::5::978300760\n1::661::3::978302109\n7::1193::4::978301968\n"
USERS = "1::F::1::10::48067\n7::M::56::16::55117-1234\n"
MOVIES = (
    "661::James and the Giant Peach (1996)::Animation|Musical\n919::Les Mis\xe9rables: \x85"
    " (1995)::Drama\n1193::Cuckoo (1975)::Drama\n"
)


@pytest.fixture
def places(tmp_path):
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    files = {"ratings.dat": LINES, "users.dat": USERS, "movies.dat": MOVIES}
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("latin-1"))
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/README", "")
        for name, text in files.items():
            archive.writestr(f"ml-1m/{name}", text.encode("latin-1"))
    return {"file": folder / "ratings.dat", "folder": folder, "archive": tmp_path / "ml-1m.zip"}


@pytest.mark.parametrize("place", ["file", "folder", "archive"])
def test_three_lines(places, place):
    ratings = read_ratings(places[place])
    assert ratings.user.tolist() == [0, 0, 1]
    assert ratings.movie.tolist() == [1, 0, 1]
    assert ratings.rating.tolist() == [5, 3, 4]
    assert ratings.user_ids.tolist() == [1, 7]
    assert ratings.movie_ids.tolist() == [661, 1193]
    assert ratings.titles == ("James and the Giant Peach (1996)", "Cuckoo (1975)")
    assert not ratings.is_whole


def test_ratings_alone_or_with_the_line_ends_of_windows(tmp_path):
    (tmp_path / "mine.dat").write_bytes(LINES.replace("\n", "\r\n").encode())
    ratings = read_ratings(tmp_path / "mine.dat")
    assert ratings.rating.tolist() == [5, 3, 4]
    assert ratings.titles is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "ratings.dat",
            LINES + "1::2::3\n",
            (
                r"ratings.dat, line 4 is '1::2::3', not UserID::MovieID::Rating::Timestamp, 1 to 5"
                r" stars"
            ),
        ),
        ("ratings.dat", LINES + "1,2,3,4\n", "line 4 is '1,2,3,4', not"),
        ("ratings.dat", LINES + "\n" + LINES, "line 4 is '', not"),
        ("ratings.dat", "1::2::five::3\n", "line 1 is '1::2::five::3', not"),
        ("ratings.dat", "1::2::6::3\n", "line 1 is '1::2::6::3', not"),
        ("ratings.dat", "0::2::5::3\n", "line 1 is '0::2::5::3', not"),
        ("ratings.dat", "1::2::4.5::3\n", "line 1 is '1::2::4.5::3', not"),
        (
            "ratings.dat",
            LINES + "7::661::4::9783",
            "line 4 does not end: '7::661::4::9783'. The file seems to be cut off",
        ),
        ("ratings.dat", "", "ratings.dat is empty"),
        (
            "ratings.dat",
            LINES + "1::661::2::978302110\n",
            "line 4 rates movie 661 by user 1 again, after line 2",
        ),
        (
            "ratings.dat",
            LINES + "8::661::2::978302110\n",
            "ratings.dat, line 4 names 8, which is not in users.dat",
        ),
        (
            "ratings.dat",
            LINES + "7::660::2::978302110\n",
            "ratings.dat, line 4 names 660, which is not in movies.dat",
        ),
        (
            "users.dat",
            USERS + "9::X::1::1::1\n",
            "users.dat, line 3 is '9::X::1::1::1', not UserID::Gender::Age::Occupation::Zip-code",
        ),
        ("users.dat", USERS + "7::M::1::1::1\n", "users.dat, line 3 has 7 a second time"),
        (
            "movies.dat",
            MOVIES + "9::Nine\n",
            "movies.dat, line 4 is '9::Nine', not MovieID::Title::Genres",
        ),
    ],
)
@pytest.mark.parametrize("place", ["folder", "archive"])
def test_what_is_wrong_and_where(places, place, name, text, message):
    if place == "folder":
        (places["folder"] / name).write_bytes(text.encode("latin-1"))
    else:
        others = {
            n: (places["folder"] / n).read_bytes()
            for n in ("ratings.dat", "users.dat", "movies.dat")
        }
        with zipfile.ZipFile(places["archive"], "w") as archive:
            for n, content in (others | {name: text.encode("latin-1")}).items():
                archive.writestr(f"ml-1m/{n}", content)
    with pytest.raises(MovieLensError, match=message) as caught:
        read_ratings(places[place])
    assert str(caught.value).startswith(str(places[place]))


def test_an_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("README", "")
    with pytest.raises(FileNotFoundError, match=r"no ratings.dat"):
        read_ratings(tmp_path / "other.zip")
    with pytest.raises(FileNotFoundError, match="there is no"):
        read_ratings(tmp_path / "nothing.zip")


@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_a_damaged_archive(places, damage):
    raw = bytearray(places["archive"].read_bytes())
    if damage == "changed":
        raw[raw.index(b"1::1193")] ^= 1
    places["archive"].write_bytes(raw[: len(raw) // 2] if damage == "cut off" else raw)
    with pytest.raises(MovieLensError, match="is no archive, or a damaged one"):
        read_ratings(places["archive"])


# ---- all of it, on ratings that are made up


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("made"), users=70, movies=1020, ratings=14_000, least=60)


def test_made_up_ratings_are_of_the_form(made):
    found = read_ratings(made / "ml-1m.zip")
    assert (found.rating.size, found.user_ids.size) == (14_000, 70)
    assert set(found.rating.tolist()) == {1, 2, 3, 4, 5}
    assert 1000 <= found.movie_ids.size <= 1020
    assert found.titles is not None
    assert found.titles[0].startswith("Fa\xe7ade ")


def test_setting(made):
    found = read_ratings(made)
    setting = of_movielens(found)
    active = np.bincount(found.user) > 200
    assert setting.game.users.shape == (active.sum(), 32)
    assert setting.game.strategies.shape == (20, 32)
    assert (setting.game.strategies == setting.game.strategies[0]).all()
    assert (setting.game.temperature, setting.game.candidates) == (0.1, 20)


@pytest.mark.slow
def test_the_study(made, tmp_path):
    words = [
        "lab",
        "competition",
        "--movielens",
        str(made / "ml-1m.zip"),
        "--setting",
        "movielens",
        "--seeds",
        "2",
        "--steps",
        "10",
    ]
    result = CliRunner().invoke(
        main, [*words, "--workers", "1", "--out", str(tmp_path), "--json"], catch_exceptions=False
    )
    claims = {c["claim"]: c for c in json.loads(result.stdout)["claims"]}
    whole, active, root, square = list(claims.values())[:4]
    assert not whole["holds"]
    assert whole["figures"].startswith("14000 ratings by 70 users of 10")
    active_users = int((np.bincount(read_ratings(made).user) > 200).sum())
    assert (active["holds"], active["figures"]) == (False, f"{active_users} users")
    assert "1578 users" in active["claim"]
    assert root["figures"] == square["figures"]
    assert sum(c.startswith("movielens: ") for c in claims) == 4 + 11
    page = (tmp_path / "report.html").read_text()
    assert "All creators begin with Fa\xe7ade " in page
    assert (tmp_path / "movielens_folds.csv").read_text().count("\n") == 6
    assert (tmp_path / "movielens_curves.svg").exists()


def test_the_command_says_what_is_wrong_with_the_file(places, tmp_path):
    words = [
        "lab",
        "competition",
        "--movielens",
        str(places["archive"]),
        "--setting",
        "movielens",
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert (
        "these ratings are no MovieLens-1M: 0 users have over 200 ratings and there are 2 movies,"
        " 1000 are needed" in result.stderr
    )
    places["archive"].write_bytes(b"<html>")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "ml-1m.zip is no archive" in result.stderr
