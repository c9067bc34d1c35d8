/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * o2net-dump: prints the o2net and o2dlm messages of a capture, one a line.
 *
 * Reads a pcap file of Ethernet frames (what 'ocfs2-vm capture' writes), puts
 * each direction of each TCP connection together in order, and splits it into
 * the 32-byte handshake and the messages that follow. Meant for reading
 * captures, as a second opinion on other wire code: it shares nothing with any.
 * Connections that were open before the capture began are left out, with a note
 * on standard error: start a capture before the nodes mount.
 * It is not for untrusted captures, though it stays within its buffers.
 *
 * Build: cc -O2 -o o2net-dump o2net-dump.c
 * Usage: o2net-dump [-k] [-z SECONDS] FILE
 *   -k   print keepalives too
 *   -z   the time (seconds since 1970) that counts as 0; the first packet's
 *        without it
 *
 * A line: seconds since then, sender>receiver (last byte of their
 * addresses, the node numbers in the lab), what it is, and its fields. A status
 * answers the message with the same num in the other direction.
 */

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PORT = 7777, MAX_FLOWS = 256, BUF = 1 << 17, HEADER = 24, HANDSHAKE = 32 };
enum { NAMES = 64 }; /* length of a name field */

struct flow {
	uint32_t src, dst;
	uint16_t sport, dport;
	bool synced;       /* next is known */
	bool greeted;      /* the handshake has been read */
	bool lost;         /* a gap: nothing after it is read */
	uint32_t next;     /* sequence number wanted next */
	size_t len;        /* bytes in buf */
	uint8_t *buf;
	uint16_t *asked;   /* type of message num, for the line of its status */
};

static struct flow flows[MAX_FLOWS];
static int nflows;
static bool keepalives;
static double when; /* of the packet in hand */

static unsigned long seen[65536], statuses, unopened;

static uint16_t be16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static uint32_t be32(const uint8_t *p) { return (uint32_t)be16(p) << 16 | be16(p + 2); }
static uint64_t be64(const uint8_t *p) { return (uint64_t)be32(p) << 32 | be32(p + 4); }

static const char *type_name(uint16_t type)
{
	static const char *const dlm[] = {
		"MASTER_REQUEST", "UNUSED_501", "ASSERT_MASTER", "CREATE_LOCK",
		"CONVERT_LOCK", "PROXY_AST", "UNLOCK_LOCK", "DEREF_LOCKRES",
		"MIGRATE_REQUEST", "MIG_LOCKRES", "QUERY_JOIN", "ASSERT_JOINED",
		"CANCEL_JOIN", "EXIT_DOMAIN", "MASTER_REQUERY", "LOCK_REQUEST",
		"RECO_DATA_DONE", "BEGIN_RECO", "FINALIZE_RECO", "QUERY_REGION",
		"QUERY_NODEINFO", "BEGIN_EXIT_DOMAIN", "DEREF_LOCKRES_DONE",
	};
	static char other[16];

	if (type >= 500 && type < 500 + sizeof(dlm) / sizeof(dlm[0]))
		return dlm[type - 500];
	if (type == 1)
		return "HB_NEGO_TIMEOUT";
	if (type == 2)
		return "HB_NEGO_APPROVE";
	snprintf(other, sizeof(other), "TYPE_%u", type);
	return other;
}

static const char *mode_name(uint8_t mode)
{
	switch (mode) {
	case 0: return "NL";
	case 3: return "PR";
	case 5: return "EX";
	case 255: return "IV";
	default: return "?";
	}
}

/* Lock names are text but for the dentry locks, which end in 8 raw bytes. */
static void put_name(const uint8_t *p, unsigned len)
{
	printf(" name=");
	for (unsigned i = 0; i < len && i < NAMES; i++)
		if (isgraph(p[i]) && p[i] != '\\')
			putchar(p[i]);
		else
			printf("\\%02x", p[i]);
}

static void put_flags(uint32_t f)
{
	static const struct { uint32_t bit; const char *name; } names[] = {
		{ 0x80, "LOCAL" }, { 0x100, "VALBLK" }, { 0x200, "NOQUEUE" },
		{ 0x400, "CONVERT" }, { 0x1000, "UNLOCK" }, { 0x2000, "CANCEL" },
		{ 0x8000, "INVVALBLK" }, { 0x10000000, "MIGRATION" },
		{ 0x20000000, "PUT_LVB" }, { 0x40000000, "GET_LVB" },
		{ 0x80000000, "RECOVERY" },
	};

	printf(" flags=%#x", f);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (f & names[i].bit)
			printf("|%s", names[i].name);
}

