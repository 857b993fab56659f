# Completion of pgafrun for bash: source this file, or install it as share/bash-completion/completions/pgafrun.
#
# What a script takes, its own --help tells. Only scripts that come with pgafrun are asked: a file of somebody's own is
# a program, and pressing Tab must not run it.
# shellcheck shell=bash

# _pgafrun_scripts PROGRAM: names of the scripts that come with it.
_pgafrun_scripts() { "$1" --help 2>/dev/null | sed -n '/^Scripts that come with it:/,$ s/^  \([a-z][a-z0-9_]*\) .*/\1/p'; }

# _pgafrun_options: what a --help on standard input names as options, one a line, with its value's name if it takes one.
_pgafrun_options() {
  local option='--?[A-Za-z][A-Za-z0-9-]*( (\[[A-Za-z]+\]|[A-Z][A-Z=]*(\.[a-z]+)?))?'
  sed -nE 's/^ {1,22}(-.*)/\1/p' | grep -oE -- "^$option(, $option)*" | tr ',' '\n' | sed 's/^ //'
}

# _pgafrun_faults PROGRAM: names of the catalogue of drills.
_pgafrun_faults() { "$1" drill --list 2>/dev/null | sed -n 's/^\([a-z][a-z0-9-]*\) .*/\1/p'; }

_pgafrun_files() {
  local file
  while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$1")
  compopt -o filenames 2>/dev/null
}

_pgafrun_words() {
  local word
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$1" -- "$2")
}

# _pgafrun_value NAME WORD: what an option's value can be, by the name that its help gives it.
_pgafrun_value() {
  case $1 in
    FILE* | FOLDER* | PATH*) _pgafrun_files "$2" ;;
  esac
}

_pgafrun() {
  local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local script='' inline='' i options name
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -i | --inventory | --deadline | --log-format) i=$((i + 1)) ;;
      -e) inline=yes i=$((i + 1)) ;;
      -*) ;;
      *) [ -n "$inline" ] || { script=${COMP_WORDS[i]}; break; } ;;
    esac
  done

  if [ -z "$script" ]; then
    case $previous in
      -i | --inventory) _pgafrun_files "$word"; return ;;
      --log-format) _pgafrun_words 'text json' "$word"; return ;;
      --deadline | -e) return ;;
    esac
    case $word in
      -*) _pgafrun_words '-i --inventory -e -v --verbose -q --quiet --log-format --deadline
    --break-on-failure --attachable --version -h --help' "$word" ;;
      */* | .*) _pgafrun_files "$word" ;;
      *)
        [ -n "$inline" ] || _pgafrun_words "$(_pgafrun_scripts "$program")" "$word"
        [ ${#COMPREPLY[@]} -gt 0 ] || _pgafrun_files "$word"
        ;;
    esac
    return
  fi

  # one of ours: a name, and no file of that name here that would be run in its place
  if [[ $script == */* || -e $script ]] || ! _pgafrun_scripts "$program" | grep -qx -- "${script%.lua}"; then
    _pgafrun_files "$word"
    return
  fi
  options=$("$program" "$script" --help 2>/dev/null | _pgafrun_options)
  case $previous in
    -*)
      name=$(sed -n "s/^$previous \\([^ ]*\\)\$/\\1/p" <<<"$options" | head -n 1)
      case $name in
        '' | '['*) ;;
        *) _pgafrun_value "$name" "$word"; return ;;
      esac
      ;;
  esac
  case $word in
    -*) _pgafrun_words "$(cut -d ' ' -f 1 <<<"$options")" "$word" ;;
    *)
      case $script in
        drill | campaign) _pgafrun_words "$(_pgafrun_faults "$program")" "$word" ;;
        *) _pgafrun_files "$word" ;;
      esac
      ;;
  esac
}

complete -F _pgafrun pgafrun
