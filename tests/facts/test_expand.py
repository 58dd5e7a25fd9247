"""What the words of a command will be: one row per way a shell expands them (POSIX.1-2024 XCU 2.6; bash manual, "Shell Expansions").

Every row is a script and the words of its last command, as `bash` makes them; `?` stands for what only the run will know.
"""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive, understand
from ony_core.facts.words import HOLE, Word
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess


def last(script: str) -> list[Word]:
    found = understand(ToolCall("claude-code", "s", "Bash", {"command": script}, "/project"), DictPlace(), parse=True)
    return found.parse[-1][1][1:]


ROWS: dict[str, tuple[str, list[str]]] = {
    # quotes and escapes
    "nothing": ("echo", []),
    "bare words": ("echo a  b", ["a", "b"]),
    "single quotes": (r"echo 'a \n $x b'", [r"a \n $x b"]),
    "double quotes": (r'echo "a \$x \" \\ \n b"', [r'a $x " \ \n b']),
    "an empty word": ('echo "" \'\'', ["", ""]),
    "a backslash": (r"echo a\ b \$x \\", ["a b", "$x", "\\"]),
    "a line that goes on": ("echo a\\\nb", ["ab"]),
    "a line that goes on in quotes": ('echo "a\\\nb"', ["ab"]),
    "a line that goes on after a blank": ("echo a \\\n b", ["a", "b"]),
    "side by side": ("echo a'b'\"c\"$'d'", ["abcd"]),
    "blanks in quotes stay": ('x=1; echo "a  $x  b"', ["a  1  b"]),
    # $'…'
    "letters": (r"echo $'\n\t\r\a\b\e\E\f\v\\\q'", ["\n\t\r\a\b\x1b\x1b\f\v\\q"]),
    "hexadecimal": (r"echo $'\x41\x4a1\u0041\U00000041'", ["AJ1AA"]),
    "octal": (r"echo $'\101\60x\7'", ["A0x\7"]),
    "octal above a byte": (r"echo $'\501'", ["A"]),
    "a byte of zero": (r"echo $'a\0b'", ["a?b"]),
    "control": (r"echo $'\cA'", ["?"]),
    "no letter there is": (r"echo $'\U00110000'", ["\ufffd"]),
    # variables
    "a variable": ("x=a; echo $x ${x} \"$x\"", ["a", "a", "a"]),
    "a variable with blanks": ("x='a  b'; echo $x \"$x\"", ["a", "b", "a  b"]),
    "an empty one is no word": ("x=; echo $x a \"$x\"", ["a", ""]),
    "within a word": ("x='b c'; echo a$x'd'", ["ab", "cd"]),
    "with blanks at its ends": ("x=' b '; echo a$x'd'", ["a", "b", "d"]),
    "split elsewhere": ("IFS=:; x=a:b; echo $x \"$x\"", ["a", "b", "a:b"]),
    "split elsewhere within a word": ("IFS=:; x=a:b; echo 1${x}2", ["1a", "b2"]),
    "what only the run will know": ("echo $(date) a", ["?", "a"]),
    # defaults
    "unset": ("x=1; unset x; echo ${x:-a}", ["a"]),
    "set": ("x=b; echo ${x:-a} ${x-a} ${x:+a} ${x+a}", ["b", "b", "a", "a"]),
    "empty, with a colon": ("x=; echo ${x:-a} ${x:+a}", ["a"]),
    "empty, without one": ("x=; echo \"${x-a}\" ${x+a}", ["", "a"]),
    "empty and assigned": ("x=; echo ${x:=a} $x", ["a", "a"]),
    "set and assigned": ("x=b; echo ${x:=a} ${x=a} $x", ["b", "b", "b"]),
    "empty and not assigned": ("x=; echo \"${x=a}\" \"$x\"", ["", ""]),
    "a default that is a variable": ("x=; y=c; echo ${x:-$y}", ["c"]),
    "an error otherwise": ("x=b; y=; echo ${x:?gone} ${x?} ${y?}a ${y:?gone} ${z:?}", ["b", "b", "a", "?", "?"]),
    # parts of values
    "a beginning less": ("x=a.b.c; echo ${x#*.} ${x##*.}", ["b.c", "c"]),
    "an end less": ("x=a.b.c; echo ${x%.*} ${x%%.*}", ["a.b", "a"]),
    "nothing fits": ("x=abc; echo ${x#z} ${x%z}", ["abc", "abc"]),
    "replaced": ("x=aXbXc; echo ${x/X/-} ${x//X/-} ${x/X}", ["a-bXc", "a-b-c", "abXc"]),
    "a pattern to replace": ("x=abc; echo ${x/b*/z}", ["?"]),
    "replaced at an end": ("x=abca; echo ${x/#a/z} ${x/#b/z} ${x/%a/z} ${x/%b/z}", ["zbca", "abca", "abcz", "abca"]),
    "one of some letters": ("x=abc; echo ${x/[bc]/z} ${x//[bc]/z} ${x//?/z}", ["azc", "azz", "zzz"]),
    "one of all letters but": ("x=abc; echo ${x//[^b]/z} ${x#[!b]} ${x#[^b]}", ["zbz", "bc", "bc"]),
    "a class of letters": ("x=abc; echo ${x#[[:alpha:]]} ${x//[[:digit:]]/}", ["?", "?"]),
    "a part": ("x=abcdef; echo ${x:1} ${x:1:2} ${x: -2} ${x:1:-1} ${x: -2:1}", ["bcdef", "bc", "ef", "bcde", "e"]),
    "a part from before the start": ("x=abc; echo \"${x: -9}\"", [""]),
    "capitals": ("x=abC; echo ${x^} ${x^^} ${x,} ${x,,}", ["AbC", "ABC", "abC", "abc"]),
    "a first small letter": ("x=ABC; echo ${x,}", ["aBC"]),
    "by its name": ("y=a; x=y; echo ${!x}", ["a"]),
    # braces
    "braces": ("echo a{b,c}d", ["abd", "acd"]),
    "braces twice": ("echo {a,b}{c,d}", ["ac", "ad", "bc", "bd"]),
    "no braces": ("echo {} {a} a,b a} {b", ["{}", "{a}", "a,b", "a}", "{b"]),
    "braces in quotes": ("echo '{a,b}' \"{a,b}\"", ["{a,b}", "{a,b}"]),
    "braces with an escape": (r"echo \{a,b}", ["{a,b}"]),
    "as many as are followed": ("echo " + "{a,b}" * 6, ["".join("ab"[n >> (5 - k) & 1] for k in range(6)) for n in range(64)]),
    "more": ("echo " + "{a,b}" * 7, ["?"]),
    # arguments
    "every argument": ('set -- a "b c"; echo "$@"', ["a", "b c"]),
    "from one on": ('set -- a b c d; echo "${@:2}"', ["b", "c", "d"]),
    "so many": ('set -- a b c d; echo "${@:2:2}"', ["b", "c"]),
    "arrays": ('a=(x "y z"); echo "${a[@]}" ${a[@]}', ["x", "y z", "x", "y", "z"]),
    "a part of an array": ('a=(x y z); echo "${a[@]:1}" "${a[@]:0:1}"', ["y", "z", "x"]),
}  # fmt: skip


