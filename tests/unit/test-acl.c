/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX ACLs as bytes: what is one, what it says about a mode, what children inherit. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include "fs/cluster/acl.h"

/* Constants need no function, which htole16 is to the compiler. */
#if __BYTE_ORDER == __BIG_ENDIAN
#define LE16(x) __bswap_constant_16(x)
#define LE32(x) __bswap_constant_32(x)
#else
#define LE16(x) (x)
#define LE32(x) (x)
#endif
#define E(t, p, i) { LE16(t), LE16(p), LE32(i) }
#define NOBODY 0xffffffffu

static const struct acl_entry plain[] = {
	E(ACL_TAG_OWNER, 7, NOBODY), E(ACL_TAG_GROUP_OBJ, 5, NOBODY), E(ACL_TAG_OTHER, 4, NOBODY),
};
static const struct acl_entry full[] = {
	E(ACL_TAG_OWNER, 7, NOBODY), E(ACL_TAG_USER, 7, 1000), E(ACL_TAG_USER, 6, 1001),
	E(ACL_TAG_GROUP_OBJ, 5, NOBODY), E(ACL_TAG_GROUP, 4, 50), E(ACL_TAG_MASK, 6, NOBODY),
	E(ACL_TAG_OTHER, 1, NOBODY),
};

static unsigned perm_of(const struct acl_entry *e)
{
	return le16toh(e->perm);
}

Test(acl, three_entries_are_a_mode_and_more_are_not)
{
	uint16_t mode = 02000;

	cr_assert_eq(acl_check(plain, sizeof(plain)), 0);
	cr_assert_eq(acl_to_mode(plain, sizeof(plain), &mode), 0);
	cr_assert_eq(mode, 02754);
	cr_assert_eq(acl_check(full, sizeof(full)), 0);
	cr_assert_eq(acl_to_mode(full, sizeof(full), &mode), 1);
	cr_assert_eq(mode, 02761, "the group bits are the mask: %o", mode);
	cr_assert_eq(acl_group_rights(full, sizeof(full)), 4);
	cr_assert_eq(acl_group_rights(plain, sizeof(plain)), 5);
}

Test(acl, what_is_not_an_acl_is_refused)
{
	struct acl_entry e[7];

	cr_assert_eq(acl_check(full, sizeof(full) - 1), -EINVAL);
	for (unsigned i = 0; i < 7; i++) { /* each entry is needed, but for a user or group */
		memcpy(e, full, sizeof(full));
		memmove(&e[i], &e[i + 1], (6 - i) * sizeof(e[0]));
		cr_assert_eq(acl_check(e, 6 * sizeof(e[0])), i == 1 || i == 2 || i == 4 ? 0 : -EINVAL,
			     "without %u", i);
	}
	memcpy(e, full, sizeof(full));
	e[0].perm = htole16(8);
	cr_assert_eq(acl_check(e, sizeof(e)), -EINVAL);
	memcpy(e, full, sizeof(full));
	e[1].tag = htole16(3);
	cr_assert_eq(acl_check(e, sizeof(e)), -EINVAL);
	memcpy(e, full, sizeof(full));
	e[3] = e[4];
	e[4] = full[3];
	cr_assert_eq(acl_check(e, sizeof(e)), -EINVAL, "out of order");
	memcpy(e, full, sizeof(full));
	e[4] = full[5];
	cr_assert_eq(acl_check(e, sizeof(e)), -EINVAL, "two masks");
	cr_assert_eq(acl_check(e, 0), -EINVAL);
}

Test(acl, the_form_of_programs_has_a_version)
{
	uint8_t value[1 + ACL_PREFIX + sizeof(full)], *at = value + 1; /* not aligned */
	const void *acl;
	size_t size;

	acl_prefix(at);
	memcpy(at + ACL_PREFIX, full, sizeof(full));
	cr_assert_eq(acl_from_program(at, sizeof(value) - 1, &acl, &size), 0);
	cr_assert_eq(size, sizeof(full));
	cr_assert_eq(acl_from_program(at, ACL_PREFIX, &acl, &size), 0);
	cr_assert_eq(size, 0);
	cr_assert_eq(acl_from_program(at, 3, &acl, &size), -EINVAL);
	at[0] = 1;
	cr_assert_eq(acl_from_program(at, sizeof(value) - 1, &acl, &size), -EOPNOTSUPP);
}

Test(acl, a_child_gets_no_more_than_it_was_made_with)
{
	struct acl_entry e[7];
	uint16_t mode = 0640;

	memcpy(e, full, sizeof(full));
	cr_assert_eq(acl_inherit(e, sizeof(e), &mode), 1);
	cr_assert_eq(mode, 0640);
	cr_assert_eq(perm_of(&e[0]), 6);
	cr_assert_eq(perm_of(&e[1]), 7, "named ones stay, the mask holds them");
	cr_assert_eq(perm_of(&e[5]), 4);
	cr_assert_eq(perm_of(&e[6]), 0);
	memcpy(e, plain, sizeof(plain));
	mode = 0666;
	cr_assert_eq(acl_inherit(e, sizeof(plain), &mode), 0);
	cr_assert_eq(mode, 0644);
}

Test(acl, chmod_moves_the_mask_and_not_the_group)
{
	struct acl_entry e[7];

	memcpy(e, full, sizeof(full));
	acl_follow_mode(e, sizeof(e), 0604);
	cr_assert_eq(perm_of(&e[0]), 6);
	cr_assert_eq(perm_of(&e[3]), 5);
	cr_assert_eq(perm_of(&e[5]), 0);
	cr_assert_eq(perm_of(&e[6]), 4);
	memcpy(e, plain, sizeof(plain));
	acl_follow_mode(e, sizeof(plain), 0640);
	cr_assert_eq(perm_of(&e[1]), 4);
}
