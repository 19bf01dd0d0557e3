"""
Prepared statements as the drivers use them with their defaults, in transaction mode.

Each driver has a workload: several clients at once over fewer servers, so that statements meet servers that have not
seen them. Every client asks for numbers of its own and checks all it gets, so that a mixed-up answer shows. All of them
do, as far as the driver can: one named statement many times over, more statements than some variants keep on a server,
unnamed ones, transactions that commit and that are rolled back, a batch, errors in the middle, a cancelled query, a
table that changes under a SELECT *, statements that are closed. A workload tells how many clients saw more than one
server.
"""

import asyncio
import os
import subprocess
import threading

import asyncpg
import psycopg
import psycopg2
import pytest

from harness.system import run

HERE = os.path.dirname(os.path.abspath(__file__))
JAR = "/usr/share/java/postgresql.jar"

CLIENTS = 5
SERVERS = 2
ROUNDS = 3

# A server keeps more statements than there are; fewer, so that it forgets some; unnamed ones are kept too.
VARIANTS = {
    "default": {},
    "evicting": {"max_prepared_statements": 3},
    "unnamed": {"prepared_unnamed": "cache"},
}

# Errors say this to a client whose statement has another result than it was told.
RESULT_CHANGED = "cached plan must not change result type"


@pytest.fixture
def tables(pg):
    """work is everybody's, by client; shape_N is changed by client N alone."""
    with pg.connect(user="app", autocommit=True) as c:
        c.execute("DROP TABLE IF EXISTS work")
        c.execute("CREATE TABLE work (client int, id int, txt text, PRIMARY KEY (client, id))")
        for k in range(CLIENTS):
            c.execute(f"DROP TABLE IF EXISTS shape_{k}")
            c.execute(f"CREATE TABLE shape_{k} AS SELECT {k} AS a")
    return pg


@pytest.fixture(params=VARIANTS)
def busy(make_pooler, tables, request):
    """A pooler with fewer servers than clients, of which none has kept more statements than it may."""
    pooler = make_pooler(default_pool_size=SERVERS, ignore_startup_parameters="extra_float_digits",
                         **VARIANTS[request.param])
    yield pooler
    kept = [int(server["prepared_statements"]) for server in pooler.admin("SHOW SERVERS")]
    assert max(kept) <= VARIANTS[request.param].get("max_prepared_statements", 200), kept


def program(*command, timeout=60, **env):
    """A workload in another language: its last line is "done" and how many clients changed servers."""
    done = run([str(word) for word in command], timeout=timeout, env={**os.environ, **env})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    word, changed = done.stdout.splitlines()[-1].split()
    assert word == "done"
    assert int(changed) > 0, "no client ever changed servers"


def in_threads(work):
    """work(k) for each client; the first failure is the test's. Returns how many results are sets of several."""
    results, errors = {}, []

    def guarded(k):
        try:
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(len(seen) > 1 for seen in results.values())


