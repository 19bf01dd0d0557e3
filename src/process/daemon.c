#include "process/daemon.h"

#include <bsd/libutil.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the child tells its parent that it runs; -1: there is no parent waiting. */
static int ready_fd = -1;

struct pidfh *daemon_pidfile_open(const char *path, struct strbuf *error)
{
	pid_t other = 0;
	struct pidfh *pid = pidfile_open(path, 0644, &other);

	if (pid != NULL)
		return pid;
	if (errno == EEXIST)
		strbuf_addf(error, "pidfile %s: another process is running already, pid %d", path, (int)other);
	else
		strbuf_addf(error, "pidfile %s: %s", path, strerror(errno));
	return NULL;
}

void daemon_pidfile_write(struct pidfh *pid)
{
	pidfile_write(pid);
}

void daemon_pidfile_remove(struct pidfh *pid)
{
	if (pid != NULL)
		pidfile_remove(pid);
}

void daemon_pidfile_leave(struct pidfh *pid)
{
	if (pid != NULL)
		pidfile_close(pid);
}

bool daemon_start(void)
{
	int fds[2];
	pid_t child;
	char ok;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return false;
	child = fork();
	if (child < 0)
		return false;
	if (child > 0) {
		close(fds[1]);
		_exit(read(fds[0], &ok, 1) == 1 ? 0 : 1);
	}
	close(fds[0]);
	ready_fd = fds[1];
	return setsid() >= 0;
}

void daemon_ready(void)
{
	int null;

	if (ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	(void)!write(ready_fd, "1", 1);
	close(ready_fd);
	ready_fd = -1;
}

bool daemon_become(const char *user, struct strbuf *error)
{
	const struct passwd *pw = getpwnam(user);

	if (pw == NULL) {
		strbuf_addf(error, "user %s does not exist", user);
		return false;
	}
	if (getuid() == pw->pw_uid)
		return true;
	if (getuid() != 0) {
		strbuf_addf(error, "only root can become user %s", user);
		return false;
	}
	if (initgroups(user, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0) {
		strbuf_addf(error, "cannot become user %s: %s", user, strerror(errno));
		return false;
	}
	return true;
}
