<?php
/*
 * The extension pgsql: pg_prepare(), pg_execute(), pg_query_params(). Arguments: port, clients, rounds;
 * test_driver_statements.py says what a workload does. A process each.
 */
declare(strict_types=1);

require __DIR__ . '/clients.php';

function connected(): PgSql\Connection
{
	global $port;
	return pg_connect("host=127.0.0.1 port=$port dbname=app user=app", PGSQL_CONNECT_FORCE_NEW);
}

function rows(PgSql\Result|false $result): array
{
	check($result !== false, 'no result');
	return pg_fetch_all($result, PGSQL_NUM);
}

/* The SQLSTATE of a statement's answer, or null; pg_execute() and its like only warn. */
function state(PgSql\Connection $c, string $name, array $values): ?string
{
	pg_send_execute($c, $name, $values);
	return state_of_answer($c);
}

function state_of_answer(PgSql\Connection $c): ?string
{
	$state = null;
	while (($result = pg_get_result($c)) !== false)
		$state ??= pg_result_error_field($result, PGSQL_DIAG_SQLSTATE);
	return $state;
}

function prepare_all(PgSql\Connection $c): void
{
	$statements = [
		'named' => 'SELECT $1::int, $2::text, pg_backend_pid()',
		'insert' => 'INSERT INTO work VALUES ($1, $2, $3)',
		'zero' => 'SELECT $1::int / $2::int',
	];
	foreach ($statements as $name => $sql)
		check(pg_prepare($c, $name, $sql) !== false, $name);
	for ($n = 0; $n < 6; $n++)
		check(pg_prepare($c, "plus $n", "SELECT \$1::int + $n") !== false, "plus $n");
}

function named(PgSql\Connection $c, int $k, int $base, array &$seen): void
{
	for ($i = 0; $i < 30; $i++) {
		[[$v, $text, $pid]] = rows(pg_execute($c, 'named', [$base + $i, "ünï $i"]));
		check($v === (string) ($base + $i) && $text === "ünï $i", 'named');
		$seen[$pid] = true;
	}
}

function several(PgSql\Connection $c, int $k, int $base): void
{
	for ($i = 0; $i < 20; $i++)
		for ($n = 0; $n < 6; $n++)
			check(rows(pg_execute($c, "plus $n", [$base + $i])) === [[(string) ($base + $i + $n)]], 'several');
}

function unnamed(PgSql\Connection $c, int $k, int $base): void
{
	check(pg_prepare($c, '', 'SELECT $1::int * 2') !== false, 'unnamed');
	for ($i = 0; $i < 10; $i++) {
		check(rows(pg_query_params($c, 'SELECT $1::int * 3', [$base + $i])) === [[(string) (3 * ($base + $i))]], 'once');
		check(pg_prepare($c, '', 'SELECT $1::int * 2') !== false, 'unnamed');
		check(rows(pg_execute($c, '', [$base + $i])) === [[(string) (2 * ($base + $i))]], 'unnamed');
	}
}

function transactions(PgSql\Connection $c, int $k, int $base): void
{
	pg_query($c, 'BEGIN');
	for ($i = 0; $i < 10; $i++)
		check(pg_execute($c, 'insert', [$k, $base + $i, "t$i"]) !== false, 'insert');
	pg_query($c, 'COMMIT');
	pg_query($c, 'BEGIN');
	check(state($c, 'insert', [$k, $base + 10, 'rolled back']) === null, 'insert');
	check(state($c, 'insert', [$k, $base, 'again']) === '23505', 'unique violation');
	check(state($c, 'insert', [$k, $base + 11, 'too late']) === '25P02', 'failed transaction');
	pg_query($c, 'ROLLBACK');
	for ($i = 0; $i < 10; $i++)
		$expected[] = [(string) ($base + $i), "t$i"];
	check(rows(pg_query_params($c, 'SELECT id, txt FROM work WHERE client = $1 AND id >= $2 ORDER BY id', [$k, $base]))
		=== $expected, 'ten rows');
}

