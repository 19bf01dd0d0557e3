"""doc/troubleshooting.md: no error that a client can get is missing from it."""

import glob
import os
import re

from harness import document

SOURCES = os.path.join(document.TOP, "src")
WORD = r'(?:"(?:[^"\\\n]|\\.)*"|\b[A-Z_]+\b)'
TEXT = rf"({WORD}(?:\s*{WORD})*)"  # literals one after the other, and macros that stand for one

# Who words an error for clients, and where in it the words are. Those of server_login are kept in a pool's failure.
WORDING = {
    "admin/*.c": [
        rf"\banswer_(?:error|failure|error_about)\(rq, \w+, {TEXT}[,)]",
        rf"\breply_(?:error|failure)\([\w>., -]*?, [A-Z_]+, {TEXT},",
        rf"\brefuse\(rq, \w+, {TEXT}\)",
        rf"\bfail\(v, out, \w+, {TEXT},",
        rf"\bfind_database\(rq, {TEXT}\)",
    ],
    "auth/*_auth.c": [rf"\bfail\(a, (?:\"\w+\"|sqlstate), {TEXT}[,)]"],
    "proto/startup.c": [rf"\bbad\(s, {TEXT}\)", rf"\bsnprintf\(s->error, sizeof\(s->error\), {TEXT}, [a-z]"],
    "session/*.c": [
        rf"\bclient_close_with\(c, CLOSE_\w+, {TEXT},",
        rf"\bfail\(c, CLOSE_\w+, {TEXT}\)",
        rf"\bserver_login_broken\(s, {TEXT},",
        rf"\bclose_login\(s, {TEXT},",
        rf"\btry_next_host\(s, \w+, {TEXT},",
        rf"\brefuse_with\(c, [^;]*?, {TEXT},",
        rf"\.message = (?:[^;,]*\? )?{TEXT}[,}}]",
        rf"\.message = [^;,\"]*: {TEXT}[,}}]",
    ],
}

# Not the words of an error: notices, and what becomes part of one.
NO_ERRORS = {
    "No server connection available in postgres backend, client being queued": "a notice",
    "username": "the subject of: ... too long",
    "database name": "the subject of: ... too long",
    "password message": "the subject of: bad packet header",
    "%s": "words that come from elsewhere",
    "login failed": "kept words, if there were none",
    "invalid parameter": "PostgreSQL's words, if there is no memory for them",
}


def sources(pattern):
    for path in sorted(glob.glob(os.path.join(SOURCES, pattern))):
        with open(path) as f:
            yield os.path.relpath(path, SOURCES), f.read()


def macros():
    """{name: its value in quotes} of the texts in headers, some of which are made of others."""
    found = {}
    for _, text in sources("*/*.h"):
        for name, expression in re.findall(rf"#define ([A-Z_]+) (?:\\\n\s*)?{TEXT}\s*(?:/\*.*)?\n", text):
            value = value_of(expression, found)
            if value is not None:
                found[name] = f'"{value}"'
    return found


def value_of(expression, names):
    """The text that literals and macros make together; None if a macro is no text."""
    parts = re.findall(r'"(?:[^"\\]|\\.)*"|[A-Z_]+', expression)
    literals = [part if part[0] == '"' else names.get(part) for part in parts]
    if not parts or None in literals:
        return None
    return "".join(literal[1:-1] for literal in literals).replace('\\"', '"')


def worded():
    """{words: file} of all errors that sources word themselves."""
    names, found = macros(), {}
    for pattern, calls in WORDING.items():
        for path, text in sources(pattern):
            for call in calls:
                for match in re.finditer(call, text):
                    words = value_of(match[1], names)
                    if words is not None:
                        found.setdefault(words, path)
    return found


def explained():
    """The words in the table of explanations: the first text behind the name or SQLSTATE."""
    with open(os.path.join(document.TOP, "doc/manual/errors.def")) as f:
        table = f.read()
    return [value_of(text, {}) for text in re.findall(rf"\n(?:VARIANT|MESSAGE)\([\w\"]+,\s+{TEXT},", table)]


def test_errors_are_found_in_the_sources():
    """The patterns still fit the code: each finds something, and all of them what is known to be there."""
    for pattern, calls in WORDING.items():
        texts = [text for _, text in sources(pattern)]
        for call in calls:
            assert any(re.search(call, text) for text in texts), call
    assert {"admin access needed", "connect timeout", "SASL authentication failed"} <= set(worded())


def test_every_error_that_sources_word_is_explained():
    table = set(explained())
    missing = {words: path for words, path in worded().items() if words not in table and words not in NO_ERRORS}
    assert not missing


def test_every_explanation_is_of_words_that_sources_have():
    """Else it has outlived its error."""
    names = macros()
    everything = "".join(value_of(match, names) or "" for pattern in ("*/*.c", "*/*.h") for _, text in sources(pattern)
                         for match in re.findall(TEXT, text))
    for words in explained():
        if words.startswith("("):
            continue
        for part in re.split(r"%[sud]|SCRAM-SHA-256(?:-PLUS)?|\"|prepared statement|portal|%s", words):
            assert part.strip() in everything, words


def test_errors_reach_clients_only_through_those_who_are_looked_at():
    callers = {path for path, text in sources("*/*.c") if "out_error_response(" in text and path != "proto/out.c"}
    assert callers == {"admin/reply.c", "session/cancel_waiting.c", "session/client.c", "session/client_welcome.c",
                       "session/prepared_reply.c"}


def test_the_page_has_what_the_table_says():
    page = document.read("doc/troubleshooting.md")
    for words in explained():
        shown = re.sub(r"%\w", "...", words)
        assert shown in page, words
