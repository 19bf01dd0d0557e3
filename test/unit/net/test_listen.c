#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/listen.h"

#include "../conf/tempdir.h"
#include "turning.h"

static struct strbuf error;

/* What was accepted. */
static int accepted[64];
static bool accepted_unix[64];
static struct accepted last;
static int naccepted;

static void on_accept(void *arg, const struct accepted *a)
{
	assert_ptr_equal(arg, &error);
	last = *a;
	accepted[naccepted] = a->fd;
	accepted_unix[naccepted++] = a->is_unix;
}

static int set_up(void **state)
{
	naccepted = 0;
	strbuf_init(&error);
	strbuf_add_str(&error, "");
	return open_loop(state);
}

static int tear_down(void **state)
{
	while (naccepted > 0)
		close(accepted[--naccepted]);
	strbuf_fini(&error);
	return close_loop(state);
}

/* A port that was free a moment ago. */
static int free_port(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct addr_any a;
	struct addr self;

	addr_any_from_ip(&a, "127.0.0.1", 0);
	assert_int_equal(bind(fd, &a.u.sa, a.len), 0);
	addr_of_self(&self, fd);
	close(fd);
	return self.port;
}

static struct listen_options options_for(const char *addresses, int port, const char *unix_dir)
{
	return (struct listen_options){.addresses = addresses,
				       .port = port,
				       .backlog = 16,
				       .unix_dir = unix_dir,
				       .unix_mode = 0777,
				       .unix_group = ""};
}

static struct listeners *open_with(const struct listen_options *o)
{
	return listeners_open(loop, o, on_accept, &error, &error);
}

static int connect_any(const struct addr_any *a)
{
	int fd = socket(a->u.sa.sa_family, SOCK_STREAM, 0);

	if (connect(fd, &a->u.sa, a->len) == 0)
		return fd;
	close(fd);
	return -1;
}

static int connect_tcp(const char *ip, int port)
{
	struct addr_any a;

	assert_true(addr_any_from_ip(&a, ip, port));
	return connect_any(&a);
}

static int connect_unix(const char *dir, int port)
{
	struct addr_any a;

	assert_true(addr_any_from_unix(&a, dir, port));
	return connect_any(&a);
}

