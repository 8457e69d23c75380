#!/usr/bin/env bash
# Installs from Debian the commands that are absent: those named as COMMAND:PACKAGE or FILE:PACKAGE, or what the tests run.
# Says what is missing where it can't.
set -euo pipefail
[ $# -gt 0 ] || set -- redis-server:redis-server curl:curl python3:python3 nginx:nginx \
    /usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so:libnginx-mod-http-headers-more-filter
missing=()
for tool in "$@"; do
    [ -e "${tool%%:*}" ] || command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (Debian: apt-get install ${missing[*]})" >&2
    exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
