# What etc/quickstart and test/run share; to be sourced by bash, from anywhere.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "error: $*"
	exit 1
}

# As root, directly or through sudo.
privileged() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null || die "to run \"$*\", be root or install sudo"
		sudo "$@"
	fi
}

# Packages of the given purposes in etc/packages that this machine lacks.
missing_packages() {
	local purpose package command
	while read -r purpose package command; do
		[[ " $* " == *" $purpose "* ]] || continue
		[ -n "$command" ] && command -v "$command" >/dev/null && continue
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed && continue
		echo "$package"
	done < <(grep -v '^#' "$TOP/etc/packages")
}

# Without starting the services that come along (slapd): nobody asked for them to run.
apt_install() {
	local policy=/usr/sbin/policy-rc.d ours=no status
	if [ ! -e $policy ]; then
		ours=yes
		printf '#!/bin/sh\nexit 101\n' | privileged tee $policy >/dev/null
		privileged chmod 755 $policy
	fi
	privileged env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
	status=$?
	[ $ours = no ] || privileged rm -f $policy
	return $status
}

#
# Debian's PostgreSQL packages create and start a cluster of the system when they are installed first.
# Nobody asked for one: for the time of the installation this is switched off.
#
install_postgresql() {
	local conf=/etc/postgresql-common/createcluster.d/pgsluice-install.conf status
	privileged mkdir -p "$(dirname $conf)"
	echo 'create_main_cluster = false' | privileged tee $conf >/dev/null
	apt_install "$@"
	status=$?
	privileged rm -f $conf
	return $status
}

# install_missing PURPOSE...: does nothing, and needs no privileges, when all is there.
install_missing() {
	local missing
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} = 0 ] && return 0
	say "installing: ${missing[*]}"
	privileged apt-get update -q >&2 || say "warning: apt-get update failed, going on with the lists at hand"
	if [[ " ${missing[*]} " == *" postgresql-15 "* ]]; then
		install_postgresql "${missing[@]}"
	else
		apt_install "${missing[@]}"
	fi || die "could not install: ${missing[*]}"
}

# build_into DIRECTORY [configure option...]: configures once for the same options, and makes what changed.
build_into() {
	local dir=$1
	shift
	mkdir -p "$dir"
	if [ ! -e "$TOP/configure" ] || [ "$TOP/configure.ac" -nt "$TOP/configure" ] ||
		[ "$TOP/Makefile.am" -nt "$TOP/Makefile.in" ]; then
		(cd "$TOP" && autoreconf -i) >"$dir/configure.log" 2>&1 || { cat "$dir/configure.log" >&2; return 1; }
	fi
	if [ ! -e "$dir/Makefile" ] || [ "$TOP/configure" -nt "$dir/Makefile" ] ||
		[ "$(cat "$dir/options" 2>/dev/null)" != "$*" ]; then
		(cd "$dir" && "$TOP/configure" "$@") >"$dir/configure.log" 2>&1 ||
			{ cat "$dir/configure.log" >&2; return 1; }
		[ "$(cat "$dir/options" 2>/dev/null)" = "$*" ] || make -C "$dir" clean >/dev/null
		printf '%s\n' "$*" >"$dir/options"
	fi
	make -C "$dir" -j "$(nproc)" >"$dir/make.log" 2>&1 || { cat "$dir/make.log" >&2; return 1; }
}

# The account that runs PostgreSQL and the pooler: ourselves, or one made for it when we are root.
ordinary_user() {
	if [ "$(id -u)" != 0 ]; then
		id -un
		return
	fi
	id pgsluice-test >/dev/null 2>&1 ||
		useradd --system --user-group --no-create-home --shell /usr/sbin/nologin pgsluice-test ||
		die "could not create the user pgsluice-test"
	echo pgsluice-test
}
