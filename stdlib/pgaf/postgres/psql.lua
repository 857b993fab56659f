-- psql on a node, as the user whose server it is: whoever owns the socket owns the cluster.

local psql = {}

---A shell function: `as_owner COMMAND ...` with PGHOST, the socket's folder, and PGPORT in the environment. setpriv is
---quicker than su and runuser, which open a session.
psql.AS_OWNER = [[
as_owner() {
  [ -O "$PGHOST/.s.PGSQL.$PGPORT" ] && { "$@"; return; }
  owner=$(stat -c %U "$PGHOST/.s.PGSQL.$PGPORT") || return
  setpriv --reuid="$owner" --regid="$(id -g "$owner")" --init-groups "$@"
}]]

---A value in a libpq connection string.
---@param text string
---@return string
function psql.conninfo(text) return "'" .. text:gsub("['\\]", "\\%0") .. "'" end

return psql