class Psycopg:
    """One client: even ones in autocommit mode, the others as psycopg is by itself, committing."""

    def __init__(self, pooler, k):
        self.pooler = pooler
        self.k = k
        self.seen = set()
        self.c = psycopg.connect(pooler.dsn())
        self.c.autocommit = k % 2 == 0

    def rows(self, sql, *values, **options):
        rows = self.c.execute(sql, values, **options).fetchall()
        self.c.commit()
        return rows

    def named(self, base):
        """The sixth time it is prepared."""
        for i in range(30):
            (v, txt, pid), = self.rows("SELECT %s::int, %s::text, pg_backend_pid()", base + i, f"ünï {base + i}")
            assert (v, txt) == (base + i, f"ünï {base + i}")
            self.seen.add(pid)

    def several(self, base):
        for i in range(20):
            for n in range(6):
                assert self.rows(f"SELECT %s::int + {n}", base + i) == [(base + i + n,)]

    def more_than_psycopg_keeps(self, base):
        """Behind the hundredth, psycopg sends DEALLOCATE for the one that it has used least recently."""
        for _ in range(2):
            for n in range(105):
                assert self.rows(f"SELECT %s::int + {n}", base, prepare=True) == [(base + n,)]

    def unnamed(self, base):
        for i in range(10):
            assert self.rows("SELECT %s::int * 2", base + i, prepare=False) == [(2 * (base + i),)]

    def transactions(self, base):
        insert = "INSERT INTO work VALUES (%s, %s, %s)"
        with self.c.transaction():
            for i in range(10):
                self.c.execute(insert, [self.k, base + i, f"t{base + i}"])
        with pytest.raises(psycopg.errors.UniqueViolation):
            with self.c.transaction():
                self.c.execute(insert, [self.k, base + 10, "rolled back"])
                self.c.execute(insert, [self.k, base, "again"])
        # After a rollback psycopg sends DEALLOCATE ALL.
        with self.c.transaction(force_rollback=True):
            self.c.execute(insert, [self.k, base + 10, "rolled back"])
        expected = [(base + i, f"t{base + i}") for i in range(10)]
        sql = "SELECT id, txt FROM work WHERE client = %s AND id >= %s ORDER BY id"
        assert self.rows(sql, self.k, base) == expected

    def batch(self, base):
        """executemany() is a pipeline of its own, pipeline() one of ours."""
        with self.c.transaction(), self.c.cursor() as cursor:
            cursor.executemany("INSERT INTO work VALUES (%s, %s, %s)",
                               [(self.k, base + 100 + i, "batch") for i in range(50)])
            assert cursor.rowcount == 50
        with self.c.pipeline():
            cursors = [self.c.execute(f"SELECT %s::int + {i % 3}", [base + i]) for i in range(40)]
        assert [cursor.fetchone() for cursor in cursors] == [(base + i + i % 3,) for i in range(40)]
        self.c.commit()

    def errors(self, base):
        with pytest.raises(psycopg.errors.SyntaxError):
            self.c.execute("SELECT %s::int FROM FROM", [base])
        self.c.rollback()
        with pytest.raises(psycopg.errors.DivisionByZero):
            self.c.execute("SELECT %s::int / 0", [base], prepare=True)
        self.c.rollback()
        with pytest.raises(psycopg.errors.DivisionByZero):
            with self.c.pipeline():
                self.c.execute("SELECT %s::int + 5", [base], prepare=True)
                self.c.execute("SELECT %s::int / 0", [base], prepare=True)
                self.c.execute("SELECT %s::int + 5", [base], prepare=True)
        self.c.rollback()
        assert self.rows("SELECT %s::int + 5", base, prepare=True) == [(base + 5,)]

    def cancel(self, base):
        done = threading.Event()

        def again_and_again():
            while not done.wait(0.1):
                self.c.cancel()

        thread = threading.Thread(target=again_and_again)
        thread.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            self.c.execute("SELECT %s::int, pg_sleep(100)", [base], prepare=True)
        done.set()
        thread.join()
        self.c.rollback()
        assert self.rows("SELECT %s::int + 5", base) == [(base + 5,)]

    def shape(self):
        with self.c.transaction():
            return self.c.execute(f"SELECT * FROM shape_{self.k}", prepare=True).fetchone()

    def change_of_a_table(self, base):
        """Told once that the result has changed, psycopg rolls back and prepares anew."""
        old = self.shape()
        with psycopg.connect(self.pooler.dsn()) as other:
            other.execute(f"ALTER TABLE shape_{self.k} ADD b{base} int DEFAULT {base}")
        try:
            new = self.shape()
        except psycopg.errors.FeatureNotSupported as error:
            assert RESULT_CHANGED in str(error)
            new = self.shape()
        assert new == (*old, base)
        with psycopg.connect(self.pooler.dsn()) as fresh:
            assert fresh.execute(f"SELECT * FROM shape_{self.k}", prepare=True).fetchone() == new

    def closing(self, base):
        """Statements of SQL beside those of the driver."""
        self.c.execute("PREPARE mine (int) AS SELECT $1 + 1")
        self.c.commit()
        for i in range(10):
            assert self.rows(f"EXECUTE mine ({base + i})") == [(base + i + 1,)]
        self.c.execute("DEALLOCATE mine")
        self.c.commit()
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            self.c.execute("EXECUTE mine (1)")
        self.c.rollback()

    def work(self):
        with self.c:
            for n in range(ROUNDS):
                base = 1000000 * (self.k + 1) + 1000 * n
                for step in (self.named, self.several, self.unnamed, self.transactions, self.batch, self.errors,
                             self.change_of_a_table, self.closing):
                    step(base)
            self.more_than_psycopg_keeps(base)
            if self.k == 0:
                self.cancel(base)
        return self.seen


