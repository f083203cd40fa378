#!/bin/sh
# Installs the named Debian packages that are missing. No service is started by
# it: the tests run their own, in private machines.
set -eu

missing=
for p in "$@"; do
	case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true) in
	installed) ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

echo "installing the Debian packages that the tests talk to:$missing"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
# The lists may be older than the packages: try again after an update.
apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
	apt-get update -q
	apt-get install -y --no-install-recommends $missing
}
