"""The book made again from its files: equal to what was booked after closings, late files and
restatements; and where it is not, told by day, creator, account and amounts.

Replays of everything else (recommits, markets, bonuses, policies, ids of two days) are in the soak.
"""

from __future__ import annotations

import json
from datetime import date

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.ledger.closing import close
from pipelines.remake.days import restate
from pipelines.remake.replay import ReplayError, replay
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, FIRST, deliver_late, make_days, rows

MID, LAST = DAYS[2], DAYS[-1]


def test_it_comes_out_as_booked_and_what_was_changed_is_named(made: Home) -> None:
    close(made, MID)
    deliver_late(made, [FIRST])
    shown, _ = restate(made, FIRST, FIRST, reason="late")
    restate(made, FIRST, FIRST, reason="late", expected=shown.digest)
    deliver_late(made, [MID])  # nobody restates it: files that came later are nobody's yet
    found = replay(made)
    assert found.good
    assert (found.days, found.not_compared) == (tuple(DAYS), {})
    assert rows(made, "SELECT count(*) > 0 FROM evidence_history") == [(True,)]

    # money is moved from one creator to another, as an auditor's opponent would
    (account, rich, part), (_, poor, _) = rows(
        made,
        "SELECT account, owner_of(account), part FROM ledger_entries WHERE day = ? AND"
        " starts_with(account, 'creator:') AND starts_with(part, 'ads:')"
        " ORDER BY part, account LIMIT 2",
        LAST,
    )
    with Warehouse(made).open() as con:
        for micros, creator in ((-5, rich), (5, poor)):
            con.execute(
                "UPDATE ledger_entries SET amount_micros = amount_micros + ?"
                " WHERE day = ? AND account = 'creator:' || ? AND part = ?",
                [micros, LAST, creator, part],
            )
    found = replay(made, DAYS[3], LAST)
    assert found.days == tuple(DAYS[3:])
    assert [(d.day, d.creator_id, d.replayed - d.booked) for d in found.differences] == [
        (LAST, rich, 5),
        (LAST, poor, -5),
    ]
    assert not found.good
    result = CliRunner().invoke(
        main, ["--home", str(made.root), "ledger", "replay", "--from", str(LAST), "--json"]
    )
    assert result.exit_code == 1
    told = json.loads(result.stdout)["differences"][0]
    assert (told["account"], told["part"]) == (account, part)


def test_what_is_not_there_any_more_and_what_a_run_would_change(made: Home) -> None:
    close(made, FIRST)
    path = next((made.landing / "gifts" / str(FIRST)).iterdir())
    path.rename(made.root / path.name)
    deliver_late(made, [DAYS[1]])
    make_days(made, [DAYS[1]], assets=["viewer_events"])
    found = replay(made, last=DAYS[1])
    assert found.findings == (
        f"{FIRST}: gifts/{FIRST}/{path.name}: was loaded, and cannot be read any more"
        " (No such file or directory)",
    )
    assert found.differences == ()  # its rows are as recorded
    assert list(found.not_compared) == [DAYS[1]]
    with pytest.raises(ReplayError, match="no payout of a day to replay from 2027-01-01"):
        replay(made, date(2027, 1, 1))
