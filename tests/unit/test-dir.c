/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-dir.c: random operations on names against a model, on real volumes.
 *
 * After every operation its result is compared; listings are read in small pieces
 * while the directory changes; at the end debugfs.ocfs2 lists every directory and
 * fsck.ocfs2 must find nothing. SEED replays.
 */
#include <sys/sysmacros.h>

#include "dir-image.h"

#define DIRS 6
#define NAMES 700
#define FILES 4000

struct node {
	blkno_t blkno;
	uint16_t mode;
	unsigned links;		/* of non-directories */
	int dir;		/* directories: index in dirs */
};

struct mdir {
	bool used;
	blkno_t blkno;
	int parent;
	int name[NAMES];	/* index of node, or -1 */
	unsigned subdirs;
};

struct model {
	struct image im;
	unsigned seed, names;
	struct mdir dirs[DIRS];
	struct node node[FILES];
	unsigned nodes;
	bool long_names;
};

static unsigned rnd(struct model *m, unsigned n)
{
	return (unsigned)rand_r(&m->seed) % n;
}

/* Distinct for each k: short, long, 255 bytes, UTF-8. */
static size_t make_name(const struct model *m, unsigned k, char *out)
{
	size_t n;

	if (!m->long_names)
		return (size_t)sprintf(out, "%u", k);
	n = k % 11 == 0 ? 255 - 5 : k % 7 == 0 ? k % 200 : k % 9;
	memset(out, 'a' + (int)(k % 26), n);
	if (k % 5 == 0)
		return n + (size_t)sprintf(out + n, "\xc3\xa9%03u", k);
	return n + (size_t)sprintf(out + n, "%05u", k);
}

static struct vol_inode *get(struct model *m, blkno_t blkno)
{
	struct vol_inode *inode;

	cr_assert_eq(vol_iget(m->im.vol, blkno, &inode), 0);
	if (!inode->loaded)
		cr_assert_eq(vol_inode_refresh(inode), 0, "inode %llu", (unsigned long long)blkno);
	return inode;
}

static void check_lookup(struct model *m, unsigned d, unsigned k)
{
	struct vol_inode *dir = get(m, m->dirs[d].blkno);
	struct vol_found found;
	char name[300];
	int err = vol_lookup(dir, name, make_name(m, k, name), &found);

	if (m->dirs[d].name[k] < 0) {
		cr_assert_eq(err, -ENOENT, "%d", err);
	} else {
		const struct node *n = &m->node[m->dirs[d].name[k]];
		static const uint8_t ft[16] = { [1] = 5, [2] = 3, [4] = 2, [6] = 4, [8] = 1,
						[10] = 7, [12] = 6 };

		cr_assert_eq(err, 0, "%d", err);
		cr_assert_eq(found.blkno, n->blkno);
		cr_assert_eq(found.type, ft[n->mode >> 12]);
	}
	vol_iput(dir);
}

static int new_node(struct model *m, blkno_t blkno, uint16_t mode)
{
	cr_assert_lt(m->nodes, FILES);
	m->node[m->nodes] = (struct node){ .blkno = blkno, .mode = mode, .links = 1, .dir = -1 };
	return (int)m->nodes++;
}

static void do_create(struct model *m, unsigned d, unsigned k)
{
	static const uint16_t modes[] = { S_IFREG | 0644, S_IFREG | 0600, S_IFDIR | 0755,
					  S_IFLNK | 0777, S_IFLNK | 0777, S_IFCHR | 0600,
					  S_IFBLK | 0600, S_IFIFO | 0644, S_IFSOCK | 0644 };
	struct vol_new what = { .mode = modes[rnd(m, 9)], .uid = 7, .gid = 8 };
	struct vol_inode *dir, *inode;
	char name[300], target[4096];
	size_t len = rnd(m, 8) ? 1 + rnd(m, 60) : 1 + rnd(m, 4095);
	int free_dir = -1, err;

	if (m->nodes >= FILES - 4)
		return;
	memset(target, 't', len);
	target[len] = 0;
	what.target = target;
	what.rdev = makedev(rnd(m, 4000), rnd(m, 1000000));
	for (int i = 0; i < DIRS; i++)
		if (!m->dirs[i].used)
			free_dir = i;
	if (S_ISDIR(what.mode) && free_dir < 0)
		what.mode = S_IFREG | 0644;
	dir = get(m, m->dirs[d].blkno);
	err = vol_create(dir, name, make_name(m, k, name), &what, &inode);
	cr_assert_eq(err, 0, "create %d", err);
	cr_assert_eq(inode->mode, what.mode);
	m->dirs[d].name[k] = new_node(m, inode->blkno, what.mode);
	if (S_ISDIR(what.mode)) {
		struct mdir *n = &m->dirs[free_dir];

		n->used = true;
		n->blkno = inode->blkno;
		n->parent = (int)d;
		n->subdirs = 0;
		memset(n->name, 0xff, sizeof(n->name));
		m->node[m->dirs[d].name[k]].dir = free_dir;
		m->dirs[d].subdirs++;
	} else if (S_ISLNK(what.mode)) {
		char back[5000];
		int got = vol_readlink(inode, back, sizeof(back));

		cr_assert_eq(got, (int)len, "readlink %d", got);
		cr_assert_eq(memcmp(back, target, len), 0);
	}
	vol_iput(inode);
	vol_iput(dir);
}

