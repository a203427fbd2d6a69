"""What `cs` and Libcloud sign: sign.py PARAMETERS, where PARAMETERS is a JSON list of parameter objects without keys.

Keys are the words `key` and `secret`. Prints for each client and each object the parameters that it sends and its
signature.
"""
import json
import sys

from cs.client import CloudStack, transform
from libcloud.common.cloudstack import CloudStackConnection

vectors = []
for given in json.loads(sys.argv[1]):
    cloud = CloudStack("http://127.0.0.1", "key", "secret", expiration=-1)
    _, sent = cloud._prepare_request(given["command"], **{k: v for k, v in given.items() if k != "command"})
    transform(sent)
    cloud._sign(sent)
    vectors.append({"client": "cs", "signature": sent.pop("signature"), "parameters": sent})

    connection = CloudStackConnection("key", "secret")
    sent = connection.add_default_params(dict(given))
    signature = connection._make_signature(sent).decode()
    vectors.append({"client": "libcloud", "signature": signature, "parameters": sent})
print(json.dumps(vectors))
