"""Random command lines, from a seed: one of a few known commands, written in any of the ways that a shell takes apart again.

Every line is harmless wherever it runs: its commands name things that do not exist, and no path leads out of the current folder.
"""

import random
import shlex
from collections.abc import Callable

from tests.facts.spellings import SPELLINGS, WHOLE

COMMANDS = [
    ["rm", "-rf", "victim"],
    ["rm", "victim", "-r"],
    ["git", "push", "--force", "origin", "main"],
    ["git", "reset", "--hard", "HEAD~9"],
    ["git", "clean", "-fdx"],
    ["terraform", "destroy", "-auto-approve"],
    ["kubectl", "delete", "namespace", "prod"],
    ["dropdb", "orders"],
    ["psql", "-c", "DROP TABLE orders"],
    ["helm", "uninstall", "shop"],
    ["npm", "publish"],
    ["redis-cli", "FLUSHALL"],
    ["aws", "s3", "rm", "s3://victim", "--recursive"],
    ["docker", "volume", "rm", "victim"],
    ["shutdown", "-h", "now"],
]
HARMLESS = [
    ["git", "status"],
    ["ls", "-l"],
    ["git", "log", "--oneline"],
    ["kubectl", "get", "pods"],
    ["wc", "-l", "victim"],
    ["terraform", "validate"],
]
STUBS = sorted({command[0] for command in COMMANDS + HARMLESS})
REAL = ["bash", "env", "xargs", "timeout", "nice", "nohup", "cat", "tee", "find", "setsid"]


