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

# find_python: sets $python to a Python 3.11 or later that can make a virtual environment.
find_python() {
    python=$(suitable)
    [ -n "$python" ] && return
    debian_packages python3 python3-venv
    python=$(suitable)
    [ -n "$python" ] && return
    say "there is no Python 3.11 or later here. Debian 12 and later have one: apt-get install -y python3 python3-venv"
    exit 69
}

PROBE='import ensurepip, os, sys, venv; print(os.path.realpath(sys.executable)); sys.exit(sys.version_info < (3, 11))'

# suitable: prints the first such Python on the path, or nothing. Each one is tried, because a name on the path may be a wrapper for a
# version that is not there. What root makes is for others too: a Python below somebody's home is taken only when there is no other.
suitable() (
    IFS=:
    at_home=''
    for directory in $PATH; do
        for name in python3.13 python3.12 python3.11 python3; do
            place=$("$directory/$name" -c "$PROBE" 2>/dev/null) || continue
            case $(is_root && printf '%s' "$place") in
                ~root/* | /home/*) at_home=${at_home:-$directory/$name} ;;
                *) printf '%s' "$directory/$name" && exit ;;
            esac
        done
    done
    [ -n "$at_home" ] || exit 0
    say "the only Python here, $at_home, lies below a home directory, where the users of the services cannot reach it. For a real site:"
    say "    apt-get install -y python3 python3-venv, remove $here/.venv, and run this again"
    printf '%s' "$at_home"
)

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
    for place in "$here" "$here/.venv" "$here/.venv.lock"; do
        if [ -e "$place" ] && [ ! -w "$place" ]; then
            say "the packages that $* names have to be installed into $here/.venv, and this user cannot write $place."
            say "    Run $here/outpost --help once as the user who owns that directory, or with sudo."
            exit 77
        fi
    done
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