static void put_hex(const char *what, const uint8_t *p, size_t len)
{
	printf(" %s=", what);
	while (len > 0 && p[len - 1] == 0)
		len--;
	for (size_t i = 0; i < len; i++)
		printf("%02x", p[i]);
	if (len == 0)
		putchar('0');
}

static void put_cookie(const uint8_t *p)
{
	uint64_t c = be64(p);

	printf(" cookie=%u:%" PRIu64, (unsigned)(c >> 56), c & UINT64_C(0xffffffffffffff));
}

/* A node map: one bit a node, least significant first. */
static void put_map(const uint8_t *p, size_t len)
{
	printf(" map=");
	for (unsigned i = 0; i < len * 8; i++)
		if (p[i / 8] & 1 << i % 8)
			printf("%u,", i);
}

static void put_lockres(const uint8_t *b, size_t len)
{
	printf(" master=%u num_locks=%u flags=%#x total=%u mig_cookie=%" PRIx64,
	       b[0], b[2], b[3], be32(b + 4), be64(b + 8));
	put_name(b + 16, b[1] > 32 ? 32 : b[1]);
	put_hex("lvb", b + 48, 64);
	for (unsigned i = 0; i < b[2] && 112 + 16 * (i + 1) <= len; i++) {
		const uint8_t *l = b + 112 + 16 * i;

		printf(" {");
		put_cookie(l);
		printf(" list=%u flags=%#x type=%s convert=%s blocked=%s node=%u }",
		       l[10], l[11], mode_name(l[12]), mode_name(l[13]),
		       mode_name(l[14]), l[15]);
	}
}

/* The fields of a message; need says how many bytes it must have. */
static void put_body(uint16_t type, const uint8_t *b, size_t len)
{
	static const uint8_t need[] = { 72, 0, 72, 80, 80, 80, 80, 72, 72, 112, 104,
		68, 68, 4, 72, 8, 8, 8, 8, 68, 68, 4, 72 };

	if (type < 500 || type > 522 || len < need[type - 500]) {
		put_hex("data", b, len);
		return;
	}
	switch (type) {
	case 500: case 502:
		printf(" node=%u flags=%#x", b[0], be32(b + 4));
		put_name(b + 8, b[1]);
		break;
	case 503: case 504:
		put_cookie(b);
		printf(" node=%u mode=%s", b[13], mode_name(b[14]));
		put_flags(be32(b + 8));
		put_name(b + 16, b[15]);
		if (len > 80)
			put_hex("lvb", b + 80, len - 80);
		break;
	case 505:
		put_cookie(b);
		printf(" node=%u %s", b[12], b[13] == 0 ? "AST" : "BAST");
		if (b[13] != 0)
			printf(" blocked=%s", mode_name(b[14]));
		put_flags(be32(b + 8));
		put_name(b + 16, b[15]);
		if (len > 80)
			put_hex("lvb", b + 80, len - 80);
		break;
	case 506:
		put_cookie(b);
		printf(" node=%u", b[14]);
		put_flags(be32(b + 8));
		put_name(b + 16, b[15]);
		if (len > 80)
			put_hex("lvb", b + 80, len - 80);
		break;
	case 507: case 522:
		printf(" node=%u", b[6]);
		put_name(b + 8, b[7]);
		break;
	case 508:
		printf(" master=%u new_master=%u", b[0], b[1]);
		put_name(b + 8, b[2]);
		break;
	case 509:
		put_lockres(b, len);
		break;
	case 510:
		printf(" node=%u dlm=%u.%u fs=%u.%u domain=%.*s", b[0], b[4], b[5],
		       b[6], b[7], b[3] > NAMES ? NAMES : b[3], b + 8);
		put_map(b + 72, len - 72);
		break;
	case 511: case 512:
		printf(" node=%u domain=%.*s", b[0], b[3] > NAMES ? NAMES : b[3], b + 4);
		break;
	case 513: case 521:
		printf(" node=%u", b[0]);
		break;
	case 514:
		printf(" node=%u", b[2]);
		put_name(b + 8, b[3]);
		break;
	case 515: case 516: case 517:
		printf(" node=%u dead=%u", b[0], b[1]);
		break;
	case 518:
		printf(" node=%u dead=%u flags=%#x", b[0], b[1], b[2]);
		break;
	case 519:
		printf(" node=%u regions=%u domain=%.*s", b[0], b[1],
		       b[2] > NAMES ? NAMES : b[2], b + 4);
		for (unsigned i = 0; i < b[1] && 68 + 32 * (i + 1) <= len; i++)
			printf(" region=%.32s", b + 68 + 32 * i);
		break;
	case 520:
		printf(" node=%u nodes=%u domain=%.*s", b[0], b[1],
		       b[2] > NAMES ? NAMES : b[2], b + 4);
		for (unsigned i = 0; i < b[1] && 68 + 8 * (i + 1) <= len; i++) {
			const uint8_t *n = b + 68 + 8 * i;

			/* Port and address are copied as the kernel holds them. */
			printf(" {%u %u.%u.%u.%u:%u}", n[0], n[4], n[5], n[6], n[7],
			       be16(n + 2));
		}
		break;
	}
}

