"""
No secret reaches a log, an answer of the console, an error, or a process title: a run with secrets that cannot be
mistaken for anything else, with everything that can go wrong with them, and then a search for every one of them.
"""

import base64
import contextlib
import glob
import hashlib
import os

import pytest

from harness.system import run
from harness.vouchers import Pam, SecretTable, Slapd
from harness.wire import Scram, Stream, md5_secret, scram_secret

TABLES = ("CLIENTS", "SERVERS", "SOCKETS", "ACTIVE_SOCKETS", "POOLS", "PEER_POOLS", "DATABASES", "PEERS", "USERS",
          "LISTS", "STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "CONFIG", "MEM", "STATE", "VERSION",
          "DNS_HOSTS", "DNS_ZONES", "FDS", "HELP", "CLOSE_REASONS", "ERRORS", "SERVER_PREPARED_STATEMENTS", "nonsense")


class Secrets:
    """Secrets by what they are, and all that could be told of one: hashes, keys, encodings."""

    def __init__(self):
        self.known = {}

    def new(self, what):
        """A password that is nowhere else."""
        self.known[what] = f"Zq{hashlib.sha256(what.encode()).hexdigest()[:16]}"
        return self.known[what]

    def keep(self, what, text):
        self.known[what] = text
        return text

    def md5(self, user, password):
        secret = md5_secret(user, password)
        self.keep(f"md5 hash of {user}", secret[3:])
        return secret

    def scram(self, user, password):
        return self.keep_verifier(user, password, scram_secret(password))

    def keep_verifier(self, user, password, verifier):
        """The parts of a verifier, and the client's key that it hides."""
        iterations, salt = verifier.split("$")[1].split(":")
        stored, server = verifier.split("$")[2].split(":")
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
        client = Scram.mac(salted, b"Client Key")
        for what, part in (("salt", salt), ("stored key", stored), ("server key", server),
                           ("client key", base64.b64encode(client).decode())):
            self.keep(f"{what} of {user}", part)
            self.keep(f"{what} of {user} in hex", base64.b64decode(part).hex())
        return verifier

    def found_in(self, text):
        text = text.lower()
        return sorted(what for what, secret in self.known.items()
                      if any(form.lower() in text for form in (secret, base64.b64encode(secret.encode()).decode())))

    def found_in_lines(self, lines):
        """The secrets, each with the first line that has it."""
        return {what: next(line for line in lines if what in self.found_in(line))
                for what in self.found_in("\n".join(lines))}


@pytest.fixture
def heard(monkeypatch):
    """What poolers tell raw clients, but for the exchange of passwords and the echo of a console's SET."""
    messages, recv = [], Stream.recv

    def recording(self):
        message = recv(self)
        if message.type not in "RC":
            messages.append(message.body.decode("latin-1"))
        return message

    monkeypatch.setattr(Stream, "recv", recording)
    return messages


@pytest.fixture
def others(pg):
    """PAM, a directory, a table: with what they know."""
    with contextlib.ExitStack() as stack:
        def close_later(thing):
            stack.callback(thing.close)
            return thing

        yield close_later


def test_the_search_finds(pg):
    """What it is worth: a text with a secret in it is found, whichever way it is written."""
    secrets = Secrets()
    password = secrets.new("password")
    verifier = secrets.scram("somebody", password)
    assert secrets.found_in("nothing") == []
    for text in (password, password.upper(), base64.b64encode(password.encode()).decode()):
        assert secrets.found_in(f"before {text} behind") == ["password"]
    assert len(secrets.found_in(verifier)) == 3


