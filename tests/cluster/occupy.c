/* SPDX-License-Identifier: GPL-2.0-or-later */
/* occupy.c: listen on ADDRESS PORT until killed; for the test of a taken port. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 3 || fd < 0 || !inet_aton(argv[1], &sa.sin_addr))
		return 2;
	sa.sin_port = htons((uint16_t)atoi(argv[2]));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 1)) {
		perror("occupy");
		return 1;
	}
	pause();
	return 0;
}
