"""An approver that joins later: what a connector takes, and every way in which it must not."""

import hmac
from dataclasses import replace

import pytest

from ony_core import canon, endorse
from ony_core.errors import Refused
from ony_core.model import Approver

CON = "con_" + "1" * 32
OLD, NEW, THIRD = (f"dev_{n * 32}" for n in "abc")
KEYS = {OLD: b"o" * 32, NEW: b"n" * 32, THIRD: b"t" * 32}
PINNED = {OLD: Approver(OLD, KEYS[OLD])}
AT = "2026-06-30T14:22:07Z"


def endorsed(device: str = NEW, by: str = OLD, connector: str = CON, signing: bytes | None = None):
    return endorse.made(connector, device, KEYS[device], by, AT, signing or KEYS[by])


def listed(device: str, **endorsement):
    return {"device_id": device, "label": "New phone", "state": "active", **endorsement}


def test_an_endorsed_approver_is_taken_with_its_key():
    found, reasons = endorse.added([listed(OLD), listed(NEW, endorsement=endorsed())], CON, PINNED.values())
    assert (found, reasons) == ([Approver(NEW, KEYS[NEW], "active", "New phone")], [])


@pytest.mark.parametrize("order", [(NEW, THIRD), (THIRD, NEW)])
def test_one_may_be_endorsed_by_another_new_one_in_whatever_order(order):
    made = {NEW: endorsed(), THIRD: endorsed(THIRD, NEW)}
    found, reasons = endorse.added([listed(device, endorsement=made[device]) for device in order], CON, PINNED.values())
    assert ({one.device_id for one in found}, reasons) == ({NEW, THIRD}, [])


def test_an_approver_without_an_endorsement_or_pinned_already_is_not_added():
    assert endorse.added([listed(NEW), listed(OLD, endorsement=endorsed(OLD, OLD))], CON, PINNED.values()) == ([], [])


def test_two_new_ones_do_not_endorse_each_other():
    circle = [listed(NEW, endorsement=endorsed(NEW, THIRD)), listed(THIRD, endorsement=endorsed(THIRD, NEW))]
    assert endorse.added(circle, CON, PINNED.values()) == ([], ["unknown_endorser"])


def edited(**changes):
    body = {**canon.loads(endorsed()["payload"].encode()), **changes}
    payload = canon.dumps({name: value for name, value in body.items() if value is not ...}).decode()
    purpose = hmac.digest(KEYS[OLD], b"ony/endorse/v1\x01", "sha256")
    return {**endorsed(), "payload": payload, "signature": "hmac-sha256:" + hmac.digest(purpose, payload.encode(), "sha256").hex()}


def as_a_verdict() -> str:
    return "hmac-sha256:" + hmac.digest(KEYS[OLD], endorsed()["payload"].encode(), "sha256").hex()


NOES = {
    "made with another key": (endorsed(signing=b"x" * 32), "endorsement_bad_signature"),
    "made with the new device's own key": (endorsed(signing=KEYS[NEW]), "endorsement_bad_signature"),
    "endorsed by itself": (endorsed(by=NEW), "unknown_endorser"),
    "endorsed by a stranger": (endorsed(by=THIRD), "unknown_endorser"),
    "for another connector": (endorsed(connector="con_" + "2" * 32), "endorsement_of_another"),
    "of another device": (endorsed(device=THIRD), "endorsement_of_another"),
    "with another key in its place": ({**endorsed(), "key": "00" * 32}, "endorsement_of_another"),
    "a changed payload": ({**endorsed(), "payload": endorsed()["payload"].replace(NEW, THIRD)}, "endorsement_bad_signature"),
    "a verdict's signature": ({**endorsed(), "signature": as_a_verdict()},
                              "endorsement_bad_signature"),
    "another version": (edited(v=2), "endorsement_malformed"),
    "a version that is true": (edited(v=True), "endorsement_malformed"),
    "another type": (edited(type="verdict"), "endorsement_malformed"),
    "one field more": (edited(more=1), "endorsement_malformed"),
    "one field less": (edited(endorsed_at=...), "endorsement_malformed"),
    "an endorser that is no text": (edited(endorsed_by=[OLD]), "unknown_endorser"),
    "no signature": ({**endorsed(), "signature": None}, "endorsement_bad_signature"),
    "a short key": ({**endorsed(), "key": "00"}, "endorsement_malformed"),
    "no JSON": ({**endorsed(), "payload": "{"}, "endorsement_malformed"),
    "not ASCII": ({**endorsed(), "payload": "é"}, "endorsement_malformed"),
    "a field more outside": ({**endorsed(), "note": ""}, "endorsement_malformed"),
    "no object": ("yes", "endorsement_malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOES)
def test_what_is_not_taken(name):
    endorsement, reason = NOES[name]
    with pytest.raises(Refused) as refused:
        endorse.check(endorsement, CON, NEW, "", PINNED)
    assert refused.value.reason == reason
    assert endorse.added([listed(NEW, endorsement=endorsement)], CON, PINNED.values()) == ([], [reason])


def test_an_endorser_that_was_revoked_since_still_counts_for_whom_it_let_in():
    pinned = {OLD: replace(PINNED[OLD], state="revoked")}
    assert endorse.check(endorsed(), CON, NEW, "", pinned).device_id == NEW
