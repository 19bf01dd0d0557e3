# DBD::Pg with its defaults: a statement handle's second execution names it at the server, its end deallocates it, in
# SQL. Arguments: port, clients, rounds; test_driver_statements.py says what a workload does. A process for each client.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:async);

my ($port, $clients, $rounds) = @ARGV;
my $INSERT = 'INSERT INTO work VALUES (?, ?, ?)';

sub connected {
	return DBI->connect("dbi:Pg:host=127.0.0.1;port=$port;dbname=app", 'app', '', {RaiseError => 1, PrintError => 0});
}

sub check {
	my ($holds, $what) = @_;
	die "$what\n" unless $holds;
}

sub expect {
	my ($state, $dbh, $action) = @_;
	eval { $action->(); 1 } and die "no error: $state\n";
	check(($dbh->state // '') eq $state, "$state was expected: " . ($dbh->state // '') . " $@");
}

# The first value of a statement that is prepared for this one time.
sub value {
	my ($dbh, $sql, @values) = @_;
	return ($dbh->selectrow_array($sql, undef, @values))[0];
}

sub named {
	my ($dbh, $k, $base, $seen) = @_;
	my $sth = $dbh->prepare('SELECT ?::int, ?::text, pg_backend_pid()');

	for my $i (0 .. 29) {
		$sth->execute($base + $i, "ünï $i");
		my ($v, $txt, $pid) = $sth->fetchrow_array;
		check($v == $base + $i && $txt eq "ünï $i", 'named');
		$sth->finish;
		$seen->{$pid} = 1;
	}
}

sub several {
	my ($dbh, $k, $base) = @_;
	my @sth = map { $dbh->prepare("SELECT ?::int + $_") } 0 .. 5;

	for my $i (0 .. 19) {
		for my $n (0 .. 5) {
			$sth[$n]->execute($base + $i);
			check($sth[$n]->fetchall_arrayref->[0][0] == $base + $i + $n, 'several');
		}
	}
}

sub unnamed {
	my ($dbh, $k, $base) = @_;

	for my $i (0 .. 9) {
		check(value($dbh, 'SELECT ?::int * 2', $base + $i) == 2 * ($base + $i), 'unnamed');
		check(value($dbh, 'SELECT ' . ($base + $i)) == $base + $i, 'simple');
	}
}

sub transactions {
	my ($dbh, $k, $base) = @_;
	my $insert = $dbh->prepare($INSERT);

	$dbh->begin_work;
	$insert->execute($k, $base + $_, 't' . ($base + $_)) for 0 .. 9;
	$dbh->commit;
	$dbh->begin_work;
	$insert->execute($k, $base + 10, 'rolled back');
	expect('23505', $dbh, sub { $insert->execute($k, $base, 'again') });
	expect('25P02', $dbh, sub { $insert->execute($k, $base + 11, 'too late') });
	$dbh->rollback;
	my $rows = $dbh->selectall_arrayref('SELECT id, txt FROM work WHERE client = ? AND id >= ? ORDER BY id', undef, $k,
		$base);
	check(@$rows == 10, 'ten rows');
	check($rows->[$_][0] == $base + $_ && $rows->[$_][1] eq 't' . ($base + $_), 'row') for 0 .. 9;
}

sub batch {
	my ($dbh, $k, $base) = @_;
	my $insert = $dbh->prepare($INSERT);

	my $n = $insert->execute_array({}, $k, [map { $base + 100 + $_ } 0 .. 49], 'batch');
	check($n == 50, 'execute_array');
	check(value($dbh, 'SELECT count(*) FROM work WHERE client = ? AND id >= ?', $k, $base + 100) == 50, 'batch');
}

sub errors {
	my ($dbh, $k, $base) = @_;

	expect('42601', $dbh, sub { value($dbh, 'SELECT ?::int FROM FROM', $base) });
	my $zero = $dbh->prepare('SELECT ?::int / ?::int');
	for my $i (0 .. 4) {
		$zero->execute($base, 1);
		check($zero->fetchall_arrayref->[0][0] == $base, 'divided');
		expect('22012', $dbh, sub { $zero->execute($base, 0) });
	}
	expect('23505', $dbh, sub { $dbh->do($INSERT, undef, $k, $base, 'again') });
	check(value($dbh, 'SELECT ?::int + 3', $base) == $base + 3, 'after an error');
}

sub cancel {
	my ($dbh, $base) = @_;
	my $sth = $dbh->prepare('SELECT ?::int, pg_sleep(?)', {pg_async => PG_ASYNC});

	$sth->execute($base, 0);
	$sth->pg_result;
	check($sth->fetchall_arrayref->[0][0] == $base, 'asynchronous');
	$sth->execute($base, 100);
	sleep 1;
	$dbh->pg_cancel;
	check($dbh->state eq '57014', 'cancelled: ' . $dbh->state);
	check(value($dbh, 'SELECT ?::int + 3', $base) == $base + 3, 'after a cancel');
}

# Told that the result has changed, a new handle with the same text gives the new one.
sub change_of_a_table {
	my ($dbh, $k, $base) = @_;
	my $select = "SELECT * FROM shape_$k WHERE 1 = ?";
	my $sth = $dbh->prepare($select);
	my @old;

	for (0 .. 5) {
		$sth->execute(1);
		@old = $sth->fetchrow_array;
		$sth->finish;
	}
	my $other = connected();
	$other->do("ALTER TABLE shape_$k ADD b$base int DEFAULT $base");
	$other->disconnect;
	unless (eval { $sth->execute(1); 1 }) {
		check($sth->state eq '0A000' && $@ =~ /cached plan must not change result type/, "changed: $@");
		$sth = $dbh->prepare($select);
		$sth->execute(1);
	}
	my @new = $sth->fetchrow_array;
	check("@new" eq "@old $base", "@new is not @old $base");
	$sth->finish;

	my $fresh = connected();
	$sth = $fresh->prepare($select);
	for (0 .. 5) {
		$sth->execute(1);
		@new = $sth->fetchrow_array;
		check("@new" eq "@old $base", "@new is not @old $base for a new client");
		$sth->finish;
	}
	undef $sth;
	$fresh->disconnect;
}

sub closing {
	my ($dbh, $k, $base) = @_;

	for my $i (0 .. 9) {
		my $sth = $dbh->prepare('SELECT ?::int - 1');
		for (0 .. 3) {
			$sth->execute($base + $i);
			check($sth->fetchall_arrayref->[0][0] == $base + $i - 1, 'prepared anew');
		}
	}
	$dbh->do('PREPARE mine (int) AS SELECT $1 + 1');
	check(value($dbh, 'EXECUTE mine (' . ($base + $_) . ')') == $base + $_ + 1, 'EXECUTE') for 0 .. 9;
	# Prepared in SQL, used through the protocol.
	my $sth = $dbh->prepare('SELECT ? + 1');
	$sth->{pg_prepare_name} = 'mine';
	for my $i (0 .. 5) {
		$sth->execute($base + $i);
		check($sth->fetchall_arrayref->[0][0] == $base + $i + 1, 'Bind of what was prepared in SQL');
	}
	undef $sth;
	$dbh->do('DEALLOCATE mine');
	expect('26000', $dbh, sub { $dbh->do('EXECUTE mine (1)') });
}

sub work {
	my ($k) = @_;
	my $dbh = connected();
	my %seen;

	for my $n (0 .. $rounds - 1) {
		$_->($dbh, $k, 1000000 * ($k + 1) + 1000 * $n, \%seen)
			for \&named, \&several, \&unnamed, \&transactions, \&batch, \&errors, \&change_of_a_table, \&closing;
	}
	cancel($dbh, 1000000) if $k == 0;
	$dbh->disconnect;
	return scalar keys %seen;
}

my (@readers, $changed);
for my $k (0 .. $clients - 1) {
	my $pid = open(my $reader, '-|') // die "fork: $!";
	if ($pid == 0) {
		print work($k), "\n";
		exit 0;
	}
	push @readers, $reader;
}
$changed = 0;
for my $reader (@readers) {
	my $seen = <$reader>;
	close($reader) or die "a client has failed: status $?\n";
	$changed++ if $seen > 1;
}
print "done $changed\n";
