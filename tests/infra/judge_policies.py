"""Run by the Python of `.cache/tools`: parliament over IAM policies.

Reads `{"name": policy, ...}` from stdin and writes a list of `[name, issue, detail]` to stdout.
"""

import json
import sys

from parliament import analyze_policy_string

if __name__ == "__main__":
    answer = [
        (name, finding.issue, str(finding.detail))
        for name, policy in json.load(sys.stdin).items()
        for finding in analyze_policy_string(json.dumps(policy)).findings
    ]
    json.dump(answer, sys.stdout)
