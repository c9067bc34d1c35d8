/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hbevent.c: from the heartbeat thread to the reactor, and into words.
 *
 * See hb_int.h for the ring. After net_hb_close() has set `finished` on the reactor no
 * event is delivered any more.
 */
#include "net/hb_int.h"
#include <string.h>

void net_hb_tell(struct net_hb *hb, const struct hb_event *ev)
{
	uint32_t head = atomic_load_explicit(&hb->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&hb->tail, memory_order_acquire) == HB_RING) {
		hb->ring_full = true; /* the reactor stands still; see hbiter.c */
		return;
	}
	hb->ring[head % HB_RING] = *ev;
	atomic_store_explicit(&hb->head, head + 1, memory_order_release);
	net_loop_notify(hb->cfg.loop, &hb->note);
}

static void end_reason(const struct net_hb *hb, const struct hb_event *ev, struct reason *why)
{
	switch (ev->cause) {
	case CAUSE_IO:
		reason_set(why, EXIT_CLUSTER, ev->err, "heartbeat on %s: %s; check the storage",
			   hb->device, strerror(-ev->err));
		break;
	case CAUSE_TAKEN:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat on %s: another host writes to the slot of node %u; give each "
			   "host its own number in cluster.conf, or end the other mount",
			   hb->device, hb->cfg.self);
		break;
	case CAUSE_UNSTEADY:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat on %s did not become steady: nodes come and go, or the storage "
			   "is too slow; look at the other nodes, then try again", hb->device);
		break;
	case CAUSE_LEASE:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat lease ran out: nothing was written to %s for %u ms; the storage "
			   "hung or this process did not run", hb->device,
			   net_gate_ms(hb->cfg.threshold));
		break;
	case CAUSE_SIZE:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat on %s: node %u heartbeats there with blocks of %u bytes, this host "
			   "would with %u; all hosts must see the same sector size (blockdev --getss)",
			   hb->device, ev->node, ev->value, hb->cfg.block_bytes);
		break;
	case CAUSE_RING:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat: the network thread of this process stands still");
		break;
	}
}

static void handle_event(struct net_hb *hb, const struct hb_event *ev)
{
	const struct net_hb_config *cfg = &hb->cfg;
	struct reason why = { 0 };

	switch (ev->kind) {
	case EV_UP:
	case EV_DOWN:
		cfg->ops->node(cfg->ctx, ev->node, ev->kind == EV_UP);
		break;
	case EV_DEAD_MS:
		log_err(cfg->log, "heartbeat",
			"node %u has another dead time: %u ms, ours %u ms; set the same heartbeat "
			"threshold on all nodes", ev->node, ev->value, net_dead_ms(cfg->threshold));
		break;
	case EV_IO:
		if (ev->err == 0)
			log_info(cfg->log, "heartbeat", "I/O on %s works again", hb->device);
		else if (!hb->io_logged)
			log_err(cfg->log, "heartbeat", "I/O on %s: %s; trying again every %d ms",
				hb->device, strerror(-ev->err), NET_HB_PERIOD_MS);
		hb->io_logged = ev->err;
		break;
	case EV_FOREIGN:
		if (!hb->foreign_logged)
			log_err(cfg->log, "heartbeat",
				"the slot of node %u on %s was overwritten; no other program may write "
				"to the heartbeat file", cfg->self, hb->device);
		hb->foreign_logged = true;
		break;
	case EV_STARTED:
		hb->told_started = true;
		cfg->ops->started(cfg->ctx, 0, NULL);
		break;
	case EV_START_FAILED:
	case EV_LOST:
		end_reason(hb, ev, &why);
		if (!hb->told_started) {
			hb->told_started = true;
			hb->told_lost = true;
			cfg->ops->started(cfg->ctx, ev->err, &why);
		} else if (!hb->told_lost) {
			hb->told_lost = true;
			cfg->ops->lost(cfg->ctx, why.text);
		}
		break;
	}
}

void net_hb_on_events(void *arg)
{
	struct net_hb *hb = arg;
	uint32_t tail = atomic_load_explicit(&hb->tail, memory_order_relaxed);

	while (tail != atomic_load_explicit(&hb->head, memory_order_acquire)) {
		struct hb_event ev = hb->ring[tail % HB_RING];

		atomic_store_explicit(&hb->tail, ++tail, memory_order_release);
		if (!atomic_load(&hb->finished))
			handle_event(hb, &ev);
	}
}
