"""Nothing that a call, its files or its place says of itself leaves: neither whole nor as an eight-character part of it.

What leaves is built the way the connector and the server build it: the facts, the request's bytes, every action's words, every document
spoken on the call.
"""

import random
import string
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import canon, handoff
from ony_core.agents import claude
from ony_core.channels import laml, voice
from ony_core.connector import digest, owner
from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.handoff import MAX_FACTS
from ony_core.model import Assessment, ToolCall
from ony_core.taxonomy import assess

PART = 8
KEY = b"k" * 32
DIGITS_AND_LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits

# detector class -> (what stands before the secret part, its alphabet, its length)
CLASSES = {
    "aws key id": ("AKIA", UPPER, 16),
    "aws session": ("ASIA", UPPER, 16),
    "github": ("ghp_", DIGITS_AND_LETTERS, 36),
    "github fine-grained": ("github_pat_", DIGITS_AND_LETTERS, 60),
    "gitlab": ("glpat-", DIGITS_AND_LETTERS, 20),
    "slack": ("xoxb-", DIGITS_AND_LETTERS, 24),
    "openai": ("sk-", DIGITS_AND_LETTERS, 48),
    "anthropic": ("sk-ant-api03-", DIGITS_AND_LETTERS + "-_", 80),
    "basic auth": ("Basic ", DIGITS_AND_LETTERS, 32),
    "user and password in a URL": ("https://app:", DIGITS_AND_LETTERS, 18),
    "e-mail": ("mailto:", DIGITS_AND_LETTERS + ".", 24),
    "phone number": ("+1", string.digits, 10),
    "card number": ("4", string.digits, 15),
    "stripe": ("sk_live_", DIGITS_AND_LETTERS, 24),
    "google": ("AIza", DIGITS_AND_LETTERS, 35),
    "npm": ("npm_", DIGITS_AND_LETTERS, 36),
    "pypi": ("pypi-", DIGITS_AND_LETTERS, 50),
    "vault": ("hvs.", DIGITS_AND_LETTERS, 24),
    "sendgrid": ("SG.", DIGITS_AND_LETTERS, 43),
    "digitalocean": ("dop_v1_", HEX, 64),
    "mailgun": ("key-", HEX, 32),
    "web token": ("eyJ", DIGITS_AND_LETTERS, 40),
    "database url": ("postgres://app:", DIGITS_AND_LETTERS, 20),
    "assignment": ("password=", DIGITS_AND_LETTERS, 16),
    "hex": ("", HEX, 40),
    "base64": ("", DIGITS_AND_LETTERS + "+/", 44),
    "private key": ("-----BEGIN PRIVATE KEY-----", DIGITS_AND_LETTERS, 64),
}

