"""Tables of the book, and of what creators are owed."""

from __future__ import annotations

from pipelines.schema.columns import _POLICY_HASH, Column, Table, _count, _day, _id, _micros

WRITTEN_DAYS = Table(
    "written_days",
    "log",
    "Which day of which table has been written; a day without rows is written too.",
    (
        Column("table_name", "VARCHAR", "table"),
        _day(),
        _count("rows", "rows the day has"),
        _count(
            "changed",
            "number of the write that changed its rows last; numbers, not times, because clocks can"
            " be set back",
        ),
        _count("made", "number of the write that made it last, with other rows or the same"),
        Column("made_at", "TIMESTAMP", "when that was, UTC"),
        Column("code_version", "VARCHAR", "version of this software that wrote it"),
        Column(
            "policy_hash",
            "VARCHAR",
            "policy it was made under; empty where none has a say in it",
            required=False,
        ),
        Column(
            "content",
            "VARCHAR",
            "number of its rows and a hash of them in any order, as they were written; empty where"
            " the ledger's own chain says more, and for days of earlier versions",
            required=False,
        ),
    ),
    key=("table_name", "day"),
)

SNAPSHOT_CHANGES = Table(
    "snapshot_changes",
    "log",
    "Append-only. Every change of a day of a table whose rows hold on later days too (snapshots,"
    " groups of viewers), with the days it reaches: whatever was made of them before is stale.",
    (
        Column("table_name", "VARCHAR", "table"),
        _day("day whose rows changed, and first day that is reached"),
        _count("changed", "number of the write, as in `written_days`"),
        Column(
            "through",
            "DATE",
            "last day that is reached: on the next one every changed row has a later row of its id"
            " in its place; empty where one of them has none",
            required=False,
        ),
    ),
    key=("table_name", "day", "changed"),
)

SCHEMA_VERSIONS = Table(
    "schema_versions",
    "log",
    "Versions the tables of this warehouse have been brought to; the last one is what they are.",
    (
        Column("version", "BIGINT", "version, from 1"),
        Column("what", "VARCHAR", "what it changed in tables that were there"),
        Column("code_version", "VARCHAR", "version of this software that brought it there"),
    ),
    key=("version",),
    constraints=("PRIMARY KEY (version)",),
)

POLICIES = Table(
    "policies",
    "log",
    "Every policy that money was ever paid under, in full.",
    (
        Column("policy_hash", "VARCHAR", "hash of everything in it that decides an amount"),
        Column("name", "VARCHAR", "name of the policy when it was first paid under"),
        Column("effective_from", "DATE", "first day of that version"),
        Column("content", "VARCHAR", "the policy as JSON"),
    ),
    key=("policy_hash",),
    written_with="ledger_entries",
    constraints=("PRIMARY KEY (policy_hash)",),
)

LEDGER_TRANSACTIONS = Table(
    "ledger_transactions",
    "log",
    "Append-only. A changed day is reversed and reissued, never updated.",
    (
        _count("seq", "position in the chain, from 1"),
        Column("txn_id", "VARCHAR", "a function of day, kind and revision"),
        _day("day the money belongs to; of a statement the day it closes"),
        Column(
            "kind",
            "VARCHAR",
            "`payout`; `bonus`: those of the month that ends on the day; `reversal` and"
            " `bonus-reversal` of an earlier one; `inputs` and `bonus-inputs`: made again from other"
            " inputs with the same amounts; `statement`: what creators are paid when days are"
            " closed; `payment`: a payout run; `settlement`: what the bank said of payments;"
            " `decision`: weights committed or a market made anew, without entries",
        ),
        _count(
            "revision",
            "1 for a day's first payout, bonus or record of inputs, one more for each after it; of"
            " payments and settlements a number within the day",
        ),
        Column(
            "booked_day",
            "DATE",
            "day it counts towards: its own, or if that was closed before, the first open one",
        ),
        Column("reason", "VARCHAR", "why it was written"),
        Column(
            "link",
            "VARCHAR",
            "the payout or bonus that a reversal takes back, that a later revision replaces, or that"
            " other inputs gave again",
            required=False,
        ),
        Column(
            "input_hash",
            "VARCHAR",
            "hash of the landing files the day or month was made from, and after a colon of the rows"
            " that were loaded from them and of the weights, market or schedule it was paid by (in"
            " transactions of earlier versions without the second); of the rows in `payments` or"
            " `settlements` that it books",
        ),
        _POLICY_HASH,
        Column("code_version", "VARCHAR", "version of this software"),
        Column(
            "actor",
            "VARCHAR",
            "who did it: `EARNINGS_ACTOR`, or user and machine; empty for what follows from files",
            required=False,
        ),
        Column(
            "approved_by",
            "VARCHAR",
            "the second person who agreed, where the settings ask for one",
            required=False,
        ),
        Column("entries_hash", "VARCHAR", "hash of the transaction's entries"),
        Column("prev_hash", "VARCHAR", "hash of the transaction before it"),
        Column("hash", "VARCHAR", "hash of this row and prev_hash"),
    ),
    key=("txn_id",),
    written_with="ledger_entries",
    constraints=(
        "PRIMARY KEY (seq)",
        "UNIQUE (txn_id)",
        (
            "CHECK (kind IN ('payout', 'reversal', 'inputs', 'bonus', 'bonus-reversal',"
            " 'bonus-inputs', 'statement', 'payment', 'settlement', 'decision'))"
        ),
        "CHECK (revision >= 1 AND booked_day >= day)",
        (
            "CHECK ((link IS NULL) = (kind IN ('statement', 'payment', 'settlement',"
            " 'decision') OR (kind IN"
            " ('payout', 'bonus') AND revision = 1)))"
        ),
    ),
)

