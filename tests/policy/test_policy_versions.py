"""A policy keeps its hash from version to version: what was paid is recognised and proven by a
version that has more fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from pipelines import policy as module
from pipelines.ledger.closing import close
from pipelines.ledger.verification import verify
from pipelines.policy import LATER, AdRule, Ads, Epochs, Experiment, Policy, policy_hash
from pipelines.settings import PROJECT, Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, make_days, rows

# A policy that uses every section, as the first version kept it. Never edited: warehouses out there
# have such text.
KEPT = (Path(__file__).parents[1] / "cases" / "policy_version_1.json").read_text(encoding="utf-8")
HASH = "a31c891ec8ed8af7"
SHIPPED = PROJECT / "assets_data" / "policies" / "evidence.toml"


class RuleOfTomorrow(AdRule):
    weekdays: tuple[int, ...] = ()


class AdsOfTomorrow(Ads):
    rules: tuple[RuleOfTomorrow, ...] = ()
    boost: float = 0.0


class ExperimentOfTomorrow(Experiment):
    strata: int | None = None


class EpochsOfTomorrow(Epochs):
    experiment: ExperimentOfTomorrow | None = None


class Tips(BaseModel):
    share: float = 1.0


class PolicyOfTomorrow(Policy):
    ads: AdsOfTomorrow = AdsOfTomorrow()
    epochs: EpochsOfTomorrow = EpochsOfTomorrow()
    tips: Tips = Tips()


ADDED = {
    "ads.rules.weekdays": [],
    "ads.boost": 0.0,
    "epochs.experiment.strata": None,
    "tips.share": 1.0,
    "tips": {},
}


@pytest.fixture
def tomorrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The next version, in a process that has read nothing yet: every policy that is read has the
    added fields.
    """
    monkeypatch.setattr(module, "LATER", LATER | ADDED)
    monkeypatch.setattr(module, "Policy", PolicyOfTomorrow)
    module._parsed.cache_clear()
    yield
    module._parsed.cache_clear()


def fields(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every field of a policy as JSON, by its path in `LATER`."""
    for value in values if isinstance(values, list) else ():
        yield from fields(value, path)
    for name, value in values.items() if isinstance(values, dict) else ():
        yield ".".join((*path, name)), value
        yield from fields(value, (*path, name))


def test_the_fields_that_are_hashed_are_those_of_the_first_version() -> None:
    """See "Adding a field" in pipelines/policy.py."""
    first, now = (
        dict(fields(json.loads(KEPT))),
        dict(fields(Policy.model_validate_json(KEPT).model_dump(mode="json"))),
    )
    assert first.keys() <= now.keys(), "a field of a policy is never removed or renamed"
    assert now.keys() - first.keys() == LATER.keys(), (
        "a field that is added needs an entry in pipelines.policy.LATER"
    )
    for path in LATER.keys() - {path.rpartition(".")[0] for path in LATER}:
        assert now[path] == LATER[path], "the default of an added field is its value in LATER"


def test_what_was_kept_has_the_hash_it_always_had() -> None:
    assert policy_hash(json.loads(KEPT)) == Policy.model_validate_json(KEPT).hash == HASH
    assert (
        Policy.model_validate({"name": "plain", "effective_from": "2026-01-01"}).hash
        == "dcf46159ddd4f541"
    )


@pytest.mark.usefixtures("tomorrow")
def test_added_fields_that_change_nothing_change_no_hash() -> None:
    read = PolicyOfTomorrow.model_validate_json(KEPT)
    assert (
        dict(fields(read.model_dump(mode="json"))).keys() - dict(fields(json.loads(KEPT))).keys()
        == (LATER | ADDED).keys()
    )
    assert (
        policy_hash(json.loads(KEPT)) == read.hash == policy_hash(json.loads(read.content)) == HASH
    )
    assert module.read_policy(SHIPPED.with_name("hardened.toml")).hash == "f879c4144c768fe7"


@pytest.mark.usefixtures("tomorrow")
def test_every_other_value_of_an_added_field_is_another_hash() -> None:
    read = PolicyOfTomorrow.model_validate_json(KEPT)

    def but(**values: Any) -> str:
        return PolicyOfTomorrow.model_validate(read.model_dump() | values).hash

    ads, epochs = read.ads.model_dump(), read.epochs.model_dump()
    hashes = {
        but(),
        but(ads=ads | {"boost": 0.5}),
        but(ads=ads | {"boost": 1.0}),
        but(ads=ads | {"rules": [ads["rules"][0] | {"weekdays": (1,)}, *ads["rules"][1:]]}),
        but(
            ads=ads
            | {
                "rules": [
                    ads["rules"][0],
                    *({**rule, "weekdays": (1,)} for rule in ads["rules"][1:]),
                ]
            }
        ),
        but(epochs=epochs | {"experiment": epochs["experiment"] | {"strata": 0}}),
        but(tips={"share": 0.0}),
        but(tips={"share": 0.5}),
    }
    assert len(hashes) == 8


def test_what_is_refused_since_keeps_its_hash() -> None:
    """A rule that no version accepts any more may have been paid under."""
    refused = KEPT.replace('"minimum": 0.1', '"minimum": 1.0')
    with pytest.raises(ValueError, match="leaves nothing to anybody else"):
        Policy.model_validate_json(refused)
    assert policy_hash(json.loads(refused)) != HASH


@pytest.fixture
def paid(made: Home) -> Home:
    """Paid by this version, the first days closed."""
    close(made, DAYS[1])
    return made


def told(home: Home) -> str:
    """Head of a ledger in which nothing contradicts anything."""
    with Warehouse(home).open(read_only=True) as con:
        found = verify(con)
    assert found.findings == ()
    return found.head


def test_a_later_version_proves_recognises_and_closes_what_an_earlier_one_paid(
    paid: Home, request: pytest.FixtureRequest
) -> None:
    before = told(paid)
    request.getfixturevalue("tomorrow")
    assert isinstance(paid.policies.in_force(DAYS[0]), PolicyOfTomorrow)
    assert told(paid) == before
    make_days(paid, DAYS[1:4])
    assert told(paid) == before
    close(paid, DAYS[-1])
    told(paid)


def test_a_field_that_is_set_is_another_policy_and_both_are_proven(
    paid: Home, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("tomorrow")
    paid.root.joinpath("policies").mkdir()
    text = SHIPPED.read_text(encoding="utf-8").replace(
        "platform_share = 0.55", "platform_share = 0.5\nboost = 0.25"
    )
    paid.root.joinpath("policies", "evidence.toml").write_text(text)
    make_days(paid, DAYS[2:])
    told(paid)
    contents = [
        json.loads(content)
        for (content,) in rows(paid, "SELECT content FROM policies ORDER BY content LIKE '%boost%'")
    ]
    assert ["boost" in values["ads"] for values in contents] == [False, True]
    with Warehouse(paid).open() as con:
        con.execute(
            """UPDATE policies SET content = replace(content, '"boost": 0.25', '"boost": 0.0')"""
        )
        assert len(verify(con).findings) == 1
