// node-postgres on the console: argument is the port.
const assert = require("assert");
const { Client } = require("pg");

async function main() {
  const client = new Client({ host: "127.0.0.1", port: Number(process.argv[2]), user: "admin", database: "pgbouncer" });
  await client.connect();
  const simple = await client.query("SHOW POOLS");
  for (let i = 0; i < 3; i++) {
    const named = await client.query({ name: "pools", text: "SHOW POOLS" });
    assert.deepStrictEqual(named.fields.map((f) => f.name), simple.fields.map((f) => f.name));
    assert.strictEqual(named.rows.find((row) => row.database === "pgbouncer").cl_active, 1);
  }
  const portions = await client.query({ text: "SHOW STATE", rows: 2 });
  assert.deepStrictEqual(portions.rows.map((row) => row.key), ["active", "paused", "suspended"]);
  await assert.rejects(client.query("SHOW $1", ["POOLS"]), { code: "0A000" });
  await assert.rejects(client.query("SELECT 1"), { code: "42601" });
  await client.query("SHOW VERSION");
  await client.end();
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
