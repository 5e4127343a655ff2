# A server over standard input and output that answers, hangs, floods and dies as it is asked.
# $NOTES names a file that it writes what it saw to.
say() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
note() { printf '%s\n' "$1" >>"$NOTES"; }
schema='{"type":"object","properties":{"text":{"type":"string"}},"additionalProperties":false}'
tool() { printf '{"name":"%s","inputSchema":%s}' "$1" "$schema"; }

note "pid $$"
env | sort | sed 's/^/env /' >>"$NOTES"
echo "a word on standard error" >&2
sleep 1000 &
note "child $!"

while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case $line in
    *'"method":"initialize"'*)
      [ -n "$SILENT" ] && continue
      say '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}' ;;
    *'"method":"tools/list"'*'"cursor":"more"'*)
      say "{\"tools\":[$(tool failing),$(tool large),$(tool nothing),$(tool secret)]}" ;;
    *'"method":"tools/list"'*)
      list=$(tool echo)
      for name in structured several picture hanging dying flooding wrong broken; do list="$list,$(tool $name)"; done
      say "{\"tools\":[$list],\"nextCursor\":\"more\"}" ;;
    *'"method":"notifications/cancelled"'*) note "cancelled" ;;
    *'"method":"tools/call"'*)
      note "call $line"
      case $line in
        *'"name":"echo"'*) say '{"content":[{"type":"text","text":"{\"a\":1}"}]}' ;;
        *'"name":"structured"'*) say '{"content":[{"type":"text","text":"x"}],"structuredContent":{"price":12.50}}' ;;
        *'"name":"several"'*) say '{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}' ;;
        *'"name":"picture"'*) say '{"content":[{"type":"text","text":"a"},{"type":"image","data":"AAAA","mimeType":"image/png"}]}' ;;
        *'"name":"failing"'*) say '{"content":[{"type":"text","text":"tell-tale"}],"isError":true}' ;;
        *'"name":"nothing"'*) say '{"content":[]}' ;;
        *'"name":"large"'*) say "{\"content\":[{\"type\":\"text\",\"text\":\"$(head -c 70000 /dev/zero | tr '\0' a)\"}]}" ;;
        *'"name":"wrong"'*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"tell-tale"}}\n' "$id" ;;
        *'"name":"broken"'*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"tell-tale"}}\n' "$id" ;;
        *'"name":"flooding"'*) head -c 5000000 /dev/zero | tr '\0' a ;;
        *'"name":"dying"'*) exit 3 ;;
      esac ;;
  esac
done
[ -n "$STUBBORN" ] && { trap '' TERM; note "input closed"; sleep 1000; }
note "ended"
