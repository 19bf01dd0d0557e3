#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "process/daemon.h"

#include "../conf/tempdir.h"

static struct strbuf error;

static int set_up(void **state)
{
	(void)state;
	strbuf_init(&error);
	strbuf_add_str(&error, "");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	strbuf_fini(&error);
	return 0;
}

static int pid_in(const char *file)
{
	FILE *f = fopen(file, "r");
	int pid = -1;

	if (f == NULL || fscanf(f, "%d", &pid) != 1)
		pid = -1;
	if (f != NULL)
		fclose(f);
	return pid;
}

/* Runs fn in a child; returns its exit status, -1 if it did not exit by itself. */
static int exit_status_of(int (*fn)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(fn());
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* ------------------------------------------------------------------ the pid file */

static void the_pid_file_holds_our_pid_until_it_is_removed(void **state)
{
	struct pidfh *pid = daemon_pidfile_open("pid", &error);

	(void)state;
	assert_non_null(pid);
	daemon_pidfile_write(pid);
	assert_int_equal(pid_in("pid"), getpid());
	daemon_pidfile_remove(pid);
	assert_int_equal(access("pid", F_OK), -1);
	assert_string_equal(error.p, "");
}

static void a_second_one_is_refused_and_told_who_has_it(void **state)
{
	struct pidfh *pid = daemon_pidfile_open("pid", &error);
	char expected[128];

	(void)state;
	daemon_pidfile_write(pid);
	assert_null(daemon_pidfile_open("pid", &error));
	snprintf(expected, sizeof(expected), "pidfile pid: another process is running already, pid %d", (int)getpid());
	assert_string_equal(error.p, expected);
	assert_int_equal(pid_in("pid"), getpid());
	daemon_pidfile_remove(pid);
}

static int take_pid_file(void)
{
	struct pidfh *pid = daemon_pidfile_open("pid", &error);

	if (pid == NULL)
		return 1;
	daemon_pidfile_write(pid);
	return 0;
}

static void another_process_is_refused_too(void **state)
{
	struct pidfh *pid = daemon_pidfile_open("pid", &error);

	(void)state;
	daemon_pidfile_write(pid);
	assert_int_equal(exit_status_of(take_pid_file), 1);
	daemon_pidfile_remove(pid);
	assert_int_equal(exit_status_of(take_pid_file), 0);
	unlink("pid");
}

static void a_pid_file_left_by_a_dead_process_is_taken_over(void **state)
{
	struct pidfh *pid;

	(void)state;
	assert_int_equal(exit_status_of(take_pid_file), 0);
	assert_int_equal(access("pid", F_OK), 0);
	pid = daemon_pidfile_open("pid", &error);
	assert_non_null(pid);
	daemon_pidfile_write(pid);
	assert_int_equal(pid_in("pid"), getpid());
	daemon_pidfile_remove(pid);
}

static void a_pid_file_that_cannot_be_written_says_why(void **state)
{
	(void)state;
	assert_null(daemon_pidfile_open("no/such/folder/pid", &error));
	assert_string_equal(error.p, "pidfile no/such/folder/pid: No such file or directory");
}

static void removing_none_is_allowed(void **state)
{
	(void)state;
	daemon_pidfile_remove(NULL);
}

/* ------------------------------------------------------------------ in the background */

static int become_ready(void)
{
	if (!daemon_start())
		return 2;
	daemon_ready();
	return 0;
}

static int fail_before_ready(void)
{
	if (!daemon_start())
		return 2;
	return 0;
}

static void the_parent_ends_well_when_the_daemon_is_ready(void **state)
{
	(void)state;
	assert_int_equal(exit_status_of(become_ready), 0);
}

static void the_parent_fails_when_the_daemon_ends_before(void **state)
{
	(void)state;
	assert_int_equal(exit_status_of(fail_before_ready), 1);
}

/* The child writes what it found out, since its parent knows only whether it got ready. */
static int note_session(void)
{
	FILE *f;

	if (!daemon_start())
		return 2;
	f = fopen("session", "w");
	fprintf(f, "%d", getsid(0) == getpid());
	fclose(f);
	daemon_ready();
	return 0;
}

static void the_daemon_has_a_session_of_its_own(void **state)
{
	(void)state;
	tempdir_write("session", "");
	assert_int_equal(exit_status_of(note_session), 0);
	assert_int_equal(pid_in("session"), 1);
}

static int note_terminal(void)
{
	char name[64] = "";

	if (!daemon_start())
		return 2;
	daemon_ready();
	/* Only now: the note itself must not go the way of stdout. */
	if (readlink("/proc/self/fd/1", name, sizeof(name) - 1) < 0)
		return 3;
	tempdir_write("terminal", name);
	return 0;
}

static void the_daemon_lets_go_of_the_terminal(void **state)
{
	char name[64] = "";
	FILE *f;

	(void)state;
	tempdir_write("terminal", "");
	assert_int_equal(exit_status_of(note_terminal), 0);
	/* The daemon goes on after its parent has been told. */
	for (int i = 0; i < 500 && name[0] == '\0'; i++) {
		usleep(10000);
		f = fopen("terminal", "r");
		if (f == NULL || fgets(name, sizeof(name), f) == NULL)
			name[0] = '\0';
		if (f != NULL)
			fclose(f);
	}
	assert_string_equal(name, "/dev/null");
}

static void a_foreground_process_keeps_its_terminal(void **state)
{
	struct stat before, after;

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &before), 0);
	daemon_ready();
	assert_int_equal(fstat(STDERR_FILENO, &after), 0);
	assert_true(before.st_dev == after.st_dev && before.st_ino == after.st_ino);
}

