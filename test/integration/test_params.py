"""Session parameters follow their client to whatever server it gets, and never stay for the next one."""

import contextlib
import threading

import pytest

from harness.pooler import assert_error
from harness.wire import PARAMETERS, FakeServer, cstring, query

NASTY = [
    "plain", "", " ", "it's", "''", "'", "\\", "back\\slash", "\\'", '"double"', "a;b", "'; SELECT 1; --", "$1 $$ %s",
    "x" * 63, "UPPER", "upper", "= ,", "tab\tand more", "E'\\x41'", "new\nline",
]
VALUES = {
    "application_name": NASTY,
    "TimeZone": ["UTC", "Europe/Berlin", "<+0530>-05:30", "asia/kolkata"],
    "DateStyle": ["ISO, MDY", "German, DMY", "SQL, DMY", "Postgres, YMD"],
    "client_encoding": ["UTF8", "LATIN1", "SJIS", "WIN1252"],
    "standard_conforming_strings": ["on", "off"],
    "IntervalStyle": ["postgres", "iso_8601", "sql_standard", "postgres_verbose"],
}


@contextlib.contextmanager
def held(pooler):
    """A client in a transaction: the one server that was free no longer is."""
    with pooler.wire(user="app") as w:
        assert w.query("BEGIN").error is None
        yield w


def as_server_says(pg, application_name):
    """PostgreSQL replaces what is not printable ASCII."""
    with pg.connect(autocommit=True) as c:
        return c.execute("SELECT set_config('application_name', %s, false)", [application_name]).fetchone()[0]


def show(w, name):
    return w.value(f"SHOW {name}")


@pytest.mark.parametrize("name", VALUES)
def test_startup_value_on_every_server(make_pooler, pg, name):
    pooler = make_pooler(default_pool_size=2, max_client_conn=200)
    with contextlib.ExitStack() as stack:
        clients = [(stack.enter_context(pooler.wire(**{name: value})), value) for value in VALUES[name]]
        first = []
        for w, value in clients:
            first.append(show(w, name))
            assert name != "application_name" or first[-1] == as_server_says(pg, value)
            with held(pooler):
                assert show(w, name) == first[-1]
        assert len(set(first)) == len(set(VALUES[name]))
        # All of them again, on servers that have had all the other values by now.
        for (w, _), expected in reversed(list(zip(clients, first))):
            assert show(w, name) == expected


@pytest.mark.parametrize("value", NASTY)
def test_set_value_follows(make_pooler, pg, value):
    expected = as_server_says(pg, value)
    pooler = make_pooler(default_pool_size=2)
    with pooler.wire() as a, pooler.wire(application_name="b") as b:
        literal = "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        assert a.query(f"SET application_name = {literal}").error is None
        assert show(b, "application_name") == "b"
        assert show(a, "application_name") == expected
        with held(pooler):
            assert show(a, "application_name") == expected
            assert show(b, "application_name") == "b"
        assert a.query("SELECT 1").types in ("TDCZ", "STDCZ")


