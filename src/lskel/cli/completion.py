"""lskel completion, and the answers for the shells' scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from lskel.cli.common import TYPED
from lskel.cli.terminal import fields, line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# The scripts run the command with TYPED in the environment and read what `answer` prints.
_BASH = r"""
_lskel_completion() {
    local typed=${COMP_LINE:0:COMP_POINT} breaks=${COMP_WORDBREAKS//[^=:]/} type value help
    local word=${typed##*[[:space:]]} kept=
    # In a word with such characters, readline replaces what follows the last one.
    [[ $breaks ]] && kept=${word%"${word##*[$breaks]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r type value help; do
        case $type in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            part) compopt -o nospace; COMPREPLY+=("${value#"$kept"}") ;;
            *) COMPREPLY+=("${value#"$kept"}") ;;
        esac
    done < <(_LSKEL_COMPLETE=$typed "$1" 2>/dev/null)
}
complete -o nosort -F _lskel_completion lskel
"""
_ZSH = r"""
#compdef lskel
_lskel_completion() {
    local line type value help
    local -a fields plain parts
    for line in "${(@f)$(_LSKEL_COMPLETE="${words[1,CURRENT]}" ${(Q)words[1]} 2>/dev/null)}"; do
        fields=("${(@ps:\t:)line}")
        type=$fields[1] value=${fields[2]//:/\\:} help=$fields[3]
        case $type in
            file) _files ;;
            dir) _files -/ ;;
            part) parts+=("$value${help:+:$help}") ;;
            plain) plain+=("$value${help:+:$help}") ;;
        esac
    done
    (( $#parts )) && _describe -V '' parts -S ''
    (( $#plain )) && _describe -V '' plain
}
compdef _lskel_completion lskel
# If autoloaded from a file _lskel in fpath, this runs at the first completion.
if (( ${zsh_eval_context[(I)loadautofunc]} )); then
    _lskel_completion "$@"
fi
"""
_FISH = r"""
function _lskel_completion
    set -lx _LSKEL_COMPLETE (commandline -cp)
    set -l words (commandline -opc)
    for line in ($words[1] 2>/dev/null)
        set -l fields (string split \t -- $line)
        switch $fields[1]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case '*'
                printf '%s\t%s\n' $fields[2] "$fields[3]"
        end
    end
end
complete --no-files --keep-order --command lskel --arguments '(_lskel_completion)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def command(shell: str) -> None:
    """Print a script with which a shell completes lskel's commands, options and names.

    After an object, the names of its programs, maps and variables are completed, too. Packages
    install the script where the shell finds it; otherwise, evaluate it when the shell starts.

    \b
    Example:
        eval "$(lskel completion bash)"         # in ~/.bashrc
        eval "$(lskel completion zsh)"          # in ~/.zshrc, after compinit
        lskel completion fish | source          # in ~/.config/fish/config.fish
    """
    for text in SCRIPTS[shell].strip().splitlines():
        line(text)


def answer(cli: click.Command, typed: str) -> None:
    """Print the possible completions, one per line: type, value and help, separated by tabs."""
    for item in _items(cli, typed):
        fields(item.type, item.value, item.help or "")


def _items(cli: click.Command, typed: str) -> Iterator[CompletionItem]:
    from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

    words = split_arg_string(typed)[1:]
    incomplete = "" if not words or typed[-1:].isspace() else words.pop()
    # In --option=value only the value is completed; the rest of the word stays.
    option, sign, _ = incomplete.partition("=")
    kept = f"{option}=" if sign and option.startswith("-") else ""
    for item in ShellComplete(cli, {}, "lskel", TYPED).get_completions(words, incomplete):
        yield CompletionItem(f"{kept}{item.value}", item.type, item.help)
