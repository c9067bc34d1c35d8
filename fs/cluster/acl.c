/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acl.c: POSIX ACLs as bytes.
 *
 * The group bits of a mode are the mask of an ACL that has one, and the rights of the
 * owning group only if it has none: so the mode always shows the most that anybody but
 * owner and others can get.
 */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "fs/cluster/acl.h"

enum { VERSION = 2, RWX = 7 };

/* Places of the single entries; those that are not there are NULL. */
struct singles {
	struct acl_entry *owner, *group, *mask, *other;
	bool named;	/* entries of users or groups */
};

static size_t count(size_t size)
{
	return size / sizeof(struct acl_entry);
}

static struct singles singles(void *acl, size_t size)
{
	struct acl_entry *e = acl;
	struct singles s = { 0 };

	for (size_t i = 0; i < count(size); i++) {
		switch (le16toh(e[i].tag)) {
		case ACL_TAG_OWNER:
			s.owner = &e[i];
			break;
		case ACL_TAG_GROUP_OBJ:
			s.group = &e[i];
			break;
		case ACL_TAG_MASK:
			s.mask = &e[i];
			break;
		case ACL_TAG_OTHER:
			s.other = &e[i];
			break;
		default:
			s.named = true;
		}
	}
	return s;
}

/* Tags are ascending bits: equal ones only for users and groups. */
int acl_check(const void *acl, size_t size)
{
	const struct acl_entry *e = acl;
	unsigned seen = 0, last = 0;

	if (size % sizeof(*e))
		return -EINVAL;
	for (size_t i = 0; i < count(size); i++) {
		unsigned tag = le16toh(e[i].tag);
		bool named = tag == ACL_TAG_USER || tag == ACL_TAG_GROUP;

		if (!tag || tag & (tag - 1) || tag > ACL_TAG_OTHER || tag < last ||
		    (tag == last && !named) || le16toh(e[i].perm) > RWX)
			return -EINVAL;
		last = tag;
		seen |= tag;
	}
	if ((seen & (ACL_TAG_USER | ACL_TAG_GROUP)) && !(seen & ACL_TAG_MASK))
		return -EINVAL;
	return (seen & ACL_TAG_OWNER) && (seen & ACL_TAG_GROUP_OBJ) && (seen & ACL_TAG_OTHER) ? 0 :
												 -EINVAL;
}

int acl_from_program(const void *value, size_t len, const void **acl, size_t *size)
{
	uint32_t version;

	if (len < ACL_PREFIX)
		return -EINVAL;
	memcpy(&version, value, sizeof(version));
	if (le32toh(version) != VERSION)
		return -EOPNOTSUPP;
	*acl = (const uint8_t *)value + ACL_PREFIX;
	*size = len - ACL_PREFIX;
	return *size ? acl_check(*acl, *size) : 0;
}

void acl_prefix(uint8_t to[ACL_PREFIX])
{
	uint32_t version = htole32(VERSION);

	memcpy(to, &version, sizeof(version));
}

static unsigned perm(const struct acl_entry *e)
{
	return le16toh(e->perm);
}

int acl_to_mode(const void *acl, size_t size, uint16_t *mode)
{
	struct singles s = singles((void *)acl, size);

	*mode = (uint16_t)((*mode & ~0777u) | perm(s.owner) << 6 |
			   perm(s.mask ? s.mask : s.group) << 3 | perm(s.other));
	return s.named || s.mask;
}

int acl_inherit(void *acl, size_t size, uint16_t *mode)
{
	struct singles s = singles(acl, size);
	struct acl_entry *group = s.mask ? s.mask : s.group;

	s.owner->perm = htole16((uint16_t)(perm(s.owner) & *mode >> 6 & RWX));
	group->perm = htole16((uint16_t)(perm(group) & *mode >> 3 & RWX));
	s.other->perm = htole16((uint16_t)(perm(s.other) & *mode & RWX));
	return acl_to_mode(acl, size, mode);
}

void acl_follow_mode(void *acl, size_t size, uint16_t mode)
{
	struct singles s = singles(acl, size);

	s.owner->perm = htole16(mode >> 6 & RWX);
	(s.mask ? s.mask : s.group)->perm = htole16(mode >> 3 & RWX);
	s.other->perm = htole16(mode & RWX);
}

unsigned acl_group_rights(const void *acl, size_t size)
{
	struct singles s = singles((void *)acl, size);

	return perm(s.group) & (s.mask ? perm(s.mask) : RWX);
}
