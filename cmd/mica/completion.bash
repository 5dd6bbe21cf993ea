# Completion of mica for bash 4.3 or later. It stands alone: the package
# bash-completion is not needed, and nothing that was typed is evaluated.
_mica() {
    local line=${COMP_LINE:0:COMP_POINT} gap word i
    local -a words=() out
    # Bash breaks words at colons and equals signs, which images and flags have
    # inside: what no space parts is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        gap=${line%%[![:space:]]*}
        line=${line#"$gap"}
        word=${COMP_WORDS[i]:0:${#line}}
        line=${line#"$word"}
        if [[ $i -gt 0 && -z $gap ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    mapfile -t out < <("${words[0]/#\~/$HOME}" __complete "${words[@]:1}" 2>/dev/null)
    [[ ${#out[@]} -gt 0 ]] || return
    # The last line is ":" and a sum: 1 for an error, 2 for no space after the
    # word, 4 for no files in its place, 16 for directories only.
    local -i how=${out[-1]#:}
    unset 'out[-1]'
    word=${words[-1]}
    COMPREPLY=()
    ((how & 1)) && return
    ((how & 2)) && compopt -o nospace
    if ((how & 16)); then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
    elif [[ ${#out[@]} -gt 0 ]]; then
        # Only what follows the last break is to be replaced.
        local last=${word##*[:=]}
        for i in "${out[@]}"; do
            i=${i%%$'\t'*} # a description follows
            i=${i#"${word%"$last"}"}
            [[ $i == "$last"* ]] && COMPREPLY+=("$(printf %q "$i")")
        done
    elif ! ((how & 4)); then
        compopt -o default
    fi
}
complete -F _mica mica
