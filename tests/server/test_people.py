"""Who is in, who is asked in, who is shown out; and what people see of phones, machines and decisions."""

import asyncio

import pytest

from ony_core.connector.enrolled import own_code
from ony_core.server import passwords
from ony_core.server.team import INVITED_S, RESET_S
from ony_core.store import org as org_of_store
from tests.server.town import PASSWORD, QUICK, Town, refused, said
from tests.server.world import WRONG, brought_to


@pytest.fixture
def town(tmp_path, monkeypatch):
    monkeypatch.setattr(passwords, "ITERATIONS", QUICK)
    made = Town(tmp_path)
    made.boss = made.person("boss", "admin", second_factor=True)
    made.desk = made.session(made.boss)
    yield made
    made.hall.close()


def invited(town, email: str = "new@example.com", role: str = "member") -> dict:
    return said(town.desk.post("/v1/invitations", {"email": email, "role": role}))


def accept(town, code: str, name: str = "New", password: str = PASSWORD):
    return town.browser().post("/v1/invitations/accept", {"code": code, "name": name, "password": password})


def login(town, email: str, password: str = PASSWORD):
    browser = town.browser()
    return browser, browser.post("/v1/login", {"email": email, "password": password})


# ---------------------------------------------------------------- invitations


def test_an_invitation_becomes_an_account_with_its_role(town):
    made = invited(town, "New@Example.com", "viewer")
    assert accept(town, made["code"].upper().replace("-", " ")).status == 201
    browser, answered = login(town, "new@example.com")
    assert (said(answered), browser.get("/v1/me")["role"]) == ({"next": ""}, "viewer")
    assert [row["role"] for row in town.log("invited")] == ["viewer"]
    assert town.log("user_added")[-1]["invitation_id"] == made["invitation_id"]


def test_an_invitation_is_used_once_and_ends_by_itself(town):
    code = invited(town)["code"]
    assert accept(town, code).status == 201
    assert refused(accept(town, code)) == (403, "bad_code")
    late = invited(town, "late@example.com")["code"]
    town.clock.pass_(INVITED_S)
    assert refused(accept(town, late)) == (403, "bad_code")


def test_of_two_who_accept_at_once_one_is_in(town):
    code = invited(town)["code"]
    wish = {"code": code, "name": "New", "password": PASSWORD}
    from tests.server.town import HOST, ORIGIN, _request

    asked = _request("POST", "/v1/invitations/accept", wish, (("host", HOST), ("origin", ORIGIN)), peer="192.0.2.7")

    async def rush():
        return await asyncio.gather(*(town.router.answer(asked) for _ in range(4)))

    assert sorted(one.status for one in asyncio.run(rush())) == [201, 403, 403, 403]


def test_a_code_is_shown_once_and_kept_as_a_digest(town, tmp_path):
    made = invited(town)
    kept = b"".join((tmp_path / name).read_bytes() for name in ("ony.db", "ony.db-wal"))
    assert made["code"].encode() not in kept and made["code"].replace("-", "").upper().encode() not in kept
    assert made["code"] not in str(town.desk.get("/v1/invitations"))


def test_a_withdrawn_invitation_and_one_that_was_sent_again_are_worth_nothing(town):
    first, second = invited(town), invited(town)
    assert refused(accept(town, first["code"])) == (403, "bad_code")
    assert town.desk.post(f"/v1/invitations/{second['invitation_id']}/withdraw").status == 204
    assert refused(accept(town, second["code"])) == (403, "bad_code")
    assert refused(town.desk.post(f"/v1/invitations/{second['invitation_id']}/withdraw")) == (404, "not_found")


@pytest.mark.parametrize(("email", "role", "answer"), [("nobody", "member", 400), ("a@b\n", "member", 201), ("<a@b>", "member", 400),
                                                       ("new@example.com", "owner", 400), ("boss@example.com", "member", 409)])  # fmt: skip
def test_invitations_that_are_not_sent(town, email, role, answer):
    assert town.desk.post("/v1/invitations", {"email": email, "role": role}).status == answer


