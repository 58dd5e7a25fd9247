"""Random command lines, from a seed: one of a few known commands, written in any of the ways that a shell takes apart again.

Every line is harmless wherever it runs: its commands name things that do not exist, and no path leads out of the current folder.
"""

import random
import shlex
from collections.abc import Callable

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


def plain(text: str) -> bool:
    return all(c.isalnum() or c in "-_./:~" for c in text)


def cut(writer: Writer, word: str) -> tuple[str, str]:
    at = writer.random.randint(0, len(word))
    return word[:at], word[at:]


def doubled(text: str) -> str:
    return '"' + "".join("\\" + c if c in '"$`\\' else c for c in text) + '"'


def ansi(writer: Writer, word: str) -> str:
    forms = [lambda c: f"\\x{ord(c):02x}", lambda c: f"\\{ord(c):03o}", lambda c: f"\\u{ord(c):04x}", lambda c: c, lambda c: c]
    return "$'" + "".join(writer.pick(forms)(c) for c in word) + "'"


def escaped(writer: Writer, word: str) -> str:
    return "".join("\\" + c if not c.isalnum() or writer.random.random() < 0.4 else c for c in word)


def quoted_inside(writer: Writer, word: str) -> str:
    left, right = cut(writer, word)
    return writer.pick(["''", '""', "$''"]).join([shlex.quote(left) if left else "", shlex.quote(right) if right else ""])


def two_quotes(writer: Writer, word: str) -> str:
    left, right = cut(writer, word)
    return doubled(left) + shlex.quote(right)


def broken_line(writer: Writer, word: str) -> str:
    left, right = cut(writer, word)
    return f"{left}\\\n{right}" if plain(word) else shlex.quote(word)


def variable(writer: Writer, word: str) -> str:
    return writer.pick(['"${}"', '"${{{}}}"']).format(writer.set(word))


def bare_variable(writer: Writer, word: str) -> str:
    return "${" + writer.set(word) + "}"


def two_variables(writer: Writer, word: str) -> str:
    left, right = cut(writer, word)
    return f'"${{{writer.set(left)}}}${{{writer.set(right)}}}"' if left and right else shlex.quote(word)


def default(writer: Writer, word: str) -> str:
    name = writer.name()
    form = writer.pick(["${%s:-%s}", "${%s-%s}", "${%s:=%s}", '"${%s:-%s}"', "${A%s:-${B:-%s}}"])
    return form % (name, word) if plain(word) else shlex.quote(word)


def alternative(writer: Writer, word: str) -> str:
    return f"${{{writer.set('x')}:+{word}}}" if plain(word) else shlex.quote(word)


def trimmed(writer: Writer, word: str) -> str:
    left, right = cut(writer, word)
    form, value = writer.pick(
        [
            ("#xx", "xx" + word),
            ("%xx", word + "xx"),
            (f":2:{len(word)}", "xx" + word + "yy"),
            ("/xx/" + (right or "zz"), left + ("xx" if right else "")),
            ("##*@", "a@b@" + word),
            ("%%@*", word + "@a@b"),
            ("//xx", left + "xx" + right),
            ("@Q", word),
            (",,", word),
            ("^^", word),
            (":0", word),
        ]
    )
    return f'"${{{writer.set(value)}{form}}}"' if plain(word) else shlex.quote(word)


def indirect(writer: Writer, word: str) -> str:
    name = writer.set(word)
    writer.before.append(f"I{name}={name}")
    return f'"${{!I{name}}}"'


def named_reference(writer: Writer, word: str) -> str:
    name = writer.set(word)
    writer.before.append(f"declare -n R{name}={name}")
    return f'"$R{name}"'


def output(writer: Writer, word: str) -> str:
    form = writer.pick(
        [
            "$(echo {})",
            "`echo {}`",
            "$(printf %s {})",
            "$(printf '%s\\n' {})",
            '"$(echo {})"',
            "$(cat <<< {})",
            "$(echo {} | cat)",
            "$(: ; echo {})",
        ]
    )
    return form.format(shlex.quote(word))


def element(writer: Writer, word: str) -> str:
    name = writer.name()
    writer.before.append(f"{name}=(x {shlex.quote(word)} y)")
    return writer.pick(['"${{{}[1]}}"', '"${{{}[@]:1:1}}"']).format(name)


def keyed(writer: Writer, word: str) -> str:
    name = writer.name()
    writer.before.append(f"declare -A {name}; {name}[k]={shlex.quote(word)}")
    return f'"${{{name}[k]}}"'


SPELLINGS: list[Callable[[Writer, str], str]] = [
    lambda w, t: shlex.quote(t),
    lambda w, t: "'" + t + "'",
    lambda w, t: doubled(t),
    ansi,
    escaped,
    quoted_inside,
    two_quotes,
    broken_line,
    variable,
    bare_variable,
    two_variables,
    default,
    alternative,
    trimmed,
    indirect,
    named_reference,
    output,
    element,
    keyed,
]


# ---- ways to write a whole command


def braces(writer: Writer, argv: list[str]) -> str:
    return "{" + ",".join(argv) + "}" if all(plain(w) for w in argv) else writer.words(argv)


def by_ifs(writer: Writer, argv: list[str]) -> str:
    return writer.pick(["$IFS", "${IFS}"]).join([*argv[:-1], "''" + argv[-1]]) if all(plain(w) for w in argv) else writer.words(argv)


