"""Backup, restore, the declaration that connectors follow, retention, export and deletion: what stays, what goes, and who must say so."""

import asyncio
import json
import os
import shutil
import sqlite3
from types import SimpleNamespace

import pytest

from ony_core import notes
from ony_core.connector.heads import Heads
from ony_core.connector.statement import verifier
from ony_core.errors import OnyError, Refused
from ony_core.handoff import Head
from ony_core.model import Approver
from ony_core.server import factors, restoring
from ony_core.server.message import Request
from ony_core.server.upkeep import DAY_S, DECLARED_S, Upkeep
from ony_core.store import copies
from ony_core.verdict import connector_key
from tests.server import invariants
from tests.server.serving import EMAIL, NUMBER, Server, ony
from tests.server.world import COMMIT, Hall, Person, brought_to, running
from tests.store.world import NOON


class Kept(Hall):
    """A hall with its upkeep, and a connector beside it that keeps heads."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.write(lambda org: org.audit("genesis"))
        self.opened()

    def opened(self) -> None:
        self.config.payload = SimpleNamespace(retention_days=30)
        self.config.policy.history_days = 400
        self.upkeep = Upkeep(self.store, self.keyring, self.config, self.clock)

    def reopened(self, folder) -> None:
        self.folder = folder
        self.restart()
        self.opened()

    def heads(self, folder) -> Heads:
        return Heads(folder, f"ony/{'5e' * 16}/{self.org_id}", verifier(self.keyring.audit_public))

    def newest(self) -> str:
        return self.read(self.org_id, lambda org: org.checkpoint_at(org.size())[1])

    def approvers(self) -> dict[str, Approver]:
        key = connector_key(self.owner.decision_key, self.owner.connector_id)
        return {self.owner.device_id: Approver(self.owner.device_id, key)}

    async def said(self, path: str):
        """As the connector's link: the answer's body, OnyError for a no."""
        query = path.partition("?")[2]
        response = await self.upkeep.lost(Request("GET", "/v1/audit/restore", query), self.owner.connector)
        body = json.loads(response.body)
        if response.status != 200:
            raise OnyError(body["error"]["code"])
        return body

    async def admin(self, act: str, *more: str, code: str | None = None) -> tuple[int, dict]:
        body = json.dumps({"email": "", "code": code or self.owner.code()}).encode()
        response = await getattr(self.upkeep, act)(Request("POST", "/admin", body=body), *more)
        return response.status, json.loads(response.body)


@pytest.fixture
def hall(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    made = Kept(tmp_path / "data")
    yield made
    made.close()


def backed_up(hall: Kept, tmp_path):
    copies.copy(hall.folder / "ony.db", tmp_path / "backup.db")
    return tmp_path / "backup.db"


# ---------------------------------------------------------------- restore


@running
async def lives(hall: Kept) -> dict[str, str]:
    return {state: (await brought_to(hall, state)).request_id for state in ("used", "denied")}


def test_a_restored_server_verifies_and_nothing_that_was_valid_then_is_valid_again(hall, tmp_path):
    @running
    async def before():
        waiting, approved = await hall.held(), await hall.approved()
        backup = backed_up(hall, tmp_path)
        assert await hall.claims(approved) == "used", "after the backup"
        hall.clock.pass_(1)
        return waiting, approved, backup

    waiting, approved, backup = before()
    code, version = hall.owner.code(), hall.read(hall.org_id, lambda org: org.row().policy_version)
    hall.store.close()
    said = restoring.restore(backup, hall.folder, hall.clock)
    assert os.path.exists(said["kept"]) and said["rows"] > 3
    hall.reopened(hall.folder)
    assert (hall.state(waiting), hall.state(approved)) == ("denied", "revoked")
    assert "restored" in hall.kinds() and hall.read(hall.org_id, lambda org: org.row().policy_version) > version + 1000

    @running
    async def after():
        assert await hall.claims(approved) == "revoked"
        asked = await hall.held()
        assert await hall.presses(asked, code=code) == "wrong_code", "the code of that time was used, or may have been"
        hall.clock.pass_(31)
        assert await hall.presses(asked, code=hall.owner.code()) == "approved"

    after()
    hall.close()
    invariants.judge(hall.folder, [])
    assert not (hall.folder / restoring.STAGE).exists()
    hall.reopened(hall.folder)


def test_a_recovery_code_that_was_used_after_the_backup_is_not_good_again(hall, tmp_path):
    code = hall.write(lambda org: factors.new_recovery_codes(org, org.user(hall.owner.user_id), hall.clock))[0]
    backup = backed_up(hall, tmp_path)
    assert hall.write(lambda org: factors.spent(org, hall.owner.user_id, code))
    hall.clock.pass_(1)
    hall.store.close()
    restoring.restore(backup, hall.folder, hall.clock)
    hall.reopened(hall.folder)
    assert not hall.write(lambda org: factors.spent(org, hall.owner.user_id, code))


def test_a_running_server_is_never_restored_over(hall, tmp_path):
    backup = backed_up(hall, tmp_path)
    with pytest.raises(OnyError, match="another server"):
        restoring.restore(backup, hall.folder, hall.clock)


WRONG = {
    "no master key": (lambda hall, backup: (hall.folder / "master.key").unlink(), "master.key"),
    "no audit key": (lambda hall, backup: (hall.folder / "audit.key").unlink(), "audit.key"),
    "another master key": (lambda hall, backup: (hall.folder / "master.key").write_text("ab" * 32), "does not open"),
    "another server's audit key": (lambda hall, backup: other_key(hall.folder / "audit.key"), "does not verify"),
    "a changed row": (
        lambda hall, backup: edited(backup, "UPDATE audit SET body = CAST(replace(body, 'high', 'none') AS BLOB)"),
        "does not verify",
    ),
    "a lost row": (lambda hall, backup: edited(backup, "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"), "does not verify"),
    "a damaged file": (lambda hall, backup: backup.write_bytes(backup.read_bytes()[:9000]), "take another backup"),
    "a newer version": (lambda hall, backup: edited(backup, "PRAGMA user_version = 9"), "newer"),
    "no file": (lambda hall, backup: backup.unlink(), "cannot be read"),
}  # fmt: skip


def other_key(path) -> None:
    said = json.loads(path.read_text())
    said["keys"] = dict.fromkeys(said["keys"], "ab" * 32)
    path.write_text(json.dumps(said))


def edited(path, statement: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER audit_no_update")
        db.execute("DROP TRIGGER audit_no_delete")
        db.execute(statement)
    db.close()


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_check_out_is_not_put_in_place(hall, tmp_path, wrong):
    lives(hall)
    backup = backed_up(hall, tmp_path)
    hall.store.close()
    kept = tmp_path / "kept"
    shutil.copytree(hall.folder, kept)
    spoil, what = WRONG[wrong]
    spoil(hall, backup)
    before = (hall.folder / "ony.db").read_bytes()
    with pytest.raises(OnyError, match=what):
        restoring.restore(backup, hall.folder, hall.clock)
    assert (hall.folder / "ony.db").read_bytes() == before and not (hall.folder / restoring.STAGE).exists()
    shutil.rmtree(hall.folder)
    shutil.copytree(kept, hall.folder)
    hall.reopened(hall.folder)


# ---------------------------------------------------------------- what connectors do about it


def rolled_back(hall: Kept, tmp_path) -> Heads:
    """A connector that has seen more than the restored log holds."""
    lives(hall)
    backup = backed_up(hall, tmp_path)
    for _ in range(5):
        hall.write(lambda org: org.audit("genesis"))
    heads = hall.heads(tmp_path / "heads")
    (tmp_path / "heads").mkdir()
    notes.write_head(tmp_path / "heads", hall.newest())
    hall.store.close()
    restoring.restore(backup, hall.folder, hall.clock)
    hall.reopened(hall.folder)
    hall.clock.pass_(60)
    return heads


def followed(hall: Kept, heads: Heads, verify=None) -> bool:
    kept = heads.newest()
    answer = asyncio.run(hall.said(f"/v1/audit/restore?size={kept.size}&root={kept.root}"))
    return heads.follow(lambda path: answer, hall.owner.connector_id, hall.approvers(), verify or verifier(hall.keyring.verdict_public))


def test_a_connector_follows_a_restore_that_was_declared_and_keeps_what_it_had_seen(hall, tmp_path):
    heads = rolled_back(hall, tmp_path)
    lost = heads.newest()
    with pytest.raises(OnyError, match="not_declared"):
        followed(hall, heads)
    assert running(hall.admin)("declare_restore", code="000000")[0] == 403
    status, said = running(hall.admin)("declare_restore")
    assert status == 200 and hall.logged()[said["row"] - 1]["kind"] == "restore_declared"
    assert followed(hall, heads)
    assert heads.newest() != lost and heads.newest().size < lost.size
    (kept,) = (tmp_path / "heads").glob("*.lost-*.json")
    assert notes.witnesses(kept)[0].size == lost.size, "evidence is kept"
    told = next(row for row in hall.logged() if row["kind"] == "head_lost")
    assert (told["size"], told["root"]) == (lost.size, "sha256:" + lost.root)
    with pytest.raises(OnyError, match="not_lost"):
        followed(hall, heads)


def test_a_declaration_ends_after_a_week(hall, tmp_path):
    heads = rolled_back(hall, tmp_path)
    running(hall.admin)("declare_restore")
    hall.clock.pass_(DECLARED_S + 1)
    with pytest.raises(OnyError, match="not_declared"):
        followed(hall, heads)


@pytest.mark.parametrize("twist", ["lost_size", "lost_root", "connector_id", "note", "signature", "server_signature", "device"])
def test_a_statement_that_is_not_exactly_about_the_kept_head_changes_nothing(hall, tmp_path, twist):
    heads = rolled_back(hall, tmp_path)
    running(hall.admin)("declare_restore")
    kept = heads.newest()
    answer = asyncio.run(hall.said(f"/v1/audit/restore?size={kept.size}&root={kept.root}"))
    approvers = hall.approvers()
    if twist in ("signature", "server_signature"):
        answer[twist] = answer[twist][:-1] + ("0" if answer[twist][-1] != "0" else "1")
    elif twist == "device":
        approvers = {name: Approver(one.device_id, one.key, "revoked") for name, one in approvers.items()}
    else:  # signed by the server's real key: a server that lies must still have the approver's
        body = json.loads(answer["payload"])
        changed = {"lost_size": kept.size + 1, "lost_root": "0" * 64, "connector_id": "con_" + "0" * 32, "note": body["note"] + "x"}[twist]
        fields = {name: value for name, value in body.items() if name not in ("v", "type")}
        answer |= hall.keyring.statement("restore", fields | {twist: changed})
    with pytest.raises(Refused):
        heads.follow(lambda path: answer, hall.owner.connector_id, approvers, verifier(hall.keyring.verdict_public))
    assert heads.newest() == kept and not list((tmp_path / "heads").glob("*.lost-*"))


def test_nobody_is_told_that_a_head_is_lost_which_the_log_holds(hall, tmp_path):
    lives(hall)
    hall.clock.pass_(31)
    assert running(hall.admin)("declare_restore")[0] == 200
    (tmp_path / "heads").mkdir()
    notes.write_head(tmp_path / "heads", hall.newest())
    with pytest.raises(OnyError, match="not_lost"):
        followed(hall, hall.heads(tmp_path / "heads"))


def test_heads_know_what_they_keep(hall, tmp_path):
    (tmp_path / "heads").mkdir()
    assert hall.heads(tmp_path / "heads").follow(lambda path: {}, "", {}, verifier(hall.keyring.verdict_public)) is False
    note = notes.write_head(tmp_path / "heads", hall.newest())
    assert hall.heads(tmp_path / "heads").newest() == Head(note.size, note.root.hex())


# ---------------------------------------------------------------- retention


def test_old_requests_go_with_everything_that_hangs_on_them_and_the_log_stays(hall):
    told = lives(hall)
    values = (told["used"], hall.org_id, NOON)
    hall.store.write_now(lambda tx: tx._db.execute("INSERT INTO payload VALUES (?, ?, x'00', ?)", values) and None)
    rows = len(hall.logged())
    hall.clock.pass_(31 * DAY_S)
    running(hall.upkeep.sweep)()
    assert hall.store.read(lambda tx: tx._db.execute("SELECT count(*) FROM payload").fetchone()) == (0,)
    assert hall.read(hall.org_id, lambda org: org.handoff(told["used"])) is not None
    hall.clock.pass_(370 * DAY_S)
    kept = running(brought_to)(hall, "denied")
    waiting = running(hall.held)(COMMIT)
    running(hall.upkeep.sweep)()
    left = hall.store.read(lambda tx: [row[0] for row in tx._db.execute("SELECT id FROM handoff")])
    assert set(left) == {kept.request_id, waiting.request_id}
    assert len(hall.logged()) > rows, "no row of the log ever goes"


def test_what_is_not_settled_is_never_too_old(hall):
    waiting = running(hall.held)()
    hall.clock.now += 9999 * DAY_S
    running(hall.upkeep.sweep)()
    assert hall.state(waiting) == "ringing"


# ---------------------------------------------------------------- export and deletion


def test_an_export_holds_everything_but_secrets_and_nothing_of_anybody_else(hall):
    lives(hall)
    other = Person(hall, hall.new_org(), "stranger@example.com")
    response = running(hall.upkeep.export)(Request("GET", "/"), hall.org_id)
    said = json.loads(response.body)
    assert {row["id"] for row in said["tables"]["user"]} == {hall.owner.user_id} and len(said["tables"]["handoff"]) == 2
    text = response.body.decode()
    assert other.user_id not in text and "stranger" not in text
    for word in ("sealed", "password", "token_digest", hall.owner.secret, hall.owner.decision_key.hex()):
        assert word not in text
    assert running(hall.upkeep.export)(Request("GET", "/"), "org_" + "0" * 32).status == 404


def test_deletion_takes_a_code_erases_names_and_leaves_the_other_organisation_and_both_logs(hall):
    lives(hall)
    other = Person(hall, hall.new_org(), "stranger@example.com")
    hall.store.write_now(lambda tx: tx.org(other.org_id).audit("genesis"))
    hall.clock.pass_(31)
    body = {"email": "owner@example.com", "code": hall.owner.code()}

    async def delete(org_id: str, **more: str):
        return await hall.upkeep.delete(Request("POST", "/", body=json.dumps(body | more).encode()), org_id)

    assert running(delete)(hall.org_id, code="000000").status == 403
    assert running(delete)(other.org_id).status == 404, "nobody deletes what is not theirs"
    hall.clock.pass_(31)
    body["code"] = hall.owner.code()
    assert running(delete)(hall.org_id).status == 200
    left = json.loads(running(hall.upkeep.export)(Request("GET", "/"), hall.org_id).body)["tables"]
    assert {name for name, rows in left.items() if rows} == {"org"} and left["org"][0]["name"] == ""
    assert hall.read(other.org_id, lambda org: len(org.users()) + len(org.devices()) + len(org.connectors())) == 3
    assert hall.kinds()[-1] == "org_deleted"
    hall.store.close()
    invariants._logs_verify(hall.folder)
    assert b"owner@example.com" not in (hall.folder / "ony.db").read_bytes(), "secure_delete: not in free pages either"
    hall.reopened(hall.folder)


# ---------------------------------------------------------------- the commands


def test_the_commands_on_a_real_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    server = Server(folder).start()
    server.admin("phone", "--email", EMAIL, "--number", NUMBER, "--verified")
    backup = server.admin("backup", "--to", str(folder))["file"]
    org_id = server.admin("org", "list")[0]["org_id"]
    assert server.admin("org", "export", org_id, "--to", str(folder / "org.json"))["rows"] > 2
    assert NUMBER not in (folder / "org.json").read_text() and EMAIL in (folder / "org.json").read_text()
    assert oct((folder / "org.json").stat().st_mode & 0o777) == "0o600"
    refused = ony("admin", "restore", backup, "--data", str(server.data))
    assert refused.returncode == 1 and "another server" in refused.stderr
    assert server.stop() == 0
    said = server.admin("restore", backup)
    assert said["rows"] >= 3 and said["kept"]
    assert server.admin("migrate") == {"version": 1}
    server.start()
    assert len(server.admin("device", "list")) == 1
    assert ony("audit", "verify", "--data", str(server.data)).returncode == 0
    server.stop()
