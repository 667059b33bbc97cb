/* The fixed parts of a script for `sh`, and the quoting of the others. */

/** Neither the token nor a body is an argument of a process, because others on the machine could read it there. */
export const FUNCTIONS = String.raw`folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
printf 'authorization: Bearer %s\n' "$AUTH0_MANAGEMENT_TOKEN" >"$folder/headers"

# METHOD PATH [BODY]: leaves what was answered in $answer.
call() {
  method=$1 path=$2
  shift 2
  if [ $# -gt 0 ]; then
    printf '%s' "$1" >"$folder/body"
    set -- --header 'content-type: application/json' --data-binary "@$folder/body"
  fi
  answer=$(curl --silent --show-error --fail-with-body --retry 4 --request "$method" \
    --header "@$folder/headers" "$@" "$api$path") || {
    printf '%s %s: %s\n' "$method" "$path" "$answer" >&2
    exit 1
  }
}

# NAME: the first member of the answer with this name. No id holds anything that JSON escapes.
member() {
  found=$(printf '%s' "$answer" | grep -o "\"$1\" *: *\"[^\"\\]*\"" | head -n 1 | cut -d '"' -f 4)
  [ -n "$found" ] || {
    printf 'the answer tells no %s\n' "$1" >&2
    return 1
  }
  printf '%s' "$found"
}

# VALUE: as it stands within a string of JSON.
json() {
  printf '%s' "$1" | sed -e 's/\\/&&/g' -e 's/"/\\&/g'
}`

/** Writes ids and secrets for the operator in the format of `--write-env`. */
export const KEEP = String.raw`
env_file=${'$'}{ENV_FILE:-.env}
touch "$env_file"
chmod 600 "$env_file"

# NAME VALUE: one more variable in the file.
keep() {
  [ -z "$(tail -c 1 "$env_file")" ] || printf '\n' >>"$env_file"
  printf '%s=%s\n' "$1" "$2" >>"$env_file"
}`

/** A value that is known only when the script runs: a piece of shell for use within double quotes. */
export class Hole {
  readonly shell: string

  constructor(shell: string) {
    this.shell = shell
  }
}

/** One word of shell, whatever it contains: within single quotes only their end has a meaning. */
export function word(pieces: Iterable<string | Hole>): string {
  let result = ''
  let plain = ''
  const flush = (): void => {
    if (plain !== '') result += `'${plain.replaceAll("'", `'\\''`)}'`
    plain = ''
  }
  for (const piece of pieces) {
    if (typeof piece === 'string') {
      plain += piece
      continue
    }
    flush()
    result += `"${piece.shell}"`
  }
  flush()
  return result === '' ? "''" : result
}
