# The probe: seen from this machine, does a host answer, and who answers?
#
# Environment:
#   ESLINK_HOST   the host's name
#   ESLINK_PORTS  its ports, with spaces between; they are tried in turn until one answers
#   ESLINK_AUTH   the value of a Basic Authorization header; empty or unset: none
#
# Output: lines key=value, under 1 kB, none of them text that the host sent. In order:
#   probe=1                 the script runs
#   missing=<tool>          a tool that this machine lacks; nothing follows
#   ip=<address>            what the name resolves to here, a line an address
#   port=<port>             what follows is about this port
#   curl=<exit status>      0 when there is an HTTP response, whatever it says
#   connect=<why>           of curl=7: refused, no-route or other
#   http=<status>           0 when there is no response
#   verify=<code>           of the certificate chain, by X.509; 0: valid
#   body=<kind>             tagline, filter, elasticsearch or other
#   end=1                   nothing is cut off
set -u
LC_ALL=C
export LC_ALL
# A proxy would answer in the host's place.
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
echo probe=1
for tool in curl getent mktemp grep sort head; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "missing=$tool"
    exit 0
  fi
done
umask 077
dir=$(mktemp -d) || { echo missing=mktemp; exit 0; }
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

getent ahostsv4 "$ESLINK_HOST" 2>/dev/null | while read -r ip rest; do echo "ip=$ip"; done | sort -u | head -n 8

# get asks for the root of the host. Without a login it is verbose, since only then
# curl says why a connection failed; with one it is not, since curl would print it.
# The login goes through a pipe: never in an argument list, never in a file.
get() {
  set -- --noproxy '*' -s -S --connect-timeout 8 --max-time 20 --max-redirs 0 --max-filesize 65536 \
    -o "$dir/body" -w 'http=%{http_code} verify=%{ssl_verify_result}' "https://$ESLINK_HOST:$1/"
  : >"$dir/body"
  if [ -n "${ESLINK_AUTH:-}" ]; then
    printf 'header = "Authorization: Basic %s"\n' "$ESLINK_AUTH" | curl -q -K - "$@" >"$dir/out" 2>/dev/null
  else
    curl -q -v "$@" >"$dir/out" 2>"$dir/err"
  fi
}

for port in $ESLINK_PORTS; do
  echo "port=$port"
  : >"$dir/err"
  get "$port"
  exit=$?
  echo "curl=$exit"
  if [ "$exit" = 7 ]; then
    if grep -q 'No route to host' "$dir/err"; then echo connect=no-route
    elif grep -q 'Connection refused' "$dir/err"; then echo connect=refused
    else echo connect=other
    fi
  fi
  http=0 verify=0
  read -r http verify <"$dir/out" || :
  echo "http=${http#http=}"
  echo "verify=${verify#verify=}"
  if grep -q 'You Know, for Search' "$dir/body"; then echo body=tagline
  elif grep -q -e '"message" *: *"Forbidden"' -e 'traffic filtering' "$dir/body"; then echo body=filter
  elif grep -q -e '"root_cause"' -e '"tagline"' -e '"cluster_name"' "$dir/body"; then echo body=elasticsearch
  else echo body=other
  fi
  [ "$exit" = 0 ] && break
done
echo end=1
