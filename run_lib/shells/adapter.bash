_score_pc() {
  # Bash breaks words at = and :, so the line is read anew, up to the cursor.
  local line="${COMP_LINE:0:COMP_POINT}" mode= before= word= each kept
  local -a parts
  read -ra parts <<< "$line"
  case "$line" in *[[:space:]]) parts+=("") ;; esac
  word="${parts[${#parts[@]}-1]}"
  [ "${#parts[@]}" -gt 1 ] && before="${parts[${#parts[@]}-2]}"
  local at
  for ((at = 0; at < ${#parts[@]} - 1; at++)); do
    case "${parts[at]}" in --mode) mode="${parts[at+1]}" ;; --mode=*) mode="${parts[at]#--mode=}" ;; esac
  done
  COMPREPLY=()
  while IFS= read -r each; do COMPREPLY+=("$each"); done < <(_score_pc_candidates "$mode" "$before" "$word")
  # Of what it replaces, the shell takes the part behind the last = that it breaks words at.
  case "$word" in
    *=*) if [[ "$COMP_WORDBREAKS" == *=* ]]; then
        kept="${word%=*}="
        COMPREPLY=("${COMPREPLY[@]#"$kept"}")
      fi ;;
  esac
  case "${COMPREPLY[*]}" in *. | *=) compopt -o nospace 2> /dev/null ;; esac
  return 0
}

# python main.py ...: words of other programs of Python's are completed as files.
_score_pc_python() {
  case "$COMP_LINE" in
    *main.py\ *) _score_pc ;;
    *) COMPREPLY=() ;;
  esac
}

complete -o bashdefault -o default -F _score_pc score-pc
complete -o bashdefault -o default -F _score_pc_python python python3