COMMANDS = [
    "{0}",
    "{0} --version",
    "./{0}",
    "/usr/bin/{0} delete",
    "{0}=1 ls",
    "export A={0}",
    "PASSWORD={0} npm publish",
    "rm -rf {0}",
    "rm -rf /srv/{0}",
    "> {0}",
    "git push --force origin {0}",
    "git push {0} main",
    "git branch -D {0}",
    "git checkout {0}",
    "git commit -m {0}",
    "git -c alias.{0}=!{0} {0}",
    "git remote add {0} https://{0}@example.org/{0}.git",
    "git reset --hard {0}",
    "git tag -d {0}",
    "git config user.{0} {0}",
    "terraform workspace select {0} && terraform destroy -target={0}",
    "acme {0} deploy",
    "terraform workspace new {0}",
    "v={0}; git push origin ${{v#x}} $v",
    "a=({0} b); rm -rf \"${{a[@]}}\"",
    "alias {0}='{0}'; {0}",
    "xargs -0 rm <<< {0}",
    "pwsh -c 'Remove-Item {0}'",
    "pulumi up --stack {0}",
    "gh api -X DELETE repos/{0}/{0}",
    "terraform -chdir={0} apply -var token={0}",
    "kubectl --context {0} -n {0} delete pod {0}",
    "kubectl create secret generic {0} --from-literal={0}={0}",
    "helm upgrade {0} {0} --set token={0}",
    "aws --profile {0} s3 rm s3://{0}/{0} --recursive",
    "aws {0} delete-{0} --{0} {0}",
    "gcloud {0} delete {0} --project {0}",
    "az vm delete -n {0}",
    "docker run -e T={0} -v {0}:/x {0}",
    "docker push {0}:{0}",
    "docker exec {0} {0}",
    "ssh {0}@{0} {0}",
    "scp {0} {0}:{0}",
    "curl -H 'Authorization: Bearer {0}' https://{0}.example/{0}?{0}={0}",
    "curl -d {0} https://{0}",
    "wget --header={0} {0}",
    "psql postgres://{0}:{0}@{0}/{0} -c 'DROP TABLE \"{0}\"'",
    "psql -c \"DELETE FROM t WHERE k = '{0}'\"",
    'psql <<E\nUPDATE "{0}" SET "{0}" = \'{0}\';\nE',
    "mysql -p{0} {0} -e 'TRUNCATE `{0}`'",
    "redis-cli -a {0} DEL {0}",
    "mongosh {0} --eval 'db.{0}.drop()'",
    "npm install {0}",
    "npm run {0}",
    "npm publish --otp {0}",
    "pip install --index-url https://{0}@{0} {0}",
    "make {0}",
    "python3 {0}.py {0}",
    "python3 -m {0}",
    'python3 -c \'import os; os.system("{0}"); os.remove("{0}")\'',
    'node -e \'require("child_process").exec("{0}")\'',
    "bash -c '{0}'",
    "bash {0}.sh",
    "eval {0}",
    "cat <<E | sh\n{0}\nE",
    "cat <<{0} > x\nhi\n{0}",
    "cat > {0} <<'E'\n{0}\nE",
    "{0}() {{ rm -rf /; }}; {0}",
    "alias {0}='rm -rf {0}'",
    "trap '{0}' EXIT",
    "crontab {0}",
    "echo {0} | at {0}",
    "tmux send-keys -t {0} {0}",
    "systemctl stop {0}",
    "gh repo delete {0}/{0}",
    "gh secret set {0} -b {0}",
    "vault kv put secret/{0} {0}={0}",
    "heroku config:set {0}={0} -a {0}",
    "ony mode off --session {0}",
    "ony explain {0}",
    "claude -p {0} --{0}",
    "for {0} in {0}; do rm ${0}; done",
    "case {0} in {0}) rm {0};; esac",
    "if ( {0}",
    "'{0}",
    "$({0})",
    "{0} | {0} && {0}",
    "cd {0} && rm -rf *",
    "chmod 777 {0}",
    "dd of=/dev/{0}",
    "mount {0} {0}",
    "kill -9 {0}",
    "iptables -A {0}",
    "useradd {0}",
    "openssl enc -k {0}",
    "gpg --delete-key {0}",
    "# {0}",
    "sudo -u {0} {0}",
]
TOOLS = [
    "Bash",
    "Write",
    "Edit",
    "MultiEdit",
    "Read",
    "Grep",
    "Glob",
    "WebFetch",
    "WebSearch",
    "Agent",
    "Skill",
    "CronCreate",
    "NotebookEdit",
    "apply_patch",
    "shell",
    "TodoWrite",
]
FIELDS = [
    "command",
    "description",
    "file_path",
    "path",
    "content",
    "old_string",
    "new_string",
    "url",
    "query",
    "prompt",
    "pattern",
    "notebook_path",
    "new_source",
    "input",
    "glob",
    "skill",
    "cron",
    "subagent_type",
]


def place(text: str) -> DictPlace:
    """A project whose files, branches and clouds are all called after the text, none of it known before the session."""
    scripts = f'{{"name":"{text}","scripts":{{"{text}":"{text} && rm -rf {text}","test":"curl {text}"}}}}'.encode()
    files = {
        "/project/Makefile": f"{text}:\n\t{text}\n\trm -rf {text}\n".encode(),
        "/project/package.json": scripts,
        f"/project/{text}.sh": f"#!/bin/{text}\n{text}\nrm -rf {text}\n".encode(),
        f"/project/{text}.py": f"import {text}\n".encode(),
    }
    names = (
        "git_default_branch",
        "git_branch",
        "git_head",
        "git_remote",
        "kube_context",
        "kube_namespace",
        "workspace",
        "aws_profile",
        "gcloud_project",
    )
    return DictPlace(files, f"/project/{text}", {**dict.fromkeys(names, text), "project_root": "/project"})


def call(tool: str, given: dict[str, Any], text: str) -> ToolCall:
    """The text stands in every field that an agent fills in by itself."""
    return ToolCall(claude.AGENT, f"session-{text}", tool, given, f"/project/{text}", text, text, text)


def leaves(asked: ToolCall, where: DictPlace) -> str:
    """Everything that would be sent, shown or spoken for this call."""
    facts = derive(asked, where)
    found = assess(facts)
    words = [word for action in found.actions for word in (action.key, action.risk, action.title, action.rule, action.why)]
    return "\n".join(
        [canon.dumps(handoff.facts_to_wire(facts)).decode(), *words, *_spoken(asked, found), _request(asked, where, facts[:MAX_FACTS])]
    )


def _request(asked: ToolCall, where: DictPlace, facts: tuple) -> str:
    """The bytes of the request, as a held call would make them."""
    from ony_core.model import Evidence

    session = digest.alias(KEY, asked.agent, asked.session)
    project = owner.project_of(asked.cwd, {"/elsewhere": "elsewhere"})
    mark = digest.request(KEY, asked, session, Evidence())
    body = handoff.request_to_wire(
        "req_" + "0" * 32, session, asked.agent, claude.public_tool(asked.tool), "on", project, facts, mark, None
    )
    if facts:
        handoff.request_from_wire(body)  # what a server would not take is no proof of what it learns
    return body.decode()


