#include "auth/helper.h"

#include <bsd/sys/queue.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/helper_child.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"
#include "net/conn.h"
#include "net/deadline.h"

#define IDLE_US (60 * CLOCK_SECOND)

/* A request waits in the queue, then a worker has it, then its answer may have to be held back. */
struct auth_helper_ticket {
	TAILQ_ENTRY(auth_helper_ticket) link; /* in the queue or among the delayed */
	struct auth_helper *helper;
	struct worker *worker;
	struct strbuf request;
	ev_timer delay;
	struct external_answer answer;
	auth_helper_fn *fn;
	void *arg;
	enum { TICKET_QUEUED, TICKET_ASKED, TICKET_DELAYED } state;
};

/*
 * A process. It stays in the helper's list until it is reaped and its
 * connection buried: GONE is one that is on this way.
 */
struct worker {
	struct conn conn; /* first: the loop hands back this */
	LIST_ENTRY(worker) link;
	struct auth_helper *helper;	   /* NULL: freed meanwhile */
	struct auth_helper_ticket *ticket; /* NULL too when what it works on was cancelled */
	struct deadline deadline;	   /* of the answer, or of being idle */
	ev_child exit;
	pid_t pid; /* 0: reaped */
	bool is_buried, was_dismissed;
	enum { WORKER_IDLE, WORKER_BUSY, WORKER_GONE } state;
};

TAILQ_HEAD(tickets, auth_helper_ticket);

struct auth_helper {
	struct loop *loop;
	unsigned max_queued;
	uint64_t timeout_us;
	struct helper_child_options child;
	LIST_HEAD(, worker) workers;
	struct tickets queue, delayed;
	unsigned nqueued, nworkers; /* workers without those that are GONE */
};

static void dispatch(struct auth_helper *h);

static void ticket_free(struct auth_helper_ticket *t)
{
	if (t->request.p != NULL)
		sys_wipe(t->request.p, t->request.n);
	strbuf_fini(&t->request);
	free(t);
}

static void ticket_answer(struct auth_helper_ticket *t, enum external_verdict verdict, const char *why)
{
	auth_helper_fn *fn = t->fn;
	void *arg = t->arg;

	ticket_free(t);
	fn(arg, verdict, why);
}

static void on_delay_over(EV_P_ ev_timer *timer, int events)
{
	struct auth_helper_ticket *t = timer->data;
	struct external_answer answer = t->answer;

	(void)loop;
	(void)events;
	TAILQ_REMOVE(&t->helper->delayed, t, link);
	ticket_answer(t, answer.verdict, answer.why);
}

/* PAM wants failures to be told slowly; the process is free for others meanwhile. */
static void ticket_delay(struct auth_helper_ticket *t, const struct external_answer *answer)
{
	struct auth_helper *h = t->helper;

	t->answer = *answer;
	t->state = TICKET_DELAYED;
	TAILQ_INSERT_TAIL(&h->delayed, t, link);
	ev_timer_init(&t->delay, on_delay_over, (double)answer->delay_us / CLOCK_SECOND, 0.);
	t->delay.data = t;
	ev_now_update(h->loop->ev);
	ev_timer_start(h->loop->ev, &t->delay);
}

static void worker_free_if_over(struct worker *w)
{
	if (!w->is_buried || w->pid != 0)
		return;
	if (w->helper != NULL)
		LIST_REMOVE(w, link);
	free(w);
}

