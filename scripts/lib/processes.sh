# shellcheck shell=bash disable=SC2154  # name, dir, data and stop_seconds are the caller's
# The processes of one of scripts/server's servers: started, found, signalled, waited for.

# In a session of its own, holding none of the caller's files: it neither dies with the caller nor keeps it waiting.
launch() {
  (
    cd "$data" || exit # before the process begins: from its first instant on it is one of processes()
    (
      for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        if ((fd > 2)); then exec {fd}>&-; fi
      done
      exec </dev/null >>"$dir/log" 2>&1
      exec setsid "$@"
    ) &
    echo $! >"$dir/pid"
  )
}

# Every process of a server works in its data directory, and no other process does; so nothing is missed, and no process
# that was given an old process id by chance is taken for one of them.
processes() {
  local proc
  for proc in /proc/[0-9]*; do
    [[ $proc/cwd -ef $data ]] && echo "${proc##*/}"
  done
  return 0
}

is_running() { [[ -n $(processes) ]]; }

main_process() { cat "$dir/pid" 2>/dev/null; }

# S, T, Z, ... as in ps; nothing if there is no such process.
state_of() {
  local stat=
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
  stat=${stat##*) }
  echo "${stat:0:1}"
}

# A zombie without further threads holds nothing any more; when its parent (often process 1) reaps it is not our matter.
has_exited() {
  local threads=("/proc/$1/task"/*)
  [[ ! -e /proc/$1 ]] || { ((${#threads[@]} <= 1)) && [[ $(state_of "$1") == Z ]]; }
}

signal_all() {
  local pids
  read -r -d '' -a pids < <(processes) || true # read fails at the end of input, which is where it stops
  # Some may be gone meanwhile. Whether the signal took is asked by the callers, of the processes themselves.
  ((${#pids[@]} == 0)) || kill "-$1" "${pids[@]}" 2>/dev/null || true
}

# A large process leaves its working directory before its last thread has closed its files: wait for those named, too.
wait_until_gone() {
  local pid deadline=$((SECONDS + stop_seconds))
  while is_running; do
    ((SECONDS < deadline)) || fail "$name still runs after $stop_seconds s (process $(main_process), log $dir/log)"
    sleep 0.02
  done
  for pid in "$@"; do
    until has_exited "$pid"; do
      ((SECONDS < deadline)) || fail "$name: process $pid does not exit"
      sleep 0.01
    done
  done
}
