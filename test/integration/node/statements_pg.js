// node-postgres with named and unnamed statements. Arguments: port, clients, rounds; test_driver_statements.py says
// what a workload does.
const assert = require("assert");
const { Client, Pool, Query } = require("pg");

const [port, clients, rounds] = process.argv.slice(2).map(Number);
const address = { host: "127.0.0.1", port, user: "app", database: "app" };
const RESULT_CHANGED = { code: "0A000", message: "cached plan must not change result type" };

const INSERT = { name: "insert", text: "INSERT INTO work VALUES ($1, $2, $3)" };
const range = (n) => [...Array(n).keys()];

async function connect() {
  const client = new Client(address);
  await client.connect();
  return client;
}

async function value(client, query) {
  const { rows } = await client.query({ rowMode: "array", ...query });
  assert.strictEqual(rows.length, 1);
  return rows[0][0];
}

async function named(client, k, base, seen) {
  for (let i = 0; i < 30; i++) {
    const { rows } = await client.query({
      name: "named",
      text: "SELECT $1::int AS v, $2::text AS t, pg_backend_pid() AS pid",
      values: [base + i, `ünï ${base + i}`],
    });
    assert.strictEqual(rows[0].v, base + i);
    assert.strictEqual(rows[0].t, `ünï ${base + i}`);
    seen.add(rows[0].pid);
  }
}

// The names are each client's own and mean other statements to the others.
async function several(client, k, base) {
  for (let i = 0; i < 20; i++)
    for (let n = 0; n < 6; n++) {
      const plus = (n + k) % 6;
      const got = await value(client, { name: `plus ${n}`, text: `SELECT $1::int + ${plus}`, values: [base + i] });
      assert.strictEqual(got, base + i + plus);
    }
}

async function unnamed(client, k, base) {
  for (let i = 0; i < 10; i++)
    assert.strictEqual(await value(client, { text: "SELECT $1::int * 2", values: [base + i] }), 2 * (base + i));
}

async function transactions(client, k, base) {
  await client.query("BEGIN");
  for (let i = 0; i < 10; i++)
    await client.query({ ...INSERT, values: [k, base + i, `t${base + i}`] });
  await client.query("COMMIT");

  await client.query("BEGIN");
  await client.query({ ...INSERT, values: [k, base + 10, "rolled back"] });
  await assert.rejects(client.query({ ...INSERT, values: [k, base, "again"] }), { code: "23505" });
  await assert.rejects(client.query({ ...INSERT, values: [k, base + 11, "too late"] }), { code: "25P02" });
  await client.query("ROLLBACK");

  const { rows } = await client.query({
    name: "mine",
    text: "SELECT id, txt FROM work WHERE client = $1 AND id >= $2 ORDER BY id",
    values: [k, base],
  });
  assert.deepStrictEqual(rows, range(10).map((i) => ({ id: base + i, txt: `t${base + i}` })));
}

// Queries that are sent one behind the other; one of them fails.
async function batch(client, k, base) {
  const results = await Promise.allSettled(range(40).map((i) =>
    value(client, i === 20 ? { name: "zero", text: "SELECT $1::int / 0", values: [base] }
      : { name: `batch ${i % 7}`, text: `SELECT $1::int + 10 * ${i % 7}`, values: [base + i] })));
  results.forEach((result, i) => {
    if (i === 20)
      assert.strictEqual(result.reason.code, "22012");
    else
      assert.strictEqual(result.value, base + i + 10 * (i % 7));
  });
}

async function errors(client, k, base) {
  await assert.rejects(client.query({ ...INSERT, values: [k, base, "again"] }), { code: "23505" });
  await assert.rejects(client.query({ name: "bad", text: "SELECT $1::int FROM FROM", values: [base] }),
    { code: "42601" });
  // The name was not taken by the statement that failed.
  assert.strictEqual(await value(client, { name: "bad", text: "SELECT $1::int + 3", values: [base] }), base + 3);
  await client.query({ text: "DEALLOCATE bad" });
  // What the driver believes to be there: told so, and nothing else happens to the connection.
  await assert.rejects(client.query({ name: "bad", text: "SELECT $1::int + 3", values: [base] }), { code: "26000" });
  await client.query({ text: "PREPARE bad AS SELECT $1::int + 3" });
  assert.strictEqual(await value(client, { name: "bad", text: "SELECT $1::int + 3", values: [base] }), base + 3);
  await client.query({ text: "DEALLOCATE bad" });
  delete client.connection.parsedStatements.bad;
}

async function cancel(client, k, base) {
  const query = new Query({ name: "sleep", text: "SELECT $1::int, pg_sleep(100)", values: [base] });
  const ended = new Promise((resolve) => {
    query.on("error", resolve);
    query.on("end", resolve);
  });
  client.query(query);
  const timer = setInterval(() => new Client(address).cancel(client, query), 100);
  const error = await ended;
  clearInterval(timer);
  assert.strictEqual(error && error.code, "57014");
  assert.strictEqual(await value(client, { name: "plus five", text: "SELECT $1::int + 5", values: [base] }), base + 5);
}

// Told that the result has changed, the same text under another name gives the new one.
async function changeOfATable(client, k, base) {
  const select = { name: `shape before ${base}`, text: `SELECT * FROM shape_${k}` };
  const before = (await client.query(select)).rows[0];
  const other = await connect();
  await other.query(`ALTER TABLE shape_${k} ADD b${base} int DEFAULT ${base}`);
  await other.end();

  const after = { ...before, [`b${base}`]: base };
  try {
    assert.deepStrictEqual((await client.query(select)).rows[0], after);
  } catch (error) {
    if (error.code !== RESULT_CHANGED.code)
      throw error;
    assert.strictEqual(error.message, RESULT_CHANGED.message);
    assert.deepStrictEqual((await client.query({ ...select, name: `shape after ${base}` })).rows[0], after);
  }
  const fresh = await connect();
  assert.deepStrictEqual((await fresh.query(select)).rows[0], after);
  await fresh.end();
}

async function closing(client, k, base) {
  await client.query("PREPARE mine_in_sql (int) AS SELECT $1 + 1 AS v");
  for (let i = 0; i < 10; i++)
    assert.strictEqual((await client.query(`EXECUTE mine_in_sql (${base + i})`)).rows[0].v, base + i + 1);
  await client.query("DEALLOCATE mine_in_sql");
  await assert.rejects(client.query(`EXECUTE mine_in_sql (${base})`), { code: "26000" });
}

async function work(k) {
  const client = await connect();
  const seen = new Set();
  for (let n = 0; n < rounds; n++)
    for (const step of [named, several, unnamed, transactions, batch, errors, changeOfATable, closing])
      await step(client, k, 1000000 * (k + 1) + 1000 * n, seen);
  if (k === 0)
    await cancel(client, k, 1000000);
  await client.end();
  return seen;
}

async function aPool() {
  const pool = new Pool({ ...address, max: 5 });
  const answers = await Promise.all(range(200).map((i) =>
    pool.query({ name: "of the pool", text: "SELECT $1::int AS i", values: [i] })));
  assert.deepStrictEqual(answers.map((answer) => answer.rows[0].i), range(200));
  await pool.end();
}

async function main() {
  const seen = await Promise.all(range(clients).map(work));
  await aPool();
  console.log("done", seen.filter((pids) => pids.size > 1).length);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
