
# The login, after the probe: only if a parameter of Parameter Store is named. The
# machine's own role reads it; it goes to curl through a pipe, and is never printed.
#
# Environment:
#   ESLINK_PARAMETER  the parameter's name; empty: no login
#   ESLINK_REGION     its region
#
# Output, after the probe's:
#   login=<what>        sent, or why not: missing-aws, no-parameter, denied, unreadable, bad-parameter
#   logincurl=<exit status>
#   loginhttp=<status>
#   loginbody=<kind>    ok, refused or other
#   collections=<count> of those that the login may list
#   loginend=1
if [ -n "$ESLINK_PARAMETER" ]; then
  if ! command -v aws >/dev/null 2>&1; then
    echo login=missing-aws
  elif ! token=$(aws ssm get-parameter --name "$ESLINK_PARAMETER" --with-decryption --query Parameter.Value --output text --region "$ESLINK_REGION" 2>"$dir/err"); then
    if grep -q ParameterNotFound "$dir/err"; then echo login=no-parameter
    elif grep -q AccessDenied "$dir/err"; then echo login=denied
    else echo login=unreadable
    fi
  else
    case $token in
    '' | *[![:graph:]]* | *'"'* | *\\*) echo login=bad-parameter ;;
    *)
      echo login=sent
      : >"$dir/body"
      printf 'header = "Authorization: Bearer %s"\n' "$token" | curl -q -K - --noproxy '*' -s -S --connect-timeout 8 --max-time 20 --max-redirs 0 \
        --max-filesize 1048576 -o "$dir/body" -w 'http=%{http_code}' -H 'Content-Type: application/json' -d '{}' \
        "https://$ESLINK_HOST:$ESLINK_PORTS/v2/vectordb/collections/list" >"$dir/out" 2>/dev/null
      echo "logincurl=$?"
      http=http=0
      read -r http <"$dir/out" || :
      echo "loginhttp=${http#http=}"
      if grep -q '"code" *: *0[,}]' "$dir/body"; then
        echo loginbody=ok
        echo "collections=$(grep -o '"data" *: *\[[^]]*\]' "$dir/body" | grep -o '"[^"]*"' | sed 1d | grep -c .)"
      elif grep -q '"code" *:' "$dir/body"; then echo loginbody=refused
      else echo loginbody=other
      fi
      ;;
    esac
    token=
  fi
  echo loginend=1
fi
