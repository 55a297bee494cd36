#!/usr/bin/env bash
# An authority of your own, a certificate for the collector, and one for each agent.
set -euo pipefail
umask 077

usage() {
  cat <<'TEXT'
deploy/certificates.sh DIR COLLECTOR AGENT...

Makes in DIR: ca.pem and ca.key (once), COLLECTOR.pem and .key, and AGENT.pem and .key for each agent, with openssl.
COLLECTOR is the name or address that agents connect to. What is there already stays: call it again for more agents.

  deploy/certificates.sh tls collector.example berlin-1 london-1
  DEPLOYMENT=acme DAYS=90 deploy/certificates.sh tls 192.0.2.7 berlin-1

An agent's certificate says who it is: spiffe://DEPLOYMENT/tenant/default/agent/UUID. Take to the collector its own pair
and ca.pem, to an agent its own pair and ca.pem; ca.key is for issuing alone, and belongs on neither.
TEXT
}

case "${1:-}" in --help | -h | "") usage; exit $(( $# == 0 ? 2 : 0 )) ;; esac
[ $# -ge 3 ] || { usage >&2; exit 2; }
dir=$1 collector=$2
shift 2
days=${DAYS:-365} deployment=${DEPLOYMENT:-probefleet}
mkdir -p "$dir"
cd "$dir"

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
quiet() { local said; said=$("$@" 2>&1) || { echo "$said" >&2; exit 3; }; }

if [ ! -e ca.pem ]; then
  quiet openssl req -x509 "${new_key[@]}" -days 3650 -subj "/CN=Probefleet authority" -keyout ca.key -out ca.pem
  echo "ca.pem: an authority of your own, for 10 years"
fi

# NAME, its subject alternative name, and what it is for.
issue() {
  if [ -e "$1.pem" ]; then echo "$1.pem: is there already"; return; fi
  quiet openssl req "${new_key[@]}" -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  printf 'subjectAltName=%s\nextendedKeyUsage=%s\n' "$2" "$3" >"$1.ext"
  quiet openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -days "$days" -extfile "$1.ext" -out "$1.pem"
  rm "$1.csr" "$1.ext"
  echo "$1.pem: $2, for $days days"
}

case "$collector" in
  *[!0-9.]*) [[ $collector == *:* ]] && kind=IP || kind=DNS ;;
  *) kind=IP ;;
esac
issue "$collector" "$kind:$collector" serverAuth
for agent in "$@"; do
  # Version 7 of RFC 9562: milliseconds since 1970, then chance.
  printf -v now '%012x' "$(date +%s%3N)"
  chance=$(od -An -N10 -tx1 /dev/urandom | tr -d ' \n')
  uuid="${now:0:8}-${now:8:4}-7${chance:0:3}-8${chance:3:3}-${chance:6:12}"
  issue "$agent" "URI:spiffe://$deployment/tenant/default/agent/$uuid" clientAuth
done