def show_everything(pooler, password):
    with pooler.wire("pgbouncer", "admin", password) as w:
        for table in TABLES:
            w.query(f"SHOW {table}")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_tells_a_secret(make_pooler, pg, heard, others, log_format):
    secrets, said = Secrets(), []
    new = secrets.new

    # Those who log in, by what is stored of them.
    admin, plain, hashed, proved, passed, asked_for = (new(f"{n}'s password") for n in (
        "admin", "plain", "hashed", "proved", "passed", "asked_for"))
    forced, asker, reader = new("forced user's password"), new("auth_user's password"), new("reader's password")
    by_pam, by_ldap = new("password for PAM"), new("password for LDAP")
    wrong = new("a mistyped password")
    secrets.keep_verifier("passed", passed, pg.make_role("passed", passed, "demand_scram"))
    secrets.md5("hashed_role", new("hashed_role's password"))
    pg.make_role("hashed_role", secrets.known["hashed_role's password"], "demand_md5", "md5")
    pg.make_role("plain_role", plain, "demand_password")
    pg.make_role("forced_role", forced, "demand_scram")
    pg.make_role("asker", asker, "demand_scram")
    table = others(SecretTable(pg))
    table.put("asked_for", secrets.scram("asked_for", asked_for))
    table.put("hashed_role", pg.secret("hashed_role"))
    pam = others(Pam({"pam_user": by_pam}))
    slapd = others(Slapd({"ldap_user": by_ldap}, reader_password=reader))
    search = (f"ldapserver=127.0.0.1 ldapport={slapd.port} ldapbasedn=\"dc=example,dc=net\""
              f" ldapbinddn=\"cn=reader,dc=example,dc=net\" ldapbindpasswd=\"{reader}\"")
    pooler = make_pooler(
        args=["-v", "-v"], auth_type="hba", auth_user="asker", auth_query=SecretTable.QUERY, auth_dbname="app",
        auth_pam_confdir=pam.confdir, auth_ldap_options=search, server_login_retry=0, verbose=2, start=False,
        log_format=log_format, log_min_duration="1us", log_min_wait="1us",
        databases={
            "app": {}, "open": {"dbname": "app", "user": "app"},
            "forced": {"dbname": "app", "user": "forced_role", "password": forced},
            "refused": {"dbname": "app", "user": "forced_role", "password": new("a wrong forced password")},
        },
        userlist={
            "admin": admin, "asker": asker, "plain": plain, "plain_role": plain,
            "hashed": secrets.md5("hashed", hashed), "proved": secrets.scram("proved", proved),
            "passed": pg.secret("passed"), "differs": secrets.scram("differs", passed)})
    hba = ("host pgbouncer all all scram-sha-256\n"
           "host all pam_user all pam\n"
           f"host all ldap_user all ldap {search}\n"
           "host all all 127.0.0.2/32 password\n"
           "host all hashed,hashed_role all md5\n"
           "host all all all scram-sha-256\n")
    pooler.settings["auth_hba_file"] = pooler.write_file("hba", hba)
    pooler.write()
    pooler.start()

    people = {"plain": plain, "hashed": hashed, "proved": proved, "asked_for": asked_for, "pam_user": by_pam,
              "ldap_user": by_ldap}

    def everybody():
        for user, password in people.items():
            for source in (None, "127.0.0.2"):
                pooler.attempt(password, user, "open", source=source)
            for guess in (wrong, "", "x" * 70000):
                with contextlib.suppress(OSError):
                    pooler.attempt(guess, user, "open")
            pooler.attempt(password, user, "nosuch")
        assert pooler.attempt(passed, "passed").outcome == "in"
        assert pooler.attempt(plain, "plain_role", source="127.0.0.2").outcome == "in"
        assert pooler.attempt(secrets.known["hashed_role's password"], "hashed_role").outcome == "in"
        assert pooler.attempt(plain, "plain", "forced").outcome == "in"
        assert pooler.attempt(plain, "plain", "refused").outcome == "28P01"
        assert pooler.attempt(passed, "differs").error is not None

    assert {user: pooler.attempt(password, user, "open").outcome for user, password in people.items()} == dict.fromkeys(
        people, "in")
    everybody()
    with pooler.wire("app", "passed", passed) as w:
        assert w.value("SELECT 1") == "1"
        w.query(f"ALTER ROLE nobody PASSWORD '{new('a password in a query')}'")
        show_everything(pooler, admin)
        pooler.lose_servers("passed")
        assert w.value("SELECT 1") == "1"

    # Secrets that change, by RELOAD and SET, and what is said about that.
    new_reader = new("reader's next password")
    pooler.userlist["plain"] = people["plain"] = plain = new("plain's next password")
    pooler.databases["forced"]["password"] = new("forced user's next password")
    assert pooler.reload(auth_ldap_options=search.replace(reader, new_reader)).error is None
    with pooler.wire("pgbouncer", "admin", admin) as w:
        w.query(f"SET auth_ldap_options = 'ldapserver=x ldapprefix=y ldapbindpasswd={new('a password in SET')}'")
        w.query(f"SET auth_ldap_options = 'ldapserver=x nonsense={new('a password in a wrong option')}'")
    pooler.attempt(plain, "plain", "forced")
    show_everything(pooler, admin)

    # The directory, PAM and the server fail in other ways than by saying no.
    slapd.stop()
    pooler.attempt(by_ldap, "ldap_user", "open")
    pam.service("pgbouncer", "auth required pam_nosuch.so")
    pooler.attempt(by_pam, "pam_user", "open")
    for query in ("SELECT $1, 1/0", "SELECT 1, 2, 3 WHERE $1 = ''", SecretTable.QUERY):
        pooler.hang_up(auth_query=query)
        pooler.attempt(asked_for, "asked_for", "open")
    table.put("asked_for", new("a plain secret in the table"))
    pooler.attempt(wrong, "asked_for", "open")

    # Files with secrets that do not parse: what is wrong is told without what it is wrong with.
    def tells(text):
        said.append(text)

    def broken(what, spoil):
        """Spoils a copy of the configuration, has it checked and reloaded, and puts it right again."""
        names = ("pooler.ini", "userlist.txt", "hba")
        before = {name: open(os.path.join(pooler.directory, name)).read() for name in names}
        name, text = spoil(before)
        assert text != before[name], what
        pooler.write_file(name, text)
        checked = pooler.run("--check", pooler.ini)
        tells(checked.stdout + checked.stderr)
        assert checked.returncode == 1, what
        with pooler.wire("pgbouncer", "admin", admin) as w:
            assert w.query("RELOAD").error is not None
        pooler.write_file(name, before[name])

    def in_file(name, old, replacement):
        return lambda files: (name, files[name].replace(old, replacement, 1))

    def added(name, line):
        return lambda files: (name, files[name] + line + "\n")

    bad = new("a password in a broken line")
    broken("no end of a quote in a userlist", added("userlist.txt", f'"x" "{bad}'))
    broken("no quotes in a userlist", added("userlist.txt", f"x {bad}"))
    broken("no quotes around the secret", added("userlist.txt", f'"x" {bad}'))
    broken("connection string without an end", in_file("pooler.ini", "open =", f"x = password='{bad}\nopen ="))
    broken("connection string with a blank", in_file("pooler.ini", "open =", f"x = password={bad} {bad}\nopen ="))
    broken("connection string with an unknown key", in_file("pooler.ini", "open =", f"x = password={bad} x=y\nopen ="))
    broken("connection string with a mistyped key", in_file("pooler.ini", "open =", f"x = pasword={bad}\nopen ="))
    broken("a password that is quoted twice", in_file("pooler.ini", "open =", f"x = password=''{bad}''\nopen ="))
    broken("LDAP options without an end",
           in_file("pooler.ini", "ldapbindpasswd=\"", f"ldapbindpasswd=\"{bad} ldapx=\""))
    broken("LDAP options with a blank", in_file("hba", f"\"{reader}\"", f"{bad} {bad}"))
    broken("LDAP options without a quote's end", in_file("hba", f"\"{reader}\"", f"\"{bad}"))
    broken("an option that does not exist", in_file("hba", "ldapbindpasswd", "ldapbindpaswd"))
    assert pooler.attempt(plain, "plain", "open").outcome == "in"

    # The process, as others on the machine see it.
    for pid in [pooler.pid, *pooler.children()]:
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as f:
                tells(f.read().decode("latin-1"))
    with pooler.wire("pgbouncer", "admin", admin) as w:
        show_everything(pooler, admin)
    tells(run(["ls", pooler.directory]).stdout)
    pooler.stop()
    tells(pooler.log())

    assert len(pooler.log()) > 10000 and len(heard) > 200
    assert secrets.found_in_lines(heard) == {}
    assert secrets.found_in_lines("\n".join(said).splitlines()) == {}
    # Nor did it leave files with them: a core, a copy of a configuration.
    ours = {pooler.ini, pooler.userlist_file, pooler.settings["auth_hba_file"], pooler.program}
    for path in set(glob.glob(os.path.join(pooler.directory, "*"))) - ours:
        with open(path, "rb") as f:
            assert secrets.found_in(f.read().decode("latin-1")) == [], path