static void a_tcp_client_is_handed_over_non_blocking(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l = open_with(&o);
	int fd = connect_tcp("127.0.0.1", o.port);

	(void)state;
	assert_true(fd >= 0);
	turn_until(naccepted == 1);
	assert_false(accepted_unix[0]);
	assert_true(fcntl(accepted[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(accepted[0], F_GETFD) & FD_CLOEXEC);
	close(fd);
	listeners_close(&l);
	assert_null(l);
}

static void each_address_of_the_list_is_listened_on(void **state)
{
	struct listen_options o = options_for(" 127.0.0.1 ,, 127.0.0.2", free_port(), "");
	struct listeners *l = open_with(&o);
	int a = connect_tcp("127.0.0.1", o.port), b = connect_tcp("127.0.0.2", o.port);

	(void)state;
	assert_true(a >= 0 && b >= 0);
	assert_int_equal(connect_tcp("127.0.0.3", o.port), -1);
	turn_until(naccepted == 2);
	close(a);
	close(b);
	listeners_close(&l);
}

static void a_star_listens_on_every_address(void **state)
{
	struct listen_options o = options_for("*", free_port(), "");
	struct listeners *l = open_with(&o);
	int fd = connect_tcp("127.0.0.3", o.port);

	(void)state;
	assert_non_null(l);
	assert_true(fd >= 0);
	turn_until(naccepted == 1);
	close(fd);
	listeners_close(&l);
}

static void nothing_to_listen_on_is_no_error(void **state)
{
	struct listen_options o = options_for("", free_port(), "");
	struct listeners *l = open_with(&o);

	(void)state;
	assert_non_null(l);
	assert_string_equal(error.p, "");
	listeners_close(&l);
	listeners_close(&l);
}

static void a_port_in_use_fails_all_and_says_so(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listen_options more = options_for("127.0.0.2,127.0.0.1", o.port, "");
	struct listeners *l = open_with(&o);
	char expected[128];

	(void)state;
	assert_null(open_with(&more));
	snprintf(expected, sizeof(expected), "cannot listen on 127.0.0.1:%d: Address already in use", o.port);
	assert_string_equal(error.p, expected);
	assert_int_equal(connect_tcp("127.0.0.2", o.port), -1);
	listeners_close(&l);
}

static void two_may_share_a_port_with_reuseport(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *a, *b;

	(void)state;
	o.reuseport = true;
	a = open_with(&o);
	b = open_with(&o);
	assert_non_null(a);
	assert_non_null(b);
	listeners_close(&a);
	listeners_close(&b);
}

static void what_is_no_address_is_named(void **state)
{
	struct listen_options o = options_for("300.1.2.3.4.", free_port(), "");

	(void)state;
	assert_null(open_with(&o));
	assert_memory_equal(error.p, "cannot listen on 300.1.2.3.4.: ", 31);
}

static void a_unix_socket_has_its_mode_and_goes_with_the_listener(void **state)
{
	struct listen_options o = options_for("", 6432, ".");
	struct listeners *l;
	struct stat st;
	int fd;

	(void)state;
	o.unix_mode = 0700;
	l = open_with(&o);
	assert_int_equal(stat("./.s.PGSQL.6432", &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0700);
	fd = connect_unix(".", 6432);
	assert_true(fd >= 0);
	turn_until(naccepted == 1);
	assert_true(accepted_unix[0]);
	close(fd);
	listeners_close(&l);
	assert_int_equal(access("./.s.PGSQL.6432", F_OK), -1);
}

static void an_abstract_socket_leaves_no_file(void **state)
{
	struct listen_options o;
	struct listeners *l;
	char dir[64];
	int fd;

	(void)state;
	snprintf(dir, sizeof(dir), "@pgsluice-test-%d", (int)getpid());
	o = options_for("", 6432, dir);
	l = open_with(&o);
	assert_non_null(l);
	fd = connect_unix(dir, 6432);
	assert_true(fd >= 0);
	turn_until(naccepted == 1);
	assert_true(accepted_unix[0]);
	close(fd);
	listeners_close(&l);
}

static void a_socket_file_left_by_a_crash_is_replaced(void **state)
{
	struct listen_options o = options_for("", 6433, ".");
	int left_over = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	struct listeners *l;
	struct addr_any a;

	(void)state;
	addr_any_from_unix(&a, ".", 6433);
	assert_int_equal(bind(left_over, &a.u.sa, a.len), 0);
	close(left_over);
	assert_int_equal(access("./.s.PGSQL.6433", F_OK), 0);
	l = open_with(&o);
	assert_non_null(l);
	fd = connect_unix(".", 6433);
	assert_true(fd >= 0);
	close(fd);
	listeners_close(&l);
}

static void a_socket_that_somebody_listens_on_is_left_alone(void **state)
{
	struct listen_options o = options_for("", 6434, ".");
	struct listeners *l = open_with(&o);

	(void)state;
	assert_null(open_with(&o));
	assert_string_equal(error.p, "cannot listen on unix socket ./.s.PGSQL.6434: Address already in use");
	assert_int_equal(access("./.s.PGSQL.6434", F_OK), 0);
	listeners_close(&l);
}

static void a_folder_that_is_not_there_fails_all(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "no/such/folder");
	char expected[128];

	(void)state;
	assert_null(open_with(&o));
	snprintf(expected, sizeof(expected), "cannot listen on unix socket no/such/folder/.s.PGSQL.%d: No such file or directory",
		 o.port);
	assert_string_equal(error.p, expected);
	assert_int_equal(connect_tcp("127.0.0.1", o.port), -1);
}

static void a_folder_name_too_long_for_a_socket_is_refused(void **state)
{
	struct listen_options o;
	char dir[200];

	(void)state;
	memset(dir, 'd', sizeof(dir));
	dir[sizeof(dir) - 1] = '\0';
	o = options_for("", 6432, dir);
	assert_null(open_with(&o));
	assert_memory_equal(error.p, "unix_socket_dir ddd", 19);
}

static void an_unknown_group_fails_and_leaves_no_file(void **state)
{
	struct listen_options o = options_for("", 6435, ".");

	(void)state;
	o.unix_group = "no-such-group";
	assert_null(open_with(&o));
	assert_true(error.n > 0);
	assert_int_equal(access("./.s.PGSQL.6435", F_OK), -1);
}

static void nobody_is_accepted_while_suspended(void **state)
{
	int port = free_port(), client;
	struct listen_options o = options_for("127.0.0.1", port, "");
	struct listeners *l = open_with(&o);

	(void)state;
	listeners_suspend(l);
	client = connect_tcp("127.0.0.1", port);
	assert_true(client >= 0);
	turn_a_few_times();
	assert_int_equal(naccepted, 0);
	listeners_resume(l);
	turn_until(naccepted == 1);
	listeners_suspend(l);
	listeners_close(&l);
	close(client);
}

static void closing_tcp_leaves_unix_sockets_open(void **state)
{
	struct listen_options o = options_for("127.0.0.1,127.0.0.2", free_port(), ".");
	struct listeners *l = open_with(&o);
	int fd;

	(void)state;
	listeners_close_tcp(l, NULL);
	assert_int_equal(connect_tcp("127.0.0.1", o.port), -1);
	assert_int_equal(connect_tcp("127.0.0.2", o.port), -1);
	fd = connect_unix(".", o.port);
	assert_true(fd >= 0);
	turn_until(naccepted == 1);
	close(fd);
	listeners_close(&l);
}

static void whoever_has_connected_is_accepted_before_the_socket_closes(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l = open_with(&o);
	int clients[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_true((clients[i] = connect_tcp("127.0.0.1", o.port)) >= 0);
	listeners_close_tcp(l, NULL);
	assert_int_equal(naccepted, 8);
	assert_false(listeners_are_closing(l));
	assert_int_equal(connect_tcp("127.0.0.1", o.port), -1);
	for (int i = 0; i < 8; i++)
		close(clients[i]);
	listeners_close(&l);
}

static bool is_closed;

static void on_closed(void *arg)
{
	assert_ptr_equal(arg, &error);
	is_closed = true;
}

static int connect_slowly(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct addr_any a;

	addr_any_from_ip(&a, "127.0.0.1", port);
	connect(fd, &a.u.sa, a.len);
	return fd;
}

/* Connected, and silent: they are not kept back until they speak. */
static void with_reuseport_those_half_way_in_are_accepted_and_newcomers_go_to_the_others(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l, *other;
	int silent[8], late[8];

	(void)state;
	o.reuseport = true;
	o.defer_accept = 1;
	l = open_with(&o);
	for (int i = 0; i < 8; i++)
		assert_true((silent[i] = connect_tcp("127.0.0.1", o.port)) >= 0);
	o.defer_accept = 0;
	other = open_with(&o);
	is_closed = false;
	listeners_close_tcp(l, on_closed);
	assert_true(listeners_are_closing(l));
	for (int i = 0; i < 8; i++)
		late[i] = connect_slowly(o.port);
	turn_until(is_closed);
	/* All of the late come too, those who were turned away when they ask again. */
	turn_until(naccepted == 16);
	for (int i = 0; i < 8; i++) {
		int failed = -1;
		socklen_t n = sizeof(failed);
		char byte;

		assert_int_equal(getsockopt(silent[i], SOL_SOCKET, SO_ERROR, &failed, &n), 0);
		assert_int_equal(failed, 0);
		assert_int_equal(recv(silent[i], &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(getsockopt(late[i], SOL_SOCKET, SO_ERROR, &failed, &n), 0);
		assert_int_equal(failed, 0);
		close(silent[i]);
		close(late[i]);
	}
	listeners_close(&l);
	listeners_close(&other);
}

/* What a process passes on: duplicates, as they arrive elsewhere. */
static struct inherited passed_by(const struct listeners *l)
{
	struct inherited i = {0};
	int fds[INHERITED_MAX];

	i.n = listeners_descriptors(l, fds, INHERITED_MAX);
	for (size_t k = 0; k < i.n; k++)
		i.fds[k] = dup(fds[k]);
	return i;
}

static void inherited_sockets_with_the_addresses_that_are_wanted_are_used(void **state)
{
	struct listen_options o = options_for("127.0.0.1,127.0.0.2", free_port(), ".");
	struct listeners *l = open_with(&o), *heir;
	struct inherited i = passed_by(l);
	int fd;

	(void)state;
	assert_int_equal(i.n, 3);
	assert_true(inherited_check(&i, &error));
	o.addresses = "127.0.0.1,127.0.0.3";
	o.inherited = &i;
	heir = open_with(&o);
	assert_non_null(heir);
	/* 127.0.0.2 is wanted no more. */
	assert_int_equal((i.fds[0] < 0) + (i.fds[1] < 0) + (i.fds[2] < 0), 2);
	inherited_close(&i);
	listeners_hand_over(l);
	assert_int_equal(listeners_descriptors(l, NULL, 0), 0);
	listeners_close(&l);
	assert_int_equal(connect_tcp("127.0.0.2", o.port), -1);
	fd = connect_tcp("127.0.0.1", o.port);
	assert_true(fd >= 0);
	close(fd);
	fd = connect_unix(".", o.port);
	assert_true(fd >= 0);
	turn_until(naccepted == 2);
	close(fd);
	listeners_own(heir);
	listeners_close(&heir);
}

/* An heir that fails leaves everything as it was; one that has come into its own takes the file with it. */
static void a_shared_sockets_file_stays_until_it_is_owned(void **state)
{
	struct listen_options o = options_for("", 6436, ".");
	struct listeners *l = open_with(&o), *heir;
	struct inherited i = passed_by(l);

	(void)state;
	o.inherited = &i;
	heir = open_with(&o);
	listeners_close(&heir);
	assert_int_equal(access(".s.PGSQL.6436", F_OK), 0);
	i = passed_by(l);
	heir = open_with(&o);
	listeners_hand_over(l);
	listeners_own(heir);
	listeners_close(&heir);
	assert_int_equal(access(".s.PGSQL.6436", F_OK), -1);
	listeners_close(&l);
}

static void all_inherited_sockets_replace_the_addresses_of_their_kind(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l = open_with(&o), *heir;
	struct inherited i = passed_by(l);
	struct listen_options more = options_for("127.0.0.4", o.port, ".");
	int fd;

	(void)state;
	listeners_hand_over(l);
	listeners_close(&l);
	more.inherited = &i;
	more.take_all = true;
	heir = open_with(&more);
	assert_non_null(heir);
	assert_int_equal(connect_tcp("127.0.0.4", o.port), -1);
	fd = connect_tcp("127.0.0.1", o.port);
	assert_true(fd >= 0);
	close(fd);
	fd = connect_unix(".", o.port);
	assert_true(fd >= 0);
	close(fd);
	turn_until(naccepted == 2);
	listeners_close(&heir);
}

static void only_sockets_that_listen_can_be_inherited(void **state)
{
	int bad[] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_DGRAM, 0), open("/dev/null", O_RDONLY)};

	(void)state;
	for (int k = 0; k < 3; k++) {
		struct inherited i = {.fds = {bad[k]}, .n = 1};

		error.n = 0;
		assert_false(inherited_check(&i, &error));
		assert_non_null(strstr(error.p, "no stream socket that listens"));
		inherited_close(&i);
	}
}

static void accepting_goes_on_when_descriptors_are_free_again(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l = open_with(&o);
	int fd = connect_tcp("127.0.0.1", o.port);
	struct rlimit was, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){.rlim_cur = (rlim_t)fd + 1, .rlim_max = was.rlim_max};
	/* No descriptor below the limit is free. */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	turn_a_few_times();
	assert_int_equal(naccepted, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	turn_until(naccepted == 1);
	close(fd);
	listeners_close(&l);
}

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t n = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &n), 0);
	return value;
}