@pytest.mark.parametrize("password", ["short", "example-example", "12345678901234567890"])
def test_an_invitation_survives_a_password_that_may_not_be_chosen(town, password):
    code = invited(town)["code"]
    assert refused(accept(town, code, password=password)) == (400, "weak_password")
    assert accept(town, code).status == 201


def test_strangers_make_the_server_hash_nothing(town, monkeypatch):
    monkeypatch.setattr(passwords, "hashed", lambda *given: pytest.fail("hashed for nobody"))
    for code in ("", "a", "a" * 26, "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa-a", "é" * 26):
        assert refused(accept(town, code)) == (403, "bad_code")


# ---------------------------------------------------------------- roles, and the way out


def test_another_role_ends_the_sessions_it_was_not_made_for(town):
    ann = town.person("ann")
    browser = town.session(ann)
    assert said(town.desk.post(f"/v1/users/{ann.user_id}/role", {"role": "viewer"})) == {"user_id": ann.user_id, "role": "viewer"}
    assert refused(browser.ask("GET", "/v1/me")) == (401, "no_session")
    assert {key: town.log("user_role")[-1][key] for key in ("before", "role", "by")} == {
        "before": "member", "role": "viewer", "by": town.boss.user_id}  # fmt: skip


def test_a_disabled_user_loses_sessions_phones_and_machines_and_gets_none_of_them_back(town):
    owner = town.hall.owner
    browser = town.session(type(town.boss)(user_id=owner.user_id, org_id=town.org_id))
    assert refused(town.desk.post(f"/v1/users/{owner.user_id}/disable")) == (409, "last_approver"), "nobody's code would be asked any more"
    assert refused(town.at_socket("POST", f"/admin/users/{owner.user_id}/disable", {})) == (409, "last_approver")
    town.hall.write(lambda org: org.add_totp(town.boss.user_id, "approval", b"sealed"))
    assert town.desk.post(f"/v1/users/{owner.user_id}/disable").status == 200
    assert refused(browser.ask("GET", "/v1/me")) == (401, "no_session")
    assert town.desk.post(f"/v1/users/{owner.user_id}/enable").status == 200
    assert refused(browser.ask("GET", "/v1/me")) == (401, "no_session")
    states = town.hall.read(town.org_id, lambda org: (org.device(owner.device_id).state, org.connector(owner.connector_id).state))
    assert states == ("revoked", "revoked")
    assert {"user_disabled", "device_revoked", "connector_revoked", "user_enabled"} <= set(town.hall.kinds())


@pytest.mark.parametrize("way", ["disable", "viewer", "member"])
def test_the_last_administrator_stays(town, way):
    body, path = ({}, "disable") if way == "disable" else ({"role": way}, "role")
    assert refused(town.desk.post(f"/v1/users/{town.boss.user_id}/{path}", body)) == (409, "last_admin")
    second = town.person("second", "admin")
    town.hall.write(lambda org: org.change_user(second.user_id, state="disabled"))
    assert refused(town.desk.post(f"/v1/users/{town.boss.user_id}/{path}", body)) == (409, "last_admin"), "a disabled one does not count"
    town.hall.write(lambda org: org.change_user(second.user_id, state="active"))
    assert town.desk.post(f"/v1/users/{town.boss.user_id}/{path}", body).status == 200


def test_an_administrator_ends_somebodys_sessions(town):
    ann = town.person("ann")
    browsers = [town.session(ann) for _ in range(2)]
    assert said(town.desk.post(f"/v1/users/{ann.user_id}/end-sessions")) == {"ended": 2}
    assert all(refused(one.ask("GET", "/v1/me")) == (401, "no_session") for one in browsers)