/* No more requests to it; an idle process ends by itself when its socket is closed. */
static void worker_dismiss(struct worker *w)
{
	if (w->state == WORKER_GONE)
		return;
	w->state = WORKER_GONE;
	/* Only who has left the list has none. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	w->helper->nworkers--;
	deadline_disarm(&w->deadline);
	conn_close(&w->conn);
}

/* The same for a process that may be at work, whose request is answered. */
static void worker_give_up(struct worker *w, const char *why)
{
	struct auth_helper *h = w->helper;
	struct auth_helper_ticket *t = w->ticket;

	w->ticket = NULL;
	worker_dismiss(w);
	if (w->pid != 0)
		kill(w->pid, SIGKILL);
	if (t != NULL)
		ticket_answer(t, EXTERNAL_UNAVAILABLE, why);
	dispatch(h);
}

static void on_deadline(struct deadline *d)
{
	struct worker *w = (struct worker *)(void *)((char *)d - offsetof(struct worker, deadline));

	w->was_dismissed = true;
	if (w->state == WORKER_IDLE) {
		worker_dismiss(w);
		return;
	}
	log_warning("auth helper process %d has not answered in time: killing it", (int)w->pid);
	worker_give_up(w, "the auth helper process did not answer in time");
}

static void worker_set_idle(struct worker *w)
{
	w->state = WORKER_IDLE;
	deadline_arm(&w->deadline, deadline_list(w->helper->loop, IDLE_US, on_deadline));
}

static void worker_ask(struct worker *w, struct auth_helper_ticket *t)
{
	struct auth_helper *h = w->helper;

	w->state = WORKER_BUSY;
	w->ticket = t;
	t->worker = w;
	t->state = TICKET_ASKED;
	deadline_arm(&w->deadline,
		     h->timeout_us == 0 ? NULL : deadline_list(h->loop, h->timeout_us, on_deadline));
	conn_write(&w->conn, t->request.p, t->request.n);
	sys_wipe(t->request.p, t->request.n);
}

/* The worker stays BUSY until the answer is told, so that nobody gets it ahead of the queue. */
static size_t on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct worker *w = (struct worker *)c;
	struct auth_helper_ticket *t = w->ticket;
	struct external_answer answer;

	if (n < sizeof(answer))
		return 0;
	if (n > sizeof(answer) || w->state != WORKER_BUSY) {
		worker_give_up(w, "the auth helper process said what nobody asked");
		return CONN_CLOSED;
	}
	memcpy(&answer, p, sizeof(answer));
	answer.why[sizeof(answer.why) - 1] = '\0';
	w->ticket = NULL;
	deadline_disarm(&w->deadline);
	if (t != NULL && answer.verdict != EXTERNAL_ACCEPTED && answer.delay_us > 0)
		ticket_delay(t, &answer);
	else if (t != NULL)
		ticket_answer(t, answer.verdict, answer.why);
	worker_set_idle(w);
	dispatch(w->helper);
	return sizeof(answer);
}

static void on_closed(struct conn *c, int error)
{
	(void)error;
	worker_give_up((struct worker *)c, "the auth helper process has ended");
}

static void on_buried(struct conn *c)
{
	struct worker *w = (struct worker *)c;

	w->is_buried = true;
	worker_free_if_over(w);
}

/* Does nothing; conn has to call something. */
static void on_drained(struct conn *c)
{
	(void)c;
}

static const struct conn_ops worker_ops = {
	.on_bytes = on_bytes,
	.on_drained = on_drained,
	.on_closed = on_closed,
	.on_buried = on_buried,
};

/* The loop has reaped it. What it was asked is answered when the end of its socket is read. */
static void on_exit_of(EV_P_ ev_child *child, int events)
{
	struct worker *w = child->data;
	int status = child->rstatus;

	(void)events;
	ev_child_stop(EV_A_ child);
	if (w->was_dismissed)
		log_debug("auth helper process %d has ended", (int)w->pid);
	else if (WIFSIGNALED(status))
		log_warning("auth helper process %d was killed by signal %d", (int)w->pid, WTERMSIG(status));
	else
		log_warning("auth helper process %d exited with status %d", (int)w->pid, WEXITSTATUS(status));
	w->pid = 0;
	worker_free_if_over(w);
}

/* The child must not run a handler of the parent's before it has taken them away. */
static pid_t fork_child(const struct auth_helper *h, int child_fd)
{
	pid_t parent = getpid(), pid;
	sigset_t all, old;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		helper_child_run(child_fd, parent, &h->child);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return pid;
}

/* The process at the other end of the socket, or 0. */
static pid_t start_process(const struct auth_helper *h, int *fd)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return 0;
	pid = sys_set_nonblocking(fds[0]) ? fork_child(h, fds[1]) : -1;
	close(fds[1]);
	*fd = fds[0];
	if (pid > 0)
		return pid;
	close(fds[0]);
	return 0;
}

/* NULL: the log says why. */
static struct worker *worker_start(struct auth_helper *h)
{
	struct worker *w = calloc(1, sizeof(*w));
	int fd = -1;

	if (w == NULL)
		return NULL;
	w->pid = start_process(h, &fd);
	if (w->pid == 0) {
		log_error("cannot start an auth helper process: %s", strerror(errno));
		free(w);
		return NULL;
	}
	w->helper = h;
	conn_open(&w->conn, h->loop, fd, &worker_ops);
	ev_child_init(&w->exit, on_exit_of, w->pid, 0);
	w->exit.data = w;
	ev_child_start(h->loop->ev, &w->exit);
	LIST_INSERT_HEAD(&h->workers, w, link);
	h->nworkers++;
	worker_set_idle(w);
	log_debug("auth helper process %d started", (int)w->pid);
	return w;
}

