"""pgsluice-mkauth: lines for auth_file from a running server, with which clients log in."""

import hashlib
import os
import re
import shutil
import stat
import tempfile

import psycopg
import psycopg.sql
import pytest

from harness.pg import PASSWORD, ROLES
from harness.pooler import PROGRAM, is_pgbouncer, quoted
from harness.system import account, give_away, run
from harness.terminal import Terminal

MKAUTH = os.path.join(os.path.dirname(PROGRAM), "pgsluice-mkauth")
EXAMPLE = os.path.join(os.path.dirname(__file__), "../../etc/userlist.txt")
MANUAL = os.path.join(os.path.dirname(__file__), "../../doc/pgsluice-mkauth.1")

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="about our program")


def environment(**more):
    """libpq's own ways to find a password are shut."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**ours, "PGPASSFILE": "/nowhere", "LC_ALL": "C.UTF-8", **more}


def conninfo(pg, user="postgres", **more):
    return psycopg.conninfo.make_conninfo(host=pg.directory if user == "postgres" else "127.0.0.1", port=pg.port,
                                          user=user, dbname="postgres", **more)


def mkauth(*args, stdin="", **env):
    """Without a terminal to ask at."""
    return run([MKAUTH, *args], input=stdin, env=environment(**env), start_new_session=True)


def written(done):
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def refused(done, *words):
    """It says why in lines of its own, and has written nothing."""
    assert (done.returncode, done.stdout) == (1, "")
    assert all(line.startswith("pgsluice-mkauth: ") for line in done.stderr.splitlines()), done.stderr
    for word in words:
        assert word in done.stderr


def line(name, secret):
    return f"{quoted(name)} {quoted(secret)}"


@pytest.fixture
def folder():
    directory = tempfile.mkdtemp(prefix="pgsluice-mkauth-", dir="/tmp")
    yield directory
    shutil.rmtree(directory)


# Roles

def test_everybody_who_can_log_in_has_a_line_with_the_servers_secret(pg):
    lines = written(mkauth(conninfo(pg)))
    assert lines == sorted(lines)
    assert {line(role, pg.secret(role)) for role in ROLES} <= set(lines)
    assert not [text for text in lines if "demand_md5" in text], "a group is nobody who logs in"


def test_clients_log_in_through_a_pooler_with_the_file(pg, make_pooler):
    """And the pooler to the server, which asks each role as pg_hba.conf has it: it gets no password from the file."""
    pooler = make_pooler(start=False, auth_type="scram-sha-256")
    done = mkauth("-o", pooler.userlist_file, conninfo(pg))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pooler.start()
    with pooler.connect(user="scram_user", password=PASSWORD) as c:
        assert c.execute("SELECT current_user").fetchone() == ("scram_user",)
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        pooler.connect(user="scram_user", password="wrong")


def test_a_name_is_quoted_as_the_userlist_needs_it(pg):
    name = 'o"neil; ü x'
    pg.rows(psycopg.sql.SQL("DROP ROLE IF EXISTS {0}").format(psycopg.sql.Identifier(name)))
    pg.rows(psycopg.sql.SQL("CREATE ROLE {0} LOGIN").format(psycopg.sql.Identifier(name)))
    assert line(name, "") in written(mkauth(conninfo(pg)))


def test_a_name_with_a_lines_end_makes_no_line_of_its_own(pg):
    name = 'eve" ""\n"admin'
    identifier = psycopg.sql.Identifier(name)
    pg.rows(psycopg.sql.SQL("CREATE ROLE {} LOGIN").format(identifier))
    try:
        done = mkauth(conninfo(pg))
    finally:
        pg.rows(psycopg.sql.SQL("DROP ROLE {}").format(identifier))
    assert done.returncode == 0
    assert line("app", pg.secret("app")) in done.stdout.splitlines()
    assert "eve" not in done.stdout
    assert done.stderr.startswith('pgsluice-mkauth: left out: the role "eve\\" \\"\\"\\n\\"admin", for a line ')
    assert done.stderr.count("\n") == 1


def test_without_a_password_that_holds_the_secret_is_empty(pg):
    pg.make_role("mk_none")
    pg.make_role("mk_expired", PASSWORD, more="LOGIN VALID UNTIL '2001-01-01'")
    pg.make_role("mk_valid", PASSWORD, more="LOGIN VALID UNTIL 'infinity'")
    assert written(mkauth("-u", "mk_none", "-u", "mk_expired", "--user=mk_valid", conninfo(pg))) == [
        line("mk_expired", ""), line("mk_none", ""), line("mk_valid", pg.secret("mk_valid"))]


def test_all_who_are_asked_for_have_to_be_there(pg):
    refused(mkauth("-u", "app", "-u", "nobody", "-u", "demand_md5", conninfo(pg)),
            'the server has no role "nobody" that can log in\n',
            'the server has no role "demand_md5" that can log in\n')


def test_whoever_may_read_pg_shadow_may_write_the_file(pg):
    pg.make_role("mk_reader")
    refused(mkauth(conninfo(pg, "mk_reader")), "permission denied for view pg_shadow")
    pg.rows("GRANT SELECT ON pg_shadow TO mk_reader")
    try:
        assert line("app", pg.secret("app")) in written(mkauth(conninfo(pg, "mk_reader")))
    finally:
        pg.rows("REVOKE ALL ON pg_shadow FROM mk_reader")


def test_nobodys_objects_come_before_the_catalogs(pg):
    pg.rows("CREATE VIEW public.pg_shadow AS"
            " SELECT 'eve'::name AS usename, 'x' AS passwd, NULL::timestamptz AS valuntil")
    try:
        lines = written(mkauth(conninfo(pg, options="-csearch_path=public,pg_catalog")))
    finally:
        pg.rows("DROP VIEW public.pg_shadow")
    assert line("app", pg.secret("app")) in lines
    assert line("eve", "x") not in lines


def test_a_server_that_is_not_there_is_named(pg):
    refused(mkauth(f"host=127.0.0.1 port={pg.port} user=rejected dbname=postgres"), "pg_hba.conf rejects")
    refused(mkauth("host=/nowhere"), "/nowhere")
    refused(mkauth("port=x host=/nowhere"), "port")


# The server's password

@pytest.fixture
def reader(pg):
    """May read the roles and has to say a password."""
    pg.make_role("mk_guarded", PASSWORD, "demand_scram")
    pg.rows("GRANT SELECT ON pg_shadow TO mk_guarded")
    yield "mk_guarded"
    pg.rows("REVOKE ALL ON pg_shadow FROM mk_guarded")


def test_a_password_comes_from_where_libpq_has_it(pg, reader):
    assert line("app", pg.secret("app")) in written(mkauth(conninfo(pg, reader), PGPASSWORD=PASSWORD))
    refused(mkauth(conninfo(pg, reader)), "no password supplied")


def test_a_password_that_is_missing_is_asked_for_unseen(pg, reader, folder):
    file = os.path.join(folder, "users")
    with Terminal([MKAUTH, "-o", file, conninfo(pg, reader)], env={"PGPASSFILE": "/nowhere"}) as terminal:
        terminal.wait(lambda: "Password for the server:" in terminal.text, "it asks")
        terminal.press(PASSWORD, "enter")
        assert terminal.process.wait(30) == 0
        terminal.read(0.1)
        assert PASSWORD.encode() not in terminal.written
    with open(file) as f:
        assert line("app", pg.secret("app")) in f.read().splitlines()


# The file

def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_new_file_is_its_owners_alone(pg, folder):
    file = os.path.join(folder, "users")
    assert written(mkauth("-o", file, "-u", "app", conninfo(pg))) == []
    with open(file) as f:
        assert f.read() == line("app", pg.secret("app")) + "\n"
    assert mode(file) == 0o600
    assert os.listdir(folder) == ["users"]


def test_a_file_that_is_replaced_stays_whose_it_is(pg, folder):
    """Whoever has the old one open goes on reading that."""
    file = os.path.join(folder, "users")
    with open(file, "w") as f:
        f.write("old\n")
    give_away(file)
    os.chmod(file, 0o664)
    with open(file) as old:
        written(mkauth("--output", file, "-u", "app", conninfo(pg)))
        assert old.read() == "old\n"
    # Not what makes a file with passwords a danger.
    assert mode(file) == 0o640
    assert os.stat(file).st_uid == account().pw_uid
    with open(file) as f:
        assert f.read() == line("app", pg.secret("app")) + "\n"


def test_of_a_link_the_target_is_replaced(pg, folder):
    target, link = os.path.join(folder, "target"), os.path.join(folder, "link")
    open(target, "w").close()
    os.symlink("target", link)
    written(mkauth("-o", link, "-u", "app", conninfo(pg)))
    assert os.path.islink(link)
    assert os.path.getsize(target) > 0


def test_what_is_no_file_is_left_alone(pg, folder):
    fifo = os.path.join(folder, "fifo")
    os.mkfifo(fifo)
    refused(mkauth("-o", fifo, conninfo(pg)), f"{fifo}: not a regular file")
    refused(mkauth("-o", os.path.join(folder, "none/users"), conninfo(pg)), "No such file or directory")
    assert os.listdir(folder) == ["fifo"] and stat.S_ISFIFO(os.stat(fifo).st_mode)


def test_when_it_fails_the_file_is_as_before(pg, folder):
    file = os.path.join(folder, "users")
    with open(file, "w") as f:
        f.write("old\n")
    refused(mkauth("-o", file, "-u", "nobody", conninfo(pg)))
    refused(mkauth("-o", file, "host=/nowhere"))
    with open(file) as f:
        assert f.read() == "old\n"
    assert os.listdir(folder) == ["users"]


def test_the_arguments_of_pgbouncers_mkauth_are_understood(pg, folder):
    file = os.path.join(folder, "users")
    assert written(mkauth(file, conninfo(pg))) == []
    with open(file) as f:
        assert f.read().splitlines() == written(mkauth(conninfo(pg)))


# --hash

def test_a_password_is_hashed_as_the_server_would(pg):
    """Whoever may log in may ask how; the server does not hear of the password."""
    [scram] = written(mkauth("--hash", "ann", conninfo(pg, "app"), stdin="secret\n"))
    assert re.fullmatch(r'"ann" "SCRAM-SHA-256\$4096:[^"]+"', scram)
    [md5] = written(mkauth("--hash=ann", conninfo(pg, "app", options="-cpassword_encryption=md5"), stdin="secret"))
    assert md5 == line("ann", "md5" + hashlib.md5(b"secretann").hexdigest())
    assert written(mkauth("--hash=ann", "--method=md5", conninfo(pg, "app"), stdin="secret\nmore\n")) == [md5]
    refused(mkauth("--hash=ann", "--method=rot13", conninfo(pg, "app"), stdin="secret\n"), 'algorithm "rot13"')


def test_a_client_logs_in_with_the_password_that_was_hashed(pg, make_pooler):
    pooler = make_pooler(start=False, auth_type="scram-sha-256")
    [hashed] = written(mkauth("--hash=app", conninfo(pg, "app"), stdin=PASSWORD + "\n"))
    with open(pooler.userlist_file, "a") as f:
        f.write(hashed + "\n")
    pooler.start()
    assert pooler.attempt(password=PASSWORD).error is None
    assert pooler.attempt(password="wrong").error["C"] == "28P01"


@pytest.mark.parametrize("stdin, why", [("", "no password on standard input"), ("\n", "the password is empty"),
                                        ("x" * 1024 + "\n", "the password is too long")])
def test_what_is_no_password_is_not_hashed(pg, stdin, why):
    refused(mkauth("--hash=ann", conninfo(pg, "app"), stdin=stdin), why)


@pytest.mark.parametrize("again, status", [("secret", 0), ("other", 1)])
def test_at_a_terminal_a_password_is_typed_twice(pg, again, status):
    with Terminal([MKAUTH, "--hash=ann", conninfo(pg, "app")]) as terminal:
        terminal.wait(lambda: "Password:" in terminal.text, "it asks")
        terminal.press("secret", "enter")
        terminal.wait(lambda: "Once more:" in terminal.text, "it asks again")
        terminal.press(again, "enter")
        assert terminal.process.wait(30) == status
        terminal.read(0.1)
        assert ('"ann" "SCRAM' if status == 0 else "the two are not the same") in terminal.text
        assert "secret" not in terminal.text


def test_the_example_of_a_userlist_lets_in_whom_it_names(make_pooler):
    """A line for each kind of secret, with the same password."""
    pooler = make_pooler(start=False, auth_type="md5", databases={"app": {"user": "app"}})
    with open(EXAMPLE) as f:
        text = re.sub('(?m)^;"', '"', f.read())
    pooler.write_file("userlist.txt", text)
    pooler.start()
    users = re.findall('(?m)^"([^"]+)"', text)
    assert len(users) == 3
    for user in users:
        assert pooler.attempt("a password", user).error is None
        assert pooler.attempt("wrong", user).error["C"] == "28P01"


# The command line

@pytest.mark.parametrize("args, why", [
    (["--method=md5"], "--method goes with --hash"),
    (["--hash=a", "-u", "b"], "--user does not go with it"),
    (["--hash=a", "-o", "b"], "add it to a file with >>"),
    (["--hash=a", "b", "c"], "add it to a file with >>"),
    (["-o", "a", "b", "c"], "too many arguments"),
    (["a", "b", "c"], "too many arguments"),
])
def test_what_does_not_go_together_is_refused(args, why):
    refused(mkauth(*args), why)


def test_the_manual_page_has_every_option():
    with open(MANUAL) as f:
        manual = f.read().replace("\\-", "-")
    options = set(re.findall(r"--[a-z]+", mkauth("--help").stdout))
    assert len(options) == 6
    for option in options:
        assert re.search(rf"^\..*{option}\b", manual, re.M), option
