# Steps that are timed, each in a part that has a budget, and a report at the end. Sourced.

parts=()         # names, in their order
declare -A budget=() spent=() steps_of=()
passed=() failed=() skipped=()

heading() { printf '\n== %s\n' "$1"; }

# part NAME [MINUTES]: the steps that follow belong to it. Its minutes are what it may take on two cores, from nothing.
part() {
    current="$1"
    [ -n "${spent[$1]:-}" ] && return
    parts+=("$1") budget[$1]=$((${2:-0} * 60)) spent[$1]=0 steps_of[$1]=""
}

# step NAME COMMAND…: runs it, and remembers how it went.
step() {
    local name="$1" began=$SECONDS took mark=""
    shift
    heading "$name"
    if "$@"; then passed+=("$name"); else failed+=("$name") mark="  FAILED"; fi
    took=$((SECONDS - began))
    printf -- '-- %s: %s s%s\n' "$name" "$took" "$mark"
    spent[$current]=$((spent[$current] + took))
    steps_of[$current]+="$(printf '%9d s  %s%s' "$took" "$name" "$mark")"$'\n'
}

# skip NAME WHY: what is not checked here is said at once, and again at the end.
skip() {
    echo "SKIPPED: $1: $2"
    skipped+=("$1: $2")
}

# noting_skips COMMAND…: what it says is SKIPPED comes again at the end.
noting_skips() {
    local line code
    "$@" 2>&1 | tee "$logs/said"
    code=${PIPESTATUS[0]}
    while read -r line; do skipped+=("${line#SKIPPED: }"); done < <(grep '^SKIPPED' "$logs/said")
    return "$code"
}

# quietly NAME COMMAND…: its output goes to a log, and is shown only if it fails.
quietly() {
    local log="$logs/$1.log"
    shift
    if "$@" >"$log" 2>&1 </dev/null; then echo "ok, $log"; else
        cat "$log"
        return 1
    fi
}

# Prints the time of each part and step, what was skipped and what failed. False if something failed.
report() {
    local name limit
    heading "time"
    for name in "${parts[@]}"; do
        limit=""
        if [ "${budget[$name]}" -gt 0 ]; then
            limit=" of ${budget[$name]}"
            [ "${spent[$name]}" -gt "${budget[$name]}" ] && limit+=", OVER its budget"
        fi
        printf '%5d s  %s%s\n%s' "${spent[$name]}" "$name" "$limit" "${steps_of[$name]}"
    done
    heading "summary"
    echo "passed: ${#passed[@]} of $((${#passed[@]} + ${#failed[@]})) steps in $SECONDS s"
    if [ "${#skipped[@]}" -gt 0 ]; then printf 'SKIPPED: %s\n' "${skipped[@]}"; fi
    if [ "${#failed[@]}" -gt 0 ]; then
        printf 'FAILED: %s\n' "${failed[@]}"
        return 1
    fi
    echo "all is well"
}
