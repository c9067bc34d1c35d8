/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clunode-kit.h: what test-clunode.c stands on: claims that come one after another in one
 * process (TAP), and a volume with a table of nodes in a folder of its own. */
#ifndef O2FUSE_TESTS_CLUNODE_KIT_H
#define O2FUSE_TESTS_CLUNODE_KIT_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dlm/util/err.h"
#include "fs/volume/blockdev.h"
#include "fs/volume/vol.h"

enum { HOSTS = 2 };

static char dir[64], conf[96], image[96];
static int number, failed;
static bool claim_failed;

#define CHECK(what)                                                                        \
	do {                                                                               \
		if (!(what)) {                                                             \
			printf("# line %d: %s\n", __LINE__, #what);                        \
			claim_failed = true;                                               \
		}                                                                          \
	} while (0)

#define EQUAL(got, want)                                                                   \
	do {                                                                               \
		long long got_ = (long long)(got), want_ = (long long)(want);              \
		if (got_ != want_) {                                                       \
			printf("# line %d: %s is %lld, not %lld\n", __LINE__, #got, got_,  \
			       want_);                                                     \
			claim_failed = true;                                               \
		}                                                                          \
	} while (0)

static void claim(const char *text, void (*fn)(void))
{
	claim_failed = false;
	if (fn)
		fn();
	printf("%sok %d - %s\n", claim_failed ? "not " : "", ++number, text);
	failed += claim_failed;
	fflush(stdout);
}

static void bail(const char *what, const struct reason *why)
{
	printf("Bail out! %s: %s\n", what, why ? why->text : strerror(errno));
	fflush(stdout);
	_exit(1);
}

/* ---- the volume ------------------------------------------------------------------------ */

static void slots_are_free_again(void)
{
	struct reason why = { 0 };
	struct blockdev *dev;
	struct vol *v;
	int16_t nodes[256];
	bool dirty;
	uint32_t gen;

	if (blockdev_open(image, 0, &dev, &why) || vol_open(dev, &(struct vol_opts){ 0 }, &v, &why)) {
		EQUAL(1, 0);
		return;
	}
	EQUAL(vol_slotmap_read(v, nodes), 0);
	for (unsigned s = 0; s < vol_info(v)->max_slots; s++) {
		EQUAL(nodes[s], -1);
		EQUAL(vol_journal_state(v, s, &dirty, &gen), 0);
		CHECK(!dirty);
	}
	vol_close(v);
	blockdev_close(dev);
}

static void fsck_finds_nothing(void)
{
	char cmd[600];

	snprintf(cmd, sizeof(cmd),
		 "top=%s; . $top/volume/mkvol.sh && fsckvol %s | sed 's/^/# /'; "
		 "exit ${PIPESTATUS[0]}",
		 TESTDATA, image);
	if (setenv("CMD", cmd, 1) || system("exec bash -c \"$CMD\""))
		claim_failed = true;
}

/* What a killed run left goes with the next one. */
static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	unsigned pid = (unsigned)getpid();
	char cmd[300];
	FILE *f;

	if (system("for d in ${TMPDIR:-/var/tmp}/o2fuse-clunode-*; do [ -d \"$d\" ] && "
		   "! kill -0 \"${d##*-}\" 2>/dev/null && rm -rf \"$d\"; done; true"))
		bail("cleaning", NULL);
	snprintf(dir, sizeof(dir), "%s/o2fuse-clunode-%u", tmp ? tmp : "/var/tmp", pid);
	mkdir(dir, 0700);
	snprintf(conf, sizeof(conf), "%s/cluster.conf", dir);
	snprintf(image, sizeof(image), "%s/image", dir);
	f = fopen(conf, "w");
	if (!f)
		bail("cluster.conf", NULL);
	fprintf(f, "cluster:\n\tnode_count = %d\n\tname = test\n", HOSTS);
	for (unsigned n = 1; n <= HOSTS; n++)
		fprintf(f,
			"\nnode:\n\tnumber = %u\n\tname = host%u\n\tip_address = 127.%u.%u.%u\n"
			"\tip_port = 7777\n\tcluster = test\n",
			n, n, 1 + (pid >> 8) % 250, pid & 0xff, n);
	fclose(f);
	snprintf(cmd, sizeof(cmd), ". %s/volume/mkvol.sh && mkvol %s 256M", TESTDATA, image);
	if (setenv("CMD", cmd, 1) || system("exec bash -c \"$CMD\""))
		bail("mkfs.ocfs2", NULL);
}

static void cleanup(void)
{
	unlink(conf);
	unlink(image);
	rmdir(dir);
}

#endif
