#!/usr/bin/env bash
# Installs the build in $1 into a fresh folder and builds a small program against it, by find_package(prosa) and by
# pkg-config; then makes the packages, and runs the program out of each: out of the tarball, and out of the Debian
# package in a root that holds nothing else but the libraries that the package names.
set -euo pipefail
build=$1
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; exit 1; }

# has_files ROOT: the program and everything around it, below ROOT.
has_files() {
  local file
  for file in bin/prosa include/prosa/chat.h share/prosa/models/prosa-mini/config.json share/man/man1/prosa.1 \
    share/man/man1/prosa-chat.1 share/bash-completion/completions/prosa share/fish/vendor_completions.d/prosa.fish \
    share/zsh/*/_prosa share/doc/prosa/LICENSE; do
    compgen -G "$1/$file" >/dev/null || fail "there is no $1/$file"
  done
}

cmake --install "$build" --prefix "$work/prefix" >/dev/null
has_files "$work/prefix"
cmake -S "$here/consumer" -B "$work/consumer" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/consumer" >/dev/null
"$work/consumer/consumer" | grep -qx 'not_found'
if [ -x "$work/consumer/voice_consumer" ]; then "$work/consumer/voice_consumer" | grep -qx energy; fi
"$work/prefix/bin/prosa" --version | grep -q '^prosa [0-9]'
# The installed program finds the installed model, not the one of the source tree.
"$work/prefix/bin/prosa" inspect >"$work/answer"
grep -q "$work/prefix/share/prosa/models/prosa-mini" "$work/answer"

pc=$(dirname -- "$(find "$work/prefix" -name prosa.pc)")
read -ra flags < <(PKG_CONFIG_PATH=$pc pkg-config --libs prosa)
c++ "$work/consumer/CMakeFiles/consumer.dir/main.cpp.o" "${flags[@]}" -o "$work/by-pkg-config"
LD_LIBRARY_PATH=$(dirname -- "$pc") "$work/by-pkg-config" | grep -qx 'not_found'

generators=TGZ
if command -v dpkg-shlibdeps >/dev/null && command -v dpkg-deb >/dev/null; then generators="DEB;TGZ"; fi
(cd "$work" && cpack --config "$build/CPackConfig.cmake" -G "$generators" -B "$work/packages") >"$work/log" 2>&1 ||
  { tail -n 15 "$work/log"; exit 1; }

mkdir "$work/unpacked"
tar -xzf "$work"/packages/prosa-*.tar.gz -C "$work/unpacked" --strip-components=1
has_files "$work/unpacked"
"$work/unpacked/bin/prosa" inspect >"$work/answer"
grep -q "$work/unpacked/share/prosa/models/prosa-mini" "$work/answer"

if [ "$generators" != TGZ ]; then
  root=$work/root
  mkdir -p "$root/proc"
  dpkg-deb --extract "$work"/packages/prosa_*.deb "$root"
  has_files "$root/usr"
  depends=$(dpkg-deb --field "$work"/packages/prosa_*.deb Depends)
  # Every library that it is linked with comes from a package that it depends on, or from one that those bring.
  for package in libc6 libstdc++6 libfmt9; do
    [[ ", $depends" == *", $package"* ]] || fail "the package does not depend on $package: $depends"
  done
  while read -r library; do
    mkdir -p "$root$(dirname -- "$library")"
    cp -L "$library" "$root$library"
  done < <(ldd "$root/usr/bin/prosa" | grep -o '/[^ ]*')
  if unshare --map-root-user --mount true 2>/dev/null; then
    unshare --map-root-user --mount bash -c \
      "mount --rbind /proc '$root/proc' && chroot '$root' /usr/bin/prosa chat 'What is a violin?' --max-tokens 8" >"$work/answer"
  else
    "$root/usr/bin/prosa" chat "What is a violin?" --max-tokens 8 >"$work/answer"
  fi
  grep -q '[a-z]' "$work/answer" || fail "the package's prosa has no answer in a root of its own"
fi
echo "an installed prosa can be built against and runs, and so do its packages"