static void tcp_options_are_set_and_zeros_leave_the_systems(void **state)
{
	const struct tcp_options none = {0}, all = {.keepalive = true, .keepidle = 77, .keepintvl = 11, .keepcnt = 4,
						   .user_timeout_ms = 5000};
	int fd = socket(AF_INET, SOCK_STREAM, 0), idle = option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE);

	(void)state;
	tcp_apply(fd, &none);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY) != 0, 1);
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle);
	tcp_apply(fd, &all);
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 77);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 11);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
	close(fd);
}

/* A client that connects, and is accepted; its end. */
static int connect_and_accept(const char *ip, int port)
{
	int fd = connect_tcp(ip, port), before = naccepted;

	assert_true(fd >= 0);
	turn_until(naccepted == before + 1);
	return fd;
}

static void who_is_accepted_inherits_no_delay_and_keepalive(void **state)
{
	struct tcp_options tcp = {.keepalive = true};
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l = open_with(&o);
	int fd;

	(void)state;
	listeners_set_tcp(l, &tcp);
	fd = connect_and_accept("127.0.0.1", o.port);
	assert_int_not_equal(option_of(last.fd, IPPROTO_TCP, TCP_NODELAY), 0);
	assert_int_equal(option_of(last.fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	close(fd);
	/* A reload has turned it off. */
	tcp.keepalive = false;
	listeners_set_tcp(l, &tcp);
	fd = connect_and_accept("127.0.0.1", o.port);
	assert_int_equal(option_of(last.fd, SOL_SOCKET, SO_KEEPALIVE), 0);
	close(fd);
	listeners_close(&l);
}

static void who_was_in_the_queue_before_the_options_is_given_them(void **state)
{
	const struct tcp_options tcp = {.keepalive = true};
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l = open_with(&o);
	int early = connect_tcp("127.0.0.1", o.port), late;

	(void)state;
	listeners_set_tcp(l, &tcp);
	turn_until(naccepted == 1);
	assert_false(last.has_options);
	assert_int_equal(option_of(last.fd, SOL_SOCKET, SO_KEEPALIVE), 0);
	tcp_apply_accepted(&last, &tcp);
	assert_int_equal(option_of(last.fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_not_equal(option_of(last.fd, IPPROTO_TCP, TCP_NODELAY), 0);
	late = connect_and_accept("127.0.0.1", o.port);
	assert_true(last.has_options);
	close(early);
	close(late);
	listeners_close(&l);
}

static void rare_options_are_set_on_each_who_is_accepted(void **state)
{
	const struct tcp_options tcp = {.keepalive = true, .keepidle = 77, .user_timeout_ms = 5000};
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l = open_with(&o);
	int early, fd;

	(void)state;
	listeners_set_tcp(l, &tcp);
	early = connect_and_accept("127.0.0.1", o.port);
	fd = connect_and_accept("127.0.0.1", o.port);
	assert_true(last.has_options);
	tcp_apply_accepted(&last, &tcp);
	assert_int_equal(option_of(last.fd, IPPROTO_TCP, TCP_KEEPIDLE), 77);
	assert_int_equal(option_of(last.fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
	close(early);
	close(fd);
	listeners_close(&l);
}

static void connections_within_the_machine_are_not_paced(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l = open_with(&o);
	int fd = connect_tcp("127.0.0.1", o.port);
	char name[16] = "";
	socklen_t n = sizeof(name);

	(void)state;
	turn_until(naccepted == 1);
	assert_int_equal(getsockopt(last.fd, IPPROTO_TCP, TCP_CONGESTION, name, &n), 0);
	assert_string_equal(name, "reno");
	close(fd);
	listeners_close(&l);
}

static void both_ends_of_who_is_accepted_are_told(void **state)
{
	struct listen_options one = options_for("127.0.0.2", free_port(), ""), any = options_for("*", free_port(), "");
	struct listeners *a = open_with(&one), *b = open_with(&any);
	struct addr self, peer;
	int fd = connect_and_accept("127.0.0.2", one.port);

	(void)state;
	addr_of_self(&self, last.fd);
	addr_of_peer(&peer, last.fd);
	assert_true(addr_eq(&last.own_end, &self) && addr_eq(&last.peer, &peer));
	close(fd);
	fd = connect_and_accept("127.0.0.3", any.port);
	addr_of_self(&self, last.fd);
	assert_true(addr_eq(&last.own_end, &self));
	close(fd);
	listeners_close(&a);
	listeners_close(&b);
}

static void a_crowd_is_accepted_in_a_few_turns(void **state)
{
	struct listen_options o = options_for("127.0.0.1", free_port(), "");
	struct listeners *l;
	int fds[60];

	(void)state;
	o.backlog = 64;
	l = open_with(&o);
	listeners_set_tcp(l, &(struct tcp_options){0});
	close(connect_and_accept("127.0.0.1", o.port));
	for (int i = 0; i < 60; i++)
		fds[i] = connect_tcp("127.0.0.1", o.port);
	/* 1, 2, 4, 8, 16, 29 */
	for (int i = 0; i < 6; i++)
		turn(0.01);
	assert_int_equal(naccepted, 61);
	for (int i = 0; i < 60; i++)
		close(fds[i]);
	listeners_close(&l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_tcp_client_is_handed_over_non_blocking),
		TEST(each_address_of_the_list_is_listened_on),
		TEST(a_star_listens_on_every_address),
		TEST(nothing_to_listen_on_is_no_error),
		TEST(a_port_in_use_fails_all_and_says_so),
		TEST(two_may_share_a_port_with_reuseport),
		TEST(what_is_no_address_is_named),
		TEST(a_unix_socket_has_its_mode_and_goes_with_the_listener),
		TEST(an_abstract_socket_leaves_no_file),
		TEST(a_socket_file_left_by_a_crash_is_replaced),
		TEST(a_socket_that_somebody_listens_on_is_left_alone),
		TEST(a_folder_that_is_not_there_fails_all),
		TEST(a_folder_name_too_long_for_a_socket_is_refused),
		TEST(an_unknown_group_fails_and_leaves_no_file),
		TEST(nobody_is_accepted_while_suspended),
		TEST(closing_tcp_leaves_unix_sockets_open),
		TEST(whoever_has_connected_is_accepted_before_the_socket_closes),
		TEST(with_reuseport_those_half_way_in_are_accepted_and_newcomers_go_to_the_others),
		TEST(inherited_sockets_with_the_addresses_that_are_wanted_are_used),
		TEST(a_shared_sockets_file_stays_until_it_is_owned),
		TEST(all_inherited_sockets_replace_the_addresses_of_their_kind),
		TEST(only_sockets_that_listen_can_be_inherited),
		TEST(accepting_goes_on_when_descriptors_are_free_again),
		TEST(tcp_options_are_set_and_zeros_leave_the_systems),
		TEST(who_is_accepted_inherits_no_delay_and_keepalive),
		TEST(who_was_in_the_queue_before_the_options_is_given_them),
		TEST(rare_options_are_set_on_each_who_is_accepted),
		TEST(both_ends_of_who_is_accepted_are_told),
		TEST(a_crowd_is_accepted_in_a_few_turns),
		TEST(connections_within_the_machine_are_not_paced),
	};

	return cmocka_run_group_tests(tests, tempdir_enter_quietly, tempdir_leave);
}
