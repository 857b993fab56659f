#!/usr/bin/env bash
# time-limit: 400
# The README's first command, on this machine itself: it passes, and leaves neither user, nor process, nor file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

./bootstrap demo

status=0
if id pgafrun-demo 2>/dev/null; then echo "FAILED: the demo's user is left"; status=1; fi
if ls -d /tmp/pgafrun-demo.* 2>/dev/null; then echo "FAILED: files are left"; status=1; fi
if pgrep -af 'pgafrun-demo\.'; then echo "FAILED: processes are left"; status=1; fi
exit "$status"
