"""Approvers that join after the enrolment: pinned where a pinned one endorsed them, and nowhere else."""

import pytest

from ony_core import endorse, verdict
from ony_core.clock import rfc3339
from ony_core.connector import enrolled
from tests.connector.holding import held, reasons
from tests.connector.standin import CONNECTOR, DEVICE

NEW, NEW_KEY = "dev_" + "e" * 32, b"n" * 32


def joins(server, by: str = DEVICE, signing: bytes | None = None, state: str = "active") -> None:
    """From the next bundle on."""
    pair = verdict.connector_key(server.device_key, CONNECTOR)
    endorsement = endorse.made(CONNECTOR, NEW, verdict.connector_key(NEW_KEY, CONNECTOR), by, rfc3339(server.clock.wall()), signing or pair)
    one = {"device_id": NEW, "label": "New phone", "state": state, "endorsement": endorsement}
    server.version += 1
    server.twist["bundle"] = lambda body: {**body, "approvers": [*body["approvers"], one]}


def decides_with_the_new_one(server) -> None:
    """The new phone's owner answers; its key signs."""
    server.twist["payload"] = lambda made: {**made, "device_id": NEW}
    server.device_key = NEW_KEY


def test_an_endorsed_approver_decides_without_another_enrolment_also_after_a_restart(open_gate, server, folder, project):
    gate = open_gate()
    joins(server)
    gate.refresh()
    assert gate.approvers()[NEW].label == "New phone"
    assert {one.device_id for one in enrolled.load(folder).approvers} == {DEVICE, NEW}
    decides_with_the_new_one(server)
    assert held(open_gate(), project).outcome == "allow"


def test_before_the_bundle_that_endorses_it_the_new_one_is_nobody(open_gate, server, project):
    gate = open_gate()
    decides_with_the_new_one(server)
    assert held(gate, project).outcome == "deny"
    assert "unpinned_approver" in reasons(gate, server)


def test_a_server_cannot_name_an_approver_by_its_own_signature(open_gate, server, folder, project):
    gate = open_gate()
    for by, signing in ((DEVICE, b"x" * 32), (NEW, None), ("dev_" + "f" * 32, None)):
        joins(server, by, signing)
        gate.refresh()
    server.twist["bundle"] = lambda body: {
        **body, "approvers": [*body["approvers"], {"device_id": NEW, "label": "New phone", "state": "active"}]}  # fmt: skip
    server.version += 1
    gate.refresh()
    assert {one.device_id for one in enrolled.load(folder).approvers} == {DEVICE}
    assert {"endorsement_bad_signature", "unknown_endorser"} <= set(reasons(gate, server))
    decides_with_the_new_one(server)
    assert held(gate, project).outcome == "deny"


def test_what_is_not_well_endorsed_keeps_the_rest_of_the_bundle(open_gate, server):
    gate = open_gate()
    joins(server, signing=b"x" * 32)
    gate.refresh()
    assert gate.bundle.version == server.version and gate.current


def test_a_pinned_approver_is_taken_away_by_the_bundle_like_any_other(open_gate, server, project):
    gate = open_gate()
    joins(server)
    gate.refresh()
    joins(server, state="revoked")
    gate.refresh()
    decides_with_the_new_one(server)
    assert gate.approvers()[NEW].state == "revoked"
    assert held(gate, project).outcome == "deny"


def test_an_approver_that_could_not_be_written_down_does_not_count(open_gate, server, monkeypatch):
    gate = open_gate()
    joins(server)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(enrolled, "save", full)
    with pytest.raises(OSError):
        gate.refresh()
    assert NEW not in gate.approvers()


def test_a_bundle_kept_before_a_crash_pins_at_the_next_start(open_gate, server, folder, monkeypatch):
    gate = open_gate()
    joins(server)
    monkeypatch.setattr(gate, "_pin", lambda fresh: None)
    gate.refresh()
    assert NEW in open_gate().approvers()
    assert {one.device_id for one in enrolled.load(folder).approvers} == {DEVICE, NEW}
