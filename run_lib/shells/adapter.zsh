_score_pc() {
  local mode= before="${words[CURRENT-1]}" word="$PREFIX" at
  for ((at = 1; at < CURRENT; at++)); do
    case "${words[at]}" in --mode) mode="${words[at+1]}" ;; --mode=*) mode="${words[at]#--mode=}" ;; esac
  done
  local -a found open whole
  found=("${(@f)$(_score_pc_candidates "$mode" "$before" "$word")}")
  open=("${(@M)found:#*[.=]}") whole=("${(@)found:#*[.=]}")
  [ -n "${open[*]}" ] && compadd -S '' -- $open
  [ -n "${whole[*]}" ] && compadd -- $whole
  [ -n "${found[*]}" ] || _files
}

# python main.py ...: words of other programs of Python's are completed as files.
_score_pc_python() {
  if [[ "${words[*]}" == *main.py\ * ]]; then _score_pc; else _files; fi
}

(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _score_pc score-pc
compdef _score_pc_python python python3
