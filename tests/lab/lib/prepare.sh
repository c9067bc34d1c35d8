# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# prepare.sh: what a guest boots: kernel, modules, programs, initramfs.

host_packages="qemu-system-x86 ocfs2-tools busybox-static iproute2 kmod
	util-linux xz-utils"

# Modules that a guest may load, beside what these depend on.
guest_modules="virtio_pci virtio_console virtio_blk virtio_net virtio-rng
	9p 9pnet_virtio configfs ocfs2 ocfs2_dlm ocfs2_dlmfs ocfs2_nodemanager
	ocfs2_stack_o2cb ocfs2_stackglue ext4 fuse crc32c_generic crc32c-intel
	loop"

# Programs of this machine that a guest gets, with the libraries they need.
# Those after the bar are left out where this machine lacks them.
guest_programs="mount.ocfs2 mkfs.ocfs2 fsck.ocfs2 debugfs.ocfs2 tunefs.ocfs2
	mounted.ocfs2 ocfs2_hb_ctl o2cb o2cb_ctl o2info flock setpriv |
	fusermount3 getfattr setfattr strace setfacl getfacl"

need_root() { [ "$(id -u)" = 0 ] || die "must run as root"; }

missing_packages() {
	local p
	for p in $host_packages; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null |
			grep -q 'ok installed' || echo "$p"
	done
}

install_packages() {
	local missing
	missing=$(missing_packages | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	[ "${O2LAB_APT:-1}" = 1 ] || die "these packages are missing: $missing"
	note "installing $missing"
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
		install -y --no-install-recommends $missing >"$cache/apt.log" 2>&1 ||
		{ apt-get -o DPkg::Lock::Timeout=300 update >"$cache/apt.log" 2>&1 &&
			DEBIAN_FRONTEND=noninteractive apt-get \
				-o DPkg::Lock::Timeout=300 install -y \
				--no-install-recommends $missing >>"$cache/apt.log" 2>&1; } ||
		die "apt-get failed, see $cache/apt.log"
}

# Prints the name of the package that holds the kernel linux-image-amd64 means.
kernel_package() {
	apt-cache depends linux-image-amd64 2>/dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }'
}

download_kernel() { # FOLDER
	local pkg
	pkg=$(kernel_package)
	[ -n "$pkg" ] || return 1
	rm -rf "$1"
	mkdir -p "$1"
	note "downloading $pkg"
	(cd "$1" && apt-get download "$pkg" >"$cache/apt.log" 2>&1)
}