def test_a_reset_gives_a_new_password_and_a_new_second_factor_and_ends_what_was_open(town):
    ann = town.person("ann", second_factor=True)
    browser = town.session(ann)
    codes = said(browser.post("/v1/me/recovery-codes"))["recovery_codes"]
    code = said(town.desk.post(f"/v1/users/{ann.user_id}/reset"))["code"]
    assert browser.ask("GET", "/v1/me").status == 200, "nothing has changed yet"
    assert accept(town, code, password="quite another battery").status == 201
    assert refused(browser.ask("GET", "/v1/me")) == (401, "no_session")
    assert refused(login(town, ann.email)[1]) == (403, "wrong_password")
    fresh, answered = login(town, ann.email, "quite another battery")
    assert said(answered) == {"next": ""}
    assert fresh.get("/v1/me")["second_factor"] is False
    assert fresh.get("/v1/me")["recovery_codes_left"] == 0 and codes
    assert town.log("login_reset")[-1]["user_id"] == ann.user_id


def test_a_reset_ends_within_the_hour_and_with_the_account(town):
    ann = town.person("ann")
    code = said(town.desk.post(f"/v1/users/{ann.user_id}/reset"))["code"]
    town.clock.pass_(RESET_S)
    assert refused(accept(town, code)) == (403, "bad_code")
    town.hall.write(lambda org: org.change_user(ann.user_id, state="disabled"))
    assert refused(town.session(town.boss).post(f"/v1/users/{ann.user_id}/reset")) == (409, "not_active")


# ---------------------------------------------------------------- the local socket


LOCAL = [("/admin/users/invite", {"email": "new@example.com", "role": "member"}, 201), ("/admin/users/{}/role", {"role": "admin"}, 200),
         ("/admin/users/{}/reset", {}, 201), ("/admin/users/{}/enable", {}, 200)]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "done"), LOCAL)
def test_at_the_socket_what_gives_something_takes_an_approvers_code(town, path, body, done):
    path = path.format(town.person("ann").user_id)
    assert refused(town.at_socket("POST", path, body)) == (403, "code_needed")
    assert refused(town.at_socket("POST", path, {**body, "code": WRONG})) == (403, "wrong_code")
    assert refused(town.at_socket("POST", path, {**body, "code": town.hall.owner.code(), "by": "ann@example.com"})) == (
        404,
        "unknown_approver",
    )
    assert town.at_socket("POST", path, {**body, "code": town.hall.owner.code()}).status == done


def test_at_the_socket_the_log_says_whose_code_it_was(town):
    wish = {"email": "new@example.com", "role": "member", "code": town.hall.owner.code()}
    assert town.at_socket("POST", "/admin/users/invite", wish).status == 201
    told = [(row["kind"], row.get("user_id", row.get("by"))) for row in town.hall.logged()[-2:]]
    assert told == [("code", town.hall.owner.user_id), ("invited", "local")]


def test_at_the_socket_a_recovery_code_stands_in_for_a_lost_phone(town):
    owner = town.hall.owner
    made = said(town.session(type(town.boss)(user_id=owner.user_id, org_id=town.org_id)).post("/v1/me/recovery-codes"))["recovery_codes"]
    wish = {"email": "new@example.com", "role": "member", "code": made[0]}
    assert town.at_socket("POST", "/admin/users/invite", wish).status == 201
    assert refused(town.at_socket("POST", "/admin/users/invite", wish)) == (403, "wrong_code")


def test_at_the_socket_what_takes_something_away_takes_no_code(town):
    ann = town.person("ann")
    assert town.at_socket("POST", f"/admin/users/{ann.user_id}/disable", {}).status == 200
    assert town.log("user_disabled")[-1]["by"] == "local"
    assert refused(town.at_socket("POST", f"/admin/users/usr_{'e' * 32}/disable", {})) == (404, "unknown_user")


def test_at_the_socket_an_invitation_names_its_organisation_where_there_are_several(town):
    town.hall.new_org()
    wish = {"email": "new@example.com", "role": "member", "code": town.hall.owner.code()}
    assert refused(town.at_socket("POST", "/admin/users/invite", wish)) == (404, "unknown_org")
    assert town.at_socket("POST", "/admin/users/invite", {**wish, "org": town.org_id}).status == 201


