"""The gate in and out of settings files of many shapes: the user's bytes stay, our entry is whole, nothing of ours is left behind."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core.agents.event import Notice
from ony_core.connector import home
from ony_core.connector.install import claude, jsontext
from ony_core.errors import Malformed, OnyError

SHAPES = {
    "an empty object": "{}",
    "an empty object and a line end": "{}\n",
    "spaces only": "  \n",
    "two spaces": '{\n  "model": "opus",\n  "permissions": {\n    "allow": ["Bash(ls:*)"]\n  }\n}\n',
    "four spaces": '{\n    "model": "opus"\n}\n',
    "tabs": '{\n\t"model": "opus",\n\t"env": {"A": "b"}\n}',
    "one line": '{"model":"opus","x":[1,2,{"y":null}]}',
    "windows line ends": '{\r\n  "model": "opus"\r\n}\r\n',
    "numbers and escapes in odd spellings": '{"a": 1.0, "b": 1e3, "c": "\\u00e9", "d": "é", "e": -0, "f": 12345678901234567890}',
    "odd spacing": '{ "a" :1 ,\n\n "b":   [ ]  ,"c" : { } }  \n\n',
    "empty hooks": '{"hooks": {}}',
    "empty hooks with a space": '{"hooks": { }}',
    "an empty list of the event": '{"hooks": {"PreToolUse": []}}',
    "another hook on the same event": '{\n  "hooks": {\n    "PreToolUse": [\n      {"matcher": "Bash", "hooks": []}\n    ]\n  }\n}\n',
    "hooks of other events": '{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}, "z": 1}',
    "hooks in the middle": '{\n  "a": 1,\n  "hooks": {"ConfigChange": [{"hooks": []}], "PreToolUse": [{"matcher": "E"}]},\n  "b": 2\n}',
    "keys of the same name elsewhere": '{"env": {"hooks": "PreToolUse"}, "hooks": {"Stop": []}, "PreToolUse": []}',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return home.opened(tmp_path / "ony", make=True)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "claude").mkdir()
    return tmp_path / "claude" / "settings.json"


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_in_and_out_gives_the_very_same_bytes_back(folder, settings, text):
    settings.write_bytes(text.encode())
    assert claude.install(folder, settings)
    assert claude.installed(folder, settings) == ""
    assert claude.uninstall(folder, settings)
    assert settings.read_bytes() == text.encode()
    assert left_in(folder) == []


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_with_the_gate_in_everything_else_reads_as_before(folder, settings, text):
    settings.write_bytes(text.encode())
    claude.install(folder, settings)
    before, after = json.loads(text.strip() or "{}"), json.loads(settings.read_text())
    ours = claude.entries_for(folder)
    for event, group in ours.items():
        assert after["hooks"][event].pop() == group
        assert after["hooks"][event] == before.get("hooks", {}).get(event, [])
    for event in ours:
        if event not in before.get("hooks", {}):
            del after["hooks"][event]
    if "hooks" not in before:
        del after["hooks"]
    assert after == before
    assert list(after) == list(before)


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_every_line_of_the_users_is_still_there_byte_for_byte(folder, settings, text):
    settings.write_bytes(text.encode())
    claude.install(folder, settings)
    after = settings.read_bytes().decode()
    at = 0
    for letter in (c for c in text if not c.isspace()):  # brackets may move apart; nothing is dropped, reordered or spelled anew
        at = after.index(letter, at) + 1


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_the_users_later_edits_survive_the_way_out(folder, settings, text):
    settings.write_bytes(text.encode())
    claude.install(folder, settings)
    root = jsontext.parse(settings.read_text())
    settings.write_text(jsontext.add(settings.read_text(), root, {"mine": [1]}, "later"))
    assert claude.uninstall(folder, settings)
    assert claude.MARK not in settings.read_text() and "hook.py" not in settings.read_text()
    after, before = json.loads(settings.read_text()), json.loads(text.strip() or "{}")
    assert after.pop("later") == {"mine": [1]}
    assert without_empty_hooks(after) == without_empty_hooks(before)
    assert left_in(folder) == []


def test_a_second_time_changes_nothing(folder, settings):
    settings.write_text('{"a": 1}')
    assert claude.install(folder, settings)
    once = settings.read_bytes()
    assert not claude.install(folder, settings)
    assert settings.read_bytes() == once
    claude.uninstall(folder, settings)
    assert settings.read_text() == '{"a": 1}'


def test_an_older_entry_of_ours_is_replaced_and_not_doubled(folder, settings):
    settings.write_text('{"a": 1}')
    claude.install(folder, settings)
    settings.write_text(settings.read_text().replace("claude 960", "claude 17"))
    assert "missing or changed" in claude.installed(folder, settings)
    assert claude.install(folder, settings)
    assert settings.read_text().count(claude.MARK) == 2
    assert claude.installed(folder, settings) == ""
    claude.uninstall(folder, settings)
    assert json.loads(settings.read_text()) == {"a": 1}


def test_a_file_that_did_not_exist_is_gone_again_with_its_folder(folder, tmp_path):
    settings = tmp_path / "proj" / ".claude" / "settings.json"
    (tmp_path / "proj").mkdir()
    claude.install(folder, settings)
    assert settings.stat().st_mode & 0o777 == 0o600
    assert claude.uninstall(folder, settings)
    assert list((tmp_path / "proj").iterdir()) == []
    assert not claude.uninstall(folder, settings)


REFUSED = {
    "half a file": '{"a": 1',
    "a comment": '{\n  // mine\n  "a": 1\n}',
    "a trailing comma": '{"a": 1,}',
    "a repeated key": '{"hooks": {}, "hooks": {}}',
    "a list": "[]",
    "a text": '"x"',
    "two values": "{} {}",
    "hooks that are a list": '{"hooks": []}',
    "an event that is an object": '{"hooks": {"PreToolUse": {}}}',
    "a byte order mark": "\ufeff{}",
    "single quotes": "{'a': 1}",
    "nested too deeply": '{"a":' * 70 + "1" + "}" * 70,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_not_sound_is_left_alone_with_a_clear_line(folder, settings, text):
    settings.write_bytes(text.encode())
    with pytest.raises(OnyError, match="nothing was changed"):
        claude.install(folder, settings)
    assert settings.read_bytes() == text.encode()
    assert left_in(folder) == []


def test_bytes_that_are_not_text_are_left_alone(folder, settings):
    settings.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(OnyError, match="UTF-8"):
        claude.install(folder, settings)


def test_a_symbolic_link_stays_one_and_the_mode_stays(folder, settings, tmp_path):
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    real.chmod(0o640)
    settings.symlink_to(real)
    claude.install(folder, settings)
    assert settings.is_symlink() and real.stat().st_mode & 0o777 == 0o640
    assert claude.MARK in real.read_text()
    claude.uninstall(folder, settings)
    assert settings.is_symlink() and real.read_text() == "{}"


def test_the_entry_is_the_one_the_fact_sheet_asks_for(folder, settings):
    claude.install(folder, settings)
    group = json.loads(settings.read_text())["hooks"]["PreToolUse"][0]
    assert group["matcher"] == "*"
    entry = group["hooks"][0]
    assert (entry["type"], entry["timeout"], entry["onFailure"]) == ("command", 86400, "block")
    words = entry["command"].split()
    assert os.path.isabs(words[0]) and words[1:3] == ["-I", "-S"]
    assert words[3:8] == [str(folder / "hook.py"), str(folder / "ony.sock"), str(os.getuid()), "claude", "960"]


def test_the_installed_line_blocks_with_empty_stdout_when_the_hook_dies_any_death(folder, settings):
    claude.install(folder, settings)
    line = claude.command_for(folder)
    deaths = {
        "no daemon": None,
        "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "exit 1": "raise SystemExit(1)",
        "exit 3 with output kept back": "import os; os._exit(3)",
        "broken": "this is not python",
    }
    for name, code in deaths.items():
        if code is not None:
            home.write(folder / "hook.py", code.encode(), 0o500)
        done = subprocess.run(["/bin/sh", "-c", line], input=b"{}", capture_output=True, timeout=30, check=False)
        assert (done.returncode, done.stdout) == (2, b""), name
        assert b"blocked" in done.stderr, name
    (folder / "hook.py").unlink()
    assert subprocess.run(["/bin/sh", "-c", line], input=b"{}", capture_output=True, timeout=30, check=False).returncode == 2


STARTS = {
    "its code is gone": lambda folder: (folder / "hook_code.py").unlink(),
    "its code is broken": lambda folder: home.write(folder / "hook_code.py", b"this is not python", 0o500),
    "its code fails at once": lambda folder: home.write(folder / "hook_code.py", b"raise RuntimeError('hunter2')", 0o500),
    "its code has no main": lambda folder: home.write(folder / "hook_code.py", b"", 0o500),
    "its byte code is garbage": lambda folder: [cache.write_bytes(b"garbage") for cache in (folder / "__pycache__").iterdir()],
}


@pytest.mark.parametrize("spoil", STARTS.values(), ids=STARTS.keys())
def test_a_hook_that_cannot_start_blocks_with_one_line_also_without_its_wrapper(folder, settings, spoil):
    claude.install(folder, settings)
    spoil(folder)
    argv = shlex.split(claude.command_for(folder).partition("||")[0])
    done = subprocess.run(argv, input=b"{}", capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert done.stderr.startswith(b"ony: ") and b"hunter2" not in done.stderr


def test_the_installed_hook_is_not_compiled_anew_for_each_call(folder, settings):
    claude.install(folder, settings)
    assert [cache.name.split(".")[0] for cache in (folder / "__pycache__").iterdir()] == ["hook_code"]


def test_paths_with_spaces_and_quotes_do_not_leave_their_word(tmp_path, settings):
    folder = home.opened(tmp_path / "o'n y; touch x", make=True)
    claude.install(folder, settings)
    done = subprocess.run(
        ["/bin/sh", "-c", claude.command_for(folder)], input=b"{}", capture_output=True, cwd=tmp_path, timeout=30, check=False
    )
    assert done.returncode == 2 and b"daemon is not running" in done.stderr
    assert not (tmp_path / "x").exists()


HARM = {
    "hooks switched off": ('{"disableAllHooks": true}', "project_settings", True),
    "loader variables": ('{"env": {"LD_PRELOAD": "/tmp/x.so"}}', "local_settings", True),
    "the simple mode": ('{"env": {"CLAUDE_CODE_SIMPLE": "1"}}', "project_settings", True),
    "a broken file": ("{", "project_settings", True),
    "an ordinary change": ('{"model": "opus", "env": {"FOO": "1"}}', "project_settings", False),
    "hooks switched on": ('{"disableAllHooks": false}', "project_settings", False),
    "a skill": ('{"disableAllHooks": true}', "skills", False),
}


@pytest.mark.parametrize(("text", "source", "harms"), HARM.values(), ids=HARM.keys())
def test_a_change_of_settings_is_vetoed_where_it_weakens_the_gate(folder, settings, text, source, harms):
    settings.write_text(text)
    assert bool(claude.harm(folder, Notice("ConfigChange", "s", source, str(settings)))) is harms


@pytest.mark.parametrize("source", ["user_settings", "project_settings"])
def test_settings_that_held_the_gate_and_lose_it_are_vetoed(folder, settings, source):
    claude.install(folder, settings)
    notice = Notice("ConfigChange", "s", source, str(settings))
    assert claude.harm(folder, notice) == ""
    with_gate = settings.read_text()
    settings.write_text("{}")
    assert claude.harm(folder, notice) == "the gate is missing in the changed settings"
    settings.unlink()
    assert claude.harm(folder, notice) == "the gate is missing in the changed settings"
    settings.write_text(with_gate)
    claude.uninstall(folder, settings)
    assert claude.harm(folder, notice) == ""


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=12),
       st.sampled_from([None, 1, 2, "\t"]))  # fmt: skip
def test_the_scanner_reads_what_json_reads_and_edits_undo_each_other(value, indent):
    text = json.dumps({"root": value, "list": [1]}, indent=indent)
    root = jsontext.parse(text)
    assert root.value == json.loads(text)
    longer = jsontext.add(text, root, {"new": [value]}, "added")
    assert json.loads(longer) == {**json.loads(text), "added": {"new": [value]}}
    assert jsontext.cut(longer, jsontext.parse(longer), 2) == text


@given(st.text(alphabet='{}[]",:1-.etrufalsn \n\\', max_size=20))
def test_the_scanner_refuses_what_json_refuses(text):
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(Malformed):
            jsontext.parse(text)
        return
    try:
        assert jsontext.parse(text).value == expected
    except Malformed as error:
        assert "repeated" in str(error)


def without_empty_hooks(value: dict) -> dict:
    hooks = {event: groups for event, groups in value.get("hooks", {}).items() if groups}
    return {key: item for key, item in {**value, "hooks": hooks}.items() if key != "hooks" or hooks}


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in ("heads", "log"))


# -------------------------------------------------------------------- what would not hold, and what was the user's


@pytest.mark.parametrize("text", ['{"disableAllHooks": true}', '{"disableAllHooks": "true"}', '{"disableAllHooks": 1, "a": 2}'])
def test_settings_that_switch_hooks_off_are_not_said_to_hold_the_gate(folder, settings, text):
    settings.write_text(text)
    with pytest.raises(OnyError, match="disableAllHooks"):
        claude.install(folder, settings)
    assert settings.read_text() == text


def test_a_link_to_a_file_that_was_not_there_is_the_users_and_stays(folder, settings, tmp_path):
    target = tmp_path / "dotfiles" / "settings.json"
    settings.unlink(missing_ok=True)
    settings.symlink_to(target)
    assert claude.install(folder, settings) and target.is_file()
    assert claude.uninstall(folder, settings)
    assert settings.is_symlink() and not target.exists()


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"settings": 1, "original": 2, "written": 3}', '{"settings": "/x"}'])
def test_a_damaged_copy_is_named_and_a_change_of_settings_is_vetoed_meanwhile(folder, settings, text):
    settings.write_text("{}")
    claude.install(folder, settings)
    next((folder / "installed").iterdir()).write_text(text)
    for act in (claude.install, claude.uninstall):
        with pytest.raises(OnyError, match="damaged"):
            act(folder, settings)
    with pytest.raises(OnyError, match="damaged"):
        claude.recorded(folder)
    settings.write_text("{}")
    assert claude.harm(folder, Notice("ConfigChange", "s", "user_settings", str(settings)))


def test_a_pipe_in_the_place_of_settings_keeps_nobody_waiting(folder, settings):
    settings.unlink(missing_ok=True)
    os.mkfifo(settings)
    with pytest.raises(OnyError, match="is not a file"):
        claude.install(folder, settings)
    assert claude.harm(folder, Notice("ConfigChange", "s", "project_settings", str(settings)))


def test_a_disk_that_takes_no_copy_leaves_the_settings_alone(folder, settings):
    settings.write_text("{}")
    (folder / "hook.py.new").mkdir()
    with pytest.raises(OnyError, match="cannot be written"):
        claude.install(folder, settings)
    assert settings.read_text() == "{}"
