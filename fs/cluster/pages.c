/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pages.c: what the kernel's page cache holds of an inode, and taking it back
 * (doc/spec/fs-locking.md 12.4).
 *
 * Shared page mode, while no handle is open for writing: pages are clean, come from
 * READs under M PR, and must be gone before M goes to NL.
 *
 * Exclusive page mode, while handles are open for writing and the kernel allows shared
 * mappings of them: a store through a mapping makes a page dirty without asking us. So
 * READs are served under W EX and M EX, and before either of the two is lowered at all
 * every page is written and gone. W too, because a SETATTR(size) keeps dirty pages from
 * being sent until it is answered: with W cached at EX it never waits for a node that
 * waits for our M.
 *
 * The notification that removes pages waits for the lock of every folio of the file and
 * for the answer to every dirty one, and these requests may wait for the very lock that
 * is being given away. Therefore
 *
 *  - READ, dirty pages and SETATTR(size) ask for locks with LC_PRESENT;
 *  - giving away sends the notification with lc_serve() on, in exclusive mode for both
 *    locks: who waits although the level we still have would satisfy him is served
 *    after a few ms, notes his range, and the notification can go on;
 *  - what was served is invalidated in the next round, ranges only: a whole-file
 *    notification would meet the folios of READs that arrived behind it. Each round
 *    doubles the delay, so the remote node is not starved by a stream of readers.
 *
 * One at a time gives pages of an inode away (giving). Why nothing stays behind: a READ
 * that was not served through LC_PRESENT was a holder before BLOCKED (the worker waited
 * for it) or waits until the convert is over. One that was served wrote its reply, then
 * its range, before it left the lock, and lc_serve_end() does not end serving while
 * there is one whose range was not seen.
 */
#include "fs/cluster/clu_int.h"

enum { SERVE_DELAY_MS = 4, SERVE_DELAY_MAX_MS = 256 };

bool clu_pages_exclusive(struct clu_inode *ci)
{
	bool exclusive;

	if (!atomic_load_explicit(&ci->clu->shared_mmap, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&ci->mutex);
	exclusive = ci->writers > 0;
	pthread_mutex_unlock(&ci->mutex);
	return exclusive;
}

void clu_pages_note(struct clu_inode *ci)
{
	pthread_mutex_lock(&ci->mutex);
	ci->pages_valid = true;
	pthread_mutex_unlock(&ci->mutex);
}

void clu_pages_served(struct clu_inode *ci, uint64_t off, uint64_t len)
{
	pthread_mutex_lock(&ci->mutex);
	ci->pages_valid = true;
	if (ci->served_from >= ci->served_to) {
		ci->served_from = off;
		ci->served_to = off + len;
	} else {
		if (off < ci->served_from)
			ci->served_from = off;
		if (off + len > ci->served_to)
			ci->served_to = off + len;
	}
	pthread_mutex_unlock(&ci->mutex);
}

static bool take_served(struct clu_inode *ci, uint64_t *off, uint64_t *len)
{
	bool any;

	pthread_mutex_lock(&ci->mutex);
	any = ci->served_from < ci->served_to;
	*off = ci->served_from;
	*len = ci->served_to - ci->served_from;
	ci->served_from = ci->served_to = 0;
	pthread_mutex_unlock(&ci->mutex);
	return any;
}

/* l is given away; other, if any, must not hold up those who need both. */
static void rounds(struct clu_inode *ci, struct lc_lock *l, struct lc_lock *other)
{
	const struct clu_kernel_ops *k = ci->clu->cfg.kernel;
	uint64_t off = 0, len = 0;
	unsigned delay = SERVE_DELAY_MS;
	bool some = true;

	do {
		lc_serve(l, delay);
		if (other)
			lc_serve(other, delay);
		if (some && clu_kernel_there(ci->clu))
			k->inval_pages(ci->clu->cfg.kernel_ctx, ci->vi->blkno, off, len);
		if (delay < SERVE_DELAY_MAX_MS)
			delay *= 2;
		/* In this order: who was served noted his range before he left the lock. */
		some = false;
		if (!lc_serve_end(l))
			break;
		some = take_served(ci, &off, &len);
	} while (true);
	if (other)
		lc_serve_stop(other);
}

/* What the kernel may have is forgotten here before it is taken back, so that what is handed
 * out meanwhile (under the other lock, which need not be on its way down) is remembered. */
static void begin(struct clu_inode *ci, bool *pages, bool *attrs)
{
	pthread_mutex_lock(&ci->mutex);
	while (ci->giving)
		pthread_cond_wait(&ci->cond, &ci->mutex);
	ci->giving = true;
	*pages = ci->pages_valid;
	ci->pages_valid = false;
	if (attrs) {
		*attrs = ci->attrs_out;
		ci->attrs_out = false;
	}
	pthread_mutex_unlock(&ci->mutex);
}

static void end(struct clu_inode *ci)
{
	pthread_mutex_lock(&ci->mutex);
	ci->giving = false;
	pthread_cond_broadcast(&ci->cond);
	pthread_mutex_unlock(&ci->mutex);
}

void clu_pages_give_away(struct clu_inode *ci)
{
	const struct clu_kernel_ops *k = ci->clu->cfg.kernel;
	bool pages, attrs;

	begin(ci, &pages, &attrs);
	if (pages)
		rounds(ci, &ci->m, clu_pages_exclusive(ci) ? &ci->w : NULL);
	else if (attrs && clu_kernel_there(ci->clu))
		k->inval_attr(ci->clu->cfg.kernel_ctx, ci->vi->blkno);
	end(ci);
}

void clu_pages_give_away_exclusive(struct clu_inode *ci, struct lc_lock *l)
{
	bool pages;

	if (!clu_pages_exclusive(ci))
		return;
	begin(ci, &pages, NULL);
	if (pages)
		rounds(ci, l, l == &ci->m ? &ci->w : &ci->m);
	end(ci);
}
