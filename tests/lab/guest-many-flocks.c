/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest-many-flocks.c: one process with many shared flocks of one file, each of an open of
 * its own, so that each is a lock of its own in the DLM. Runs in a guest.
 *
 *	many-flocks FILE COUNT FLAG	makes FLAG when all are held; ends when it is gone
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int n;

	if (argc != 4)
		return 2;
	for (n = atoi(argv[2]); n > 0; n--) {
		int fd = open(argv[1], O_RDWR);

		if (fd < 0 || flock(fd, LOCK_SH)) {
			perror(argv[1]);
			return 1;
		}
	}
	if (close(open(argv[3], O_CREAT | O_WRONLY, 0600))) {
		perror(argv[3]);
		return 1;
	}
	while (!access(argv[3], F_OK))
		usleep(100000);
	return 0;
}
