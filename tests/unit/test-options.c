/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-options.c: the mount options' parser. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/options.h"

static int parse(struct mount_options *o, const char *list, struct reason *why)
{
	memset(why, 0, sizeof(*why));
	options_default(o);
	return options_parse(o, list, why);
}

Test(options, every_kind_of_value_is_stored)
{
	struct mount_options o;
	struct reason why;

	cr_assert_eq(parse(&o, "conf=/etc/x.conf,node=2,port=7777,errors=panic,commit=0,localflocks,"
			       "noatime,ro,nodev,preferred_slot=3,localalloc=0",
			   &why), 0, "%s", why.text);
	cr_expect_str_eq(o.conf, "/etc/x.conf");
	cr_expect_str_eq(o.node, "2");
	cr_expect_eq(o.port, 7777);
	cr_expect_eq(o.errors, OPT_ERRORS_PANIC);
	cr_expect_eq(o.commit_s, 0);
	cr_expect(o.localflocks && o.ro && !o.dev && o.suid);
	cr_expect_eq(o.atime, OPT_NOATIME);
	cr_expect_eq(o.preferred_slot, 3);
	cr_expect_eq(o.localalloc_mb, 0);
	options_free(&o);
}

Test(options, defaults_are_shared_and_checked_by_the_kernel)
{
	struct mount_options o;
	struct reason why;

	cr_assert_eq(parse(&o, "", &why), 0);
	cr_expect(o.allow_other && o.default_permissions && o.dev && o.suid && o.exec && !o.ro);
	cr_expect_eq(o.preferred_slot, -1);
	cr_expect_eq(o.localalloc_mb, -1);
	cr_expect_eq(o.atime, OPT_RELATIME);
	options_free(&o);
}

Test(options, words_of_mount8_and_fstab_are_taken)
{
	struct mount_options o;
	struct reason why;

	cr_expect_eq(parse(&o, "defaults,noauto,nofail,_netdev,x-systemd.automount,suid,dev,relatime,rw",
			   &why), 0, "%s", why.text);
	options_free(&o);
}

struct refusal {
	const char *list, *text;
};

Test(options, what_is_wrong_is_refused_by_name)
{
	static const struct refusal bad[] = {
		{ "rw,nosuch", "unknown option \"nosuch\"" },
		{ "nosuch=1", "unknown option \"nosuch\"" },
		{ "port=0", "option port: \"0\" is not a number from 1 to 65534" },
		{ "port=65535", "option port" },
		{ "port=7x", "option port" },
		{ "port=", "option port needs a value" },
		{ "conf", "option conf needs a value" },
		{ "hb_threshold=2", "option hb_threshold: \"2\" is not a number from 3" },
		{ "hb_threshold=99999999999999999999", "option hb_threshold" },
		{ "errors=explode", "not one of remount-ro|continue|panic" },
		{ "errors=remount", "not one of" },
		{ "ro=1", "option ro takes no value" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mount_options o;
		struct reason why;

		cr_expect_eq(parse(&o, bad[i].list, &why), -EINVAL, "%s", bad[i].list);
		cr_expect_eq(why.code, EXIT_USAGE);
		cr_expect(strstr(why.text, bad[i].text), "%s gave \"%s\"", bad[i].list, why.text);
		options_free(&o);
	}
}

/* Lines of fstab that were written for the kernel's ocfs2. */
Test(options, those_of_the_kernel_are_taken)
{
	struct mount_options o;
	struct reason why;

	cr_assert_eq(parse(&o, "_netdev,nointr,coherency=full,barrier=1,resv_level=2,heartbeat=local,"
			   "atime_quantum=0,noacl,nouser_xattr", &why), 0, "%s", why.text);
	cr_expect_eq(o.atime_quantum, 0);
	cr_expect(!o.acl && !o.user_xattr);
	options_free(&o);
	cr_assert_eq(parse(&o, "rw", &why), 0);
	cr_expect_eq(o.atime_quantum, 60);
	cr_expect(o.acl && o.user_xattr);
	options_free(&o);
}

Test(options, the_last_word_wins)
{
	struct mount_options o;
	struct reason why;

	cr_assert_eq(parse(&o, "ro,rw,conf=a,conf=b,noatime,relatime", &why), 0);
	cr_expect(!o.ro);
	cr_expect_str_eq(o.conf, "b");
	cr_expect_eq(o.atime, OPT_RELATIME);
	options_free(&o);
}

Test(options, the_help_names_every_option_with_range_and_default)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	options_help(f);
	fclose(f);
	cr_expect(strstr(text, "hb_threshold=3..1000"));
	cr_expect(strstr(text, "errors=remount-ro|continue|panic"));
	cr_expect(strstr(text, "[/etc/ocfs2/cluster.conf]"));
	cr_expect(!strstr(text, "_netdev"));
	free(text);
}