class Writer:
    """Writes one command line. `before`: what must be said ahead of the current command (assignments)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = 0
        self.before: list[str] = []

    def line(self) -> str:
        command = self.pick(COMMANDS if self.random.random() < 0.7 else HARMLESS)
        text = self.command(command)
        for _ in range(self.random.choice([0, 1, 1, 2, 2, 3])):
            text = self.pick(AROUND)(self, text)
        return text

    def pick(self, options: list) -> object:
        return self.random.choice(options)

    def name(self) -> str:
        self.names += 1
        return f"v{self.names}"

    # ---- one command

    def command(self, argv: list[str]) -> str:
        outer, self.before = self.before, []
        text = self.pick(WHOLE)(self, argv) if self.random.random() < 0.45 else self.words(argv)
        text = self.beside(text)
        said, self.before = "; ".join([*self.before, text]) if self.before else text, outer
        return said

    def words(self, argv: list[str]) -> str:
        return self.pick([" ", " ", " ", "  ", "\t", " \\\n "]).join(self.word(w) for w in argv)

    def beside(self, text: str) -> str:
        """Redirects and assignments that stand with a command and change nothing in what it is."""
        return self.pick(
            ["{}"] * 6
            + [
                "A=1 {}",
                ">out {}",
                "{} >out",
                "{} 2>&1",
                "{} </dev/null",
                "2>err {} >>out",
                "{} &>out",
                "{} <<< text",
                "{} # then",
                "{} |& cat",
            ]
        ).format(text)

    def word(self, word: str) -> str:
        return self.pick(SPELLINGS)(self, word) if self.random.random() < 0.5 else shlex.quote(word)

    def set(self, value: str) -> str:
        name = self.name()
        quoted = shlex.quote(value)
        form = self.pick(
            [
                "{n}={q}",
                "{n}={q}",
                "{n}={q}",
                "export {n}={q}",
                "declare {n}={q}",
                "readonly {n}={q}",
                "read -r {n} <<< {q}",
                "printf -v {n} %s {q}",
                "{n}=$(echo {q})",
                "{n}=`echo {q}`",
                "{n}=; {n}+={q}",
                ": ${{{n}:={q}}}",
                "{n}=wrong; {n}={q}",
                "{n}={q}; false && {n}=wrong",
                "true && {n}={q}",
                "if true; then {n}={q}; fi",
                "for {n} in {q}; do :; done",
                "{{ {n}={q}; }}",
                "declare -x {n}={q}",
                "let zz=1; {n}={q}",
                "unset {n}; {n}={q}",
                "{n}=(wrong); unset {n}; {n}={q}",
                "{n}=wrong; case a in a) {n}={q};; esac",
                "typeset {n}; {n}={q}",
                "{n}=wrong; f() {{ {n}={q}; }}; f",
                "{n}=wrong; eval {n}={q}",
                "{n}=wrong; eval '{n}='{q}",
                "mapfile -t {n} <<< {q}",
                "{n}=wrong; while read -r {n}; do break; done <<< {q}",
                "{n}=wrong; . /dev/stdin <<< {n}={q}",
            ]
        )
        self.before.append(form.format(n=name, q=quoted) if "${{" not in form or " " not in value else f"{name}={quoted}")
        return name


# ---- what may stand around a command line


def here(writer: Writer, text: str, form: str) -> str:
    mark = f"E{writer.name()}"
    return form.format(m=mark, t=text) + f"\n{mark}\n" if "\\" not in form else form


def heredoc(head: str) -> Callable[[Writer, str], str]:
    def around(writer: Writer, text: str) -> str:
        mark = f"E{writer.name()}"
        return f"{head.format(mark)}\n{text}\n{mark}\n"

    return around


def inside_heredoc(writer: Writer, text: str) -> str:
    mark = f"E{writer.name()}"
    return f"cat <<{mark}\na $({text}\n) b\n{mark}\n"


def backticks(writer: Writer, text: str) -> str:
    return "echo `" + text.replace("\\", "\\\\").replace("`", "\\`") + "\n`" if "$" not in text else f"echo $({text}\n)"


def quoted_backticks(writer: Writer, text: str) -> str:
    return 'echo "a `' + text + '` b"' if not set(text) & set("$\\`\"'#\n") else f'echo "$({text}\n)"'


def script(form: str) -> Callable[[Writer, str], str]:
    return lambda writer, text: form.format(q=shlex.quote(text), n=writer.name())


def variable_text(writer: Writer, text: str) -> str:
    name = writer.name()
    return f'{name}={shlex.quote(text)}\n{writer.pick(["eval", "bash -c"])} "${name}"'


AROUND: list[Callable[[Writer, str], str]] = [
    lambda w, t: f"true; {t}\n",
    lambda w, t: f"{t}\ntrue",
    lambda w, t: f"true && {{ {t}\n}}",
    lambda w, t: f"false || {{ {t}\n}}",
    lambda w, t: f"( {t}\n)",
    lambda w, t: f"{{ {t}\n}}",
    lambda w, t: f"if true; then {t}\nfi",
    lambda w, t: f"if {t}\nthen :; fi",
    lambda w, t: f"if false; then :; else {t}\nfi",
    lambda w, t: f"if false; then :; elif {t}\nthen :; fi",
    lambda w, t: f"while {t}\ndo break; done",
    lambda w, t: f"until ! true; do {t}\nbreak; done",
    lambda w, t: f"for i in a b; do {t}\ndone",
    lambda w, t: f"for ((i=0;i<1;i++)); do {t}\ndone",
    lambda w, t: f"case x in y) ;; x|z) {t}\n;; esac",
    lambda w, t: f"case x in x) ;;& *) {t}\nesac",
    lambda w, t: f"run() {{ {t}\n}}; run",
    lambda w, t: f"function run {{ {t}\n}}\nrun x",
    lambda w, t: f"run() ( {t}\n); run",
    lambda w, t: f"{{ {t}\n}} | cat",
    lambda w, t: f"true | {{ {t}\n}}",
    lambda w, t: f"{{ {t}\n}} &\nwait",
    lambda w, t: f"{{ {t}\n}} >out 2>&1",
    lambda w, t: f"echo $({t}\n)",
    lambda w, t: f'echo "a $({t}\n) b"',
    lambda w, t: f"x=$({t}\n)",
    lambda w, t: f"export x=$({t}\n)",
    lambda w, t: f'local_x=1; : "${{y:=$({t}\n)}}"',
    lambda w, t: f"cat <({t}\n)",
    lambda w, t: f"echo a > >({t}\n)",
    lambda w, t: f"echo $(( $({t}\n) + 1 ))",
    lambda w, t: f"(( z = $({t}\necho 1) ))",
    lambda w, t: f"[[ -n $({t}\n) ]]",
    lambda w, t: f'[ -n "$({t}\n)" ]',
    lambda w, t: f"a[$({t}\n)1]=1",
    lambda w, t: f"echo ${{x:-$({t}\n)}}",
    lambda w, t: f"echo a > $({t}\necho out)",
    lambda w, t: f"for i in $({t}\necho a); do :; done",
    lambda w, t: f"case $({t}\n) in *) ;; esac",
    lambda w, t: f"b=($({t}\n))",
    lambda w, t: f"test $({t}\n) = a",
    lambda w, t: f"echo ${{PATH:$({t}\n)0:1}}",
    lambda w, t: f"echo ${{PATH/$({t}\n)a/b}}",
    lambda w, t: f"echo ${{b[$({t}\n)0]}}",
    lambda w, t: f"coproc {{ {t}\n}}; wait",
    lambda w, t: f"select i in a; do {t}\nbreak; done <<< 1",
    lambda w, t: f"while read -r l; do {t}\ndone <<< a",
    lambda w, t: f"echo a | while read -r l; do {t}\ndone",
    lambda w, t: f"declare x=$({t}\n)",
    lambda w, t: f"A=$({t}\n) true",
    lambda w, t: f"cat <<< $({t}\n)",
    lambda w, t: f"time {{ {t}\n}}",
    lambda w, t: f"! {{ {t}\n}}",
    inside_heredoc,
    backticks,
    quoted_backticks,
    variable_text,
    heredoc("bash <<'{}'"),
    heredoc("bash -s x <<'{}'"),
    heredoc("cat <<'{}' | bash"),
    heredoc("env A=1 bash <<'{}'"),
    heredoc("bash /dev/stdin <<'{}'"),
    heredoc("cat > s.sh <<'{0}' && bash s.sh"),
    heredoc(". /dev/stdin <<'{}'"),
    heredoc("tee s.sh <<'{}' | bash"),
    heredoc("bash <<-'{}'"),
    script("bash -c {q}"),
    script("bash -ec {q}"),
    script("bash --norc -c {q} x"),
    script("eval {q}"),
    script("bash <<< {q}"),
    script("echo {q} | bash"),
    script("printf %s {q} | bash -s"),
    script("printf '%s\\n' {q} | cat | bash"),
    script("bash <(printf '%s\\n' {q})"),
    script(". <(printf '%s\\n' {q})"),
    script("printf '%s\\n' {q} > {n}.sh; bash {n}.sh"),
    script("printf '%s\\n' {q} > {n}.sh; . ./{n}.sh"),
    script("( trap {q} EXIT )"),
    script("eval eval {q}"),
    script("eval \"$(printf '%s\\n' {q})\""),
    script("bash -c \"$(printf '%s\\n' {q})\""),
    script('{n}() {{ eval "$1"; }}; {n} {q}'),
    script("xargs -0 bash -c <<< {q}"),
    script("printf '%s\\n' {q} | xargs -0 -I% bash -c %"),
    script("find . -maxdepth 0 -exec bash -c {q} \\;"),
    script("timeout 5 bash -c {q}"),
    script("env bash -c {q}"),
    script("command eval {q}"),
    script('set -- {q}; eval "$1"'),
    script("PS4={q}; :"),
    script("printf '%s\\n' {q} > {n}.sh; cat {n}.sh | bash"),
    script("printf '%s\\n' {q} > {n}.sh; bash < {n}.sh"),
    script("bash -c 'eval \"$1\"' _ {q}"),
]
