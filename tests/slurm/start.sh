#!/usr/bin/env bash
# Starts a Slurm of one node on this machine, for tests, and prints the path of its configuration:
#
#     export SLURM_CONF="$(tests/slurm/start.sh [FOLDER])"
#     srun hostname
#     tests/slurm/stop.sh [FOLDER]
#
# All of it lives in FOLDER (default: target/slurm) and listens on loopback alone. It needs neither systemd nor control
# groups, so a bare container will do. Debian's packages are installed if they are missing, which needs root. Started
# twice, it says the same again.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${1:-$here/../../target/slurm}"
export PATH="$PATH:/usr/sbin:/sbin"

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for log in "$@"; do
        if [ -s "$log" ]; then
            printf -- '--- the end of %s\n' "$log" >&2
            tail -n 15 "$log" >&2
        fi
    done
    "$here/stop.sh" "$folder" || true
    exit 1
}

# start DAEMON CHECK: starts it in the background and waits until CHECK succeeds, for at most a minute. Tries are
# counted and not seconds: a machine may stand still for a while.
start() {
    local pid try
    setsid "$1" -D </dev/null >"$folder/$1.log" 2>&1 &
    pid=$!
    for try in {1..600}; do
        if "$2"; then
            return
        fi
        kill -0 "$pid" 2>/dev/null || fail "$1 has ended at once" "$folder/$1.log"
        sleep 0.1
    done
    fail "$1 does not get ready within a minute" "$folder/$1.log"
}

controller_answers() {
    timeout 5 scontrol ping 2>/dev/null | grep -q 'is UP'
}

# What the controller says of the node; an asterisk after it means that the node does not answer.
node_state() {
    timeout 5 sinfo --noheader --format=%T 2>/dev/null
}

node_is_idle() {
    [ "$(node_state)" = idle ]
}

node_is_at_work() {
    case "$(node_state)" in idle | mixed | allocated | completing) ;; *) return 1 ;; esac
}

in_use() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
# Folders are given to the daemons in files that know no quotes, and the name of a socket holds 107 characters.
case "$folder" in *[[:space:]\#]*) fail "$folder: Slurm's configuration cannot name a folder with spaces" ;; esac
[ "${#folder}" -le 90 ] || fail "$folder: the path is too long for a socket; give a shorter folder"

missing=()
command -v sbatch >/dev/null && command -v slurmctld >/dev/null && command -v slurmd >/dev/null || missing+=(slurm-wlm)
command -v munged >/dev/null || missing+=(munge)
if [ "${#missing[@]}" -gt 0 ]; then
    [ "$(id -u)" = 0 ] || fail "${missing[*]}: not installed; install with apt-get, or run this as root"
    command -v apt-get >/dev/null || fail "${missing[*]}: not installed, and there is no apt-get to install with"
    printf 'installing %s\n' "${missing[*]}" >&2
    {
        apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
    } >"$folder/install.log" 2>&1 </dev/null || fail "${missing[*]} cannot be installed" "$folder/install.log"
fi

export SLURM_CONF="$folder/slurm.conf"
if [ -e "$SLURM_CONF" ]; then
    if controller_answers && node_is_at_work; then
        printf '%s\n' "$SLURM_CONF"
        exit
    fi
    "$here/stop.sh" "$folder"
fi

port=16817
while in_use "$port" || in_use $((port + 1)); do
    port=$((port + 2))
done
user="$(id -un)"
node="$(hostname -s)"
mkdir -p -m 755 "$folder"/{state,spool}
cat >"$SLURM_CONF" <<CONFIGURATION
ClusterName=klayer
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
# A requeued job starts again when its old credentials have expired, after two minutes where this is not set.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=256
# What can start does so at once.
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
ReturnToService=2
KillWait=5
# Four processors, whatever the machine has: elements of an array run side by side.
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 RealMemory=4096 State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONFIGURATION

if [ ! -e "$folder/munge.key" ]; then
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
fi
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" </dev/null >"$folder/munged.out" 2>&1 ||
    fail "munged does not start" "$folder/munged.out" "$folder/munged.log"
cd "$folder"
start slurmctld controller_answers
start slurmd node_is_idle
printf '%s\n' "$SLURM_CONF"