/* One that can be asked now, started if need be, or NULL. */
static struct worker *free_worker(struct auth_helper *h)
{
	struct worker *w;

	LIST_FOREACH (w, &h->workers, link)
		if (w->state == WORKER_IDLE)
			return w;
	return h->nworkers < AUTH_HELPER_PROCESSES ? worker_start(h) : NULL;
}

static struct auth_helper_ticket *take_queued(struct auth_helper *h)
{
	struct auth_helper_ticket *t = TAILQ_FIRST(&h->queue);

	TAILQ_REMOVE(&h->queue, t, link);
	h->nqueued--;
	return t;
}

/* Brings the queue to whoever is free. Without a single process there is nobody it could wait for. */
static void dispatch(struct auth_helper *h)
{
	while (h->nqueued > 0) {
		struct worker *w = free_worker(h);

		if (w != NULL)
			worker_ask(w, take_queued(h));
		else if (h->nworkers == 0)
			ticket_answer(take_queued(h), EXTERNAL_UNAVAILABLE,
				      "cannot start an auth helper process");
		else
			return;
	}
}

struct auth_helper *auth_helper_new(struct loop *loop, const struct auth_helper_options *options)
{
	struct auth_helper *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->loop = loop;
	h->child = (struct helper_child_options){options->verify, options->pam_confdir};
	LIST_INIT(&h->workers);
	TAILQ_INIT(&h->queue);
	TAILQ_INIT(&h->delayed);
	auth_helper_set_limits(h, options->queue, options->timeout_us);
	return h;
}

void auth_helper_set_limits(struct auth_helper *h, unsigned queue, uint64_t timeout_us)
{
	h->max_queued = queue;
	h->timeout_us = timeout_us;
}

static void worker_end(struct worker *w)
{
	if (w->ticket != NULL)
		ticket_free(w->ticket);
	w->ticket = NULL;
	worker_dismiss(w);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as above */
	ev_child_stop(w->helper->loop->ev, &w->exit);
	LIST_REMOVE(w, link);
	w->helper = NULL;
	if (w->pid != 0) {
		kill(w->pid, SIGKILL);
		while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
			;
		w->pid = 0;
	}
	worker_free_if_over(w);
}

void auth_helper_free(struct auth_helper *h)
{
	struct auth_helper_ticket *t;

	if (h == NULL)
		return;
	while (h->nqueued > 0)
		ticket_free(take_queued(h));
	while ((t = TAILQ_FIRST(&h->delayed)) != NULL)
		auth_helper_cancel(t);
	while (!LIST_EMPTY(&h->workers))
		worker_end(LIST_FIRST(&h->workers));
	free(h);
}

static struct auth_helper_ticket *ticket_new(struct auth_helper *h, const struct external_login *login,
					     auth_helper_fn *fn, void *arg)
{
	struct auth_helper_ticket *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->helper = h;
	t->fn = fn;
	t->arg = arg;
	strbuf_init(&t->request);
	if (helper_request_write(&t->request, login))
		return t;
	ticket_free(t);
	return NULL;
}

struct auth_helper_ticket *auth_helper_ask(struct auth_helper *h, const struct external_login *login,
					   auth_helper_fn *fn, void *arg, const char **why)
{
	struct worker *w = h->nqueued == 0 ? free_worker(h) : NULL;
	struct auth_helper_ticket *t;

	if (w == NULL && h->nworkers == 0) {
		*why = "cannot start an auth helper process";
		return NULL;
	}
	if (w == NULL && h->nqueued >= h->max_queued) {
		*why = "auth helper queue is full";
		return NULL;
	}
	t = ticket_new(h, login, fn, arg);
	if (t == NULL) {
		*why = "the request is too long for an auth helper process, or memory is short";
		return NULL;
	}
	if (w != NULL) {
		worker_ask(w, t);
	} else {
		TAILQ_INSERT_TAIL(&h->queue, t, link);
		h->nqueued++;
	}
	return t;
}

void auth_helper_cancel(struct auth_helper_ticket *t)
{
	struct auth_helper *h = t->helper;

	switch (t->state) {
	case TICKET_QUEUED:
		TAILQ_REMOVE(&h->queue, t, link);
		h->nqueued--;
		break;
	case TICKET_ASKED:
		t->worker->ticket = NULL;
		break;
	case TICKET_DELAYED:
		TAILQ_REMOVE(&h->delayed, t, link);
		ev_timer_stop(h->loop->ev, &t->delay);
		break;
	}
	ticket_free(t);
}
