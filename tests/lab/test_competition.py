"""The competition study: paired intervals, a reduced study with its tables and claims, workers, the
platform's own viewers.
"""

from __future__ import annotations

import csv
import json
import sys

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from pipelines.console import CommandError
from pipelines.lab.competition import command, study
from pipelines.lab.competition_runs import ADAPTIVE, HALVED, MECHANISMS, Experiment, paired, play
from pipelines.lab.competition_settings import WatchingError, of_platform
from pipelines.lab.report import Report
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.store.file_store import NothingPublishedError
from solvers.competition import synthetic, toy


def small(seed):
    return synthetic(seed, sizes=(60, 30, 10), creators=20, candidates=8, groups=4)


TOY = Experiment("toy", "A cross.", toy, 2, 100, 0.1)
SMALL = Experiment("small", "Three clusters.", small, 2, 60)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    report = Report(tmp_path_factory.mktemp("competition"), "Competition")
    study(report, [TOY, SMALL])
    report.write()
    return report


def rows_of(report, name):
    with (report.folder / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_paired_interval_is_students():
    a, b = np.array([1.0, 2.0, 4.0, 4.5]), np.array([0.5, 2.2, 3.0, 4.0])
    mean, half = paired(a, b)
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((interval.low, interval.high))
    assert paired([1.0], [0.5]) == (0.5, np.inf)


def test_tables(made):
    rows = {row["mechanism"]: row for row in rows_of(made, "small_welfare")}
    assert list(rows) == list(MECHANISMS)
    runs = [small(seed).simulate("hmt", steps=60, seed=seed) for seed in (0, 1)]
    late, default = (
        np.mean([r.welfare[-6:] for r in runs]),
        np.mean([r.welfare_default[-6:] for r in runs]),
    )
    assert float(rows["HMT"]["welfare"]) == pytest.approx(late)
    assert float(rows["HMT"]["default welfare"]) == pytest.approx(default)
    base = float(rows["base"]["welfare"])
    assert float(rows["HMT"]["gain %"]) == pytest.approx(100 * (late / base - 1))
    assert rows["UIR"]["welfare"] == rows["UIR"]["default welfare"]
    assert float(rows["static beta"]["gain %"]) > max(
        float(rows[name]["gain %"]) for name in ("base", *ADAPTIVE)
    )

    groups = [row for row in rows_of(made, "small_groups") if row["mechanism"] == "base"]
    sizes = [float(row["size"]) for row in groups]
    assert sizes == sorted(sizes, reverse=True)
    assert all(float(row["weight"]) == 1 for row in groups)
    assert np.average([float(row["utility"]) for row in groups], weights=sizes) == pytest.approx(
        base, abs=0.05
    )


def test_the_toy_has_a_control_with_the_centre_halved(made):
    rows = {row["mechanism"]: row for row in rows_of(made, "toy_movement")}
    assert list(rows) == [*MECHANISMS, HALVED]
    weights = [
        float(row["weight"]) for row in rows_of(made, "toy_groups") if row["mechanism"] == HALVED
    ]
    assert weights == pytest.approx([5 / 9, 10 / 9, 10 / 9, 10 / 9, 10 / 9])


def test_theorem_2_holds_in_the_soft_regime_and_fails_in_the_sharp(made):
    rows = rows_of(made, "theorem_2")
    assert all(row["improves"] == "True" for row in rows if row["regime"] == "soft")
    assert not any(row["improves"] == "True" for row in rows if row["regime"] == "sharp")
    slopes = {row["weights"]: float(row["dW/d eta"]) for row in rows if row["regime"] == "soft"}
    assert (slopes["1 1 1 1"], slopes["2 1"]) == pytest.approx((0, 0.04))
    assert [(c.holds, c.settled) for c in made.claims if c.claim.startswith("theorem 2")] == [
        (True, True),
        (False, True),
    ]


def test_the_page(made):
    page = (made.folder / "report.html").read_text()
    assert page.count("In words: ") == 2
    assert sum(c.claim.startswith("small: ") for c in made.claims) == 11
    for name in ("toy_curves", "toy_movement", "small_curves", "small_by_group"):
        assert (made.folder / f"{name}.svg").read_text().startswith("<?xml")
    assert "theorem 2: and where the temperature is small, as its proof assumes" in page
    assert "0 of 5 cases improve" in page
    assert page.count("data:image/svg+xml;base64,") == 6


def test_workers_change_nothing():
    experiment = Experiment("small", "", small, 1, 10)
    settings = [small(0)]
    one, two = (play(experiment, settings, workers=n) for n in (1, 2))
    assert [r.mechanism for r in one] == [r.mechanism for r in two] == list(MECHANISMS)
    for a, b in zip(one, two, strict=True):
        assert (a.welfare == b.welfare).all()
        assert (a.paths == b.paths).all()


# ---- the platform's own viewers


@pytest.fixture
def watched(tmp_path):
    """Two kinds of viewers and of videos, creators 0 to 5 with videos of one kind each."""
    home = Home.at(tmp_path)
    con = duckdb.connect(str(home.published))
    for table in TABLES.values():
        con.execute(table.ddl())
    con.execute("""INSERT INTO videos BY NAME SELECT DATE '2026-03-01' AS day, 'v' || i AS video_id,
            'c' || i % 6 AS creator_id, 10000 AS length_ms,
           [] AS categories, true AS compliant, '' AS source FROM range(60) t(i)""")
    con.execute("""INSERT INTO viewer_events BY NAME SELECT DATE '2026-03-01' AS day,
            TIMESTAMP '2026-03-01' AS ts, u || '-' || v AS event_id,
           format('u{:02d}', u) AS viewer_id, 'v' || v AS video_id, if(u % 2 = v % 2, 12000,
           1000) AS watch_ms, false AS liked,
           false AS commented, false AS shared, false AS followed, '' AS source
           FROM range(40) a(u), range(60) b(v) WHERE (u + 3 * v) % 5 < 3""")
    con.close()
    return home


def test_platform(watched):
    setting = of_platform(watched)
    scores = setting.game.scores
    assert scores.shape == (6, 40)
    assert np.linalg.norm(setting.game.strategies, axis=1).max() <= 1
    # creators of a kind of video serve the viewers who watch it to the end
    order = [np.sign(scores[:, u] - np.median(scores[:, u])) for u in range(40)]
    assert all((a == b).all() for a, b in zip(order, order[2:], strict=False))
    assert (order[0] == -order[1]).all()


def test_platform_without_a_published_copy_or_events(watched, tmp_path):
    with pytest.raises(NothingPublishedError, match="no published copy yet"):
        of_platform(Home.at(tmp_path / "new"))
    with duckdb.connect(str(watched.published)) as con:
        con.execute("DELETE FROM viewer_events WHERE video_id >= 'v1'")
    with pytest.raises(WatchingError, match="no viewer watched 10 videos"):
        of_platform(watched)
    with duckdb.connect(str(watched.published)) as con:
        con.execute("DELETE FROM viewer_events")
    with pytest.raises(WatchingError, match="there are no events in it"):
        of_platform(watched)


# ---- the command


def test_command(watched, tmp_path):
    arguments = [
        "--setting",
        "platform",
        "--seeds",
        "2",
        "--steps",
        "10",
        "--workers",
        "1",
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    result = CliRunner().invoke(command, arguments, obj=watched, catch_exceptions=False)
    said = json.loads(result.stdout)
    assert all(c["claim"].startswith(("platform: ", "theorem 2: ")) for c in said["claims"])
    assert "platform: base, 2 of 14 runs of 10 steps" in result.stderr
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "12"], "--steps 12 is not a multiple of 5"),
        (["--setting", "movielens"], "needs --movielens PATH"),
    ],
)
def test_command_refuses(arguments, message, tmp_path):
    result = CliRunner().invoke(
        command, [*arguments, "--out", str(tmp_path)], obj=Home.at(tmp_path)
    )
    assert result.exit_code == 2
    assert message in result.stderr


def test_help():
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert "Creators chase reward" in result.stdout
    assert "--movielens" in result.stdout


def test_without_numba_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)  # as where it is not installed
    with pytest.raises(CommandError, match=r"needs numba.*pip install 'creator-earnings\[lab\]'"):
        CliRunner().invoke(
            command, ["--out", str(tmp_path)], obj=Home(tmp_path), catch_exceptions=False
        )
    assert not list(tmp_path.iterdir())
