/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acl.h: POSIX ACLs as bytes: pure functions, no I/O (doc/spec/disk.md 7.4).
 *
 * An ACL is an array of struct acl_entry in disk order, in the order of its tags (owner,
 * users, group, groups, mask, others), as IEEE 1003.1e draft 17 section 23 describes it.
 * The form that programs see (setfacl) has four bytes with a version before the same
 * array. Functions below acl_check take only what acl_check has passed.
 */
#ifndef O2FUSE_CLUSTER_ACL_H
#define O2FUSE_CLUSTER_ACL_H

#include <stddef.h>
#include <stdint.h>
#include <linux/types.h>
#include "dlm/util/cleanup.h"

enum { ACL_TAG_OWNER = 1, ACL_TAG_USER = 2, ACL_TAG_GROUP_OBJ = 4, ACL_TAG_GROUP = 8,
       ACL_TAG_MASK = 16, ACL_TAG_OTHER = 32 };

/* Packed: a value lies behind its name in a request, at any address. */
struct acl_entry {
	__le16 tag, perm;	/* perm: rwx */
	__le32 id;		/* of ACL_TAG_USER and ACL_TAG_GROUP; else all ones */
} __attribute__((packed));

#define ACL_PREFIX 4u	/* bytes before the array in the form of programs */

/* -EINVAL: not an ACL. */
int acl_check(const void *acl, size_t size) __must_check;
/* Skips the prefix; -EOPNOTSUPP: another version. -EINVAL as above. A value with the
 * prefix alone is an empty ACL: *size 0. */
int acl_from_program(const void *value, size_t len, const void **acl, size_t *size) __must_check;
void acl_prefix(uint8_t to[ACL_PREFIX]);
/* Permission bits that follow from the ACL into *mode. 0: they say all of it, the ACL
 * need not be stored; 1: there is more. */
int acl_to_mode(const void *acl, size_t size, uint16_t *mode);
/*
 * The default ACL of a directory becomes the access ACL of what is made in it with *mode:
 * both allow only what both of them did. Returns as acl_to_mode.
 */
int acl_inherit(void *acl, size_t size, uint16_t *mode);
/* chmod: the ACL follows the mode. */
void acl_follow_mode(void *acl, size_t size, uint16_t mode);
/* What the owning group may do: rwx, in the low bits. */
unsigned acl_group_rights(const void *acl, size_t size);

#endif
