std = "lua54"
max_line_length = 120
cache = false
-- Argument lists of callbacks are contracts; what one of them does not need stays named.
unused_args = false
-- Descriptions for editors: functions without bodies.
exclude_files = { "docs/meta/**", "build*/**" }
