"""
The drivers people use, with their defaults, in transaction mode: connect, a transaction, a failing one, COPY, a large
result. What they do with prepared statements is in test_driver_statements.py.
"""

import asyncio
import os

import asyncpg
import psycopg
import psycopg2
import pytest

from harness.system import run

JAR = "/usr/share/java/postgresql.jar"
HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = 100000


@pytest.fixture
def driver_pooler(make_pooler, pg):
    with pg.connect(autocommit=True) as c:
        c.execute("DROP TABLE IF EXISTS driver")
        c.execute("CREATE TABLE driver (id int PRIMARY KEY, txt text)")
        c.execute("GRANT ALL ON driver TO PUBLIC")
    return make_pooler(default_pool_size=3, auth_type="scram-sha-256", userlist={"app": "secret", "admin": "secret"},
                       ignore_startup_parameters="extra_float_digits")


def test_psycopg(driver_pooler):
    with psycopg.connect(driver_pooler.dsn(password="secret")) as c:
        with c.transaction():
            c.execute("INSERT INTO driver VALUES (%s, %s)", [1, "ünï"])
        with pytest.raises(psycopg.errors.UniqueViolation):
            with c.transaction():
                c.execute("INSERT INTO driver VALUES (1, 'again')")
        with c.cursor().copy("COPY driver FROM STDIN") as copy:
            for i in range(2, 1000):
                copy.write_row((i, "x" * 100))
        assert c.execute("SELECT count(*) FROM driver").fetchone() == (999,)
        assert len(c.execute(f"SELECT generate_series(1, {ROWS})").fetchall()) == ROWS
        with c.cursor().copy("COPY driver TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 999
        c.commit()
        with c.pipeline():
            cursors = [c.execute("SELECT %s::int", [i]) for i in range(50)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))


def test_psycopg_server_side_cursor(driver_pooler):
    with psycopg.connect(driver_pooler.dsn(password="secret")) as c:
        with c.cursor("cur") as cursor:
            cursor.execute("SELECT generate_series(1, 5000)")
            assert sum(1 for _ in cursor) == 5000


def test_psycopg2(driver_pooler):
    c = psycopg2.connect(driver_pooler.dsn(password="secret"))
    with c, c.cursor() as cursor:
        cursor.execute("INSERT INTO driver VALUES (%s, %s)", [1, "ünï"])
    with pytest.raises(psycopg2.errors.UniqueViolation):
        with c, c.cursor() as cursor:
            cursor.execute("INSERT INTO driver VALUES (1, 'again')")
    with c, c.cursor() as cursor:
        cursor.execute(f"SELECT generate_series(1, {ROWS})")
        assert len(cursor.fetchall()) == ROWS
        with open(os.devnull, "w") as null:
            cursor.copy_expert("COPY driver TO STDOUT", null)
    c.close()


def test_psycopg2_on_the_console(driver_pooler):
    c = psycopg2.connect(driver_pooler.dsn("admin", "pgbouncer", password="secret"))
    c.autocommit = True
    with c.cursor() as cursor:
        cursor.execute("SHOW POOLS")
        assert [column.name for column in cursor.description][:3] == ["database", "user", "cl_active"]
        cursor.fetchall()
    c.close()


def test_asyncpg(driver_pooler):
    async def work():
        c = await asyncpg.connect(host="127.0.0.1", port=driver_pooler.port, user="app", password="secret",
                                  database="app")
        async with c.transaction():
            await c.execute("INSERT INTO driver VALUES ($1, $2)", 1, "ünï")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with c.transaction():
                await c.execute("INSERT INTO driver VALUES (1, 'again')")
        async with c.transaction():
            await c.copy_records_to_table("driver", records=[(i, "x") for i in range(2, 1000)])
            assert await c.fetchval("SELECT count(*) FROM driver") == 999
            assert len(await c.fetch(f"SELECT generate_series(1, {ROWS})")) == ROWS
        await c.close()

    asyncio.run(asyncio.wait_for(work(), 60))


def test_node_postgres(driver_pooler):
    done = run(["node", os.path.join(HERE, "node", "driver.js"), str(driver_pooler.port)],
               env={**os.environ, "PGPASSWORD": "secret"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "done"


@pytest.mark.parametrize("mode", ["extended", "simple"])
def test_jdbc(driver_pooler, tmp_path, mode):
    done = run(["javac", "-cp", JAR, "-d", str(tmp_path), os.path.join(HERE, "java", "Driver.java")])
    assert done.returncode == 0, done.stderr
    url = f"jdbc:postgresql://127.0.0.1:{driver_pooler.port}/app?preferQueryMode={mode}"
    done = run(["java", "-cp", f"{tmp_path}:{JAR}", "Driver", url])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "done"


def test_psql(driver_pooler, pg):
    done = run(["psql", "-X", "-A", "-t", driver_pooler.dsn(password="secret"), "-c", "\\d driver", "-c",
                "\\copy driver to /dev/null", "-c", "SELECT 'fine'"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("fine")


def test_psycopg_through_a_unix_socket(driver_pooler):
    with psycopg.connect(driver_pooler.dsn(host=driver_pooler.directory, password="secret")) as c:
        assert c.execute("SELECT 1").fetchone() == (1,)
