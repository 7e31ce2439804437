#!/bin/sh
# Runs scenarios, writes reports, and fails where the run is worse than a baseline. What it is told:
#
#   SALVO_CI_SCENARIOS     file or folder [scenarios]
#   SALVO_CI_TRIALS        repetitions of each cell [20]
#   SALVO_CI_BASELINE      name to compare with; while there is no such baseline, the run's own verdict counts
#   SALVO_CI_MARGIN        smallest difference of a pass rate that matters [0.05]
#   SALVO_CI_INCONCLUSIVE  pass or fail, where the trials cannot tell [fail]
#   SALVO_CI_FORCE         anything: compare also what was not asked or graded alike
#   SALVO_CI_KEEP_AS       name that stands for the run from now on, if all is well: for the main branch
#   SALVO_CI_REPORTS       folder for what is written [salvo-reports]
#
# It exits as `salvo compare --gate` does, without a baseline as `salvo run` does; 64 and more: it did not get so far.
set -eu

reports=${SALVO_CI_REPORTS:-salvo-reports}
mkdir -p "$reports"

known=64
if [ -n "${SALVO_CI_BASELINE:-}" ]; then
  known=0
  salvo baseline show "$SALVO_CI_BASELINE" || known=$?
  case $known in
    0) ;;
    64) echo "no baseline $SALVO_CI_BASELINE: the run's own verdict counts" ;;
    *) exit "$known" ;;
  esac
fi

# Beside a baseline the run's own verdict fails nothing: GitHub hears of it from the report, which only warns.
actions=${GITHUB_ACTIONS:-} summary=${GITHUB_STEP_SUMMARY:-}
if [ "$known" -eq 0 ]; then
  actions='' summary=''
fi
code=0
GITHUB_ACTIONS=$actions GITHUB_STEP_SUMMARY=$summary salvo run "${SALVO_CI_SCENARIOS:-scenarios}" \
  -n "${SALVO_CI_TRIALS:-20}" --quiet --json > "$reports/run.json" || code=$?
if [ "$code" -gt 4 ]; then
  cat "$reports/run.json"
  exit "$code"
fi
# Not `latest`: on a fleet that may be somebody else's by now.
run=$(sed -n 's/^  "run_id": "\([0-9a-f-]*\)".*/\1/p' "$reports/run.json" | head -n 1)
salvo report "$run" --html "$reports/report.html"

if [ "$known" -eq 0 ]; then
  code=0
  salvo compare "$SALVO_CI_BASELINE" "$run" ${SALVO_CI_FORCE:+--force} --margin "${SALVO_CI_MARGIN:-0.05}" \
    --gate --inconclusive "${SALVO_CI_INCONCLUSIVE:-fail}" \
    --markdown -o "$reports/junit.xml" --html "$reports/compare.html" > "$reports/compare.md" || code=$?
  cat "$reports/compare.md"
fi

if [ "$code" -eq 0 ] && [ -n "${SALVO_CI_KEEP_AS:-}" ]; then
  salvo baseline set "$SALVO_CI_KEEP_AS" "$run"
fi
exit "$code"