def _spoken(asked: ToolCall, found: Assessment) -> Iterator[str]:
    titles = tuple(action.title for action in found.actions)
    talk = voice.Talk(asked.agent, owner.project_of(asked.cwd, {}), titles, found.risk, "42", "on")
    yield voice.summary(talk)
    turn = voice.begin()
    for digits in ("5", "9", "4", "1"):
        if turn.document is not None:
            yield laml.render(turn.document, "https://ony.example/voice").decode()
        turn = voice.press(turn.leg, digits, 5000, talk)
        if turn.wish is not None:
            turn = voice.settle(turn.leg, turn.wish, "code_needed", talk)
    if turn.document is not None:
        yield laml.render(turn.document, "https://ony.example/voice").decode()


def parts(text: str) -> list[str]:
    return [text[at : at + PART] for at in range(len(text) - PART + 1)]


def check(asked: ToolCall, where: DictPlace, secret: str) -> None:
    said = leaves(asked, where)
    leaked = [part for part in parts(secret) if part in said]
    assert not leaked, (asked.tool, asked.input, leaked)


def _dull(text: str) -> bool:
    """Random letters may spell a word of the tables by chance; with digits inside every part they cannot."""
    return all(any(c.isdigit() for c in part) for part in parts(text))


@st.composite
def planted(draw: Callable) -> tuple[str, str]:
    """(the text as it stands in the call, the part of it that must not leave)."""
    prefix, alphabet, length = draw(
        st.sampled_from([*CLASSES.values(), ("", DIGITS_AND_LETTERS, 12), ("", DIGITS_AND_LETTERS, 30), ("x-", DIGITS_AND_LETTERS, 16)])
    )
    seeded = random.Random(draw(st.integers(0, 2**32)))
    while not _dull(secret := "".join(seeded.choice(alphabet) for _ in range(length))):
        pass
    return prefix + secret, secret


@given(texts=planted(), which=st.integers(0, len(COMMANDS) - 1), more=st.integers(0, len(COMMANDS) - 1))
def test_a_command_keeps_what_it_holds(texts: tuple[str, str], which: int, more: int) -> None:
    text, secret = texts
    for template in (COMMANDS[which], COMMANDS[which] + "; " + COMMANDS[more]):
        check(call("Bash", {"command": template.format(text), "description": text}, text), place(text), secret)


@pytest.mark.parametrize("template", COMMANDS)
def test_each_command_keeps_a_token_and_a_plain_random_name(template: str) -> None:
    for prefix, secret in (("ghp_", "a1B2c3D4e5" * 4), ("", "q7w8e9r0t1y2"), ("password=", "z9x8c7v6b5n4m3")):
        check(call("Bash", {"command": template.format(prefix + secret)}, prefix + secret), place(prefix + secret), secret)


@given(
    texts=planted(),
    tool=st.sampled_from(TOOLS),
    form=st.sampled_from(["{0}", "https://{0}.example/{0}?{0}", "/project/{0}", "/home/dev/.ssh/{0}", "~/{0}/.env", "rm -rf {0}"]),
)
def test_a_tools_fields_stay(texts: tuple[str, str], tool: str, form: str) -> None:
    text, secret = texts
    check(call(tool, {name: form.format(text) for name in FIELDS} | {text: text, "more": [{text: [text]}]}, text), place(text), secret)


@given(
    texts=planted(),
    form=st.sampled_from(
        [
            "mcp__{0}__{0}",
            "mcp__github__{0}",
            "mcp__{0}__get_x",
            "mcp__{0}__delete",
            "{0}",
            "mcp__github__delete_{0}",
            "get_{0}",
            "mcp__{0}",
        ]
    ),
)
def test_names_of_tools_and_servers_stay(texts: tuple[str, str], form: str) -> None:
    text, secret = texts
    check(call(form.format(text), {text: text, "path": text, "url": f"https://{text}"}, text), place(text), secret)


@given(
    texts=planted(),
    template=st.sampled_from(
        [c for c in COMMANDS if c.startswith(("git", "kubectl", "terraform", "aws", "ssh", "helm", "gcloud", "docker", "psql"))]
    ),
)
def test_a_secret_that_was_known_as_a_name_before_stays_too(texts: tuple[str, str], template: str) -> None:
    """Only for what a detector knows: a short plain name that was known before is what a target is for."""
    text, secret = texts
    if not any(
        text.startswith(prefix) and len(text) == len(prefix) + length
        for prefix, _, length in CLASSES.values()
        if prefix and prefix[0] not in "-p"
    ):
        return
    kinds = (
        "branch",
        "workspace",
        "host",
        "namespace",
        "kube_context",
        "environment",
        "package",
        "table",
        "database",
        "remote",
        "profile",
        "project",
        "bucket",
    )
    where = DictPlace({}, "/project", {"git_branch": text, "git_default_branch": "main"}, [(kind, text) for kind in kinds])
    check(call("Bash", {"command": template.format(text)}, text), where, secret)


def test_a_leak_would_be_seen() -> None:
    where = DictPlace(names=[("branch", "q7w8e9r0t1y2")])
    with pytest.raises(AssertionError):
        check(call("Bash", {"command": "git push origin q7w8e9r0t1y2"}, "x"), where, "q7w8e9r0t1y2")
