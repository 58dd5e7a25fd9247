"""Ways to write one word, and one whole command, that a shell takes apart to the same: quoting, expansion, arrays, splitting."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.facts.command_lines import Writer


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
    writer.beyond = True
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
    writer.beyond = True
    name = writer.name()
    writer.before.append(f"{name}=(x {shlex.quote(word)} y)")
    return writer.pick(['"${{{}[1]}}"', '"${{{}[@]:1:1}}"']).format(name)


def keyed(writer: Writer, word: str) -> str:
    writer.beyond = True
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
    writer.beyond = True
    return "{" + ",".join(argv) + "}" if all(plain(w) for w in argv) else writer.words(argv)


def by_ifs(writer: Writer, argv: list[str]) -> str:
    writer.beyond = True
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
    writer.beyond = True
    if not all(plain(w) and ":" not in w for w in argv):
        return writer.words(argv)
    name = writer.set(":".join(argv))
    writer.before.append("IFS=:")
    return f"${name}"


def read_words(writer: Writer, argv: list[str]) -> str:
    writer.beyond = True
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


def beyond(form: str) -> Callable[[Writer, list[str]], str]:
    def whole(writer: Writer, argv: list[str]) -> str:
        writer.beyond = True
        return form.replace("{f}", writer.word(argv[0])).replace("{r}", writer.words(argv[1:]))

    return whole


def aliased(writer: Writer, argv: list[str]) -> str:
    """An alias holds from the next line on."""
    writer.beyond = True
    name = "al" + writer.name()
    at = writer.random.randint(1, len(argv))
    writer.before.append(f"shopt -s expand_aliases\nalias {name}={shlex.quote(shlex.join(argv[:at]))}\n:")
    return f":\n{name} {writer.words(argv[at:])}"


def operand_loop(writer: Writer, argv: list[str]) -> str:
    name = writer.name()
    return f'for {name} in {writer.words(argv[-1:])} other; do {writer.words(argv[:-1])} "${{{name}}}"; done'


def read_operands(writer: Writer, argv: list[str]) -> str:
    name = writer.name()
    return f'while read -r {name}; do {writer.words(argv[:-1])} "${name}"; done <<< {shlex.quote(argv[-1])}'


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
    beyond("printf '%s\\0' {r} | xargs -0 {f}"),
    beyond("printf '%s\\0' {f} {r} | xargs -0 env"),
    aliased,
    operand_loop,
    read_operands,
    lambda w, a: f"xargs -n 9 {w.words(a[:1])} <<< {shlex.quote(shlex.join(a[1:]))}",
    lambda w, a: f"find . -maxdepth 0 -exec {w.words(a)} \\;",
    lambda w, a: f"find . -maxdepth 0 -exec {w.words(a)} {{}} +",
    lambda w, a: f"bash -c '\"$@\"' _ {w.words(a)}",
    lambda w, a: f'bash -c \'"$0" "$@"\' {w.words(a)}',
    lambda w, a: f"bash -c 'exec \"$@\"' -- {w.words(a)}",
]
