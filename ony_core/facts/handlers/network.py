"""Programs that talk to the network: curl, wget, netcat and their kin. Method, body and destination decide."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ony_core.facts import commands, files, graphql
from ony_core.facts.argv import Line, read
from ony_core.facts.secrets import token_shaped
from ony_core.facts.targets import target
from ony_core.facts.words import EMPTY, HOLE, Flow, Word
from ony_core.model import Target
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.call import Call
    from ony_core.facts.shell import Shell

_LOCAL = re.compile(r"^(?:localhost|127\.\d+\.\d+\.\d+|\[?::1\]?|0\.0\.0\.0|host\.docker\.internal|[\w-]+\.localhost)$")
_METADATA = re.compile(
    r"^(?:169\.254\.169\.254|169\.254\.170\.2|metadata\.google\.internal|metadata\.goog|metadata|instance-data(?:\.ec2\.internal)?|169\.254\.169\.254\.[\w.]+|169\.254\.170\.23|192\.0\.0\.192|100\.100\.100\.200|\[?fd00:ec2::254\]?)$"
)
_AT = re.compile(r"@(.+)")
_NAME_AT = re.compile(r"[^=@]*@(.+)")
_FORM = re.compile(r"[^=]*=[@<]\"?([^;\"]+)")
_BODY: dict[str, re.Pattern[str] | None] = {  # how a flag of curl or wget that carries a body names a file (curl(1))
    "-d": _AT,
    "--data": _AT,
    "--data-ascii": _AT,
    "--data-binary": _AT,
    "--json": _AT,
    "--data-urlencode": _NAME_AT,
    "--url-query": _NAME_AT,
    "--variable": _NAME_AT,
    "-F": _FORM,
    "--form": _FORM,
    "--data-raw": None,
    "--form-string": None,
    "--post-data": None,
    "--body-data": None,
}
_HEADER = ("-H", "--header", "-u", "--user", "-b", "--cookie", "-A", "--user-agent", "-e", "--referer")
_LOGS_IN = re.compile(r"^\w+://[^/?#]*@")
_DESTROYS = re.compile(r"(?i)[/_.-](?:delete|destroy|drop|purge|truncate|flush|terminate|shutdown|_close|wipe|reset)|_cluster/settings")
_ACTS = re.compile(
    r"(?i)[?&](?:action|command|cmd|op)=(?:delete|unload|drop|truncate|flush|deletealias|deletereplica|deleteshard|stop|shutdown)|stream\.body="
)
_QUESTIONS = re.compile(
    r"/(?:_m?search(?:/template|/scroll)?|_async_search|_count|_mget|_validate/query|_analyze|_field_caps|_explain(?:/[^/]+)?|_termvectors"
    r"|_rank_eval|_render/template|_sql(?:/translate)?|_find|_all_docs|points/(?:search|query|scroll|count|recommend|discover)(?:/\w+)?"
    r"|indexes/[^/]+/(?:search|documents/fetch)|multi-search|multi_search|api/v1/(?:query|query_range|series|labels)|select)/?(?:\?[^?]*)?$"
)
_GRAPHQL = re.compile(r"(?i)/(?:graphql|gql)(?:/v?\d+)?/?(?:\?[^?]*)?$")
_QUESTION_BODY = re.compile(r"\s*$|\s*[{\[]|(?:query|q|match\[\]|start|end|step|time|limit)=")
_OWN_END = re.compile(r"(?i)unix(?:-connect|-client)?:")  # a socket of this computer, as socat spells it
_FAR_END = re.compile(
    r"(?i)(?:tcp|udp|udplite|openssl|ssl|sctp|dccp|ip|proxy|socks\w*?)[46]?(?:-(?:connect|client|sendto|datagram))?:(?P<host>.*)"
)
_ITEM = re.compile(r"[^:=@]*(?P<sign>==@?|:=@?|=@|:@|=|@|:)(?P<value>.*)", re.DOTALL)  # https://httpie.io/docs/cli/request-items
_SAVED_AS = {"curl": ("-o", "--output"), "wget": ("-O", "--output-document"), "aria2c": ("--out",), "http": ("-o", "--output")}
_NAMED_BY_ADDRESS = {"curl": {"-O", "--remote-name"}, "http": {"-d", "--download"}}  # wget and aria2c do so without a flag
_SAVED_IN = ("-P", "--directory-prefix", "--output-dir", "--dir")
_METHODS = {"GET": "reads", "HEAD": "reads", "OPTIONS": "reads", "DELETE": "deletes"}  # every other one sends


def url_traits(text: str) -> set[str]:
    """localhost, metadata, credentials in the address, an address that only the run will know."""
    try:
        parts = urlsplit(text if "//" in text else "//" + text)
        host = _plain_host((parts.hostname or "").lower())
        port = parts.port
        found = {"address_password"} if parts.password else set()
    except ValueError:
        return {"address_unknown"}
    if parts.scheme == "file":
        return {"local_file"}
    if _LOCAL.match(host):
        return found | {"localhost"} | ({"local_store"} if port in tables().words["numbers"]["store_ports"] else set())
    if _METADATA.match(host):
        return found | {"metadata"}
    if HOLE in host or not host:
        found |= {"address_unknown"}
    if HOLE in text:
        found |= {"address_filled"}
    if any(host == m or host.endswith("." + m) for m in tables().words["names"]["drop_hosts"]):
        found |= {"drop_host"}
    return found


def carries(url: str) -> bool:
    """Whether an address carries data out: a token, a password, or a long random text in the query or in a name of the host.

    Identifiers of documents, commits and pages stand in paths, and are random as well.
    """
    if token_shaped(url):
        return True
    try:
        parts = urlsplit(url if "//" in url else "//" + url)
        labels, query, password = (parts.hostname or "").split("."), parts.query, parts.password
    except ValueError:
        return True
    values = [value for _, _, value in (pair.partition("=") for pair in query.split("&"))]
    long = [value for value in values if _random(value)] + [x for x in labels if len(x) >= 40 and "-" not in x]
    return password is not None or bool(long)


def _random(text: str) -> bool:
    """Letters and digits without a break, longer than a digest of a commit or a page's identifier in hexadecimal."""
    run = max(re.findall(r"[A-Za-z0-9+/=_%-]+", text), key=len, default="")
    return len(run) >= 40 and not re.fullmatch(r"[0-9a-fA-F-]+", run) and re.search(r"\d", run) is not None and not _is_words(run)