/* ------------------------------------------------------------------ another user */

static void an_unknown_user_is_refused(void **state)
{
	(void)state;
	assert_false(daemon_become("no-such-user", &error));
	assert_string_equal(error.p, "user no-such-user does not exist");
}

static void becoming_oneself_is_no_change(void **state)
{
	const struct passwd *pw = getpwuid(getuid());

	(void)state;
	if (pw == NULL)
		skip();
	assert_true(daemon_become(pw->pw_name, &error));
	assert_string_equal(error.p, "");
}

static int become_nobody(void)
{
	const struct passwd *pw = getpwnam("nobody");
	uid_t uid = pw->pw_uid;
	gid_t gid = pw->pw_gid;

	if (!daemon_become("nobody", &error))
		return 1;
	if (getuid() != uid || geteuid() != uid || getgid() != gid || getegid() != gid)
		return 2;
	/* For good. */
	if (setuid(0) == 0 || setgid(0) == 0)
		return 3;
	return daemon_become("root", &error) ? 4 : 0;
}

static void root_becomes_another_user_for_good(void **state)
{
	(void)state;
	if (getuid() != 0 || getpwnam("nobody") == NULL)
		skip();
	assert_int_equal(exit_status_of(become_nobody), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_pid_file_holds_our_pid_until_it_is_removed),
		TEST(a_second_one_is_refused_and_told_who_has_it),
		TEST(another_process_is_refused_too),
		TEST(a_pid_file_left_by_a_dead_process_is_taken_over),
		TEST(a_pid_file_that_cannot_be_written_says_why),
		TEST(removing_none_is_allowed),
		TEST(the_parent_ends_well_when_the_daemon_is_ready),
		TEST(the_parent_fails_when_the_daemon_ends_before),
		TEST(the_daemon_has_a_session_of_its_own),
		TEST(the_daemon_lets_go_of_the_terminal),
		TEST(a_foreground_process_keeps_its_terminal),
		TEST(an_unknown_user_is_refused),
		TEST(becoming_oneself_is_no_change),
		TEST(root_becomes_another_user_for_good),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
