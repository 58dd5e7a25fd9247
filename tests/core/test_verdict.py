"""Every refusal of the verdict's MUST list: each field altered one by one, signed again and not."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import canon, verdict
from ony_core.errors import Refused
from tests.core.verdicts import CASES, CONNECTOR, DEVICE, GONE, ISSUED, KEY, OTHER, PAYLOAD, PENDING, SERVER, Case, server_holds

REASONS = {
    "malformed",
    "unknown_version",
    "unpinned_approver",
    "revoked_device",
    "missing_signature",
    "bad_signature",
    "bad_server_signature",
    "wrong_connector",
    "wrong_session",
    "wrong_request",
    "wrong_request_digest",
    "wrong_facts_digest",
    "action_below",
    "risk_below",
    "code_missing",
    "bad_lifetime",
    "expired",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_verdict_is_taken_or_refused_for_its_own_reason(case):
    if case.expect in ("approve", "deny"):
        checked = case.check()
        assert checked.decision == case.expect and checked.approver_device_id == DEVICE
    else:
        with pytest.raises(Refused) as refused:
            case.check()
        assert refused.value.reason == case.expect


def test_the_table_reaches_every_refusal_and_every_field():
    assert {case.expect for case in CASES} == REASONS | {"approve", "deny"}
    assert OTHER.keys() == PAYLOAD.keys() == verdict._FIELDS


def test_a_checked_verdict_says_what_was_signed():
    case = CASES[0]
    checked, envelope = case.check(), case.made()
    assert (checked.request_id, checked.action, checked.actions, checked.risk) == (
        PENDING.request_id,
        "deploy.production",
        ("deploy.production", "db.migrate"),
        "critical",
    )
    assert (checked.issued_at, checked.expires_at, checked.code_verified) == (ISSUED, ISSUED + 120, True)
    assert checked.digest == verdict.digest_of(envelope["payload"]) == canon.sha256(envelope["payload"].encode())


@given(st.integers(0, 10_000), st.integers(1, 127))
def test_no_byte_of_a_signed_payload_can_change(at, other):
    envelope = CASES[0].made()
    text = envelope["payload"]
    at %= len(text)
    changed = text[:at] + chr(ord(text[at]) ^ other) + text[at + 1 :]
    with pytest.raises(Refused):
        Case("changed", "", envelope=lambda e: {**e, "payload": changed}).check()


@given(
    st.dictionaries(
        st.sampled_from(["payload", "signature", "server_signature", "x"]), st.none() | st.text() | st.integers() | st.lists(st.text())
    )
)
def test_whatever_arrives_is_refused_and_never_a_crash(envelope):
    with pytest.raises(Refused):
        Case("anything", "", envelope=lambda e: envelope).check()


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(PENDING) if f.name not in ("created_at", "deadline_s", "actions", "risk")]
)
def test_a_verdict_fits_one_pending_request_only(name):
    other = 5000.0 if name == "asked_boot" else getattr(PENDING, name)[:-1] + "9"
    with pytest.raises(Refused):
        Case("other pending", "", pending={name: other}).check()


def test_the_key_of_a_device_is_another_for_each_connector():
    """HKDF-SHA256 (RFC 5869) by an independent implementation."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = bytes(range(32))
    expected = HKDF(SHA256(), 32, None, b"ony/verdict/v1|" + CONNECTOR.encode()).derive(secret)
    assert verdict.connector_key(secret, CONNECTOR) == expected
    assert verdict.connector_key(secret, "con_" + "0" * 32) != expected


def test_seal_makes_what_check_takes_and_flat_shows_it():
    text = canon.dumps(PAYLOAD).decode()
    envelope = verdict.seal(text, KEY, SERVER.sign)
    assert Case("sealed", "", envelope=lambda e: envelope).check().decision == "approve"
    assert verdict.flat(envelope) == {**PAYLOAD, "signature": envelope["signature"], "server_signature": envelope["server_signature"]}
    assert server_holds(bytes.fromhex(envelope["server_signature"][8:]), text.encode()) and json.loads(text) == PAYLOAD
    assert GONE not in PAYLOAD.values()
