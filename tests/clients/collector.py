"""A sender of the HTTP Data Collector API, as they are: log lines from standard input, a line a record.

Arguments: the server's URL, the workspace's id, its shared key, the log type. Prints the status of the post.
"""

import base64, hashlib, hmac, json, re, sys, urllib.error, urllib.request
from email.utils import formatdate

LINE = re.compile(r"(?P<host>\S+) \S+ \S+ \[(?P<at>[^\]]+)\] \"(?P<verb>\S+) (?P<path>\S+) \S+\" (?P<status>\d+) (?P<bytes>\d+)")


def send(url, workspace, key, log_type, records):
    body = json.dumps(records).encode()
    date = formatdate(usegmt=True)
    text = f"POST\n{len(body)}\napplication/json\nx-ms-date:{date}\n/api/logs"
    signature = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
    headers = {
        "Content-Type": "application/json", "Log-Type": log_type, "x-ms-date": date,
        "Authorization": f"SharedKey {workspace}:{signature}", "time-generated-field": "at",
    }
    request = urllib.request.Request(f"{url}/api/logs?api-version=2016-04-01", body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return f"{error.code} {json.load(error)['Error']}"


def record(line):
    fields = LINE.match(line).groupdict()
    return fields | {"status": int(fields["status"]), "bytes": int(fields["bytes"])}


if __name__ == "__main__":
    print(send(*sys.argv[1:5], [record(line) for line in open(sys.argv[5])]))
