// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nlfake-main.c: an o2fuse process without a volume, for the tests of the tool.
 *
 *	nlfake CLUSTER NUMBER
 *
 * It says "ready" and then obeys lines on its standard input, answering "ok" to each:
 *	node NUMBER NAME A.B.C.D alive|down
 *	event NAME NUMBER [key=value ...]
 * and ends at the end of the input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/nlfake.h"

static void obey(struct nlfake *f, char *line)
{
	unsigned number;
	char name[80], addr[32], state[16];
	uint32_t ip;
	int at = 0;

	if (sscanf(line, "node %u %79s %31s %15s", &number, name, addr, state) == 4 &&
	    !net_addr_parse(addr, &ip)) {
		nlfake_add(f, number, name, ip, !strcmp(state, "alive"),
			   strcmp(state, "alive") ? "connection refused" : "up");
	} else if (sscanf(line, "event %79s %u %n", name, &number, &at) == 2 && at) {
		line[strcspn(line, "\n")] = '\0';
		nlfake_event(f, name, (node_t)number, line + at);
	} else {
		fprintf(stderr, "nlfake: not understood: %s", line);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct nlfake *f;
	char line[512];

	if (argc != 3)
		return 2;
	f = nlfake_start(argv[1], (node_t)atoi(argv[2]));
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		obey(f, line);
		puts("ok");
		fflush(stdout);
	}
	nlfake_stop(f);
	return 0;
}