function errors(PgSql\Connection $c, int $k, int $base): void
{
	for ($i = 0; $i < 5; $i++) {
		check(state($c, 'zero', [$base, 0]) === '22012', 'division by zero');
		check(rows(pg_execute($c, 'zero', [$base, 1])) === [[(string) $base]], 'divided');
		check(state($c, 'insert', [$k, $base, 'again']) === '23505', 'unique violation');
		check(state($c, 'nothing', []) === '26000', 'no such statement');
		pg_send_prepare($c, 'zero', 'SELECT 1');
		check(state_of_answer($c) === '42P05', 'a name that is taken');
		pg_send_prepare($c, 'bad', 'SELECT $1::int FROM FROM');
		check(state_of_answer($c) === '42601', 'syntax error');
		check(state($c, 'bad', [1]) === '26000', 'a name that was not taken');
	}
}

function cancel(PgSql\Connection $c, int $k, int $base): void
{
	check(pg_prepare($c, 'sleep', 'SELECT $1::int, pg_sleep($2)') !== false, 'sleep');
	for ($i = 0; $i < 2; $i++) {
		pg_send_execute($c, 'sleep', [$base, 100]);
		sleep(1);
		// Sends the request, and takes the answers off the connection.
		check(pg_cancel_query($c), 'cancel');
		check(rows(pg_execute($c, 'sleep', [$base + $i, 0]))[0][0] === (string) ($base + $i), 'after a cancel');
	}
	pg_query($c, 'DEALLOCATE sleep');
}

/* Told that the result has changed, the same text under another name gives the new one. */
function change_of_a_table(PgSql\Connection $c, int $k, int $base): void
{
	$select = "SELECT * FROM shape_$k";
	check(pg_prepare($c, "before $base", $select) !== false, 'before');
	$new = [[...rows(pg_execute($c, "before $base", []))[0], (string) $base]];
	$other = connected();
	pg_query($other, "ALTER TABLE shape_$k ADD b$base int DEFAULT $base");
	pg_close($other);
	pg_send_execute($c, "before $base", []);
	$result = pg_get_result($c);
	check(pg_get_result($c) === false, 'one result');
	if (pg_result_error_field($result, PGSQL_DIAG_SQLSTATE) === '0A000') {
		check(pg_prepare($c, "after $base", $select) !== false, 'after');
		$result = pg_execute($c, "after $base", []);
	}
	check(rows($result) === $new, 'the new column');
	$fresh = connected();
	check(pg_prepare($fresh, 'fresh', $select) !== false, 'fresh');
	check(rows(pg_execute($fresh, 'fresh', [])) === $new, 'the new column for a new client');
	pg_close($fresh);
}

function closing(PgSql\Connection $c, int $k, int $base): void
{
	// Prepared through the protocol, executed and deallocated in SQL, and the other way round.
	check(pg_prepare($c, 'mixed', 'SELECT $1::int - 1') !== false, 'mixed');
	check(rows(pg_query($c, "EXECUTE mixed ($base)")) === [[(string) ($base - 1)]], 'EXECUTE of a protocol\'s');
	pg_query($c, 'DEALLOCATE mixed');
	pg_query($c, 'PREPARE mixed (int) AS SELECT $1 - 2');
	for ($i = 0; $i < 10; $i++)
		check(rows(pg_execute($c, 'mixed', [$base + $i])) === [[(string) ($base + $i - 2)]], 'Bind of SQL\'s');
	pg_query($c, 'DEALLOCATE mixed');
	check(state($c, 'mixed', [1]) === '26000', 'deallocated');
	pg_query($c, 'DEALLOCATE ALL');
	check(state($c, 'named', [1, 'x']) === '26000', 'all deallocated');
	prepare_all($c);
}

function work(int $k, int $rounds): int
{
	$seen = [];
	$c = connected();
	prepare_all($c);
	for ($n = 0; $n < $rounds; $n++)
		foreach (['named', 'several', 'unnamed', 'transactions', 'errors', 'change_of_a_table', 'closing'] as $step)
			$step($c, $k, 1000000 * ($k + 1) + 1000 * $n, $seen);
	if ($k === 0)
		cancel($c, $k, 1000000);
	pg_close($c);
	return count($seen);
}

run_clients();
