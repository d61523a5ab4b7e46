"""GroupLens's format on three lines, from each of the places where it may lie."""

from __future__ import annotations

import zipfile

import pytest

from pipelines.lab.movielens import read_ratings

LINES = "1::1193::5::978300760\n1::661::3::978302109\n7::1193::4::978301968\n"


@pytest.fixture
def places(tmp_path):
    (tmp_path / "ratings.dat").write_text(LINES)
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/README", "")
        archive.writestr("ml-1m/ratings.dat", LINES)
    return {"file": tmp_path / "ratings.dat", "folder": tmp_path, "archive": tmp_path / "ml-1m.zip"}


@pytest.mark.parametrize("place", ["file", "folder", "archive"])
def test_three_lines(places, place):
    ratings = read_ratings(places[place])
    assert ratings.user.tolist() == [0, 0, 1]
    assert ratings.movie.tolist() == [1, 0, 1]
    assert ratings.rating.tolist() == [5, 3, 4]
    assert ratings.user_ids.tolist() == [1, 7]
    assert ratings.movie_ids.tolist() == [661, 1193]


@pytest.mark.parametrize("line", ["1::2::3", "1,2,3,4", ""])
def test_a_line_that_is_no_rating(tmp_path, line):
    (tmp_path / "ratings.dat").write_text(LINES + line + "\n")
    with pytest.raises(ValueError, match="line 4 is no rating"):
        read_ratings(tmp_path)


def test_a_rating_that_is_no_number(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::2::five::3\n")
    with pytest.raises(ValueError, match="five"):
        read_ratings(tmp_path)


def test_an_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("README", "")
    with pytest.raises(FileNotFoundError, match=r"no ratings.dat"):
        read_ratings(tmp_path / "other.zip")
