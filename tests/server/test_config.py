"""Settings: which source wins, what is refused and by which name, and that a secret is never shown."""

import json
import os
import subprocess

import pytest

from ony_core import config, program
from ony_core.errors import UsageError

VOICE = {"ONY_VOICE_PROVIDER": "signalwire", "ONY_VOICE_SPACE": "example", "ONY_SERVER_PUBLIC_URL": "https://ony.example.com"}


def load(toml: str = "", environ=None, flags=None, *, folder=None, mode=0o600):
    path = None
    if toml:
        path = folder / "ony.toml"
        path.write_text(toml)
        path.chmod(mode)
    return config.load(str(path) if path else None, environ or {}, flags or {})


def test_without_any_source_the_defaults_are_those_of_the_contract():
    found = load()
    assert (found.server.listen, found.voice.provider) == ("127.0.0.1:8750", "")
    assert (found.policy.code_required, found.policy.decision_deadline, found.policy.verdict_ttl) == ("high", 300, 120)
    assert (found.policy.on_no_verdict, found.payload.attach, found.payload.retention_days) == ("deny", False, 30)


def test_the_environment_wins_over_the_file_and_a_flag_over_both(tmp_path):
    toml = '[server]\nlisten = "127.0.0.1:1"\n[policy]\nverdict_ttl = 60\ndecision_deadline = 60\n'
    found = load(
        toml, {"ONY_SERVER_LISTEN": "127.0.0.1:2", "ONY_POLICY_VERDICT_TTL": "61"}, {"server.listen": "127.0.0.1:3"}, folder=tmp_path
    )
    assert (found.server.listen, found.policy.verdict_ttl, found.policy.decision_deadline) == ("127.0.0.1:3", 61, 60)
    sources = [found.origin[name] for name in ("server.listen", "policy.verdict_ttl", "policy.decision_deadline", "policy.code_required")]
    assert sources == ["flag", "ONY_POLICY_VERDICT_TTL", str(tmp_path / "ony.toml"), "default"]


def test_the_number_calls_come_from_is_called_from_everywhere_outside(tmp_path):
    assert load('[voice]\nfrom = "+15550100000"\n', folder=tmp_path).voice.caller == "+15550100000"
    assert load(environ={"ONY_VOICE_FROM": "+15550100001"}).voice.caller == "+15550100001"


def test_a_secret_can_stand_in_a_file_of_its_own(tmp_path):
    (tmp_path / "token").write_text("PT-hunter2\n")
    assert load(environ={"ONY_VOICE_API_TOKEN_FILE": str(tmp_path / "token")}).voice.api_token == "PT-hunter2"


def test_words_from_the_environment_become_what_the_setting_is():
    found = load(environ={"ONY_PAYLOAD_ATTACH": "true", "ONY_SERVER_TRUSTED_PROXIES": "10.0.0.1, 10.1.0.0/16"})
    assert found.payload.attach is True and found.server.trusted_proxies == ("10.0.0.1", "10.1.0.0/16")


