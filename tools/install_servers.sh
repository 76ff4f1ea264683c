#!/bin/sh
# Installs the database servers and poolers of other kinds that the test suite runs on. Never fails:
# whatever cannot be installed is said, and its tests are skipped. Starts no service and needs no
# question answered; does nothing where the programs are there already.
set -u

PATH="$PATH:/usr/sbin:/sbin"
missing=""

# The program that proves that a package is there, and the package of Debian and Ubuntu.
need() {
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need mariadbd mariadb-server-core
need pgbouncer pgbouncer

[ -n "$missing" ] || exit 0

skip() {
	echo "Not installed:$missing ($1). The tests that need them are skipped." >&2
	exit 0
}

command -v apt-get >/dev/null 2>&1 || skip "there is no apt-get here"
[ "$(id -u)" -eq 0 ] || skip "only root can; as root: apt-get install$missing"

echo "Installing for the tests:$missing ..."
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made=""
trap 'rm -f "$log" $made' EXIT

# What packages ask before they start a service; it is taken away again.
if [ ! -e "$policy" ]; then
	made="$policy"
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
fi

apt() {
	DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -o DPkg::Lock::Timeout=60 "$@" \
		</dev/null >"$log" 2>&1
}

# shellcheck disable=SC2086 # several packages
apt install --yes --no-install-recommends $missing && exit 0
# The lists may be old, or not there at all.
apt update
# shellcheck disable=SC2086
apt install --yes --no-install-recommends $missing && exit 0
skip "apt-get says: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log")"