# Fetch and unpack the kernel into $cache/kernel: boot/ and the modules.
prepare_kernel() {
	local deb tmp
	[ -e "$cache/kernel/version" ] && return 0
	rm -rf "$cache/kernel" "$cache/kernel.new"
	deb=${O2LAB_KERNEL_DEB:-}
	if [ -z "$deb" ]; then
		tmp=$cache/deb
		download_kernel "$tmp" || {
			# Perhaps the package lists are old, or missing.
			apt-get -o DPkg::Lock::Timeout=300 update >"$cache/apt.log" 2>&1
			download_kernel "$tmp"
		} || die "cannot download the kernel package, see $cache/apt.log"
		deb=$(echo "$tmp"/*.deb)
	fi
	mkdir -p "$cache/kernel.new"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$cache/kernel.new" --wildcards \
		'./boot/vmlinuz-*' './boot/config-*' './lib/modules/*/modules.*' \
		'./lib/modules/*/kernel/fs/*' './lib/modules/*/kernel/net/9p/*' \
		'./lib/modules/*/kernel/net/core/*' './lib/modules/*/kernel/lib/*' \
		'./lib/modules/*/kernel/crypto/*' \
		'./lib/modules/*/kernel/arch/x86/crypto/*' \
		'./lib/modules/*/kernel/drivers/virtio/*' \
		'./lib/modules/*/kernel/drivers/block/*' \
		'./lib/modules/*/kernel/drivers/char/*' \
		'./lib/modules/*/kernel/drivers/net/*_net.ko' \
		'./lib/modules/*/kernel/drivers/net/net_failover.ko' ||
		die "unpacking $deb failed"
	[ -z "${tmp:-}" ] || rm -rf "$tmp"
	(cd "$cache/kernel.new/lib/modules" && echo *) >"$cache/kernel.new/version"
	mv "$cache/kernel.new" "$cache/kernel"
	extract_vmlinux
}

# The kernel unpacked beforehand: saves the guest from unpacking it under
# emulation at every boot. Where this does not work the bzImage is booted.
extract_vmlinux() {
	local image at
	image=$(echo "$cache"/kernel/boot/vmlinuz-*)
	rm -f "$cache/kernel/vmlinux"
	grep -abo $'\xfd7zXZ' "$image" | cut -d: -f1 | while read -r at; do
		# xz complains of what follows the stream; the ELF header decides.
		tail -c "+$((at + 1))" "$image" | xz -dc 2>/dev/null \
			>"$cache/kernel/vmlinux.new"
		if [ "$(head -c 4 "$cache/kernel/vmlinux.new" | tail -c 3)" = ELF ]; then
			mv "$cache/kernel/vmlinux.new" "$cache/kernel/vmlinux"
			break
		fi
	done
	rm -f "$cache/kernel/vmlinux.new"
}

kernel_image() {
	if [ -e "$cache/kernel/vmlinux" ]; then
		echo "$cache/kernel/vmlinux"
	else
		echo "$cache"/kernel/boot/vmlinuz-*
	fi
}

# copy_program PATH ROOT: a program and its libraries, at the same paths.
copy_program() {
	local lib
	install -D "$1" "$2$1"
	ldd "$1" 2>/dev/null | awk '/=> \//{ print $3 } $1 ~ /^\//{ print $1 }' |
		while read -r lib; do
			[ -e "$2$lib" ] || install -D "$lib" "$2$lib"
		done
}

prepare_initramfs() {
	local root kver m p path optional stamp
	kver=$(cat "$cache/kernel/version")
	# Built anew when the guest files, the program list or the kernel change.
	stamp=$( (cat "$here"/guest/*; echo "$kver $guest_modules $guest_programs"
		dpkg-query -W ocfs2-tools busybox-static) 2>/dev/null | cksum)
	[ "$(cat "$cache/initramfs.stamp" 2>/dev/null)" = "$stamp" ] &&
		[ -e "$cache/initramfs" ] && return 0
	note "building the initramfs"
	root=$cache/root
	rm -rf "$root"
	mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,lib64,etc/ocfs2,etc/init.d} \
		"$root"/{proc,sys,dev,tmp,run,root,var/run,mnt,share,dlm}

	cp "$(command -v busybox)" "$root/bin/busybox"
	busybox --list | while read -r p; do
		[ "$p" = busybox ] || ln -s busybox "$root/bin/$p"
	done
	ln -s ../bin/busybox "$root/sbin/modprobe"
	ln -s ../bin/busybox "$root/sbin/poweroff"
	ln -s bin/busybox "$root/init"

	optional=
	for p in $guest_programs; do
		if [ "$p" = '|' ]; then
			optional=1
			continue
		fi
		path=$(command -v "$p" || command -v "/sbin/$p")
		if [ -z "$path" ]; then
			[ -n "$optional" ] || die "no $p on this machine"
			continue
		fi
		# libo2cb and the kernel look for them in /sbin; on this machine
		# /sbin may be a link to /usr/sbin.
		case $path in
		/usr/sbin/*) path=/sbin/${path##*/} ;;
		esac
		# A busybox applet of that name gives way.
		rm -f "$root/bin/$p"
		copy_program "$path" "$root"
	done

	depmod -b "$cache/kernel" "$kver" 2>/dev/null
	for m in $guest_modules; do
		modprobe -d "$cache/kernel" -S "$kver" -a --show-depends "$m" ||
			die "no module $m"
	done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r m; do
		install -D "$m" "$root/lib/modules/$kver/kernel/${m#*/kernel/lib/modules/*/kernel/}"
	done || exit 1
	cp "$cache/kernel/lib/modules/$kver"/modules.{builtin,builtin.modinfo,order} \
		"$root/lib/modules/$kver/"
	depmod -b "$root" "$kver"

	install "$here/guest/rcS" "$root/etc/rcS"
	install -m 644 "$here/guest/inittab" "$root/etc/inittab"
	install "$here/guest/lab-agent" "$here/guest/lab-o2cb" "$root/sbin/"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	echo 'nobody:x:65534:65534:nobody:/:/bin/sh' >>"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"

	(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) \
		>"$cache/initramfs.new" || die "cpio failed"
	mv "$cache/initramfs.new" "$cache/initramfs"
	rm -rf "$root"
	echo "$stamp" >"$cache/initramfs.stamp"
}

cmd_prepare() {
	need_root
	[ "${1:-}" = --force ] && rm -rf "$cache"
	mkdir -p "$cache" || die "cannot make $cache"
	install_packages
	prepare_kernel
	prepare_initramfs
	note "ready: kernel $(cat "$cache/kernel/version")," \
		"initramfs $(($(stat -c %s "$cache/initramfs") / 1024)) KiB"
}
