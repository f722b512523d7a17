# Completion of score-pc's command line, made by: python main.py --mode completion SHELL

# Prints the words that may stand where the third argument is written, those that begin like it.
# Arguments: the mode of the line (or nothing), the word before, the word itself.
_score_pc_candidates() {
  local mode="$1" before="$2" word="$3" line
  _score_pc_words "$mode" "$before" "$word" | while IFS= read -r line; do
    case "$line" in "$word"*) printf '%s\n' "$line" ;; esac
  done
}

_score_pc_words() {
  local mode="$1" before="$2" word="$3" line field
  case "$word" in
    --config=*) _score_pc_configs | while IFS= read -r line; do printf '%s\n' "--config=$line"; done; return ;;
    --mode=*) _score_pc_modes | while IFS= read -r line; do printf '%s\n' "--mode=$line"; done; return ;;
    --config.*=*)
      field="${word%%=*}"
      _score_pc_values "${field#--config.}" | while IFS= read -r line; do printf '%s\n' "$field=$line"; done
      return ;;
    --config.*.*) _score_pc_fields | while IFS= read -r line; do printf '%s\n' "--config.$line="; done; return ;;
    --config.*) _score_pc_sections; return ;;
    -*) _score_pc_flags; printf '%s\n' --config.; return ;;
  esac
  case "$before" in
    --config) _score_pc_configs; return ;;
    --mode) _score_pc_modes; return ;;
    --config.*) _score_pc_values "${before#--config.}"; return ;;
  esac
  if [ "$mode" = list ]; then _score_pc_components; else _score_pc_after "$mode"; fi
}

# The first level of fields: sections with a dot, fields of none with an equals sign.
_score_pc_sections() {
  local line last=
  _score_pc_fields | while IFS= read -r line; do
    case "$line" in
      *.*) line="${line%%.*}."; [ "$line" = "$last" ] || printf '%s\n' "--config.$line"; last="$line" ;;
      *) printf '%s\n' "--config.$line=" ;;
    esac
  done
}

_score_pc_flags() { cat <<'END'
@flags@
END
}
_score_pc_modes() { cat <<'END'
@modes@
END
}
_score_pc_configs() { cat <<'END'
@configs@
END
}
_score_pc_components() { cat <<'END'
@components@
END
}
_score_pc_fields() { cat <<'END'
@fields@
END
}
_score_pc_values() {
  case "$1" in
@values@
  esac
}
_score_pc_after() {
  case "$1" in
@words@
  esac
}
