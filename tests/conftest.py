"""What every test starts from: no AWS account can be reached by accident."""

import os

for name in [name for name in os.environ if name.startswith(("AWS_", "RLPIPE_"))]:
    if name != "AWS_CA_BUNDLE":
        del os.environ[name]
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_REGION="us-east-1",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_EC2_METADATA_DISABLED="true",
    # A call that no test expects ends on a closed port of this machine, not in an account.
    AWS_ENDPOINT_URL="http://127.0.0.1:9",
)
