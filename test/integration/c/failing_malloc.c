/*
 * Memory that runs out when a test says so. Loaded before the program's
 * libraries (LD_PRELOAD), it counts allocations and fails some of them, as the
 * file FAILING_MALLOC says, which the test has mapped too (harness/memory.py).
 *
 * What has failed is told on standard error, with who had asked for it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* In the order of harness/memory.py. */
struct order {
	int64_t pid;             /* whose allocations count; 0: nobody's */
	int64_t own_only;        /* only those that the program itself asks for, and no library */
	int64_t first, times;    /* of those that count, numbers [first, first + times) fail */
	int64_t counted, failed;
};

static volatile struct order *order;
static uintptr_t text_start, text_end;   /* of the program */
static bool is_inside;                   /* what telling of it allocates does not count */

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);

static void find(void *pointer, const char *name)
{
	*(void **)pointer = dlsym(RTLD_NEXT, name);
}

/* The dynamic linker allocates before any constructor has run. */
static void find_all(void)
{
	static bool is_finding;

	if (is_finding)
		return;
	is_finding = true;
	find(&real_malloc, "malloc");
	find(&real_calloc, "calloc");
	find(&real_realloc, "realloc");
	find(&real_aligned_alloc, "aligned_alloc");
	find(&real_posix_memalign, "posix_memalign");
	is_finding = false;
}

/* The first object is the program. */
static int find_text(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];

		if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
			continue;
		text_start = info->dlpi_addr + h->p_vaddr;
		text_end = text_start + h->p_memsz;
	}
	return 1;
}

__attribute__((constructor)) static void set_up(void)
{
	int fd = open(getenv("FAILING_MALLOC"), O_RDWR | O_CLOEXEC);
	void *frame[1], *p = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd < 0 || p == MAP_FAILED)
		abort();
	close(fd);
	dl_iterate_phdr(find_text, NULL);
	backtrace(frame, 1);    /* loads what it needs */
	order = p;
}

static void tell(size_t size)
{
	void *frames[20];
	char line[64];
	int n = snprintf(line, sizeof(line), "allocation %lld fails, of %zu bytes, in:\n", (long long)order->counted,
			 size);

	if (write(STDERR_FILENO, line, (size_t)n) == n)
		backtrace_symbols_fd(frames + 2, backtrace(frames, 20) - 2, STDERR_FILENO);
}

/* Whether this one is not to be had. */
static bool fails(const void *caller, size_t size)
{
	bool does_fail;

	if (order == NULL || is_inside || order->pid == 0 || order->pid != getpid())
		return false;
	if (order->own_only && ((uintptr_t)caller < text_start || (uintptr_t)caller >= text_end))
		return false;
	does_fail = order->counted >= order->first && order->counted < order->first + order->times;
	if (does_fail) {
		is_inside = true;
		tell(size);
		is_inside = false;
		order->failed++;
		errno = ENOMEM;
	}
	order->counted++;
	return does_fail;
}

void *malloc(size_t size)
{
	if (real_malloc == NULL)
		find_all();
	return real_malloc == NULL || fails(__builtin_return_address(0), size) ? NULL : real_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	if (real_calloc == NULL)
		find_all();
	return real_calloc == NULL || fails(__builtin_return_address(0), n * size) ? NULL : real_calloc(n, size);
}

/* One that frees does not fail. */
void *realloc(void *p, size_t size)
{
	if (real_realloc == NULL)
		find_all();
	return size > 0 && fails(__builtin_return_address(0), size) ? NULL : real_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	if (real_aligned_alloc == NULL)
		find_all();
	return fails(__builtin_return_address(0), size) ? NULL : real_aligned_alloc(alignment, size);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
	if (real_posix_memalign == NULL)
		find_all();
	return fails(__builtin_return_address(0), size) ? ENOMEM : real_posix_memalign(p, alignment, size);
}

/* These are the C library's, which would be their malloc()'s caller. */

char *strndup(const char *s, size_t max)
{
	size_t n = strnlen(s, max);
	char *copy = fails(__builtin_return_address(0), n + 1) ? NULL : real_malloc(n + 1);

	if (copy == NULL)
		return NULL;
	copy[n] = '\0';
	return memcpy(copy, s, n);
}

char *strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = fails(__builtin_return_address(0), n) ? NULL : real_malloc(n);

	return copy == NULL ? NULL : memcpy(copy, s, n);
}