def _is_words(run: str) -> bool:
    """What people wrote, with `-`, `+` or an encoded space in between: no long text of a machine breaks so often."""
    words = re.split(r"[-+]|%20", run)
    return len(words) > 3 and len(run) / len(words) <= 16


def _plain_host(host: str) -> str:
    """An address written as one number, in hexadecimal or octal, or within IPv6, in the usual four numbers."""
    try:
        if re.fullmatch(r"0x[0-9a-f]+|\d{8,10}", host):
            return str(IPv4Address(int(host, 0)))
        if re.fullmatch(r"(?:0x[0-9a-f]+|0?\d+)(?:\.(?:0x[0-9a-f]+|0?\d+)){3}", host):
            return ".".join(str(int(p, 16 if p.startswith("0x") else 8 if p.startswith("0") else 10)) for p in host.split("."))
        mapped = IPv6Address(host).ipv4_mapped if ":" in host else None
        return str(mapped) if mapped else host
    except ValueError:
        return host


def host_of(call: "Call", text: str) -> tuple[Target, ...]:
    try:
        host = urlsplit(text if "//" in text else "//" + text).hostname or ""
    except ValueError:
        return ()
    return (target(call, "host", host),)


def curl(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    if "help" in line.traits:
        shell.call.add("command", program.name, traits=("help",))
        return Flow(None)
    commands.flag_values(shell, line, stdin=stdin)
    urls = line.operands + line.all("--url")
    traits = _places(shell, urls)
    taken = [stdin.taints if f.text in ("-", ".", "/dev/stdin") else files.read_file(shell, f) for f in _files(line)]
    taints = frozenset().union(*taken, *(v.taints for f, v in line.values if f in _BODY))
    method = (line.value("-X", "--request", "--method") or Word("")).text.upper()
    body = any(f in _BODY for f, _ in line.values) and not line.flags & {"-G", "--get"}
    verb = _METHODS.get(method, "sends") if method else "reads"
    if verb == "reads" and (body or taken):
        verb = "sends"
    heads = [files.read_file(shell, word.part(word.text[1:])) for word in line.all("-H", "--header") if word.text[:1] == "@"]
    spoken = taints.union(*heads, *(word.taints for word in (*urls, *line.all(*_HEADER)))) & {"secret"}
    if "localhost" not in traits:
        if any("secret_variable" in url.taints and not _LOGS_IN.search(url.text) for url in urls):
            spoken |= {"secret"}  # a token in a header belongs to the service; one in an address is what it says
        if any(HOLE in url.text and "decoded" in url.taints for url in urls):
            verb = "sends"  # an address with something in it that was encoded on the way
    if method in ("", "POST", "GET") and not taken and _asks(urls, line):
        verb = "reads"
    if verb == "sends" and any(_DESTROYS.search(u.text) for u in urls):
        verb = "deletes"
    if any(_ACTS.search(u.text) for u in urls):
        verb = "deletes"  # servers that are told what to do by a GET: Solr, Hadoop
    if line.value("-K", "--config") is not None:
        verb = "sends"
        traits = traits - {"localhost"} | {"address_unknown"}
    traits |= spoken | ({"from_file"} if taken else set())
    if line.value(*_SAVED_AS[program.name]) is not None:
        traits.add("saves")
    shell.call.add("network", program.name, (verb,), (), len(urls), _hosts(shell, urls), traits)
    return _saved(shell, line, urls)


def _places(shell: "Shell", urls: list[Word]) -> set[str]:
    """Where the addresses lead: to this computer only if all of them do."""
    found = [url_traits(url.text) for url in urls]
    for url, traits in zip(urls, found, strict=True):
        if "local_file" in traits:
            files.read_file(shell, url.part(url.text.partition("://")[2]))
    return set().union(*found) - (set() if all("localhost" in traits for traits in found) else {"localhost"})


def _files(line: Line) -> list[Word]:
    """The files that are sent: uploads, and what stands as `@file` and the like in a body."""
    named = [value for flag, value in line.values if flag in ("--upload-file", "--post-file", "--body-file")]
    if line.program.name == "curl":
        named += line.all("-T")
    for flag, value in line.values:
        pattern = _BODY.get(flag)
        found = pattern.match(value.text) if pattern else None
        named += [value.part(found[1])] if found else []
    return named


def _asks(urls: list[Word], line: Line) -> bool:
    """A question that search servers take as a body: plain text to an address whose path only searches."""
    plain = all(value.known and _QUESTION_BODY.match(value.text) for flag, value in line.values if flag in _BODY)
    return (bool(urls) and plain and all(_QUESTIONS.search(u.text) for u in urls)) or _asks_graphql(urls, line)


def _asks_graphql(urls: list[Word], line: Line) -> bool:
    bodies = [value for flag, value in line.values if flag in _BODY]
    asks = bool(bodies) and all(value.known and graphql.only_asks(value.text) for value in bodies)
    return bool(urls) and asks and all(_GRAPHQL.search(url.text) for url in urls)


def _hosts(shell: "Shell", urls: list[Word]) -> tuple[Target, ...]:
    return tuple(dict.fromkeys(t for u in urls[:4] for t in host_of(shell.call, u.text)))


def _saved(shell: "Shell", line: Line, urls: list[Word]) -> Flow:
    """Where the answer goes: a file of that name, or standard output."""
    flow = Flow(None, frozenset({"network"}))
    name = line.program.name
    out = line.value(*_SAVED_AS[name])
    if out is not None and out.text not in ("-", "/dev/stdout"):
        folder = line.value(*_SAVED_IN)
        files.write_file(shell, out, flow)
        if folder is not None:
            files.write_file(shell, out.part(f"{folder.text}/{out.text}"), flow)
        return EMPTY
    if out is None and (name not in _NAMED_BY_ADDRESS or line.flags & _NAMED_BY_ADDRESS[name]):
        folder = line.value(*_SAVED_IN) or Word(".")
        for url in urls:
            for called in _names(url.text):
                files.write_file(shell, Word(f"{folder.text}/{called}", taints=url.taints), flow)
        return EMPTY
    return flow


def _names(url: str) -> set[str]:
    """What a file is called that is saved under the name in its address: with the query as wget does, and without as curl does."""
    path, mark, query = re.sub(r"^\w+://", "", url).partition("#")[0].partition("?")
    host, slash, path = path.partition("/")
    name = path.rpartition("/")[2] or (host if HOLE in host and not slash else "index.html")
    return {name, name + mark + query}


def httpie(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """http, https, xh: `[METHOD] URL [item…]`; an item with `=`, `:=` or `@` is a body."""
    line, _ = read(program, words)
    method = line.operands[0].text.upper() if len(line.operands) > 1 and line.operands[0].text.isalpha() else ""
    urls = [w.part("localhost" + w.text) if w.text[:1] == ":" else w for w in line.operands[bool(method) :][:1]]
    items = line.operands[bool(method) + 1 :]
    found = [(item, one["sign"], one["value"]) for item in items if (one := _ITEM.match(item.text))]
    taken = [files.read_file(shell, item.part(value)) for item, sign, value in found if "@" in sign]
    sends = taken or any(sign in ("=", ":=") for _, sign, _ in found) or stdin.taints or stdin.text
    verb = _METHODS.get(method, "sends") if method else "reads"
    verb = "sends" if verb == "reads" and sends else verb
    verb = "deletes" if verb == "sends" and any(_DESTROYS.search(u.text) for u in urls) else verb
    spoken = stdin.taints.union(*taken, *(word.taints for word in (*urls, *items))) & {"secret"}
    traits = _places(shell, urls) | spoken | ({"from_file"} if taken else set())
    shell.call.add("network", program.name, (verb,), (), len(urls), _hosts(shell, urls), traits)
    return _saved(shell, line, urls)


def netcat(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """nc, ncat, socat, telnet: a raw connection; -e and EXEC: hand a shell to the other side."""
    line, _ = read(program, words)
    if "help" in line.traits:
        shell.call.add("command", program.name, traits=("help",))
        return Flow(None)
    text = " ".join(w.text for w in words)
    traits = set(line.traits)
    if line.value("-e", "-c") or re.search(r"(?i)\b(exec|system|shell)\b", text):
        traits.add("hands_over_shell")
    if "-z" in line.flags:
        traits.add("probe")
    ends = [found for word in line.operands if (found := _FAR_END.match(word.text))]
    if (line.flags & {"-l", "--listen"} or re.search(r"(?i)-listen:", text)) and all(_is_local(end) for end in ends):
        traits.add("listens")
    taints = stdin.taints
    for found in re.findall(r"(?i)(?:open|file|gopen):([^,\s]+)", text):
        taints |= files.read_file(shell, Word(found))
    traits |= taints & {"secret"}
    if stdin is not EMPTY or _OWN_END.search(text):
        traits.add("sends")
    asked = set((stdin.text or "").lower().split())
    if asked and asked <= set(tables().words["names"]["socket_questions"]):
        traits.add("probe")  # `echo stats | nc cache 11211`, `echo ruok | nc zk 2181`
    if all(_is_local(end) for end in ends) if ends else "localhost" in url_traits(line.operands[0].text if line.operands else ""):
        traits.add("localhost")
    shell.call.add("network", program.name, ("socket",), (), len(line.operands), (), traits)
    return Flow(None, frozenset({"network"}))


def _is_local(end: re.Match[str]) -> bool:
    """Whether an address of socat leads to this computer. A proxy names a third place behind its own, which is no host at all."""
    return "localhost" in url_traits(end["host"])


def lookup(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """dig, host, nslookup, ping: reads, unless the name that is asked for carries data out."""
    line, _ = read(program, words)
    taints = stdin.taints.union(*(w.taints for w in line.operands))
    filled = any(HOLE in w.text and w.taints for w in line.operands)
    traits = set(line.traits) | (taints & {"secret"}) | ({"address_filled"} if filled else set())
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), (), traits)
    return Flow(None, frozenset({"network"}))


def rpc(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """grpcurl: `HOST list|describe` only asks; anything else calls a method."""
    line, _ = read(program, words)
    if "help" in line.traits:
        shell.call.add("command", program.name, traits=("help",))
        return Flow(None)
    host = line.operands[0].text if line.operands else ""
    asks = any(word.text in ("list", "describe") for word in line.operands)
    taints = stdin.taints.union(*(sent.taints for sent in line.all("-d", "--data")))
    traits = url_traits(host) | (taints & {"secret"})
    shell.call.add("network", program.name, ("reads" if asks else "sends",), (), len(line.operands), (), traits)
    return Flow(None, frozenset({"network"}))


def openssl(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """openssl: `s_client` is a raw connection that carries away what it is given, but for a line or two that stand in the call."""
    line, _ = read(program, words)
    sends = line.verb[:1] == ("s_client",) and (stdin.text is None or "secret" in stdin.taints)
    flow = commands.finish(shell, line, stdin, frozenset({"sends"}) if sends else frozenset())
    return flow.also("network") if line.verb[:1] == ("s_client",) else flow


HANDLERS = {handler.__name__: handler for handler in (curl, httpie, netcat, lookup, rpc, openssl)}