LEDGER_ENTRIES = Table(
    "ledger_entries",
    "log",
    "Every transaction's entries sum to zero. Money enters from `revenue:ads` and `revenue:coins`"
    " (negative entries).",
    (
        Column("txn_id", "VARCHAR", "transaction"),
        _day("day the money belongs to"),
        Column(
            "account",
            "VARCHAR",
            "`platform`, `creator:<id>`, `carry:<category>`, `pool:<category>`, `revenue:<stream>`,"
            " `dispute:<video>` (a contested part, until it is settled);"
            " of each creator, once stated: `statement:` (to be paid), `hold:`, `reserve:`,"
            " `clearing:` (the bank has it), `paid:`, `returned:` (came back)",
        ),
        Column(
            "part",
            "VARCHAR",
            "what it is: `intake:`, `carry-in:`, `carry-out:`, `ads:` or `carry:` and the category,"
            " `spread`, `pulse`, `coins`, `adjustment`, `bonus:` and the month, `statement`,"
            " `payment:` and its id, `reserve:` and the day it is paid on, `hold`,"
            " `share:` and the video",
        ),
        _micros("amount_micros", "amount; positive is owed to the account"),
    ),
    key=("txn_id", "account", "part"),
    constraints=("CHECK (amount_micros <> 0)",),
)

STATEMENTS = Table(
    "statements",
    "log",
    "What each creator was told and paid when days were closed, in cents; the rest carries to the"
    " creator's next statement.",
    (
        _day("last day it closes"),
        Column("first_day", "DATE", "first day it closes"),
        _id("creator_id", "creator"),
        _micros(
            "brought_forward_micros",
            "what the statement before left unpaid (negative: was paid too much)",
        ),
        _micros(
            "earned_micros",
            "earned on the days it closes, and bonuses of earlier months that are paid for the"
            " first time",
        ),
        _micros("restated_micros", "changes to days that were closed before"),
        _count("paid_cents", "paid: whole cents, never less than 0"),
        _micros("carried_forward_micros", "left for the next statement"),
    ),
    key=("creator_id",),
    constraints=(
        "PRIMARY KEY (day, creator_id)",
        "CHECK (paid_cents >= 0)",
        (
            "CHECK (brought_forward_micros + earned_micros + restated_micros = 10000 * paid_cents +"
            " carried_forward_micros)"
        ),
    ),
)

CREATOR_EARNINGS = Table(
    "creator_earnings",
    "derived",
    "What each creator earned on the day, by part. The parts add up to the total.",
    (
        _day(),
        _id("creator_id", "creator"),
        _micros("pulse_micros", "from ads next to Pulse videos"),
        _micros("ads_micros", "from ad pools, money of the day"),
        _micros("carry_micros", "from ad pools, money carried in from earlier days"),
        _micros("coins_micros", "from gifts"),
        _micros("adjustment_micros", "from a budget-neutral restatement"),
        _micros("bonus_micros", "from a month's bonuses, on the last day of the month"),
        _micros(
            "shares_micros",
            "from parts in others' videos, less what others have in one's own (`shares`)",
        ),
        _micros("total_micros", "sum of the parts"),
        Column(
            "ads_by_category",
            "MAP(VARCHAR, BIGINT)",
            "`ads_micros` taken apart by category (micros)",
        ),
        _POLICY_HASH,
    ),
    key=("creator_id",),
)
