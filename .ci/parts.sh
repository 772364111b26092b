# The real parts that tests ask: found, or installed where we may. Sourced by `test`. What is found is promised to the
# tests by OUBLIETTE_REQUIRE_…: one that needs it fails where it would otherwise say that it is skipped.

# found NAME FUNCTION PACKAGE…: whether FUNCTION says that it is there, after an installation from the distribution if
# need be. What the installation says goes to a log.
found() {
    local name="$1" is_there="$2" log="$logs/install-$1.log"
    shift 2
    "$is_there" && return 0
    command -v apt-get >/dev/null || return 1
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get)
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || return 1
        install=(sudo -n "${install[@]}")
    fi
    echo "installing $*"
    "${install[@]}" install --yes --quiet --no-install-recommends "$@" >"$log" 2>&1 || {
        "${install[@]}" update --quiet >>"$log" 2>&1
        "${install[@]}" install --yes --quiet --no-install-recommends "$@" >>"$log" 2>&1
    }
    "$is_there"
}

# promise NAME FUNCTION WHAT PACKAGE…: sets OUBLIETTE_REQUIRE_NAME where the part is found; otherwise WHAT is skipped.
promise() {
    local name="$1" is_there="$2" what="$3"
    shift 3
    if found "$name" "$is_there" "$@"; then
        export "OUBLIETTE_REQUIRE_$name=1"
        echo "$* found"
    else
        skip "$what" "$* not found, and cannot be installed"
    fi
}

has_cryptography() { python3 -c 'import cryptography' >/dev/null 2>&1; }
has_tpm() { command -v swtpm >/dev/null && command -v tpm2_nvread >/dev/null; }
has_token() { command -v softhsm2-util >/dev/null; }
has_postgres() {
    for bin in /usr/lib/postgresql/*/bin; do [ -x "$bin/initdb" ] && return 0; done
    command -v initdb >/dev/null
}
has_nats() { [ -x /usr/sbin/nats-server ] || [ -x /usr/bin/nats-server ]; }
# The newest server, by Go's installer; Debian's is older, and lacks what appends several events at once.
newest_nats() {
    local server="$target/go-bin/nats-server"
    [ -x "$server" ] || {
        command -v go >/dev/null || return 1
        echo "installing nats-server by go"
        GOBIN="$target/go-bin" go install github.com/nats-io/nats-server/v2@latest >"$logs/install-nats.log" 2>&1 ||
            return 1
    }
    export OUBLIETTE_NATS_SERVER="$server"
}
has_kafka() { command -v java >/dev/null && command -v mvn >/dev/null; }
has_strace() { strace -o /dev/null true >/dev/null 2>&1; }
has_disks() {
    [ "$(id -u)" = 0 ] && command -v mkfs.ext4 >/dev/null && losetup --find >/dev/null 2>&1 || return 1
    # Where a container may not mount is only known by trying.
    local at
    at="$(mktemp -d)" && mkdir "$at/on" && truncate -s 4M "$at/image" || return 1
    mkfs.ext4 -q "$at/image" && mount -o loop "$at/image" "$at/on" && umount "$at/on"
    local mounts=$?
    rm -rf "$at"
    return "$mounts"
} >/dev/null 2>&1
has_script() { command -v script >/dev/null; }
has_age() { command -v age >/dev/null && command -v age-keygen >/dev/null; }

store_parts() {
    promise POSTGRES has_postgres "PostgreSQL: its own jsonb, and events in it" postgresql
    if newest_nats; then
        export OUBLIETTE_REQUIRE_NATS=1
        echo "nats-server found"
    else
        skip "NATS JetStream, a server that appends several events at once" "no Go that can install nats-server"
    fi
    promise NATS_OLD has_nats "NATS JetStream, an older server" nats-server
    promise KAFKA has_kafka "Apache Kafka" default-jre-headless maven
    return 0
}

real_parts() {
    store_parts
    # The vectors of docs/format.md are read by another implementation as well.
    if has_cryptography || { python_packages cryptography && has_cryptography; }; then
        export OUBLIETTE_REQUIRE_PYTHON=1
        echo "python3 with cryptography found"
    else
        skip "the vectors in Python" "python3 with the package cryptography not found, and cannot be installed"
        [ -z "${CI:-}" ] || return 1
    fi
    promise TPM has_tpm "the root slot in a TPM" swtpm tpm2-tools
    promise PKCS11 has_token "the root slot in a token" softhsm2
    promise STRACE has_strace "system calls watched and failed, block devices cut" strace
    promise DISKS has_disks "block devices cut and searched, full disks (as root)" e2fsprogs mount
    promise SCRIPT has_script "what is printed on a terminal" bsdutils
    promise AGE has_age "backups opened by the age command line" age
    return 0
}