def split_variable(writer: Writer, argv: list[str]) -> str:
    return "$" + writer.set(" ".join(argv)) if all(plain(w) for w in argv) else writer.words(argv)


def half_variable(writer: Writer, argv: list[str]) -> str:
    at = writer.random.randint(1, len(argv) - 1)
    if not all(plain(w) for w in argv):
        return writer.words(argv)
    return f"${writer.set(' '.join(argv[:at]))} {writer.words(argv[at:])}"


def array(writer: Writer, argv: list[str]) -> str:
    name = writer.name()
    form = writer.pick(["{n}=({w})", "{n}=(); {n}+=({w})", "declare -a {n}=({w})", "{n}=({f}); {n}+=({r})"])
    first, rest = writer.words(argv[:1]), writer.words(argv[1:])
    writer.before.append(form.format(n=name, w=first + " " + rest, f=first, r=rest))
    return writer.pick(['"${%s[@]}"', "${%s[@]}", "${%s[*]}"] if all(plain(w) for w in argv) else ['"${%s[@]}"']) % name


def positional(writer: Writer, argv: list[str]) -> str:
    writer.before.append("set -- " + writer.words(argv))
    each = " ".join(f'"${i}"' for i in range(1, len(argv) + 1))
    return writer.pick(['"$@"', each, '"$1" "${@:2}"', '"${@}"'] + (["$*", "$@"] if all(plain(w) for w in argv) else []))


def shifted(writer: Writer, argv: list[str]) -> str:
    writer.before.append("set -- x " + writer.words(argv))
    writer.before.append("shift")
    return '"$@"'


def own_separator(writer: Writer, argv: list[str]) -> str:
    if not all(plain(w) and ":" not in w for w in argv):
        return writer.words(argv)
    name = writer.set(":".join(argv))
    writer.before.append("IFS=:")
    return f"${name}"


def read_words(writer: Writer, argv: list[str]) -> str:
    if not all(plain(w) for w in argv):
        return writer.words(argv)
    names = [writer.name() for _ in argv]
    writer.before.append(f"{writer.pick(['IFS=, ', 'IFS=,; '])}read -r {' '.join(names)} <<< {','.join(argv)}")
    return " ".join(f'"${name}"' for name in names)


def loop_words(writer: Writer, argv: list[str]) -> str:
    name = writer.name()
    return f'for {name} in {writer.word(argv[0])}; do "${name}" {writer.words(argv[1:])}; done'


def collected(writer: Writer, argv: list[str]) -> str:
    name, item = writer.name(), writer.name()
    writer.before.append(f'{name}=(); for {item} in {writer.words(argv)}; do {name}+=("${item}"); done')
    return f'"${{{name}[@]}}"'


WHOLE: list[Callable[[Writer, list[str]], str]] = [
    braces,
    by_ifs,
    split_variable,
    half_variable,
    array,
    positional,
    shifted,
    own_separator,
    read_words,
    loop_words,
    collected,
    lambda w, a: f'go() {{ "$@"; }}; go {w.words(a)}',
    lambda w, a: f'go() {{ "$1" "${{@:2}}"; }}; go {w.words(a)}',
    lambda w, a: f'go() {{ local c=$1; shift; "$c" "$@"; }}; go {w.words(a)}',
    lambda w, a: f"{w.word(a[0])} {w.words(a[1:])} && true",
    lambda w, a: f"command {w.words(a)}",
    lambda w, a: f"env A=1 {w.words(a)}",
    lambda w, a: f"env -u A -- {w.words(a)}",
    lambda w, a: f"env -S {shlex.quote(shlex.join(a))}",
    lambda w, a: f"timeout -k 1 5 {w.words(a)}",
    lambda w, a: f"nice -n 1 {w.words(a)}",
    lambda w, a: f"nohup setsid -w {w.words(a)}",
    lambda w, a: f"( exec {w.words(a)} )",
    lambda w, a: f"( exec -a other {w.words(a)} )",
    lambda w, a: f"time {w.words(a)}",
    lambda w, a: f"! {w.words(a)}",
    lambda w, a: f"eval {w.words([shlex.quote(x) for x in a])}",
    lambda w, a: f"eval {shlex.quote(shlex.join(a))}",
    lambda w, a: f"builtin eval {shlex.quote(shlex.join(a))}",
    lambda w, a: f"echo {shlex.quote(a[-1])} | xargs -I% {w.words(a[:-1])} %",
    lambda w, a: f"printf '%s\\0' {w.words(a[1:])} | xargs -0 {w.word(a[0])}",
    lambda w, a: f"printf '%s\\0' {w.words(a)} | xargs -0 env",
    lambda w, a: f"xargs -n 9 {w.words(a[:1])} <<< {shlex.quote(shlex.join(a[1:]))}",
    lambda w, a: f"find . -maxdepth 0 -exec {w.words(a)} \\;",
    lambda w, a: f"find . -maxdepth 0 -exec {w.words(a)} {{}} +",
    lambda w, a: f"bash -c '\"$@\"' _ {w.words(a)}",
    lambda w, a: f'bash -c \'"$0" "$@"\' {w.words(a)}',
    lambda w, a: f"bash -c 'exec \"$@\"' -- {w.words(a)}",
]


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