static bool dir_empty(const struct model *m, int d)
{
	for (unsigned k = 0; k < m->names; k++)
		if (m->dirs[d].name[k] >= 0)
			return false;
	return true;
}

static void drop_link(struct model *m, int n)
{
	struct node *x = &m->node[n];

	if (S_ISDIR(x->mode)) {
		m->dirs[m->dirs[x->dir].parent].subdirs--;
		m->dirs[x->dir].used = false;
		x->links = 0;
	} else {
		x->links--;
	}
	if (x->links == 0) {
		struct vol_inode *inode = get(m, x->blkno);

		cr_assert(inode->flags & OCFS2_ORPHANED_FL);
		cr_assert_eq(inode->nlink, 0);
		cr_assert_eq(vol_wipe(inode), 0);
		cr_assert(inode->wiped);
		vol_iput(inode);
	}
}

static void do_unlink(struct model *m, unsigned d, unsigned k)
{
	int n = m->dirs[d].name[k];
	struct vol_inode *dir = get(m, m->dirs[d].blkno), *inode = get(m, m->node[n].blkno);
	char name[300];
	int err = vol_unlink(dir, name, make_name(m, k, name), inode);

	vol_iput(inode);
	vol_iput(dir);
	if (S_ISDIR(m->node[n].mode) && !dir_empty(m, m->node[n].dir)) {
		cr_assert_eq(err, -ENOTEMPTY, "rmdir %d", err);
		return;
	}
	cr_assert_eq(err, 0, "unlink %d", err);
	m->dirs[d].name[k] = -1;
	drop_link(m, n);
}

static void do_link(struct model *m, unsigned d, unsigned k, int n)
{
	struct vol_inode *dir = get(m, m->dirs[d].blkno), *inode = get(m, m->node[n].blkno);
	char name[300];
	int err = vol_link(dir, name, make_name(m, k, name), inode);

	vol_iput(inode);
	vol_iput(dir);
	if (m->dirs[d].name[k] >= 0) {
		cr_assert_eq(err, S_ISDIR(m->node[n].mode) ? -EPERM : -EEXIST, "%d", err);
		return;
	}
	if (S_ISDIR(m->node[n].mode)) {
		cr_assert_eq(err, -EPERM, "link %d", err);
		return;
	}
	cr_assert_eq(err, 0, "link %d", err);
	m->dirs[d].name[k] = n;
	m->node[n].links++;
}

static bool is_below(const struct model *m, int a, int b)
{
	for (int steps = 0; steps < DIRS + 1; steps++) {
		if (b == a)
			return true;
		if (b == 0)
			return false;
		b = m->dirs[b].parent;
	}
	return true;
}

static int expect_rename(const struct model *m, int n, int t, unsigned d2)
{
	if (n == t)
		return 0;
	if (t >= 0 && S_ISDIR(m->node[t].mode) && !S_ISDIR(m->node[n].mode))
		return -EISDIR;
	if (t >= 0 && !S_ISDIR(m->node[t].mode) && S_ISDIR(m->node[n].mode))
		return -ENOTDIR;
	if (t >= 0 && S_ISDIR(m->node[t].mode) && !dir_empty(m, m->node[t].dir))
		return -ENOTEMPTY;
	(void)d2;
	return 0;
}

