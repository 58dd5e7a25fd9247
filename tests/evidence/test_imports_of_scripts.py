"""What a script or makefile takes in from its own folder is bound into the request digest, as far as names lead."""

from pathlib import Path

import pytest

from ony_core.evidence import loaded
from ony_core.evidence.place import DiskPlace
from ony_core.facts import derive
from ony_core.model import ToolCall

FILES = {
    "app.py": "import helper, json\nfrom pkg.deep import thing\nfrom pkg import name as other\nimport missing\n",
    "helper.py": "from second import x\n",
    "second.py": "x = 1\n",
    "pkg/__init__.py": "from . import beside\n",
    "pkg/beside.py": "",
    "pkg/deep.py": "from .beside import y\nfrom ..top import z\n",
    "pkg/name.py": "",
    "stranger.py": "import helper\n",
    "main.js": "const a = require('./lib/a');\nimport b from \"./b.mjs\";\n",
    "lib/a.js": "require('../c')\n",
    "c.ts": "",
    "b.mjs": "",
    "Makefile": "include common.mk\n-include local/*.mk\ninclude $(X)\nall: go\n",
    "common.mk": "include more.mk\ngo:\n\techo go\n",
    "more.mk": "",
    "local/one.mk": "",
}
CASES = {
    "python app.py": {"app.py", "helper.py", "second.py", "pkg/__init__.py", "pkg/beside.py", "pkg/deep.py", "pkg/name.py"},
    "node main.js": {"main.js", "lib/a.js", "c.ts", "b.mjs"},
    "make all": {"Makefile", "common.mk", "more.mk", "local/one.mk"},
}


@pytest.mark.parametrize(("command", "expected"), CASES.items(), ids=list(CASES))
def test_what_a_script_takes_in_is_bound(tmp_path: Path, command: str, expected: set[str]) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    here = DiskPlace(str(tmp_path), None, 10.0, lambda: 0.0)
    facts = derive(ToolCall("claude-code", "s", "Bash", {"command": command}, str(tmp_path)), here)
    loaded.bind((command, *here.texts()), facts, here)
    bound = {str(Path(file[0]).relative_to(tmp_path)) for file in here.evidence().files if file[0].startswith(str(tmp_path))}
    assert bound == expected
