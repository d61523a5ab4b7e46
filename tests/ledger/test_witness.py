"""Who did it stands in the chain, and heads that left the house tell a ledger that was rewritten."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pytest

from pipelines.ledger.closing import close
from pipelines.ledger.entries import note_decision
from pipelines.ledger.verification import verify
from pipelines.ledger.witness import WitnessError, findings, tell, witnessed
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, SETTINGS, rows

APPEND = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
PRINT = (
    "import sys, pathlib; p = pathlib.Path(sys.argv[1]); print(p.read_text() if p.exists() else '')"
)


def with_witness(home: Home, section: str) -> Home:
    (home.root / "settings.toml").write_text(f"{SETTINGS}[witness]\n{section}\n")
    return Home.at(home.root)  # settings are read once


def found(home: Home) -> list[str]:
    with Warehouse(home).open(read_only=True) as con:
        return findings(con, home)


@pytest.mark.parametrize("kind", ["file", "command"])
def test_a_witness_knows_every_closing_and_who_did_it(
    made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("EARNINGS_ACTOR", "ann")
    close(made, DAYS[0])  # before there was one
    heads = tmp_path / "heads"

    def run(code: str) -> str:
        return shlex.join([sys.executable, "-c", code, str(heads)]).replace('"', '\\"')

    home = with_witness(
        made,
        f'file = "{heads}"'
        if kind == "file"
        else f'command = "{run(APPEND)}"\nread = "{run(PRINT)}"',
    )
    assert "was not told of 2026-03-01/statement/1" in found(home)[0]
    noted = close(home, DAYS[1])
    assert [head.txn_id for head in witnessed(home)] == [f"{d}/statement/1" for d in DAYS[:2]]
    assert (witnessed(home)[-1].hash, witnessed(home)[-1].actor) == (noted.head, "ann")
    assert found(home) == []
    with Warehouse(home).open(read_only=True) as con:
        assert tell(con, home) == []  # told once


def test_a_ledger_rewritten_or_cut_off_is_not_what_the_witness_knows(
    made: Home, tmp_path: Path
) -> None:
    before = Home.at(shutil.copytree(made.root, tmp_path / "before"))
    home = with_witness(made, f'file = "{tmp_path / "heads"}"')
    close(home, DAYS[0])
    assert found(home) == []
    rewritten = with_witness(before, f'file = "{tmp_path / "heads"}"')
    assert "was cut off or rewritten" in found(rewritten)[0]
    with pytest.raises(WitnessError, match="was cut off or rewritten"):
        close(rewritten, DAYS[1])
    assert len(witnessed(home)) == 1  # another chain is never added to
    (tmp_path / "heads").write_text("not a line of ours\n")
    with pytest.raises(WitnessError, match="line 1 of the witness is none of ours"):
        found(home)


def test_a_decision_that_moves_no_money_is_in_the_chain_with_its_actor(
    made: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARNINGS_ACTOR", "bob")
    close(made, DAYS[0])
    house = Warehouse(made)
    with house.open() as con:
        with house.transaction(con, "test"):
            ids = [note_decision(con, day, "weights anew: why") for day in (*DAYS[:2], DAYS[0])]
        assert ids == [f"{d}/decision/{n}" for d, n in ((DAYS[0], 1), (DAYS[1], 1), (DAYS[0], 2))]
        assert verify(con).findings == ()
    assert rows(made, "SELECT DISTINCT actor FROM ledger_transactions WHERE kind = 'decision'") == [
        ("bob",)
    ]
    close(made, DAYS[-1])
    with house.open() as con:
        assert verify(con).findings == ()
        con.execute("UPDATE ledger_transactions SET actor = 'eve' WHERE kind = 'decision'")
        assert any("its hash is not that of its row" in f for f in verify(con).findings)