static void do_rename(struct model *m, unsigned d, unsigned k, unsigned d2, unsigned k2)
{
	int n = m->dirs[d].name[k], t = m->dirs[d2].name[k2], want;
	char old_name[300], new_name[300];
	struct vol_rename r;
	int err;

	/* The caller of vol_rename keeps directories from moving below themselves. */
	if (S_ISDIR(m->node[n].mode) && is_below(m, m->node[n].dir, (int)d2))
		return;
	want = expect_rename(m, n, t, d2);
	r = (struct vol_rename){
		.old_dir = get(m, m->dirs[d].blkno), .new_dir = get(m, m->dirs[d2].blkno),
		.old_name = old_name, .new_name = new_name,
		.old_len = make_name(m, k, old_name), .new_len = make_name(m, k2, new_name),
		.inode = get(m, m->node[n].blkno),
		.target = t >= 0 ? get(m, m->node[t].blkno) : NULL,
	};
	err = vol_rename(&r);
	vol_iput(r.old_dir);
	vol_iput(r.new_dir);
	vol_iput(r.inode);
	if (r.target)
		vol_iput(r.target);
	cr_assert_eq(err, want, "rename %d, want %d", err, want);
	if (err || n == t)
		return;
	m->dirs[d].name[k] = -1;
	m->dirs[d2].name[k2] = n;
	if (t >= 0)
		drop_link(m, t);
	if (S_ISDIR(m->node[n].mode)) {
		blkno_t up = 0;
		struct vol_inode *moved = get(m, m->node[n].blkno);

		m->dirs[d].subdirs--;
		m->dirs[d2].subdirs++;
		m->dirs[m->node[n].dir].parent = (int)d2;
		cr_assert_eq(vol_parent(moved, &up), 0);
		cr_assert_eq(up, m->dirs[d2].blkno);
		vol_iput(moved);
	}
}

/* ---- listings ---------------------------------------------------------------------- */

struct listing {
	struct model *m;
	unsigned d, left;
	uint64_t pos;
	bool dot, dotdot;
	bool seen[NAMES];
	bool strict;
};

static bool one_entry(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
		      uint64_t next)
{
	struct listing *l = ctx;
	char want[300];

	(void)type;
	if (l->left == 0)
		return false;
	l->left--;
	cr_assert_gt(next, l->pos);
	l->pos = next;
	if (len == 1 && name[0] == '.') {
		cr_assert_eq(blkno, l->m->dirs[l->d].blkno);
		l->dot = true;
		return true;
	}
	if (len == 2 && memcmp(name, "..", 2) == 0) {
		l->dotdot = true;
		return true;
	}
	if (l->d == 0 && len == 10 && memcmp(name, "lost+found", 10) == 0)
		return true;
	for (unsigned k = 0; k < l->m->names; k++) {
		if (make_name(l->m, k, want) != len || memcmp(want, name, len) != 0)
			continue;
		cr_assert(!l->seen[k] || !l->strict, "listed twice");
		l->seen[k] = true;
		return true;
	}
	cr_assert_fail("unknown name");
	return false;
}

/* In pieces; between them, if disturb, other names come and go. */
static void list(struct model *m, unsigned d, bool disturb)
{
	struct listing l = { .m = m, .d = d, .strict = !disturb };
	struct vol_inode *dir = get(m, m->dirs[d].blkno);
	bool before[NAMES];

	for (unsigned k = 0; k < m->names; k++)
		before[k] = m->dirs[d].name[k] >= 0;
	do {
		l.left = 1 + rnd(m, 9);
		cr_assert_eq(vol_readdir(dir, l.pos, one_entry, &l), 0);
		for (unsigned n = 0; disturb && n < 3; n++) {
			unsigned k = rnd(m, m->names);

			if (m->dirs[d].name[k] < 0) {
				do_create(m, d, k);
			} else if (!S_ISDIR(m->node[m->dirs[d].name[k]].mode)) {
				before[k] = false;
				do_unlink(m, d, k);
			}
		}
	} while (l.left == 0);
	cr_assert(l.dot && l.dotdot);
	for (unsigned k = 0; k < m->names; k++) {
		cr_assert(!before[k] || l.seen[k], "a name that was there all the time is missing");
		cr_assert(disturb || !l.seen[k] || before[k], "a name that is not there is listed");
	}
	vol_iput(dir);
}

/* ---- the second opinion -------------------------------------------------------------- */

