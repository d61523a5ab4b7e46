"""What people meet who run days and close them: a bad file, swapped dates, Ctrl-C, a folder that
cannot be written, a question before what cannot be undone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli.main import main
from pipelines.ledger import closing
from pipelines.operation import running
from tests.conftest import DAY, Platform, Rows

DAYS = [DAY + timedelta(days=n) for n in range(3)]


def earnings(platform: Platform, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:  # the command sets it for what it starts
        patch.setenv("EARNINGS_HOME", str(platform.home.root))
        return CliRunner().invoke(main, ["--home", str(platform.home.root), *words])


def _land(platform: Platform, day: date) -> None:
    platform.known(day)
    watched = [("u1", 20_000), ("u1", 20_001), ("u2", 15_000), ("u2", 20_002)]
    platform.land(
        "viewer_events",
        [
            Rows.event(
                f"{day}{n}", day=day, viewer_id=u, watch_ms=ms, commented=True, shared=True,
                followed=True,
            )
            for n, (u, ms) in enumerate(watched)
        ],
        day,
    )  # fmt: skip
    platform.land("ad_revenue", [Rows.ad(f"a{day}", day=day)], day)
    platform.land("gifts", [Rows.gift(f"g{day}", day=day)], day)


@pytest.fixture(scope="module")
def stopped(
    tmp_path_factory: pytest.TempPathFactory, platform_at: Callable[[Path], Platform]
) -> tuple[Platform, Result]:
    """Three days, of which the last has a file that cannot be read; and what `run` says."""
    platform = platform_at(tmp_path_factory.mktemp("bad_last_day") / "home")
    for day in DAYS:
        _land(platform, day)
    platform.file("gifts", "part.csv", b"", DAYS[2])
    platform.file("gifts", "bad.parquet", b"PAR1 and no more", DAYS[2])
    return platform, earnings(platform, "run")


def test_days_before_a_bad_file_are_paid(stopped: tuple[Platform, Result]) -> None:
    platform, run = stopped
    assert run.exit_code == 1, run.output
    assert f"Paid: {DAYS[0]} to {DAYS[1]}." in run.output
    assert f"{DAYS[2]} could not be made" in run.output
    assert f"run --from {DAYS[2]} --to {DAYS[2]}" in run.output
    assert "bad.parquet" in run.output
    states = [
        (d["state"], d["creators_micros"] > 0)
        for d in json.loads(earnings(platform, "status", "--json").stdout)["days"]
    ]
    assert states[:2] == [("complete", True)] * 2
    assert states[2][1] is False


def test_a_closing_shows_what_it_would_pay_and_asks(stopped: tuple[Platform, Result]) -> None:
    platform, _ = stopped
    words = ("close", "--through", str(DAYS[1]))
    before = platform.ask("SELECT count(*) FROM ledger_transactions")
    shown = json.loads(earnings(platform, *words, "--json").stdout)
    assert shown["outcome"] == "would close"
    refused = earnings(platform, *words)
    assert refused.exit_code == 2
    assert "--yes" in refused.output
    assert f"{DAYS[0]} to {DAYS[1]}: would close" in refused.output
    assert platform.ask("SELECT count(*) FROM ledger_transactions") == before
    changed = closing.Closing(**{**_typed(shown), "paid_cents": 1})
    with pytest.raises(closing.ClosingError, match="changed since"):
        closing.close(platform.home, DAYS[1], expected=changed)
    assert platform.ask("SELECT count(*) FROM ledger_transactions") == before
    done = earnings(platform, *words, "--json", "--yes")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    same = ("first_day", "through", "statements", "paid_cents", "carried_forward_micros")
    assert {key: result[key] for key in same} == {key: shown[key] for key in same}
    assert result["head"] != shown["head"]
    again = earnings(platform, *words)
    assert again.exit_code == 0
    assert "already closed" in again.output


def _typed(shown: dict[str, object]) -> dict[str, object]:
    days = {key: date.fromisoformat(str(shown[key])) for key in ("first_day", "through")}
    return {**shown, **days}


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--from", "2026-03-07", "--to", "2026-03-01"),
        ("restate", "--day", "2026-03-07", "--through", "2026-03-01", "--reason", "late"),
    ],
)
def test_swapped_dates_are_wrong_usage(platform: Platform, words: tuple[str, ...]) -> None:
    result = earnings(platform, *words)
    assert result.exit_code == 2
    assert "2026-03-07 and 2026-03-01; swap them" in result.output
    assert not platform.home.dagster.exists()


def test_an_interrupted_run_says_so(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    _land(platform, DAY)
    monkeypatch.setattr(running, "run_days", interrupted)
    result = earnings(platform, "run")
    assert result.exit_code == 130
    assert "interrupted: " in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("words", [("run",), ("prune",), ("demo",)])
def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path, words: tuple[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARNINGS_HOME", "")
        result = CliRunner().invoke(main, ["--home", str(tmp_path / "file" / "home"), *words])
    assert result.exit_code == 1, result.output
    assert "error: " in result.output
    assert str(tmp_path / "file") in result.output
    assert "Traceback" not in result.output


def test_a_quiet_run_says_only_what_is_wrong(stopped: tuple[Platform, Result]) -> None:
    platform, run = stopped
    lines = [line for line in run.output.splitlines() if line.startswith("creators ")]
    assert len(lines) <= 3, "a line an asset and run, and the table's head; not one a day"
    day = str(DAYS[0])
    good = earnings(platform, "run", "--quiet", "--asset", "creators", "--from", day, "--to", day)
    assert (good.exit_code, good.output) == (0, "")
