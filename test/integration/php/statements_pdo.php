<?php
/*
 * PDO: prepared at the server (the default: names of its own, DEALLOCATE in SQL), emulated, and with statements that
 * are used once. Arguments: port, clients, rounds; test_driver_statements.py says what a workload does. A process each.
 */
declare(strict_types=1);

require __DIR__ . '/clients.php';

const INSERT = 'INSERT INTO work VALUES (?, ?, ?)';

function connected(array $options = []): PDO
{
	global $port;
	return new PDO("pgsql:host=127.0.0.1;port=$port;dbname=app;user=app", null, null, $options);
}

function value(PDO $c, string $sql, ...$values): mixed
{
	$statement = $c->prepare($sql);
	$statement->execute($values);
	return $statement->fetchColumn();
}

function expect(string $state, callable $action): void
{
	try {
		$action();
	} catch (PDOException $e) {
		check($e->errorInfo[0] === $state, "$state was expected: " . $e->getMessage());
		return;
	}
	check(false, "no error: $state");
}

function named(PDO $c, int $k, int $base, array &$seen): void
{
	$statement = $c->prepare('SELECT ?::int, ?::text, pg_backend_pid()');
	for ($i = 0; $i < 30; $i++) {
		$statement->execute([$base + $i, "ünï $i"]);
		[$v, $text, $pid] = $statement->fetch(PDO::FETCH_NUM);
		check($v === $base + $i && $text === "ünï $i", 'named');
		$seen[$pid] = true;
	}
}

function several(PDO $c, int $k, int $base): void
{
	for ($n = 0; $n < 6; $n++)
		$statements[] = $c->prepare("SELECT ?::int + $n");
	for ($i = 0; $i < 20; $i++)
		foreach ($statements as $n => $statement) {
			$statement->execute([$base + $i]);
			check($statement->fetchColumn() === $base + $i + $n, 'several');
		}
}

function unnamed(PDO $c, int $k, int $base): void
{
	for ($i = 0; $i < 10; $i++)
		check($c->query('SELECT ' . ($base + $i))->fetchColumn() === $base + $i, 'simple');
}

function transactions(PDO $c, int $k, int $base): void
{
	$insert = $c->prepare(INSERT);
	$c->beginTransaction();
	for ($i = 0; $i < 10; $i++)
		$insert->execute([$k, $base + $i, 't' . ($base + $i)]);
	$c->commit();
	$c->beginTransaction();
	$insert->execute([$k, $base + 10, 'rolled back']);
	expect('23505', fn () => $insert->execute([$k, $base, 'again']));
	expect('25P02', fn () => $insert->execute([$k, $base + 11, 'too late']));
	$c->rollBack();
	$rows = $c->prepare('SELECT id, txt FROM work WHERE client = ? AND id >= ? ORDER BY id');
	$rows->execute([$k, $base]);
	foreach (range(0, 9) as $i)
		$expected[] = [$base + $i, 't' . ($base + $i)];
	check($rows->fetchAll(PDO::FETCH_NUM) === $expected, 'ten rows');
}

function batch(PDO $c, int $k, int $base): void
{
	$insert = $c->prepare(INSERT);
	for ($i = 0; $i < 30; $i++)
		$insert->execute([$k, $base + 100 + $i, 'batch']);
	check(value($c, 'SELECT count(*) FROM work WHERE client = ? AND id >= ?', $k, $base + 100) === 30, 'batch');
}

function errors(PDO $c, int $k, int $base): void
{
	expect('42601', fn () => value($c, 'SELECT ?::int FROM FROM', $base));
	$zero = $c->prepare('SELECT ?::int / ?::int');
	for ($i = 0; $i < 5; $i++) {
		$zero->execute([$base, 1]);
		check($zero->fetchColumn() === $base, 'divided');
		expect('22012', fn () => $zero->execute([$base, 0]));
	}
	expect('23505', fn () => value($c, INSERT, $k, $base, 'again'));
	check(value($c, 'SELECT ?::int + 3', $base) === $base + 3, 'after an error');
}

/*
 * Told that the result has changed, a new statement with the same text gives the new one. Only what was prepared at
 * the server is executed again: PDO itself takes the columns for those of the first time, and may crash.
 */
function changeOfATable(PDO $c, int $k, int $base, array &$seen, bool $isPrepared): void
{
	$select = "SELECT * FROM shape_$k WHERE 1 = ?";
	$statement = $c->prepare($select);
	$statement->execute([1]);
	$new = [...$statement->fetch(PDO::FETCH_NUM), $base];
	connected()->exec("ALTER TABLE shape_$k ADD b$base int DEFAULT $base");
	if ($isPrepared)
		expect('0A000', fn () => $statement->execute([1]));
	$statement = $c->prepare($select);
	$statement->execute([1]);
	check($statement->fetch(PDO::FETCH_NUM) === $new, 'the new column');
	$fresh = connected()->prepare($select);
	$fresh->execute([1]);
	check($fresh->fetch(PDO::FETCH_NUM) === $new, 'the new column for a new client');
}

function closing(PDO $c, int $k, int $base): void
{
	for ($i = 0; $i < 10; $i++) {
		$statement = $c->prepare('SELECT ?::int - 1');
		$statement->execute([$base + $i]);
		check($statement->fetchColumn() === $base + $i - 1, 'prepared anew');
		$statement = null;
	}
	$c->exec('PREPARE mine (int) AS SELECT $1 + 1');
	for ($i = 0; $i < 10; $i++)
		check($c->query('EXECUTE mine (' . ($base + $i) . ')')->fetchColumn() === $base + $i + 1, 'EXECUTE');
	$c->exec('DEALLOCATE mine');
	expect('26000', fn () => $c->query('EXECUTE mine (1)'));
}

function work(int $k, int $rounds): int
{
	$servers = 0;
	$ways = [[], [PDO::ATTR_EMULATE_PREPARES => true], [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]];
	foreach ($ways as $way => $options) {
		$c = connected($options);
		$seen = [];
		for ($n = 0; $n < $rounds; $n++)
			foreach (['named', 'several', 'unnamed', 'transactions', 'batch', 'errors', 'changeOfATable', 'closing'] as $step)
				$step($c, $k, 10000000 * ($k + 1) + 100000 * $way + 1000 * $n, $seen, $options === []);
		$c = null;
		$servers = max($servers, count($seen));
	}
	return $servers;
}

run_clients();