static void list_by_debugfs(struct model *m, unsigned d)
{
	char *out, *line, *save, name[300];
	unsigned there = 0, listed = 0;

	out = image_command(NULL, "debugfs.ocfs2 -R 'ls <%llu>' %s 2>/dev/null",
			    (unsigned long long)m->dirs[d].blkno, m->im.path);
	for (unsigned k = 0; k < m->names; k++)
		there += m->dirs[d].name[k] >= 0;
	for (line = strtok_r(out, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long ino;
		unsigned rec_len, name_len, type;
		int n;

		if (sscanf(line, " %llu %u %u %u %n", &ino, &rec_len, &name_len, &type, &n) != 4)
			continue;
		if (strcmp(line + n, ".") == 0 || strcmp(line + n, "..") == 0 ||
		    strcmp(line + n, "lost+found") == 0)
			continue;
		listed++;
		for (unsigned k = 0; k < m->names; k++) {
			name[make_name(m, k, name)] = 0;
			if (strcmp(name, line + n) != 0)
				continue;
			cr_assert(m->dirs[d].name[k] >= 0, "debugfs lists %s", name);
			cr_assert_eq(m->node[m->dirs[d].name[k]].blkno, ino);
		}
	}
	cr_assert_eq(listed, there, "debugfs lists %u names, %u are there", listed, there);
	free(out);
}

static void check_all(struct model *m)
{
	for (unsigned d = 0; d < DIRS; d++) {
		struct vol_inode *dir;

		if (!m->dirs[d].used)
			continue;
		dir = get(m, m->dirs[d].blkno);
		cr_assert_eq(dir->nlink, 2 + m->dirs[d].subdirs + (d == 0 ? 1 : 0));
		vol_iput(dir);
		for (unsigned k = 0; k < m->names; k++)
			check_lookup(m, d, k);
		list(m, d, false);
	}
}

static void step(struct model *m, unsigned phase)
{
	unsigned d, d2, k = rnd(m, m->names), k2 = rnd(m, m->names), op = rnd(m, 100);

	do
		d = rnd(m, DIRS);
	while (!m->dirs[d].used);
	do
		d2 = rnd(m, DIRS);
	while (!m->dirs[d2].used);
	check_lookup(m, d, k);
	if (m->dirs[d].name[k] < 0) {
		if (op < (phase % 2 ? 30u : 90u))
			do_create(m, d, k);
	} else if (op < 15) {
		do_rename(m, d, k, d2, k2);
	} else if (op < 20) {
		do_link(m, d2, k2, m->dirs[d].name[k]);
	} else if (op < (phase % 2 ? 90u : 35u)) {
		do_unlink(m, d, k);
	} else if (op == 99) {
		list(m, d, true);
	}
}

static void mix(unsigned mb, const char *options, unsigned steps, bool long_names, unsigned names)
{
	const char *seed = getenv("SEED");
	struct model *m = calloc(1, sizeof(*m));
	blkno_t sysdir;

	m->seed = seed ? (unsigned)atoi(seed) : 1;
	m->long_names = long_names;
	m->names = names;
	image_make(&m->im, mb, options);
	image_open(&m->im);
	memset(m->dirs, 0xff, sizeof(m->dirs));
	for (int i = 0; i < DIRS; i++)
		m->dirs[i].used = false;
	m->dirs[0].used = true;
	m->dirs[0].subdirs = 0;
	m->dirs[0].blkno = vol_info(m->im.vol)->root_blkno;
	sysdir = vol_info(m->im.vol)->sysdir_blkno;
	for (unsigned s = 0; s < steps; s++)
		step(m, s / (steps / 4));
	check_all(m);
	image_close(&m->im, false);
	image_check(&m->im, sysdir);
	for (unsigned d = 0; d < DIRS; d++)
		if (m->dirs[d].used)
			list_by_debugfs(m, d);
	image_open(&m->im);
	check_all(m);
	image_close(&m->im, false);
	image_free(&m->im);
	free(m);
}

#define SMALL "-b 4K -C 4K -N 2 -J size=4M "

Test(dir, default_features)
{
	mix(200, SMALL, 3000, true, NAMES);
}

Test(dir, short_names_fill_the_inode)
{
	mix(200, SMALL, 3000, false, 300);
}

Test(dir, max_compat)
{
	mix(200, SMALL "--fs-feature-level=max-compat", 3000, true, NAMES);
}

Test(dir, max_features_with_checksums)
{
	mix(200, SMALL "--fs-feature-level=max-features", 3000, true, NAMES);
}

Test(dir, no_inline_data)
{
	mix(200, SMALL "--fs-features=noinline-data", 3000, true, NAMES);
}

Test(dir, no_indexed_directories)
{
	mix(200, SMALL "--fs-features=noindexed-dirs", 3000, true, NAMES);
}

Test(dir, no_index_but_checksums)
{
	mix(200, SMALL "--fs-features=noindexed-dirs,metaecc", 3000, true, NAMES);
}

Test(dir, blocks_of_1k)
{
	mix(200, "-b 1K -C 4K -N 2 -J size=4M", 3000, true, NAMES);
}

Test(dir, blocks_of_1k_with_checksums)
{
	mix(200, "-b 1K -C 4K -N 2 -J size=4M --fs-features=metaecc,noinline-data", 3000, true,
	    NAMES);
}

Test(dir, blocks_of_512_bytes)
{
	mix(100, "-b 512 -C 4K -N 2 -J size=4M", 3000, true, NAMES);
}

Test(dir, clusters_of_1m)
{
	mix(900, "-b 4K -C 1M -N 2 -J size=16M", 1500, true, NAMES);
}

Test(dir, clusters_of_1m_without_inline_data)
{
	mix(1200, "-b 4K -C 1M -N 2 -J size=16M --fs-features=noinline-data", 800, true, NAMES);
}