# ---------------------------------------------------------------- phones, machines, decisions


def test_a_phone_is_renamed_and_revoked_and_the_bundle_says_so(town):
    owner = town.hall.owner
    path = f"/v1/devices/{owner.device_id}"
    before = town.hall.read(town.org_id, lambda org: org.row()).policy_version
    assert said(town.desk.post(f"{path}/rename", {"label": "Ann's phone"}))["label"] == "Ann's phone"
    assert refused(town.desk.post(f"{path}/rename", {"label": "a\nb"})) == (400, "bad_label")
    assert town.desk.post(f"{path}/revoke").status == 200
    (listed,) = town.desk.get("/v1/devices")["devices"]
    assert (listed["label"], listed["state"]) == ("Ann's phone", "revoked")
    assert town.hall.read(town.org_id, lambda org: org.row()).policy_version == before + 2
    assert [row["by"] for row in town.log("device_renamed") + town.log("device_revoked")] == [town.boss.user_id] * 2


def test_a_revoked_machine_is_refused_at_its_next_request(town):
    made = said(town.desk.post("/v1/connectors/enroll-code"))
    wish = {"code": made["code"], "name": "laptop", "version": "1", "protocol": 1}
    enrolled = said(town.browser().post("/v1/enroll", wish))
    assert enrolled["user_id"] == town.boss.user_id
    machine = town.browser(authorization=f"Bearer {enrolled['token']}")
    assert machine.ask("GET", "/v1/bundle").status == 200
    path = f"/v1/connectors/{enrolled['connector_id']}"
    assert said(town.desk.post(f"{path}/rename", {"name": "tower"}))["name"] == "tower"
    assert town.desk.post(f"{path}/revoke").status == 200
    assert refused(machine.ask("GET", "/v1/bundle")) == (403, "connector_revoked")
    assert "tower" in str(town.desk.get("/v1/connectors"))


def test_a_code_that_a_machine_shows_is_approved_in_a_session(town):
    shown = said(town.browser().ask("GET", "/v1/server-key"))
    code = own_code(shown, town.clock)
    wish = {"code": code, "name": "tower", "version": "1", "protocol": 1}
    assert refused(town.browser().post("/v1/enroll", wish)) == (403, "bad_code")
    assert town.desk.post("/v1/connectors/approve", {"code": code}).status == 201
    assert said(town.browser().post("/v1/enroll", wish))["user_id"] == town.boss.user_id
    assert refused(town.browser().post("/v1/enroll", wish)) == (403, "bad_code")
    assert refused(town.desk.post("/v1/connectors/approve", {"code": code})) == (409, "known_code")


@pytest.mark.parametrize("way", ["disable", "role", "reset", "password"])
@pytest.mark.parametrize("code", ["the server's", "the machine's"])
def test_an_enrolment_code_that_is_still_open_ends_with_what_its_owner_could_do(town, way, code):
    """Or somebody who is shown out lets a machine of theirs in a moment later."""
    ann = town.person("ann")
    browser = town.session(ann)
    if code == "the server's":
        code = said(browser.post("/v1/connectors/enroll-code"))["code"]
    else:
        code = own_code(said(browser.ask("GET", "/v1/server-key")), town.clock)
        assert browser.post("/v1/connectors/approve", {"code": code}).status == 201
    if way == "password":
        assert browser.post("/v1/me/password", {"old": PASSWORD, "new": "quite another battery"}).status == 200
    elif way == "reset":
        assert accept(town, said(town.desk.post(f"/v1/users/{ann.user_id}/reset"))["code"]).status == 201
    else:
        assert town.desk.post(f"/v1/users/{ann.user_id}/{way}", {"role": "viewer"} if way == "role" else {}).status == 200
    if way == "disable":
        assert town.desk.post(f"/v1/users/{ann.user_id}/enable").status == 200, "and enabling brings it not back"
    wish = {"code": code, "name": "tower", "version": "1", "protocol": 1}
    assert refused(town.browser().post("/v1/enroll", wish)) == (403, "bad_code")


