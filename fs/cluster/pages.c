/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pages.c: what the kernel's page cache holds of an inode, and taking it back.
 *
 * Shared page mode (doc/spec/fs-locking.md 12.4): files opened for writing do direct
 * I/O, so pages are clean and come only from READs, served under M PR. They must be
 * gone before M goes to NL. The notification that removes them waits for the lock of
 * every folio of the file, and a READ that waits for M holds such locks. Therefore
 *
 *  - a READ first notes that pages may be valid, then asks for M with LC_PRESENT;
 *  - giving away sends the notification with lc_serve() on: READs that wait although
 *    the level we still have would satisfy them are served after a few ms, note
 *    their range, and the notification can go on;
 *  - what they read is invalidated in the next round, ranges only: a whole-file
 *    notification would meet the folios of READs that arrived behind it. Each round
 *    doubles the delay, so the remote node is not starved by a stream of readers.
 *
 * Why nothing stays behind: a READ that was not served through LC_PRESENT was a holder
 * before BLOCKED (the worker waited for it) or waits until the convert is over. One
 * that was served wrote its reply, then its range, before it left the lock, and
 * lc_serve_end() does not end serving while there is one whose range was not seen.
 */
#include "fs/cluster/clu_int.h"

enum { SERVE_DELAY_MS = 4, SERVE_DELAY_MAX_MS = 256 };

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

void clu_pages_give_away(struct clu_inode *ci)
{
	const struct clu_kernel_ops *k = ci->clu->cfg.kernel;
	uint64_t off = 0, len = 0;
	unsigned delay = SERVE_DELAY_MS;
	bool pages, attrs;

	pthread_mutex_lock(&ci->mutex);
	pages = ci->pages_valid;
	attrs = ci->attrs_out;
	ci->attrs_out = false;
	pthread_mutex_unlock(&ci->mutex);
	if (!pages) {
		if (attrs && clu_kernel_there(ci->clu))
			k->inval_attr(ci->clu->cfg.kernel_ctx, ci->vi->blkno);
		return;
	}
	do {
		lc_serve(&ci->m, delay);
		if (clu_kernel_there(ci->clu))
			k->inval_pages(ci->clu->cfg.kernel_ctx, ci->vi->blkno, off, len);
		if (delay < SERVE_DELAY_MAX_MS)
			delay *= 2;
	} while (lc_serve_end(&ci->m) && (take_served(ci, &off, &len), true));
	pthread_mutex_lock(&ci->mutex);
	ci->pages_valid = false;
	pthread_mutex_unlock(&ci->mutex);
}