def test_psycopg(busy):
    assert in_threads(lambda k: Psycopg(busy, k).work()) > 0


def test_psycopg2(busy):
    """It sends no statement of its own; people send theirs in SQL."""
    def work(k):
        c = psycopg2.connect(busy.dsn())
        seen = set()
        with c, c.cursor() as cursor:
            cursor.execute("PREPARE q (int, text) AS SELECT $1 + 1, $2, pg_backend_pid()")
        for i in range(100):
            with c, c.cursor() as cursor:
                cursor.execute("EXECUTE q (%s, %s)", [i, f"client {k}"])
                v, txt, pid = cursor.fetchone()
                assert (v, txt) == (i + 1, f"client {k}")
                seen.add(pid)
            if i % 10 == 0:
                with pytest.raises(psycopg2.errors.UndefinedTable), c, c.cursor() as cursor:
                    cursor.execute("SELECT * FROM nowhere")
            if i % 25 == 0:
                with c, c.cursor() as cursor:
                    cursor.execute("DEALLOCATE q")
                    cursor.execute("PREPARE q (int, text) AS SELECT $1 + 1, $2, pg_backend_pid()")
        c.close()
        return seen

    assert in_threads(work) > 0


class Asyncpg:
    """One client, with the cache of statements that it has by itself."""

    def __init__(self, pooler, k):
        self.pooler = pooler
        self.k = k
        self.seen = set()
        self.c = None

    async def connect(self):
        return await asyncpg.connect(host="127.0.0.1", port=self.pooler.port, user="app", database="app")

    async def named(self, base):
        for i in range(30):
            v, txt, pid = await self.c.fetchrow("SELECT $1::int, $2::text, pg_backend_pid()", base + i, f"ünï {i}")
            assert (v, txt) == (base + i, f"ünï {i}")
            self.seen.add(pid)

    async def several(self, base):
        for i in range(20):
            for n in range(6):
                assert await self.c.fetchval(f"SELECT $1::int + {n}", base + i) == base + i + n

    async def more_than_asyncpg_keeps(self, base):
        """Behind the hundredth, asyncpg closes the one that it has used least recently."""
        for _ in range(2):
            for n in range(105):
                assert await self.c.fetchval(f"SELECT $1::int + {n}", base) == base + n

    async def unnamed(self, base):
        """Without arguments execute() is a simple query, and the text too long for the cache an unnamed statement."""
        for i in range(10):
            assert await self.c.execute(f"SELECT {base + i}") == "SELECT 1"
            assert await self.c.fetchval(f"SELECT $1::int * 2 {'--' + 'x' * 16000}", base + i) == 2 * (base + i)

    async def transactions(self, base):
        insert = "INSERT INTO work VALUES ($1, $2, $3)"
        async with self.c.transaction():
            for i in range(10):
                await self.c.execute(insert, self.k, base + i, f"t{base + i}")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with self.c.transaction():
                await self.c.execute(insert, self.k, base + 10, "rolled back")
                await self.c.execute(insert, self.k, base, "again")
        rows = await self.c.fetch("SELECT id, txt FROM work WHERE client = $1 AND id >= $2 ORDER BY id", self.k, base)
        assert [tuple(row) for row in rows] == [(base + i, f"t{base + i}") for i in range(10)]

    async def batch(self, base):
        await self.c.executemany("INSERT INTO work VALUES ($1, $2, $3)",
                                 [(self.k, base + 100 + i, "batch") for i in range(50)])
        assert await self.c.fetchval("SELECT count(*) FROM work WHERE client = $1 AND id >= $2", self.k,
                                     base + 100) == 50
        async with self.c.transaction():
            ids = [row["id"] async for row in self.c.cursor(
                "SELECT id FROM work WHERE client = $1 AND id >= $2 ORDER BY id", self.k, base + 100, prefetch=7)]
        assert ids == list(range(base + 100, base + 150))

    async def errors(self, base):
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await self.c.fetch("SELECT $1::int FROM FROM", base)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await self.c.fetch("SELECT $1::int / 0", base)
        with pytest.raises(asyncpg.UniqueViolationError):
            await self.c.executemany("INSERT INTO work VALUES ($1, $2, $3)",
                                     [(self.k, base + 500 + i % 5, "twice") for i in range(10)])
        assert await self.c.fetchval("SELECT count(*) FROM work WHERE client = $1 AND id >= $2", self.k,
                                     base + 500) == 0

    async def cancel(self, base):
        with pytest.raises(asyncio.TimeoutError):
            await self.c.fetchval("SELECT $1::int, pg_sleep(100)", base, timeout=1)
        assert await self.c.fetchval("SELECT $1::int + 5", base) == base + 5

    async def change_of_a_table(self, base):
        """asyncpg prepares anew, by itself, what has another result than it was told."""
        sql = f"SELECT * FROM shape_{self.k}"
        old = tuple(await self.c.fetchrow(sql))
        other = await self.connect()
        assert tuple(await other.fetchrow(sql)) == old
        await other.execute(f"ALTER TABLE shape_{self.k} ADD b{base} int DEFAULT {base}")
        assert tuple(await self.c.fetchrow(sql)) == (*old, base)
        assert tuple(await other.fetchrow(sql)) == (*old, base)
        await other.execute(f"ALTER TABLE shape_{self.k} ALTER b{base} TYPE text")
        assert tuple(await other.fetchrow(sql)) == (*old, str(base))
        assert tuple(await self.c.fetchrow(sql)) == (*old, str(base))
        await other.close()
        fresh = await self.connect()
        assert tuple(await fresh.fetchrow(sql)) == (*old, str(base))
        await fresh.close()

    async def closing(self, base):
        """A statement that nobody has any more is closed; one of SQL is deallocated."""
        for i in range(5):
            statement = await self.c.prepare("SELECT $1::int - 1")
            assert await statement.fetchval(base + i) == base + i - 1
            assert [p.name for p in statement.get_parameters()] == ["int4"]
            del statement
        await self.c.execute("PREPARE mine (int) AS SELECT $1 + 1")
        assert await self.c.fetchval(f"EXECUTE mine ({base})") == base + 1
        await self.c.execute("DEALLOCATE mine")

    async def work(self):
        self.c = await self.connect()
        for n in range(ROUNDS):
            base = 1000000 * (self.k + 1) + 1000 * n
            for step in (self.named, self.several, self.unnamed, self.transactions, self.batch, self.errors,
                         self.change_of_a_table, self.closing):
                await step(base)
        await self.more_than_asyncpg_keeps(base)
        if self.k == 0:
            await self.cancel(base)
        await self.c.close()
        return self.seen


