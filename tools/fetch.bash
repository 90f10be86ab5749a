# Makes sure that other projects' programs are there: the system's own, or Debian's packages unpacked below target/,
# without installing anything. Sourced by the tools that need some, which say what in these variables, and in a
# function `works` that tells whether those in "$home/bin" do:
#   tool      its name in messages, and of the folder below target/
#   programs  what is needed
#   packages  Debian's packages, as name=version; another version does, with a note
#   advice    what to install where this does not help

home=$PWD/target/$tool

say() { echo "tools/$tool: $*" >&2; }

give_up() {
    say "$1"
    say "$advice"
    exit 1
}

# All programs in one folder, whatever sbin they come from.
link_system() {
    local program path
    for program in "${programs[@]}"; do
        path=$(PATH=$PATH:/usr/local/sbin:/usr/sbin command -v "$program") || return 1
        ln -sf "$path" "$home/bin/$program"
    done
}

missing_libraries() {
    apt-cache depends "${packages[@]%%=*}" | sed -nE 's/^ *\|?Depends: (lib[^ ]+)$/\1/p' | sort -u |
        while read -r library; do
            dpkg-query --show --showformat='${db:Status-Status}\n' "$library" 2>/dev/null | grep -q '^installed$' || echo "$library"
        done
}

download() {
    local wanted
    rm -f ./*.deb
    for wanted in "${packages[@]}"; do
        apt-get download -q "$wanted" >&2 2>/dev/null || {
            say "${wanted/=/ } is not to be had, taking what is"
            apt-get download -q "${wanted%%=*}" >&2 || return 1
        }
    done
    # One by one: of alternatives, some may not exist.
    for wanted in $(missing_libraries); do
        case " ${packages[*]}" in
            *" $wanted="*) ;;
            *) apt-get download -q "$wanted" >&2 || true ;;
        esac
    done
}

unpack() {
    local deb program libraries
    for deb in ./*.deb; do
        dpkg-deb --extract "$deb" root || return 1
    done
    libraries=$(find "$PWD/root" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd :)
    for program in "${programs[@]}"; do
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "%s" "$@"\n' \
            "$libraries" "$(find "$PWD/root" -type f -name "$program" -path '*bin/*')" >"bin/$program"
        chmod +x "bin/$program"
    done
}

# Prints the folder that they are in.
fetch() {
    mkdir -p "$home/bin"
    if ! works && ! { link_system && works; }; then
        rm -rf "${home:?}"
        mkdir -p "$home/bin"
        cd "$home"
        command -v apt-get >/dev/null || give_up "there is no ${programs[0]}, and no apt-get to fetch it with"
        say "fetching ${programs[0]} into target/$tool"
        if ! download; then
            apt-get update -q >&2 || give_up "${programs[0]} cannot be fetched: apt-get update has failed (no network, or not root)"
            download || give_up "${programs[0]} cannot be fetched"
        fi
        unpack || give_up "the packages cannot be unpacked"
        works || give_up "what was fetched does not run: $("$home/bin/${programs[0]}" -h 2>&1 | head -1)"
    fi
    echo "$home/bin"
}
