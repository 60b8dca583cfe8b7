"""Completion scripts, made from the verbs. Names of peers come from the running daemon."""

from __future__ import annotations

from collections.abc import Sequence

from oxidized.ctl.show import WHAT

OPTIONS = ("-i", "--socket", "--json", "--dump", "--no-color", "--help")
SHELLS = ("bash", "zsh", "fish")
LEVELS = ("error", "warning", "info", "debug")
TAKES_PEER = ("ping", "wait")

_NAMES = "oxidized-ctl status --dump 2>/dev/null | cut -f1"

_BASH = """\
# bash completion for oxidized-ctl: source this, or put it into /usr/share/bash-completion/completions/
_oxidized_ctl() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} verb= word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case " {verbs} " in *" $word "*) verb=$word; break ;; esac
    done
    local choices="{options}"
    case $verb:$previous in
        *:-i) choices=$(ls /run/oxidized 2>/dev/null) ;;
        *:--socket) COMPREPLY=($(compgen -f -- "$current")); return ;;
        :*) choices="{verbs} {options}" ;;
        {takes_peer}) choices="$({names}) {options}" ;;
        show:show) choices="{what} {options}" ;;
        show:peer | show:path) choices=$({names}) ;;
        watch:*) choices="status show -n --count {options}" ;;
        log:*) choices="{levels} -f {options}" ;;
        reload:*) choices="--dry-run {options}" ;;
        status:*) choices="--check {options}" ;;
        completion:*) choices="{shells}" ;;
    esac
    COMPREPLY=($(compgen -W "$choices" -- "$current"))
}}
complete -F _oxidized_ctl oxidized-ctl
"""

_ZSH = """\
#compdef oxidized-ctl
# zsh completion for oxidized-ctl: put it into a folder of $fpath as _oxidized-ctl
autoload -U +X bashcompinit && bashcompinit
"""

_FISH_HEAD = """\
# fish completion for oxidized-ctl: put it into ~/.config/fish/completions/oxidized-ctl.fish
complete -c oxidized-ctl -f
"""


def script(shell: str, verbs: Sequence[str]) -> str:
    """The script for `shell`; zsh takes the one of bash."""
    if shell == "fish":
        return _fish(verbs)
    bash = _BASH.format(
        verbs=" ".join(verbs),
        options=" ".join(OPTIONS),
        what=" ".join(WHAT),
        levels=" ".join(LEVELS),
        shells=" ".join(SHELLS),
        names=_NAMES,
        takes_peer=" | ".join(f"{verb}:*" for verb in TAKES_PEER),
    )
    return _ZSH + bash if shell == "zsh" else bash


def _fish(verbs: Sequence[str]) -> str:
    lines = [f"complete -c oxidized-ctl -n __fish_use_subcommand -a {verb}" for verb in verbs]

    def of(verb: str, words: str) -> None:
        lines.append(f"complete -c oxidized-ctl -n '__fish_seen_subcommand_from {verb}' -a '{words}'")

    for verb in TAKES_PEER:
        of(verb, f"({_NAMES})")
    of("show", " ".join(WHAT))
    of("watch", "status show")
    of("log", " ".join(LEVELS))
    of("completion", " ".join(SHELLS))
    lines.append("complete -c oxidized-ctl -s i -x -a '(ls /run/oxidized 2>/dev/null)' -d 'which tunnel'")
    lines += [f"complete -c oxidized-ctl -l {option}" for option in ("json", "dump", "no-color", "help")]
    lines.append("complete -c oxidized-ctl -l socket -r -F")
    return _FISH_HEAD + "\n".join(lines) + "\n"
