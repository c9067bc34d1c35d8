#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Layers point downward only (doc/design.md section 3, doc/style/anchors.md 2.1).
cd "${top_srcdir:-..}" || exit 1
. tests/tap.sh

# folder, then the project includes it may use (extended regular expression)
no_include() { # claim, forbidden pattern, files...
	local claim=$1 bad=$2 found
	shift 2
	found=$(grep -nE "$bad" "$@" 2>/dev/null)
	is "$claim" "$found" ""
}
src() { find "$@" -name '*.[ch]' | sort; }

no_include "dlm/ includes only dlm/" '#include "(net|fs|tests)/' $(src dlm)
no_include "dlm/ has no sockets, threads, clock, output, environment" \
	'#include <(sys/socket|netinet|arpa|pthread|uv|sys/time|sys/epoll|time|netlink|fuse|errno_net)' $(src dlm)
no_include "dlm/ calls nothing that does I/O or waits" \
	'[^_a-z](printf|fprintf|getenv|clock_gettime|nanosleep|usleep|malloc_usable|poll|select)\(' $(src dlm)
no_include "net/ includes only net/ and dlm/" '#include "(fs|tests)/' $(src net)
no_include "fs/volume includes only fs/volume and dlm/util" \
	'#include "(net/|fs/(cluster|fuse)/|dlm/[a-z_]*\.h)' $(src fs/volume)
no_include "fs/cluster does not include fs/fuse or private headers of fs/volume" \
	'#include "(fs/fuse/|fs/volume/[a-z_]*_int\.h)' $(src fs/cluster)
no_include "only fs/fuse includes libfuse" '#include <fuse' \
	$(src dlm net fs/volume fs/cluster) $(ls fs/*.[ch] 2>/dev/null | grep -v main.c)
no_include "libuv is seen only in net/" '#include <uv' $(src dlm fs)
no_include "only net/netlink*.c, net/rtnl.c and the tools include libnl" '#include <(netlink|linux/netlink)' \
	$(src dlm fs/volume fs/cluster fs/fuse) $(src net | grep -vE 'net/(netlink|rtnl)')
no_include "only fs/volume/blockdev*.c include liburing" '#include <liburing' \
	$(src dlm net fs | grep -v fs/volume/blockdev)
no_include "private headers stay in their folder (dlm)" '#include "dlm/[a-z_]*_int\.h' $(src net fs)

# dlm/ links alone.
tmp=$(mktemp -d)
on_exit "rm -rf '$tmp'"
cat >"$tmp/alone.c" <<'C'
#include "dlm/dlm.h"
int main(void)
{
	struct dlm_config cfg = { .self = 1 };
	static struct dlm_transport tr;
	struct dlm *d = dlm_new(&cfg, &tr, 0);
	dlm_free(d);
	return 0;
}
C
lib=${top_builddir:-.}/dlm/libdlm.a
san=$(nm "$lib" 2>/dev/null | grep -oE '__(asan|tsan|ubsan)_' | sort -u | sed -n 's/__asan_/address/p;s/__tsan_/thread/p;s/__ubsan_/undefined/p' | paste -sd,)
ok "dlm/ links without libfuse, libnl, libuv, pthread" \
	${CC:-gcc} -std=gnu11 -I. ${san:+-fsanitize=$san} -o "$tmp/alone" "$tmp/alone.c" "$lib"