def test_asyncpg(busy):
    async def all_of_them():
        seen = await asyncio.gather(*(Asyncpg(busy, k).work() for k in range(CLIENTS)))
        return sum(len(pids) > 1 for pids in seen)

    assert asyncio.run(asyncio.wait_for(all_of_them(), 60)) > 0


@pytest.mark.parametrize("driver", ["pg", "postgres"])
def test_node(busy, driver):
    program("node", os.path.join(HERE, "node", f"statements_{driver}.js"), busy.port, CLIENTS, ROUNDS)


def test_jdbc(busy, tmp_path):
    done = run(["javac", "-cp", JAR, "-d", str(tmp_path), os.path.join(HERE, "java", "Statements.java")])
    assert done.returncode == 0, done.stderr
    program("java", "-cp", f"{tmp_path}:{JAR}", "Statements", busy.port, CLIENTS, ROUNDS)


# DBD::Pg and PDO take the columns of a statement's first result for those of all others. What they ask the server
# does not show that, so for them a changed result has to be an error, as it is without a pooler.

def test_dbd_pg(busy):
    busy.reload(prepared_result_change="error")
    program("perl", os.path.join(HERE, "perl", "statements.pl"), busy.port, CLIENTS, ROUNDS)


@pytest.mark.parametrize("extension", ["pdo", "pgsql"])
def test_php(busy, extension):
    busy.reload(prepared_result_change="error")
    program("php", os.path.join(HERE, "php", f"statements_{extension}.php"), busy.port, CLIENTS, ROUNDS)


def test_libpq_pipeline(busy, tmp_path):
    binary = tmp_path / "libpq_pipeline"
    where = [run(["pg_config", f"--{what}"]).stdout.strip() for what in ("includedir", "libdir")]
    done = run(["cc", "-Wall", "-Werror", "-o", str(binary), os.path.join(HERE, "c", "libpq_pipeline.c"),
                f"-I{where[0]}", f"-L{where[1]}", "-lpq", "-pthread"])
    assert done.returncode == 0, done.stderr
    program(binary, busy.port, CLIENTS, ROUNDS)


