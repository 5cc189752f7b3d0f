#!/usr/bin/env bash
# A release build that is laid out by what the program does under load (profile-guided optimisation). It builds twice and
# runs the loads of benches/relay between the two: about half an hour on two cores.
#
#   benches/pgo.sh      makes target/pgo/millstream
#
# It needs llvm-profdata of rustc's own LLVM: `rustup component add llvm-tools`, or Debian's package llvm-NN.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

version() { rustc -vV | sed -n "s/^$1: //p"; }
host=$(version host)
llvm=$(version 'LLVM version')
profdata=$(compgen -G "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" || command -v "llvm-profdata-${llvm%%.*}" || true)
if [[ -z $profdata ]]; then
    echo "no llvm-profdata of LLVM ${llvm%%.*}: rustup component add llvm-tools, or apt-get install llvm-${llvm%%.*}" >&2
    exit 1
fi

made=$PWD/target/pgo
counts=$made/counts
# Both builds in one folder and for a named target: so functions have the same names in both, and build scripts are left alone.
build() {
    RUSTFLAGS="$1" cargo build --release --locked --bin millstream --target "$host" --target-dir "$made"
    cp "$made/$host/release/millstream" "$2"
}

rm -rf "$counts"
build "-Cprofile-generate=$counts" "$made/counting"
# Every way that a request and a chunk can take, each for a few seconds.
loads=paced-300,paced-1000x20,bulk-batched,unary,churn-300,tls-300,h2up,h2down
cargo bench --locked --bench relay -- --millstream "$made/counting" --peers millstream,millstream-uring \
    --scenario "$loads" --rounds 1 --seconds 3
"$profdata" merge -o "$made/profile" "$counts"/*.profraw
build "-Cprofile-use=$made/profile" "$made/millstream"
echo "$made/millstream"
