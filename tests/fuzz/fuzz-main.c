// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-main.c: run a fuzz entry over files, and over each of them cut short and with
 * single bits turned over. Prints one line of TAP a file.
 */
#include <string.h>
#include "tests/fuzz/fuzz.h"

enum { MAX = 1 << 16 };

static void run_all(const uint8_t *data, size_t len)
{
	/* Of its exact size, so that a sanitizer sees the first byte read beyond it. */
	uint8_t *copy;

	for (size_t n = 0; n <= len; n++) {
		copy = malloc(n ? n : 1);
		memcpy(copy, data, n);
		(void)LLVMFuzzerTestOneInput(copy, n);
		free(copy);
	}
	copy = malloc(len ? len : 1);
	for (size_t bit = 0; bit < len * 8; bit++) {
		memcpy(copy, data, len);
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		(void)LLVMFuzzerTestOneInput(copy, len);
	}
	free(copy);
}

int main(int argc, char **argv)
{
	static uint8_t data[MAX];
	int failed = 0, n = 0;

	for (int i = 1; i < argc; i++) {
		const char *base = strrchr(argv[i], '/');
		size_t len;
		FILE *f;

		if (!strcmp(argv[i], "--tap"))
			continue;
		f = fopen(argv[i], "rb");
		len = f ? fread(data, 1, sizeof(data), f) : 0;
		if (f)
			fclose(f);
		else
			failed++;
		run_all(data, len);
		printf("%s %d - %s: whole, cut short, with bits turned over\n", f ? "ok" : "not ok",
		       ++n, base ? base + 1 : argv[i]);
	}
	printf("1..%d\n", n);
	return failed != 0;
}