def test_backslashes_without_standard_conforming_strings(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(standard_conforming_strings="off", application_name="a\\'b\\\\c") as a, \
            pooler.wire(application_name="x\\'y") as b:
        for _ in range(2):
            assert show(a, "application_name") == "a\\'b\\\\c"
            assert a.value("SHOW standard_conforming_strings") == "off"
            assert show(b, "application_name") == "x\\'y"
            assert b.value("SHOW standard_conforming_strings") == "on"


def test_client_encoding_matters_for_the_bytes(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(client_encoding="LATIN1") as latin, pooler.wire(client_encoding="UTF8") as utf:
        latin.send_raw(query("SELECT convert_to('\xe4', 'UTF8')::text".encode("latin-1")))
        assert latin.result().value == "\\xc3a4"
        utf.send_raw(query("SELECT convert_to('ä', 'UTF8')::text"))
        assert utf.result().value == "\\xc3a4"


def test_values_differing_only_in_case(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(application_name="Tenant") as a, pooler.wire(application_name="tenant") as b:
        for _ in range(3):
            assert show(a, "application_name") == "Tenant"
            assert show(b, "application_name") == "tenant"


def test_nothing_stays_for_the_next_client(make_pooler, pg):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire() as w:
        defaults = {name: show(w, name) for name in VALUES}
    with pooler.wire(application_name="secret", TimeZone="Asia/Kolkata", DateStyle="German",
                     client_encoding="LATIN1", IntervalStyle="iso_8601") as w:
        assert show(w, "application_name") == "secret"
        w.query("SET standard_conforming_strings = off")
    with pooler.wire() as w:
        assert {name: show(w, name) for name in VALUES} == defaults


def test_welcome_tells_the_clients_own_values(make_pooler):
    pooler = make_pooler()
    for _ in range(2):
        with pooler.wire(application_name="mine", TimeZone="Asia/Kolkata") as w:
            assert w.parameters["application_name"] == "mine"
            assert w.parameters["TimeZone"] == "Asia/Kolkata"
            assert w.parameters["server_version"].startswith("15")
            for name in ("server_encoding", "client_encoding", "DateStyle", "integer_datetimes",
                         "standard_conforming_strings", "IntervalStyle"):
                assert name in w.parameters
            assert len(w.key) == 8


def test_welcome_of_one_client_is_not_the_next_ones(make_pooler):
    """The greeting is kept from login to login."""
    pooler = make_pooler()
    for _ in range(2):
        with pooler.wire(application_name="a", DateStyle="German, DMY") as w:
            assert (w.parameters["application_name"], w.parameters["DateStyle"]) == ("a", "German, DMY")
        with pooler.wire(application_name="b") as w:
            assert (w.parameters["application_name"], w.parameters["DateStyle"]) == ("b", "ISO, MDY")
        with pooler.wire() as w:
            assert w.parameters["application_name"] == ""


def test_set_is_reported_to_the_client(pooler):
    with pooler.wire() as w:
        assert w.query("SET application_name = 'new'").parameters == {"application_name": "new"}


def test_the_poolers_own_set_is_not_seen_by_the_client(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(application_name="a") as a, pooler.wire(application_name="b") as b:
        for _ in range(3):
            for w in (a, b):
                result = w.query("SELECT 1")
                assert result.types.replace("S", "") == "TDCZ"
                assert len(result.tags) == 1


def test_set_local_ends_with_the_transaction(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(application_name="a") as a, pooler.wire(application_name="b") as b:
        a.query("BEGIN; SET LOCAL application_name = 'local'")
        assert show(a, "application_name") == "local"
        a.query("ROLLBACK")
        assert show(b, "application_name") == "b"
        assert show(a, "application_name") == "a"


def test_extended_protocol_gets_the_values_too(make_pooler):
    pooler = make_pooler(default_pool_size=1)
    with pooler.wire(application_name="a") as a, pooler.wire(application_name="b") as b:
        for _ in range(3):
            assert a.extended("SELECT current_setting('application_name')").value == "a"
            assert b.extended("SELECT current_setting('application_name')").value == "b"


def test_application_name_add_host(make_pooler):
    pooler = make_pooler(application_name_add_host=1)
    with pooler.wire(application_name="mine") as w:
        port = w.sock.getsockname()[1]
        assert show(w, "application_name") == f"mine - 127.0.0.1:{port}"


# Startup parameters that are not tracked

def test_unsupported_startup_parameter(pooler):
    with pooler.raw() as w:
        error = w.try_login("app", "app", work_mem="77MB")
        assert_error(error, "unsupported startup parameter: work_mem", "0A000", "22023")


def test_ignored_startup_parameter(make_pooler):
    pooler = make_pooler(ignore_startup_parameters="extra_float_digits, work_mem")
    with pooler.wire(extra_float_digits="3", work_mem="77MB") as w:
        assert w.value("SHOW work_mem") != "77MB"


def test_options_with_tracked_parameters(make_pooler):
    pooler = make_pooler(default_pool_size=2)
    options = "-c DateStyle=German -c TimeZone=Asia/Kolkata --IntervalStyle=iso_8601 -capplication_name=o\\ n"
    with pooler.wire(options=options) as w:
        for _ in range(2):
            assert show(w, "datestyle").startswith("German")
            assert show(w, "timezone") == "Asia/Kolkata"
            assert show(w, "intervalstyle") == "iso_8601"
            assert show(w, "application_name") == "o n"


@pytest.mark.parametrize("options, text", [
    ("-c work_mem=77MB", "unsupported startup parameter in options: work_mem"),
    ("-d 5", "unsupported options startup parameter: only '-c config=val'"),
    ("-c", "unsupported options startup parameter: only '-c config=val'"),
    ("nonsense", "unsupported options startup parameter: only '-c config=val'"),
])
def test_unsupported_options(pooler, options, text):
    with pooler.raw() as w:
        assert_error(w.try_login("app", "app", options=options), text, "0A000", "22023", "42601")


def test_ignored_options(make_pooler):
    pooler = make_pooler(ignore_startup_parameters="options")
    with pooler.wire(options="-c work_mem=77MB -d 5") as w:
        assert w.value("SHOW work_mem") != "77MB"


def test_ignored_parameter_within_options(make_pooler):
    pooler = make_pooler(ignore_startup_parameters="work_mem")
    with pooler.wire(options="-c work_mem=77MB -c DateStyle=German") as w:
        assert show(w, "datestyle").startswith("German")


# More tracked parameters than the server at hand reports: a server that reports search_path, as PostgreSQL 18 does.

class TrackingServer:
    """Notes which of the known values was in force for each query; understands SET and set_config()."""

    def __init__(self, values):
        self.values = sorted(values, key=len, reverse=True)
        self.ran = []
        self.lock = threading.Lock()

    def script(self, peer):
        current = peer.read_startup().get("search_path", "default")
        peer.welcome(search_path=current)
        said = b""
        while True:
            kind, body = peer.recv()
            if kind == "X":
                return
            if kind == "Q" and body.startswith(b"SET TO "):
                current = body[7:-1].decode()
                peer.send("S", cstring("search_path") + cstring(current))
                peer.send("C", cstring("SET"))
                peer.ready()
                continue
            if kind == "Q" and body.startswith(b"CLIENT "):
                with self.lock:
                    self.ran.append((body[7:-1].decode(), current))
                peer.send("C", cstring("SELECT 0"))
                peer.ready()
                continue
            said += body
            if kind in "PBDE":
                peer.send({"P": "1", "B": "2", "D": "n", "E": "C"}[kind], cstring("SELECT 1") if kind == "E" else b"")
            if kind in "QS":
                current = self.value_in(said) or current
                peer.send("S", cstring("search_path") + cstring(current))
                if kind == "Q":
                    peer.send("C", cstring("SET"))
                peer.ready()
                said = b""

    def value_in(self, said):
        bare = without_quoting(said)
        return next((v for v in self.values if without_quoting(v.encode()) in bare), None)


def without_quoting(data):
    """However the pooler writes a value, as one literal or as a list of names, this remains of it."""
    return data.translate(None, b"'\"\\ ")


@pytest.mark.parametrize("values", [
    ["first_schema", "x" * 200, "y" * 1000],
    ["a" * 61440, "b" * 61440],
    ['"Tenant"', '"tenant"', '"TENANT"'],
    ['"Přátelé", público', "it's'mine"],
], ids=["long", "60KiB", "case", "utf8"])
def test_extra_tracked_parameter(make_pooler, values):
    tracking = TrackingServer(values)
    with FakeServer(tracking.script) as server:
        pooler = make_pooler(databases={"app": server.entry}, default_pool_size=1, server_check_query="",
                             track_extra_parameters="IntervalStyle, search_path")
        with contextlib.ExitStack() as stack:
            clients = []
            for value in values:
                # PostgreSQL takes no startup packets of more than 10,000 bytes: a longer value is set later.
                by_startup = {"search_path": value} if len(value) < 8000 else {}
                clients.append(stack.enter_context(pooler.wire(**by_startup)))
                if not by_startup:
                    assert clients[-1].query(f"SET TO {value}").parameters == {"search_path": value}
            for _ in range(2):
                for i, w in enumerate(clients):
                    assert w.query(f"CLIENT {i}").tags == ["SELECT 0"]
    assert tracking.ran == [(str(i), value) for _ in range(2) for i, value in enumerate(values)]
    assert "search_path" not in PARAMETERS
