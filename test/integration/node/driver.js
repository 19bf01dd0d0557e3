// node-postgres through the pooler: argument is the port, the password comes from PGPASSWORD.
const assert = require("assert");
const { Client, Pool } = require("pg");

const address = { host: "127.0.0.1", port: Number(process.argv[2]), user: "app", database: "app" };

async function main() {
  const client = new Client(address);
  await client.connect();
  await client.query("BEGIN");
  await client.query("INSERT INTO driver VALUES ($1, $2)", [1, "ünï"]);
  await client.query("COMMIT");
  await client.query("BEGIN");
  await assert.rejects(client.query("INSERT INTO driver VALUES (1, 'again')"), { code: "23505" });
  await client.query("ROLLBACK");
  const large = await client.query("SELECT generate_series(1, 100000)");
  assert.strictEqual(large.rows.length, 100000);
  await client.end();

  const pool = new Pool({ ...address, max: 20 });
  const answers = await Promise.all([...Array(200).keys()].map((i) => pool.query("SELECT $1::int AS i", [i])));
  assert.deepStrictEqual(answers.map((a) => a.rows[0].i), [...Array(200).keys()]);
  await pool.end();
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
