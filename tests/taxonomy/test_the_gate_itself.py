"""However it is spelt, a call that changes Ony or an agent's settings is `ony.*` and held, in mode off too."""

import pytest

from ony_core import policy, taxonomy
from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import ToolCall

HELD = [
    "ony uninstall claude",
    "ony --json mode off",
    "./ony uninstall claude",
    "dist/ony uninstall claude",
    "/opt/ony/ony uninstall claude",
    "/srv/checkout/.venv/bin/ony uninstall claude",
    "./ony.pyz uninstall claude",
    "ONY_HOME=/elsewhere ./ony mode off",
    "env -i ./ony mode off",
    "python3 ony.py uninstall claude",
    "python3 -I /srv/ony/ony.py uninstall claude",
    "python3 dist/ony.pyz uninstall claude",
    "python3 -m ony_core.cli uninstall claude",
    "python3 -m ony_core uninstall claude",
    "/srv/.venv/bin/python -m ony_core.cli mode off",
    "python3 -c 'from ony_core.cli import main; main()'",
    "python3 -c 'import ony_core.connector.control as c'",
    "python3 -c 'import importlib; importlib.import_module(\"ony_core.cli\").main()'",
    "python3 -c 'import runpy; runpy.run_module(\"ony_core.cli\")'",
    'python3 -c \'import os; os.rename("x", ".claude/settings.json")\'',
    'python3 -c \'import os; os.rename(os.path.expanduser("~/.claude"), "x")\'',
    'python3 -c \'import os; os.replace("x", ".claude/settings.local.json")\'',
    'python3 -c \'import os; os.symlink("x", ".claude/settings.local.json")\'',
    'python3 -c \'import shutil; shutil.copy("x", ".claude/settings.local.json")\'',
    'python3 -c \'import shutil; shutil.move(".claude", "x")\'',
    'node -e \'require("fs").writeFileSync(".claude/settings.json", "{}")\'',
    'ruby -e \'File.write(".claude/settings.json", "{}")\'',
    "perl -e 'unlink glob(\"~/.ony/*\")'",
    "php -r 'unlink(\".claude/settings.local.json\");'",
    "mv .claude x",
    "mkdir -p .claude; mv .claude x",
    "rm .claude/*",
    "rm -rf .cl*",
    "rm -rf ~/.o*",
    "echo '{}' | sponge .claude/settings.json",
    "split -b 1 x .claude/settings.json",
    "yq -i '.hooks = {}' .claude/settings.json",
    "iconv -o .claude/settings.json x",
    "pandoc -o .claude/settings.json x.md",
    "prettier --write .claude/settings.json",
    "7z x -o.claude x.7z",
    "unzip x.zip -d .claude",
    "tar -xf x.tar -C .claude",
    "git mv .claude x",
    "git rm -r .claude",
    "git checkout HEAD~1 -- .claude/settings.json",
    "git restore --source HEAD~1 .claude/settings.json",
    "find .claude -delete",
    "frobnicate --out=.claude/settings.json",
    "systemctl --user stop ony-daemon",
    "systemctl --user stop 'on*'",
    "service ony stop",
    "launchctl bootout gui/501/dev.ony.daemon",
    "pkill -f 'ony daemon'",
    "kill $(pgrep ony)",
    "P=$(pidof ony); kill -STOP $P",
    "ps aux | grep ony | awk '{print $2}' | xargs kill -9",
    "for p in $(pgrep ony); do kill $p; done",
    "gdb -p $(pidof ony)",
    "kill -9 4711",
    "chmod -x ~/.claude/hooks/gate.sh",
    "chmod -x .claude/settings.json",
    "cp settings.json .claude/",
    "q chat --trust-all-tools x",
    "kill -- -4711",
    "ln -s ~/.claude s && echo {} > s/settings.json",
]

PASSED = [
    "ony status",
    "./ony explain 'rm -rf /'",
    "python3 -m ony_core.cli doctor",
    "python3 ony.py audit verify",
    "cat .claude/settings.json",
    "python3 -c 'import json; print(json.load(open(\"a.json\")))'",
    'python3 -c \'import shutil; shutil.copy("a", "b")\'',
    "node -e 'console.log(1)'",
    "node -e 'console.log(\"claude\")'",
    "python3 tony.py",
    "./colony run",
    "grep -rn hooks .claude",
    "jq .hooks .claude/settings.json",
    "ls -la ~/.claude",
    "git diff -- .claude/settings.json",
    "git add .claude/settings.json",
    "git log -p .claude",
    "wc -l .claude/settings.json",
    "diff .claude/settings.json a.json",
    "echo .claude/settings.json",
    "systemctl --user status ony",
    "pgrep ony",
    "kill -0 4711",
    "kill 4712",
    "kill $(pgrep -f colony)",
    "grep -rn ony src",
]


def gates(command: str, mode: str) -> str:
    call = ToolCall("claude-code", "s", "Bash", {"command": command}, "/project")
    return policy.gate(taxonomy.assess(derive(call, DictPlace(contexts={"gate:process": "4711"}))), mode)


@pytest.mark.parametrize("mode", ["on", "away", "here", "off"])
@pytest.mark.parametrize("command", HELD)
def test_a_change_of_the_gate_is_held_in_every_mode(command: str, mode: str):
    assert gates(command, mode) == "hold"


@pytest.mark.parametrize("command", PASSED)
def test_a_question_or_a_near_miss_passes(command: str):
    assert gates(command, "on") == "pass"
