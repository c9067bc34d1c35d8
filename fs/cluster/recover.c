/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recover.c: nodes that died (doc/spec/fs-locking.md section 7).
 *
 * The DLM tells of a death before it can grant anything that the dead node was in the
 * way of. In that callback the node is noted and M requests are made to wait
 * (lc_recovery_pending), so nobody reads a block that the dead node's journal still
 * has to bring home.
 */
#include <errno.h>
#include "fs/cluster/clu_int.h"

/* Reactor, or mount. */
void clu_recovery_node(struct clu *clu, node_t node)
{
	bool known;

	pthread_mutex_lock(&clu->mutex);
	known = clu->dead[node];
	if (!known) {
		clu->dead[node] = 1;
		clu->dead_count++;
		lc_recovery_pending(clu->lc, 1);
		pthread_cond_broadcast(&clu->cond);
	}
	pthread_mutex_unlock(&clu->mutex);
	if (!known)
		log_warn(clu->log, "recovery",
			 "a node died with this volume mounted; its journal must be replayed before "
			 "operations go on node=%u",
			 node);
}

int clu_recovery_note_generations(struct clu *clu)
{
	for (unsigned s = 0; s < clu->max_slots; s++) {
		bool dirty;
		int err = vol_journal_state(clu->vol, s, &dirty, &clu->recovery_generation[s]);

		if (err)
			return err;
	}
	return 0;
}