static void put_line(const struct flow *f)
{
	printf("%10.6f %u>%u ", when, f->src & 255, f->dst & 255);
}

static struct flow *find_flow(uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	for (int i = nflows - 1; i >= 0; i--) {
		struct flow *f = &flows[i];

		if (f->src == src && f->dst == dst && f->sport == sport && f->dport == dport)
			return f;
	}
	return NULL;
}

static void put_status(const struct flow *f, const uint8_t *m, uint32_t num)
{
	const struct flow *back = find_flow(f->dst, f->src, f->dport, f->sport);
	uint16_t type = back ? back->asked[num & 65535] : 0;

	put_line(f);
	printf("status of %s num=%u sys=%d status=%d", type_name(type), num,
	       (int)be32(m + 8), (int)be32(m + 12));
	if (type == 510)
		printf(" code=%u dlm_minor=%u fs_minor=%u", m[12], m[13], m[14]);
	putchar('\n');
	statuses++;
}

/* Reads one handshake or message at the front of the stream; its length, or 0
 * where more bytes are needed. */
static size_t read_message(struct flow *f)
{
	const uint8_t *m = f->buf;

	if (!f->greeted) {
		if (f->len < HANDSHAKE)
			return 0;
		put_line(f);
		printf("HANDSHAKE version=%" PRIu64 " connector=%" PRIx64
		       " hb=%u idle=%u keepalive=%u reconnect=%u\n", be64(m), be64(m + 8),
		       be32(m + 16), be32(m + 20), be32(m + 24), be32(m + 28));
		f->greeted = true;
		return HANDSHAKE;
	}
	if (f->len < HEADER)
		return 0;

	uint16_t magic = be16(m), len = be16(m + 2), type = be16(m + 4);
	uint32_t num = be32(m + 20);

	if (f->len < (size_t)HEADER + len)
		return 0;
	seen[magic == 0xfa55 ? type : magic]++;
	switch (magic) {
	case 0xfa55:
		put_line(f);
		printf("%s num=%u key=%08x len=%u", type_name(type), num, be32(m + 16), len);
		f->asked[num & 65535] = type;
		put_body(type, m + HEADER, len);
		putchar('\n');
		break;
	case 0xfa56:
		put_status(f, m, num);
		break;
	case 0xfa57:
	case 0xfa58:
		if (keepalives) {
			put_line(f);
			printf("%s\n", magic == 0xfa57 ? "KEEP_REQ" : "KEEP_RESP");
		}
		break;
	default:
		put_line(f);
		printf("NOT O2NET: magic %04x, rest of this direction left out\n", magic);
		f->lost = true;
		return f->len;
	}
	return (size_t)HEADER + len;
}

static struct flow *new_flow(uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	if (nflows == MAX_FLOWS) {
		fprintf(stderr, "o2net-dump: too many connections\n");
		exit(1);
	}
	struct flow *f = &flows[nflows++];

	*f = (struct flow){ .src = src, .dst = dst, .sport = sport, .dport = dport,
		.buf = malloc(BUF), .asked = calloc(65536, sizeof(*f->asked)) };
	if (!f->buf || !f->asked) {
		perror("o2net-dump");
		exit(1);
	}
	return f;
}

