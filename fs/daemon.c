/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.c: see daemon.h.
 *
 * Fencing (doc/spec/cluster.md 3.3): gate first, then everybody who waits, then the
 * heartbeat (net does that). The mount stays, answering EIO, until it is unmounted:
 * a mount point that suddenly shows the directory below it would be written to.
 */
#include "fs/daemon.h"

#include <errno.h>
#include <json-c/json.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "fs/cluster/clu.h"
#include "fs/fenceexec.h"
#include "fs/fuse/shell.h"
#include "fs/hostlock.h"
#include "fs/volume/blockdev.h"
#include "fs/volume/vol.h"
#include "net/net.h"

enum { HOST_WAIT_S = 60 };

struct daemon {
	struct daemon_config cfg;
	struct logger *log;
	struct hostlock hostlock;
	struct blockdev *dev;
	struct vol *vol;
	struct net *net;
	struct net_region *region;
	struct clu *clu;	/* set by clu_mount while it works; for the hooks */
	struct shell *shell;
	pthread_mutex_t mutex;	/* ready, fenced_why */
	struct clu *ready;	/* clu, while it may be asked and stopped */
	atomic_bool fenced;
	char fenced_why[256];
	pthread_t signals;
	bool signals_run;
};

/* ---- fence and status -------------------------------------------------------- */

static void fence(void *ctx, const char *why)
{
	struct daemon *d = ctx;

	if (atomic_exchange(&d->fenced, true))
		return;
	blockdev_gate_shut(d->dev);
	pthread_mutex_lock(&d->mutex);
	snprintf(d->fenced_why, sizeof(d->fenced_why), "%s", why);
	if (d->ready)
		clu_stop(d->ready);
	pthread_mutex_unlock(&d->mutex);
	log_err(d->log, "fence",
		"this node stops using %s: %s; operations fail with EIO, unmount %s and mount it again "
		"when the cause is gone writes_in_flight=%u",
		d->cfg.device, why, d->cfg.mountpoint, atomic_load(&d->dev->in_flight));
	if (d->net)
		net_event(d->net, "fenced", "device=%s reason=\"%s\"", d->cfg.device, why);
}

static int fence_node(void *ctx, node_t node)
{
	struct daemon *d = ctx;
	const struct fenceexec f = {
		.path = d->cfg.opts->fence_exec,
		.volume = vol_info(d->vol)->uuid_str,
		.device = d->cfg.device,
		.log = d->log,
		.give_up = &d->fenced,
	};

	return fenceexec_run(&f, node, "its heartbeat stopped");
}

/* Any thread. The rest of the fence, heartbeat and links, is net's. */
static void leave_cluster(void *ctx, const char *why)
{
	struct daemon *d = ctx;

	fence(d, why);
	if (d->net)
		net_stop(d->net, why);
}

static void vol_stopped(void *ctx, const char *why, bool panic)
{
	struct daemon *d = ctx;

	if (panic)
		leave_cluster(d, why);
	else
		log_err(d->log, "volume",
			"%s is read-only now, until another node needs what only this one can write: "
			"%s; unmount it everywhere and run fsck.ocfs2",
			d->cfg.device, why);
}