BALANCES = """\
\\set aid random(1, 100000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
INSERT INTO pgbench_history VALUES (1, 1, :aid, 1, now());
COMMIT;
"""
PIPELINE = """\
\\set aid random(1, 100000)
\\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
INSERT INTO pgbench_history VALUES (1, 1, :aid, 1, now());
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
COMMIT;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
\\endpipeline
"""


@pytest.fixture(scope="module")
def bench(cluster):
    done = cluster.pgbench("-i", "-s", "1", "-q")
    assert done.returncode == 0, done.stderr
    return cluster


def pgbench(bench, pooler, clients, *args):
    """
    A thread for each client: pgbench blocks in PQprepare(), and other clients of that thread may be the ones that have
    the servers.
    """
    done = bench.pgbench("-n", "-c", str(clients), "-j", str(clients), *args, port=pooler.port, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "error" not in done.stderr.lower(), done.stderr[-2000:]
    return done


@pytest.mark.parametrize("protocol", ["prepared", "extended"])
@pytest.mark.parametrize("script", [BALANCES, PIPELINE], ids=["plain", "pipeline"])
def test_pgbench(busy, bench, tmp_path, protocol, script):
    """Every transaction adds one to a balance and a row to the history: nothing is lost, nothing done twice."""
    with bench.connect(autocommit=True) as c:
        c.execute("UPDATE pgbench_accounts SET abalance = 0")
        c.execute("TRUNCATE pgbench_history")
    file = tmp_path / "script.sql"
    file.write_text(script)
    done = pgbench(bench, busy, 20, "-M", protocol, "-f", str(file), "-t", "100")
    assert "number of transactions actually processed: 2000/2000" in done.stdout, done.stdout
    assert bench.value("SELECT sum(abalance) FROM pgbench_accounts", "app") == 2000
    assert bench.value("SELECT count(*) FROM pgbench_history", "app") == 2000


def test_pgbench_tpcb(busy, bench):
    """The built-in script, many clients, each statement prepared by each."""
    done = pgbench(bench, busy, 50, "-M", "prepared", "-t", "20")
    assert "number of failed transactions: 0 " in done.stdout, done.stdout


SCHEMA = "dumped"


@pytest.fixture
def objects(bench):
    """One of each kind for which pg_dump prepares a statement, in a schema of their own."""
    with bench.connect(user="app", autocommit=True) as c:
        c.execute(f"CREATE SCHEMA {SCHEMA}")
        c.execute(f"SET search_path = {SCHEMA}, public")
        c.execute("CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1'")
        c.execute("CREATE VIEW doubled AS SELECT twice(abalance) FROM pgbench_accounts")
        c.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
        c.execute("CREATE TYPE mood AS ENUM ('fine', 'bad')")
        c.execute("CREATE TYPE pair AS (a int, b mood)")
    yield
    with bench.connect(user="app", autocommit=True) as c:
        c.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


def test_pg_dump(make_pooler, bench, objects, tmp_path):
    """
    pg_dump prepares statements in SQL, by the same names each time. Several, one behind the other on the one server (it
    sets its search_path for the session), give what comes from the server itself.
    """
    pooler = make_pooler(default_pool_size=1)

    def dump(port, name):
        return subprocess.Popen([bench.program("pg_dump"), "-h", "127.0.0.1", "-p", str(port), "-U", "app", "-f",
                                 str(tmp_path / name), "-n", SCHEMA, "app"], stderr=subprocess.PIPE, text=True)

    def result(dumping, name):
        """Without psql's \\restrict and \\unrestrict, whose key is another in each."""
        err = dumping.communicate(timeout=60)[1]
        assert dumping.returncode == 0, err
        lines = (tmp_path / name).read_text().splitlines()
        return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]

    direct = result(dump(bench.port, "direct"), "direct")
    assert any("CREATE FUNCTION" in line for line in direct)
    dumps = [(dump(pooler.port, f"dump {i}"), f"dump {i}") for i in range(4)]
    for dumping, name in dumps:
        assert result(dumping, name) == direct
