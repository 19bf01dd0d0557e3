"""The harness' own: a primary and a standby that do what the tests of target_session_attrs take for granted."""

import psycopg
import pytest

from harness.replica import PRIMARY, STANDBY
from harness.system import eventually, run


def reads(server):
    return [i for i, in server.rows("SELECT i FROM written ORDER BY i", "app")]


def write(server, i):
    server.rows(f"CREATE TABLE IF NOT EXISTS written (i int); INSERT INTO written VALUES ({i})", "app")


def assert_is_standby(server):
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as error:
        write(server, 1)
    assert error.value.sqlstate == "25006"
    assert server.value("SELECT pg_is_in_recovery()")


def test_they_are_told_apart_by_their_addresses(replicas):
    for server, address in ((replicas.primary, PRIMARY), (replicas.standby, STANDBY)):
        answer = server.psql("SELECT host(inet_server_addr()), inet_server_port()", host=address)
        assert answer.stdout.strip() == f"{address}|{replicas.port}"


def test_the_standby_has_what_the_primary_writes(replicas):
    write(replicas.primary, 1)
    replicas.standby.wait_caught_up()
    assert reads(replicas.standby) == [1]
    assert_is_standby(replicas.standby)


def test_the_standby_survives_its_primary_and_a_promotion(replicas):
    write(replicas.primary, 1)
    replicas.standby.wait_caught_up()
    replicas.primary.stop()
    assert_is_standby(replicas.standby)
    replicas.standby.promote()
    write(replicas.standby, 2)
    assert reads(replicas.standby) == [1, 2]


def test_the_old_primary_comes_back_as_a_standby(replicas):
    replicas.standby.promote()
    write(replicas.standby, 1)
    replicas.primary.follow(replicas.standby)
    assert reads(replicas.primary) == [1]
    assert_is_standby(replicas.primary)
    write(replicas.standby, 2)
    replicas.primary.wait_caught_up()
    assert reads(replicas.primary) == [1, 2]


def test_a_stopped_standby_catches_up(replicas):
    replicas.standby.stop()
    write(replicas.primary, 1)
    replicas.standby.start()
    replicas.standby.wait_caught_up()
    assert reads(replicas.standby) == [1]


def test_a_primary_may_be_read_only(replicas):
    replicas.primary.be_read_only()
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        write(replicas.primary, 1)
    assert not replicas.primary.value("SELECT pg_is_in_recovery()")
    replicas.primary.be_read_only(False)
    write(replicas.primary, 1)


def test_each_test_has_new_ones(replicas):
    """Whatever was done before: no table, and the standby is one."""
    assert not replicas.primary.rows("SELECT FROM pg_class WHERE relname = 'written'", "app")
    assert_is_standby(replicas.standby)
    write(replicas.primary, 1)


def test_libpq_agrees_about_them(replicas):
    """target_session_attrs of psql, the model of the pooler's."""
    def server_of(attrs):
        dsn = f"host={replicas.hosts} port={replicas.port} user=app dbname=app target_session_attrs={attrs}"
        found = run(["psql", "-X", "-A", "-t", "-c", "SELECT host(inet_server_addr())", dsn])
        return found.stdout.strip()

    def servers():
        return {attrs: server_of(attrs)
                for attrs in ("read-write", "read-only", "primary", "standby", "prefer-standby")}

    assert servers() == {"read-write": PRIMARY, "read-only": STANDBY, "primary": PRIMARY, "standby": STANDBY,
                         "prefer-standby": STANDBY}
    replicas.primary.be_read_only()
    assert servers() == {"read-write": "", "read-only": PRIMARY, "primary": PRIMARY, "standby": STANDBY,
                         "prefer-standby": STANDBY}
    replicas.standby.stop()
    eventually(lambda: server_of("prefer-standby") == PRIMARY, "the primary serves alone")