static void take_payload(struct flow *f, uint32_t seq, const uint8_t *p, size_t len)
{
	int32_t ahead = (int32_t)(seq - f->next);

	if (f->lost || len == 0)
		return;
	if (ahead > 0) {
		put_line(f);
		printf("GAP of %d bytes, rest of this direction left out\n", ahead);
		f->lost = true;
		return;
	}
	if ((size_t)-ahead >= len)
		return; /* sent before */
	p += -ahead;
	len -= (size_t)-ahead;
	if (f->len + len > BUF) {
		f->lost = true;
		return;
	}
	memcpy(f->buf + f->len, p, len);
	f->len += len;
	f->next += (uint32_t)len;
	for (size_t used; (used = read_message(f)) > 0;) {
		f->len -= used;
		memmove(f->buf, f->buf + used, f->len);
	}
}

static void take_packet(const uint8_t *p, size_t len)
{
	if (len < 34 || be16(p + 12) != 0x0800 || p[14] >> 4 != 4 || p[23] != 6)
		return;

	size_t ihl = (size_t)(p[14] & 15) * 4, total = be16(p + 16);
	const uint8_t *ip = p + 14, *tcp = ip + ihl;

	if (total > len - 14 || total < ihl + 20)
		return;

	size_t thl = (size_t)(tcp[12] >> 4) * 4;
	uint16_t sport = be16(tcp), dport = be16(tcp + 2);
	uint32_t src = be32(ip + 12), dst = be32(ip + 16), seq = be32(tcp + 4);

	if (thl < 20 || total < ihl + thl || (sport != PORT && dport != PORT))
		return;

	struct flow *f = find_flow(src, dst, sport, dport);

	if (tcp[13] & 2 && (!f || !f->synced || f->next != seq + 1)) {
		f = new_flow(src, dst, sport, dport);
		f->next = seq + 1;
		f->synced = true;
		put_line(f);
		printf("TCP %s %u -> %u\n", tcp[13] & 16 ? "accept" : "connect", sport, dport);
		return;
	}
	if (!f) {
		unopened++; /* its connection began before the capture */
		return;
	}
	take_payload(f, seq, tcp + thl, total - ihl - thl);
	if (tcp[13] & 5) {
		put_line(f);
		printf("TCP %s\n", tcp[13] & 4 ? "reset" : "end");
	}
}

static void put_counts(void)
{
	printf("\nmessages:\n");
	for (unsigned t = 0; t < 65536; t++)
		if (seen[t] && t != 0xfa56)
			printf("%7lu %s\n", seen[t],
			       t == 0xfa57 ? "KEEP_REQ" : t == 0xfa58 ? "KEEP_RESP" : type_name((uint16_t)t));
	printf("%7lu statuses\n", statuses);
	/* Said aloud, so that nobody takes what was left out for silence. */
	if (unopened)
		fprintf(stderr, "o2net-dump: left out %lu packets of connections that were"
			" open before the capture began\n", unopened);
}

int main(int argc, char **argv)
{
	static uint8_t packet[1 << 18];
	uint32_t head[6], rec[4];
	double first = -1;
	FILE *in = NULL;
	int opt;

	while ((opt = getopt(argc, argv, "kz:")) != -1)
		if (opt == 'k')
			keepalives = true;
		else if (opt == 'z')
			first = atof(optarg);
		else
			optind = argc;
	if (optind + 1 == argc)
		in = fopen(argv[optind], "rb");
	if (!in) {
		fprintf(stderr, "usage: o2net-dump [-k] [-z SECONDS] FILE\n");
		return 2;
	}
	if (fread(head, sizeof(head), 1, in) != 1 ||
	    (head[0] != 0xa1b2c3d4 && head[0] != 0xa1b23c4d) || head[5] != 1) {
		fprintf(stderr, "o2net-dump: not an Ethernet pcap of this byte order\n");
		return 1;
	}
	while (fread(rec, sizeof(rec), 1, in) == 1) {
		if (rec[2] > sizeof(packet) || fread(packet, 1, rec[2], in) != rec[2]) {
			fprintf(stderr, "o2net-dump: broken off\n");
			return 1;
		}
		when = rec[0] + rec[1] / (head[0] == 0xa1b2c3d4 ? 1e6 : 1e9);
		if (first < 0)
			first = when;
		when -= first;
		take_packet(packet, rec[2]);
	}
	fclose(in);
	put_counts();
	return 0;
}