static void add(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void status(void *ctx, struct json_object *into)
{
	struct daemon *d = ctx;
	struct json_object *v = json_object_new_object();
	const struct vol_info *i = vol_info(d->vol);

	add(v, "device", d->cfg.device);
	add(v, "mountpoint", d->cfg.mountpoint);
	add(v, "uuid", i->uuid_str);
	add(v, "label", i->label);
	json_object_object_add(v, "pid", json_object_new_int(getpid()));
	pthread_mutex_lock(&d->mutex);
	add(v, "state", atomic_load(&d->fenced) ? "fenced" :
			vol_is_stopped(d->vol)	? "stopped" :
			d->ready		? "mounted" :
						  "mounting");
	json_object_object_add(v, "writes_in_flight",
			       json_object_new_int((int)atomic_load(&d->dev->in_flight)));
	if (d->fenced_why[0])
		add(v, "fenced_reason", d->fenced_why);
	if (d->ready) {
		json_object_object_add(v, "slot", json_object_new_int(clu_slot(d->ready)));
		clu_status(d->ready, v);
	}
	pthread_mutex_unlock(&d->mutex);
	json_object_object_add(into, "volume", v);
}

static const struct net_ops net_ops = { .fence = fence, .status = status };

/* ---- hooks of the volume: locks by fs/cluster, damage by us -------------------- */

static int hook_lock(void *ctx, struct vol_inode *inode, bool ex)
{
	struct daemon *d = ctx;

	return clu_vol_hooks.sys_lock(&d->clu, inode, ex);
}

static void hook_unlock(void *ctx, struct vol_inode *inode, bool ex)
{
	struct daemon *d = ctx;

	clu_vol_hooks.sys_unlock(&d->clu, inode, ex);
}

static const struct vol_hooks hooks = {
	.sys_lock = hook_lock,
	.sys_unlock = hook_unlock,
	.stopped = vol_stopped,
};

/* ---- up -------------------------------------------------------------------------- */

static int open_volume(struct daemon *d, struct reason *why)
{
	const struct mount_options *o = d->cfg.opts;
	struct vol_opts vo = {
		.errors = (enum vol_errors)o->errors,
		.commit_ms = (unsigned)o->commit_s * 1000,
		.localalloc_mb = o->localalloc_mb,
		.inode64 = o->inode64,
		.log = d->log,
		.hooks = &hooks,
		.hooks_ctx = d,
	};
	const struct vol_info *i;
	int err = blockdev_open(d->cfg.device, 0, &d->dev, why);

	if (err)
		return err;
	err = vol_open(d->dev, &vo, &d->vol, why);
	if (err)
		return err;
	i = vol_info(d->vol);
	if (i->local)
		return reason_set(why, EXIT_FEATURES, -EINVAL,
				  "%s is a local volume (mkfs -M local), which one host uses without a "
				  "cluster; make it a cluster volume with tunefs.ocfs2 -M cluster",
				  d->cfg.device);
	if (i->global_heartbeat)
		return reason_set(why, EXIT_FEATURES, -EINVAL,
				  "%s wants global heartbeat, which is not supported; switch it with "
				  "tunefs.ocfs2 --update-cluster-stack to local heartbeat",
				  d->cfg.device);
	if (o->cluster && i->cluster[0] && strcmp(o->cluster, i->cluster))
		return reason_set(why, EXIT_STACK, -EINVAL,
				  "%s belongs to cluster \"%s\", not \"%s\"; mount it with cluster=%s or "
				  "change it with tunefs.ocfs2 --update-cluster-stack",
				  d->cfg.device, i->cluster, o->cluster, i->cluster);
	return 0;
}

static int open_net(struct daemon *d, struct reason *why)
{
	const struct mount_options *o = d->cfg.opts;
	const struct vol_info *i = vol_info(d->vol);
	struct net_config nc = {
		.conf_path = o->conf,
		.cluster = o->cluster ? o->cluster : i->cluster[0] ? i->cluster : NULL,
		.node = o->node,
		.ip = o->ip,
		.port = (uint16_t)o->port,
		.idle_ms = (uint32_t)o->idle_ms,
		.keepalive_ms = (uint32_t)o->keepalive_ms,
		.reconnect_ms = (uint32_t)o->reconnect_ms,
		.threshold = (uint32_t)o->hb_threshold,
		.log = d->log,
		.ops = &net_ops,
		.ops_ctx = d,
	};

	return net_open(&nc, &d->net, why);
}

static void lease(void *ctx, int64_t deadline_ns)
{
	struct daemon *d = ctx;

	blockdev_gate_deadline(d->dev, deadline_ns);
}

static int start_heartbeat(struct daemon *d, struct reason *why)
{
	struct net_region_config rc = {
		.device = d->cfg.device,
		.block_bytes = d->dev->sector,
		.name = vol_info(d->vol)->uuid_str,
		.lease = lease,
		.ctx = d,
	};
	uint64_t len;
	int err = vol_sys_extent(d->vol, VOL_SYS_HEARTBEAT, &rc.byte_off, &len);

	if (err)
		return reason_set(why, EXIT_NOT_OCFS2, err,
				  "the heartbeat file of %s is damaged; run fsck.ocfs2", d->cfg.device);
	if (len < (uint64_t)NODE_MAX * rc.block_bytes)
		return reason_set(why, EXIT_NOT_OCFS2, -EINVAL,
				  "the heartbeat file of %s is too short for %d nodes; run fsck.ocfs2",
				  d->cfg.device, NODE_MAX);
	err = net_region_start(d->net, &rc, &d->region, why);
	return err ? err : net_wait_connected(d->net, why);
}

static bool has_xattrs(const struct daemon *d)
{
	return vol_info(d->vol)->xattrs;
}

/* Without default_permissions nobody would check them. */
static bool has_acls(const struct daemon *d)
{
	return has_xattrs(d) && d->cfg.opts->acl && d->cfg.opts->default_permissions;
}

static int join_volume(struct daemon *d, struct reason *why)
{
	const struct mount_options *o = d->cfg.opts;
	static const int atime[] = {
		[OPT_RELATIME] = CLU_ATIME_RELATIME,
		[OPT_NOATIME] = CLU_ATIME_NONE,
		[OPT_STRICTATIME] = CLU_ATIME_STRICT,
	};
	struct clu_config cc = {
		.vol = d->vol,
		.net = d->net,
		.preferred_slot = o->preferred_slot,
		.localflocks = o->localflocks,
		.acl = has_acls(d),
		.user_xattr = o->user_xattr,
		.nodiratime = o->nodiratime,
		.atime_quantum_s = o->atime_quantum,
		.kernel = &shell_kernel_ops,
		.kernel_ctx = d->shell,
		.fence = leave_cluster,
		.fence_ctx = d,
		.log = d->log,
	};
	int err;

	if (o->fence_exec)
		cc.fence_node = fence_node;
	cc.atime = atime[o->atime];
	err = clu_mount(&cc, &d->clu, why);
	if (err)
		return err;
	pthread_mutex_lock(&d->mutex);
	d->ready = d->clu;
	if (atomic_load(&d->fenced))
		clu_stop(d->clu);
	pthread_mutex_unlock(&d->mutex);
	return 0;
}

static unsigned long ms_flags(const struct mount_options *o)
{
	unsigned long f = 0;

	f |= o->dev ? 0 : MS_NODEV;
	f |= o->suid ? 0 : MS_NOSUID;
	f |= o->exec ? 0 : MS_NOEXEC;
	f |= o->sync ? MS_SYNCHRONOUS : 0;
	f |= o->dirsync ? MS_DIRSYNC : 0;
	f |= o->nodiratime ? MS_NODIRATIME : 0;
	f |= o->atime == OPT_NOATIME ? MS_NOATIME : 0;
	f |= o->atime == OPT_STRICTATIME ? MS_STRICTATIME : MS_RELATIME;
	return f;
}

static int make_shell(struct daemon *d, struct reason *why)
{
	const struct mount_options *o = d->cfg.opts;
	struct shell_config sc = {
		.source = d->cfg.device,
		.mountpoint = d->cfg.mountpoint,
		.ro = o->ro || vol_info(d->vol)->force_ro || d->dev->readonly,
		.allow_other = o->allow_other,
		.default_permissions = o->default_permissions,
		.ms_flags = ms_flags(o),
		.localflocks = o->localflocks,
		.xattrs = has_xattrs(d),
		.acl = has_acls(d),
		.log = d->log,
	};

	d->shell = shell_new(&sc, why);
	return d->shell ? 0 : -EIO;
}

/* ---- down -------------------------------------------------------------------------- */

static void down(struct daemon *d)
{
	bool fenced = atomic_load(&d->fenced);

	pthread_mutex_lock(&d->mutex);
	d->ready = NULL;
	pthread_mutex_unlock(&d->mutex);
	if (d->clu) {
		clu_kernel_gone(d->clu);
		clu_unmount(d->clu, fenced);
	}
	if (d->region)
		net_region_stop(d->region, !fenced);
	if (d->net)
		net_close(TAKE(d->net));
	shell_free(d->shell);
	if (d->vol)
		vol_close(d->vol);
	if (d->dev)
		blockdev_close(d->dev);
	hostlock_drop(&d->hostlock);
	pthread_mutex_destroy(&d->mutex);
	free(d);
}

/* SIGTERM and SIGINT unmount; what is open keeps the daemon alive (lazy unmount). */
static void *wait_signals(void *arg)
{
	struct daemon *d = arg;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	for (;;) {
		if (sigwait(&set, &sig))
			continue;
		if (sig == SIGUSR1)
			break;
		log_info(d->log, "mount", "unmounting on signal signal=%d", sig);
		if (umount2(d->cfg.mountpoint, MNT_DETACH) < 0)
			log_warn(d->log, "mount", "cannot unmount %s errno=%d", d->cfg.mountpoint, errno);
	}
	return NULL;
}

static int start_signals(struct daemon *d)
{
	int err = pthread_create(&d->signals, NULL, wait_signals, d);

	d->signals_run = !err;
	return -err;
}

int daemon_mount(const struct daemon_config *cfg, struct daemon **out, struct reason *why)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	d->cfg = *cfg;
	d->log = log_sink_logger(cfg->sink);
	d->hostlock.held = d->hostlock.mounted = -1;
	pthread_mutex_init(&d->mutex, NULL);
	err = open_volume(d, why);
	if (!err)
		err = hostlock_take(&d->hostlock, vol_info(d->vol)->uuid_str, HOST_WAIT_S, why);
	if (!err)
		err = make_shell(d, why);
	if (!err)
		err = open_net(d, why);
	if (!err)
		err = start_heartbeat(d, why);
	if (!err)
		err = join_volume(d, why);
	if (!err)
		err = shell_mount(d->shell, d->clu, why);
	if (!err)
		err = hostlock_mounted(&d->hostlock);
	if (!err)
		err = start_signals(d);
	if (err) {
		reason_set(why, EXIT_SYSTEM, err, "mount failed: %s", strerror(-err));
		down(d);
		return err;
	}
	if (cfg->watchdog)
		watchdog_arm(cfg->watchdog, shell_connection(d->shell));
	log_info(d->log, "mount", "mounted device=%s on=%s node=%u slot=%d", cfg->device,
		 cfg->mountpoint, net_self(d->net), clu_slot(d->clu));
	net_event(d->net, "mounted", "device=%s", cfg->device);
	*out = d;
	return 0;
}

int daemon_serve(struct daemon *d)
{
	struct logger *log = d->log;
	bool fenced;
	int err = shell_run(d->shell);

	if (err)
		log_err(log, "fuse", "session ended with an error errno=%d", -err);
	hostlock_leaving(&d->hostlock);
	if (d->signals_run) {
		pthread_kill(d->signals, SIGUSR1);
		pthread_join(d->signals, NULL);
	}
	net_event(d->net, "unmounted", "device=%s", d->cfg.device);
	fenced = atomic_load(&d->fenced);
	down(d);
	log_info(log, "mount", "unmounted%s", fenced ? " after a fence" : "");
	return fenced ? -EIO : 0;
}
