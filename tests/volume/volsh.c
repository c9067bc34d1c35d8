/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * volsh.c: "volsh [-r] [-s SLOT] IMAGE": commands from standard input, on a volume
 * without a cluster. Takes a slot into use, and gives it back cleanly at the end of
 * input. "crash" ends at once, with everything left as it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/volume/volsh.h"

static int load(struct vol_inode *inode)
{
	return inode->loaded ? 0 : vol_inode_refresh(inode);
}

static int walk(struct volsh *sh, const char *path, size_t len, struct vol_inode **out)
{
	struct vol_inode *at = vol_ihold(vol_root(sh->v)), *next;
	const char *end = path + len;
	int err = 0;

	while (path < end) {
		size_t n = strcspn(path, "/");
		struct vol_found f;

		if (n > (size_t)(end - path))
			n = (size_t)(end - path);
		if (n) {
			err = vol_lookup(at, path, n, &f);
			if (!err)
				err = vol_iget(sh->v, f.blkno, &next);
			vol_iput(at);
			if (err)
				return err;
			at = next;
			err = load(at);
			if (err) {
				vol_iput(at);
				return err;
			}
		}
		path += n + 1;
	}
	*out = at;
	return 0;
}

int volsh_find(struct volsh *sh, const char *path, struct vol_inode **out)
{
	return walk(sh, path, strlen(path), out);
}

int volsh_parent(struct volsh *sh, const char *path, struct vol_inode **dir, const char **name)
{
	const char *slash = strrchr(path, '/');

	*name = slash ? slash + 1 : path;
	return walk(sh, path, slash ? (size_t)(slash - path) : 0, dir);
}

/* ---- commands of the volume ------------------------------------------------------------ */

static int do_sync(struct volsh *sh, char **w, unsigned n)
{
	(void)w, (void)n;
	return vol_sync(sh->v);
}

static int do_checkpoint(struct volsh *sh, char **w, unsigned n)
{
	(void)w, (void)n;
	return vol_checkpoint(sh->v);
}

static int do_crash(struct volsh *sh, char **w, unsigned n)
{
	(void)sh, (void)w, (void)n;
	fflush(stdout);
	_exit(99);
}

static int do_tlflush(struct volsh *sh, char **w, unsigned n)
{
	(void)w, (void)n;
	return vol_tl_flush(sh->v);
}

static int do_statfs(struct volsh *sh, char **w, unsigned n)
{
	struct vol_statfs s;
	int err = vol_statfs(sh->v, &s);

	(void)w, (void)n;
	if (!err)
		printf("blocks=%llu bfree=%llu bsize=%u\n", (unsigned long long)s.blocks,
		       (unsigned long long)s.bfree, s.bsize);
	return err;
}

static int do_info(struct volsh *sh, char **w, unsigned n)
{
	const struct vol_info *i = vol_info(sh->v);

	(void)w, (void)n;
	printf("block=%u cluster=%u slots=%u uuid=%s label=%s stack=%s cluster=%s\n",
	       1u << i->blocksize_bits, 1u << i->clustersize_bits, i->max_slots, i->uuid_str,
	       i->label, i->stack, i->cluster);
	return 0;
}

static const struct volsh_command own[] = {
	{ "sync", "", 0, 0, do_sync },
	{ "checkpoint", "", 0, 0, do_checkpoint },
	{ "crash", "", 0, 0, do_crash },
	{ "tlflush", "", 0, 0, do_tlflush },
	{ "statfs", "", 0, 0, do_statfs },
	{ "info", "", 0, 0, do_info },
	{ 0 },
};

/* ---- the loop --------------------------------------------------------------------------- */

static const struct volsh_command *find_command(const char *name)
{
	const struct volsh_command *const all[] = { own, volsh_names, volsh_data, volsh_load };

	for (unsigned t = 0; t < 4; t++)
		for (const struct volsh_command *c = all[t]; c->name; c++)
			if (!strcmp(c->name, name))
				return c;
	return NULL;
}

static int run_words(struct volsh *sh, char **w, unsigned n)
{
	const struct volsh_command *c = find_command(w[0]);

	if (!c) {
		fprintf(stderr, "volsh: unknown command %s\n", w[0]);
		return -EINVAL;
	}
	if (n - 1 < c->min || n - 1 > c->max) {
		fprintf(stderr, "volsh: usage: %s %s\n", c->name, c->args);
		return -EINVAL;
	}
	return c->run(sh, w + 1, n - 1);
}

/* Was it what the line asked for? */
static bool run_line(struct volsh *sh, char *line)
{
	char *w[16], *save = NULL;
	const char *want = NULL;
	unsigned n = 0, first = 0;
	int err;

	for (char *p = strtok_r(line, " \t\n", &save); p && n < 16; p = strtok_r(NULL, " \t\n", &save))
		w[n++] = p;
	if (n == 0 || w[0][0] == '#')
		return true;
	if (w[0][0] == '!') {
		want = w[0] + 1;
		first = 1;
		if (n == 1)
			return false;
	}
	err = run_words(sh, w + first, n - first);
	if (!want) {
		if (err)
			printf("%s: %s (%s)\n", w[first], strerror(-err), strerrorname_np(-err));
		return !err;
	}
	if (err && (!*want || !strcmp(strerrorname_np(-err), want)))
		return true;
	printf("%s: expected %s, got %s\n", w[first], *want ? want : "an error",
	       err ? strerrorname_np(-err) : "success");
	return false;
}

static void emit(struct logger *self, enum log_level level, const char *subsys, const char *line)
{
	(void)self, (void)level;
	fprintf(stderr, "%s: %s\n", subsys, line);
}

static int start(struct volsh *sh, const char *path)
{
	struct vol_opts opts = { .readonly = sh->readonly, .localalloc_mb = -1, .log = sh->log };
	struct reason why = { 0 };
	bool replayed = false;
	int err;

	err = blockdev_open(path, sh->readonly ? BLOCKDEV_RO : 0, &sh->dev, &why);
	if (!err)
		err = vol_open(sh->dev, &opts, &sh->v, &why);
	if (!err)
		err = vol_slot_start(sh->v, sh->slot, &replayed, &why);
	if (err) {
		fprintf(stderr, "volsh: %s\n", why.text);
		return (int)why.code;
	}
	err = vol_slot_cleanup(sh->v);
	if (err)
		fprintf(stderr, "volsh: cleaning up after a crash: %s\n", strerror(-err));
	return err ? EXIT_JOURNAL : 0;
}

int main(int argc, char **argv)
{
	struct logger log = { .emit = emit, .max = getenv("VOLSH_DEBUG") ? LOG_LVL_DEBUG : LOG_LVL_INFO };
	struct volsh sh = { .log = &log };
	char *line = NULL;
	size_t room = 0;
	bool ok = true;
	int opt, err;

	while ((opt = getopt(argc, argv, "rs:")) != -1) {
		if (opt == 'r')
			sh.readonly = true;
		else if (opt == 's')
			sh.slot = (unsigned)atoi(optarg);
		else
			return EXIT_USAGE;
	}
	if (optind != argc - 1)
		return EXIT_USAGE;
	err = start(&sh, argv[optind]);
	while (!err && getline(&line, &room, stdin) >= 0) {
		ok &= run_line(&sh, line);
		fflush(stdout);
	}
	free(line);
	if (sh.v) {
		int stop = vol_slot_stop(sh.v, err != 0);

		if (stop && !err) {
			fprintf(stderr, "volsh: ending: %s\n", strerror(-stop));
			ok = false;
		}
		vol_close(sh.v);
	}
	blockdev_close(sh.dev);
	return err ? err : !ok;
}
