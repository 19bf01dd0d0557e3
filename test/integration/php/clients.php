<?php
/* Arguments: port, clients, rounds. A process for each client, which tells how many servers it has seen. */
declare(strict_types=1);

[$port, $clients, $rounds] = array_map('intval', array_slice($argv, 1, 3));

function check(bool $holds, string $what): void
{
	if (!$holds)
		throw new Exception($what);
}

/* work($k, $rounds) for each client; php-cli starts itself again with the number of one as fourth argument. */
function run_clients(): void
{
	global $argv, $clients, $rounds;
	if (isset($argv[4])) {
		echo work(intval($argv[4]), $rounds), "\n";
		return;
	}
	$processes = $pipes = [];
	for ($k = 0; $k < $clients; $k++) {
		$processes[$k] = proc_open([PHP_BINARY, ...array_slice($argv, 0, 4), (string) $k], [1 => ['pipe', 'w']], $pipes[$k]);
		check(is_resource($processes[$k]), 'proc_open');
	}
	$changed = 0;
	foreach ($processes as $k => $process) {
		$output = stream_get_contents($pipes[$k][1]);
		check(proc_close($process) === 0, "client $k: $output");
		$changed += intval($output) > 1 ? 1 : 0;
	}
	echo "done $changed\n";
}