def test_who_is_disabled_confirms_nothing_and_is_given_nothing_at_the_socket(town):
    owner = town.hall.owner
    town.hall.write(lambda org: org.add_totp(town.boss.user_id, "approval", b"sealed"))
    town.hall.write(lambda org: org.freeze(town.clock.now))
    assert town.desk.post(f"/v1/users/{owner.user_id}/disable").status == 200
    code = {"email": "owner@example.com", "code": owner.code()}
    for path, body in (
        ("/admin/thaw", code), ("/admin/keys/rotate", {**code, "key": "verdict"}), ("/admin/totp/renew", code),
        ("/admin/audit/declare-restore", code), ("/admin/enroll-code", {"email": code["email"]}),
        ("/admin/phone", {"email": code["email"], "number": "+15550100199", "verified": True}),
        ("/admin/policy", {**code, "match": "program git verb status", "project": "", "risk": "high", "recipe": ""}),
    ):  # fmt: skip
        assert refused(town.at_socket("POST", path, body)) == (404, "unknown_user"), path
    assert town.hall.read(town.org_id, lambda org: org.row()).frozen_at is not None


def test_a_code_for_another_key_or_of_another_shape_is_not_approved(town):
    for code in (own_code({"server_key": "ed25519:" + "1" * 64}, town.clock), "ony-1", "", "é" * 35):
        assert refused(town.desk.post("/v1/connectors/approve", {"code": code})) == (403, "bad_code")


def many(town, states: tuple[str, ...]):
    async def live():
        return [await brought_to(town.hall, state) for state in states]

    made = asyncio.run(live())
    town.hall.write(lambda org: [org._db.execute("UPDATE handoff SET created_at = created_at + ? WHERE id = ?", (n, one.request_id))
                                 for n, one in enumerate(made)])  # fmt: skip
    return made


def test_the_history_says_who_decided_what(town):
    (asked,) = many(town, ("denied",))
    (row,) = town.desk.get("/v1/history")["handoffs"]
    assert (row["request_id"], row["state"], row["reason"]) == (asked.request_id, "denied", "by_voice")
    assert row["decided_by"] == {"device_id": town.hall.owner.device_id, "label": "Phone", "user_id": town.hall.owner.user_id}
    whole = town.desk.get(f"/v1/history/{asked.request_id}")
    assert whole["verdict"]["signature"].startswith("hmac-sha256:") and whole["facts"][0]["program"] == "git"


def test_the_history_comes_page_by_page_newest_first_and_each_request_once(town):
    made = many(town, ("denied", "used", "denied", "cancelled", "denied"))
    wanted, seen, place = [one.request_id for one in reversed(made)], [], ""
    while place is not None:
        page = town.desk.get(f"/v1/history?limit=2{f'&before={place}' if place else ''}")
        seen += [row["request_id"] for row in page["handoffs"]]
        place = page["next"]
    assert seen == wanted


@pytest.mark.parametrize("filters", ["", "&state=used", "&risk=critical"])
def test_a_page_looks_through_so_many_requests_and_the_pages_together_through_all(town, monkeypatch, filters):
    """Whoever may read the history could otherwise make everybody wait for what is not in it."""
    made = many(town, ("cancelled", "denied", "cancelled", "used", "cancelled", "denied", "cancelled"))
    wanted = [one.request_id for one in reversed(made) if not filters or (filters == "&state=used" and town.hall.state(one) == "used")]
    monkeypatch.setattr(org_of_store, "LOOKED_THROUGH", 2)
    seen, place, pages = [], "", 0
    while place is not None:
        page = town.desk.get(f"/v1/history?limit=50{filters}{f'&before={place}' if place else ''}")
        assert len(page["handoffs"]) <= 2
        seen += [row["request_id"] for row in page["handoffs"]]
        place, pages = page["next"], pages + 1
    assert seen == wanted and pages == 4


