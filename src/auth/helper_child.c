#include "auth/helper_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/ldap.h"
#include "auth/pam.h"
#include "base/log.h"
#include "base/sys.h"

#define SOCKET_FD (STDERR_FILENO + 1)
#define NTEXTS	  4

bool helper_request_write(struct strbuf *out, const struct external_login *login)
{
	const char *const texts[] = {login->target, login->user, login->password, login->remote_host};
	const uint8_t kind = (uint8_t)login->kind;
	size_t n = sizeof(kind);
	uint32_t length;

	for (size_t i = 0; i < NTEXTS; i++)
		n += strlen(texts[i]) + 1;
	length = (uint32_t)n;
	/* All room at once: a buffer that grows leaves copies of the password behind. */
	if (n > HELPER_REQUEST_MAX || strbuf_reserve(out, sizeof(length) + n) == NULL)
		return false;
	strbuf_add(out, &length, sizeof(length));
	strbuf_add(out, &kind, sizeof(kind));
	for (size_t i = 0; i < NTEXTS; i++)
		strbuf_add(out, texts[i], strlen(texts[i]) + 1);
	return !out->failed;
}

/* False when the request is not as helper_request_write() makes it. The texts stay where they are. */
static bool read_request(char *p, size_t n, struct external_login *login)
{
	const char **const texts[] = {&login->target, &login->user, &login->password, &login->remote_host};
	char *end;

	if (n == 0)
		return false;
	login->kind = (enum external_kind) * p++;
	n--;
	for (size_t i = 0; i < NTEXTS; i++) {
		end = memchr(p, '\0', n);
		if (end == NULL)
			return false;
		*texts[i] = p;
		n -= (size_t)(end + 1 - p);
		p = end + 1;
	}
	return n == 0;
}

static bool receive(void *to, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = read(SOCKET_FD, (char *)to + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

static bool send_answer(const struct external_answer *answer)
{
	for (size_t done = 0; done < sizeof(*answer);) {
		ssize_t put = write(SOCKET_FD, (const char *)answer + done, sizeof(*answer) - done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return false;
		done += (size_t)put;
	}
	return true;
}

static void verify(const struct helper_child_options *o, const struct external_login *login,
		   struct external_answer *answer)
{
	memset(answer, 0, sizeof(*answer));
	if (o->verify != NULL) {
		o->verify(login, answer);
	} else if (login->password[0] == '\0') {
		answer->verdict = EXTERNAL_REFUSED;
		snprintf(answer->why, sizeof(answer->why), "the password is empty");
	} else if (login->kind == EXTERNAL_PAM) {
		pam_verify(login, o->pam_confdir, answer);
	} else {
		ldap_verify(login, answer);
	}
}

static bool verify_and_tell(const struct helper_child_options *o, const struct external_login *login)
{
	struct external_answer answer;

	verify(o, login, &answer);
	return send_answer(&answer);
}

/* Ends when that process does, even across exec(). */
static void end_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
}

/* Ends as the process that did the work has ended, unless that went well. */
static bool ended_well(int status)
{
	if (WIFSIGNALED(status))
		raise(WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Modules and libraries leave the password in their memory: it goes with a process that has it for one login. */
static bool verify_apart(const struct helper_child_options *o, const struct external_login *login)
{
	pid_t self = getpid(), child = fork();
	int status = 0;

	if (child == 0) {
		end_with(self);
		_exit(verify_and_tell(o, login) ? 0 : 1);
	}
	if (child < 0)
		return false;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return ended_well(status);
}

/* One request; false when there will be no more. */
static bool serve(const struct helper_child_options *o, char *room)
{
	struct external_login login;
	uint32_t length;
	bool ok;

	if (!receive(&length, sizeof(length)) || length > HELPER_REQUEST_MAX || !receive(room, length) ||
	    !read_request(room, length, &login))
		return false;
	ok = o->verify != NULL ? verify_and_tell(o, &login) : verify_apart(o, &login);
	sys_wipe(room, length);
	return ok;
}

/*
 * The parent's handlers would act on the parent's loop. What an operator sends
 * to the pooler by its name, or types at its terminal, is not for this process.
 */
static void reset_signals(void)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The log first: syslog() would go on using a descriptor that is another's by then. */
static bool keep_only(int fd)
{
	log_close();
	if (fd == SOCKET_FD ? fcntl(fd, F_SETFD, 0) != 0 : dup2(fd, SOCKET_FD) < 0)
		return false;
	closefrom(SOCKET_FD + 1);
	return true;
}

static _Noreturn void serve_all(const struct helper_child_options *options)
{
	char *room = malloc(HELPER_REQUEST_MAX);

	prctl(PR_SET_NAME, "pgsluice-auth");
	sys_allow_core_dumps(false);
	/* Modules start programs of their own. */
	fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC);
	while (room != NULL && serve(options, room))
		;
	_exit(room == NULL ? 1 : 0);
}

void helper_child_run(int fd, pid_t parent, const struct helper_child_options *options)
{
	end_with(parent);
	reset_signals();
	if (!keep_only(fd))
		_exit(1);
	if (options->verify != NULL)
		serve_all(options);
	/* Not by its name: another version may be there by now. */
	execl("/proc/self/exe", "pgsluice: logins by PAM and LDAP", HELPER_CHILD_ARGUMENT, options->pam_confdir, NULL);
	_exit(1);
}

void helper_child_main(const char *pam_confdir)
{
	const struct helper_child_options options = {.pam_confdir = pam_confdir};

	serve_all(&options);
}