WRONG_ENVIRONMENTS = {
    "deadline too short": ({"ONY_POLICY_DECISION_DEADLINE": "0"}, "policy.decision_deadline"),
    "deadline too long": ({"ONY_POLICY_DECISION_DEADLINE": "841"}, "policy.decision_deadline"),
    "deadline not a number": ({"ONY_POLICY_DECISION_DEADLINE": "3e2"}, "policy.decision_deadline"),
    "verdicts that live too long": ({"ONY_POLICY_VERDICT_TTL": "901"}, "policy.verdict_ttl"),
    "a code asked too late": ({"ONY_POLICY_CODE_REQUIRED": "critical"}, "policy.code_required"),
    "no verdict means yes": ({"ONY_POLICY_ON_NO_VERDICT": "allow"}, "policy.on_no_verdict"),
    "yes is not true": ({"ONY_PAYLOAD_ATTACH": "yes"}, "payload.attach"),
    "keeping for ever": ({"ONY_PAYLOAD_RETENTION_DAYS": "0"}, "payload.retention_days"),
    "an unknown provider": ({"ONY_VOICE_PROVIDER": "carrier-pigeon"}, "voice.provider"),
    "a provider over plain http": ({"ONY_VOICE_BASE_URL": "http://api.example.com/x"}, "voice.base_url"),
    "a provider with a password": ({"ONY_VOICE_BASE_URL": "https://me:secret@api.example.com"}, "voice.base_url"),
    "a space with a dot": ({"ONY_VOICE_SPACE": "example.signalwire.com"}, "voice.space"),
    "not a phone number": ({"ONY_VOICE_FROM": "5550100"}, "voice.from"),
    "not a price": ({"ONY_VOICE_MAX_PRICE": "cheap"}, "voice.max_price"),
    "plain http to the world": ({"ONY_SERVER_PUBLIC_URL": "http://ony.example.com"}, "server.public_url"),
    "a public path": ({"ONY_SERVER_PUBLIC_URL": "https://ony.example.com/ony"}, "server.public_url"),
    "a listener without a port": ({"ONY_SERVER_LISTEN": "127.0.0.1"}, "server.listen"),
    "a listener with a name": ({"ONY_SERVER_LISTEN": "example.com:80"}, "server.listen"),
    "a port that is none": ({"ONY_SERVER_LISTEN": "127.0.0.1:65536"}, "server.listen"),
    "an open listener without TLS": ({"ONY_SERVER_LISTEN": "0.0.0.0:80"}, "server.listen"),
    "a proxy that is no address": ({"ONY_SERVER_TRUSTED_PROXIES": "proxy.local"}, "server.trusted_proxies"),
    "a network with host bits": ({"ONY_SERVER_TRUSTED_PROXIES": "10.0.0.1/8"}, "server.trusted_proxies"),
    "a misspelt variable": ({"ONY_POLICY_VERDICT_TLL": "1"}, "ONY_POLICY_VERDICT_TLL"),
    "a value and a file": ({"ONY_VOICE_API_TOKEN": "a", "ONY_VOICE_API_TOKEN_FILE": "/b"}, "ONY_VOICE_API_TOKEN"),
    "a file that is not there": ({"ONY_VOICE_API_TOKEN_FILE": "/nonexistent/token"}, "ONY_VOICE_API_TOKEN_FILE"),
    "a voice nobody can call back": ({"ONY_VOICE_PROVIDER": "twilio"}, "server.public_url"),
    "a provider without its space": ({**VOICE, "ONY_VOICE_SPACE": ""}, "voice.space"),
}  # fmt: skip


@pytest.mark.parametrize(("environ", "name"), WRONG_ENVIRONMENTS.values(), ids=WRONG_ENVIRONMENTS.keys())
def test_what_cannot_be_is_refused_by_its_name(environ, name):
    with pytest.raises(UsageError) as refused:
        load(environ=environ)
    assert name in str(refused.value) and refused.value.code == 2 and refused.value.hint


WRONG_FILES = {
    "an unknown key": ("[policy]\nverdict_tll = 60\n", "policy.verdict_tll"),
    "an unknown section": ("[polcy]\nverdict_ttl = 60\n", "polcy"),
    "a key without a section": ("verdict_ttl = 60\n", "verdict_ttl"),
    "text for a number": ('[policy]\nverdict_ttl = "60"\n', "policy.verdict_ttl"),
    "true for a number": ("[policy]\nverdict_ttl = true\n", "policy.verdict_ttl"),
    "a number for text": ("[voice]\nspace = 7\n", "voice.space"),
    "text for a list": ('[server]\ntrusted_proxies = "10.0.0.1"\n', "server.trusted_proxies"),
    "a list of numbers": ("[server]\ntrusted_proxies = [1]\n", "server.trusted_proxies"),
    "the inner name of from": ('[voice]\ncaller = "+15550100000"\n', "voice.caller"),
    "not TOML": ("[policy\n", "line 1"),
}