def test_requests_of_the_same_second_are_not_lost_between_pages(town):
    made = many(town, ("denied", "used", "denied"))
    town.hall.write(lambda org: org._db.execute("UPDATE handoff SET created_at = 1"))
    first = town.desk.get("/v1/history?limit=1")
    rest = town.desk.get(f"/v1/history?before={first['next']}")
    assert {row["request_id"] for row in first["handoffs"] + rest["handoffs"]} == {one.request_id for one in made}


@pytest.mark.parametrize(("query", "many_"), [("state=denied", 2), ("state=used", 1), ("risk=high", 3), ("risk=critical", 0),
                                              ("action=git.push", 3), ("decided_by={device}", 3), ("connector={connector}", 3),
                                              ("from=2020-01-01T00:00:00Z", 3), ("to=2020-01-01T00:00:00Z", 0),
                                              ("state=denied&risk=high&limit=1", 1)])  # fmt: skip
def test_the_history_is_filtered(town, query, many_):
    many(town, ("denied", "used", "denied"))
    owner = town.hall.owner
    found = town.desk.get("/v1/history?" + query.format(device=owner.device_id, connector=owner.connector_id))["handoffs"]
    assert len(found) == (many_ if "action" not in query else len([row for row in found if row["action"] == "git.push"]))


@pytest.mark.parametrize("query", ["state=x", "state=denied&state=used", "limit=0", "limit=201", "limit=-1", "from=yesterday", "who=me",
                                   "before=' OR 1=1", "risk=high'--", "state"])  # fmt: skip
def test_filters_that_are_none_are_malformed(town, query):
    assert refused(town.desk.ask("GET", f"/v1/history?{query}")) == (400, "malformed")


def test_modes_and_rules_are_shown(town):
    from ony_core.store import rows

    owner = town.hall.owner
    town.hall.write(lambda org: org.set_mode(rows.Mode(owner.connector_id, "", "away", 0, 0)))
    assert [(one["connector_id"], one["mode"]) for one in town.desk.get("/v1/modes")["modes"]] == [(owner.connector_id, "away")]
    assert town.desk.get("/v1/policies") == {"rules": []}


# ---------------------------------------------------------------- names

STEERS = {"an escape of eight bits": "a\x9b31mred", "the other direction": "a\u202egnp.exe", "an isolate": "a\u2066b", "a line": "a\u2028b",
          "nothing to be seen": "a\u200bnn", "a byte order mark": "\ufeffann", "a tag": "a\U000e0041", "a control": "a\x07",
          "half of markup": "a<b"}  # fmt: skip


@pytest.mark.parametrize("text", STEERS.values(), ids=STEERS)
def test_a_name_that_would_not_be_seen_as_it_is_is_none(town, text):
    """It is shown in terminals and beside decisions, to people who have to tell one from another."""
    device = town.hall.owner.device_id
    assert refused(town.desk.post("/v1/me/profile", {"name": text, "timezone": "UTC"})) == (400, "bad_profile")
    assert refused(town.desk.post(f"/v1/devices/{device}/rename", {"label": text})) == (400, "bad_label")
    assert refused(town.desk.post("/v1/invitations", {"email": f"{text}@example.com", "role": "viewer"})) == (400, "bad_invitation")
    code = said(town.desk.post("/v1/invitations", {"email": "new@example.com", "role": "viewer"}))["code"]
    wish = {"code": code, "name": text, "password": "correct horse battery"}
    assert refused(town.browser().post("/v1/invitations/accept", wish)) == (400, "bad_name")


@pytest.mark.parametrize("text", ["Zoë O'Neill", "李小龍", "محمد", "Ann 🙂", "x" * 40])
def test_names_of_people_are_names(town, text):
    assert town.desk.post("/v1/me/profile", {"name": text, "timezone": "UTC"}).status == 200
    assert town.desk.post(f"/v1/devices/{town.hall.owner.device_id}/rename", {"label": text}).status == 200
