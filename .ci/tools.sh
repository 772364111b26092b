# Tools of others that our scripts run: a function each for finding or installing them. Sourced, by scripts that
# stand in the root of the repository.

target="$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)" || exit 1
python="$target/test-python"

# python_packages PACKAGE…: installs them for this repository alone, and puts their programs on the path.
python_packages() {
    command -v python3 >/dev/null || return 1
    local install="python3 -m pip install --quiet --disable-pip-version-check"
    if [ -x "$python/bin/python3" ] || python3 -m venv "$python" 2>/dev/null; then
        PATH="$python/bin:$PATH"
        export PATH
        $install "$@"
    else
        # A Python without venv may still have pip.
        rm -rf "$python"
        PYTHONPATH="$python-packages${PYTHONPATH:+:$PYTHONPATH}"
        PATH="$python-packages/bin:$PATH"
        export PATH PYTHONPATH
        $install --target "$python-packages" "$@"
    fi
}

# cargo_tool NAME: `cargo NAME`, as it is installed, or as a built program. Its folder comes last on the path, so that
# the Python beside it is not the one that tests run.
cargo_tool() {
    cargo "$1" --version >/dev/null 2>&1 && return 0
    local tools="$target/cargo-tools"
    (python="$tools" && python_packages "astral-dev-toolchain-cargo-$1") >/dev/null 2>&1
    PATH="$PATH:$tools/bin:$tools-packages/bin"
    export PATH
    cargo "$1" --version >/dev/null 2>&1
}
