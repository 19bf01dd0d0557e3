// postgres.js, which prepares every query that has parameters. Arguments: port, clients, rounds;
// test_driver_statements.py says what a workload does.
const assert = require("assert");
const postgres = require("postgres");

const [port, clients, rounds] = process.argv.slice(2).map(Number);
const range = (n) => [...Array(n).keys()];

function connect() {
  return postgres({ host: "127.0.0.1", port, user: "app", database: "app", max: 1 });
}

async function named(sql, k, base, seen) {
  for (let i = 0; i < 30; i++) {
    const [row] = await sql`SELECT ${base + i}::int AS v, ${`ünï ${base + i}`}::text AS t, pg_backend_pid() AS pid`;
    assert.strictEqual(row.v, base + i);
    assert.strictEqual(row.t, `ünï ${base + i}`);
    seen.add(row.pid);
  }
}

async function several(sql, k, base) {
  for (let i = 0; i < 20; i++)
    for (let n = 0; n < 6; n++) {
      const [row] = await sql.unsafe(`SELECT $1::int + ${n} AS v`, [base + i], { prepare: true });
      assert.strictEqual(row.v, base + i + n);
    }
}

// unsafe() does not prepare unless told to; without values it is a simple query.
async function unnamed(sql, k, base) {
  for (let i = 0; i < 10; i++) {
    assert.strictEqual((await sql.unsafe("SELECT $1::int * 2 AS v", [base + i]))[0].v, 2 * (base + i));
    assert.strictEqual((await sql.unsafe(`SELECT ${base + i} AS v`))[0].v, base + i);
  }
}

async function transactions(sql, k, base) {
  await sql.begin(async (tx) => {
    for (let i = 0; i < 10; i++)
      await tx`INSERT INTO work VALUES (${k}, ${base + i}, ${`t${base + i}`})`;
  });
  await assert.rejects(sql.begin(async (tx) => {
    await tx`INSERT INTO work VALUES (${k}, ${base + 10}, ${"rolled back"})`;
    await tx.savepoint((sp) => sp`INSERT INTO work VALUES (${k}, ${base}, ${"again"})`).catch((error) => {
      assert.strictEqual(error.code, "23505");
    });
    await tx`INSERT INTO work VALUES (${k}, ${base}, ${"again"})`;
  }), { code: "23505" });
  const rows = await sql`SELECT id, txt FROM work WHERE client = ${k} AND id >= ${base} ORDER BY id`;
  assert.deepStrictEqual([...rows], range(10).map((i) => ({ id: base + i, txt: `t${base + i}` })));
}

// Queries of one turn go out as a pipeline; those in a transaction's array too.
async function batch(sql, k, base) {
  const results = await Promise.allSettled(range(40).map((i) =>
    i === 20 ? sql`SELECT ${base}::int / 0 AS v`
      : sql.unsafe(`SELECT $1::int + 10 * ${i % 7} AS v`, [base + i], { prepare: true })));
  results.forEach((result, i) => {
    if (i === 20)
      assert.strictEqual(result.reason.code, "22012");
    else
      assert.strictEqual(result.value[0].v, base + i + 10 * (i % 7));
  });
  const inserted = await sql.begin((tx) => range(20).map((i) =>
    tx`INSERT INTO work VALUES (${k}, ${base + 100 + i}, ${"batch"}) RETURNING id`));
  assert.deepStrictEqual(inserted.map((rows) => rows[0].id), range(20).map((i) => base + 100 + i));
  const ids = [];
  for await (const rows of sql`SELECT generate_series(1, ${base % 100 + 50}::int) AS v`.cursor(7))
    ids.push(...rows.map((row) => row.v));
  assert.deepStrictEqual(ids, range(base % 100 + 50).map((i) => i + 1));
}

async function errors(sql, k, base) {
  await assert.rejects(sql`INSERT INTO work VALUES (${k}, ${base}, ${"again"})`, { code: "23505" });
  await assert.rejects(sql`SELECT ${base}::int FROM FROM`, { code: "42601" });
  await assert.rejects(sql`SELECT ${base}::int FROM FROM`, { code: "42601" });
  assert.strictEqual((await sql`SELECT ${base}::int + 3 AS v`)[0].v, base + 3);
}

// cancel() asks once; the function behind it can be asked again, should the query not have had a server yet.
async function cancel(sql, k, base) {
  const query = sql`SELECT ${base}::int, pg_sleep(100)`;
  const ask = query.canceller;
  const rejected = assert.rejects(query, { code: "57014", routine: "ProcessInterrupts" });
  const timer = setInterval(() => query.active && ask(query), 200);
  await rejected;
  clearInterval(timer);
  assert.strictEqual((await sql`SELECT ${base}::int + 5 AS v`)[0].v, base + 5);
}

// postgres.js prepares anew, by itself, what has another result than before.
async function changeOfATable(sql, k, base) {
  const select = () => sql`SELECT * FROM ${sql(`shape_${k}`)} WHERE 1 = ${1}`;
  const [before] = await select();
  const other = connect();
  await other.unsafe(`ALTER TABLE shape_${k} ADD b${base} int DEFAULT ${base}`);
  const after = { ...before, [`b${base}`]: base };
  assert.deepStrictEqual((await select())[0], after);
  await other.unsafe(`ALTER TABLE shape_${k} ALTER b${base} TYPE text`);
  assert.deepStrictEqual((await select())[0], { ...before, [`b${base}`]: `${base}` });
  await other.end();
  const fresh = connect();
  assert.deepStrictEqual((await fresh`SELECT * FROM ${fresh(`shape_${k}`)} WHERE 1 = ${1}`)[0],
    { ...before, [`b${base}`]: `${base}` });
  await fresh.end();
}

async function closing(sql, k, base) {
  await sql.unsafe("PREPARE mine_in_sql (int) AS SELECT $1 + 1 AS v");
  for (let i = 0; i < 10; i++)
    assert.strictEqual((await sql.unsafe(`EXECUTE mine_in_sql (${base + i})`))[0].v, base + i + 1);
  await sql.unsafe("DEALLOCATE mine_in_sql");
  await assert.rejects(sql.unsafe(`EXECUTE mine_in_sql (${base})`), { code: "26000" });
  // postgres.js prepares again, by itself, what the server does not have any more.
  const other = connect();
  for (let i = 0; i < 3; i++) {
    assert.strictEqual((await other`SELECT ${base + i}::int + 3 AS v`)[0].v, base + i + 3);
    await other.unsafe("DEALLOCATE ALL");
  }
  await other.end();
}

async function work(k) {
  const sql = connect();
  const seen = new Set();
  for (let n = 0; n < rounds; n++)
    for (const step of [named, several, unnamed, transactions, batch, errors, changeOfATable, closing])
      await step(sql, k, 1000000 * (k + 1) + 1000 * n, seen);
  if (k === 0)
    await cancel(sql, k, 1000000);
  await sql.end();
  return seen;
}

async function main() {
  const seen = await Promise.all(range(clients).map(work));
  console.log("done", seen.filter((pids) => pids.size > 1).length);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
