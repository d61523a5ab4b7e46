"""Tables of money that leaves the house: who is paid where, what was instructed, and what the bank
said of it.
"""

from __future__ import annotations

from pipelines.schema.columns import Column, Table, _count, _day, _id, _source

# ISO 13616: country and check digits go to the end, letters count from 10, the rest by 97 is 1.
_IBAN_HOLDS = """list_reduce(list_transform(string_split(account[5:] || account[:4], ''),
    lambda c: CASE WHEN c BETWEEN '0' AND '9' THEN ascii(c) - 48 ELSE ascii(c) - 55 END),
    lambda a, b: (a * CASE WHEN b < 10 THEN 10 ELSE 100 END + b) % 97) = 1"""

PAYEES = Table(
    "payees",
    "snapshot",
    "Who is paid, and where to, as known from a day on. Loaded by `earnings pay`, not by the run of"
    " a day: no amount that is owed follows from it.",
    (
        _day("first day on which this row holds"),
        Column(
            "owner",
            "VARCHAR",
            "`creator:<id>`, or `identity:<id>` for all accounts of a verified identity that have"
            " no row of their own: they are paid together",
            rule="regexp_matches(owner, '^(creator|identity):.')",
            complaint="neither creator:<id> nor identity:<id>",
        ),
        Column(
            "name",
            "VARCHAR",
            "the holder of the account, as the bank knows it",
            rule="length(name) <= 70 AND NOT regexp_matches(name, '[\\x00-\\x1f\\x7f]')",
            complaint="longer than 70 characters, or with unprintable ones",
        ),
        Column(
            "method",
            "VARCHAR",
            "`iban`: by the bank file; any other, e.g. `paypal`: by the table of that file alone",
            default="'iban'",
            rule="regexp_full_match(method, '[a-z][a-z0-9_-]*')",
            complaint="not a lower-case word",
        ),
        Column(
            "account",
            "VARCHAR",
            "reference of the account: an IBAN without blanks, or what the method asks for",
            rule="coalesce(method, 'iban') <> 'iban' OR (regexp_full_match(account,"
            f" '[A-Z]{{2}}[0-9]{{2}}[A-Z0-9]{{11,30}}') AND {_IBAN_HOLDS})",
            complaint="not an IBAN (capitals, no blanks, right check digits)",
        ),
        Column(
            "bank",
            "VARCHAR",
            "BIC of the bank, where it is needed",
            required=False,
            rule="regexp_full_match(bank, '[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?')",
            complaint="not a BIC",
        ),
        Column(
            "currency",
            "VARCHAR",
            "currency of the account (ISO 4217); only the home's own is paid",
            rule="regexp_full_match(currency, '[A-Z]{3}')",
            complaint="not three capitals",
        ),
        Column(
            "country",
            "VARCHAR",
            "country of the payee (ISO 3166, two letters)",
            rule="regexp_full_match(country, '[A-Z]{2}')",
            complaint="not two capitals",
        ),
        Column(
            "minimum_cents",
            "BIGINT",
            "less than this is not paid but left for the next run; empty: the home's minimum",
            required=False,
            rule="minimum_cents >= 0",
            complaint="negative",
        ),
        Column(
            "hold_until",
            "DATE",
            "nothing is paid before this day",
            required=False,
        ),
        Column(
            "reserve_percent",
            "BIGINT",
            "part of every payment that is kept back, in whole percent, rounded down to the cent",
            default="0",
            rule="reserve_percent BETWEEN 0 AND 99",
            complaint="not between 0 and 99; to keep everything there is hold_until",
        ),
        Column(
            "reserve_days",
            "BIGINT",
            "days after which what was kept back is paid",
            default="0",
            rule="coalesce(reserve_days, 0) >= CASE WHEN coalesce(reserve_percent, 0) > 0 THEN 1"
            " ELSE 0 END",
            complaint="a reserve needs at least one day",
        ),
        Column(
            "locale",
            "VARCHAR",
            "how the payee reads amounts and days, e.g. `de_DE`; empty: as the home's settings say",
            required=False,
            rule="regexp_full_match(locale, '[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*')",
            complaint="not the name of a locale such as de_DE",
        ),
        _source(),
    ),
    key=("owner",),
)

PAYMENTS = Table(
    "payments",
    "log",
    "Append-only. Every instruction to pay. How far it came stands in the ledger, under the part"
    " `payment:<id>`: in `clearing:` until the bank answers, then in `paid:` or `returned:`.",
    (
        Column(
            "payment_id",
            "VARCHAR",
            "a function of statement and payee: closed day, number of the instruction to the payee"
            " for it, hash of the owner",
        ),
        _day("closed day through which statements are paid"),
        Column("txn_id", "VARCHAR", "the ledger's transaction that instructed it"),
        Column("owner", "VARCHAR", "payee, as in `payees`"),
        Column("name", "VARCHAR", "holder of the account"),
        Column("method", "VARCHAR", "how"),
        Column("account", "VARCHAR", "where to"),
        Column("bank", "VARCHAR", "BIC", required=False),
        Column("country", "VARCHAR", "country of the payee"),
        Column("currency", "VARCHAR", "currency"),
        _count("amount_cents", "amount in whole cents"),
        Column("requested_on", "DATE", "day on which the bank is asked to pay"),
    ),
    key=("payment_id",),
    written_with="payments",
    constraints=("PRIMARY KEY (payment_id)", "CHECK (amount_cents > 0)"),
)

SETTLEMENTS = Table(
    "settlements",
    "log",
    "Append-only. What the bank said of payments: `earnings pay --returns FILE`.",
    (
        Column("txn_id", "VARCHAR", "the ledger's transaction that booked it"),
        _day("last closed day when it was booked"),
        _id("payment_id", "payment"),
        Column("outcome", "VARCHAR", "`paid` or `returned`"),
        _count("amount_cents", "amount the bank names; a return may lack the bank's charge"),
        Column("happened_on", "DATE", "day the bank names"),
        Column("reason", "VARCHAR", "why it came back: the bank's code and words; empty if paid"),
        Column("file", "VARCHAR", "name of the bank's file"),
        Column("sha256", "VARCHAR", "hash of its bytes"),
    ),
    key=("txn_id", "payment_id"),
    constraints=(
        "PRIMARY KEY (txn_id, payment_id)",
        "CHECK (outcome IN ('paid', 'returned'))",
    ),
)

APPROVALS = Table(
    "approvals",
    "log",
    "Append-only. Who asked for a closing or a payout run, where the settings want two people"
    " (`second_approver`). The second who asks for the same does it.",
    (
        _day("last day to be closed or paid"),
        Column("what", "VARCHAR", "`close` or `pay`"),
        Column("digest", "VARCHAR", "hash of exactly what was shown"),
        Column("actor", "VARCHAR", "who asked"),
        Column("asked_at", "TIMESTAMP", "when, UTC"),
    ),
    key=("day", "what", "digest", "actor", "asked_at"),
)