@pytest.mark.parametrize(("script", "words"), ROWS.values(), ids=ROWS.keys())
def test_the_words_are_those_of_a_shell(script: str, words: list[str]) -> None:
    assert [word.text.replace(HOLE, "?") for word in last(script)] == words


PATTERNS = {
    "a star": ("echo *", True),
    "one letter": ("echo a?", True),
    "letters": ("echo [ab]", True),
    "none": ("echo a", False),
    "in quotes": ("echo '*'", False),
    "in double quotes": ('echo "*"', False),
    "behind a backslash": (r"echo \*", False),
    "behind a backslash of its own": (r"echo \\*", True),
    "in a value": ("x='*'; echo $x", True),
    "within a word's value": ("x='*'; echo .e$x", True),
    "in a value in quotes": ("x='*'; echo \"$x\"", False),
    "within a word": ("x=a; echo $x/*", True),
    "beside quotes": ("echo 'a b'*", True),
}


@pytest.mark.parametrize(("script", "glob"), PATTERNS.values(), ids=PATTERNS.keys())
def test_a_pattern_is_noticed(script: str, glob: bool) -> None:
    assert last(script)[0].glob is glob


HELD = {
    "a default without a colon does not stand for what is empty": "x=; rm -rf /${x-tmp/foo}",
    "a pattern in a value is one": "x='.e*'; cat $x",
    "and within a word": "x='*'; cat .e$x",
    "an alternative without one does": 'x=; bash -c "${x+rm -rf /etc}"',
}


@pytest.mark.parametrize("script", HELD.values(), ids=HELD.keys())
def test_what_was_once_missed(script: str) -> None:
    assert gate(assess(derive(ToolCall("claude-code", "s", "Bash", {"command": script}, "/project"), DictPlace())), "on") == "hold"
