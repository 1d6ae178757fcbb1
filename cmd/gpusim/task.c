/* SPDX-License-Identifier: Apache-2.0 */
/* task - the threads being traced, their address spaces, and the BAR0 mappings in them. */
#include <string.h>
#include <sys/uio.h>

#include "sim.h"

struct task *task_find(struct sim *s, pid_t tid)
{
	struct task *t = s->task[(unsigned)tid % TASK_BUCKETS];

	while (t && t->tid != tid)
		t = t->next;
	return t;
}

struct task *task_get(struct sim *s, pid_t tid)
{
	struct task *t = task_find(s, tid);

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		abort(); /* half of a process tree cannot be traced */
	t->tid = t->tgid = tid;
	t->next = s->task[(unsigned)tid % TASK_BUCKETS];
	s->task[(unsigned)tid % TASK_BUCKETS] = t;
	return t;
}

static void space_unref(struct space *space)
{
	if (space && --space->refs == 0)
		free(space);
}

static struct space *space_new(void)
{
	struct space *space = calloc(1, sizeof(*space));

	if (!space)
		abort();
	space->refs = 1;
	return space;
}

void task_drop(struct sim *s, struct task *t)
{
	struct task **at = &s->task[(unsigned)t->tid % TASK_BUCKETS];

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	space_unref(t->space);
	free(t);
}

void space_clear(struct task *t)
{
	space_unref(t->space);
	t->space = space_new();
}

void space_share(struct task *child, struct task *parent)
{
	space_unref(child->space);
	child->space = parent->space;
	child->space->refs++;
}

void space_copy(struct task *child, struct task *parent)
{
	space_clear(child);
	child->space->n = parent->space->n;
	memcpy(child->space->mapping, parent->space->mapping,
	       parent->space->n * sizeof(parent->space->mapping[0]));
}

struct mapping *space_find(struct space *space, uint64_t address)
{
	for (unsigned i = 0; space && i < space->n; i++)
		if (address - space->mapping[i].start < space->mapping[i].size)
			return &space->mapping[i];
	return NULL;
}

void space_add(struct space *space, struct mapping m)
{
	if (space->n == MAPPINGS_MAX) {
		complain("more than %d BAR0 mappings in one process", MAPPINGS_MAX);
		return;
	}
	space->mapping[space->n++] = m;
}

bool space_overlaps(const struct space *space, uint64_t start, uint64_t size)
{
	for (unsigned i = 0; space && i < space->n; i++)
		if (start < space->mapping[i].start + space->mapping[i].size &&
		    space->mapping[i].start < start + size)
			return true;
	return false;
}

/* Takes [start, start + size) out; what lies around it stays. */
void space_cut(struct space *space, uint64_t start, uint64_t size)
{
	for (unsigned i = space->n; i-- > 0;) {
		struct mapping *m = &space->mapping[i], old = *m;
		uint64_t end = start + size, old_end = old.start + old.size;

		if (start >= old_end || old.start >= end)
			continue;
		*m = space->mapping[--space->n];
		if (old.start < start)
			space_add(space, (struct mapping){ old.start, start - old.start, old.offset,
							   old.dev });
		if (end < old_end)
			space_add(space,
				  (struct mapping){ end, old_end - end,
						    old.offset + (end - old.start), old.dev });
	}
}

bool task_read(pid_t tid, uint64_t address, void *to, size_t n)
{
	struct iovec local = { to, n }, remote = { (void *)address, n };

	return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)n;
}

bool task_write(pid_t tid, uint64_t address, const void *from, size_t n)
{
	struct iovec local = { (void *)(uintptr_t)from, n }, remote = { (void *)address, n };

	return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)n;
}