@pytest.mark.parametrize(("toml", "name"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_a_wrong_file_is_refused_by_what_is_wrong_in_it(toml, name, tmp_path):
    with pytest.raises(UsageError) as refused:
        load(toml, folder=tmp_path)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("toml", "mode", "what"),
    [
        ('[voice]\napi_token = "x"\n', 0o644, "anybody may read"),
        ("[policy]\n", 0o620, "changed by others"),
        ("[policy]\n", 0o602, "changed by others"),
    ],
    ids=["a secret for all to read", "the group may write", "anybody may write"],
)
def test_a_file_that_others_reach_is_refused(toml, mode, what, tmp_path):
    with pytest.raises(UsageError, match=what):
        load(toml, folder=tmp_path, mode=mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_secret_for_owner_and_group_is_fine(mode, tmp_path):
    assert load('[voice]\napi_token = "x"\n', folder=tmp_path, mode=mode).voice.api_token == "x"


def test_no_error_quotes_a_secret(tmp_path):
    for toml in ('[voice]\napi_token = ["hunter2"]\n', '[voice]\napi_token = "hunter2\n', '[voice]\nsigning_key = "hunter2" junk\n'):
        with pytest.raises(UsageError) as refused:
            load(toml, folder=tmp_path)
        assert "hunter2" not in str(refused.value)


def test_a_configuration_shows_its_secrets_to_nobody_who_prints_it():
    assert "hunter2" not in repr(load(environ={"ONY_VOICE_API_TOKEN": "hunter2", "ONY_VOICE_SIGNING_KEY": "hunter2"}))


@pytest.mark.parametrize("listen", ["0.0.0.0:8750", "[::]:8750", "10.0.0.5:8750"])
def test_an_open_listener_is_fine_behind_tls(listen):
    assert load(environ={"ONY_SERVER_LISTEN": listen, "ONY_SERVER_PUBLIC_URL": "https://ony.example.com"}).server.listen == listen


@pytest.mark.parametrize(
    ("value", "parts"),
    [("127.0.0.1:8750", ("127.0.0.1", 8750)), ("[::1]:0", ("::1", 0)), ("localhost:65535", ("localhost", 65535))],
)
def test_an_address_has_a_host_and_a_port(value, parts):
    assert config.host_and_port(value) == parts


@pytest.mark.parametrize("value", ["::1:80", "[127.0.0.1]:80", "127.0.0.1:", "127.0.0.1:-1", ":80", "127.0.0.1:80\n", "127.0.0.1:٨٠"])
def test_and_nothing_else_is_one(value):
    with pytest.raises(ValueError):
        config.host_and_port(value)


def test_the_data_folder_is_the_named_one_or_the_one_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "FOLDERS", ("./ony-data", str(tmp_path / "var")))
    assert str(config.data_folder("/srv/ony")) == "/srv/ony"
    assert str(config.data_folder("")) == "ony-data"
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "ony.db").touch()
    assert config.data_folder("") == tmp_path / "var"


# ---------------------------------------------------------------- ony config show


def show(*words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*program.command(), "config", "show", *words], env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
    )


def test_config_show_names_every_setting_its_value_and_its_source():
    done = show("--json", "--listen", "127.0.0.1:9", ONY_POLICY_VERDICT_TTL="60")
    shown = json.loads(done.stdout)
    assert shown.keys() == config.TABLE.keys()
    assert shown["server.listen"] == {"value": "127.0.0.1:9", "from": "flag"}
    assert shown["policy.verdict_ttl"] == {"value": 60, "from": "ONY_POLICY_VERDICT_TTL"}
    assert shown["policy.decision_deadline"] == {"value": 300, "from": "default"}


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["for people", "for programs"])
def test_config_show_masks_every_secret(words):
    secrets = {f"ONY_VOICE_{name}": f"hunter{i}" for i, name in enumerate(("API_TOKEN", "SIGNING_KEY", "OLD_SIGNING_KEY"))}
    done = show(*words, **secrets)
    assert done.returncode == 0 and "hunter" not in done.stdout + done.stderr
    assert done.stdout.count("********") == 3


def test_config_show_refuses_what_a_server_would_refuse():
    done = show(ONY_POLICY_CODE_REQUIRED="never")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ony: policy.code_required must be one of: low, medium, high: ") and done.stderr.count("\n") == 1
