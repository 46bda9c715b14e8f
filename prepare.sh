# Read by ./outpost and ./test: what must be on the machine before either can run. POSIX sh.
# Expects $here, the directory of the repository. Speaks on standard error only.
: "${here:?}"

say() { printf 'outpost: %s\n' "$*" >&2; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# debian_line PACKAGE...: the one line that a person has to run.
debian_line() {
    say "missing Debian packages. This line installs them:"
    say "    sudo apt-get install -y $*"
}

# debian_packages PACKAGE...: installs them as root; anyone else is told what to run, and the command ends.
debian_packages() {
    if ! is_root || ! command -v apt-get >/dev/null 2>&1; then
        debian_line "$@"
        exit 69
    fi
    say "installing the Debian packages $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >&2 || say "the lists of packages could not be renewed; going on with those that are here"
    apt-get -qq install -y --no-install-recommends "$@" >&2
}

# find_python: sets $python to the first Python 3.11 or later that can make a virtual environment. Each one is tried,
# because a name on the path may be a wrapper for a version that is not there.
find_python() {
    for attempt in first second; do
        for python in python3.13 python3.12 python3.11 python3; do
            "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && return
        done
        [ "$attempt" = first ] || break
        debian_packages python3 python3-venv
    done
    say "there is no Python 3.11 or later here. Debian 12 and later have one: apt-get install -y python3 python3-venv"
    exit 69
}

# prepare LOCKFILE...: the virtual environment .venv holds exactly what each lock file names. A lock file that did not change
# since it was installed costs one checksum. Two first runs at the same time wait for each other.
prepare() {
    command -v openssl >/dev/null 2>&1 || debian_packages openssl
    for lockfile; do
        up_to_date "$lockfile" || {
            install_locked "$@"
            return
        }
    done
}

stamp_of() { printf '%s/.venv/%s.sha256' "$here" "$(printf '%s' "$1" | tr / -)"; }

up_to_date() {
    [ -x "$here/.venv/bin/python" ] && (cd "$here" && sha256sum --status -c "$(stamp_of "$1")") 2>/dev/null
}

install_locked() (
    exec 9>"$here/.venv.lock"
    flock 9
    if ! "$here/.venv/bin/python" -c '' >/dev/null 2>&1; then
        find_python
        say "making .venv with $("$python" --version) (only on first use)"
        "$python" -m venv --clear "$here/.venv" >&2
    fi
    for lockfile; do
        up_to_date "$lockfile" && continue
        say "installing what $lockfile names (only when it changed)"
        "$here/.venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
            --only-binary :all: --require-hashes -r "$here/$lockfile" >&2
        (cd "$here" && sha256sum "$lockfile") >"$(stamp_of "$lockfile")"
    done
)
